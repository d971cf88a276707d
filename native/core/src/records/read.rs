//! The records in which TypeScript reads the state, and how they are filled.

use super::{Layout, layout, put, put_amount};
use crate::ledger::channels::Standing;
use crate::ledger::command::Role;
use crate::ledger::state::State;

layout!(/// One channel. Where the flag `tickRow` is set, the current tick row follows the record.
    channel, "channel", 300, {
        INDEX "index" U32 4 @ 0;
        ROLE "role" U8 1 @ 4;
        TICK_ROW "tickRow" Flag 1 @ 5;
        CLOSE_AT "closeAt" U32 4 @ 8;
        VOUCHER_COUNT "voucherCount" U32 4 @ 12;
        BLOCK "block" U64 8 @ 16;
        KEY_INDEX "keyIndex" U64 8 @ 24;
        VOUCHER_KEY "voucherKey" Bytes 20 @ 32;
        PAYEE "payee" Bytes 20 @ 52;
        DEPOSIT "deposit" Amount 16 @ 72;
        SETTLED "settled" Amount 16 @ 88;
        AUTHORIZED "authorized" Amount 16 @ 104;
        GRANTED "granted" Amount 16 @ 120;
        WRITTEN_OFF "writtenOff" Amount 16 @ 136;
        DUE "due" Amount 16 @ 152;
        RESERVED "reserved" Amount 16 @ 168;
        UNPAID "unpaid" Amount 16 @ 184;
        ROW "row" Bytes 76 @ 200;
    }
);
layout!(/// One session; `owed` is the price of its bytes, `reserved` that of its outstanding pieces.
    session, "session", 160, {
        INDEX "index" U32 4 @ 0;
        CHANNEL "channel" U32 4 @ 4;
        SESSION_ID "sessionId" Bytes 16 @ 8;
        INFOHASH "infohash" Bytes 20 @ 24;
        PIECE_COUNT "pieceCount" U32 4 @ 44;
        CLOSED "closed" Flag 1 @ 48;
        BYTES "bytes" U64 8 @ 56;
        OUTSTANDING_BYTES "outstandingBytes" U64 8 @ 64;
        DELIVERED_BYTES "deliveredBytes" U64 8 @ 72;
        PRICE_MIB "priceMiB" Amount 16 @ 80;
        MINIMUM_STEP "minimumStep" Amount 16 @ 96;
        PREPAY "prepay" Amount 16 @ 112;
        OWED "owed" Amount 16 @ 128;
        RESERVED "reserved" Amount 16 @ 144;
    }
);
layout!(/// One outstanding piece.
    outstanding, "outstanding", 32, {
        SESSION "session" U32 4 @ 0;
        PIECE "piece" U32 4 @ 4;
        BYTES "bytes" U32 4 @ 8;
        INFOHASH "infohash" Bytes 20 @ 12;
    }
);
layout!(/// One infohash with a budget.
    budget, "budget_state", 72, {
        INFOHASH "infohash" Bytes 20 @ 0;
        LIMIT "limit" Amount 16 @ 24;
        SPENT "spent" Amount 16 @ 40;
        RESERVED "reserved" Amount 16 @ 56;
    }
);
layout!(/// The head of one note; the value of `size` bytes follows it.
    note, "note_state", 40, {
        SPACE "space" U16 2 @ 0;
        SIZE "size" U32 4 @ 4;
        KEY "key" Bytes 32 @ 8;
    }
);
layout!(/// Counts and sums over the whole ledger.
    summary, "summary", 240, {
        SEQUENCE "sequence" U64 8 @ 0;
        CHANNEL_COUNT "channelCount" U32 4 @ 8;
        PAYER_CHANNEL_COUNT "payerChannelCount" U32 4 @ 12;
        SESSION_COUNT "sessionCount" U32 4 @ 16;
        OPEN_SESSION_COUNT "openSessionCount" U32 4 @ 20;
        OUTSTANDING_COUNT "outstandingCount" U32 4 @ 24;
        BUDGET_COUNT "budgetCount" U32 4 @ 28;
        NOTE_COUNT "noteCount" U32 4 @ 32;
        LOW_SPACE "lowSpace" Flag 1 @ 36;
        PAYEE_DEPOSIT "payeeDeposit" Amount 16 @ 40;
        PAYEE_SETTLED "payeeSettled" Amount 16 @ 56;
        PAYEE_AUTHORIZED "payeeAuthorized" Amount 16 @ 72;
        GRANTED "granted" Amount 16 @ 88;
        WRITTEN_OFF "writtenOff" Amount 16 @ 104;
        UNPAID "unpaid" Amount 16 @ 120;
        PAYER_DEPOSIT "payerDeposit" Amount 16 @ 136;
        PAYER_SETTLED "payerSettled" Amount 16 @ 152;
        PAYER_AUTHORIZED "payerAuthorized" Amount 16 @ 168;
        DUE "due" Amount 16 @ 184;
        RESERVED "reserved" Amount 16 @ 200;
        SPENT "spent" Amount 16 @ 216;
        NEXT_KEY_INDEX "nextKeyIndex" U64 8 @ 232;
    }
);

/// The layouts of this module.
pub const ALL: [&Layout; 6] = [
    &channel::LAYOUT,
    &session::LAYOUT,
    &outstanding::LAYOUT,
    &budget::LAYOUT,
    &note::LAYOUT,
    &summary::LAYOUT,
];

/// A table of the state that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// Channels, by index.
    Channels,
    /// Sessions, by index.
    Sessions,
    /// Outstanding pieces, in the order of torrent and piece.
    Outstanding,
    /// Infohashes that have a budget, in the order they were first named.
    Budgets,
    /// Notes with their values, in the order of space and key.
    Notes,
}

impl Table {
    /// The table with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Table> {
        Some(match name {
            "channels" => Table::Channels,
            "sessions" => Table::Sessions,
            "outstanding" => Table::Outstanding,
            "budgets" => Table::Budgets,
            "notes" => Table::Notes,
            _ => return None,
        })
    }
}

/// Up to `count` records of a table from the ordinal `from` on.
#[must_use]
pub fn read(state: &State, table: Table, from: usize, count: usize) -> Vec<u8> {
    let mut out = Vec::new();
    match table {
        Table::Channels => {
            for index in (0..state.channels.len()).skip(from).take(count) {
                put_channel(&mut out, state, index as u32);
            }
        }
        Table::Sessions => {
            for index in (0..state.sessions.len()).skip(from).take(count) {
                put_session(&mut out, state, index as u32);
            }
        }
        Table::Outstanding => {
            for ((torrent, piece), found) in state.outstanding.iter().skip(from).take(count) {
                let r = grow(&mut out, &outstanding::LAYOUT);
                put(r, outstanding::SESSION, &found.session.to_le_bytes());
                put(r, outstanding::PIECE, &piece.to_le_bytes());
                put(r, outstanding::BYTES, &found.bytes.to_le_bytes());
                let infohash = &state.torrents[*torrent as usize].infohash;
                put(r, outstanding::INFOHASH, infohash);
            }
        }
        Table::Budgets => {
            let set = state.torrents.iter().filter_map(|t| Some((t, t.limit?)));
            for (torrent, limit) in set.skip(from).take(count) {
                let r = grow(&mut out, &budget::LAYOUT);
                put(r, budget::INFOHASH, &torrent.infohash);
                put_amount(r, budget::LIMIT, limit.get());
                put_amount(r, budget::SPENT, torrent.spent.get());
                put_amount(r, budget::RESERVED, torrent.reserved.get());
            }
        }
        Table::Notes => {
            for ((space, key), value) in state.notes.iter().skip(from).take(count) {
                let r = grow(&mut out, &note::LAYOUT);
                put(r, note::SPACE, &space.to_le_bytes());
                put(r, note::SIZE, &(value.len() as u32).to_le_bytes());
                put(r, note::KEY, key);
                out.extend_from_slice(value);
            }
        }
    }
    out
}

fn grow<'a>(out: &'a mut Vec<u8>, layout: &Layout) -> &'a mut [u8] {
    let start = out.len();
    out.resize(start + layout.stride, 0);
    &mut out[start..]
}

fn put_channel(out: &mut Vec<u8>, state: &State, index: u32) {
    use channel as at;
    let Some(c) = state.channel(index) else {
        return;
    };
    let r = grow(out, &at::LAYOUT);
    put(r, at::INDEX, &index.to_le_bytes());
    r[at::ROLE] = c.role as u8;
    put(r, at::CLOSE_AT, &c.close_at.to_le_bytes());
    put(r, at::VOUCHER_COUNT, &c.voucher_count.to_le_bytes());
    put(r, at::BLOCK, &c.block.to_le_bytes());
    put(r, at::KEY_INDEX, &c.key_index.to_le_bytes());
    put(r, at::VOUCHER_KEY, &c.voucher_key);
    put(r, at::PAYEE, state.payee(&c));
    put_amount(r, at::DEPOSIT, c.deposit.get());
    put_amount(r, at::SETTLED, c.settled.get());
    put_amount(r, at::AUTHORIZED, c.authorized());
    put_amount(r, at::GRANTED, c.granted());
    put_amount(r, at::WRITTEN_OFF, c.written_off());
    put_amount(r, at::DUE, c.due());
    put_amount(r, at::RESERVED, c.reserved());
    put_amount(r, at::UNPAID, c.unpaid());
    put(r, at::ROW, &c.row.0);
    if let Some(row) = c.tick_row() {
        r[at::TICK_ROW] = 1;
        out.extend_from_slice(&row.0);
    }
}

fn put_session(out: &mut Vec<u8>, state: &State, index: u32) {
    use session as at;
    let Some(s) = state.session(index) else {
        return;
    };
    let r = grow(out, &at::LAYOUT);
    put(r, at::INDEX, &index.to_le_bytes());
    put(r, at::CHANNEL, &s.channel.to_le_bytes());
    put(r, at::SESSION_ID, &s.session_id);
    put(
        r,
        at::INFOHASH,
        &state.torrents[s.torrent as usize].infohash,
    );
    put(r, at::PIECE_COUNT, &s.piece_count.to_le_bytes());
    r[at::CLOSED] = u8::from(s.closed);
    put(r, at::BYTES, &s.bytes.to_le_bytes());
    put(r, at::OUTSTANDING_BYTES, &s.outstanding_bytes.to_le_bytes());
    put(r, at::DELIVERED_BYTES, &s.delivered_bytes.to_le_bytes());
    put_amount(r, at::PRICE_MIB, s.price_mib.get());
    put_amount(r, at::MINIMUM_STEP, s.minimum_step.get());
    put_amount(r, at::PREPAY, s.prepay.get());
    // Both were priced when they were decided, so neither can overflow now.
    let owed = crate::amount::value(s.price_mib, s.bytes).unwrap_or_default();
    put_amount(r, at::OWED, owed);
    put_amount(r, at::RESERVED, s.reserved().unwrap_or_default());
}

/// The summary record.
#[must_use]
pub fn summarize(state: &State, sequence: u64, low_space: bool) -> Vec<u8> {
    use summary as at;
    let mut out = Vec::new();
    let r = grow(&mut out, &at::LAYOUT);
    let open = state.sessions.open_count();
    let budgets = state.torrents.iter().filter(|t| t.limit.is_some()).count();
    put(r, at::SEQUENCE, &sequence.to_le_bytes());
    for (offset, count) in [
        (at::CHANNEL_COUNT, state.channels.len()),
        (at::SESSION_COUNT, state.sessions.len()),
        (at::OPEN_SESSION_COUNT, open),
        (at::OUTSTANDING_COUNT, state.outstanding.len()),
        (at::BUDGET_COUNT, budgets),
        (at::NOTE_COUNT, state.notes.len()),
    ] {
        put(r, offset, &(count as u32).to_le_bytes());
    }
    r[at::LOW_SPACE] = u8::from(low_space);
    // Fewer than 2^32 channels of at most uint96 each: the sums fit in 128 bits.
    let mut sums = [0u128; 11];
    let mut payers = 0u32;
    for c in state.channels.iter() {
        payers += u32::from(c.role == Role::Payer);
        let base = if c.role == Role::Payee { 0 } else { 6 };
        sums[base] += c.deposit.get();
        sums[base + 1] += c.settled.get();
        sums[base + 2] += c.authorized();
        sums[base + 3] += c.first.get();
        sums[base + 4] += c.second.get();
        sums[5] += c.unpaid();
    }
    put(r, at::PAYER_CHANNEL_COUNT, &payers.to_le_bytes());
    put(r, at::NEXT_KEY_INDEX, &state.next_key_index().to_le_bytes());
    for (nth, sum) in sums.iter().enumerate() {
        put_amount(r, at::PAYEE_DEPOSIT + 16 * nth, *sum);
    }
    let spent = state.torrents.iter().map(|t| t.spent.get()).sum();
    put_amount(r, at::SPENT, spent);
    out
}

const _: () = assert!(summary::SPENT == summary::PAYEE_DEPOSIT + 16 * 11);
