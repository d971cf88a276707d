//! The outcome record of one command of a committed batch.

use super::{layout, put};
use crate::amount::AMOUNT_MAX;
use crate::ledger::batch::Applied;
use crate::ledger::channels::Standing;
use crate::ledger::state::State;
use crate::voucher::Row;

/// Stands for "no channel" and "no session" where an index is expected.
pub const NONE: u32 = u32::MAX;

layout!(
    /// What became of a command, and its channel after the whole batch. Where the flag `row` is set, the row
    /// that the batch signed for the channel follows the record; where `tickRow` is, the tick row of the
    /// chain that it set or advanced. A plain row ends a chain, so there is never both.
    outcome, "outcome", 96, {
        STATUS "status" U8 1 @ 0;
        ROW "row" Flag 1 @ 1;
        TICK_ROW "tickRow" Flag 1 @ 2;
        CHANNEL "channel" U32 4 @ 4;
        SESSION "session" U32 4 @ 8;
        AUTHORIZED "authorized" Uint96 12 @ 12;
        GRANTED "granted" Uint96 12 @ 24;
        WRITTEN_OFF "writtenOff" Uint96 12 @ 36;
        DEPOSIT "deposit" Uint96 12 @ 48;
        DUE "due" Uint96 12 @ 60;
        RESERVED "reserved" Uint96 12 @ 72;
        UNPAID "unpaid" Uint96 12 @ 84;
    }
);

/// Appends the outcome of `applied`; `signed` is the row the batch signed for its channel, `is_ticked`
/// whether it set or advanced the channel's chain.
pub fn encode(
    out: &mut Vec<u8>,
    state: &State,
    applied: &Applied,
    signed: Option<&Row>,
    is_ticked: bool,
) {
    use outcome as at;
    let mut record = [0; at::LAYOUT.stride];
    let r = &mut record[..];
    let put_index = |r: &mut [u8], at, index: Option<u32>| {
        put(r, at, &index.unwrap_or(NONE).to_le_bytes());
    };
    let put_uint96 = |r: &mut [u8], at, value: u128| {
        debug_assert!(value <= AMOUNT_MAX);
        put(r, at, &value.to_le_bytes()[..12]);
    };
    r[at::STATUS] = applied.status as u8;
    put_index(r, at::CHANNEL, applied.channel);
    put_index(r, at::SESSION, applied.session);
    let account = applied.channel.and_then(|at| state.channels.account(at));
    let ticked = applied.channel.filter(|_| is_ticked);
    let tick_row = ticked.and_then(|index| state.channel(index)?.tick_row().copied());
    if let Some(channel) = &account {
        put_uint96(r, at::AUTHORIZED, channel.authorized());
        put_uint96(r, at::GRANTED, channel.granted());
        put_uint96(r, at::WRITTEN_OFF, channel.written_off());
        put_uint96(r, at::DEPOSIT, channel.deposit.get());
        put_uint96(r, at::DUE, channel.due());
        put_uint96(r, at::RESERVED, channel.reserved());
        put_uint96(r, at::UNPAID, channel.unpaid());
        r[at::ROW] = u8::from(signed.is_some());
        r[at::TICK_ROW] = u8::from(tick_row.is_some());
    }
    out.extend_from_slice(&record);
    if let Some(row) = signed {
        out.extend_from_slice(&row.0);
    }
    if let Some(row) = tick_row {
        out.extend_from_slice(&row.0);
    }
}
