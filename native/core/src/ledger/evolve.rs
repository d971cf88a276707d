//! Applies events to the state: the one function that both a commit and a restart go through.
//!
//! Deciding made sure that an event fits; what does not fit here is either a bug or a damaged
//! journal, and is answered with `Misfit`, after which the state is not to be used.

use crate::amount::{self, Amount};
use crate::ledger::channels::{Standing, can_stand};
use crate::ledger::command::Role;
use crate::ledger::decide::NOTE_SIZE_MAX;
use crate::ledger::event::Event;
use crate::ledger::state::{Chain, Channel, Outstanding, Session, State};
use crate::status::Status;
use crate::tick_row::{self, Tick, TickRow};
use crate::voucher::Row;

/// An event that cannot follow the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit;

impl From<Status> for Misfit {
    fn from(_: Status) -> Misfit {
        Misfit
    }
}

/// Applies one event.
#[inline]
pub fn evolve(state: &mut State, event: &Event<'_>) -> Result<(), Misfit> {
    match *event {
        Event::ChannelPut { .. } => put_channel(state, event),
        Event::SessionOpened {
            channel,
            session_id,
            infohash,
            price_mib,
            minimum_step,
            prepay,
        } => {
            let is_known = state.find_session(&session_id).is_some();
            if is_known || state.channel(channel).is_none() {
                return Err(Misfit);
            }
            let torrent = state.intern_torrent(infohash);
            state.push_session(&Session {
                bytes: 0,
                outstanding_bytes: 0,
                delivered_bytes: 0,
                channel,
                torrent,
                session_id,
                price_mib,
                minimum_step,
                prepay,
                piece_count: 0,
                closed: false,
            });
            Ok(())
        }
        Event::SessionClosed {
            session,
            delivered_bytes,
        } => {
            let mut found = state.session(session).ok_or(Misfit)?;
            found.closed = true;
            found.delivered_bytes = delivered_bytes;
            state.sessions.set(session, &found);
            Ok(())
        }
        Event::Granted { session, bytes } => {
            let (mut found, mut channel) = parts(state, session, Role::Payee)?;
            let cost = advance(&mut found, bytes)?;
            channel.first = amount::checked(channel.first.get() + cost)?;
            state.sessions.set(session, &found);
            state.channels.set(found.channel, &channel);
            Ok(())
        }
        Event::VoucherAccepted { session, row } => {
            let index = state.sessions.channel(session).ok_or(Misfit)?;
            state.channels.accept(index, row).ok_or(Misfit)
        }
        Event::WrittenOff { session, amount } => {
            let (found, mut channel) = parts(state, session, Role::Payee)?;
            channel.second = amount::checked(channel.second.get() + amount.get())?;
            if channel.second.get() > channel.first.get() {
                return Err(Misfit);
            }
            state.channels.set(found.channel, &channel);
            Ok(())
        }
        Event::BudgetSet { infohash, limit } => {
            let torrent = state.intern_torrent(infohash) as usize;
            state.torrents[torrent].limit = Some(limit);
            Ok(())
        }
        Event::Purchased {
            session,
            piece,
            bytes,
            recovered,
        } => {
            let (found, _) = parts(state, session, Role::Payer)?;
            let key = (found.torrent, piece);
            if state
                .outstanding
                .insert(key, Outstanding { session, bytes })
                .is_some()
            {
                return Err(Misfit);
            }
            reserve(state, session, |outstanding| {
                outstanding.checked_add(u64::from(bytes))
            })?;
            forfeit(state, session, |sum| sum.checked_sub(recovered.get()))
        }
        Event::Abandoned {
            session,
            piece,
            forfeited,
        } => {
            let bytes = take_outstanding(state, session, piece)?;
            reserve(state, session, |outstanding| {
                outstanding.checked_sub(u64::from(bytes))
            })?;
            forfeit(state, session, |sum| sum.checked_add(forfeited.get()))
        }
        Event::Paid {
            session,
            piece,
            bytes,
        } => {
            if take_outstanding(state, session, piece)? != bytes {
                return Err(Misfit);
            }
            pay(state, session, bytes)
        }
        Event::Signed { channel, row } | Event::Adopted { channel, row } => {
            let mut found = state.channel(channel).ok_or(Misfit)?;
            if found.role != Role::Payer {
                return Err(Misfit);
            }
            authorize(&mut found, row)?;
            state.channels.set(channel, &found);
            Ok(())
        }
        Event::NoteKept { space, key, value } => {
            if value.is_some_and(|bytes| bytes.len() > NOTE_SIZE_MAX) {
                return Err(Misfit);
            }
            match value {
                Some(bytes) => state.notes.insert((space, key), bytes.into()),
                None => state.notes.remove(&(space, key)),
            };
            Ok(())
        }
        Event::ChainSet { channel, row } => {
            let mut found = state.channel(channel).ok_or(Misfit)?;
            set_chain(&mut found, row)?;
            recover_losses(&mut found)?;
            state.channels.set(channel, &found);
            Ok(())
        }
        Event::Ticked {
            channel,
            count,
            tick,
        } => {
            let mut found = state.channel(channel).ok_or(Misfit)?;
            advance_chain(&mut found, count, &tick)?;
            recover_losses(&mut found)?;
            state.channels.set(channel, &found);
            Ok(())
        }
    }
}

fn put_channel(state: &mut State, event: &Event<'_>) -> Result<(), Misfit> {
    let Event::ChannelPut {
        role,
        voucher_key,
        payee,
        deposit,
        settled,
        close_at,
        block,
        key_index,
    } = *event
    else {
        return Err(Misfit);
    };
    if !can_stand(role, block, key_index) {
        return Err(Misfit);
    }
    if let Some(index) = state.find_channel(&voucher_key, &payee) {
        let mut channel = state.channel(index).ok_or(Misfit)?;
        if channel.role != role || channel.key_index != key_index {
            return Err(Misfit);
        }
        (channel.deposit, channel.settled) = (deposit, settled);
        (channel.close_at, channel.block) = (close_at, block);
        state.channels.set(index, &channel);
        return Ok(());
    }
    if role == Role::Payer && state.has_key_index(key_index) {
        return Err(Misfit);
    }
    let payee = state.intern_payee(payee);
    state.push_channel(&Channel {
        block,
        key_index,
        voucher_key,
        payee,
        deposit,
        settled,
        first: Amount::ZERO,
        second: Amount::ZERO,
        close_at,
        voucher_count: 0,
        row: Row::EMPTY,
        role,
        chain: None,
    });
    Ok(())
}

/// A session and its channel; whoever changes them sets them afterwards.
fn parts(state: &State, session: u32, role: Role) -> Result<(Session, Channel), Misfit> {
    let session = state.session(session).ok_or(Misfit)?;
    let channel = state.channel(session.channel).ok_or(Misfit)?;
    if channel.role != role {
        return Err(Misfit);
    }
    Ok((session, channel))
}

fn authorize(channel: &mut Channel, row: Row) -> Result<(), Misfit> {
    if !channel.yields_to(row.amount().get()) {
        return Err(Misfit);
    }
    channel.row = row;
    channel.chain = None;
    channel.voucher_count = channel.voucher_count.saturating_add(1);
    Ok(())
}

fn set_chain(channel: &mut Channel, row: TickRow) -> Result<(), Misfit> {
    if !row.is_in_range() || row.claim() < channel.authorized() {
        return Err(Misfit);
    }
    let root = row.root();
    let is_known = channel
        .chain
        .as_ref()
        .is_some_and(|chain| chain.root == root);
    channel.chain = Some(Chain { row, root });
    channel.voucher_count = channel.voucher_count.saturating_add(u32::from(!is_known));
    Ok(())
}

fn advance_chain(channel: &mut Channel, count: u16, tick: &Tick) -> Result<(), Misfit> {
    let chain = channel.chain.as_mut().ok_or(Misfit)?;
    let known = chain.row;
    if count <= known.count() || count > known.length() {
        return Err(Misfit);
    }
    // A checkpoint of a chain whose tick does not lead to its root would not be read back.
    if tick_row::walk(tick, count - known.count()) != known.tick() {
        return Err(Misfit);
    }
    chain.row = chain.row.with_tick(count, tick);
    Ok(())
}

/// What is paid after all is no loss: a payee has written off at most what is granted and not
/// authorized.
fn recover_losses(channel: &mut Channel) -> Result<(), Misfit> {
    if channel.role == Role::Payee {
        let rest = channel.granted().saturating_sub(channel.authorized());
        channel.second = amount::checked(channel.second.get().min(rest))?;
    }
    Ok(())
}

/// Raises the session's bytes and pieces and gives the price of the step.
fn advance(session: &mut Session, bytes: u64) -> Result<u128, Misfit> {
    let to = session.bytes.checked_add(bytes).ok_or(Misfit)?;
    let cost = amount::step(session.price_mib, session.bytes, to)?;
    session.bytes = to;
    session.piece_count = session.piece_count.checked_add(1).ok_or(Misfit)?;
    Ok(cost)
}

fn take_outstanding(state: &mut State, session: u32, piece: u32) -> Result<u32, Misfit> {
    let torrent = state.session(session).ok_or(Misfit)?.torrent;
    match state.outstanding.remove(&(torrent, piece)) {
        Some(found) if found.session == session => Ok(found.bytes),
        _ => Err(Misfit),
    }
}

/// Moves a reservation from `before` to `after`.
fn shift(reserved: Amount, before: u128, after: u128) -> Result<Amount, Misfit> {
    let rest = reserved.get().checked_sub(before).ok_or(Misfit)?;
    Ok(amount::checked(rest + after)?)
}

/// Changes the outstanding bytes of a session, and with it what its channel and torrent reserve.
fn reserve(
    state: &mut State,
    session: u32,
    change: impl Fn(u64) -> Option<u64>,
) -> Result<(), Misfit> {
    let (mut found, mut channel) = parts(state, session, Role::Payer)?;
    let before = found.reserved()?;
    found.outstanding_bytes = change(found.outstanding_bytes).ok_or(Misfit)?;
    let after = found.reserved()?;
    channel.second = shift(channel.second, before, after)?;
    state.sessions.set(session, &found);
    state.channels.set(found.channel, &channel);
    let torrent = found.torrent as usize;
    let torrent = &mut state.torrents[torrent];
    torrent.reserved = shift(torrent.reserved, before, after)?;
    Ok(())
}

/// Changes what the torrent of a session forfeited in its channel, which its budget has reserved.
fn forfeit(
    state: &mut State,
    session: u32,
    change: impl Fn(u128) -> Option<u128>,
) -> Result<(), Misfit> {
    let (found, _) = parts(state, session, Role::Payer)?;
    let key = (found.channel, found.torrent);
    let before = state.forfeited(key);
    let after = change(before).ok_or(Misfit)?;
    if after == before {
        return Ok(());
    }
    let torrent = &mut state.torrents[key.1 as usize];
    torrent.reserved = shift(torrent.reserved, before, after)?;
    match amount::checked(after)? {
        Amount::ZERO => state.forfeited.remove(&key),
        sum => state.forfeited.insert(key, sum),
    };
    Ok(())
}

fn pay(state: &mut State, session: u32, bytes: u32) -> Result<(), Misfit> {
    let (mut found, mut channel) = parts(state, session, Role::Payer)?;
    let before = found.reserved()?;
    let outstanding = found.outstanding_bytes.checked_sub(u64::from(bytes));
    found.outstanding_bytes = outstanding.ok_or(Misfit)?;
    let cost = advance(&mut found, u64::from(bytes))?;
    let after = found.reserved()?;
    channel.first = amount::checked(channel.first.get() + cost)?;
    channel.second = shift(channel.second, before, after)?;
    state.sessions.set(session, &found);
    state.channels.set(found.channel, &channel);
    let torrent = found.torrent as usize;
    let torrent = &mut state.torrents[torrent];
    torrent.spent = amount::checked(torrent.spent.get() + cost)?;
    torrent.reserved = shift(torrent.reserved, before, after)?;
    Ok(())
}
