//! Sequences of commands: whatever comes, in whatever order, the sums stay those of `docs/spec/ledger.md` 1, what
//! only grows only grows, a refused batch leaves no trace, and a restart gives the same state.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use piecework_core::amount::{AMOUNT_MAX, Amount};
use piecework_core::ledger::Ledger;
use piecework_core::records::command::{self, STRIDE, channel_put, note};
use piecework_core::records::outcome::outcome;
use piecework_core::records::read::{Table, budget, channel, outstanding, session};
use piecework_core::records::{Field, Kind};
use piecework_core::recovery::{self, Signed};
use piecework_core::status::Status;
use piecework_core::tick_row::{self, TICK_ROW_SIZE, Terms, TickRow};
use piecework_core::voucher::{self, Row};
use piecework_core::{Address, amount, keys};

use crate::Seen;
use crate::source::Source;

const SEED: [u8; 32] = [0x33; 32];
const HUB: Address = [0x11; 20];
const PAYEE: Address = [0x22; 20];
const BLOBS: &[u8] = b"the side buffer of every batch";
const AMOUNTS: [u128; 16] = [
    0,
    1,
    99,
    1000,
    1001,
    5000,
    60_000,
    800_000,
    1 << 20,
    1 << 40,
    1 << 64,
    1 << 90,
    1 << 95,
    AMOUNT_MAX - 1,
    AMOUNT_MAX,
    AMOUNT_MAX + 1,
];
const SIZES: [u64; 8] = [
    0,
    1,
    16_384,
    262_144,
    1 << 20,
    999_999,
    u32::MAX as u64,
    1 << 53,
];
/// Amounts that the ledger's own keys have signed before it began.
const SIGNED: [u128; 4] = [1, 1000, 50_000, 1 << 90];
const OWN_KEYS: usize = 6;
/// The kinds of commands that are screened as if their signature were verified.
const VOUCHERS: [u8; 2] = [5, 14];

/// A key of the ledger's own, and what it signed before.
struct Own {
    address: Address,
    rows: Vec<Row>,
    /// Two chains of four ticks, with none, one and three of them shown.
    ticks: Vec<TickRow>,
}

static OWN: LazyLock<Vec<Own>> = LazyLock::new(|| (0..OWN_KEYS as u64).map(own).collect());

fn own(index: u64) -> Own {
    let domain = voucher::domain_separator(199, &HUB);
    let key = keys::derive(&SEED, index);
    let amount = |value: u128| Amount::new(value).unwrap_or_default();
    let rows = SIGNED
        .iter()
        .map(|value| voucher::sign(&domain, &key, &PAYEE, amount(*value)))
        .collect();
    let ticks = [0, 1000].into_iter().flat_map(|value| {
        let terms = Terms {
            payee: PAYEE,
            amount: amount(value),
            unit: amount(97),
            length: 4,
        };
        let end = keys::chain_end(&SEED, &domain, index, &terms);
        let row = tick_row::sign(&domain, &key, &terms, &tick_row::walk(&end, 4));
        [0, 1, 3].map(|count| row.with_tick(count, &tick_row::walk(&end, 4 - count)))
    });
    Own {
        address: voucher::address_of_secret(&key),
        rows,
        ticks: ticks.collect(),
    }
}

/// A folder in memory where the system has one, which goes away with its owner.
pub struct Folder(pub PathBuf);

impl Folder {
    /// A new empty folder.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() {
            memory
        } else {
            std::env::temp_dir()
        };
        let path = parent.join(format!("piecework-fuzz-{}-{nth}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A batch of up to eight commands that `source` steers, and its side buffer.
pub fn batch(source: &mut Source<'_>) -> (Vec<u8>, Vec<u8>) {
    let count = 1 + source.below(8);
    let commands = (0..count).flat_map(|_| one(source)).collect();
    (commands, BLOBS.to_vec())
}

/// One command. Kinds that build on others are drawn more often than those that they build on.
fn one(source: &mut Source<'_>) -> [u8; STRIDE] {
    const KINDS: [u8; 32] = [
        1, 1, 2, 2, 3, 4, 4, 4, 5, 5, 5, 6, 7, 7, 8, 8, 8, 9, 10, 10, 10, 11, 12, 13, 14, 14, 15,
        16, 16, 17, 18, 19,
    ];
    let kind = match source.byte() {
        255 => source.byte(),
        byte => KINDS[usize::from(byte) % KINDS.len()],
    };
    let mut record = [0; STRIDE];
    record[0] = kind;
    let found = command::ALL.iter().find(|(number, _)| *number == kind);
    for field in found.map_or([].as_slice(), |(_, layout)| &layout.fields[1..]) {
        fill(&mut record, field, source);
    }
    let role = record[channel_put::ROLE];
    if kind == 1 {
        record[channel_put::PAYEE..channel_put::PAYEE + 20].copy_from_slice(&PAYEE);
        if role == 2 {
            let index = source.below(OWN_KEYS);
            let own = OWN[index].address;
            let at = channel_put::VOUCHER_KEY;
            record[at..at + 20].copy_from_slice(&own);
            // Rarely another index, whose key is not the one named.
            let index = index as u64 + u64::from(source.byte() == 255);
            let at = channel_put::KEY_INDEX;
            record[at..at + 8].copy_from_slice(&index.to_le_bytes());
        }
    }
    record
}

fn fill(record: &mut [u8; STRIDE], field: &Field, source: &mut Source<'_>) {
    let bytes = &mut record[field.offset..field.offset + field.size];
    match (field.name, field.kind) {
        ("role", _) => bytes[0] = 1 + (source.byte() & 1),
        ("verified", _) => bytes[0] = u8::from(source.byte() < 240),
        ("row", _) if field.size == TICK_ROW_SIZE => {
            bytes.copy_from_slice(&drawn_ticks(source).0);
            if source.byte() & 3 == 0 {
                bytes[27] = source.byte() % 6;
            }
        }
        ("tick", _) => bytes.copy_from_slice(&drawn_ticks(source).tick()),
        ("row", _) => {
            let signed = &OWN[source.below(OWN_KEYS)].rows;
            let row = signed[source.below(SIGNED.len())];
            bytes.copy_from_slice(&row.0);
            if source.byte() & 1 == 0 {
                let value = source.pick(&AMOUNTS).min(AMOUNT_MAX);
                bytes[..12].copy_from_slice(&value.to_be_bytes()[4..]);
            }
        }
        ("closeAt", _) => bytes[0] = u8::from(source.byte() > 250),
        ("valueOffset" | "valueSize", _) => bytes[0] = source.byte() % 20,
        (_, Kind::Amount | Kind::Uint96) => {
            let small = u128::from(source.byte()) * 97;
            let great = source.pick(&AMOUNTS);
            let value = source.pick(&[small, small, great]).to_le_bytes();
            let size = bytes.len();
            bytes.copy_from_slice(&value[..size]);
        }
        ("bytes" | "deliveredBytes", _) => {
            let value = source.pick(&SIZES).to_le_bytes();
            let size = bytes.len();
            bytes.copy_from_slice(&value[..size]);
        }
        (_, Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64) => bytes[0] = source.byte() % 6,
        (_, Kind::Flag) => bytes[0] = source.byte() & 1,
        (_, Kind::Bytes) => bytes.fill(1 + source.byte() % 8),
    }
}

fn drawn_ticks(source: &mut Source<'_>) -> TickRow {
    let ticks = &OWN[source.below(OWN_KEYS)].ticks;
    ticks[source.below(ticks.len())]
}

thread_local! {
    static HOME: RefCell<Folder> = RefCell::new(Folder::new());
}

/// Batches of commands on a new ledger, with restarts between them. Of each batch the first status is counted.
pub fn run(data: &[u8]) -> Seen {
    HOME.with_borrow(|home| {
        home.write(&Vec::new());
        let mut source = Source::new(data);
        let mut ledger = crate::journal::open(&home.0).expect("a new ledger opens");
        let mut seen = Seen::default();
        let mut before = Vec::new();
        while source.has_more() {
            let restarts = source.byte();
            let (commands, blobs) = batch(&mut source);
            let count = commands.len() / STRIDE;
            let untouched = ledger.state_hash().expect("it is sound");
            let screened = ledger.screen(&commands, &blobs).expect("it is sound");
            let outcomes = ledger.commit(&commands, &blobs).expect("a commit is taken");
            let accepted = outcomes[outcome::STATUS] == 0;
            seen.checked += count as u64;
            seen.accepted += u64::from(accepted);
            let hash = ledger.state_hash().expect("it is sound");
            if count == 1 {
                let known = accepted || screened[0] != 0 || VOUCHERS.contains(&commands[0]);
                assert!(known, "screening let a command through that was refused");
                assert!(
                    accepted || hash == untouched,
                    "a refused command left a trace"
                );
            }
            before = check_sums(&ledger, before);
            if restarts < 40 {
                if restarts < 20 {
                    ledger.close().expect("it closes");
                }
                drop(ledger);
                ledger = crate::journal::open(&home.0).expect("it opens again");
                assert_eq!(ledger.state_hash().expect("it is sound"), hash, "a restart");
            }
        }
        seen
    })
}

/// What a payer has signed is signed by the key of its channel.
fn check_row(channel_record: &[u8]) {
    let domain = voucher::domain_separator(199, &HUB);
    let mut row = Row::EMPTY;
    row.0
        .copy_from_slice(&channel_record[channel::ROW..channel::ROW + 76]);
    let digest = voucher::digest(&domain, &PAYEE, row.amount());
    let signed = Signed {
        digest,
        signature: row.signature(),
    };
    let signer = recovery::recover(&signed).expect("a signer");
    let at = channel::VOUCHER_KEY;
    assert_eq!(signer, channel_record[at..at + 20]);
}

fn int(record: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
}

fn long(record: &[u8], at: usize) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&record[at..at + 16]);
    u128::from_le_bytes(bytes)
}

fn count_at(record: &[u8], at: usize) -> u64 {
    u64::from(int(record, at)) | u64::from(int(record, at + 4)) << 32
}

/// Channel records without the tick rows that follow some of them; each of those rows is a voucher of its channel.
fn channels_of(ledger: &Ledger) -> Vec<u8> {
    let all = ledger
        .read(Table::Channels, 0, usize::MAX)
        .expect("it is sound");
    let mut left = all.as_slice();
    let mut channels = Vec::with_capacity(all.len());
    while !left.is_empty() {
        let (record, rest) = left.split_at(channel::LAYOUT.stride);
        channels.extend_from_slice(record);
        left = rest;
        if record[channel::TICK_ROW] == 1 {
            let (row, rest) = left.split_at(TICK_ROW_SIZE);
            check_ticks(record, row);
            left = rest;
        }
    }
    channels
}

/// A current chain claims what is authorized, at least what the plain head does, and a payer's is its own key's.
fn check_ticks(channel_record: &[u8], row: &[u8]) {
    let row = TickRow(row.try_into().expect("its size"));
    assert_eq!(row.claim(), long(channel_record, channel::AUTHORIZED));
    let plain = &channel_record[channel::ROW..channel::ROW + 12];
    let plain = plain
        .iter()
        .fold(0, |sum, byte| sum << 8 | u128::from(*byte));
    assert!(plain <= row.claim(), "the chain is the better evidence");
    if channel_record[channel::ROLE] == 2 {
        let at = channel::VOUCHER_KEY;
        let voucher_key = channel_record[at..at + 20].try_into().expect("its size");
        let domain = voucher::domain_separator(199, &HUB);
        let status = tick_row::verify(&domain, &voucher_key, &PAYEE, &row);
        assert_eq!(status, Status::Ok, "a payer's chain");
    }
}

/// Recomputes every sum of a channel and a budget from sessions and outstanding pieces; gives the channels.
fn check_sums(ledger: &Ledger, before: Vec<u8>) -> Vec<u8> {
    let table = |which| ledger.read(which, 0, usize::MAX).expect("it is sound");
    let channels = channels_of(ledger);
    let (stride, sessions) = (channel::LAYOUT.stride, table(Table::Sessions));
    let mut waiting = vec![0u64; sessions.len() / session::LAYOUT.stride];
    for piece in table(Table::Outstanding).chunks_exact(outstanding::LAYOUT.stride) {
        waiting[int(piece, outstanding::SESSION) as usize] +=
            u64::from(int(piece, outstanding::BYTES));
    }
    let mut sums = vec![(0u128, 0u128); channels.len() / stride];
    let mut by_torrent = std::collections::BTreeMap::<[u8; 20], (u128, u128)>::new();
    for (s, ahead) in sessions.chunks_exact(session::LAYOUT.stride).zip(&waiting) {
        let price = Amount::new(long(s, session::PRICE_MIB)).expect("a uint96");
        let bytes = count_at(s, session::BYTES);
        assert_eq!(count_at(s, session::OUTSTANDING_BYTES), *ahead);
        let owed = amount::value(price, bytes).expect("it was priced");
        let more = amount::value(price, bytes + ahead).expect("it was priced") - owed;
        let at = int(s, session::CHANNEL) as usize;
        sums[at] = (sums[at].0 + owed, sums[at].1 + more);
        if channels[at * stride + channel::ROLE] == 2 {
            let mut infohash = [0; 20];
            infohash.copy_from_slice(&s[session::INFOHASH..session::INFOHASH + 20]);
            let of = by_torrent.entry(infohash).or_default();
            *of = (of.0 + owed, of.1 + more);
        }
    }
    for (c, (owed, more)) in channels.chunks_exact(stride).zip(sums) {
        let (granted, written_off) = (long(c, channel::GRANTED), long(c, channel::WRITTEN_OFF));
        if c[channel::ROLE] == 1 {
            assert_eq!(granted, owed, "granted");
        } else {
            assert_eq!(long(c, channel::DUE), owed, "due");
            assert_eq!(long(c, channel::RESERVED), more, "reserved");
        }
        assert!(written_off <= granted, "written off");
    }
    for b in table(Table::Budgets).chunks_exact(budget::LAYOUT.stride) {
        let mut infohash = [0; 20];
        infohash.copy_from_slice(&b[budget::INFOHASH..budget::INFOHASH + 20]);
        let (spent, reserved) = by_torrent.get(&infohash).copied().unwrap_or_default();
        assert_eq!(long(b, budget::SPENT), spent, "spent");
        let kept = long(b, budget::RESERVED);
        assert!(kept >= reserved && spent + kept <= long(b, budget::LIMIT));
    }
    for (old, new) in before
        .chunks_exact(stride)
        .zip(channels.chunks_exact(stride))
    {
        for at in [channel::AUTHORIZED, channel::GRANTED, channel::DUE] {
            assert!(long(old, at) <= long(new, at), "it only grows");
        }
        let at = channel::ROW..channel::ROW + 76;
        if new[channel::ROLE] == 2 && old[at.clone()] != new[at] {
            check_row(new);
        }
    }
    channels
}

/// Steering bytes that open channels and sessions of both roles first, and then go on by chance.
pub fn seeds() -> Vec<Vec<u8>> {
    (0..64)
        .map(|seed| {
            let mut steering = vec![0; 1024];
            crate::chance::Chance(seed).fill(&mut steering);
            steering
        })
        .collect()
}

const _: () = assert!(note::VALUE_SIZE + 4 <= STRIDE && BLOBS.len() >= 19);
