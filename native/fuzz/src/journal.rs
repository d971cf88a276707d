//! Ledger folders: whatever the files hold, opening gives an error that names the damage and changes nothing, or a
//! state that goes on; and a folder that nobody touched gives the state it was left with.
//!
//! An input is a list of edits to the files of a real ledger. At its end it says whether checksums are made right
//! again, so that damage also reaches what lies behind them.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use piecework_core::journal::{Config, checkpoint, frame, segment};
use piecework_core::ledger::Ledger;
use piecework_core::records::read::Table;
use piecework_core::{Address, Code, Error};

use crate::Seen;
use crate::ledger::{self, Folder};
use crate::source::Source;

const CHAIN_ID: u64 = 199;
const HUB: Address = [0x11; 20];
const SEED: [u8; 32] = [0x33; 32];
const SEGMENT_SIZE: u64 = 4096;
/// Bytes of the header of a checkpoint; behind it stand the state and a checksum of 4 bytes.
const CHECKPOINT_HEADER: usize = 64;

type Files = Vec<(String, Vec<u8>)>;

/// A folder that a ledger left behind.
struct Left {
    files: Files,
    hash: [u8; 32],
}

/// What ledgers left: a new one, one that was closed, one that was killed after segments and checkpoints.
static LEFT: LazyLock<Vec<Left>> = LazyLock::new(|| {
    let made = [(0, true), (6, false), (6, true), (150, false), (150, true)];
    made.map(|(batches, closes)| leave(batches, closes)).into()
});

thread_local! {
    static FOLDER: RefCell<Folder> = RefCell::new(Folder::new());
}

/// Opens the ledger of this target in a folder.
pub fn open(folder: &Path) -> Result<Ledger, Error> {
    let config = Config {
        folder,
        chain_id: CHAIN_ID,
        hub: HUB,
        segment_size: SEGMENT_SIZE,
    };
    Ledger::open(&config, Some(SEED)).map(|(ledger, _)| ledger)
}

fn leave(batches: usize, closes: bool) -> Left {
    let folder = Folder::new();
    let ledger = open(&folder.0).expect("a new ledger opens");
    let mut chance = crate::chance::Chance(batches as u64);
    for _ in 0..batches {
        let mut steering = [0; 96];
        chance.fill(&mut steering);
        let (commands, blobs) = ledger::batch(&mut Source::new(&steering));
        ledger.commit(&commands, &blobs).expect("it commits");
    }
    let hash = ledger.state_hash().expect("it is sound");
    if closes {
        ledger.close().expect("it closes");
    }
    drop(ledger);
    let files = folder.read();
    Left { files, hash }
}

/// The states in the checkpoints of those folders.
pub fn snapshots() -> impl Iterator<Item = &'static [u8]> {
    let files = LEFT.iter().flat_map(|left| &left.files);
    let checkpoints = files.filter(|(name, _)| name.starts_with("checkpoint"));
    checkpoints.map(|(_, bytes)| &bytes[CHECKPOINT_HEADER..bytes.len() - 4])
}

/// One folder, edited.
pub fn run(data: &[u8]) -> Seen {
    let mut source = Source::new(data);
    let left = &LEFT[source.below(LEFT.len())];
    let mut files = left.files.clone();
    let seals = source.byte() & 1 == 1;
    let mut edits = 0;
    while source.has_more() && edits < 8 {
        edit(&mut files, &mut source);
        edits += 1;
    }
    if seals {
        files.iter_mut().for_each(|(name, bytes)| seal(name, bytes));
    }
    FOLDER.with_borrow(|folder| {
        folder.write(&files);
        let opened = open(&folder.0);
        match &opened {
            Ok(ledger) => goes_on(ledger, &folder.0, (edits == 0).then_some(left.hash)),
            Err(error) => {
                let known = matches!(error.code, Code::JournalCorrupt | Code::LedgerForeign);
                assert!(known && edits > 0, "{error}");
                files.sort();
                assert!(folder.read() == files, "a refused folder was changed");
            }
        }
        Seen::one(opened.is_ok())
    })
}

/// An opened ledger can be read in every way, takes a batch, and is the same after a restart.
fn goes_on(ledger: &Ledger, folder: &Path, expected: Option<[u8; 32]>) {
    let hash = ledger.state_hash().expect("it is sound");
    assert!(expected.is_none_or(|expected| expected == hash));
    for table in [
        Table::Channels,
        Table::Sessions,
        Table::Outstanding,
        Table::Budgets,
        Table::Notes,
    ] {
        ledger.read(table, 0, usize::MAX).expect("it is sound");
    }
    ledger.summary().expect("it is sound");
    let steering: Vec<u8> = (0..96u8).map(|at| at.wrapping_mul(37) ^ hash[0]).collect();
    let (commands, blobs) = ledger::batch(&mut Source::new(&steering));
    ledger.commit(&commands, &blobs).expect("it goes on");
    let hash = ledger.state_hash().expect("it is sound");
    if hash[1] & 1 == 0 {
        ledger.close().expect("it closes");
    } else {
        let _ = ledger.checkpoint();
    }
    // The lock is of the open file, so a copy is opened as after a kill.
    FOLDER_AGAIN.with_borrow(|again| {
        again.write(&Folder::read_at(folder));
        let again = open(&again.0).expect("what was left opens again");
        assert_eq!(again.state_hash().expect("it is sound"), hash);
    });
}

thread_local! {
    static FOLDER_AGAIN: RefCell<Folder> = RefCell::new(Folder::new());
}

/// Where an edit happens: mostly among the bytes that mean something.
fn place(bytes: &[u8], source: &mut Source<'_>) -> usize {
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    let end = (end + 16).min(bytes.len());
    if end == 0 {
        return 0;
    }
    usize::from(source.short()) % end
}

fn edit(files: &mut Files, source: &mut Source<'_>) {
    let kind = source.below(12);
    if files.is_empty() {
        return;
    }
    let nth = source.below(files.len());
    let (name, bytes) = &mut files[nth];
    let at = place(bytes, source);
    match kind {
        0..=2 if at < bytes.len() => bytes[at] ^= source.byte().max(1),
        3..=5 => {
            let value: [u8; 16] = source.bytes();
            let size = source.pick(&[4, 8, 12, 16]).min(bytes.len() - at);
            let fill = source.pick(&[None, Some(0), Some(0xff)]);
            let value = fill.map_or(value, |byte| [byte; 16]);
            bytes[at..at + size].copy_from_slice(&value[..size]);
        }
        6 => bytes.truncate(at),
        7 => {
            files.remove(nth);
        }
        8 => {
            // The same content under another number, which may be the greatest there is.
            let number = source.pick(&[0, 1, 2, 5, 40, u64::MAX - 1, u64::MAX]);
            let other = match name.starts_with("seg") {
                true => segment::path(Path::new(""), number),
                false => checkpoint::path(Path::new(""), number),
            };
            let other = other.to_string_lossy().into_owned();
            let mut copy = bytes.clone();
            // Both headers hold their sequence at the same place.
            if copy.len() >= 40 {
                copy[32..40].copy_from_slice(&number.to_le_bytes());
            }
            files.retain(|(name, _)| *name != other);
            files.push((other, copy));
        }
        9 => {
            let from = place(bytes, source) & !7;
            let size = source.below(256).min(bytes.len() - from);
            let part = bytes[from..from + size].to_vec();
            let at = at & !7;
            let size = size.min(bytes.len() - at);
            bytes[at..at + size].copy_from_slice(&part[..size]);
        }
        10 => {
            let part = source.slice(32).to_vec();
            bytes.splice(at..at, part);
        }
        _ => {
            let to = (at + source.below(256)).min(bytes.len());
            bytes[at..to].fill(0);
        }
    }
}

/// Makes the checksums of a file right for what it holds now.
fn seal(name: &str, bytes: &mut [u8]) {
    if bytes.len() < CHECKPOINT_HEADER + 4 {
        return;
    }
    if name.starts_with("checkpoint") {
        let end = bytes.len() - 4;
        let sum = crc32c::crc32c(&bytes[..end]);
        bytes[end..].copy_from_slice(&sum.to_le_bytes());
        return;
    }
    let sum = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&sum.to_le_bytes());
    let mut at = segment::HEADER_SIZE;
    let mut previous: Option<u32> = None;
    while at + frame::HEADER_SIZE < bytes.len() {
        let size = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let end = at + frame::HEADER_SIZE + size as usize;
        if size == 0 || end > bytes.len() {
            return;
        }
        if let Some(crc) = previous {
            bytes[at + 16..at + 20].copy_from_slice(&crc.to_le_bytes());
        }
        let sum = crc32c::crc32c(&bytes[at + 8..end]);
        bytes[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
        previous = Some(sum);
        at = end.next_multiple_of(frame::ALIGNMENT);
    }
}

/// Every folder as it was left, and a sealed edit of every kind in each.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for left in 0..LEFT.len() as u8 {
        seeds.push(vec![left]);
        for kind in 0..12 {
            for seals in 0..2 {
                let edit = [kind, kind % 3, 80 + 9 * left, 0, 1, 255, 0, 0, 3];
                seeds.push([&[left, seals][..], &edit].concat());
            }
        }
    }
    seeds
}

impl Folder {
    /// The files of the folder but for its lock, by name.
    #[must_use]
    pub fn read(&self) -> Files {
        Folder::read_at(&self.0)
    }

    fn read_at(folder: &Path) -> Files {
        let mut files: Files = std::fs::read_dir(folder)
            .expect("the folder is there")
            .filter_map(|entry| {
                let path: PathBuf = entry.ok()?.path();
                let name = path.file_name()?.to_str()?.to_owned();
                // The segment allocated ahead is empty; leaving it out is leaving it unallocated.
                let counts = name.starts_with("seg-") || name.starts_with("checkpoint-");
                Some((name, std::fs::read(&path).ok()?)).filter(|_| counts)
            })
            .collect();
        files.sort();
        files
    }

    /// Empties the folder and puts files into it.
    pub fn write(&self, files: &Files) {
        for entry in std::fs::read_dir(&self.0).expect("the folder is there") {
            let path = entry.expect("the folder can be listed").path();
            std::fs::remove_file(path).expect("a file can be removed");
        }
        for (name, bytes) in files {
            std::fs::write(self.0.join(name), bytes).expect("a file can be written");
        }
    }
}
