//! Recovery of many signers at once, sixteen signatures side by side in AVX-512 IFMA.
//!
//! The scalar twin is libsecp256k1's recovery of one signer, in `voucher`; this room gives the same
//! answers or says that it does not know. `field` is arithmetic modulo p in a `vector`, `pair` in two,
//! `power` roots and inverses, `point` the group, `rows` tables of points, `base` the table of the
//! generator, `order` arithmetic modulo n, `digits` what picks from the tables, `recover` the whole. Everything here is public, so variable time
//! is no concern; nothing secret may ever pass through.

// Loads, stores, and calls behind a look at the processor.
#![allow(unsafe_code)]
// Limbs and columns go by their numbers, as in the formulas.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
mod base;
#[cfg(target_arch = "x86_64")]
mod digits;
#[cfg(target_arch = "x86_64")]
mod field;
#[cfg(target_arch = "x86_64")]
mod keccak;
#[cfg(target_arch = "x86_64")]
mod order;
#[cfg(target_arch = "x86_64")]
mod pair;
#[cfg(target_arch = "x86_64")]
mod point;
#[cfg(target_arch = "x86_64")]
mod power;
#[cfg(target_arch = "x86_64")]
mod recover;
#[cfg(target_arch = "x86_64")]
mod rows;
#[cfg(target_arch = "x86_64")]
mod vector;

#[cfg(all(test, target_arch = "x86_64"))]
mod differential;
#[cfg(all(test, target_arch = "x86_64"))]
mod reference;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;

use crate::Address;
use crate::cpu::{self, Level};

/// Lanes of a vector.
pub const VECTOR: usize = 8;
/// Signatures side by side: two vectors in turn.
#[cfg(target_arch = "x86_64")]
const LANES: usize = 2 * VECTOR;

/// β in limbs of 52 bits: a cube root of 1 modulo p with λ (x, y) = (β x, y).
#[cfg(target_arch = "x86_64")]
const BETA: [u64; 5] = [
    0x9_6c28_7195_01ee,
    0x7_512f_5899_5c13,
    0xc_3434_e99c_f049,
    0x0_7106_e644_79ea,
    0x0_7ae9_6a2b_657c,
];

/// A digest and a signature of it with 0 < `r` < n and 0 < `s` < n; numbers are big-endian.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// What was signed.
    pub digest: [u8; 32],
    /// The x coordinate of R.
    pub r: [u8; 32],
    /// The other half of the signature.
    pub s: [u8; 32],
    /// The y coordinate of R is odd.
    pub odd: bool,
}

/// Who signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signer {
    /// The address of the recovered key.
    Address(Address),
    /// No point of the curve has this x: there is no signer.
    Nobody,
    /// An addition met a case that the formulas leave out. No honest signature gets here; the one
    /// that does must be recovered by the scalar twin.
    Unknown,
}

/// The signer of each claim in their order, or `None` where `level` or the processor has no lanes.
///
/// About 3.5 µs a claim in full sixteens; a sixteen that is not full costs as much as a full one. The first call makes a table of 256 KiB.
#[must_use]
pub fn recover(level: Level, claims: &[Claim]) -> Option<Vec<Signer>> {
    if !has_lanes(level) {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: the processor has AVX-512 F, BW, DQ, VL and IFMA, as `has_lanes` looked up.
        Some(unsafe { recover::recover(claims) })
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// The Keccak-256 of eight messages of less than 136 bytes, or `None` as in `recover`.
#[must_use]
pub fn keccak256_eight<const SIZE: usize>(
    level: Level,
    messages: &[[u8; SIZE]; VECTOR],
) -> Option<[[u8; 32]; VECTOR]> {
    if !has_lanes(level) {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: the processor has AVX-512 F, as `has_lanes` looked up.
        Some(unsafe { keccak::eight(messages) })
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// A level can be made up; the processor has the last word.
fn has_lanes(level: Level) -> bool {
    level.min(cpu::detected()) >= Level::Avx512
}
