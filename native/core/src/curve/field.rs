//! Eight elements of the field of `p = 2^256 − 2^32 − 977` side by side, with AVX-512 IFMA.
//!
//! An element is five limbs of 52 bits; vector `k` holds limb `k` of all eight lanes. Reduction is
//! lazy. An element has *magnitude* `m` when its limbs 0 … 3 are below 2^52 and limb 4 is at most
//! `m · (2^48 + 2^12)`. Products take magnitudes up to 15, where limb 4 still fits the 52 bits that
//! the multiplier looks at, and give magnitude 1. What is not a product says its magnitude in its
//! comment. Nothing here branches on values, and nothing here is secret.

use std::arch::x86_64::*;

use super::VECTOR;
use super::vector::{all, load};

const MASK: u64 = (1 << 52) - 1;
/// 2^256 mod p.
const FOLD: u64 = 0x1_0000_03d1;
/// p in limbs.
const P: [u64; 5] = [0xf_fffe_ffff_fc2f, MASK, MASK, MASK, MASK >> 4];
/// A multiple of p in columns, each greater than the column of eight times a square of magnitude 1,
/// or of a product of two such elements. A test divides it.
const COLUMNS_BIAS: [u64; 10] = [
    0x100e_fbbe_fdf0_d80f,
    0x100f_efff_ffc0_eeff,
    0x100f_efff_ffc2_eeff,
    0x100f_efff_ffc2_eeff,
    0x1000_efff_ffc2_eeff,
    1 << 60,
    1 << 60,
    1 << 60,
    1 << 60,
    1 << 49,
];

/// Eight field elements.
#[derive(Clone, Copy)]
pub struct Field(pub [__m512i; 5]);

/// The unreduced product of two elements: column `k` has the weight 2^(52 k).
#[derive(Clone, Copy)]
struct Columns([__m512i; 10]);

impl Field {
    /// The same limbs in all lanes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn splat(limbs: [u64; 5]) -> Field {
        Field([
            all(limbs[0]),
            all(limbs[1]),
            all(limbs[2]),
            all(limbs[3]),
            all(limbs[4]),
        ])
    }

    /// Elements of four 64-bit words each, least significant first; vector `k` holds word `k`.
    /// Magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn from_words(words: &[__m512i; 4]) -> Field {
        let [a, b, c, d] = *words;
        let mask = all(MASK);
        let join = |low, high| _mm512_and_si512(_mm512_or_si512(low, high), mask);
        Field([
            _mm512_and_si512(a, mask),
            join(_mm512_srli_epi64::<52>(a), _mm512_slli_epi64::<12>(b)),
            join(_mm512_srli_epi64::<40>(b), _mm512_slli_epi64::<24>(c)),
            join(_mm512_srli_epi64::<28>(c), _mm512_slli_epi64::<36>(d)),
            _mm512_srli_epi64::<16>(d),
        ])
    }

    /// The words of an element that `normalize` has made canonical.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn to_words(self) -> [__m512i; 4] {
        let [a, b, c, d, e] = self.0;
        [
            _mm512_or_si512(a, _mm512_slli_epi64::<52>(b)),
            _mm512_or_si512(_mm512_srli_epi64::<12>(b), _mm512_slli_epi64::<40>(c)),
            _mm512_or_si512(_mm512_srli_epi64::<24>(c), _mm512_slli_epi64::<28>(d)),
            _mm512_or_si512(_mm512_srli_epi64::<36>(d), _mm512_slli_epi64::<16>(e)),
        ]
    }

    /// `self · other`, magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn mul(&self, other: &Field) -> Field {
        Columns::product(self, other).reduce()
    }

    /// `self²`, magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn square(&self) -> Field {
        Columns::square(self).reduce()
    }

    /// `self − other`, where `other` has magnitude at most `M`: the magnitude grows by `M + 1`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn sub<const M: u64>(&self, other: &Field) -> Field {
        let mut limbs = self.0;
        for k in 0..5 {
            let raised = _mm512_add_epi64(limbs[k], all(P[k] * (M + 1)));
            limbs[k] = _mm512_sub_epi64(raised, other.0[k]);
        }
        Field(carried(limbs))
    }

    /// `self + other`; the magnitudes add up.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn add(&self, other: &Field) -> Field {
        let mut limbs = self.0;
        for k in 0..5 {
            limbs[k] = _mm512_add_epi64(limbs[k], other.0[k]);
        }
        Field(carried(limbs))
    }

    /// `−self` in the chosen lanes, where `self` has magnitude 1: magnitude 2.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn negate_where(&self, lanes: __mmask8) -> Field {
        let mut limbs = self.0;
        for k in 0..5 {
            limbs[k] = _mm512_mask_sub_epi64(limbs[k], lanes, all(P[k] * 2), limbs[k]);
        }
        Field(carried(limbs))
    }

    /// `other` in the chosen lanes, `self` elsewhere.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn replace_where(&self, lanes: __mmask8, other: &Field) -> Field {
        let mut limbs = self.0;
        for k in 0..5 {
            limbs[k] = _mm512_mask_mov_epi64(limbs[k], lanes, other.0[k]);
        }
        Field(limbs)
    }

    /// The one representative below p, from any magnitude up to 15.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn normalize(&self) -> Field {
        // After the first fold the value is below 2^256 + 2^37, so below 2p. It is p or more
        // exactly if adding 2^256 − p carries into bit 256; then that sum without the bit is it.
        let once = fold_top(self.0);
        let mut raised = once;
        raised[0] = _mm512_add_epi64(raised[0], all(FOLD));
        let raised = carried(raised);
        let over = _mm512_test_epi64_mask(raised[4], all(!(MASK >> 4)));
        let mut limbs = once;
        for k in 0..5 {
            let mask = if k == 4 { MASK >> 4 } else { MASK };
            limbs[k] = _mm512_mask_and_epi64(limbs[k], over, raised[k], all(mask));
        }
        Field(limbs)
    }

    /// The lanes that hold zero; `self` must be canonical.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn zero_lanes(&self) -> __mmask8 {
        let [a, b, c, d, e] = self.0;
        let any = _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
        let any = _mm512_or_si512(any, e);
        _mm512_testn_epi64_mask(any, any)
    }

    /// The lanes that hold an odd number; `self` must be canonical.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn odd_lanes(&self) -> __mmask8 {
        _mm512_test_epi64_mask(self.0[0], all(1))
    }

    /// `FACTOR · self · other`, magnitude `FACTOR`, which is 2, 3 or 4.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn mul_times<const FACTOR: u64>(&self, other: &Field) -> Field {
        Columns::product(self, other).reduce_times::<FACTOR>()
    }

    /// `FACTOR · self²`, magnitude `FACTOR`, which is 2, 3 or 4.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn square_times<const FACTOR: u64>(&self) -> Field {
        Columns::square(self).reduce_times::<FACTOR>()
    }

    /// `self · other − less`, where `less` has magnitude 1: magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn mul_minus(&self, other: &Field, less: &Field) -> Field {
        let start = Columns::minus_field(less);
        start.plus_product(self, other).reduce()
    }

    /// `self · other − a · b`, where `a` and `b` have magnitude 1: magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn mul_minus_product(&self, other: &Field, a: &Field, b: &Field) -> Field {
        let start = Columns::minus(&Columns::product(a, b));
        start.plus_product(self, other).reduce()
    }

    /// `self · other − 8 a²`, where `a` has magnitude 1: magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn mul_minus_eight_squares(&self, other: &Field, a: &Field) -> Field {
        let start = Columns::minus_eight(&Columns::square(a));
        start.plus_product(self, other).reduce()
    }

    /// `self² − 2 two`, where `two` has magnitude at most 4: magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn square_minus_twice(&self, two: &Field) -> Field {
        Columns::minus_twice(two).plus_square(self).reduce()
    }

    /// `self² − one − 2 two`, where `one` and `two` have magnitude 1: magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn square_minus_and_twice(&self, one: &Field, two: &Field) -> Field {
        let start = Columns::minus_and_twice(one, two);
        start.plus_square(self).reduce()
    }
}

impl Columns {
    /// `a · b`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn product(a: &Field, b: &Field) -> Columns {
        Columns([_mm512_setzero_si512(); 10]).plus_product(a, b)
    }

    /// `a²`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn square(a: &Field) -> Columns {
        Columns([_mm512_setzero_si512(); 10]).plus_square(a)
    }

    /// `−other`, for a product of two elements of magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn minus(other: &Columns) -> Columns {
        let mut columns = COLUMNS_BIAS.map(|bias| all(bias));
        for k in 0..10 {
            columns[k] = _mm512_sub_epi64(columns[k], other.0[k]);
        }
        Columns(columns)
    }

    /// `−8 · other`, for the square of an element of magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn minus_eight(other: &Columns) -> Columns {
        let mut columns = COLUMNS_BIAS.map(|bias| all(bias));
        for k in 0..10 {
            columns[k] = _mm512_sub_epi64(columns[k], _mm512_slli_epi64::<3>(other.0[k]));
        }
        Columns(columns)
    }

    /// `−other`, for an element of magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn minus_field(other: &Field) -> Columns {
        let mut columns = [_mm512_setzero_si512(); 10];
        for k in 0..5 {
            columns[k] = _mm512_sub_epi64(all(P[k] * 2), other.0[k]);
        }
        Columns(columns)
    }

    /// `−one − 2 · two`, for elements of magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn minus_and_twice(one: &Field, two: &Field) -> Columns {
        let mut columns = [_mm512_setzero_si512(); 10];
        for k in 0..5 {
            let rest = _mm512_sub_epi64(all(P[k] * 5), one.0[k]);
            columns[k] = _mm512_sub_epi64(rest, _mm512_slli_epi64::<1>(two.0[k]));
        }
        Columns(columns)
    }

    /// `−2 · other`, for `other` of magnitude at most 4.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn minus_twice(other: &Field) -> Columns {
        let mut columns = [_mm512_setzero_si512(); 10];
        for k in 0..5 {
            let twice = _mm512_slli_epi64::<1>(other.0[k]);
            columns[k] = _mm512_sub_epi64(all(P[k] * 9), twice);
        }
        Columns(columns)
    }

    /// `self + a · b`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn plus_product(self, a: &Field, b: &Field) -> Columns {
        // Low and high halves gather apart, so that the chains of additions are half as long.
        let (a, b) = (&a.0, &b.0);
        let mut low = self.0;
        let mut high = [_mm512_setzero_si512(); 10];
        for i in 0..5 {
            for j in 0..5 {
                low[i + j] = _mm512_madd52lo_epu64(low[i + j], a[i], b[j]);
                high[i + j + 1] = _mm512_madd52hi_epu64(high[i + j + 1], a[i], b[j]);
            }
        }
        for k in 1..10 {
            low[k] = _mm512_add_epi64(low[k], high[k]);
        }
        Columns(low)
    }

    /// `self + a²`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn plus_square(self, a: &Field) -> Columns {
        let a = &a.0;
        let mut low = self.0;
        // Each product of two different limbs counts twice.
        let mut mixed = [_mm512_setzero_si512(); 10];
        for i in 0..5 {
            for j in i + 1..5 {
                mixed[i + j] = _mm512_madd52lo_epu64(mixed[i + j], a[i], a[j]);
                mixed[i + j + 1] = _mm512_madd52hi_epu64(mixed[i + j + 1], a[i], a[j]);
            }
        }
        for i in 0..5 {
            low[2 * i] = _mm512_madd52lo_epu64(low[2 * i], a[i], a[i]);
            low[2 * i + 1] = _mm512_madd52hi_epu64(low[2 * i + 1], a[i], a[i]);
        }
        for k in 1..9 {
            low[k] = _mm512_add_epi64(low[k], _mm512_slli_epi64::<1>(mixed[k]));
        }
        Columns(low)
    }

    /// The element, magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn reduce(self) -> Field {
        Field(carried(self.folded()))
    }

    /// `FACTOR` times the element, magnitude `FACTOR`, which is 2, 3 or 4.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn reduce_times<const FACTOR: u64>(self) -> Field {
        let mut limbs = self.folded();
        for limb in &mut limbs {
            *limb = match FACTOR {
                2 => _mm512_add_epi64(*limb, *limb),
                3 => _mm512_add_epi64(_mm512_add_epi64(*limb, *limb), *limb),
                _ => _mm512_slli_epi64::<2>(*limb),
            };
        }
        Field(carried(limbs))
    }

    /// The upper columns brought down with 2^260 = 16 · FOLD and 2^256 = FOLD. The limbs are below
    /// 2^62, the top one below 2^48.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn folded(self) -> [__m512i; 5] {
        let [
            mut l0,
            mut l1,
            mut l2,
            mut l3,
            mut l4,
            h5,
            mut h6,
            mut h7,
            mut h8,
            mut h9,
        ] = self.0;
        // The multiplier looks at 52 bits: what is above goes to the next column. Column 9 stays
        // below 2^52, since the whole is below 2^(5 · 104).
        h6 = _mm512_add_epi64(h6, _mm512_srli_epi64::<52>(h5));
        h7 = _mm512_add_epi64(h7, _mm512_srli_epi64::<52>(h6));
        h8 = _mm512_add_epi64(h8, _mm512_srli_epi64::<52>(h7));
        h9 = _mm512_add_epi64(h9, _mm512_srli_epi64::<52>(h8));
        let sixteen = all(FOLD << 4);
        let l5 = _mm512_madd52hi_epu64(_mm512_setzero_si512(), h9, sixteen);
        l4 = _mm512_madd52lo_epu64(l4, h9, sixteen);
        l4 = _mm512_madd52hi_epu64(l4, h8, sixteen);
        l3 = _mm512_madd52lo_epu64(l3, h8, sixteen);
        l3 = _mm512_madd52hi_epu64(l3, h7, sixteen);
        l2 = _mm512_madd52lo_epu64(l2, h7, sixteen);
        l2 = _mm512_madd52hi_epu64(l2, h6, sixteen);
        l1 = _mm512_madd52lo_epu64(l1, h6, sixteen);
        l1 = _mm512_madd52hi_epu64(l1, h5, sixteen);
        l0 = _mm512_madd52lo_epu64(l0, h5, sixteen);
        let top = _mm512_add_epi64(_mm512_srli_epi64::<48>(l4), _mm512_slli_epi64::<4>(l5));
        l4 = _mm512_and_si512(l4, all(MASK >> 4));
        l0 = _mm512_madd52lo_epu64(l0, top, all(FOLD));
        l1 = _mm512_madd52hi_epu64(l1, top, all(FOLD));
        [l0, l1, l2, l3, l4]
    }
}

/// Limbs 0 … 3 brought below 2^52, the excess moved up.
#[inline]
#[target_feature(enable = "avx512f")]
fn carried(limbs: [__m512i; 5]) -> [__m512i; 5] {
    let mask = all(MASK);
    let mut out = limbs;
    for k in 0..4 {
        out[k + 1] = _mm512_add_epi64(out[k + 1], _mm512_srli_epi64::<52>(out[k]));
        out[k] = _mm512_and_si512(out[k], mask);
    }
    out
}

/// The bits from 256 on brought down; the top limb stays below 2^48 + 1.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn fold_top(limbs: [__m512i; 5]) -> [__m512i; 5] {
    let mut out = limbs;
    let top = _mm512_srli_epi64::<48>(out[4]);
    out[4] = _mm512_and_si512(out[4], all(MASK >> 4));
    out[0] = _mm512_madd52lo_epu64(out[0], top, all(FOLD));
    carried(out)
}

/// The lanes' bytes, big-endian, as an element: 32 bytes a lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn from_bytes(bytes: &[[u8; 32]; VECTOR]) -> Field {
    let mut words = [[0u64; VECTOR]; 4];
    for (lane, bytes) in bytes.iter().enumerate() {
        for (k, word) in words.iter_mut().enumerate() {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[24 - 8 * k..32 - 8 * k]);
            word[lane] = u64::from_be_bytes(eight);
        }
    }
    Field::from_words(&words.map(|word| load(&word)))
}
