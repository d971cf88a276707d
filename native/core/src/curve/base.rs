//! The table of the generator G: for each window of 8 bits the odd multiples of 2^(8 window) G.
//!
//! 32 windows × 128 multiples × 64 bytes = 256 KiB, made once, in a millisecond.

use std::arch::x86_64::_mm512_setzero_si512;
use std::sync::OnceLock;

use secp256k1::PublicKey;

use super::digits::{Digits, WINDOWS};
use super::pair::Pair;
use super::point::{Affine, odd_multiples};
use super::power;
use super::rows::{halves_of, rows_of};
use super::vector::{load, store};
use super::{LANES, VECTOR};

const ENTRIES: usize = 128;

/// A canonical point as words: x, then y, each least significant word first.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Row([u64; 8]);

/// The odd multiples 1 … 255 of 2^(8 window) G.
pub struct BaseTable([[Row; ENTRIES]; WINDOWS]);

impl BaseTable {
    /// The table; made at the first call.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn get() -> &'static BaseTable {
        static TABLE: OnceLock<Box<BaseTable>> = OnceLock::new();
        if let Some(table) = TABLE.get() {
            return table;
        }
        let table = make();
        TABLE.get_or_init(|| table)
    }

    /// In each lane the multiple that the digit of a window names.
    #[target_feature(enable = "avx512f")]
    pub fn multiples(&self, digits: &Digits<WINDOWS, 8>, window: usize, out: &mut Affine) {
        let rows = &self.0[window];
        for vector in 0..2 {
            let (entries, minus) = digits.entries(window, vector);
            let mut found = [_mm512_setzero_si512(); VECTOR];
            for lane in 0..VECTOR {
                found[lane] = load(&rows[entries[lane] as usize % ENTRIES].0);
            }
            let (x, y) = halves_of(found);
            out.x.0[vector] = x;
            out.y.0[vector] = y.negate_where(minus);
        }
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn make() -> Box<BaseTable> {
    let mut table = Box::new(BaseTable([[Row([0; 8]); ENTRIES]; WINDOWS]));
    for first in (0..WINDOWS).step_by(LANES) {
        let keys = std::array::from_fn(|lane| power_of_256(first + lane));
        let point = affine(&keys);
        let mut multiples = [point; ENTRIES];
        let z = odd_multiples(&point, &mut multiples);
        let inverse = Pair(power::invert(&z.0));
        let square = inverse.square();
        let cube = square.mul(&inverse);
        for (entry, multiple) in multiples.iter().enumerate() {
            let x = multiple.x.mul(&square).normalize();
            let y = multiple.y.mul(&cube).normalize();
            for vector in 0..2 {
                let rows = rows_of(&x.0[vector], &y.0[vector]);
                for (lane, row) in rows.into_iter().enumerate() {
                    table.0[first + vector * VECTOR + lane][entry] = Row(store(row));
                }
            }
        }
    }
    table
}

/// Public keys as points of magnitude 1.
#[target_feature(enable = "avx512f")]
pub fn affine(keys: &[PublicKey; LANES]) -> Affine {
    let bytes = keys.map(|key| key.serialize_uncompressed());
    let half = |from: usize| bytes.map(|bytes| std::array::from_fn(|at| bytes[from + at]));
    Affine {
        x: Pair::from_bytes(&half(1)),
        y: Pair::from_bytes(&half(33)),
    }
}

/// 256^exponent · G.
fn power_of_256(exponent: usize) -> PublicKey {
    let mut scalar = [0; 32];
    scalar[31 - exponent] = 1;
    let secret = crate::voucher::secret_key(scalar).expect("a power of 256 is in range");
    PublicKey::from_secret_key(&secret)
}
