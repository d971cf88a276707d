//! Vectors of eight 64-bit numbers, in and out of memory.

use std::arch::x86_64::*;

use super::VECTOR;

/// The same number in all lanes.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn all(value: u64) -> __m512i {
    _mm512_set1_epi64(value as i64)
}

/// Eight numbers as one vector.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn load(lanes: &[u64; VECTOR]) -> __m512i {
    // SAFETY: the array is 64 readable bytes; the load asks for no alignment.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

/// A vector as eight numbers.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn store(vector: __m512i) -> [u64; VECTOR] {
    let mut lanes = [0; VECTOR];
    // SAFETY: the array is 64 writable bytes; the store asks for no alignment.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) };
    lanes
}
