//! Owns the journal folder of one ledger: the lock, the segments, the checkpoints
//! (`docs/spec/ledger.md` 3).
//!
//! Invariants: one write and one sync a frame; no frame is written before the sync of the one
//! before it returned; a file gets its name only when its content is durable. After an error of
//! `append` the journal must not be used again: its owner is poisoned.

pub mod ahead;
pub mod checkpoint;
pub mod disk;
pub mod frame;
pub mod recover;
pub mod segment;

use std::fs::File;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};

use crate::Address;
use crate::error::{Code, Error};
use crate::ledger::state::State;
use ahead::Ahead;
use frame::Draft;
use recover::Recovery;
use segment::Identity;

/// The size of a segment unless the caller says otherwise.
pub const SEGMENT_SIZE: u64 = 16 << 20;
/// The smallest segment that is allowed.
pub const SEGMENT_SIZE_MIN: u64 = 4096;
/// The largest segment that is allowed: recovery reads a whole one into memory.
pub const SEGMENT_SIZE_MAX: u64 = 1 << 30;
/// A checkpoint is due after this many segments, and not before as many bytes as this many checkpoints.
const SEGMENTS_PER_CHECKPOINT: u64 = 4;
const JOURNAL_PER_CHECKPOINT: u64 = 2;
/// The most memory that is kept for the next frame: that of a full batch of vouchers.
const MEMORY_MAX: usize = 512 << 10;
/// Commits between two attempts to allocate after one has failed.
const RETRY_INTERVAL: u32 = 64;

/// A journal that is open for appending.
pub struct Journal {
    folder: PathBuf,
    identity: Identity,
    segment_size: u64,
    path: PathBuf,
    file: File,
    size: u64,
    offset: u64,
    sequence: u64,
    crc: u32,
    next: Ahead,
    low_space: bool,
    retry_in: u32,
    segments_since: u32,
    checkpoint_sequence: u64,
    checkpoint_size: u64,
    /// The memory of the last frame, for the next one.
    memory: Vec<u8>,
    _lock: File,
}

/// What a journal is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    /// The folder; it is created if it is missing.
    pub folder: &'a Path,
    /// EIP-155 id of the settling chain.
    pub chain_id: u64,
    /// The address of the hub.
    pub hub: Address,
    /// The size of new segments in bytes.
    pub segment_size: u64,
}

/// What opening found, for the person who started the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Whether the ledger is new.
    pub created: bool,
    /// Random, the same in all files of a ledger.
    pub ledger_id: [u8; 16],
    /// The sequence of the last frame.
    pub sequence: u64,
    /// The frame of the checkpoint that reading started from, 0 if none.
    pub checkpoint_sequence: u64,
    /// Checkpoints that were damaged and passed over.
    pub checkpoints_damaged: u32,
    /// Frames applied after the checkpoint.
    pub frame_count: u64,
    /// Bytes of a torn tail that were zeroed.
    pub cut_bytes: u64,
}

impl Journal {
    /// Locks and reads a ledger folder, or begins a new ledger in it.
    pub fn open(config: &Config<'_>) -> Result<(Journal, State, Summary), Error> {
        let lock = disk::lock(config.folder)?;
        let mut files = recover::list(config.folder)?;
        let created = files.segments.is_empty() && files.checkpoints.is_empty();
        if created {
            begin(config)?;
            files = recover::list(config.folder)?;
        }
        let found = recover::recover(config.folder, &files, config.chain_id, &config.hub)?;
        let summary = Summary {
            created,
            ledger_id: found.identity.ledger_id,
            sequence: found.sequence,
            checkpoint_sequence: found.checkpoint_sequence,
            checkpoints_damaged: found.checkpoints_damaged,
            frame_count: found.frame_count,
            cut_bytes: found.dirty_end - found.offset,
        };
        let (journal, state) = Journal::resume(config, found, lock)?;
        Ok((journal, state, summary))
    }

    fn resume(config: &Config<'_>, found: Recovery, lock: File) -> Result<(Journal, State), Error> {
        let file = disk::open(&found.path)?;
        // A process that was killed, or whose sync failed, may have left its last frame in the system's
        // memory only. It is believed from here on, so it is written and synced once more first.
        if found.last_frame < found.offset {
            // The file may have been cut off inside the padding of the frame.
            let frame = disk::read_range(&file, &found.path, found.last_frame, found.offset)?;
            disk::write_at(&file, &found.path, &frame, found.last_frame)?;
            disk::sync_data(&file, &found.path)?;
        }
        disk::sync_folder(config.folder)?;
        if found.dirty_end > found.offset {
            disk::zero(&file, &found.path, found.offset, found.dirty_end)?;
        }
        let _ = std::fs::remove_file(config.folder.join(checkpoint::TEMPORARY_NAME));
        let mut journal = Journal {
            folder: config.folder.to_path_buf(),
            identity: found.identity,
            segment_size: config.segment_size,
            path: found.path,
            file,
            size: found.size,
            offset: found.offset,
            sequence: found.sequence,
            crc: found.crc,
            next: Ahead::Nothing,
            low_space: false,
            retry_in: 0,
            segments_since: found.segments_since.saturating_sub(1),
            checkpoint_sequence: found.checkpoint_sequence,
            checkpoint_size: found.checkpoint_size,
            memory: Vec::new(),
            _lock: lock,
        };
        // A reserved segment of an earlier run is taken up again before anyone else takes its blocks.
        if config.folder.join(segment::NEXT_NAME).exists() {
            journal.allocate();
        }
        journal.prepare(0);
        Ok((journal, found.state))
    }

    /// The sequence of the last frame.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether there is no segment to go to when this one is full.
    #[must_use]
    pub fn low_space(&self) -> bool {
        self.low_space
    }

    /// The largest payload that `append` can take now.
    #[must_use]
    pub fn room(&self) -> usize {
        let space = if self.next.is_ready() {
            self.segment_size - segment::HEADER_SIZE as u64
        } else {
            self.size.saturating_sub(self.offset)
        };
        (space as usize).saturating_sub(frame::HEADER_SIZE)
    }

    /// Allocates the next segment in time: past the middle of this one, or when a batch of up to
    /// `payload_max` bytes may not fit; only then it is waited for. After a failure it tries again only every
    /// 64th time.
    pub fn prepare(&mut self, payload_max: usize) {
        let fits = self.offset + frame::size(payload_max) as u64 <= self.size;
        let is_early = self.offset <= self.size / 2;
        if self.next.is_nothing() && !(is_early && fits) {
            if self.low_space && self.retry_in > 0 {
                self.retry_in -= 1;
                return;
            }
            self.allocate();
        }
        if !self.next.is_nothing() {
            let settled = self.next.settle(!fits);
            self.judge(settled.is_ok());
        }
    }

    fn allocate(&mut self) {
        let begun = Ahead::begin(&self.folder, self.segment_size);
        self.judge(begun.is_ok());
        self.next = begun.unwrap_or_default();
    }

    fn judge(&mut self, is_well: bool) {
        if !is_well {
            self.retry_in = RETRY_INTERVAL;
        }
        // While a thread is at it, what was last known holds.
        if !is_well || self.next.is_ready() {
            self.low_space = !is_well;
        }
    }

    /// An empty frame to fill and append.
    #[must_use]
    pub fn draft(&mut self) -> Draft {
        Draft::new(std::mem::take(&mut self.memory))
    }

    /// Appends a frame and makes it durable. After an error the journal must not be used again.
    pub fn append(&mut self, draft: Draft) -> Result<u64, Error> {
        if self.offset + frame::size(draft.payload_size()) as u64 > self.size {
            self.rotate()?;
        }
        let sequence = self.sequence + 1;
        let (bytes, crc) = draft.seal(sequence, self.crc);
        disk::write_at(&self.file, &self.path, &bytes, self.offset)?;
        disk::sync_data(&self.file, &self.path)?;
        self.offset += bytes.len() as u64;
        (self.sequence, self.crc) = (sequence, crc);
        if bytes.capacity() <= MEMORY_MAX {
            self.memory = bytes;
        }
        Ok(sequence)
    }

    /// Gives the preallocated segment its header and its name and goes on in it.
    fn rotate(&mut self) -> Result<(), Error> {
        let Some(file) = self.next.take() else {
            return Err(Error::new(Code::DiskFull, "there is no segment to go to"));
        };
        let path = begin_segment(&self.folder, &file, &self.identity, self.sequence + 1)?;
        (self.file, self.path) = (file, path);
        (self.size, self.offset) = (self.segment_size, segment::HEADER_SIZE as u64);
        self.segments_since += 1;
        Ok(())
    }

    /// Whether enough segments have gone by since the last checkpoint.
    #[must_use]
    pub fn checkpoint_due(&self) -> bool {
        let segments = u64::from(self.segments_since);
        segments >= SEGMENTS_PER_CHECKPOINT
            && segments * self.segment_size >= JOURNAL_PER_CHECKPOINT * self.checkpoint_size
    }

    /// Writes a checkpoint of the state after the last frame. The one before it that held is kept as a spare; all
    /// others are removed, for they are older, or were found damaged.
    ///
    /// An error leaves the journal as good as before; the next attempt waits for another segment.
    pub fn checkpoint(&mut self, state: &State) -> Result<(), Error> {
        self.segments_since = 0;
        if self.sequence == self.checkpoint_sequence {
            return Ok(());
        }
        let (sequence, crc) = (self.sequence, self.crc);
        self.checkpoint_size =
            checkpoint::write(&self.folder, &self.identity, sequence, crc, state)?;
        let spare = std::mem::replace(&mut self.checkpoint_sequence, sequence);
        for found in recover::list(&self.folder)?.checkpoints {
            if found != sequence && found != spare {
                let _ = std::fs::remove_file(checkpoint::path(&self.folder, found));
            }
        }
        Ok(())
    }
}

impl Drop for Journal {
    /// Waits for the thread that still allocates: nothing may touch the folder after its lock was given back.
    fn drop(&mut self) {
        let _ = self.next.settle(true);
    }
}

/// Begins a new ledger: its id and its first segment.
fn begin(config: &Config<'_>) -> Result<(), Error> {
    let random = || std::hash::RandomState::new().hash_one(0u8).to_le_bytes();
    let mut ledger_id = [0; 16];
    ledger_id[..8].copy_from_slice(&random());
    ledger_id[8..].copy_from_slice(&random());
    let identity = Identity {
        ledger_id,
        chain_id: config.chain_id,
        hub_tag: segment::hub_tag(&config.hub),
    };
    let file = disk::allocate(&config.folder.join(segment::NEXT_NAME), config.segment_size)?;
    begin_segment(config.folder, &file, &identity, 1)?;
    if let Some(parent) = config.folder.parent().filter(|path| path.is_dir()) {
        disk::sync_folder(parent)?;
    }
    Ok(())
}

fn begin_segment(
    folder: &Path,
    file: &File,
    identity: &Identity,
    first: u64,
) -> Result<PathBuf, Error> {
    let next = folder.join(segment::NEXT_NAME);
    let path = segment::path(folder, first);
    disk::write_at(file, &next, &segment::encode(identity, first), 0)?;
    disk::sync_data(file, &next)?;
    disk::rename(&next, &path, folder)?;
    Ok(path)
}
