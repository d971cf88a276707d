//! Arithmetic modulo `n`, the order of the curve, and the split of scalars.
//!
//! A number is four 64-bit words, least significant first. All inputs are public.

/// A number below 2^256, least significant word first.
pub type Words = [u64; 4];

/// n.
pub const N: Words = [
    0xbfd2_5e8c_d036_4141,
    0xbaae_dce6_af48_a03b,
    0xffff_ffff_ffff_fffe,
    0xffff_ffff_ffff_ffff,
];
/// −1/n modulo 2^64.
const N_INVERSE: u64 = 0x4b0d_ff66_5588_b13f;

/// The number of 32 big-endian bytes.
#[must_use]
pub fn words(bytes: &[u8; 32]) -> Words {
    std::array::from_fn(|k| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[24 - 8 * k..32 - 8 * k]);
        u64::from_be_bytes(eight)
    })
}

/// `a − b` modulo 2^256, and whether it borrowed.
fn subtract(a: &Words, b: &Words) -> (Words, bool) {
    let mut out = [0; 4];
    let mut borrow = false;
    for k in 0..4 {
        let (first, one) = a[k].overflowing_sub(b[k]);
        let (second, two) = first.overflowing_sub(u64::from(borrow));
        (out[k], borrow) = (second, one | two);
    }
    (out, borrow)
}

/// `a · b + c + d`, low and high word.
#[inline]
fn multiply_add(a: u64, b: u64, c: u64, d: u64) -> (u64, u64) {
    let wide = u128::from(a) * u128::from(b) + u128::from(c) + u128::from(d);
    (wide as u64, (wide >> 64) as u64)
}

/// `a · b / 2^256` modulo n (Montgomery's product), for `a` below 2^256 and `b` below n.
#[must_use]
pub fn product(a: &Words, b: &Words) -> Words {
    let mut t = [0u64; 5];
    for &word in a {
        let mut carry = 0;
        for k in 0..4 {
            (t[k], carry) = multiply_add(word, b[k], t[k], carry);
        }
        let (top, over) = t[4].overflowing_add(carry);
        let quotient = t[0].wrapping_mul(N_INVERSE);
        let (_, mut carry) = multiply_add(quotient, N[0], t[0], 0);
        for k in 1..4 {
            (t[k - 1], carry) = multiply_add(quotient, N[k], t[k], carry);
        }
        let (low, more) = top.overflowing_add(carry);
        t[3] = low;
        t[4] = u64::from(over) + u64::from(more);
    }
    let sum = [t[0], t[1], t[2], t[3]];
    match subtract(&sum, &N) {
        (_, true) if t[4] == 0 => sum,
        (less, _) => less,
    }
}

/// `a^(n − 2)` where products are Montgomery's: the inverse in that domain.
fn power_of_inverse(a: &Words) -> Words {
    let mut powers = [*a; 16];
    for k in 2..16 {
        powers[k] = product(&powers[k - 1], a);
    }
    let exponent = subtract(&N, &[2, 0, 0, 0]).0;
    let nibble = |at: usize| (exponent[at / 16] >> (4 * (at % 16))) as usize & 15;
    let mut result = powers[nibble(63)];
    for at in (0..63).rev() {
        for _ in 0..4 {
            result = product(&result, &result);
        }
        if nibble(at) != 0 {
            result = product(&result, &powers[nibble(at)]);
        }
    }
    result
}

/// Replaces each number by `2^256 / number` modulo n. None may be zero modulo n. Costs one
/// inversion (some microseconds) and three products a number.
pub fn invert_all(numbers: &mut [Words]) {
    let Some(first) = numbers.first() else { return };
    let mut before = Vec::with_capacity(numbers.len());
    let mut all = *first;
    for number in &numbers[1..] {
        before.push(all);
        all = product(&all, number);
    }
    // Read as Montgomery's form, a number x stands for x / 2^256; the inverse of that in the same
    // form is 2^512 / x, one factor of 2^256 too much.
    let mut rest = product(&power_of_inverse(&all), &[1, 0, 0, 0]);
    for (at, number) in numbers.iter_mut().enumerate().rev() {
        let own = *number;
        *number = match at {
            0 => rest,
            _ => product(&rest, &before[at - 1]),
        };
        rest = product(&rest, &own);
    }
}

/// A whole number modulo 2^192 in two's complement.
type Signed = [u64; 3];

// The lattice of the (a, b) with a + b λ = 0 modulo n has the basis (A1, −B1), (A2, A1).
const A1: Signed = [0xe86c_90e4_9284_eb15, 0x3086_d221_a7d4_6bcd, 0];
const B1: Signed = [0x6f54_7fa9_0abf_e4c3, 0xe443_7ed6_010e_8828, 0];
const A2: Signed = [0x57c1_108d_9d44_cfd8, 0x14ca_50f7_a8e2_f3f6, 1];
/// A1 · 2^384 / n and B1 · 2^384 / n, rounded.
const G1: Words = [
    0xe893_209a_45db_b031,
    0x3daa_8a14_71e8_ca7f,
    0xe86c_90e4_9284_eb15,
    0x3086_d221_a7d4_6bcd,
];
const G2: Words = [
    0x1571_b4ae_8ac4_7f71,
    0x2212_08ac_9df5_06c6,
    0x6f54_7fa9_0abf_e4c4,
    0xe443_7ed6_010e_8828,
];

/// `a · b / 2^384`, rounded.
fn share(a: &Words, b: &Words) -> Signed {
    let mut wide = [0u64; 8];
    for i in 0..4 {
        let mut carry = 0;
        for j in 0..4 {
            (wide[i + j], carry) = multiply_add(a[i], b[j], wide[i + j], carry);
        }
        wide[i + 4] = carry;
    }
    add(&[wide[6], wide[7], 0], &[wide[5] >> 63, 0, 0])
}

fn add(a: &Signed, b: &Signed) -> Signed {
    let mut out = [0; 3];
    let mut carry = 0u128;
    for k in 0..3 {
        carry += u128::from(a[k]) + u128::from(b[k]);
        out[k] = carry as u64;
        carry >>= 64;
    }
    out
}

fn negated(a: &Signed) -> Signed {
    add(&a.map(|word| !word), &[1, 0, 0])
}

fn times(a: &Signed, b: &Signed) -> Signed {
    let mut out = [0u64; 3];
    for i in 0..3 {
        let mut carry = 0;
        for j in 0..3 - i {
            (out[i + j], carry) = multiply_add(a[i], b[j], out[i + j], carry);
        }
    }
    out
}

/// Half of a scalar: an odd number below 2^130, and whether it is to be taken negative.
pub type Half = (Words, bool);

/// Splits `k` below n into odd `a` and `b` with `k = a + b λ` modulo n.
///
/// Rounding (k, 0) to the lattice leaves |a|, |b| < 2^128. One basis vector is odd in both parts,
/// the other in the second only, so adding them makes both parts odd; neither then passes 2^129.
#[must_use]
pub fn split(k: &Words) -> (Half, Half) {
    let (c1, c2) = (share(k, &G1), share(k, &G2));
    let low = [k[0], k[1], k[2]];
    let mut a = add(&low, &negated(&add(&times(&c1, &A1), &times(&c2, &A2))));
    let mut b = add(&times(&c1, &B1), &negated(&times(&c2, &A1)));
    if a[0] & 1 == 0 {
        a = add(&a, &A1);
        b = add(&b, &negated(&B1));
    }
    if b[0] & 1 == 0 {
        a = add(&a, &A2);
        b = add(&b, &A1);
    }
    (half(&a), half(&b))
}

fn half(a: &Signed) -> Half {
    let minus = a[2] >> 63 != 0;
    let size = if minus { negated(a) } else { *a };
    ([size[0], size[1], size[2], 0], minus)
}

/// `k` or `n − k`, whichever is odd, and whether it is the latter; `k` is below n.
#[must_use]
pub fn odd_of(k: &Words) -> Half {
    if k[0] & 1 == 1 {
        (*k, false)
    } else {
        (subtract(&N, k).0, true)
    }
}
