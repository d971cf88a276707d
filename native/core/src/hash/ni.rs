//! SHA-1 and SHA-256 with the SHA instructions: several streams at once, so that the latency of one hides
//! behind the work of the others.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::constants::SHA256_K;
use super::each;
use super::schedule::{BLOCK, Blocks, starts};

/// SHA-1 of `blocks` blocks of each of `N` streams.
///
/// Panics where there are not `N` streams of `blocks` blocks.
#[target_feature(enable = "sha,avx")]
pub fn sha1<const N: usize>(states: &mut [[u32; 5]], data: &[Blocks<'_>], blocks: usize) {
    let states: &mut [[u32; 5]; N] = states.try_into().expect("N states");
    let mut data = starts::<N>(data, blocks);
    // The instructions want the first word of four in the highest place.
    let reverse = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let zero = _mm_setzero_si128();
    let (mut abcd, mut e) = ([zero; N], [zero; N]);
    for s in 0..N {
        let [a, b, c, d, last] = states[s].map(u32::cast_signed);
        abcd[s] = _mm_set_epi32(a, b, c, d);
        e[s] = _mm_set_epi32(last, 0, 0, 0);
    }
    for _ in 0..blocks {
        let before = (abcd, e);
        let mut w = [[zero; 4]; N];
        macro_rules! four_rounds {
            ($at:literal) => {
                for s in 0..N {
                    // The last four, oldest first; before the fourth they are not used.
                    let [oldest, second, third, last] =
                        [$at, $at + 1, $at + 2, $at + 3].map(|at: usize| w[s][at % 4]);
                    let this = if $at < 4 {
                        // SAFETY: `starts` made sure of the blocks; the load needs no alignment.
                        let four = unsafe { _mm_loadu_si128(data[s].add(16 * $at).cast()) };
                        _mm_shuffle_epi8(four, reverse)
                    } else {
                        let mixed = _mm_xor_si128(_mm_sha1msg1_epu32(oldest, second), third);
                        _mm_sha1msg2_epu32(mixed, last)
                    };
                    w[s][$at % 4] = this;
                    let sum = if $at == 0 {
                        _mm_add_epi32(e[s], this)
                    } else {
                        _mm_sha1nexte_epu32(e[s], this)
                    };
                    e[s] = abcd[s];
                    abcd[s] = _mm_sha1rnds4_epu32::<{ $at / 5 }>(abcd[s], sum);
                }
            };
        }
        each!(four_rounds: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
        for s in 0..N {
            data[s] = data[s].wrapping_add(BLOCK);
            abcd[s] = _mm_add_epi32(abcd[s], before.0[s]);
            e[s] = _mm_sha1nexte_epu32(e[s], before.1[s]);
        }
    }
    for s in 0..N {
        let words = [
            _mm_extract_epi32::<3>(abcd[s]),
            _mm_extract_epi32::<2>(abcd[s]),
            _mm_extract_epi32::<1>(abcd[s]),
            _mm_extract_epi32::<0>(abcd[s]),
            _mm_extract_epi32::<3>(e[s]),
        ];
        states[s] = words.map(i32::cast_unsigned);
    }
}

/// SHA-256 of `blocks` blocks of each of `N` streams.
///
/// Panics where there are not `N` streams of `blocks` blocks.
#[target_feature(enable = "sha,avx")]
pub fn sha256<const N: usize>(states: &mut [[u32; 8]], data: &[Blocks<'_>], blocks: usize) {
    let states: &mut [[u32; 8]; N] = states.try_into().expect("N states");
    let mut data = starts::<N>(data, blocks);
    let big_endian = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let zero = _mm_setzero_si128();
    let (mut abef, mut cdgh) = ([zero; N], [zero; N]);
    for s in 0..N {
        let [a, b, c, d, e, f, g, h] = states[s].map(u32::cast_signed);
        abef[s] = _mm_set_epi32(a, b, e, f);
        cdgh[s] = _mm_set_epi32(c, d, g, h);
    }
    for _ in 0..blocks {
        let before = (abef, cdgh);
        let mut w = [[zero; 4]; N];
        macro_rules! four_rounds {
            ($at:literal) => {
                // SAFETY: a table of 64 words has four at every multiple of four below 64.
                let k = unsafe { _mm_loadu_si128(SHA256_K.as_ptr().add(4 * $at).cast()) };
                for s in 0..N {
                    // The last four, oldest first; before the fourth they are not used.
                    let [oldest, second, third, last] =
                        [$at, $at + 1, $at + 2, $at + 3].map(|at: usize| w[s][at % 4]);
                    let this = if $at < 4 {
                        // SAFETY: `starts` made sure of the blocks; the load needs no alignment.
                        let four = unsafe { _mm_loadu_si128(data[s].add(16 * $at).cast()) };
                        _mm_shuffle_epi8(four, big_endian)
                    } else {
                        let sum = _mm_add_epi32(
                            _mm_sha256msg1_epu32(oldest, second),
                            _mm_alignr_epi8::<4>(last, third),
                        );
                        _mm_sha256msg2_epu32(sum, last)
                    };
                    w[s][$at % 4] = this;
                    let input = _mm_add_epi32(this, k);
                    cdgh[s] = _mm_sha256rnds2_epu32(cdgh[s], abef[s], input);
                    let rest = _mm_shuffle_epi32::<0x0e>(input);
                    abef[s] = _mm_sha256rnds2_epu32(abef[s], cdgh[s], rest);
                }
            };
        }
        each!(four_rounds: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for s in 0..N {
            data[s] = data[s].wrapping_add(BLOCK);
            abef[s] = _mm_add_epi32(abef[s], before.0[s]);
            cdgh[s] = _mm_add_epi32(cdgh[s], before.1[s]);
        }
    }
    for s in 0..N {
        let words = [
            _mm_extract_epi32::<3>(abef[s]),
            _mm_extract_epi32::<2>(abef[s]),
            _mm_extract_epi32::<3>(cdgh[s]),
            _mm_extract_epi32::<2>(cdgh[s]),
            _mm_extract_epi32::<1>(abef[s]),
            _mm_extract_epi32::<0>(abef[s]),
            _mm_extract_epi32::<1>(cdgh[s]),
            _mm_extract_epi32::<0>(cdgh[s]),
        ];
        states[s] = words.map(i32::cast_unsigned);
    }
}
