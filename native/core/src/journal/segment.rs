//! The segment file: its name, its 64-byte header, and where it stands in the folder.

use std::path::{Path, PathBuf};

use crate::Address;
use crate::error::{Code, Error};
use crate::hash::keccak256;
use crate::records::{bytes, u32_at, u64_at};

/// Bytes of the header.
pub const HEADER_SIZE: usize = 64;
/// The preallocated segment that has no first sequence yet.
pub const NEXT_NAME: &str = "next.pwj";

/// The greatest sequence that is read: no ledger gets there, and one more than it is still a number.
pub const SEQUENCE_MAX: u64 = (1 << 53) - 1;

const MAGIC: [u8; 8] = *b"PWJRNL01";
const FORMAT: u32 = 1;

/// Which ledger a file belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Random, the same in all files of a ledger.
    pub ledger_id: [u8; 16],
    /// EIP-155 id of the chain.
    pub chain_id: u64,
    /// The first 12 bytes of the hub's hash.
    pub hub_tag: [u8; 12],
}

/// The first 12 bytes of keccak256(hub).
#[must_use]
pub fn hub_tag(hub: &Address) -> [u8; 12] {
    bytes(&keccak256(&[hub]), 0)
}

impl Identity {
    /// Refuses a file of another chain or hub, and then one of another ledger.
    pub fn expect(&self, chain_id: u64, hub: &Address, path: &Path) -> Result<(), Error> {
        if self.chain_id == chain_id && self.hub_tag == hub_tag(hub) {
            return Ok(());
        }
        let detail = format!("{} belongs to another chain or hub", path.display());
        Err(Error::new(Code::LedgerForeign, detail))
    }
}

/// The header of the segment whose first frame is `first_sequence`.
#[must_use]
pub fn encode(identity: &Identity, first_sequence: u64) -> [u8; HEADER_SIZE] {
    let mut header = [0; HEADER_SIZE];
    header[0..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    header[16..32].copy_from_slice(&identity.ledger_id);
    header[32..40].copy_from_slice(&first_sequence.to_le_bytes());
    header[40..48].copy_from_slice(&identity.chain_id.to_le_bytes());
    header[48..60].copy_from_slice(&identity.hub_tag);
    let crc = crc32c::crc32c(&header[..60]);
    header[60..64].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Reads a header; a header that is damaged is corruption, since it was synced before any frame.
pub fn decode(path: &Path, segment: &[u8]) -> Result<(Identity, u64), Error> {
    let is_whole = segment.len() >= HEADER_SIZE
        && segment[..8] == MAGIC
        && u32_at(segment, 8) == FORMAT
        && u32_at(segment, 12) == 0
        && crc32c::crc32c(&segment[..60]) == u32_at(segment, 60);
    if !is_whole {
        return Err(corrupt(path, 0, "the segment header is damaged"));
    }
    let identity = Identity {
        ledger_id: bytes(segment, 16),
        chain_id: u64_at(segment, 40),
        hub_tag: bytes(segment, 48),
    };
    Ok((identity, u64_at(segment, 32)))
}

/// The error of a journal that is damaged at an offset of a file.
#[must_use]
pub fn corrupt(path: &Path, offset: usize, what: &str) -> Error {
    let detail = format!("{} at offset {offset}: {what}", path.display());
    Error::new(Code::JournalCorrupt, detail)
}

/// The path of the segment whose first frame is `first_sequence`.
#[must_use]
pub fn path(folder: &Path, first_sequence: u64) -> PathBuf {
    folder.join(format!("seg-{first_sequence:016x}.pwj"))
}

/// The sequence in a name `<prefix><16 hex digits><suffix>`.
#[must_use]
pub fn sequence_in(name: &str, prefix: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
    let is_plain = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if is_plain {
        u64::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}
