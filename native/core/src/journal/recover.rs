//! Reads a journal folder back into a state and the place where the next frame goes.
//!
//! The rule of `docs/spec/ledger.md` 3: only the very end may be torn, and only what was never
//! acknowledged may be lost. Anything else is `JOURNAL_CORRUPT`, and then nothing on disk is changed.

use std::path::{Path, PathBuf};

use crate::Address;
use crate::error::Error;
use crate::journal::checkpoint::{self, Checkpoint};
use crate::journal::segment::{self, Identity, SEQUENCE_MAX, corrupt};
use crate::journal::{disk, frame};
use crate::ledger::event::Event;
use crate::ledger::evolve::evolve;
use crate::ledger::state::State;

/// What reading a journal found.
pub struct Recovery {
    /// The state after the last valid frame.
    pub state: State,
    /// Which ledger it is.
    pub identity: Identity,
    /// The sequence of the last valid frame, 0 if there is none.
    pub sequence: u64,
    /// The checksum of the last valid frame, 0 if there is none.
    pub crc: u32,
    /// The segment that the next frame goes to.
    pub path: PathBuf,
    /// The size of that segment.
    pub size: u64,
    /// Where in it the next frame goes.
    pub offset: u64,
    /// Where the last valid frame of that segment starts; `offset` if it has none.
    pub last_frame: u64,
    /// The end of the bytes to be zeroed there; the offset itself if the tail is clean.
    pub dirty_end: u64,
    /// The checkpoint that reading started from, 0 if none.
    pub checkpoint_sequence: u64,
    /// The size of that checkpoint, 0 if none.
    pub checkpoint_size: u64,
    /// Checkpoints that were damaged and passed over.
    pub checkpoints_damaged: u32,
    /// Frames applied after the checkpoint.
    pub frame_count: u64,
    /// Segments begun after the checkpoint.
    pub segments_since: u32,
}

/// The files of a ledger folder.
#[derive(Default)]
pub struct Files {
    /// First sequences of the segments, ascending.
    pub segments: Vec<u64>,
    /// Sequences of the checkpoints, ascending.
    pub checkpoints: Vec<u64>,
}

/// Lists a ledger folder.
pub fn list(folder: &Path) -> Result<Files, Error> {
    let mut files = Files::default();
    let failed = |error| disk::failed("list", folder, &error);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str() else { continue };
        files
            .segments
            .extend(segment::sequence_in(name, "seg-", ".pwj"));
        files
            .checkpoints
            .extend(segment::sequence_in(name, "checkpoint-", ".pwc"));
    }
    files.segments.sort_unstable();
    files.checkpoints.sort_unstable();
    Ok(files)
}

/// Reads the journal; the folder must hold at least one segment or checkpoint.
pub fn recover(
    folder: &Path,
    files: &Files,
    chain_id: u64,
    hub: &Address,
) -> Result<Recovery, Error> {
    let mut reader = Reader::start(folder, files, chain_id, hub)?;
    let begin = reader.recovery.sequence + 1;
    let first = files.segments.iter().rposition(|first| *first <= begin);
    let Some(first) = first else {
        let path = segment::path(folder, begin);
        return Err(corrupt(&path, 0, "the segment is missing"));
    };
    let mut bytes = Vec::new();
    for (at, first_sequence) in files.segments.iter().enumerate().skip(first) {
        let next = files.segments.get(at + 1).copied();
        reader.read_segment(
            &segment::path(folder, *first_sequence),
            *first_sequence,
            next,
            &mut bytes,
        )?;
    }
    Ok(reader.recovery)
}

struct Reader<'a> {
    chain_id: u64,
    hub: &'a Address,
    recovery: Recovery,
    /// Whether `recovery.identity` has been read from a file yet.
    is_identified: bool,
    /// The sequence expected next and the checksum it must repeat, where that is known.
    expected: Option<(u64, Option<u32>)>,
}

impl Reader<'_> {
    /// Starts from the newest checkpoint that holds, or from nothing.
    fn start<'a>(
        folder: &Path,
        files: &Files,
        chain_id: u64,
        hub: &'a Address,
    ) -> Result<Reader<'a>, Error> {
        let identity = Identity {
            ledger_id: [0; 16],
            chain_id,
            hub_tag: segment::hub_tag(hub),
        };
        let mut reader = Reader {
            chain_id,
            hub,
            is_identified: false,
            expected: None,
            recovery: Recovery {
                state: State::default(),
                identity,
                sequence: 0,
                crc: 0,
                path: PathBuf::new(),
                size: 0,
                offset: 0,
                last_frame: 0,
                dirty_end: 0,
                checkpoint_sequence: 0,
                checkpoint_size: 0,
                checkpoints_damaged: 0,
                frame_count: 0,
                segments_since: 0,
            },
        };
        for sequence in files.checkpoints.iter().rev() {
            let path = checkpoint::path(folder, *sequence);
            // Before the first frame there is no checksum that it could repeat.
            let could_be = |found: &Checkpoint| {
                let is_named = found.sequence == *sequence && *sequence <= SEQUENCE_MAX;
                is_named && (found.sequence > 0 || found.crc == 0)
            };
            match checkpoint::read(&path).filter(could_be) {
                None => reader.recovery.checkpoints_damaged += 1,
                Some(found) => {
                    reader.identify(&found.identity, &path)?;
                    reader.recovery.state = found.state;
                    reader.recovery.sequence = found.sequence;
                    reader.recovery.crc = found.crc;
                    reader.recovery.checkpoint_sequence = found.sequence;
                    reader.recovery.checkpoint_size = found.size;
                    break;
                }
            }
        }
        Ok(reader)
    }

    fn identify(&mut self, identity: &Identity, path: &Path) -> Result<(), Error> {
        identity.expect(self.chain_id, self.hub, path)?;
        if self.is_identified && self.recovery.identity != *identity {
            return Err(corrupt(path, 0, "the file belongs to another ledger"));
        }
        self.recovery.identity = *identity;
        self.is_identified = true;
        Ok(())
    }

    fn read_segment(
        &mut self,
        path: &Path,
        first: u64,
        next: Option<u64>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Error> {
        disk::read(path, bytes)?;
        let (identity, first_sequence) = segment::decode(path, bytes)?;
        self.identify(&identity, path)?;
        let from = self.recovery.checkpoint_sequence;
        // Before the first frame of the ledger there is none; after a checkpoint its frame is known.
        let (expected, chain) = self.expected.take().unwrap_or(match first_sequence {
            1 => (1, Some(0)),
            first if first == from + 1 => (first, Some(self.recovery.crc)),
            first => (first, None),
        });
        let is_expected = first_sequence == first && first == expected;
        if !is_expected || !(1..=SEQUENCE_MAX).contains(&first) {
            return Err(corrupt(
                path,
                32,
                "the first sequence is not the expected one",
            ));
        }
        if first_sequence > from {
            self.recovery.segments_since += 1;
        }
        let mut walk = (segment::HEADER_SIZE, expected, chain);
        let mut last_frame = walk.0;
        while let Some(found) = frame::at(bytes, walk.0) {
            let is_chained = walk.2.is_none_or(|crc| crc == found.previous_crc);
            if found.sequence != walk.1 || !is_chained {
                break;
            }
            self.take(path, walk.0, &found)?;
            last_frame = walk.0;
            walk = (found.end, found.sequence + 1, Some(found.crc));
        }
        let (offset, expected, chain) = walk;
        self.recovery.last_frame = last_frame as u64;
        self.expected = Some((expected, chain));
        match next {
            Some(next) if next == expected => Ok(()),
            Some(_) => Err(corrupt(
                path,
                offset,
                "frames are missing before the next segment",
            )),
            None => self.end(path, bytes, offset, expected),
        }
    }

    fn take(&mut self, path: &Path, offset: usize, found: &frame::Frame<'_>) -> Result<(), Error> {
        let from = self.recovery.checkpoint_sequence;
        if found.sequence == from && found.crc != self.recovery.crc {
            return Err(corrupt(
                path,
                offset,
                "the frame is not the one of the checkpoint",
            ));
        }
        if found.sequence <= from {
            return Ok(());
        }
        let mut input = found.payload;
        for _ in 0..found.event_count {
            let event = Event::decode(&mut input)
                .ok_or_else(|| corrupt(path, offset, "the frame holds an unknown event"))?;
            evolve(&mut self.recovery.state, &event)
                .map_err(|_| corrupt(path, offset, "an event does not fit the state"))?;
        }
        if !input.is_empty() {
            return Err(corrupt(
                path,
                offset,
                "the frame holds more than its events",
            ));
        }
        self.recovery.sequence = found.sequence;
        self.recovery.crc = found.crc;
        self.recovery.frame_count += 1;
        Ok(())
    }

    /// Judges what lies behind the last valid frame of the last segment.
    fn end(
        &mut self,
        path: &Path,
        bytes: &[u8],
        offset: usize,
        expected: u64,
    ) -> Result<(), Error> {
        if expected <= self.recovery.checkpoint_sequence {
            return Err(corrupt(
                path,
                offset,
                "a frame that a checkpoint covers is damaged",
            ));
        }
        if frame::find(bytes, offset, expected).is_some() {
            return Err(corrupt(
                path,
                offset,
                "a bad frame with a valid one behind it",
            ));
        }
        let rest = bytes.get(offset..).unwrap_or(&[]);
        let dirty = rest
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        self.recovery.path = path.to_path_buf();
        // A segment whose tail was cut off by hand ends where its last whole word does.
        self.recovery.size = (bytes.len() - bytes.len() % frame::ALIGNMENT) as u64;
        self.recovery.offset = offset as u64;
        self.recovery.dirty_end = (offset + dirty) as u64;
        Ok(())
    }
}
