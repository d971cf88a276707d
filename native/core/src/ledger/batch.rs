//! Runs the commands of one batch against the state and gathers the frame they make.
//!
//! Each accepted command is applied at once, so the next is decided against what came before it.
//! Signatures are made once per channel at the end, over the highest amount the batch came to. A
//! command whose event would not fit the frame is refused with `no_space`.

use std::collections::BTreeSet;

use crate::amount::Amount;
use crate::error::{Code, Error};
use crate::journal::frame::Draft;
use crate::ledger::channels::Standing;
use crate::ledger::command::Command;
use crate::ledger::decide::{Decision, Pending, Surroundings, decide};
use crate::ledger::event::{Event, SIGNED_SIZE};
use crate::ledger::evolve::evolve;
use crate::ledger::state::State;
use crate::status::Status;
use crate::voucher::{self, Row};

/// What became of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its status.
    pub status: Status,
    /// The channel it was about, if that is known.
    pub channel: Option<u32>,
    /// The session it was about, if that is known.
    pub session: Option<u32>,
}

/// The frame in the making.
pub struct Batch {
    room: usize,
    owed: usize,
    pending: Pending,
    /// The events.
    pub draft: Draft,
    /// What became of each command, in order.
    pub applied: Vec<Applied>,
    /// The channels whose chains were set or advanced.
    pub ticked: BTreeSet<u32>,
}

impl Batch {
    /// A batch of up to `count` commands whose events go into `draft` and may take `room` bytes.
    #[must_use]
    pub fn new(draft: Draft, room: usize, count: usize) -> Batch {
        Batch {
            room,
            owed: 0,
            pending: Pending::new(),
            draft,
            applied: Vec::with_capacity(count),
            ticked: BTreeSet::new(),
        }
    }

    /// Decides a command and, if it is accepted, applies it. `None` stands for a malformed record.
    pub fn run(
        &mut self,
        state: &mut State,
        around: &Surroundings<'_>,
        command: Option<&Command<'_>>,
    ) -> Result<(), Error> {
        let status = match command {
            None => Status::Malformed,
            Some(command) => match decide(state, around, &self.pending, command) {
                Err(status) => status,
                Ok(decision) => self.take(state, &decision)?,
            },
        };
        let (channel, session) = command.map_or((None, None), |c| about(state, c));
        self.applied.push(Applied {
            status,
            channel,
            session,
        });
        Ok(())
    }

    fn take(&mut self, state: &mut State, decision: &Decision<'_>) -> Result<Status, Error> {
        let is_new = |(channel, _): &(u32, Amount)| !self.pending.contains_key(channel);
        let owed = self.owed + decision.sign.iter().filter(|s| is_new(s)).count() * SIGNED_SIZE;
        let size = decision.event.map_or(0, |event| event.size_max());
        if self.draft.payload_size() + size + owed > self.room {
            return Ok(Status::NoSpace);
        }
        if let Some(event) = decision.event {
            self.append(state, &event)?;
        }
        self.pending.extend(decision.sign);
        self.owed = owed;
        if let Some(Event::ChainSet { channel, .. }) = decision.event
            && self.pending.remove(&channel).is_some()
        {
            self.owed -= SIGNED_SIZE;
        }
        Ok(Status::Ok)
    }

    fn append(&mut self, state: &mut State, event: &Event<'_>) -> Result<(), Error> {
        evolve(state, event).map_err(|_| {
            let detail = format!("a decided event does not fit: {event:?}");
            Error::new(Code::LedgerPoisoned, detail)
        })?;
        if let Event::ChainSet { channel, .. } | Event::Ticked { channel, .. } = event {
            self.ticked.insert(*channel);
        }
        self.draft.push(|bytes| event.encode(bytes));
        Ok(())
    }

    /// Makes the signatures that the batch owes. It changes nothing, so no one need wait for it.
    #[must_use]
    pub fn sign(&self, state: &State, around: &Surroundings<'_>) -> Vec<(u32, Row)> {
        let Some(keyring) = around.keyring else {
            return Vec::new();
        };
        let sign = |(index, amount): (&u32, &Amount)| {
            let channel = state.channel(*index)?;
            if !channel.yields_to(amount.get()) {
                return None;
            }
            let (key, _) = keyring.key(channel.key_index);
            let payee = state.payee(&channel);
            Some((*index, voucher::sign(around.domain, &key, payee, *amount)))
        };
        self.pending.iter().filter_map(sign).collect()
    }

    /// Applies the signatures as the last events of the batch.
    pub fn finish(&mut self, state: &mut State, signed: &[(u32, Row)]) -> Result<(), Error> {
        for (channel, row) in signed {
            let event = Event::Signed {
                channel: *channel,
                row: *row,
            };
            self.append(state, &event)?;
        }
        Ok(())
    }
}

/// The channel and session a command is about, once it has run.
fn about(state: &State, command: &Command<'_>) -> (Option<u32>, Option<u32>) {
    match command {
        Command::ChannelPut {
            voucher_key, payee, ..
        } => (state.find_channel(voucher_key, payee), None),
        Command::SessionOpen {
            session_id,
            channel,
            ..
        } => (known(state, *channel), state.find_session(session_id)),
        Command::Adopt { channel, .. } | Command::AdoptTicks { channel, .. } => {
            (known(state, *channel), None)
        }
        _ => {
            let session = command.session();
            let channel = session.and_then(|index| state.sessions.channel(index));
            (channel, session.filter(|_| channel.is_some()))
        }
    }
}

fn known(state: &State, channel: u32) -> Option<u32> {
    Some(channel).filter(|index| (*index as usize) < state.channels.len())
}
