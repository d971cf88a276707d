//! Tables of points, one row of words per lane, and looking up another row in each lane.
//!
//! A row holds canonical 64-bit words, least significant first. Eight rows become eight vectors by
//! a transposition; that is several times cheaper than gathering word by word.

use std::arch::x86_64::*;

use super::digits::Digits;
use super::field::Field;
use super::point::Affine;
use super::{LANES, VECTOR};

/// Swaps rows and columns of eight vectors of eight words.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn transpose(rows: [__m512i; 8]) -> [__m512i; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    let low = [
        _mm512_unpacklo_epi64(a, b),
        _mm512_unpacklo_epi64(c, d),
        _mm512_unpacklo_epi64(e, f),
        _mm512_unpacklo_epi64(g, h),
    ];
    let high = [
        _mm512_unpackhi_epi64(a, b),
        _mm512_unpackhi_epi64(c, d),
        _mm512_unpackhi_epi64(e, f),
        _mm512_unpackhi_epi64(g, h),
    ];
    let [c0, c2, c4, c6] = quarters(low);
    let [c1, c3, c5, c7] = quarters(high);
    [c0, c1, c2, c3, c4, c5, c6, c7]
}

/// Swaps rows and columns of four vectors of four pairs of words.
#[inline]
#[target_feature(enable = "avx512f")]
fn quarters([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let even_ab = _mm512_shuffle_i64x2::<0x88>(a, b);
    let even_cd = _mm512_shuffle_i64x2::<0x88>(c, d);
    let odd_ab = _mm512_shuffle_i64x2::<0xdd>(a, b);
    let odd_cd = _mm512_shuffle_i64x2::<0xdd>(c, d);
    [
        _mm512_shuffle_i64x2::<0x88>(even_ab, even_cd),
        _mm512_shuffle_i64x2::<0x88>(odd_ab, odd_cd),
        _mm512_shuffle_i64x2::<0xdd>(even_ab, even_cd),
        _mm512_shuffle_i64x2::<0xdd>(odd_ab, odd_cd),
    ]
}

/// The rows x ‖ y of eight canonical points, one per lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn rows_of(x: &Field, y: &Field) -> [__m512i; VECTOR] {
    let [x0, x1, x2, x3] = x.to_words();
    let [y0, y1, y2, y3] = y.to_words();
    transpose([x0, x1, x2, x3, y0, y1, y2, y3])
}

/// The first and the second half of eight rows as field elements of magnitude 1.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn halves_of(rows: [__m512i; VECTOR]) -> (Field, Field) {
    let [a0, a1, a2, a3, b0, b1, b2, b3] = transpose(rows);
    (
        Field::from_words(&[a0, a1, a2, a3]),
        Field::from_words(&[b0, b1, b2, b3]),
    )
}

/// Multiples in a table of lanes.
pub const ENTRIES: usize = 16;
/// Words of a row: x, y, β x. With y in the middle, both (x, y) and (y, β x) are one load.
const ROW: usize = 12;

/// The odd multiples 1 … 31 of a point P of each lane, and of λ P = (β x, y).
pub struct LaneTable([[[u64; ROW]; LANES]; ENTRIES]);

impl LaneTable {
    /// A table to be filled.
    pub fn empty() -> LaneTable {
        LaneTable([[[0; ROW]; LANES]; ENTRIES])
    }

    /// Fills the table with affine points of magnitude 1.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn fill(&mut self, points: &[Affine; ENTRIES]) {
        let beta = Field::splat(super::BETA);
        for (entry, point) in self.0.iter_mut().zip(points) {
            for (vector, rows) in entry.as_chunks_mut::<VECTOR>().0.iter_mut().enumerate() {
                let (x, y) = (point.x.0[vector], point.y.0[vector]);
                let beta_x = x.mul(&beta).normalize();
                let (x, y) = (x.normalize(), y.normalize());
                let first = rows_of(&x, &y);
                let second = rows_of(&y, &beta_x);
                for ((row, first), second) in rows.iter_mut().zip(first).zip(second) {
                    // SAFETY: a row is 12 words; words 0 … 7 and 4 … 11 lie inside it.
                    unsafe {
                        _mm512_storeu_si512(row.as_mut_ptr().cast(), first);
                        _mm512_storeu_si512(row.as_mut_ptr().add(4).cast(), second);
                    }
                }
            }
        }
    }

    /// In each lane the multiple of P that the digit of a window names.
    #[target_feature(enable = "avx512f")]
    pub fn multiples<const W: usize>(
        &self,
        digits: &Digits<W, 5>,
        window: usize,
        out: &mut Affine,
    ) {
        for vector in 0..2 {
            let (entries, minus) = digits.entries(window, vector);
            let (x, y) = halves_of(self.load::<0>(&entries, vector));
            out.x.0[vector] = x;
            out.y.0[vector] = y.negate_where(minus);
        }
    }

    /// The same of λ P.
    #[target_feature(enable = "avx512f")]
    pub fn lambda_multiples<const W: usize>(
        &self,
        digits: &Digits<W, 5>,
        window: usize,
        out: &mut Affine,
    ) {
        for vector in 0..2 {
            let (entries, minus) = digits.entries(window, vector);
            let (y, x) = halves_of(self.load::<4>(&entries, vector));
            out.x.0[vector] = x;
            out.y.0[vector] = y.negate_where(minus);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load<const FROM: usize>(&self, entries: &[u64; VECTOR], vector: usize) -> [__m512i; VECTOR] {
        const { assert!(FROM + 8 <= ROW) };
        let mut rows = [_mm512_setzero_si512(); VECTOR];
        for lane in 0..VECTOR {
            let row = &self.0[entries[lane] as usize % ENTRIES][vector * VECTOR + lane];
            // SAFETY: a row is 12 words, and FROM is at most 4: the load stays inside.
            rows[lane] = unsafe { _mm512_loadu_si512(row.as_ptr().add(FROM).cast()) };
        }
        rows
    }
}
