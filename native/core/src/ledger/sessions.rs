//! The sessions of a ledger, stored small: 40 bytes each while they are open, with their terms shared.
//!
//! A session is computed with as a plain [`Session`]. Most sessions of a payee have the same price, step and prepay,
//! so these stand in a table of their own; what most sessions have not stands in sparse columns.

use std::collections::HashMap;

use crate::amount::{self, Amount};
use crate::ledger::column::Column;
use crate::status::Status;

/// The most sessions of a ledger; terms are fewer, so that their index leaves a bit.
pub const SESSIONS_MAX: usize = 1 << 31;
const CLOSED: u32 = 1 << 31;

/// One session of a channel about one torrent at one price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub(crate) bytes: u64,
    pub(crate) outstanding_bytes: u64,
    pub(crate) delivered_bytes: u64,
    pub(crate) channel: u32,
    pub(crate) torrent: u32,
    pub(crate) session_id: [u8; 16],
    pub(crate) price_mib: Amount,
    pub(crate) minimum_step: Amount,
    pub(crate) prepay: Amount,
    pub(crate) piece_count: u32,
    pub(crate) closed: bool,
}

impl Session {
    /// The price of the pieces outstanding in this session.
    pub fn reserved(&self) -> Result<u128, Status> {
        let ahead = self.bytes.checked_add(self.outstanding_bytes);
        amount::step(self.price_mib, self.bytes, ahead.ok_or(Status::Overflow)?)
    }
}

/// What a session was opened at: price, minimum step, prepay.
pub type Terms = [Amount; 3];

/// What every session has. The index of the terms carries `closed` in its top bit.
#[derive(Debug)]
struct Core {
    session_id: [u8; 16],
    bytes: u64,
    channel: u32,
    torrent: u32,
    piece_count: u32,
    terms_and_closed: u32,
}

const _: () = assert!(size_of::<Core>() == 40);

/// All sessions, by index.
#[derive(Default, Debug)]
pub struct Sessions {
    cores: Vec<Core>,
    terms: Vec<Terms>,
    terms_index: HashMap<Terms, u32>,
    outstanding_bytes: Column<u64>,
    delivered_bytes: Column<u64>,
}

impl Sessions {
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

    /// The session at an index.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<Session> {
        let core = self.cores.get(index as usize)?;
        let [price_mib, minimum_step, prepay] =
            self.terms[(core.terms_and_closed & !CLOSED) as usize];
        Some(Session {
            bytes: core.bytes,
            outstanding_bytes: self.outstanding_bytes.get(index),
            delivered_bytes: self.delivered_bytes.get(index),
            channel: core.channel,
            torrent: core.torrent,
            session_id: core.session_id,
            price_mib,
            minimum_step,
            prepay,
            piece_count: core.piece_count,
            closed: core.terms_and_closed & CLOSED != 0,
        })
    }

    /// The channel and the terms of a session, if that exists.
    #[must_use]
    pub fn terms(&self, index: u32) -> Option<(u32, &Terms)> {
        let core = self.cores.get(index as usize)?;
        let terms = &self.terms[(core.terms_and_closed & !CLOSED) as usize];
        Some((core.channel, terms))
    }

    /// The channel of a session, if that exists.
    #[must_use]
    pub fn channel(&self, index: u32) -> Option<u32> {
        self.cores.get(index as usize).map(|core| core.channel)
    }

    /// The id of a session that exists.
    #[must_use]
    pub fn id(&self, index: u32) -> &[u8; 16] {
        &self.cores[index as usize].session_id
    }

    /// All of them, in the order of their indexes.
    pub fn iter(&self) -> impl Iterator<Item = Session> {
        (0..self.cores.len() as u32).filter_map(|index| self.get(index))
    }

    /// How many are open.
    #[must_use]
    pub fn open_count(&self) -> usize {
        let is_open = |core: &&Core| core.terms_and_closed & CLOSED == 0;
        self.cores.iter().filter(is_open).count()
    }

    /// Makes room for `count` more.
    pub fn reserve(&mut self, count: usize) {
        self.cores.reserve_exact(count);
    }

    /// Appends a session.
    pub fn push(&mut self, session: &Session) {
        let index = self.cores.len() as u32;
        let next = self.terms.len() as u32;
        let terms = [session.price_mib, session.minimum_step, session.prepay];
        let place = *self.terms_index.entry(terms).or_insert(next);
        if place == next {
            self.terms.push(terms);
        }
        self.cores.push(Core {
            session_id: session.session_id,
            bytes: 0,
            channel: session.channel,
            torrent: session.torrent,
            piece_count: 0,
            terms_and_closed: place,
        });
        self.set(index, session);
    }

    /// Replaces what may change of a session that exists: its counts, and whether it is closed.
    pub fn set(&mut self, index: u32, session: &Session) {
        let core = &mut self.cores[index as usize];
        core.bytes = session.bytes;
        core.piece_count = session.piece_count;
        core.terms_and_closed &= !CLOSED;
        if session.closed {
            core.terms_and_closed |= CLOSED;
        }
        self.outstanding_bytes.set(index, session.outstanding_bytes);
        self.delivered_bytes.set(index, session.delivered_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_comes_out_as_it_went_in() {
        let amount = |value| Amount::new(value).unwrap();
        let open = Session {
            bytes: 5,
            outstanding_bytes: 0,
            delivered_bytes: 0,
            channel: 1,
            torrent: 2,
            session_id: [3; 16],
            price_mib: amount(4),
            minimum_step: amount(5),
            prepay: amount(6),
            piece_count: 7,
            closed: false,
        };
        let other = Session {
            session_id: [4; 16],
            prepay: amount(7),
            outstanding_bytes: 1 << 50,
            ..open.clone()
        };
        let mut sessions = Sessions::default();
        for session in [&open, &other, &open] {
            sessions.push(session);
        }
        assert_eq!(sessions.terms.len(), 2, "equal terms are kept once");
        let closed = Session {
            closed: true,
            delivered_bytes: 9,
            bytes: 8,
            ..open.clone()
        };
        sessions.set(0, &closed);
        assert_eq!(sessions.open_count(), 2);
        assert_eq!(sessions.iter().collect::<Vec<_>>(), [closed, other, open]);
        assert_eq!((sessions.get(3), sessions.channel(0)), (None, Some(1)));
    }
}
