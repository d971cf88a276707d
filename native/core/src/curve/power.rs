//! Square roots and inverses in the field: powers with long chains of squares.
//!
//! A square waits for the one before it; with one element the multiplier would idle for half of
//! the time. So the chains take `K` elements and advance them in turn.

use super::field::Field;

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn square_times<const K: usize>(mut a: [Field; K], times: usize) -> [Field; K] {
    for _ in 0..times {
        for one in &mut a {
            *one = one.square();
        }
    }
    a
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn times<const K: usize>(mut a: [Field; K], b: &[Field; K]) -> [Field; K] {
    for (one, other) in a.iter_mut().zip(b) {
        *one = one.mul(other);
    }
    a
}

/// `a` to the powers 2^2 − 1, 2^22 − 1 and 2^223 − 1: what p − 2 and (p + 1) / 4 are made of.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn ones<const K: usize>(a: &[Field; K]) -> [[Field; K]; 3] {
    let ones2 = times(square_times(*a, 1), a);
    let ones3 = times(square_times(ones2, 1), a);
    let ones6 = times(square_times(ones3, 3), &ones3);
    let ones9 = times(square_times(ones6, 3), &ones3);
    let ones11 = times(square_times(ones9, 2), &ones2);
    let ones22 = times(square_times(ones11, 11), &ones11);
    let ones44 = times(square_times(ones22, 22), &ones22);
    let ones88 = times(square_times(ones44, 44), &ones44);
    let ones176 = times(square_times(ones88, 88), &ones88);
    let ones220 = times(square_times(ones176, 44), &ones44);
    let ones223 = times(square_times(ones220, 3), &ones3);
    [ones2, ones22, ones223]
}

/// `a^((p + 1) / 4)`: a square root of `a`, if it has one. Magnitude 1.
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn square_root<const K: usize>(a: &[Field; K]) -> [Field; K] {
    let [ones2, ones22, ones223] = ones(a);
    let high = times(square_times(ones223, 23), &ones22);
    square_times(times(square_times(high, 6), &ones2), 2)
}

/// `a^(p − 2)`: the inverse of `a`, or zero. Magnitude 1.
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn invert<const K: usize>(a: &[Field; K]) -> [Field; K] {
    let [ones2, ones22, ones223] = ones(a);
    let high = times(square_times(ones223, 23), &ones22);
    let high = times(square_times(high, 5), a);
    let high = times(square_times(high, 3), &ones2);
    times(square_times(high, 2), a)
}
