//! What the tests of this crate share: records, folders, chance and a ledger at hand.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use piecework_core::amount::Amount;
use piecework_core::journal::{Config, Summary};
use piecework_core::ledger::Ledger;
use piecework_core::records::command as at;
use piecework_core::records::command::STRIDE;
use piecework_core::records::outcome::outcome;
use piecework_core::tick_row::{self, Terms, Tick, TickRow};
use piecework_core::voucher::{self, Row};
use piecework_core::{Address, Error, keys};

pub const CHAIN_ID: u64 = 199;
pub const HUB: Address = [0x11; 20];
pub const PAYEE: Address = [0x22; 20];
pub const SEED: [u8; 32] = [0x33; 32];
pub const MIB: u64 = 1 << 20;

pub type Record = [u8; STRIDE];

/// A record of a kind with some of its fields set.
pub fn record(kind: u8, fields: &[(usize, &[u8])]) -> Record {
    let mut record = [0; STRIDE];
    record[0] = kind;
    for (offset, value) in fields {
        record[*offset..*offset + value.len()].copy_from_slice(value);
    }
    record
}

#[derive(Clone, Copy)]
pub struct Put {
    pub role: u8,
    pub key: Address,
    pub payee: Address,
    pub deposit: u128,
    pub close_at: u32,
    pub block: u64,
    pub key_index: u64,
}

impl Put {
    pub fn payee(key: u8) -> Put {
        let key = [key; 20];
        Put {
            role: 1,
            key,
            payee: PAYEE,
            deposit: 1_000_000,
            close_at: 0,
            block: 1,
            key_index: 0,
        }
    }

    pub fn payer(key_index: u64) -> Put {
        let key = own_key(key_index);
        Put {
            role: 2,
            key,
            payee: PAYEE,
            deposit: 1_000_000,
            close_at: 0,
            block: 1,
            key_index,
        }
    }

    pub fn record(&self) -> Record {
        use at::channel_put as f;
        let fields: [(usize, &[u8]); 7] = [
            (f::ROLE, &[self.role]),
            (f::VOUCHER_KEY, &self.key),
            (f::PAYEE, &self.payee),
            (f::DEPOSIT, &self.deposit.to_le_bytes()),
            (f::CLOSE_AT, &self.close_at.to_le_bytes()),
            (f::BLOCK, &self.block.to_le_bytes()),
            (f::KEY_INDEX, &self.key_index.to_le_bytes()),
        ];
        record(1, &fields)
    }
}

/// The address of the ledger's own key at an index.
pub fn own_key(index: u64) -> Address {
    voucher::address_of_secret(&keys::derive(&SEED, index))
}

/// A row that the ledger's own key at an index signed.
pub fn own_row(index: u64, amount: u128) -> Row {
    let domain = voucher::domain_separator(CHAIN_ID, &HUB);
    let amount = piecework_core::amount::Amount::new(amount).unwrap();
    voucher::sign(&domain, &keys::derive(&SEED, index), &PAYEE, amount)
}

/// A row with an amount and no signature: the lane trusts the verified flag.
pub fn plain_row(amount: u128) -> Row {
    let mut row = Row::EMPTY;
    row.0[..12].copy_from_slice(&amount.to_be_bytes()[4..]);
    row
}

pub fn session_open(
    channel: u32,
    id: u8,
    infohash: u8,
    price: u128,
    step: u128,
    prepay: u128,
) -> Record {
    use at::session_open as f;
    record(
        2,
        &[
            (f::CHANNEL, &channel.to_le_bytes()),
            (f::SESSION_ID, &[id; 16]),
            (f::INFOHASH, &[infohash; 20]),
            (f::PRICE_MIB, &price.to_le_bytes()),
            (f::MINIMUM_STEP, &step.to_le_bytes()),
            (f::PREPAY, &prepay.to_le_bytes()),
        ],
    )
}

pub fn session_close(session: u32, delivered: u64) -> Record {
    use at::session_close as f;
    record(
        3,
        &[
            (f::SESSION, &session.to_le_bytes()),
            (f::DELIVERED_BYTES, &delivered.to_le_bytes()),
        ],
    )
}

pub fn grant(session: u32, bytes: u64, limit: u128) -> Record {
    use at::grant as f;
    record(
        4,
        &[
            (f::SESSION, &session.to_le_bytes()),
            (f::BYTES, &bytes.to_le_bytes()),
            (f::EXPOSURE_LIMIT, &limit.to_le_bytes()),
        ],
    )
}

pub fn voucher_of(session: u32, row: &Row, is_final: bool, verified: bool) -> Record {
    use at::voucher as f;
    record(
        5,
        &[
            (f::SESSION, &session.to_le_bytes()),
            (f::ROW, &row.0),
            (f::FINAL, &[u8::from(is_final)]),
            (f::VERIFIED, &[u8::from(verified)]),
        ],
    )
}

pub fn accept(session: u32, amount: u128) -> Record {
    voucher_of(session, &plain_row(amount), false, true)
}

pub fn write_off(session: u32, amount: u128) -> Record {
    use at::write_off as f;
    record(
        6,
        &[
            (f::SESSION, &session.to_le_bytes()),
            (f::AMOUNT, &amount.to_le_bytes()),
        ],
    )
}

pub fn budget(infohash: u8, limit: u128) -> Record {
    use at::budget as f;
    record(
        7,
        &[
            (f::INFOHASH, &[infohash; 20]),
            (f::LIMIT, &limit.to_le_bytes()),
        ],
    )
}

pub fn purchase(session: u32, piece: u32, bytes: u32) -> Record {
    use at::purchase as f;
    record(
        8,
        &[
            (f::SESSION, &session.to_le_bytes()),
            (f::PIECE, &piece.to_le_bytes()),
            (f::BYTES, &bytes.to_le_bytes()),
        ],
    )
}

pub fn abandon(session: u32, piece: u32) -> Record {
    use at::abandon as f;
    record(
        9,
        &[
            (f::SESSION, &session.to_le_bytes()),
            (f::PIECE, &piece.to_le_bytes()),
        ],
    )
}

pub fn pay(session: u32, piece: u32, bytes: u32, advance: u128) -> Record {
    use at::pay as f;
    record(
        10,
        &[
            (f::SESSION, &session.to_le_bytes()),
            (f::PIECE, &piece.to_le_bytes()),
            (f::BYTES, &bytes.to_le_bytes()),
            (f::ADVANCE, &advance.to_le_bytes()),
        ],
    )
}

pub fn sign(session: u32, advance: u128) -> Record {
    use at::sign as f;
    record(
        11,
        &[
            (f::SESSION, &session.to_le_bytes()),
            (f::ADVANCE, &advance.to_le_bytes()),
        ],
    )
}

pub fn adopt(channel: u32, row: &Row) -> Record {
    use at::adopt as f;
    record(
        12,
        &[(f::CHANNEL, &channel.to_le_bytes()), (f::ROW, &row.0)],
    )
}

pub fn tick_voucher(session: u32, row: &TickRow, verified: bool) -> Record {
    use at::tick_voucher as f;
    record(
        14,
        &[
            (f::SESSION, &session.to_le_bytes()),
            (f::ROW, &row.0),
            (f::VERIFIED, &[u8::from(verified)]),
        ],
    )
}

pub fn tick(session: u32, count: u16, value: &Tick) -> Record {
    use at::tick as f;
    record(
        15,
        &[
            (f::SESSION, &session.to_le_bytes()),
            (f::COUNT, &count.to_le_bytes()),
            (f::TICK, value),
        ],
    )
}

pub fn open_chain(session: u32, unit: u128, length: u16) -> Record {
    use at::open_chain as f;
    record(
        16,
        &[
            (f::SESSION, &session.to_le_bytes()),
            (f::UNIT, &unit.to_le_bytes()),
            (f::LENGTH, &length.to_le_bytes()),
        ],
    )
}

pub fn reveal(session: u32, count: u16, advance: u128) -> Record {
    use at::reveal as f;
    record(
        17,
        &[
            (f::SESSION, &session.to_le_bytes()),
            (f::COUNT, &count.to_le_bytes()),
            (f::ADVANCE, &advance.to_le_bytes()),
        ],
    )
}

pub fn receive(session: u32, piece: u32, bytes: u32) -> Record {
    use at::receive as f;
    record(
        18,
        &[
            (f::SESSION, &session.to_le_bytes()),
            (f::PIECE, &piece.to_le_bytes()),
            (f::BYTES, &bytes.to_le_bytes()),
        ],
    )
}

pub fn adopt_ticks(channel: u32, row: &TickRow) -> Record {
    use at::adopt_ticks as f;
    record(
        19,
        &[(f::CHANNEL, &channel.to_le_bytes()), (f::ROW, &row.0)],
    )
}

/// A chain of a payer elsewhere, told by the seed byte of its end, with a row that nobody signed: the
/// lane trusts the verified flag.
pub struct Foreign {
    pub end: u8,
    pub amount: u128,
    pub unit: u128,
    pub length: u16,
}

impl Foreign {
    pub fn tick(&self, count: u16) -> Tick {
        tick_row::walk(&[self.end; 32], self.length - count)
    }

    pub fn row(&self, count: u16) -> TickRow {
        let terms = own_terms(self.amount, self.unit, self.length);
        TickRow::new(&terms, &self.tick(0), &[0; 64]).with_tick(count, &self.tick(count))
    }
}

pub fn own_terms(amount: u128, unit: u128, length: u16) -> Terms {
    let amount_of = |value| piecework_core::amount::Amount::new(value).unwrap();
    Terms {
        payee: PAYEE,
        amount: amount_of(amount),
        unit: amount_of(unit),
        length,
    }
}

/// The tick row that the ledger's own key at an index signs.
pub fn own_tick_row(index: u64, terms: &Terms, count: u16) -> TickRow {
    let domain = voucher::domain_separator(CHAIN_ID, &HUB);
    let value = |at| {
        tick_row::walk(
            &keys::chain_end(&SEED, &domain, index, terms),
            terms.length - at,
        )
    };
    let key = keys::derive(&SEED, index);
    tick_row::sign(&domain, &key, terms, &value(0)).with_tick(count, &value(count))
}

/// A note whose value is `blobs[from..from + size]`, or nothing.
pub fn note(space: u16, key: u8, value: Option<(u32, u32)>) -> Record {
    use at::note as f;
    let (from, size) = value.unwrap_or_default();
    record(
        13,
        &[
            (f::PRESENT, &[u8::from(value.is_some())]),
            (f::SPACE, &space.to_le_bytes()),
            (f::KEY, &[key; 32]),
            (f::VALUE_OFFSET, &from.to_le_bytes()),
            (f::VALUE_SIZE, &size.to_le_bytes()),
        ],
    )
}

/// An outcome record, read.
pub struct Outcome<'a>(pub &'a [u8]);

impl Outcome<'_> {
    pub fn status(&self) -> u8 {
        self.0[outcome::STATUS]
    }

    pub fn name(&self) -> &'static str {
        piecework_core::status::STATUS_NAMES[self.status() as usize]
    }

    pub fn int(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    pub fn amount(&self, at: usize) -> u128 {
        Amount::from_le_bytes(self.0[at..at + 12].try_into().unwrap()).get()
    }

    /// The row behind the record.
    pub fn row(&self) -> Option<Row> {
        let stride = outcome::LAYOUT.stride;
        (self.0[outcome::ROW] == 1).then(|| Row(self.0[stride..stride + 76].try_into().unwrap()))
    }

    /// The tick row behind the record.
    pub fn tick_row(&self) -> Option<TickRow> {
        let stride = outcome::LAYOUT.stride;
        let row = || TickRow(self.0[stride..stride + 124].try_into().unwrap());
        (self.0[outcome::TICK_ROW] == 1).then(row)
    }

    fn size(&self) -> usize {
        let rows = self.row().map_or(0, |row| row.0.len());
        outcome::LAYOUT.stride + rows + self.tick_row().map_or(0, |row| row.0.len())
    }
}

/// A folder that goes away with its owner.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("piecework-{}-{nth}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn copy(&self) -> Folder {
        let copy = Folder::new();
        for entry in std::fs::read_dir(&self.0).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, copy.0.join(path.file_name().unwrap())).unwrap();
        }
        copy
    }

    /// The files whose names start and end so, in order.
    pub fn files(&self, prefix: &str, suffix: &str) -> Vec<PathBuf> {
        let is_one = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(prefix) && name.ends_with(suffix)
        };
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut found: Vec<PathBuf> = entries
            .map(|entry| entry.unwrap().path())
            .filter(is_one)
            .collect();
        found.sort();
        found
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn config(folder: &Path, segment_size: u64) -> Config<'_> {
    Config {
        folder,
        chain_id: CHAIN_ID,
        hub: HUB,
        segment_size,
    }
}

pub fn try_open(folder: &Path, segment_size: u64) -> Result<(Ledger, Summary), Error> {
    Ledger::open(&config(folder, segment_size), Some(SEED))
}

pub fn open(folder: &Path, segment_size: u64) -> Ledger {
    try_open(folder, segment_size).unwrap().0
}

/// Commits records without note values and gives the names of the statuses.
pub fn commit(ledger: &Ledger, records: &[Record]) -> Vec<&'static str> {
    outcomes(&ledger.commit(&records.concat(), &[]).unwrap())
}

pub fn outcomes(bytes: &[u8]) -> Vec<&'static str> {
    each(bytes).map(|outcome| outcome.name()).collect()
}

/// The outcomes in a buffer.
pub fn each(bytes: &[u8]) -> impl Iterator<Item = Outcome<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let found = (!rest.is_empty()).then_some(Outcome(rest))?;
        rest = &rest[found.size()..];
        Some(found)
    })
}

/// Commits one record and gives the name of its status.
pub fn one(ledger: &Ledger, record: Record) -> &'static str {
    commit(ledger, &[record])[0]
}

/// A small generator of chance: splitmix64. The seed is in every failure message.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}
