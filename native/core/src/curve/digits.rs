//! Scalars of all lanes as signed odd digits.

use std::arch::x86_64::*;

use super::order::Words;
use super::vector::{all, load, store};
use super::{LANES, VECTOR};

/// Windows of 5 bits in half a scalar, which is below 2^130.
pub const HALF_WINDOWS: usize = 26;
/// Windows of 8 bits in a scalar.
pub const WINDOWS: usize = 32;

/// Odd numbers in all lanes, in `W` windows of `BITS` bits.
///
/// An odd K is the sum of d_i · 2^(BITS i) with d_i = 2 e_i − (2^BITS − 1), where the e_i are the
/// plain digits of (K + 2^(W · BITS) − 1) / 2; that is K halved, with the top bit set. No d_i is
/// zero, and all are odd: ± entry k of a table of the odd multiples 2 k + 1.
pub struct Digits<const W: usize, const BITS: usize> {
    halved: [[u64; LANES]; 4],
    minus: u16,
}

/// The entry that each lane needs, and the lanes that need its opposite.
pub type Entries = ([u64; VECTOR], __mmask8);

impl<const W: usize, const BITS: usize> Digits<W, BITS> {
    /// Ones in all lanes.
    pub fn ones() -> Digits<W, BITS> {
        let mut digits = Digits {
            halved: [[0; LANES]; 4],
            minus: 0,
        };
        for lane in 0..LANES {
            digits.set(lane, &[1, 0, 0, 0], false);
        }
        digits
    }

    /// Puts ± an odd number below 2^(W · BITS) into a lane.
    pub fn set(&mut self, lane: usize, odd: &Words, minus: bool) {
        let top = W * BITS - 1;
        for k in 0..4 {
            let above = odd.get(k + 1).copied().unwrap_or(0);
            self.halved[k][lane] = odd[k] >> 1 | above << 63;
        }
        self.halved[top / 64][lane] |= 1 << (top % 64);
        self.minus &= !(1 << lane);
        self.minus |= u16::from(minus) << lane;
    }

    /// The digits of a window in the lanes of one of the two vectors.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn entries(&self, window: usize, vector: usize) -> Entries {
        let half = 1u64 << (BITS - 1);
        let (at, shift) = (window * BITS / 64, window * BITS % 64);
        let word = |at: usize| load(&self.halved[at].as_chunks::<VECTOR>().0[vector]);
        let mut plain = _mm512_srlv_epi64(word(at), all(shift as u64));
        if shift + BITS > 64 {
            let above = _mm512_sllv_epi64(word(at + 1), all(64 - shift as u64));
            plain = _mm512_or_si512(plain, above);
        }
        let negative = _mm512_testn_epi64_mask(plain, all(half));
        let entry = _mm512_mask_xor_epi64(plain, negative, plain, all(half - 1));
        let entry = _mm512_and_si512(entry, all(half - 1));
        let minus = negative ^ self.minus.to_le_bytes()[vector];
        (store(entry), minus)
    }
}
