//! The checkpoint: the whole state after one frame, so that a restart reads only what came after.
//!
//! A checkpoint is never the truth: it can be lost or damaged and the segments give the same state.
//! It is written beside its place, synced and renamed, so a half-written one is never looked at.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::journal::disk;
use crate::journal::segment::Identity;
use crate::ledger::snapshot;
use crate::ledger::state::State;
use crate::records::{bytes, u32_at, u64_at};

const MAGIC: [u8; 8] = *b"PWCHKP01";
/// 2 since there are tick chains; 1, the same without them, is still read.
const FORMAT: u32 = 2;
const HEADER_SIZE: usize = 64;
/// Bytes of the checksum at the end.
const SUM_SIZE: u64 = 4;
/// Where a checkpoint is written before it gets its name.
pub const TEMPORARY_NAME: &str = "checkpoint.tmp";

/// A checkpoint that was read.
pub struct Checkpoint {
    /// The state after the frame.
    pub state: State,
    /// The sequence of the frame.
    pub sequence: u64,
    /// The checksum of the frame, which the next one repeats.
    pub crc: u32,
    /// Which ledger it is of.
    pub identity: Identity,
    /// The size of its file.
    pub size: u64,
}

/// The path of the checkpoint after a frame.
#[must_use]
pub fn path(folder: &Path, sequence: u64) -> PathBuf {
    folder.join(format!("checkpoint-{sequence:016x}.pwc"))
}

/// Writes a checkpoint, makes it durable, and gives the size of its file.
pub fn write(
    folder: &Path,
    identity: &Identity,
    sequence: u64,
    crc: u32,
    state: &State,
) -> Result<u64, Error> {
    let temporary = folder.join(TEMPORARY_NAME);
    let file = disk::create(&temporary)?;
    let fill = || -> io::Result<u64> {
        let summed = Summed {
            inner: &file,
            crc: 0,
            size: 0,
        };
        let mut out = BufWriter::with_capacity(1 << 20, summed);
        out.write_all(&header(identity, sequence, crc))?;
        snapshot::write(state, &mut out)?;
        let mut summed = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        let sum = summed.crc;
        summed.write_all(&sum.to_le_bytes())?;
        Ok(summed.size)
    };
    let done = fill()
        .map_err(|error| disk::failed("write", &temporary, &error))
        .and_then(|size| disk::sync_all(&file, &temporary).map(|()| size))
        .and_then(|size| disk::rename(&temporary, &path(folder, sequence), folder).map(|()| size));
    if done.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    done
}

/// Reads a checkpoint; `None` if it is damaged.
#[must_use]
pub fn read(path: &Path) -> Option<Checkpoint> {
    // The checksum is proven over the whole file before a byte of it is believed.
    if !is_whole(path).unwrap_or(false) {
        return None;
    }
    let file = File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    let mut input = BufReader::with_capacity(1 << 20, file).take(size - SUM_SIZE);
    let mut header = [0; HEADER_SIZE];
    input.read_exact(&mut header).ok()?;
    let format = u32_at(&header, 8);
    if header[..8] != MAGIC || !(1..=FORMAT).contains(&format) {
        return None;
    }
    let state = snapshot::read(&mut input, size, format > 1).ok()?;
    if input.limit() > 0 {
        return None;
    }
    Some(Checkpoint {
        state,
        sequence: u64_at(&header, 32),
        crc: u32_at(&header, 12),
        identity: Identity {
            ledger_id: bytes(&header, 16),
            chain_id: u64_at(&header, 40),
            hub_tag: bytes(&header, 48),
        },
        size,
    })
}

fn header(identity: &Identity, sequence: u64, crc: u32) -> [u8; HEADER_SIZE] {
    let mut header = [0; HEADER_SIZE];
    header[0..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    header[16..32].copy_from_slice(&identity.ledger_id);
    header[32..40].copy_from_slice(&sequence.to_le_bytes());
    header[40..48].copy_from_slice(&identity.chain_id.to_le_bytes());
    header[48..60].copy_from_slice(&identity.hub_tag);
    header
}

fn is_whole(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    if size < HEADER_SIZE as u64 + SUM_SIZE {
        return Ok(false);
    }
    let (mut crc, mut left) = (0, size - SUM_SIZE);
    let mut buffer = vec![0; 1 << 20];
    while left > 0 {
        let part = buffer.len().min(left as usize);
        file.read_exact(&mut buffer[..part])?;
        crc = crc32c::crc32c_append(crc, &buffer[..part]);
        left -= part as u64;
    }
    let mut sum = [0; 4];
    file.read_exact(&mut sum)?;
    Ok(u32::from_le_bytes(sum) == crc)
}

/// A writer that sums and counts what passes through it.
struct Summed<W> {
    inner: W,
    crc: u32,
    size: u64,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, &bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
