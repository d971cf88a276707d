//! The state of a ledger: channels, sessions, torrents with their budgets, outstanding pieces, notes.
//!
//! Only `evolve` and the snapshot reader change it. Invariants: an index, once given, names the same
//! thing for ever; `due` and `reserved` of a channel are the sums over its sessions; the reserved
//! amount of a torrent is the sum over its sessions and what it forfeited; every outstanding piece belongs to a session of
//! its torrent. A million channels must fit in 200 MB, hence the packed channels and sessions, the interned
//! payees and the tables that hold indexes only.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;

use crate::Address;
use crate::amount::Amount;
use crate::ledger::channels::Channels;
pub use crate::ledger::channels::{Chain, Channel};
use crate::ledger::command::Role;
use crate::ledger::index::Index;
pub use crate::ledger::sessions::Session;
use crate::ledger::sessions::Sessions;

/// An infohash with what it may cost; `limit` is absent until a budget is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torrent {
    pub(crate) infohash: [u8; 20],
    pub(crate) limit: Option<Amount>,
    pub(crate) spent: Amount,
    pub(crate) reserved: Amount,
}

/// A piece that was asked for: by which session, and how large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outstanding {
    pub(crate) session: u32,
    pub(crate) bytes: u32,
}

/// The whole state. Equal states have equal snapshots, byte for byte.
#[derive(Default, Debug)]
pub struct State {
    pub(crate) channels: Channels,
    pub(crate) payees: Vec<Address>,
    pub(crate) sessions: Sessions,
    pub(crate) torrents: Vec<Torrent>,
    pub(crate) outstanding: BTreeMap<(u32, u32), Outstanding>,
    /// By channel and torrent, what was signed ahead for pieces that were then given up. Absent where zero.
    pub(crate) forfeited: BTreeMap<(u32, u32), Amount>,
    pub(crate) notes: BTreeMap<(u16, [u8; 32]), Box<[u8]>>,
    key_indexes: HashSet<u64>,
    channel_by_pair: Index,
    session_by_id: Index,
    payee_by_address: HashMap<Address, u32>,
    torrent_by_infohash: HashMap<[u8; 20], u32>,
    hasher: RandomState,
}

impl State {
    /// The channel at an index.
    #[must_use]
    pub fn channel(&self, index: u32) -> Option<Channel> {
        self.channels.get(index)
    }

    /// The session at an index.
    #[must_use]
    pub fn session(&self, index: u32) -> Option<Session> {
        self.sessions.get(index)
    }

    /// What a torrent forfeited in a channel.
    #[must_use]
    pub fn forfeited(&self, channel_and_torrent: (u32, u32)) -> u128 {
        self.forfeited
            .get(&channel_and_torrent)
            .map_or(0, |amount| amount.get())
    }

    /// The payee address of a channel.
    #[must_use]
    pub fn payee(&self, channel: &Channel) -> &Address {
        &self.payees[channel.payee as usize]
    }

    /// The index of the channel of (voucher key, payee).
    #[must_use]
    pub fn find_channel(&self, voucher_key: &Address, payee: &Address) -> Option<u32> {
        let payee = *self.payee_by_address.get(payee)?;
        let is_it = |index| self.channels.pair(index) == (voucher_key, payee);
        let hash = self.hasher.hash_one((voucher_key, payee));
        self.channel_by_pair.find(hash, is_it)
    }

    /// The index of the session with this id.
    #[must_use]
    pub fn find_session(&self, id: &[u8; 16]) -> Option<u32> {
        let is_it = |index| self.sessions.id(index) == id;
        let hash = self.hasher.hash_one(id);
        self.session_by_id.find(hash, is_it)
    }

    /// The torrent with this infohash, if a session or budget has named it.
    #[must_use]
    pub fn find_torrent(&self, infohash: &[u8; 20]) -> Option<&Torrent> {
        let index = self.torrent_by_infohash.get(infohash)?;
        self.torrents.get(*index as usize)
    }

    /// Whether a payer channel has this key index.
    #[must_use]
    pub fn has_key_index(&self, key_index: u64) -> bool {
        self.key_indexes.contains(&key_index)
    }

    /// The index of a payee, giving it one if it is new.
    pub(crate) fn intern_payee(&mut self, payee: Address) -> u32 {
        *self.payee_by_address.entry(payee).or_insert_with(|| {
            self.payees.push(payee);
            (self.payees.len() - 1) as u32
        })
    }

    /// The index of a torrent, giving it one if it is new.
    pub(crate) fn intern_torrent(&mut self, infohash: [u8; 20]) -> u32 {
        *self.torrent_by_infohash.entry(infohash).or_insert_with(|| {
            self.torrents.push(Torrent {
                infohash,
                limit: None,
                spent: Amount::ZERO,
                reserved: Amount::ZERO,
            });
            (self.torrents.len() - 1) as u32
        })
    }

    /// Makes room for `count` more channels.
    pub(crate) fn reserve_channels(&mut self, count: usize) {
        let State {
            channels,
            hasher,
            channel_by_pair,
            ..
        } = self;
        channels.reserve(count);
        channel_by_pair.reserve(count, |at| hasher.hash_one(channels.pair(at)));
    }

    /// Makes room for `count` more sessions.
    pub(crate) fn reserve_sessions(&mut self, count: usize) {
        let State {
            sessions,
            hasher,
            session_by_id,
            ..
        } = self;
        sessions.reserve(count);
        session_by_id.reserve(count, |at| hasher.hash_one(sessions.id(at)));
    }

    /// Appends a channel and indexes it.
    pub(crate) fn push_channel(&mut self, channel: &Channel) {
        let State {
            channels,
            hasher,
            channel_by_pair,
            ..
        } = self;
        if channel.role == Role::Payer {
            self.key_indexes.insert(channel.key_index);
        }
        channels.push(channel);
        channel_by_pair.push(|at| hasher.hash_one(channels.pair(at)));
    }

    /// Appends a session and indexes it.
    pub(crate) fn push_session(&mut self, session: &Session) {
        let State {
            sessions,
            hasher,
            session_by_id,
            ..
        } = self;
        sessions.push(session);
        session_by_id.push(|at| hasher.hash_one(sessions.id(at)));
    }

    /// One more than the greatest key index of a payer's channel; 0 if there is none.
    #[must_use]
    pub fn next_key_index(&self) -> u64 {
        self.key_indexes.iter().max().map_or(0, |last| last + 1)
    }
}
