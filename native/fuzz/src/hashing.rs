//! Digests: a batch of pieces has the digests that its pieces have alone, and Keccak-256 of parts is that of the
//! parts joined.

use std::sync::LazyLock;

use piecework_core::hash::{PieceAlgorithm, hash_pieces, keccak256};
use sha1::Digest;

use crate::Seen;
use crate::chance::Chance;
use crate::source::Source;

/// Sizes around the ends of blocks: 64 bytes for SHA, 136 for Keccak, and pieces of a torrent.
const SIZES: [usize; 20] = [
    0, 1, 31, 32, 55, 56, 63, 64, 65, 119, 120, 127, 128, 129, 135, 136, 137, 272, 4096, 16_384,
];

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = vec![0; 1 << 17];
    Chance(7).fill(&mut bytes);
    bytes
});

type Hash = fn(PieceAlgorithm, &[&[u8]]) -> Vec<u8>;

/// A batch of pieces.
pub fn run(data: &[u8]) -> Seen {
    run_with(hash_pieces, data)
}

/// The same with another hash, so that a test can see a broken one caught.
pub fn run_with(hash: Hash, data: &[u8]) -> Seen {
    let mut source = Source::new(data);
    let way = source.below(3);
    let mut parts = Vec::new();
    while source.has_more() && parts.len() < 40 {
        parts.push(part(&mut source));
    }
    let count = parts.len() as u64;
    match way {
        0 => assert_eq!(keccak256(&parts), keccak_of(&parts.concat())),
        1 => assert_eq!(
            hash(PieceAlgorithm::Sha1, &parts),
            alone(&parts, |part| sha1::Sha1::digest(part).to_vec())
        ),
        _ => assert_eq!(
            hash(PieceAlgorithm::Sha256, &parts),
            alone(&parts, |part| sha2::Sha256::digest(part).to_vec())
        ),
    }
    Seen {
        checked: count,
        accepted: count,
    }
}

fn alone(parts: &[&[u8]], hash: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    parts.iter().flat_map(|part| hash(part)).collect()
}

/// Keccak-256 by the reference.
pub(crate) fn keccak_of(bytes: &[u8]) -> [u8; 32] {
    sha3::Keccak256::digest(bytes).into()
}

/// A piece at any alignment: bytes of the input, or of a buffer of chance.
fn part<'a>(source: &mut Source<'a>) -> &'a [u8] {
    let size = match source.byte() {
        byte @ 0..200 => SIZES[usize::from(byte) % SIZES.len()],
        byte @ 200..250 => usize::from(byte) * 3 + source.below(256),
        _ => usize::from(source.short()),
    };
    if size <= 64 && source.byte() & 1 == 1 {
        return source.slice(size);
    }
    let from = usize::from(source.short());
    &BYTES[from..from + size]
}

/// Batches around the width of the vectors.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut chance = Chance(3);
    let sizes = [0, 4, 20, 28, 32, 36, 60, 64, 68, 130, 160];
    (0..33)
        .map(|nth| {
            let mut steering = vec![0; 1 + sizes[nth % sizes.len()]];
            chance.fill(&mut steering);
            steering[0] = nth as u8;
            steering
        })
        .collect()
}
