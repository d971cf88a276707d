//! The segment allocated ahead, made beside the commits so that none of them waits for it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use crate::error::{Code, Error};
use crate::journal::{disk, segment};

/// Segments up to this size are made at once: a thread would cost more.
const AT_ONCE_MAX: u64 = 1 << 20;

/// What there is of the next segment.
#[derive(Debug, Default)]
pub enum Ahead {
    /// Nothing.
    #[default]
    Nothing,
    /// A thread is making it.
    Making(JoinHandle<Result<File, Error>>),
    /// It is there.
    Ready(File),
}

impl Ahead {
    /// Begins to make the next segment of a folder. Fails where that was tried at once and failed.
    pub fn begin(folder: &Path, size: u64) -> Result<Ahead, Error> {
        let folder = folder.to_path_buf();
        if size > AT_ONCE_MAX {
            let owned = folder.clone();
            let thread = thread::Builder::new().name("piecework-segment".to_owned());
            if let Ok(thread) = thread.spawn(move || make(&owned, size)) {
                return Ok(Ahead::Making(thread));
            }
        }
        Ok(Ahead::Ready(make(&folder, size)?))
    }

    /// Whether there is nothing, and nothing on its way.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        matches!(self, Ahead::Nothing)
    }

    /// Whether it is there.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self, Ahead::Ready(_))
    }

    /// Takes note of a thread that has ended; with `wait`, lets it end. Fails where the thread did, and then
    /// there is nothing.
    pub fn settle(&mut self, wait: bool) -> Result<(), Error> {
        match std::mem::take(self) {
            Ahead::Making(thread) if wait || thread.is_finished() => {
                let made = thread.join();
                let burst = |_| Error::new(Code::LedgerIo, "the allocating thread panicked");
                *self = Ahead::Ready(made.map_err(burst)??);
            }
            other => *self = other,
        }
        Ok(())
    }

    /// The file, if it is there.
    pub fn take(&mut self) -> Option<File> {
        match std::mem::take(self) {
            Ahead::Ready(file) => Some(file),
            other => {
                *self = other;
                None
            }
        }
    }
}

fn make(folder: &Path, size: u64) -> Result<File, Error> {
    let path: PathBuf = folder.join(segment::NEXT_NAME);
    let file = disk::allocate(&path, size)?;
    disk::sync_folder(folder)?;
    Ok(file)
}
