//! Random commands: the sums that the ledger keeps equal the sums computed from its own records from
//! scratch, what must only grow only grows, and a restart at any point gives the same state.
//!
//! `PIECEWORK_SEED` repeats a run. The rules of each command are held against a model in
//! `test/unit/native/ledger-model.test.ts`; this test needs nothing but cargo.

mod support;

use std::collections::BTreeMap;

use piecework_core::amount::{Amount, value};
use piecework_core::ledger::Ledger;
use piecework_core::records::read::{Table, budget, channel, outstanding, session};
use piecework_core::tick_row::{TICK_ROW_SIZE, TickRow};
use support::*;

const BATCHES: usize = 4000;

fn int(record: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(record[at..at + 4].try_into().unwrap())
}

fn long(record: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(record[at..at + 8].try_into().unwrap())
}

fn amount(record: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(record[at..at + 16].try_into().unwrap())
}

fn rows(ledger: &Ledger, table: Table, stride: usize) -> Vec<Vec<u8>> {
    let bytes = ledger.read(table, 0, usize::MAX).unwrap();
    bytes.chunks(stride).map(<[u8]>::to_vec).collect()
}

/// The records of channels, each with the tick row that follows it where there is one.
fn channel_rows(ledger: &Ledger) -> Vec<Vec<u8>> {
    let bytes = ledger.read(Table::Channels, 0, usize::MAX).unwrap();
    let mut rest = &bytes[..];
    std::iter::from_fn(|| {
        let flag = rest.get(channel::TICK_ROW)?;
        let size = channel::LAYOUT.stride + usize::from(*flag) * TICK_ROW_SIZE;
        rest.split_off(..size).map(<[u8]>::to_vec)
    })
    .collect()
}

fn random_command(
    chance: &mut Chance,
    sessions: u32,
    channels: u32,
    waiting: &[Vec<u8>],
) -> Record {
    let session = chance.below(u64::from(sessions) + 1) as u32;
    let channel_at = chance.below(u64::from(channels) + 1) as u32;
    let piece = chance.below(30) as u32;
    let bytes = [1, 16_384, 262_144, 1 << 20, 999_999][chance.below(5) as usize];
    // Mostly a piece that is outstanding, so that payments are not all refused.
    let known = waiting.get(chance.below(waiting.len() as u64 + 1) as usize);
    let (owner, wanted, size) = known.map_or((session, piece, bytes), |record| {
        let at = |offset| int(record, offset);
        (
            at(outstanding::SESSION),
            at(outstanding::PIECE),
            at(outstanding::BYTES),
        )
    });
    let foreign = |chance: &mut Chance| Foreign {
        end: chance.below(3) as u8,
        amount: u128::from(chance.below(20_000)),
        unit: [1, 100, 1 << 70][chance.below(3) as usize],
        length: [1, 8, 40][chance.below(3) as usize],
    };
    match chance.below(27) {
        0 => {
            let deposit = [70_000, 800_000, 1 << 90, 1 << 90][chance.below(4) as usize];
            let (nth, close_at) = (chance.below(8), u32::from(chance.one_in(10)));
            let put = if chance.one_in(2) {
                Put::payee(nth as u8 + 1)
            } else {
                Put::payer(nth)
            };
            Put {
                deposit,
                close_at,
                block: chance.below(5),
                ..put
            }
            .record()
        }
        1 => {
            let price = [0, 1, 1000, 7777, 1 << 95][chance.below(5) as usize];
            let (id, infohash) = (chance.below(200) as u8, chance.below(5) as u8);
            session_open(channel_at, id, infohash, price, 100, 2000)
        }
        2 if chance.one_in(4) => session_close(session, 5),
        3 => budget(
            chance.below(5) as u8,
            [5_000, 1 << 80, 1 << 80][chance.below(3) as usize],
        ),
        4 => note(0, chance.below(5) as u8, Some((0, chance.below(9) as u32))),
        5 => note(0, chance.below(5) as u8, None),
        6..=8 => grant(session, u64::from(bytes), u128::from(chance.below(30_000))),
        9..=10 => accept(session, u128::from(chance.below(60_000))),
        11 => write_off(session, u128::from(chance.below(3000))),
        12..=14 => purchase(session, piece, bytes),
        15 => abandon(owner, wanted),
        16..=17 => pay(owner, wanted, size, u128::from(chance.below(3000))),
        18 => sign(session, u128::from(chance.below(3000))),
        19 => adopt(
            channel_at,
            &own_row(chance.below(8), u128::from(chance.below(50_000))),
        ),
        20 => {
            let chain = foreign(chance);
            let count = chance.below(u64::from(chain.length) + 1) as u16;
            tick_voucher(session, &chain.row(count), !chance.one_in(8))
        }
        21..=22 => {
            let chain = foreign(chance);
            let count = chance.below(u64::from(chain.length) + 1) as u16;
            tick(session, count, &chain.tick(count))
        }
        23 => open_chain(
            session,
            [1, 50, 1000][chance.below(3) as usize],
            chance.below(50) as u16,
        ),
        24 => reveal(
            session,
            chance.below(50) as u16,
            u128::from(chance.below(3000)),
        ),
        25 => receive(owner, wanted, size),
        _ => {
            let unit = 1 + u128::from(chance.below(100));
            let terms = own_terms(u128::from(chance.below(40_000)), unit, 20);
            let count = chance.below(21) as u16;
            adopt_ticks(channel_at, &own_tick_row(chance.below(8), &terms, count))
        }
    }
}

/// The amount of a plain row.
fn plain_amount(row: &[u8]) -> u128 {
    row[..12]
        .iter()
        .fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

/// Recomputes every sum from sessions and outstanding pieces.
fn check_sums(ledger: &Ledger, told: &str) -> Vec<Vec<u8>> {
    let channels = channel_rows(ledger);
    let sessions = rows(ledger, Table::Sessions, session::LAYOUT.stride);
    let mut ahead: BTreeMap<u32, u64> = BTreeMap::new();
    for piece in rows(ledger, Table::Outstanding, outstanding::LAYOUT.stride) {
        let size = int(&piece, outstanding::BYTES);
        *ahead.entry(int(&piece, outstanding::SESSION)).or_default() += u64::from(size);
    }
    let (mut priced, mut reserved) = (vec![0; channels.len()], vec![0; channels.len()]);
    let mut by_torrent: BTreeMap<Vec<u8>, (u128, u128)> = BTreeMap::new();
    for (at, s) in sessions.iter().enumerate() {
        let price = Amount::new(amount(s, session::PRICE_MIB)).unwrap();
        let bytes = long(s, session::BYTES);
        let waiting = ahead.get(&(at as u32)).copied().unwrap_or(0);
        assert_eq!(long(s, session::OUTSTANDING_BYTES), waiting, "{told}");
        let owed = value(price, bytes).unwrap();
        let more = value(price, bytes + waiting).unwrap() - owed;
        let channel_at = int(s, session::CHANNEL) as usize;
        priced[channel_at] += owed;
        reserved[channel_at] += more;
        if channels[channel_at][channel::ROLE] == 2 {
            let infohash = s[session::INFOHASH..session::INFOHASH + 20].to_vec();
            let sums = by_torrent.entry(infohash).or_default();
            *sums = (sums.0 + owed, sums.1 + more);
        }
    }
    for (at, c) in channels.iter().enumerate() {
        let (granted, written_off) = (amount(c, channel::GRANTED), amount(c, channel::WRITTEN_OFF));
        if c[channel::ROLE] == 1 {
            assert_eq!(granted, priced[at], "{told}: granted of {at}");
        } else {
            assert_eq!(amount(c, channel::DUE), priced[at], "{told}: due of {at}");
            assert_eq!(
                amount(c, channel::RESERVED),
                reserved[at],
                "{told}: reserved of {at}"
            );
        }
        assert!(written_off <= granted, "{told}: written off of {at}");
        let head = plain_amount(&c[channel::ROW..]);
        let chain = c
            .get(channel::LAYOUT.stride..)
            .filter(|row| !row.is_empty());
        let claim = chain.map(|row| TickRow(row.try_into().unwrap()).claim());
        let authorized = amount(c, channel::AUTHORIZED);
        assert_eq!(
            authorized,
            claim.unwrap_or(head),
            "{told}: authorized of {at}"
        );
        assert!(
            authorized >= head,
            "{told}: the newest evidence of {at} is not the best"
        );
        let unpaid = granted
            .saturating_sub(written_off)
            .saturating_sub(amount(c, channel::AUTHORIZED));
        assert_eq!(amount(c, channel::UNPAID), unpaid, "{told}: unpaid of {at}");
    }
    for b in rows(ledger, Table::Budgets, budget::LAYOUT.stride) {
        let infohash = b[budget::INFOHASH..budget::INFOHASH + 20].to_vec();
        let (spent, reserved) = by_torrent.get(&infohash).copied().unwrap_or_default();
        assert_eq!(amount(&b, budget::SPENT), spent, "{told}");
        // What was signed ahead and forfeited stays reserved.
        let kept = amount(&b, budget::RESERVED);
        assert!(kept >= reserved, "{told}");
        assert!(spent + kept <= amount(&b, budget::LIMIT), "{told}");
    }
    channels
}

#[test]
fn sums_hold_and_restarts_change_nothing() {
    let chosen = std::env::var("PIECEWORK_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let clock = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let seed: u64 = chosen.unwrap_or(clock.as_nanos() as u64);
    println!("seed {seed}, {BATCHES} batches");
    let mut chance = Chance(seed);
    let folder = Folder::new();
    let mut ledger = open(&folder.0, 16_384);
    let mut before: Vec<Vec<u8>> = Vec::new();
    let (mut accepted, mut restarts, mut signed, mut ticked) = (0, 0, 0, 0);
    for batch in 0..BATCHES {
        let sessions = rows(&ledger, Table::Sessions, session::LAYOUT.stride).len() as u32;
        let waiting = rows(&ledger, Table::Outstanding, outstanding::LAYOUT.stride);
        let count = 1 + chance.below(8);
        let records: Vec<Record> = (0..count)
            .map(|_| random_command(&mut chance, sessions, before.len() as u32, &waiting))
            .collect();
        let bytes = ledger.commit(&records.concat(), b"notebytes").unwrap();
        accepted += outcomes(&bytes)
            .iter()
            .filter(|name| **name == "ok")
            .count();
        signed += each(&bytes).filter(|o| o.row().is_some()).count();
        ticked += each(&bytes).filter(|o| o.tick_row().is_some()).count();
        let told = format!("seed {seed}, batch {batch}");
        let after = check_sums(&ledger, &told);
        for (old, new) in before.iter().zip(&after) {
            for at in [channel::AUTHORIZED, channel::GRANTED, channel::DUE] {
                assert!(amount(old, at) <= amount(new, at), "{told}: it only grows");
            }
        }
        before = after;
        if chance.one_in(60) {
            let hash = ledger.state_hash().unwrap();
            if chance.one_in(2) {
                ledger.close().unwrap();
            }
            drop(ledger);
            ledger = open(&folder.0, 16_384);
            assert_eq!(
                ledger.state_hash().unwrap(),
                hash,
                "{told}: a restart changes nothing"
            );
            restarts += 1;
        }
    }
    assert!(
        accepted > BATCHES / 2 && restarts > 20 && signed > 10 && ticked > 100,
        "{accepted} {restarts} {signed} {ticked}"
    );
}

#[test]
fn screening_and_reading_go_on_while_commits_wait_for_the_disk() {
    let folder = Folder::new();
    let ledger = open(&folder.0, 1 << 20);
    let setup = [
        Put {
            deposit: 1 << 90,
            ..Put::payee(1)
        }
        .record(),
        session_open(0, 1, 1, 1 << 20, 1, 0),
    ];
    assert_eq!(commit(&ledger, &setup), ["ok", "ok"]);
    let done = std::sync::atomic::AtomicBool::new(false);
    let reads = [0, 1].map(std::sync::atomic::AtomicUsize::new);
    std::thread::scope(|scope| {
        let readers: Vec<_> = reads
            .iter()
            .map(|reads| {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        assert_eq!(ledger.screen(&grant(0, 1, 1 << 90), &[]).unwrap(), [0]);
                        let bytes = ledger.read(Table::Channels, 0, 1).unwrap();
                        let granted = amount(&bytes, channel::GRANTED);
                        assert!(granted >= last, "what is read only grows");
                        last = granted;
                        reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                })
            })
            .collect();
        // As many commits as it takes on a busy machine; a reader that a commit shuts out never gets there.
        let are_read = || {
            reads
                .iter()
                .all(|reads| reads.load(std::sync::atomic::Ordering::Relaxed) > 100)
        };
        let mut commits = 0;
        while commits < 300 || !are_read() {
            assert_eq!(one(&ledger, grant(0, 1, 1 << 90)), "ok");
            commits += 1;
            assert!(commits < 1_000_000, "readers make no progress");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
    });
}
