//! The commands of the ledger: what the shell asks for (`docs/spec/ledger.md` 2).
//!
//! A command is plain data that has passed the range checks of its record; whether it is allowed is
//! for `decide` to say.

use crate::Address;
use crate::amount::Amount;
use crate::tick_row::{Tick, TickRow};
use crate::voucher::Row;

/// The greatest integer that TypeScript holds exactly. Counts of commands, and the facts of channels, are at most this.
pub const COUNT_MAX: u64 = (1 << 53) - 1;

/// On which side of a channel this ledger stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Role {
    /// Redeems vouchers.
    Payee = 1,
    /// Signs vouchers.
    Payer = 2,
}

impl Role {
    /// The role with this number.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Role> {
        match number {
            1 => Some(Role::Payee),
            2 => Some(Role::Payer),
            _ => None,
        }
    }
}

/// What the shell asks the ledger to do. Channels and sessions are named by index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Command<'a> {
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
    SessionOpen {
        channel: u32,
        session_id: [u8; 16],
        infohash: [u8; 20],
        price_mib: Amount,
        minimum_step: Amount,
        prepay: Amount,
    },
    SessionClose {
        session: u32,
        delivered_bytes: u64,
    },
    Grant {
        session: u32,
        bytes: u64,
        exposure_limit: Amount,
    },
    Voucher {
        session: u32,
        row: Row,
        is_final: bool,
        verified: bool,
    },
    WriteOff {
        session: u32,
        amount: Amount,
    },
    Budget {
        infohash: [u8; 20],
        limit: Amount,
    },
    Purchase {
        session: u32,
        piece: u32,
        bytes: u32,
    },
    Abandon {
        session: u32,
        piece: u32,
    },
    Pay {
        session: u32,
        piece: u32,
        bytes: u32,
        advance: Amount,
    },
    Sign {
        session: u32,
        advance: Amount,
    },
    Adopt {
        channel: u32,
        row: Row,
    },
    Note {
        space: u16,
        key: [u8; 32],
        value: Option<&'a [u8]>,
    },
    TickVoucher {
        session: u32,
        row: TickRow,
        verified: bool,
    },
    Tick {
        session: u32,
        count: u16,
        tick: Tick,
    },
    OpenChain {
        session: u32,
        unit: Amount,
        length: u16,
    },
    Reveal {
        session: u32,
        count: u16,
        advance: Amount,
    },
    Receive {
        session: u32,
        piece: u32,
        bytes: u32,
    },
    AdoptTicks {
        channel: u32,
        row: TickRow,
    },
}

impl Command<'_> {
    /// The session that the command names, if it names one.
    #[must_use]
    pub fn session(&self) -> Option<u32> {
        use Command as C;
        match *self {
            C::SessionClose { session, .. }
            | C::Grant { session, .. }
            | C::Voucher { session, .. }
            | C::WriteOff { session, .. }
            | C::Purchase { session, .. }
            | C::Abandon { session, .. }
            | C::Pay { session, .. }
            | C::Sign { session, .. }
            | C::TickVoucher { session, .. }
            | C::Tick { session, .. }
            | C::OpenChain { session, .. }
            | C::Reveal { session, .. }
            | C::Receive { session, .. } => Some(session),
            _ => None,
        }
    }
}
