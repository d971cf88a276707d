//! The channels of a ledger, stored small: a million of them must fit in memory with their sessions.
//!
//! A channel is computed with as a plain [`Channel`]. It is stored as a core of what every channel has, 132 bytes of
//! which 96 are its key and its head, and as sparse columns of what most have not; current chains, which few have,
//! stand in a table of their own.

use std::collections::BTreeMap;

use crate::Address;
use crate::amount::Amount;
use crate::ledger::column::Column;
use crate::ledger::command::{COUNT_MAX, Role};
use crate::tick_row::{Tick, TickRow};
use crate::voucher::Row;

/// The most channels of a ledger; payees are fewer, so that their index leaves a bit for the role.
pub const CHANNELS_MAX: usize = 1 << 31;
const PAYER: u32 = 1 << 31;

/// Whether a channel of this role can stand at this block and key: both are counts, and a payee has no key of its own.
pub(crate) fn can_stand(role: Role, block: u64, key_index: u64) -> bool {
    let last = match role {
        Role::Payee => 0,
        Role::Payer => COUNT_MAX,
    };
    block <= COUNT_MAX && key_index <= last
}

/// One channel. `first` and `second` are granted and written off for a payee, due and reserved for
/// a payer: a channel has one role, so it needs only one pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub(crate) block: u64,
    pub(crate) key_index: u64,
    pub(crate) voucher_key: Address,
    pub(crate) payee: u32,
    pub(crate) deposit: Amount,
    pub(crate) settled: Amount,
    pub(crate) first: Amount,
    pub(crate) second: Amount,
    pub(crate) close_at: u32,
    pub(crate) voucher_count: u32,
    pub(crate) row: Row,
    pub(crate) role: Role,
    pub(crate) chain: Option<Chain>,
}

/// The current tick voucher of a channel with its newest tick. It claims at least what the plain
/// head does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    pub(crate) row: TickRow,
    /// What the row leads to, computed once.
    pub(crate) root: Tick,
}

impl Channel {
    /// The current tick row.
    #[must_use]
    pub fn tick_row(&self) -> Option<&TickRow> {
        self.chain.as_ref().map(|chain| &chain.row)
    }
}

impl Standing for Channel {
    fn account(&self) -> Account {
        Account {
            role: self.role,
            deposit: self.deposit,
            first: self.first,
            second: self.second,
            authorized: match &self.chain {
                Some(chain) => chain.row.claim(),
                None => self.row.amount().get(),
            },
            has_chain: self.chain.is_some(),
        }
    }
}

/// The money of a channel: all that most decisions and every outcome look at, without its keys and its evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    pub(crate) role: Role,
    pub(crate) deposit: Amount,
    first: Amount,
    second: Amount,
    authorized: u128,
    has_chain: bool,
}

impl Standing for Account {
    fn account(&self) -> Account {
        *self
    }
}

/// What follows from the money of a channel.
pub trait Standing {
    /// The money alone.
    fn account(&self) -> Account;

    /// What the best evidence claims: the current chain, or else the plain head; zero without.
    fn authorized(&self) -> u128 {
        self.account().authorized
    }

    /// Whether a plain voucher over `amount` is better evidence than what is held: it claims more, or
    /// as much as a chain, which costs more to redeem.
    fn yields_to(&self, amount: u128) -> bool {
        let Account {
            authorized,
            has_chain,
            ..
        } = self.account();
        amount > authorized || (amount == authorized && has_chain)
    }

    /// What the payee let itself be owed since the channel was opened; 0 for a payer.
    fn granted(&self) -> u128 {
        of(Role::Payee, self.account().role, self.account().first)
    }

    /// What the payee gave up; 0 for a payer.
    fn written_off(&self) -> u128 {
        of(Role::Payee, self.account().role, self.account().second)
    }

    /// The price of what the payer received and verified; 0 for a payee.
    fn due(&self) -> u128 {
        of(Role::Payer, self.account().role, self.account().first)
    }

    /// The price of what the payer asked for and has not received; 0 for a payee.
    fn reserved(&self) -> u128 {
        of(Role::Payer, self.account().role, self.account().second)
    }

    /// What is signed and neither due nor reserved, if `promised` will be signed too: what the payee
    /// may keep for nothing. 0 for a payee.
    fn overhang(&self, promised: u128) -> u128 {
        if self.account().role != Role::Payer {
            return 0;
        }
        let signed = self.authorized().max(promised);
        signed.saturating_sub(self.due() + self.reserved())
    }

    /// Granted, not written off and not authorized; 0 where that is negative.
    fn unpaid(&self) -> u128 {
        self.granted()
            .saturating_sub(self.written_off())
            .saturating_sub(self.authorized())
    }
}

fn of(role: Role, of: Role, amount: Amount) -> u128 {
    if of == role { amount.get() } else { 0 }
}

/// What every channel has. The payee's index carries the role in its top bit.
#[derive(Debug)]
struct Core {
    voucher_key: Address,
    row: Row,
    deposit: Amount,
    first: Amount,
    block: u32,
    voucher_count: u32,
    payee_and_role: u32,
}

const _: () = assert!(size_of::<Core>() == 132);

impl Core {
    const fn role(&self) -> Role {
        if self.payee_and_role & PAYER == 0 {
            Role::Payee
        } else {
            Role::Payer
        }
    }
}

/// All channels, by index.
#[derive(Default, Debug)]
pub struct Channels {
    cores: Vec<Core>,
    settled: Column<Amount>,
    second: Column<Amount>,
    close_at: Column<u32>,
    key_index: Column<u64>,
    /// The upper half of blocks.
    block_high: Column<u32>,
    chains: BTreeMap<u32, Chain>,
}

impl Channels {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cores.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cores.is_empty()
    }

    /// The channel at an index.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<Channel> {
        let core = self.cores.get(index as usize)?;
        Some(Channel {
            block: u64::from(self.block_high.get(index)) << 32 | u64::from(core.block),
            key_index: self.key_index.get(index),
            voucher_key: core.voucher_key,
            payee: core.payee_and_role & !PAYER,
            deposit: core.deposit,
            settled: self.settled.get(index),
            first: core.first,
            second: self.second.get(index),
            close_at: self.close_at.get(index),
            voucher_count: core.voucher_count,
            row: core.row,
            role: core.role(),
            chain: self.chains.get(&index).copied(),
        })
    }

    /// The money of the channel at an index.
    #[must_use]
    #[inline]
    pub fn account(&self, index: u32) -> Option<Account> {
        let core = self.cores.get(index as usize)?;
        let claimed = self.chains.get(&index).map(|chain| chain.row.claim());
        Some(Account {
            role: core.role(),
            deposit: core.deposit,
            first: core.first,
            second: self.second.get(index),
            authorized: claimed.unwrap_or_else(|| core.row.amount().get()),
            has_chain: claimed.is_some(),
        })
    }

    /// Voucher key and payee index of a channel that exists.
    #[must_use]
    pub fn pair(&self, index: u32) -> (&Address, u32) {
        let core = &self.cores[index as usize];
        (&core.voucher_key, core.payee_and_role & !PAYER)
    }

    /// All of them, in the order of their indexes.
    pub fn iter(&self) -> impl Iterator<Item = Channel> {
        (0..self.cores.len() as u32).filter_map(|index| self.get(index))
    }

    /// Makes room for `count` more.
    pub fn reserve(&mut self, count: usize) {
        self.cores.reserve_exact(count);
    }

    /// Appends a channel.
    pub fn push(&mut self, channel: &Channel) {
        let index = self.cores.len() as u32;
        self.cores.push(core_of(channel));
        self.set_sparse(index, channel);
    }

    /// Replaces a channel that exists.
    pub fn set(&mut self, index: u32, channel: &Channel) {
        self.cores[index as usize] = core_of(channel);
        self.set_sparse(index, channel);
    }

    /// Takes a payee's voucher: the row becomes the head, a chain ends, and written off falls to what is left of
    /// granted. `None` where it is no payee's channel or the channel does not yield to the amount. The one change
    /// that comes by the million, so the channel is not taken out and put back for it.
    #[inline]
    pub fn accept(&mut self, index: u32, row: Row) -> Option<()> {
        let core = self.cores.get_mut(index as usize)?;
        let amount = row.amount().get();
        let is_better = match self.chains.get(&index) {
            Some(chain) => amount >= chain.row.claim(),
            None => amount > core.row.amount().get(),
        };
        if core.payee_and_role & PAYER != 0 || !is_better {
            return None;
        }
        core.row = row;
        self.chains.remove(&index);
        core.voucher_count = core.voucher_count.saturating_add(1);
        let rest = core.first.get().saturating_sub(amount);
        let written_off = self.second.get(index);
        if written_off.get() > rest {
            self.second.set(index, Amount::new(rest)?);
        }
        Some(())
    }

    fn set_sparse(&mut self, index: u32, channel: &Channel) {
        self.settled.set(index, channel.settled);
        self.second.set(index, channel.second);
        self.close_at.set(index, channel.close_at);
        self.key_index.set(index, channel.key_index);
        self.block_high.set(index, (channel.block >> 32) as u32);
        match channel.chain {
            Some(chain) => self.chains.insert(index, chain),
            None => self.chains.remove(&index),
        };
    }

    /// The current chains, in the order of their channels.
    pub fn chains(&self) -> impl ExactSizeIterator<Item = (u32, &Chain)> {
        self.chains.iter().map(|(index, chain)| (*index, chain))
    }

    /// Gives a channel that exists its current chain.
    pub fn set_chain(&mut self, index: u32, chain: Chain) {
        self.chains.insert(index, chain);
    }
}

fn core_of(channel: &Channel) -> Core {
    let role = if channel.role == Role::Payer {
        PAYER
    } else {
        0
    };
    debug_assert!(channel.payee & PAYER == 0);
    Core {
        voucher_key: channel.voucher_key,
        row: channel.row,
        deposit: channel.deposit,
        first: channel.first,
        block: channel.block as u32,
        voucher_count: channel.voucher_count,
        payee_and_role: channel.payee | role,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voucher_lowers_what_was_written_off() {
        let amount = |value| Amount::new(value).unwrap();
        let row = |value| {
            let mut row = [7; 76];
            row[..12].copy_from_slice(&amount(value).to_be_bytes());
            Row(row)
        };
        let channel = Channel {
            block: 1,
            key_index: 0,
            voucher_key: [1; 20],
            payee: 0,
            deposit: amount(100),
            settled: Amount::ZERO,
            first: amount(50),
            second: amount(20),
            close_at: 0,
            voucher_count: 0,
            row: Row::EMPTY,
            role: Role::Payee,
            chain: None,
        };
        let mut channels = Channels::default();
        channels.push(&channel);
        for (value, written_off) in [(10, 20), (30, 20), (31, 19), (60, 0)] {
            assert_eq!(channels.accept(0, row(value)), Some(()));
            let now = channels.get(0).unwrap();
            assert_eq!((now.row, now.written_off()), (row(value), written_off));
        }
        assert_eq!(channels.get(0).unwrap().voucher_count, 4);
        assert_eq!(channels.accept(0, row(60)), None, "it must rise");
        assert_eq!(channels.accept(1, row(61)), None);
        let role = Role::Payer;
        channels.push(&Channel { role, ..channel });
        assert_eq!(channels.accept(1, row(61)), None);
    }

    #[test]
    fn a_channel_comes_out_as_it_went_in() {
        let amount = |value| Amount::new(value).unwrap();
        let plain = Channel {
            block: 7,
            key_index: 0,
            voucher_key: [1; 20],
            payee: 0,
            deposit: amount(9),
            settled: Amount::ZERO,
            first: amount(5),
            second: Amount::ZERO,
            close_at: 0,
            voucher_count: 2,
            row: Row([3; 76]),
            role: Role::Payee,
            chain: None,
        };
        let full = Channel {
            block: (3 << 32) | 1,
            key_index: 1 << 40,
            payee: (1 << 31) - 1,
            settled: amount(1 << 95),
            second: amount(4),
            close_at: u32::MAX,
            role: Role::Payer,
            chain: Some(Chain {
                row: TickRow([4; 124]),
                root: [5; 32],
            }),
            ..plain.clone()
        };
        let mut channels = Channels::default();
        channels.push(&plain);
        channels.push(&full);
        assert_eq!(channels.get(0), Some(plain.clone()));
        assert_eq!(channels.get(1), Some(full.clone()));
        assert_eq!(channels.get(2), None);
        assert_eq!(channels.pair(1), (&[1; 20], (1 << 31) - 1));
        channels.set(0, &full);
        channels.set(1, &plain);
        assert_eq!(channels.iter().collect::<Vec<_>>(), [full, plain]);
    }
}
