//! Writes the whole state as bytes and reads it back: for checkpoints and for the state hash.
//!
//! The order is fixed and every table is in index or key order, so equal states give equal bytes.

use std::io::{self, Read, Write};

use crate::amount::Amount;
use crate::ledger::audit;
use crate::ledger::channels::{Standing, can_stand};
use crate::ledger::command::Role;
use crate::ledger::state::{Chain, Channel, Outstanding, Session, State};
use crate::tick_row::TickRow;
use crate::voucher::Row;

/// No channel and no session takes fewer bytes.
const ENTRY_SIZE_MIN: u64 = 64;

/// Writes the state.
#[rustfmt::skip]
pub fn write(state: &State, out: &mut impl Write) -> io::Result<()> {
    count(out, state.payees.len())?;
    for payee in &state.payees {
        out.write_all(payee)?;
    }
    count(out, state.channels.len())?;
    for c in state.channels.iter() {
        out.write_all(&[c.role as u8])?;
        out.write_all(&c.voucher_key)?;
        ints(out, &[c.payee, c.close_at, c.voucher_count])?;
        longs(out, &[c.block, c.key_index])?;
        amounts(out, &[c.deposit, c.settled, c.first, c.second])?;
        out.write_all(&c.row.0)?;
    }
    count(out, state.torrents.len())?;
    for t in &state.torrents {
        out.write_all(&t.infohash)?;
        out.write_all(&[u8::from(t.limit.is_some())])?;
        amounts(out, &[t.limit.unwrap_or_default(), t.spent, t.reserved])?;
    }
    count(out, state.sessions.len())?;
    for s in state.sessions.iter() {
        out.write_all(&[u8::from(s.closed)])?;
        out.write_all(&s.session_id)?;
        ints(out, &[s.channel, s.torrent, s.piece_count])?;
        longs(out, &[s.bytes, s.outstanding_bytes, s.delivered_bytes])?;
        amounts(out, &[s.price_mib, s.minimum_step, s.prepay])?;
    }
    count(out, state.outstanding.len())?;
    for ((torrent, piece), o) in &state.outstanding {
        ints(out, &[*torrent, *piece, o.session, o.bytes])?;
    }
    count(out, state.forfeited.len())?;
    for ((channel, torrent), amount) in &state.forfeited {
        ints(out, &[*channel, *torrent])?;
        amounts(out, &[*amount])?;
    }
    count(out, state.notes.len())?;
    for ((space, key), value) in &state.notes {
        out.write_all(&space.to_le_bytes())?;
        out.write_all(key)?;
        count(out, value.len())?;
        out.write_all(value)?;
    }
    count(out, state.channels.chains().len())?;
    for (channel, chain) in state.channels.chains() {
        ints(out, &[channel])?;
        out.write_all(&chain.row.0)?;
        out.write_all(&chain.root)?;
    }
    Ok(())
}

/// Reads a state of `size` bytes; fails with `InvalidData` on anything that `write` would not have written of a sound
/// state. Takes memory in proportion to the size, whatever the counts in it say. What was written before there were
/// chains ends before them.
pub fn read(input: &mut impl Read, size: u64, has_chains: bool) -> io::Result<State> {
    let room = (size / ENTRY_SIZE_MIN) as usize;
    let mut state = State::default();
    for at in 0..int(input)? {
        ensure(state.intern_payee(array(input)?) == at)?;
    }
    let count = int(input)?;
    state.reserve_channels((count as usize).min(room));
    for _ in 0..count {
        let channel = channel(input)?;
        let payee = state.payees.get(channel.payee as usize);
        let payee = payee.ok_or(io::ErrorKind::InvalidData)?;
        let is_known = state.find_channel(&channel.voucher_key, payee).is_some();
        ensure(!is_known)?;
        ensure(can_stand(channel.role, channel.block, channel.key_index))?;
        ensure(channel.role == Role::Payee || !state.has_key_index(channel.key_index))?;
        state.push_channel(&channel);
    }
    for at in 0..int(input)? {
        ensure(state.intern_torrent(array(input)?) == at)?;
        let has_limit = flag(input)?;
        let limit = amount(input)?;
        ensure(has_limit || limit == Amount::ZERO)?;
        let torrent = &mut state.torrents[at as usize];
        torrent.limit = has_limit.then_some(limit);
        torrent.spent = amount(input)?;
        torrent.reserved = amount(input)?;
    }
    let count = int(input)?;
    state.reserve_sessions((count as usize).min(room));
    for _ in 0..count {
        let session = session(input)?;
        ensure((session.channel as usize) < state.channels.len())?;
        ensure((session.torrent as usize) < state.torrents.len())?;
        ensure(state.find_session(&session.session_id).is_none())?;
        state.push_session(&session);
    }
    for _ in 0..int(input)? {
        let key = (int(input)?, int(input)?);
        let (session, bytes) = (int(input)?, int(input)?);
        ensure((session as usize) < state.sessions.len())?;
        ensure(
            state
                .outstanding
                .last_key_value()
                .is_none_or(|(last, _)| *last < key),
        )?;
        state
            .outstanding
            .insert(key, Outstanding { session, bytes });
    }
    for _ in 0..int(input)? {
        let key = (int(input)?, int(input)?);
        ensure((key.0 as usize) < state.channels.len())?;
        ensure((key.1 as usize) < state.torrents.len())?;
        ensure(
            state
                .forfeited
                .last_key_value()
                .is_none_or(|(last, _)| *last < key),
        )?;
        state.forfeited.insert(key, amount(input)?);
    }
    for _ in 0..int(input)? {
        let key = (u16::from_le_bytes(array(input)?), array(input)?);
        ensure(
            state
                .notes
                .last_key_value()
                .is_none_or(|(last, _)| *last < key),
        )?;
        let size = int(input)? as usize;
        ensure(size <= crate::ledger::decide::NOTE_SIZE_MAX)?;
        let mut value = vec![0; size];
        input.read_exact(&mut value)?;
        state.notes.insert(key, value.into());
    }
    let chain_count = if has_chains { int(input)? } else { 0 };
    let mut last = None;
    for _ in 0..chain_count {
        let index = int(input)?;
        ensure(last.replace(index).is_none_or(|last| last < index))?;
        let channel = state.channel(index).ok_or(io::ErrorKind::InvalidData)?;
        let (row, root) = (TickRow(array(input)?), array(input)?);
        ensure(row.is_in_range() && row.root() == root && row.claim() >= channel.authorized())?;
        state.channels.set_chain(index, Chain { row, root });
    }
    ensure(audit::is_sound(&state))?;
    Ok(state)
}

fn channel(input: &mut impl Read) -> io::Result<Channel> {
    let role = Role::from_u8(array::<1>(input)?[0]).ok_or(io::ErrorKind::InvalidData)?;
    let voucher_key = array(input)?;
    let (payee, close_at, voucher_count) = (int(input)?, int(input)?, int(input)?);
    let (block, key_index) = (long(input)?, long(input)?);
    Ok(Channel {
        block,
        key_index,
        voucher_key,
        payee,
        deposit: amount(input)?,
        settled: amount(input)?,
        first: amount(input)?,
        second: amount(input)?,
        close_at,
        voucher_count,
        row: Row(array(input)?),
        role,
        chain: None,
    })
}

fn session(input: &mut impl Read) -> io::Result<Session> {
    let closed = flag(input)?;
    let session_id = array(input)?;
    let (channel, torrent, piece_count) = (int(input)?, int(input)?, int(input)?);
    Ok(Session {
        bytes: long(input)?,
        outstanding_bytes: long(input)?,
        delivered_bytes: long(input)?,
        channel,
        torrent,
        session_id,
        price_mib: amount(input)?,
        minimum_step: amount(input)?,
        prepay: amount(input)?,
        piece_count,
        closed,
    })
}

fn ensure(condition: bool) -> io::Result<()> {
    if condition {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

fn count(out: &mut impl Write, count: usize) -> io::Result<()> {
    let count = u32::try_from(count).map_err(|_| io::ErrorKind::InvalidData)?;
    out.write_all(&count.to_le_bytes())
}

fn ints(out: &mut impl Write, values: &[u32]) -> io::Result<()> {
    values
        .iter()
        .try_for_each(|value| out.write_all(&value.to_le_bytes()))
}

fn longs(out: &mut impl Write, values: &[u64]) -> io::Result<()> {
    values
        .iter()
        .try_for_each(|value| out.write_all(&value.to_le_bytes()))
}

fn amounts(out: &mut impl Write, values: &[Amount]) -> io::Result<()> {
    values
        .iter()
        .try_for_each(|value| out.write_all(&value.to_le_bytes()))
}

fn array<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn flag(input: &mut impl Read) -> io::Result<bool> {
    let [byte] = array(input)?;
    ensure(byte <= 1)?;
    Ok(byte == 1)
}

fn int(input: &mut impl Read) -> io::Result<u32> {
    Ok(u32::from_le_bytes(array(input)?))
}

fn long(input: &mut impl Read) -> io::Result<u64> {
    Ok(u64::from_le_bytes(array(input)?))
}

fn amount(input: &mut impl Read) -> io::Result<Amount> {
    Ok(Amount::from_le_bytes(array(input)?))
}
