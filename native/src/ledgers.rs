//! The verbs over ledgers, and the table of open ones.
//!
//! Statics of an addon belong to the process, so a handle opened in one thread is good in all. The
//! table is locked only to look a handle up, never while a verb works.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use napi::bindgen_prelude::{BigInt, Uint8Array};
use napi_derive::napi;
use piecework_core::journal::{self, Config};
use piecework_core::ledger::Ledger;
use piecework_core::records::read::Table;
use piecework_core::{Code, Error};

use crate::vouchers::long;
use crate::{exactly, guarded};

type Handles = HashMap<u32, Arc<Ledger>>;

static HANDLES: LazyLock<Mutex<Handles>> = LazyLock::new(Mutex::default);
static LAST_HANDLE: AtomicU32 = AtomicU32::new(0);

fn handles<T>(task: impl FnOnce(&mut Handles) -> T) -> T {
    // The table itself is never left half changed, so a panic elsewhere does not spoil it.
    task(&mut HANDLES.lock().unwrap_or_else(PoisonError::into_inner))
}

fn ledger(handle: u32) -> Result<Arc<Ledger>, Error> {
    let found = handles(|open| open.get(&handle).cloned());
    found.ok_or_else(|| Error::new(Code::LedgerClosed, format!("no open ledger {handle}")))
}

/// What opening a ledger found.
#[napi(object)]
pub struct Opened {
    /// Names the ledger in all other verbs.
    pub handle: u32,
    /// Whether the ledger is new.
    pub created: bool,
    /// Random, the same in all files of a ledger.
    pub ledger_id: Uint8Array,
    /// The sequence of the last frame.
    pub sequence: f64,
    /// The frame of the checkpoint that reading started from, 0 if none.
    pub checkpoint_sequence: f64,
    /// Checkpoints that were damaged and passed over.
    pub checkpoints_damaged: u32,
    /// Frames applied after the checkpoint.
    pub frame_count: f64,
    /// Bytes of a torn tail that were zeroed.
    pub cut_bytes: f64,
}

/// Opens or begins the ledger in a folder.
#[napi]
pub fn ledger_open(
    folder: String,
    chain_id: BigInt,
    hub: &[u8],
    segment_bytes: Option<u32>,
    seed: Option<&[u8]>,
) -> napi::Result<Opened> {
    guarded(|| {
        let segment_size = segment_bytes.map_or(journal::SEGMENT_SIZE, u64::from);
        let allowed = journal::SEGMENT_SIZE_MIN..=journal::SEGMENT_SIZE_MAX;
        if !allowed.contains(&segment_size) || !segment_size.is_multiple_of(8) {
            let detail = format!("a segment of {segment_size} bytes is not allowed");
            return Err(Error::new(Code::BadArgument, detail));
        }
        let config = Config {
            folder: Path::new(&folder),
            chain_id: long(&chain_id, "chain id")?,
            hub: exactly(hub, "hub")?,
            segment_size,
        };
        let seed = seed.map(|seed| exactly(seed, "seed")).transpose()?;
        let (ledger, summary) = Ledger::open(&config, seed)?;
        let handle = LAST_HANDLE.fetch_add(1, Ordering::Relaxed) + 1;
        handles(|open| open.insert(handle, Arc::new(ledger)));
        Ok(Opened {
            handle,
            created: summary.created,
            ledger_id: summary.ledger_id.to_vec().into(),
            sequence: summary.sequence as f64,
            checkpoint_sequence: summary.checkpoint_sequence as f64,
            checkpoints_damaged: summary.checkpoints_damaged,
            frame_count: summary.frame_count as f64,
            cut_bytes: summary.cut_bytes as f64,
        })
    })
}

/// Decides, applies and makes durable one batch. It waits for the disk: only the lane calls it.
#[napi]
pub fn ledger_commit(handle: u32, commands: &[u8], blobs: &[u8]) -> napi::Result<Uint8Array> {
    guarded(|| Ok(ledger(handle)?.commit(commands, blobs)?.into()))
}

/// The status bytes the commands would get; changes nothing and waits for no disk.
#[napi]
pub fn ledger_screen(handle: u32, commands: &[u8], blobs: &[u8]) -> napi::Result<Uint8Array> {
    guarded(|| Ok(ledger(handle)?.screen(commands, blobs)?.into()))
}

/// Up to `count` records of a table from the ordinal `from` on.
#[napi]
pub fn ledger_read(handle: u32, table: String, from: u32, count: u32) -> napi::Result<Uint8Array> {
    guarded(|| {
        let which = Table::from_name(&table)
            .ok_or_else(|| Error::new(Code::BadArgument, format!("no table {table}")))?;
        Ok(ledger(handle)?
            .read(which, from as usize, count as usize)?
            .into())
    })
}

/// The summary record.
#[napi]
pub fn ledger_summary(handle: u32) -> napi::Result<Uint8Array> {
    guarded(|| Ok(ledger(handle)?.summary()?.into()))
}

/// The index of the channel of (voucher key, payee).
#[napi]
pub fn ledger_find_channel(
    handle: u32,
    voucher_key: &[u8],
    payee: &[u8],
) -> napi::Result<Option<u32>> {
    guarded(|| {
        let voucher_key = exactly(voucher_key, "voucher key")?;
        ledger(handle)?.find_channel(&voucher_key, &exactly(payee, "payee")?)
    })
}

/// The index of the session with this id.
#[napi]
pub fn ledger_find_session(handle: u32, session_id: &[u8]) -> napi::Result<Option<u32>> {
    guarded(|| ledger(handle)?.find_session(&exactly(session_id, "session id")?))
}

/// The value of a note.
#[napi]
pub fn ledger_note(handle: u32, space: u16, key: &[u8]) -> napi::Result<Option<Uint8Array>> {
    guarded(|| {
        let found = ledger(handle)?.note(space, &exactly(key, "note key")?)?;
        Ok(found.map(Uint8Array::from))
    })
}

/// The SHA-256 of the state's canonical bytes.
#[napi]
pub fn ledger_state_hash(handle: u32) -> napi::Result<Uint8Array> {
    guarded(|| Ok(ledger(handle)?.state_hash()?.to_vec().into()))
}

/// Writes a checkpoint now.
#[napi]
pub fn ledger_checkpoint(handle: u32) -> napi::Result<()> {
    guarded(|| ledger(handle)?.checkpoint())
}

/// Closes the ledger and releases its folder. The handle is gone even if the checkpoint fails.
#[napi]
pub fn ledger_close(handle: u32) -> napi::Result<()> {
    guarded(|| {
        let found = handles(|open| open.remove(&handle));
        let gone = || Error::new(Code::LedgerClosed, format!("no open ledger {handle}"));
        found.ok_or_else(gone)?.close()
    })
}
