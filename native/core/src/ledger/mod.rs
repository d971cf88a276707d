//! The ledger of one engine at one hub: a state machine with a journal (`docs/spec/ledger.md`).
//!
//! The functional core is `decide` and `evolve`; this file is the shell around them. Commits come
//! one after the other; the state is locked only while it changes, never while the disk is waited
//! for, so that screening and reading go on meanwhile. What they see may be one batch ahead of the
//! disk: only the outcome of a commit says that something is durable.

pub mod audit;
pub mod batch;
pub mod channels;
pub mod column;
pub mod command;
pub mod decide;
pub mod event;
pub mod evolve;
#[cfg(test)]
mod faults;
pub mod index;
pub mod sessions;
pub mod snapshot;
pub mod state;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sha2::{Digest, Sha256};

use crate::error::{Code, Error};
use crate::journal::{Config, Journal, Summary};
use crate::keys::Keyring;
use crate::records::{self, read};
use crate::tick_row::TICK_ROW_SIZE;
use crate::voucher::{self, Row};
use batch::Batch;
use command::Command;
use decide::{Pending, Surroundings, decide};
use state::State;

/// An open ledger, shared by all threads of the process.
pub struct Ledger {
    domain: [u8; 32],
    keyring: Option<Keyring>,
    /// `None` once closed.
    journal: Mutex<Option<Journal>>,
    state: RwLock<State>,
    sequence: AtomicU64,
    low_space: AtomicBool,
    poisoned: AtomicBool,
}

impl Ledger {
    /// Opens a ledger folder. The seed is needed where this ledger pays.
    pub fn open(config: &Config<'_>, seed: Option<[u8; 32]>) -> Result<(Ledger, Summary), Error> {
        let (journal, state, summary) = Journal::open(config)?;
        let ledger = Ledger {
            domain: voucher::domain_separator(config.chain_id, &config.hub),
            keyring: seed.map(Keyring::new),
            sequence: AtomicU64::new(journal.sequence()),
            low_space: AtomicBool::new(journal.low_space()),
            journal: Mutex::new(Some(journal)),
            state: RwLock::new(state),
            poisoned: AtomicBool::new(false),
        };
        Ok((ledger, summary))
    }

    fn around(&self) -> Surroundings<'_> {
        Surroundings {
            domain: &self.domain,
            keyring: self.keyring.as_ref(),
            low_space: self.low_space.load(Ordering::Acquire),
        }
    }

    fn poisoned(detail: &str) -> Error {
        Error::new(Code::LedgerPoisoned, detail)
    }

    fn ensure_sound(&self) -> Result<(), Error> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(Ledger::poisoned(
                "an earlier write, sync or decision failed",
            ));
        }
        Ok(())
    }

    fn read_state(&self) -> Result<RwLockReadGuard<'_, State>, Error> {
        self.ensure_sound()?;
        self.state
            .read()
            .map_err(|_| Ledger::poisoned("a decision panicked"))
    }

    fn write_state(&self) -> Result<RwLockWriteGuard<'_, State>, Error> {
        self.state
            .write()
            .map_err(|_| Ledger::poisoned("a decision panicked"))
    }

    /// Runs a task that owns the journal. A panic in it poisons the lock and with it the ledger.
    fn with_journal<T>(
        &self,
        task: impl FnOnce(&mut Journal) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut guard = self
            .journal
            .lock()
            .map_err(|_| Ledger::poisoned("a commit panicked"))?;
        let journal = guard.as_mut().ok_or_else(closed)?;
        self.ensure_sound()?;
        task(journal)
    }

    /// Decides, applies and makes durable one batch of command records; gives outcome records.
    ///
    /// Nothing is written when nothing was accepted. After an error of the disk the ledger is
    /// poisoned: what the batch did is not durable and the ledger accepts nothing more.
    pub fn commit(&self, commands: &[u8], blobs: &[u8]) -> Result<Vec<u8>, Error> {
        let rows = records::row::records(commands, records::command::STRIDE, "commands")?;
        self.with_journal(|journal| {
            let per_command = event::FIXED_SIZE_MAX + event::SIGNED_SIZE;
            journal.prepare(rows.len() * per_command + blobs.len());
            self.low_space.store(journal.low_space(), Ordering::Release);
            let done = self.run(journal, rows, blobs);
            if done.is_err() {
                self.poisoned.store(true, Ordering::Release);
            }
            let outcomes = done?;
            if journal.checkpoint_due() {
                // A checkpoint only shortens the next start; without it the segments still tell all.
                let _ = journal.checkpoint(&*self.read_state()?);
            }
            Ok(outcomes)
        })
    }

    fn run<'a>(
        &self,
        journal: &mut Journal,
        rows: impl ExactSizeIterator<Item = &'a [u8]>,
        blobs: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let around = self.around();
        let mut batch = Batch::new(journal.draft(), journal.room(), rows.len());
        {
            let mut state = self.write_state()?;
            for row in rows {
                let command = records::command::decode(row, blobs);
                batch.run(&mut state, &around, command.as_ref())?;
            }
        }
        // No one else changes the state, so the signatures can be made without holding it.
        let signed = batch.sign(&*self.read_state()?, &around);
        if !signed.is_empty() {
            batch.finish(&mut *self.write_state()?, &signed)?;
        }
        let Batch {
            draft,
            applied,
            ticked,
            ..
        } = batch;
        if draft.event_count() > 0 {
            let sequence = journal.append(draft)?;
            self.sequence.store(sequence, Ordering::Release);
        }
        let rows_size = signed.len() * voucher::ROW_SIZE + ticked.len() * TICK_ROW_SIZE;
        let signed: BTreeMap<u32, Row> = signed.into_iter().collect();
        let state = self.read_state()?;
        let stride = records::outcome::outcome::LAYOUT.stride;
        let mut out = Vec::with_capacity(applied.len() * stride + rows_size);
        for applied in &applied {
            let row = applied.channel.and_then(|channel| signed.get(&channel));
            let is_ticked = applied.channel.is_some_and(|at| ticked.contains(&at));
            records::outcome::encode(&mut out, &state, applied, row, is_ticked);
        }
        Ok(out)
    }

    /// The status each command would get if it came alone, without changing anything. A voucher, plain
    /// or with ticks, is judged as if its signature were verified. The decision may still differ in a batch.
    pub fn screen(&self, commands: &[u8], blobs: &[u8]) -> Result<Vec<u8>, Error> {
        let rows = records::row::records(commands, records::command::STRIDE, "commands")?;
        let (around, pending) = (self.around(), Pending::new());
        let state = self.read_state()?;
        let status = |row| match records::command::decode(row, blobs) {
            None => crate::Status::Malformed,
            Some(mut command) => {
                if let Command::Voucher { verified, .. } | Command::TickVoucher { verified, .. } =
                    &mut command
                {
                    *verified = true;
                }
                match decide(&state, &around, &pending, &command) {
                    Ok(_) => crate::Status::Ok,
                    Err(status) => status,
                }
            }
        };
        Ok(rows.map(|row| status(row) as u8).collect())
    }

    /// Up to `count` records of a table from the ordinal `from` on.
    pub fn read(&self, table: read::Table, from: usize, count: usize) -> Result<Vec<u8>, Error> {
        Ok(read::read(&*self.read_state()?, table, from, count))
    }

    /// The summary record.
    pub fn summary(&self) -> Result<Vec<u8>, Error> {
        let sequence = self.sequence.load(Ordering::Acquire);
        let low_space = self.low_space.load(Ordering::Acquire);
        Ok(read::summarize(&*self.read_state()?, sequence, low_space))
    }

    /// The index of the channel of (voucher key, payee).
    pub fn find_channel(
        &self,
        voucher_key: &crate::Address,
        payee: &crate::Address,
    ) -> Result<Option<u32>, Error> {
        Ok(self.read_state()?.find_channel(voucher_key, payee))
    }

    /// The index of the session with this id.
    pub fn find_session(&self, id: &[u8; 16]) -> Result<Option<u32>, Error> {
        Ok(self.read_state()?.find_session(id))
    }

    /// The value of a note.
    pub fn note(&self, space: u16, key: &[u8; 32]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self
            .read_state()?
            .notes
            .get(&(space, *key))
            .map(|value| value.to_vec()))
    }

    /// The SHA-256 of the snapshot: equal states, and only they, have equal hashes.
    pub fn state_hash(&self) -> Result<[u8; 32], Error> {
        struct Hashed(Sha256);
        impl io::Write for Hashed {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.update(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut out = io::BufWriter::new(Hashed(Sha256::new()));
        snapshot::write(&*self.read_state()?, &mut out)
            .map_err(|error| Error::io("hash the state", &error))?;
        let hashed = out
            .into_inner()
            .map_err(|e| Error::io("hash the state", e.error()))?;
        Ok(hashed.0.finalize().into())
    }

    /// Writes a checkpoint now.
    pub fn checkpoint(&self) -> Result<(), Error> {
        self.with_journal(|journal| journal.checkpoint(&*self.read_state()?))
    }

    /// Closes the ledger: a sound one with a checkpoint. The folder's lock is released in any case.
    pub fn close(&self) -> Result<(), Error> {
        let mut guard = match self.journal.lock() {
            Ok(guard) => guard,
            Err(broken) => broken.into_inner(),
        };
        let mut journal = guard.take().ok_or_else(closed)?;
        match self.read_state() {
            Ok(state) => journal.checkpoint(&state),
            // There is nothing to keep: the journal on disk is what counts.
            Err(_) => Ok(()),
        }
    }
}

fn closed() -> Error {
    Error::new(Code::LedgerClosed, "the ledger is closed")
}
