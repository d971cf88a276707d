//! The outcome record of one command of a committed batch.

use super::{layout, put, put_amount};
use crate::ledger::batch::Applied;
use crate::ledger::state::State;
use crate::voucher::Row;

/// Stands for "no channel" and "no session" where an index is expected.
pub const NONE: u32 = u32::MAX;

layout!(
    /// What became of a command, and its channel after the whole batch.
    outcome, "outcome", 208, {
        STATUS "status" U8 1 @ 0;
        SIGNED "signed" Flag 1 @ 1;
        CHANNEL "channel" U32 4 @ 4;
        SESSION "session" U32 4 @ 8;
        AUTHORIZED "authorized" Amount 16 @ 16;
        GRANTED "granted" Amount 16 @ 32;
        WRITTEN_OFF "writtenOff" Amount 16 @ 48;
        DEPOSIT "deposit" Amount 16 @ 64;
        DUE "due" Amount 16 @ 80;
        RESERVED "reserved" Amount 16 @ 96;
        UNPAID "unpaid" Amount 16 @ 112;
        ROW "row" Bytes 76 @ 128;
    }
);

/// Appends the outcome of `applied`; `signed` is the row the batch signed for its channel.
pub fn encode(out: &mut Vec<u8>, state: &State, applied: &Applied, signed: Option<&Row>) {
    use outcome as at;
    let start = out.len();
    out.resize(start + at::LAYOUT.stride, 0);
    let r = &mut out[start..];
    r[at::STATUS] = applied.status as u8;
    put(
        r,
        at::CHANNEL,
        &applied.channel.unwrap_or(NONE).to_le_bytes(),
    );
    put(
        r,
        at::SESSION,
        &applied.session.unwrap_or(NONE).to_le_bytes(),
    );
    let Some(channel) = applied.channel.and_then(|index| state.channel(index)) else {
        return;
    };
    put_amount(r, at::AUTHORIZED, channel.authorized());
    put_amount(r, at::GRANTED, channel.granted());
    put_amount(r, at::WRITTEN_OFF, channel.written_off());
    put_amount(r, at::DEPOSIT, channel.deposit.get());
    put_amount(r, at::DUE, channel.due());
    put_amount(r, at::RESERVED, channel.reserved());
    put_amount(r, at::UNPAID, channel.unpaid());
    if let Some(row) = signed {
        r[at::SIGNED] = 1;
        put(r, at::ROW, &row.0);
    }
}
