//! The decisions of a payer: what to ask for, what to pay, and what to promise.

use super::{
    Decision, Pending, Surroundings, channel_of, find, open_session, owns, refuse, with_role,
};
use crate::amount::{self, Amount};
use crate::ledger::command::Role;
use crate::ledger::event::Event;
use crate::ledger::state::{Session, State};
use crate::status::Status;
use crate::voucher::{self, Row};

/// The size of a piece outstanding in exactly this session.
pub fn outstanding(
    state: &State,
    index: u32,
    session: &Session,
    piece: u32,
) -> Result<u32, Status> {
    match state.outstanding.get(&(session.torrent, piece)) {
        Some(found) if found.session == index => Ok(found.bytes),
        _ => Err(Status::UnknownPiece),
    }
}

/// Decides a `purchase`.
pub fn purchase<'a>(
    state: &State,
    around: &Surroundings<'_>,
    pending: &Pending,
    session: u32,
    piece: u32,
    bytes: u32,
) -> Result<Decision<'a>, Status> {
    let found = open_session(state, session)?;
    let (_, channel) = with_role(state, session, Role::Payer)?;
    let taken = state.outstanding.contains_key(&(found.torrent, piece));
    refuse(taken, Status::Duplicate)?;
    refuse(channel.close_at != 0, Status::Closing)?;
    refuse(around.low_space, Status::NoSpace)?;
    let ahead = found.bytes.checked_add(found.outstanding_bytes);
    let from = ahead.ok_or(Status::Overflow)?;
    let to = from.checked_add(u64::from(bytes)).ok_or(Status::Overflow)?;
    let cost = amount::step(found.price_mib, from, to)?;
    let torrent = &state.torrents[found.torrent as usize];
    // What was signed ahead and forfeited buys again, in the same channel, without costing more.
    let signed_already = channel.overhang(promised(pending, found.channel)).min(cost);
    let recovered = state
        .forfeited((found.channel, found.torrent))
        .min(signed_already);
    // Three uint96 fit in 128 bits, and a sum beyond uint96 is beyond every limit.
    let used = torrent.spent.get() + torrent.reserved.get() + cost - recovered;
    let limit = torrent.limit.ok_or(Status::ExceedsBudget)?;
    refuse(used > limit.get(), Status::ExceedsBudget)?;
    let owed = channel.due() + channel.reserved() + cost;
    refuse(owed > channel.deposit.get(), Status::ExceedsDeposit)?;
    Ok(Event::Purchased {
        session,
        piece,
        bytes,
        recovered: amount::checked(recovered)?,
    }
    .into())
}

/// Decides an `abandon`: what was signed ahead for the piece stays counted against the budget.
pub fn abandon<'a>(
    state: &State,
    pending: &Pending,
    session: u32,
    piece: u32,
) -> Result<Decision<'a>, Status> {
    let found = find(state, session)?;
    let bytes = outstanding(state, session, &found, piece)?;
    let channel = channel_of(state, &found)?;
    let ahead = found.bytes.checked_add(found.outstanding_bytes);
    let to = ahead.ok_or(Status::Overflow)?;
    let cost = amount::step(found.price_mib, to - u64::from(bytes), to)?;
    let signed = channel.authorized().max(promised(pending, found.channel));
    let needed = channel.due() + channel.reserved() - cost;
    let forfeited = signed.saturating_sub(needed).min(cost);
    Ok(Event::Abandoned {
        session,
        piece,
        forfeited: amount::checked(forfeited)?,
    }
    .into())
}

/// What the batch so far will authorize in a channel.
fn promised(pending: &Pending, channel: u32) -> u128 {
    pending.get(&channel).map_or(0, |amount| amount.get())
}

/// The checks that `pay` and `sign` share, and the amount to authorize if that rises.
pub fn authorize(
    state: &State,
    around: &Surroundings<'_>,
    pending: &Pending,
    session: u32,
    bytes: u32,
    advance: Amount,
) -> Result<Option<(u32, Amount)>, Status> {
    let (found, channel) = with_role(state, session, Role::Payer)?;
    let to = found
        .bytes
        .checked_add(u64::from(bytes))
        .ok_or(Status::Overflow)?;
    let cost = amount::step(found.price_mib, found.bytes, to)?;
    let due = amount::add(channel.due(), cost)?;
    let reserved = found.reserved()?.saturating_sub(cost);
    let ahead = advance.get().min(found.prepay.get()).min(reserved);
    let authorized = channel.authorized().max(promised(pending, found.channel));
    let amount = amount::add(due, ahead)?.max(authorized);
    refuse(amount > channel.deposit.get(), Status::ExceedsDeposit)?;
    let torrent = &state.torrents[found.torrent as usize];
    let used = amount::add(torrent.spent.get(), torrent.reserved.get())?;
    let within = torrent.limit.is_some_and(|limit| used <= limit.get());
    refuse(bytes > 0 && !within, Status::ExceedsBudget)?;
    refuse(bytes > 0 && found.piece_count == u32::MAX, Status::Overflow)?;
    if amount == authorized {
        return Ok(None);
    }
    refuse(
        !owns(around, channel.key_index, &channel.voucher_key),
        Status::BadSignature,
    )?;
    Ok(Some((found.channel, amount::checked(amount)?)))
}

/// Decides an `adopt`.
pub fn adopt<'a>(
    state: &State,
    around: &Surroundings<'_>,
    pending: &Pending,
    index: u32,
    row: Row,
) -> Result<Decision<'a>, Status> {
    let channel = state.channel(index).ok_or(Status::UnknownChannel)?;
    refuse(channel.role != Role::Payer, Status::WrongRole)?;
    let authorized = channel.authorized().max(promised(pending, index));
    let amount = row.amount().get();
    refuse(amount <= authorized, Status::NotIncreasing)?;
    refuse(amount > channel.deposit.get(), Status::ExceedsDeposit)?;
    let payee = state.payee(&channel);
    let status = voucher::verify(around.domain, &channel.voucher_key, payee, &row);
    refuse(status != Status::Ok, Status::BadSignature)?;
    Ok(Event::Adopted {
        channel: index,
        row,
    }
    .into())
}
