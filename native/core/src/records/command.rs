//! The command records: one layout per kind over one common stride.
//!
//! The kind is the first byte of each. Reading a record never fails: what is not a command comes
//! out as `None` and gets the status `malformed`.

use super::{Layout, amount_at, bytes, flag_at, layout, u16_at, u32_at, u64_at};
use crate::ledger::command::{COUNT_MAX, Command, Role};
use crate::tick_row::TickRow;
use crate::voucher::Row;

/// Bytes from one command to the next, whatever its kind.
pub const STRIDE: usize = 136;

layout!(/// Creates or refreshes a channel.
    channel_put, "channel_put", 136, {
        KIND "kind" U8 1 @ 0;
        ROLE "role" U8 1 @ 1;
        CLOSE_AT "closeAt" U32 4 @ 4;
        VOUCHER_KEY "voucherKey" Bytes 20 @ 8;
        PAYEE "payee" Bytes 20 @ 28;
        DEPOSIT "deposit" Amount 16 @ 48;
        SETTLED "settled" Amount 16 @ 64;
        BLOCK "block" U64 8 @ 80;
        KEY_INDEX "keyIndex" U64 8 @ 88;
    }
);
layout!(/// Opens a session on a channel.
    session_open, "session_open", 136, {
        KIND "kind" U8 1 @ 0;
        CHANNEL "channel" U32 4 @ 4;
        SESSION_ID "sessionId" Bytes 16 @ 8;
        INFOHASH "infohash" Bytes 20 @ 24;
        PRICE_MIB "priceMiB" Amount 16 @ 48;
        MINIMUM_STEP "minimumStep" Amount 16 @ 64;
        PREPAY "prepay" Amount 16 @ 80;
    }
);
layout!(/// Closes a session.
    session_close, "session_close", 136, {
        KIND "kind" U8 1 @ 0;
        SESSION "session" U32 4 @ 4;
        DELIVERED_BYTES "deliveredBytes" U64 8 @ 8;
    }
);
layout!(/// Lets the payer owe a piece.
    grant, "grant", 136, {
        KIND "kind" U8 1 @ 0;
        SESSION "session" U32 4 @ 4;
        BYTES "bytes" U64 8 @ 8;
        EXPOSURE_LIMIT "exposureLimit" Amount 16 @ 16;
    }
);
layout!(/// A voucher that arrived.
    voucher, "voucher", 136, {
        KIND "kind" U8 1 @ 0;
        FINAL "final" Flag 1 @ 1;
        VERIFIED "verified" Flag 1 @ 2;
        SESSION "session" U32 4 @ 4;
        ROW "row" Bytes 76 @ 8;
    }
);
layout!(/// Gives up an unpaid amount.
    write_off, "write_off", 136, {
        KIND "kind" U8 1 @ 0;
        SESSION "session" U32 4 @ 4;
        AMOUNT "amount" Amount 16 @ 16;
    }
);
layout!(/// Limits what a torrent may cost.
    budget, "budget", 136, {
        KIND "kind" U8 1 @ 0;
        INFOHASH "infohash" Bytes 20 @ 24;
        LIMIT "limit" Amount 16 @ 48;
    }
);
layout!(/// Reserves the price of a piece that will be asked for.
    purchase, "purchase", 136, {
        KIND "kind" U8 1 @ 0;
        SESSION "session" U32 4 @ 4;
        PIECE "piece" U32 4 @ 8;
        BYTES "bytes" U32 4 @ 12;
    }
);
layout!(/// Releases the reservation of a piece.
    abandon, "abandon", 136, {
        KIND "kind" U8 1 @ 0;
        SESSION "session" U32 4 @ 4;
        PIECE "piece" U32 4 @ 8;
    }
);
layout!(/// Pays a piece.
    pay, "pay", 136, {
        KIND "kind" U8 1 @ 0;
        SESSION "session" U32 4 @ 4;
        PIECE "piece" U32 4 @ 8;
        BYTES "bytes" U32 4 @ 12;
        ADVANCE "advance" Amount 16 @ 16;
    }
);
layout!(/// Signs for what is due.
    sign, "sign", 136, {
        KIND "kind" U8 1 @ 0;
        SESSION "session" U32 4 @ 4;
        ADVANCE "advance" Amount 16 @ 16;
    }
);
layout!(/// Takes over a voucher of the channel's own key.
    adopt, "adopt", 136, {
        KIND "kind" U8 1 @ 0;
        CHANNEL "channel" U32 4 @ 4;
        ROW "row" Bytes 76 @ 8;
    }
);
layout!(/// Keeps bytes for the shell; the value lies in the side buffer.
    note, "note", 136, {
        KIND "kind" U8 1 @ 0;
        PRESENT "present" Flag 1 @ 1;
        SPACE "space" U16 2 @ 2;
        KEY "key" Bytes 32 @ 8;
        VALUE_OFFSET "valueOffset" U32 4 @ 40;
        VALUE_SIZE "valueSize" U32 4 @ 44;
    }
);
layout!(/// A tick voucher that arrived.
    tick_voucher, "tick_voucher", 136, {
        KIND "kind" U8 1 @ 0;
        VERIFIED "verified" Flag 1 @ 2;
        SESSION "session" U32 4 @ 4;
        ROW "row" Bytes 124 @ 8;
    }
);
layout!(/// A tick that arrived.
    tick, "tick", 136, {
        KIND "kind" U8 1 @ 0;
        COUNT "count" U16 2 @ 2;
        SESSION "session" U32 4 @ 4;
        TICK "tick" Bytes 32 @ 8;
    }
);
layout!(/// Signs a tick voucher over what is due.
    open_chain, "open_chain", 136, {
        KIND "kind" U8 1 @ 0;
        LENGTH "length" U16 2 @ 2;
        SESSION "session" U32 4 @ 4;
        UNIT "unit" Amount 16 @ 16;
    }
);
layout!(/// Pays with a tick.
    reveal, "reveal", 136, {
        KIND "kind" U8 1 @ 0;
        COUNT "count" U16 2 @ 2;
        SESSION "session" U32 4 @ 4;
        ADVANCE "advance" Amount 16 @ 16;
    }
);
layout!(/// Books a piece that ticks or a later voucher pay.
    receive, "receive", 136, {
        KIND "kind" U8 1 @ 0;
        SESSION "session" U32 4 @ 4;
        PIECE "piece" U32 4 @ 8;
        BYTES "bytes" U32 4 @ 12;
    }
);
layout!(/// Takes over a tick voucher of the channel's own key.
    adopt_ticks, "adopt_ticks", 136, {
        KIND "kind" U8 1 @ 0;
        CHANNEL "channel" U32 4 @ 4;
        ROW "row" Bytes 124 @ 8;
    }
);

/// The layout of each kind, under its number.
pub const ALL: [(u8, &Layout); 19] = [
    (1, &channel_put::LAYOUT),
    (2, &session_open::LAYOUT),
    (3, &session_close::LAYOUT),
    (4, &grant::LAYOUT),
    (5, &voucher::LAYOUT),
    (6, &write_off::LAYOUT),
    (7, &budget::LAYOUT),
    (8, &purchase::LAYOUT),
    (9, &abandon::LAYOUT),
    (10, &pay::LAYOUT),
    (11, &sign::LAYOUT),
    (12, &adopt::LAYOUT),
    (13, &note::LAYOUT),
    (14, &tick_voucher::LAYOUT),
    (15, &tick::LAYOUT),
    (16, &open_chain::LAYOUT),
    (17, &reveal::LAYOUT),
    (18, &receive::LAYOUT),
    (19, &adopt_ticks::LAYOUT),
];

const _: () = {
    let mut at = 0;
    while at < ALL.len() {
        assert!(ALL[at].0 as usize == at + 1 && ALL[at].1.stride == STRIDE);
        at += 1;
    }
};

fn count_at(record: &[u8], at: usize) -> Option<u64> {
    Some(u64_at(record, at)).filter(|count| *count <= COUNT_MAX)
}

/// Reads one command record; note values are slices of `blobs`.
#[must_use]
#[inline]
pub fn decode<'a>(r: &[u8], blobs: &'a [u8]) -> Option<Command<'a>> {
    Some(match r[0] {
        1 => {
            use channel_put as at;
            Command::ChannelPut {
                role: Role::from_u8(r[at::ROLE])?,
                voucher_key: address_at(r, at::VOUCHER_KEY)?,
                payee: address_at(r, at::PAYEE)?,
                deposit: amount_at(r, at::DEPOSIT)?,
                settled: amount_at(r, at::SETTLED)?,
                close_at: u32_at(r, at::CLOSE_AT),
                block: count_at(r, at::BLOCK)?,
                key_index: count_at(r, at::KEY_INDEX)?,
            }
        }
        2 => {
            use session_open as at;
            Command::SessionOpen {
                channel: u32_at(r, at::CHANNEL),
                session_id: bytes(r, at::SESSION_ID),
                infohash: bytes(r, at::INFOHASH),
                price_mib: amount_at(r, at::PRICE_MIB)?,
                minimum_step: amount_at(r, at::MINIMUM_STEP)?,
                prepay: amount_at(r, at::PREPAY)?,
            }
        }
        3 => Command::SessionClose {
            session: u32_at(r, session_close::SESSION),
            delivered_bytes: count_at(r, session_close::DELIVERED_BYTES)?,
        },
        4 => Command::Grant {
            session: u32_at(r, grant::SESSION),
            bytes: count_at(r, grant::BYTES).filter(|count| *count > 0)?,
            exposure_limit: amount_at(r, grant::EXPOSURE_LIMIT)?,
        },
        5 => Command::Voucher {
            session: u32_at(r, voucher::SESSION),
            row: Row(bytes(r, voucher::ROW)),
            is_final: flag_at(r, voucher::FINAL)?,
            verified: flag_at(r, voucher::VERIFIED)?,
        },
        6 => Command::WriteOff {
            session: u32_at(r, write_off::SESSION),
            amount: amount_at(r, write_off::AMOUNT)?,
        },
        7 => Command::Budget {
            infohash: bytes(r, budget::INFOHASH),
            limit: amount_at(r, budget::LIMIT)?,
        },
        8 => Command::Purchase {
            session: u32_at(r, purchase::SESSION),
            piece: u32_at(r, purchase::PIECE),
            bytes: Some(u32_at(r, purchase::BYTES)).filter(|count| *count > 0)?,
        },
        9 => Command::Abandon {
            session: u32_at(r, abandon::SESSION),
            piece: u32_at(r, abandon::PIECE),
        },
        10 => Command::Pay {
            session: u32_at(r, pay::SESSION),
            piece: u32_at(r, pay::PIECE),
            bytes: u32_at(r, pay::BYTES),
            advance: amount_at(r, pay::ADVANCE)?,
        },
        11 => Command::Sign {
            session: u32_at(r, sign::SESSION),
            advance: amount_at(r, sign::ADVANCE)?,
        },
        12 => Command::Adopt {
            channel: u32_at(r, adopt::CHANNEL),
            row: Row(bytes(r, adopt::ROW)),
        },
        13 => {
            let from = u32_at(r, note::VALUE_OFFSET) as usize;
            let size = u32_at(r, note::VALUE_SIZE) as usize;
            let value = match flag_at(r, note::PRESENT)? {
                true => Some(blobs.get(from..from.checked_add(size)?)?),
                false => None,
            };
            Command::Note {
                space: u16_at(r, note::SPACE),
                key: bytes(r, note::KEY),
                value,
            }
        }
        14 => Command::TickVoucher {
            session: u32_at(r, tick_voucher::SESSION),
            row: TickRow(bytes(r, tick_voucher::ROW)),
            verified: flag_at(r, tick_voucher::VERIFIED)?,
        },
        15 => Command::Tick {
            session: u32_at(r, tick::SESSION),
            count: u16_at(r, tick::COUNT),
            tick: bytes(r, tick::TICK),
        },
        16 => Command::OpenChain {
            session: u32_at(r, open_chain::SESSION),
            unit: amount_at(r, open_chain::UNIT)?,
            length: u16_at(r, open_chain::LENGTH),
        },
        17 => Command::Reveal {
            session: u32_at(r, reveal::SESSION),
            count: u16_at(r, reveal::COUNT),
            advance: amount_at(r, reveal::ADVANCE)?,
        },
        18 => Command::Receive {
            session: u32_at(r, receive::SESSION),
            piece: u32_at(r, receive::PIECE),
            bytes: u32_at(r, receive::BYTES),
        },
        19 => Command::AdoptTicks {
            channel: u32_at(r, adopt_ticks::CHANNEL),
            row: TickRow(bytes(r, adopt_ticks::ROW)),
        },
        _ => return None,
    })
}

fn address_at(record: &[u8], at: usize) -> Option<crate::Address> {
    Some(bytes(record, at)).filter(|address| *address != [0; 20])
}
