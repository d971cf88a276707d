//! The table of the generator G: for each window of 8 bits the odd multiples of 2^(8 window) G.
//!
//! 32 windows × 128 multiples × 64 bytes = 256 KiB, made once, in a millisecond.

use std::sync::OnceLock;

use secp256k1::PublicKey;

use super::LANES;
use super::field;
use super::order::WINDOWS;
use super::point::{Affine, odd_multiples};
use super::power;
use super::rows::{halves_of, rows_of};

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

    /// In each lane the multiple at its index, which counts modulo the entries of the window.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn multiples(&self, window: usize, indexes: &[u8; LANES]) -> Affine {
        let entries = &self.0[window];
        let (x, y) = halves_of(std::array::from_fn(|lane| {
            field::load(&entries[usize::from(indexes[lane]) % ENTRIES].0)
        }));
        Affine { x, y }
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn make() -> Box<BaseTable> {
    let mut table = Box::new(BaseTable([[Row([0; 8]); ENTRIES]; WINDOWS]));
    for first in (0..WINDOWS).step_by(LANES) {
        let mut x = [[0; 32]; LANES];
        let mut y = [[0; 32]; LANES];
        for lane in 0..LANES {
            let point = power_of_256(first + lane).serialize_uncompressed();
            x[lane].copy_from_slice(&point[1..33]);
            y[lane].copy_from_slice(&point[33..]);
        }
        let point = Affine {
            x: field::from_bytes(&x),
            y: field::from_bytes(&y),
        };
        let mut multiples = [point; ENTRIES];
        let z = odd_multiples(&point, &mut multiples);
        let [inverse] = power::invert(&[z]);
        let square = inverse.square();
        let cube = square.mul(&inverse);
        for (entry, multiple) in multiples.iter().enumerate() {
            let x = multiple.x.mul(&square).normalize();
            let y = multiple.y.mul(&cube).normalize();
            for (lane, row) in rows_of(&x, &y).into_iter().enumerate() {
                table.0[first + lane][entry] = Row(field::store(row));
            }
        }
    }
    table
}

/// 256^exponent · G.
fn power_of_256(exponent: usize) -> PublicKey {
    let mut scalar = [0; 32];
    scalar[31 - exponent] = 1;
    let secret = crate::voucher::secret_key(scalar).expect("a power of 256 is in range");
    PublicKey::from_secret_key(&secret)
}
