//! The journal's few operations on the disk, so that durability has one place.
//!
//! No other file of the crate opens, writes or syncs. Every function names the file in its error.
//! With the feature `skip-sync` nothing is synced: that build exists to be caught by a test.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Code, Error};

/// Bytes of a new file between syncs.
const SYNC_STEP: u64 = 1 << 20;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Writes all bytes at an offset.
pub fn write_at(file: &File, path: &Path, bytes: &[u8], offset: u64) -> Result<(), Error> {
    fault::check(fault::Operation::Write)
        .and_then(|()| file.write_all_at(bytes, offset))
        .map_err(|error| failed("write", path, &error))
}

/// Makes the data of a file durable.
pub fn sync_data(file: &File, path: &Path) -> Result<(), Error> {
    if cfg!(feature = "skip-sync") {
        return Ok(());
    }
    fault::check(fault::Operation::Sync)
        .and_then(|()| file.sync_data())
        .map_err(|error| failed("sync", path, &error))
}

/// Makes the data and the size of a file durable.
pub fn sync_all(file: &File, path: &Path) -> Result<(), Error> {
    if cfg!(feature = "skip-sync") {
        return Ok(());
    }
    file.sync_all()
        .map_err(|error| failed("sync", path, &error))
}

/// Makes the names in a folder durable.
pub fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = File::open(path).map_err(|error| failed("open", path, &error))?;
    sync_all(&folder, path)
}

/// Makes a durable file of `size` zero bytes whose blocks all belong to it.
///
/// The blocks are reserved first, so that a full disk shows here, and then written, so that later
/// syncs of frames need not touch the file system's own records. A leftover of an earlier attempt
/// is overwritten. On failure the file is removed.
pub fn allocate(path: &Path, size: u64) -> Result<File, Error> {
    let attempt = || -> io::Result<File> {
        fault::check(fault::Operation::Allocate)?;
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let file = options?;
        file.set_len(size)?;
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size) {
            Ok(()) => {}
            // Not every file system can reserve; writing the zeros allocates as well.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        let mut at = 0;
        while at < size {
            let part = ZEROS.len().min((size - at) as usize);
            file.write_all_at(&ZEROS[..part], at)?;
            at += part as u64;
            // Little by little: a commit beside this one waits behind what is under way.
            if at.is_multiple_of(SYNC_STEP) && !cfg!(feature = "skip-sync") {
                file.sync_data()?;
            }
        }
        if !cfg!(feature = "skip-sync") {
            file.sync_all()?;
        }
        Ok(file)
    };
    attempt().map_err(|error| {
        let _ = std::fs::remove_file(path);
        failed("allocate", path, &error)
    })
}

/// Overwrites a range with zeros and makes that durable.
pub fn zero(file: &File, path: &Path, from: u64, to: u64) -> Result<(), Error> {
    let mut at = from;
    while at < to {
        let part = ZEROS.len().min((to - at) as usize);
        write_at(file, path, &ZEROS[..part], at)?;
        at += part as u64;
    }
    sync_data(file, path)
}

/// Renames within a folder and makes the new name durable.
pub fn rename(from: &Path, to: &Path, folder: &Path) -> Result<(), Error> {
    std::fs::rename(from, to).map_err(|error| failed("rename", from, &error))?;
    sync_folder(folder)
}

/// Creates an empty file for writing, replacing a leftover.
pub fn create(path: &Path) -> Result<File, Error> {
    File::create(path).map_err(|error| failed("create", path, &error))
}

/// Opens a file for reading and writing.
pub fn open(path: &Path) -> Result<File, Error> {
    let options = OpenOptions::new().read(true).write(true).open(path);
    options.map_err(|error| failed("open", path, &error))
}

/// Reads a whole file into the memory of an earlier one.
pub fn read(path: &Path, bytes: &mut Vec<u8>) -> Result<(), Error> {
    bytes.clear();
    File::open(path)
        .and_then(|mut file| file.read_to_end(bytes))
        .map(|_| ())
        .map_err(|error| failed("read", path, &error))
}

/// Reads a range of a file; less where the file ends before.
pub fn read_range(file: &File, path: &Path, from: u64, to: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; to.saturating_sub(from) as usize];
    let mut at = 0;
    while at < bytes.len() {
        match file.read_at(&mut bytes[at..], from + at as u64) {
            Ok(0) => break,
            Ok(count) => at += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("read", path, &error)),
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}

/// Takes the lock of a folder, creating both, and holds it as long as the file lives.
pub fn lock(folder: &Path) -> Result<File, Error> {
    std::fs::create_dir_all(folder).map_err(|error| failed("create", folder, &error))?;
    let path = folder.join("lock");
    let options = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file = options.map_err(|error| failed("open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let detail = format!("{} is held by another owner", path.display());
            return Err(Error::new(Code::LedgerLocked, detail));
        }
        Err(std::fs::TryLockError::Error(error)) => return Err(failed("lock", &path, &error)),
    }
    Ok(file)
}

/// An error of the operating system with the operation and the file.
pub fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::io(&format!("{what} {}", path.display()), error)
}

/// Faults that tests inject on their own thread; nothing in other builds.
pub mod fault {
    use std::io;

    /// An operation that can be made to fail.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Operation {
        /// A write of a frame or of zeros.
        Write,
        /// A sync of data.
        Sync,
        /// An allocation of a segment.
        Allocate,
    }

    #[cfg(test)]
    thread_local! {
        static PLAN: std::cell::Cell<Option<(Operation, u32)>> = const { std::cell::Cell::new(None) };
    }

    /// Makes this and every later operation of the kind on this thread fail, after `spared` good ones.
    #[cfg(test)]
    pub fn plan(fault: Option<(Operation, u32)>) {
        PLAN.set(fault);
    }

    #[cfg(test)]
    pub(super) fn check(operation: Operation) -> io::Result<()> {
        match PLAN.get() {
            Some((planned, 0)) if planned == operation => Err(io::ErrorKind::StorageFull.into()),
            Some((planned, spared)) if planned == operation => {
                PLAN.set(Some((planned, spared - 1)));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    #[cfg(not(test))]
    #[allow(clippy::unnecessary_wraps)]
    pub(super) fn check(_: Operation) -> io::Result<()> {
        Ok(())
    }
}
