//! Hashing side by side against the portable crates: every path of this processor, lengths around the borders
//! of blocks, mixed lengths in one call, slices at any address.
//!
//! `PIECEWORK_CASES` is the number of random calls for each path and algorithm; `PIECEWORK_SEED` repeats a run.

mod support;

use piecework_core::cpu::{Level, detected};
use piecework_core::hash::links::{Walk, walk_all};
use piecework_core::hash::{PieceAlgorithm, hash_at};
use sha2::Digest;
use support::Chance;

const ALGORITHMS: [PieceAlgorithm; 2] = [PieceAlgorithm::Sha1, PieceAlgorithm::Sha256];
const LEVELS: [Level; 3] = [Level::Scalar, Level::Avx2, Level::Avx512];
const BLOCK: usize = 64;

/// Every algorithm on every path that this processor has.
fn paths() -> impl Iterator<Item = (Level, PieceAlgorithm)> {
    let here = LEVELS.into_iter().filter(|&level| level <= detected());
    here.flat_map(|level| ALGORITHMS.map(|algorithm| (level, algorithm)))
}

/// What the crates say, one piece after the other.
fn plain(algorithm: PieceAlgorithm, pieces: &[&[u8]]) -> Vec<u8> {
    let one = |piece: &&[u8]| match algorithm {
        PieceAlgorithm::Sha1 => sha1::Sha1::digest(piece).to_vec(),
        PieceAlgorithm::Sha256 => sha2::Sha256::digest(piece).to_vec(),
    };
    pieces.iter().flat_map(one).collect()
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn published_digests_on_every_path() {
    let million = vec![b'a'; 1_000_000];
    let messages: [&[u8]; 4] = [
        b"",
        b"abc",
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        &million,
    ];
    let sha1 = [
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "a9993e364706816aba3e25717850c26c9cd0d89d",
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
    ];
    let sha256 = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    ];
    for (level, algorithm) in paths() {
        let wanted = match algorithm {
            PieceAlgorithm::Sha1 => sha1,
            PieceAlgorithm::Sha256 => sha256,
        };
        // Alone, and often enough in one call to fill the lanes and to leave some over.
        for copies in [1, 2, 5, 7] {
            let pieces: Vec<&[u8]> = messages.iter().copied().cycle().take(4 * copies).collect();
            let all = wanted.concat().repeat(copies);
            assert_eq!(
                hex(&hash_at(level, algorithm, &pieces)),
                all,
                "{level:?} {algorithm:?} {copies}"
            );
        }
    }
}

#[test]
fn every_count_and_every_length_near_a_border() {
    let mut chance = Chance(7);
    let bytes: Vec<u8> = (0..4 * BLOCK).map(|_| chance.next() as u8).collect();
    for (level, algorithm) in paths() {
        for count in 1..=70 {
            // Lengths 0 … 3 blocks: each count sees other lengths in the same call.
            let length = |at: usize| (at * 31 + count * 7) % (3 * BLOCK + 1);
            let pieces: Vec<&[u8]> = (0..count)
                .map(|at| &bytes[at % BLOCK..][..length(at)])
                .collect();
            let digests = hash_at(level, algorithm, &pieces);
            assert!(
                digests == plain(algorithm, &pieces),
                "{level:?} {algorithm:?} {count}"
            );
        }
        for length in 0..=3 * BLOCK {
            let pieces = [&bytes[1..][..length]; 17];
            let digests = hash_at(level, algorithm, &pieces);
            assert!(
                digests == plain(algorithm, &pieces),
                "{level:?} {algorithm:?} {length}"
            );
        }
    }
}

/// The number of random calls, and the seed of their chance.
fn run() -> (u64, u64) {
    let clock = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let cases = setting("PIECEWORK_CASES").unwrap_or(300);
    let seed = setting("PIECEWORK_SEED").unwrap_or(clock.as_nanos() as u64);
    println!("seed {seed}, {cases} calls for each path and algorithm");
    (cases, seed)
}

#[test]
fn random_calls() {
    let (cases, seed) = run();
    let mut chance = Chance(seed);
    let bytes: Vec<u8> = (0..1 << 16).map(|_| chance.next() as u8).collect();
    for (level, algorithm) in paths() {
        for case in 0..cases {
            let count = 1 + chance.below(70);
            let alike = chance.one_in(3).then(|| chance.below(40 * BLOCK as u64));
            let pieces: Vec<&[u8]> = (0..count)
                .map(|_| {
                    let most = [1, 2, 5, 40][chance.below(4) as usize];
                    let blocks = chance.below(most);
                    let rest = [0, 1, 54, 55, 56, 57, 62, 63][chance.below(8) as usize];
                    let length = alike.unwrap_or(blocks * BLOCK as u64 + rest) as usize;
                    let from = chance.below((bytes.len() - length) as u64 + 1) as usize;
                    &bytes[from..from + length]
                })
                .collect();
            let digests = hash_at(level, algorithm, &pieces);
            let lengths: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
            assert!(
                digests == plain(algorithm, &pieces),
                "seed {seed}, case {case}: {level:?} {algorithm:?} {lengths:?}"
            );
        }
    }
}

#[test]
fn random_chains() {
    let (cases, seed) = run();
    let mut chance = Chance(seed);
    for level in LEVELS.into_iter().filter(|&level| level <= detected()) {
        for case in 0..cases {
            let most = [1, 2, 20, 200][chance.below(4) as usize];
            let walks: Vec<Walk> = (0..chance.below(40))
                .map(|_| Walk {
                    value: std::array::from_fn(|_| chance.next() as u8),
                    steps: chance.below(most + 1) as u32,
                })
                .collect();
            let ends: Vec<[u8; 32]> = walks
                .iter()
                .map(|walk| {
                    let link = |at: [u8; 32], _| sha2::Sha256::digest(at).into();
                    (0..walk.steps).fold(walk.value, link)
                })
                .collect();
            let mut walked = walks.clone();
            walk_all(level, &mut walked);
            let got: Vec<[u8; 32]> = walked.iter().map(|walk| walk.value).collect();
            let steps: Vec<u32> = walks.iter().map(|walk| walk.steps).collect();
            assert!(got == ends, "seed {seed}, case {case}: {level:?} {steps:?}");
        }
    }
}
