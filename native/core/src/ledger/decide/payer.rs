//! The decisions of a payer: what to ask for, what to pay, and what to promise.

use super::{
    Decision, Pending, Surroundings, channel_of, find, open_session, owns, refuse, with_role,
};
use crate::amount::{self, Amount};
use crate::ledger::channels::Standing;
use crate::ledger::command::Role;
use crate::ledger::event::Event;
use crate::ledger::state::{Channel, Session, State};
use crate::status::Status;
use crate::tick_row::{self, Terms, TickRow};
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

/// Whether a payer's session waits for exactly this piece of exactly this size.
pub fn awaits(state: &State, session: u32, piece: u32, bytes: u32) -> Result<(), Status> {
    let (found, _) = with_role(state, session, Role::Payer)?;
    let size = outstanding(state, session, &found, piece)?;
    refuse(size != bytes, Status::UnknownPiece)
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

/// What is authorized, with what the batch so far will sign.
fn authorized(pending: &Pending, index: u32, channel: &Channel) -> u128 {
    channel.authorized().max(promised(pending, index))
}

/// The current tick row, unless a plain voucher that the batch owes has ended the chain.
fn current<'a>(pending: &Pending, index: u32, channel: &'a Channel) -> Option<&'a TickRow> {
    channel.tick_row().filter(|_| !pending.contains_key(&index))
}

/// The checks that `pay`, `sign` and `receive` share, and what to authorize after them.
fn owe(
    state: &State,
    pending: &Pending,
    session: u32,
    bytes: u32,
    advance: Amount,
) -> Result<u128, Status> {
    let (found, channel) = with_role(state, session, Role::Payer)?;
    let to = found
        .bytes
        .checked_add(u64::from(bytes))
        .ok_or(Status::Overflow)?;
    let cost = amount::step(found.price_mib, found.bytes, to)?;
    let due = amount::add(channel.due(), cost)?;
    let reserved = found.reserved()?.saturating_sub(cost);
    let ahead = advance.get().min(found.prepay.get()).min(reserved);
    let authorized = authorized(pending, found.channel, &channel);
    let amount = amount::add(due, ahead)?.max(authorized);
    refuse(amount > channel.deposit.get(), Status::ExceedsDeposit)?;
    let torrent = &state.torrents[found.torrent as usize];
    let used = amount::add(torrent.spent.get(), torrent.reserved.get())?;
    let within = torrent.limit.is_some_and(|limit| used <= limit.get());
    refuse(bytes > 0 && !within, Status::ExceedsBudget)?;
    refuse(bytes > 0 && found.piece_count == u32::MAX, Status::Overflow)?;
    Ok(amount)
}

/// Decides what a `pay` or `sign` has to authorize, if that rises; a `sign` also puts a plain voucher
/// in the place of a chain.
pub fn authorize(
    state: &State,
    around: &Surroundings<'_>,
    pending: &Pending,
    session: u32,
    bytes: u32,
    advance: Amount,
) -> Result<Option<(u32, Amount)>, Status> {
    let amount = owe(state, pending, session, bytes, advance)?;
    let (found, channel) = with_role(state, session, Role::Payer)?;
    let folds = bytes == 0 && current(pending, found.channel, &channel).is_some();
    if amount == authorized(pending, found.channel, &channel) && !folds {
        return Ok(None);
    }
    refuse(!is_own(around, &channel), Status::BadSignature)?;
    Ok(Some((found.channel, amount::checked(amount)?)))
}

fn is_own(around: &Surroundings<'_>, channel: &Channel) -> bool {
    owns(around, channel.key_index, &channel.voucher_key)
}

/// Decides a `receive`: a piece that ticks or a later voucher pay.
pub fn receive<'a>(
    state: &State,
    pending: &Pending,
    session: u32,
    piece: u32,
    bytes: u32,
) -> Result<Decision<'a>, Status> {
    awaits(state, session, piece, bytes)?;
    owe(state, pending, session, bytes, Amount::ZERO)?;
    Ok(Event::Paid {
        session,
        piece,
        bytes,
    }
    .into())
}

/// Decides an `open_chain`. The signature is made here: chains are opened seldom.
pub fn open_chain<'a>(
    state: &State,
    around: &Surroundings<'_>,
    pending: &Pending,
    session: u32,
    unit: Amount,
    length: u16,
) -> Result<Decision<'a>, Status> {
    let found = open_session(state, session)?;
    let (_, channel) = with_role(state, session, Role::Payer)?;
    let is_chain = tick_row::is_length(length) && unit != Amount::ZERO;
    refuse(!is_chain, Status::BadRange)?;
    let amount = authorized(pending, found.channel, &channel).max(channel.due());
    let terms = Terms {
        payee: *state.payee(&channel),
        amount: amount::checked(amount)?,
        unit,
        length,
    };
    amount::checked(tick_row::claim(terms.amount, unit, length))?;
    refuse(amount > channel.deposit.get(), Status::ExceedsDeposit)?;
    let torrent = &state.torrents[found.torrent as usize];
    let used = amount::add(torrent.spent.get(), torrent.reserved.get())?;
    let within = torrent.limit.is_some_and(|limit| used <= limit.get());
    refuse(!within, Status::ExceedsBudget)?;
    let keyring = around.keyring.ok_or(Status::BadSignature)?;
    refuse(!is_own(around, &channel), Status::BadSignature)?;
    // The same voucher has the same chain: to open it again while nothing of it is shown is nothing new.
    let known = current(pending, found.channel, &channel);
    if known.is_some_and(|row| row.count() == 0 && row.terms(&terms.payee) == terms) {
        return Ok(Decision::nothing());
    }
    let root = keyring.tick(around.domain, channel.key_index, &terms, 0);
    let (key, _) = keyring.key(channel.key_index);
    Ok(Event::ChainSet {
        channel: found.channel,
        row: tick_row::sign(around.domain, &key, &terms, &root),
    }
    .into())
}

/// Decides a `reveal`.
pub fn reveal<'a>(
    state: &State,
    around: &Surroundings<'_>,
    pending: &Pending,
    session: u32,
    count: u16,
    advance: Amount,
) -> Result<Decision<'a>, Status> {
    let (found, channel) = with_role(state, session, Role::Payer)?;
    let known = current(pending, found.channel, &channel);
    let known = known.ok_or(Status::UnknownPiece)?;
    refuse(count <= known.count(), Status::NotIncreasing)?;
    refuse(count > known.length(), Status::BadRange)?;
    let claim = tick_row::claim(known.amount(), known.unit(), count);
    let ahead = advance.get().min(found.prepay.get()).min(found.reserved()?);
    refuse(claim > channel.due() + ahead, Status::ExceedsGranted)?;
    refuse(claim > channel.deposit.get(), Status::ExceedsDeposit)?;
    let keyring = around.keyring.ok_or(Status::BadSignature)?;
    let terms = known.terms(state.payee(&channel));
    let tick = keyring.tick(around.domain, channel.key_index, &terms, count);
    // A tick that another seed gives would be worthless, and would stand in the journal as if it were not.
    let leads_to = tick_row::walk(&tick, count - known.count());
    refuse(leads_to != known.tick(), Status::BadSignature)?;
    let channel = found.channel;
    Ok(Event::Ticked {
        channel,
        count,
        tick,
    }
    .into())
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
    let amount = row.amount().get();
    let authorized = authorized(pending, index, &channel);
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

/// Decides an `adopt_ticks`: a chain of an earlier life of this ledger.
pub fn adopt_ticks<'a>(
    state: &State,
    around: &Surroundings<'_>,
    pending: &Pending,
    index: u32,
    row: TickRow,
) -> Result<Decision<'a>, Status> {
    let channel = state.channel(index).ok_or(Status::UnknownChannel)?;
    refuse(channel.role != Role::Payer, Status::WrongRole)?;
    refuse(!row.is_in_range(), Status::BadRange)?;
    let authorized = authorized(pending, index, &channel);
    refuse(row.claim() <= authorized, Status::NotIncreasing)?;
    refuse(row.claim() > channel.deposit.get(), Status::ExceedsDeposit)?;
    let payee = state.payee(&channel);
    let status = tick_row::verify(around.domain, &channel.voucher_key, payee, &row);
    refuse(status != Status::Ok, Status::BadSignature)?;
    Ok(Event::ChainSet {
        channel: index,
        row,
    }
    .into())
}
