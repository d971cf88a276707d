//! The events of the ledger and their bytes in the journal (`docs/spec/ledger.md` 3).
//!
//! An event is an accepted command without what only the decision needed. Kind `u8`, then fields of
//! fixed width, little-endian; only a note has a variable part, behind its length.

use crate::Address;
use crate::amount::Amount;
use crate::ledger::command::Role;
use crate::tick_row::{TICK_ROW_SIZE, Tick, TickRow};
use crate::voucher::{ROW_SIZE, Row};

/// Stands in a note's length for "erased".
const ERASED: u32 = u32::MAX;
/// Bytes of a `signed` event, which a batch may owe at its end.
pub const SIGNED_SIZE: usize = 1 + 4 + ROW_SIZE;
/// Bytes of the largest event but for a note's value.
pub const FIXED_SIZE_MAX: usize = 1 + 4 + TICK_ROW_SIZE;

/// Something that happened. Applying it to the state before it gives the state after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Event<'a> {
    ChannelPut {
        role: Role,
        voucher_key: Address,
        payee: Address,
        deposit: Amount,
        settled: Amount,
        close_at: u32,
        block: u64,
        key_index: u64,
    },
    SessionOpened {
        channel: u32,
        session_id: [u8; 16],
        infohash: [u8; 20],
        price_mib: Amount,
        minimum_step: Amount,
        prepay: Amount,
    },
    SessionClosed {
        session: u32,
        delivered_bytes: u64,
    },
    Granted {
        session: u32,
        bytes: u64,
    },
    VoucherAccepted {
        session: u32,
        row: Row,
    },
    WrittenOff {
        session: u32,
        amount: Amount,
    },
    BudgetSet {
        infohash: [u8; 20],
        limit: Amount,
    },
    Purchased {
        session: u32,
        piece: u32,
        bytes: u32,
        recovered: Amount,
    },
    Abandoned {
        session: u32,
        piece: u32,
        forfeited: Amount,
    },
    Paid {
        session: u32,
        piece: u32,
        bytes: u32,
    },
    Signed {
        channel: u32,
        row: Row,
    },
    Adopted {
        channel: u32,
        row: Row,
    },
    NoteKept {
        space: u16,
        key: [u8; 32],
        value: Option<&'a [u8]>,
    },
    ChainSet {
        channel: u32,
        row: TickRow,
    },
    Ticked {
        channel: u32,
        count: u16,
        tick: Tick,
    },
}

impl<'a> Event<'a> {
    /// The most bytes that `encode` appends.
    #[must_use]
    pub fn size_max(&self) -> usize {
        match self {
            Event::NoteKept { value, .. } => FIXED_SIZE_MAX + value.map_or(0, <[u8]>::len),
            _ => FIXED_SIZE_MAX,
        }
    }

    /// Appends the bytes of the event.
    #[rustfmt::skip]
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        match *self {
            Event::ChannelPut { role, voucher_key, payee, deposit, settled, close_at, block, key_index } => {
                put(&[1, role as u8]); put(&voucher_key); put(&payee);
                put(&deposit.to_le_bytes()); put(&settled.to_le_bytes());
                put(&close_at.to_le_bytes()); put(&block.to_le_bytes()); put(&key_index.to_le_bytes());
            }
            Event::SessionOpened { channel, session_id, infohash, price_mib, minimum_step, prepay } => {
                put(&[2]); put(&channel.to_le_bytes()); put(&session_id); put(&infohash);
                put(&price_mib.to_le_bytes()); put(&minimum_step.to_le_bytes()); put(&prepay.to_le_bytes());
            }
            Event::SessionClosed { session, delivered_bytes } => {
                put(&[3]); put(&session.to_le_bytes()); put(&delivered_bytes.to_le_bytes());
            }
            Event::Granted { session, bytes } => {
                put(&[4]); put(&session.to_le_bytes()); put(&bytes.to_le_bytes());
            }
            Event::VoucherAccepted { session, row } => {
                put(&[5]); put(&session.to_le_bytes()); put(&row.0);
            }
            Event::WrittenOff { session, amount } => {
                put(&[6]); put(&session.to_le_bytes()); put(&amount.to_le_bytes());
            }
            Event::BudgetSet { infohash, limit } => {
                put(&[7]); put(&infohash); put(&limit.to_le_bytes());
            }
            Event::Purchased { session, piece, bytes, recovered } => {
                put(&[8]); put(&session.to_le_bytes()); put(&piece.to_le_bytes()); put(&bytes.to_le_bytes());
                put(&recovered.to_le_bytes());
            }
            Event::Abandoned { session, piece, forfeited } => {
                put(&[9]); put(&session.to_le_bytes()); put(&piece.to_le_bytes());
                put(&forfeited.to_le_bytes());
            }
            Event::Paid { session, piece, bytes } => {
                put(&[10]); put(&session.to_le_bytes()); put(&piece.to_le_bytes()); put(&bytes.to_le_bytes());
            }
            Event::Signed { channel, row } => {
                put(&[11]); put(&channel.to_le_bytes()); put(&row.0);
            }
            Event::Adopted { channel, row } => {
                put(&[12]); put(&channel.to_le_bytes()); put(&row.0);
            }
            Event::NoteKept { space, key, value } => {
                put(&[13]); put(&space.to_le_bytes()); put(&key);
                put(&value.map_or(ERASED, |bytes| bytes.len() as u32).to_le_bytes());
                put(value.unwrap_or(&[]));
            }
            Event::ChainSet { channel, row } => {
                put(&[14]); put(&channel.to_le_bytes()); put(&row.0);
            }
            Event::Ticked { channel, count, tick } => {
                put(&[15]); put(&channel.to_le_bytes()); put(&count.to_le_bytes()); put(&tick);
            }
        }
    }

    /// Takes one event off the front of `input`, or `None` if its bytes are not an event.
    pub fn decode(input: &mut &'a [u8]) -> Option<Event<'a>> {
        Some(match take::<1>(input)?[0] {
            1 => Event::ChannelPut {
                role: Role::from_u8(take::<1>(input)?[0])?,
                voucher_key: take(input)?,
                payee: take(input)?,
                deposit: amount(input)?,
                settled: amount(input)?,
                close_at: int(input)?,
                block: long(input)?,
                key_index: long(input)?,
            },
            2 => Event::SessionOpened {
                channel: int(input)?,
                session_id: take(input)?,
                infohash: take(input)?,
                price_mib: amount(input)?,
                minimum_step: amount(input)?,
                prepay: amount(input)?,
            },
            3 => Event::SessionClosed {
                session: int(input)?,
                delivered_bytes: long(input)?,
            },
            4 => Event::Granted {
                session: int(input)?,
                bytes: long(input)?,
            },
            5 => Event::VoucherAccepted {
                session: int(input)?,
                row: Row(take(input)?),
            },
            6 => Event::WrittenOff {
                session: int(input)?,
                amount: amount(input)?,
            },
            7 => Event::BudgetSet {
                infohash: take(input)?,
                limit: amount(input)?,
            },
            8 => Event::Purchased {
                session: int(input)?,
                piece: int(input)?,
                bytes: int(input)?,
                recovered: amount(input)?,
            },
            9 => Event::Abandoned {
                session: int(input)?,
                piece: int(input)?,
                forfeited: amount(input)?,
            },
            10 => Event::Paid {
                session: int(input)?,
                piece: int(input)?,
                bytes: int(input)?,
            },
            11 => Event::Signed {
                channel: int(input)?,
                row: Row(take(input)?),
            },
            12 => Event::Adopted {
                channel: int(input)?,
                row: Row(take(input)?),
            },
            13 => Event::NoteKept {
                space: u16::from_le_bytes(take(input)?),
                key: take(input)?,
                value: match int(input)? {
                    ERASED => None,
                    size => Some(input.split_off(..size as usize)?),
                },
            },
            14 => Event::ChainSet {
                channel: int(input)?,
                row: TickRow(take(input)?),
            },
            15 => Event::Ticked {
                channel: int(input)?,
                count: u16::from_le_bytes(take(input)?),
                tick: take(input)?,
            },
            _ => return None,
        })
    }
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    input.split_off(..N)?.try_into().ok()
}

fn int(input: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(input)?))
}

fn long(input: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(input)?))
}

fn amount(input: &mut &[u8]) -> Option<Amount> {
    Some(Amount::from_le_bytes(take(input)?))
}
