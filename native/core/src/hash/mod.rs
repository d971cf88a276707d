//! Owns the digests: Keccak-256 for Ethereum, SHA-1 and SHA-256 for torrent pieces.
//!
//! Pieces are hashed side by side: sixteen in the lanes of AVX-512, or four and two interleaved through the
//! SHA instructions, or one after the other by the portable crates ([`crate::cpu`] says which).

mod constants;
mod kernels;
#[cfg(target_arch = "x86_64")]
mod lanes;
pub mod links;
#[cfg(target_arch = "x86_64")]
mod ni;
mod schedule;

use sha3::{Digest, Keccak256};

use crate::cpu::{self, Level};
use constants::{SHA1_INITIAL, SHA256_INITIAL};
use schedule::run;

/// Runs a macro for each of some numbers: rounds are written out, so that registers take turns by name.
#[cfg(target_arch = "x86_64")]
macro_rules! each {
    ($do:ident: $($at:literal)*) => { $($do!($at);)* };
}
#[cfg(target_arch = "x86_64")]
use each;

/// Which piece digest a torrent uses: BEP 3 (SHA-1) or BEP 52 (SHA-256).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PieceAlgorithm {
    /// 20-byte SHA-1.
    Sha1,
    /// 32-byte SHA-256.
    Sha256,
}

impl PieceAlgorithm {
    /// The algorithm with this name, as TypeScript writes it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<PieceAlgorithm> {
        match name {
            "sha1" => Some(PieceAlgorithm::Sha1),
            "sha256" => Some(PieceAlgorithm::Sha256),
            _ => None,
        }
    }

    /// The size of one digest in bytes.
    #[must_use]
    pub const fn digest_size(self) -> usize {
        match self {
            PieceAlgorithm::Sha1 => 20,
            PieceAlgorithm::Sha256 => 32,
        }
    }
}

/// Keccak-256 (the pre-standard padding that Ethereum uses) of the parts, one after the other.
#[must_use]
pub fn keccak256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The digests of the pieces, one after the other in the order of the pieces.
///
/// Pieces of one call are hashed side by side: many cost a fraction of as many calls. Their lengths may differ.
#[must_use]
pub fn hash_pieces(algorithm: PieceAlgorithm, pieces: &[&[u8]]) -> Vec<u8> {
    hash_at(cpu::level(), algorithm, pieces)
}

/// [`hash_pieces`] on the path of a level, or of the processor's where that is lower.
#[must_use]
pub fn hash_at(level: Level, algorithm: PieceAlgorithm, pieces: &[&[u8]]) -> Vec<u8> {
    let mut digests = vec![0; pieces.len() * algorithm.digest_size()];
    let into = &mut digests;
    match algorithm {
        PieceAlgorithm::Sha1 => run(kernels::sha1(level), SHA1_INITIAL, pieces, into),
        PieceAlgorithm::Sha256 => run(kernels::sha256(level), SHA256_INITIAL, pieces, into),
    }
    digests
}

/// The level in force (`cpu`), then the processor features that this build uses when present.
#[must_use]
pub fn cpu_features() -> Vec<&'static str> {
    let mut found = vec![cpu::level().name()];
    #[cfg(target_arch = "x86_64")]
    {
        let known = [
            ("sha", std::is_x86_feature_detected!("sha")),
            ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
            ("pclmulqdq", std::is_x86_feature_detected!("pclmulqdq")),
            ("avx2", std::is_x86_feature_detected!("avx2")),
            ("avx512f", std::is_x86_feature_detected!("avx512f")),
            ("avx512ifma", std::is_x86_feature_detected!("avx512ifma")),
        ];
        found.extend(known.iter().filter(|(_, on)| *on).map(|(name, _)| *name));
    }
    #[cfg(target_arch = "aarch64")]
    {
        let known = [
            ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
            ("sha3", std::arch::is_aarch64_feature_detected!("sha3")),
            ("crc", std::arch::is_aarch64_feature_detected!("crc")),
        ];
        found.extend(known.iter().filter(|(_, on)| *on).map(|(name, _)| *name));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn published_digests() {
        assert_eq!(
            hex(&keccak256(&[])),
            "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
        );
        assert_eq!(keccak256(&[b"ab", b"c"]), keccak256(&[b"abc"]));
        assert_eq!(
            hex(&hash_pieces(PieceAlgorithm::Sha1, &[b"abc", b""])),
            "a9993e364706816aba3e25717850c26c9cd0d89dda39a3ee5e6b4b0d3255bfef95601890afd80709"
        );
        assert_eq!(
            hex(&hash_pieces(PieceAlgorithm::Sha256, &[b"abc"])),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
