//! Sixteen field elements: two vectors that advance in turn.
//!
//! A product is a long chain of dependent steps. With one vector the multiplier waits for half of
//! the time; with two, one's steps fill the other's waits. Magnitudes are those of `field`.
//!
//! Products are calls and not inlined: eleven of them in a row, written out twice, would be more
//! code than the processor keeps decoded, and that costs more than the calls.

use std::arch::x86_64::*;

use super::LANES;
use super::field::{self, Field};

/// Sixteen field elements; lanes 0 … 7 are in the first vector.
#[derive(Clone, Copy)]
pub struct Pair(pub [Field; 2]);

/// The lanes of the two vectors in a mask of sixteen.
fn masks(lanes: u16) -> [__mmask8; 2] {
    lanes.to_le_bytes()
}

impl Pair {
    /// The same limbs in all lanes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn splat(limbs: [u64; 5]) -> Pair {
        Pair([Field::splat(limbs); 2])
    }

    /// The lanes' bytes, big-endian.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn from_bytes(bytes: &[[u8; 32]; LANES]) -> Pair {
        let (vectors, _) = bytes.as_chunks();
        Pair([
            field::from_bytes(&vectors[0]),
            field::from_bytes(&vectors[1]),
        ])
    }

    /// `self · other`, magnitude 1.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn mul(&self, other: &Pair) -> Pair {
        let ([a, b], [c, d]) = (&self.0, &other.0);
        Pair([a.mul(c), b.mul(d)])
    }

    /// `self²`, magnitude 1.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn square(&self) -> Pair {
        let [a, b] = &self.0;
        Pair([a.square(), b.square()])
    }

    /// `self − other`, where `other` has magnitude 1: the magnitude grows by 2.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn sub(&self, other: &Pair) -> Pair {
        let ([a, b], [c, d]) = (&self.0, &other.0);
        Pair([a.sub::<1>(c), b.sub::<1>(d)])
    }

    /// `other` in the chosen lanes, `self` elsewhere.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn replace_where(&self, lanes: u16, other: &Pair) -> Pair {
        let ([a, b], [c, d]) = (&self.0, masks(lanes));
        Pair([
            a.replace_where(c, &other.0[0]),
            b.replace_where(d, &other.0[1]),
        ])
    }

    /// The one representative below p, from any magnitude up to 15.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn normalize(&self) -> Pair {
        let [a, b] = &self.0;
        Pair([a.normalize(), b.normalize()])
    }

    /// The lanes that hold zero; `self` must be canonical.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn zero_lanes(&self) -> u16 {
        u16::from_le_bytes([self.0[0].zero_lanes(), self.0[1].zero_lanes()])
    }

    /// `FACTOR · self · other`, magnitude `FACTOR`, which is 2, 3 or 4.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn mul_times<const FACTOR: u64>(&self, other: &Pair) -> Pair {
        let [a, b] = &self.0;
        Pair([
            a.mul_times::<FACTOR>(&other.0[0]),
            b.mul_times::<FACTOR>(&other.0[1]),
        ])
    }

    /// `FACTOR · self²`, magnitude `FACTOR`, which is 2, 3 or 4.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn square_times<const FACTOR: u64>(&self) -> Pair {
        let [a, b] = &self.0;
        Pair([a.square_times::<FACTOR>(), b.square_times::<FACTOR>()])
    }

    /// `self · other − less`, where `less` has magnitude 1: magnitude 1.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn mul_minus(&self, other: &Pair, less: &Pair) -> Pair {
        let [a, b] = &self.0;
        Pair([
            a.mul_minus(&other.0[0], &less.0[0]),
            b.mul_minus(&other.0[1], &less.0[1]),
        ])
    }

    /// `self · other − one · two`, where `one` and `two` have magnitude 1: magnitude 1.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn mul_minus_product(&self, other: &Pair, one: &Pair, two: &Pair) -> Pair {
        let [a, b] = &self.0;
        Pair([
            a.mul_minus_product(&other.0[0], &one.0[0], &two.0[0]),
            b.mul_minus_product(&other.0[1], &one.0[1], &two.0[1]),
        ])
    }

    /// `self · other − 8 root²`, where `root` has magnitude 1: magnitude 1.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn mul_minus_eight_squares(&self, other: &Pair, root: &Pair) -> Pair {
        let [a, b] = &self.0;
        Pair([
            a.mul_minus_eight_squares(&other.0[0], &root.0[0]),
            b.mul_minus_eight_squares(&other.0[1], &root.0[1]),
        ])
    }

    /// `self² − 2 two`, where `two` has magnitude at most 4: magnitude 1.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn square_minus_twice(&self, two: &Pair) -> Pair {
        let [a, b] = &self.0;
        Pair([
            a.square_minus_twice(&two.0[0]),
            b.square_minus_twice(&two.0[1]),
        ])
    }

    /// `self² − one − 2 two`, where `one` and `two` have magnitude 1: magnitude 1.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn square_minus_and_twice(&self, one: &Pair, two: &Pair) -> Pair {
        let [a, b] = &self.0;
        Pair([
            a.square_minus_and_twice(&one.0[0], &two.0[0]),
            b.square_minus_and_twice(&one.0[1], &two.0[1]),
        ])
    }
}
