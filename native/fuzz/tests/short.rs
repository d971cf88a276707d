//! The short form of the fuzzing: every target on inputs drawn from a seed, and the kept inputs. `PIECEWORK_SEED`
//! repeats a run. A target that cannot fail proves nothing, so each oracle is shown a broken core as well.

use std::panic::catch_unwind;

use piecework_core::amount::Amount;
use piecework_core::hash::{self, PieceAlgorithm};
use piecework_core::ledger::command::{COUNT_MAX, Command, Role};
use piecework_core::ledger::event::Event;
use piecework_core::records::command::{self, grant};
use piecework_core::records::row;
use piecework_core::{Error, Status};
use piecework_fuzz::driver::{Inputs, drive};
use piecework_fuzz::{Target, find, hashing, records, snapshots, vouchers};

fn seed() -> u64 {
    let chosen = std::env::var("PIECEWORK_SEED").ok();
    let clock = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_nanos() as u64
    };
    chosen
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(clock)
}

fn target(name: &str) -> &'static Target {
    find(name).unwrap()
}

/// Runs a target and tells how often it reached what it is for: at least `accepted` and `refused` times.
fn run(name: &str, count: u64, accepted: u64, refused: u64) {
    let seed = seed();
    println!("{name}: seed {seed}");
    let seen = drive(target(name), seed, count, |_, _| {}).seen;
    assert!(seen.checked >= count, "seed {seed}");
    assert!(seen.accepted >= accepted, "seed {seed}: {seen:?}");
    assert!(
        seen.checked - seen.accepted >= refused,
        "seed {seed}: {seen:?}"
    );
}

#[test]
fn records_follow_their_layouts() {
    run("records", 100_000, 20_000, 10_000);
}

#[test]
fn events_are_their_bytes() {
    run("events", 100_000, 20_000, 10_000);
}

#[test]
fn frames_are_found_where_they_are() {
    run("frames", 100_000, 10_000, 10_000);
}

#[test]
fn snapshots_are_their_states() {
    run("snapshots", 50_000, 5_000, 5_000);
}

#[test]
fn a_channel_whose_facts_typescript_cannot_hold_is_refused() {
    let event = Event::ChannelPut {
        role: Role::Payer,
        voucher_key: [1; 20],
        payee: [2; 20],
        deposit: Amount::ZERO,
        settled: Amount::ZERO,
        close_at: 0,
        block: 0,
        key_index: u64::MAX,
    };
    let mut journal = Vec::new();
    event.encode(&mut journal);
    assert_eq!(snapshots::run(&[&[1], &journal[..]].concat()).accepted, 0);
    let fitting = COUNT_MAX.to_le_bytes();
    let end = journal.len();
    journal[end - 8..].copy_from_slice(&fitting);
    assert_eq!(snapshots::run(&[&[1], &journal[..]].concat()).accepted, 1);
}

#[test]
fn folders_open_sound_or_not_at_all() {
    run("journal", 2_000, 300, 300);
}

#[test]
fn commands_keep_the_sums() {
    run("ledger", 10_000, 300, 1_000);
}

#[test]
fn batches_have_the_statuses_of_their_vouchers() {
    run("vouchers", 10_000, 3_000, 2_000);
}

#[test]
fn batches_have_the_digests_of_their_pieces() {
    run("hashing", 20_000, 20_000, 0);
}

/// Whether a broken core is noticed within `count` inputs of a target.
fn is_caught(name: &str, count: usize, broken: fn(&[u8])) -> bool {
    let mut inputs = Inputs::new(target(name), 1);
    (0..count).any(|_| {
        let input = inputs.draw();
        catch_unwind(|| broken(input)).is_err()
    })
}

#[test]
fn a_decoder_that_takes_a_grant_of_nothing_is_caught() {
    fn decode<'a>(record: &[u8], blobs: &'a [u8]) -> Option<Command<'a>> {
        let mut record = record.to_vec();
        if record[0] == 4 && record[grant::BYTES..grant::BYTES + 8] == [0; 8] {
            record[grant::BYTES] = 1;
        }
        command::decode(&record, blobs)
    }
    assert!(is_caught("records", 200_000, |input| {
        records::run_with(decode, input);
    }));
}

#[test]
fn a_verifier_that_forgets_the_parity_is_caught() {
    fn verify(domain: &[u8; 32], rows: &[u8]) -> Result<Vec<u8>, Error> {
        let mut flipped = rows.to_vec();
        let stride = row::voucher::LAYOUT.stride;
        for record in flipped.chunks_exact_mut(stride) {
            record[row::voucher::ROW + 44] ^= 0x80;
        }
        let (one, other) = (
            row::verify_all(domain, rows)?,
            row::verify_all(domain, &flipped)?,
        );
        let either = |(one, other): (&u8, &u8)| (*one).min(*other);
        Ok(one.iter().zip(&other).map(either).collect())
    }
    assert!(is_caught("vouchers", 200, |input| {
        vouchers::run_with(verify, input);
    }));
}

#[test]
fn a_verifier_that_fails_where_a_sum_cancels_is_caught() {
    // The key of nothing: what adding a point to its own negative gives where that case is forgotten.
    fn verify(domain: &[u8; 32], rows: &[u8]) -> Result<Vec<u8>, Error> {
        let statuses = row::verify_all(domain, rows)?;
        let records = rows.chunks_exact(row::voucher::LAYOUT.stride);
        let forgotten = |(record, status): (&[u8], u8)| {
            let key = &record[row::voucher::VOUCHER_KEY..row::voucher::VOUCHER_KEY + 20];
            let is_nobody = key == [0; 20] && status == Status::BadSignature as u8;
            if is_nobody { Status::Ok as u8 } else { status }
        };
        Ok(records.zip(statuses).map(forgotten).collect())
    }
    assert!(is_caught("vouchers", 200, |input| {
        vouchers::run_with(verify, input);
    }));
}

#[test]
fn a_hash_that_goes_wrong_at_the_end_of_a_block_is_caught() {
    fn broken(algorithm: PieceAlgorithm, pieces: &[&[u8]]) -> Vec<u8> {
        let cut = |piece: &&[u8]| piece.len() == 119;
        let mut pieces = pieces.to_vec();
        pieces
            .iter_mut()
            .filter(|piece| cut(piece))
            .for_each(|piece| *piece = &piece[1..]);
        hash::hash_pieces(algorithm, &pieces)
    }
    assert!(is_caught("hashing", 2_000, |input| {
        hashing::run_with(broken, input);
    }));
}
