//! SHA-1 and SHA-256 with the SHA instructions: several streams at once, so that the latency of one hides
//! behind the work of the others.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::constants::{SHA256_INITIAL, SHA256_K};
use super::each;
use super::links::{PADDING, Words};
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
    let mut packed = [pack(&SHA256_INITIAL); N];
    for s in 0..N {
        packed[s] = pack(&states[s]);
    }
    for _ in 0..blocks {
        packed = compress256(packed, |s, at| {
            // SAFETY: `starts` made sure of the blocks; the load needs no alignment.
            let four = unsafe { _mm_loadu_si128(data[s].add(16 * at).cast()) };
            _mm_shuffle_epi8(four, big_endian)
        });
        data = data.map(|block| block.wrapping_add(BLOCK));
    }
    for s in 0..N {
        states[s] = unpack(packed[s]);
    }
}

/// Replaces each of `N` values by its link, `steps` times.
///
/// Panics where there are not `N` values.
#[target_feature(enable = "sha,avx")]
pub fn links<const N: usize>(values: &mut [Words], steps: u32) {
    let values: &mut [Words; N] = values.try_into().expect("N values");
    let [p, q, r, s, t, u, v, x] = PADDING.map(u32::cast_signed);
    let padding = [_mm_setr_epi32(p, q, r, s), _mm_setr_epi32(t, u, v, x)];
    let initial = [pack(&SHA256_INITIAL); N];
    let mut packed = initial;
    for s in 0..N {
        packed[s] = pack(&values[s]);
    }
    for _ in 0..steps {
        let mut halves = [[_mm_setzero_si128(); 2]; N];
        for s in 0..N {
            // From a b e f and c d g h, the first in the highest place, to a b c d and e f g h, the first
            // in the lowest.
            let [abef, cdgh] = packed[s].map(|half| _mm_shuffle_epi32::<0x1b>(half));
            halves[s] = [
                _mm_unpacklo_epi64(abef, cdgh),
                _mm_unpackhi_epi64(abef, cdgh),
            ];
        }
        packed = compress256(initial, |s, at| {
            if at < 2 {
                halves[s][at]
            } else {
                padding[at - 2]
            }
        });
    }
    for s in 0..N {
        values[s] = unpack(packed[s]);
    }
}

/// A state as the instructions take it: a b e f and c d g h, the first in the highest place.
#[inline]
#[target_feature(enable = "sha,avx")]
fn pack(state: &[u32; 8]) -> [__m128i; 2] {
    let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
    [_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h)]
}

#[inline]
#[target_feature(enable = "sha,avx")]
fn unpack([abef, cdgh]: [__m128i; 2]) -> [u32; 8] {
    let words = [
        _mm_extract_epi32::<3>(abef),
        _mm_extract_epi32::<2>(abef),
        _mm_extract_epi32::<3>(cdgh),
        _mm_extract_epi32::<2>(cdgh),
        _mm_extract_epi32::<1>(abef),
        _mm_extract_epi32::<0>(abef),
        _mm_extract_epi32::<1>(cdgh),
        _mm_extract_epi32::<0>(cdgh),
    ];
    words.map(i32::cast_unsigned)
}

/// One block of `N` streams; `word` gives words `4 at` … `4 at + 3` of the block of a stream.
#[inline]
#[target_feature(enable = "sha,avx")]
fn compress256<const N: usize>(
    before: [[__m128i; 2]; N],
    word: impl Fn(usize, usize) -> __m128i,
) -> [[__m128i; 2]; N] {
    let mut state = before;
    let mut w = [[_mm_setzero_si128(); 4]; N];
    macro_rules! four_rounds {
        ($at:literal) => {
            // SAFETY: a table of 64 words has four at every multiple of four below 64.
            let k = unsafe { _mm_loadu_si128(SHA256_K.as_ptr().add(4 * $at).cast()) };
            for s in 0..N {
                // The last four, oldest first; before the fourth they are not used.
                let [oldest, second, third, last] =
                    [$at, $at + 1, $at + 2, $at + 3].map(|at: usize| w[s][at % 4]);
                let this = if $at < 4 {
                    word(s, $at)
                } else {
                    let sum = _mm_add_epi32(
                        _mm_sha256msg1_epu32(oldest, second),
                        _mm_alignr_epi8::<4>(last, third),
                    );
                    _mm_sha256msg2_epu32(sum, last)
                };
                w[s][$at % 4] = this;
                let [mut abef, mut cdgh] = state[s];
                let input = _mm_add_epi32(this, k);
                cdgh = _mm_sha256rnds2_epu32(cdgh, abef, input);
                abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32::<0x0e>(input));
                state[s] = [abef, cdgh];
            }
        };
    }
    each!(four_rounds: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    for s in 0..N {
        for half in 0..2 {
            state[s][half] = _mm_add_epi32(state[s][half], before[s][half]);
        }
    }
    state
}
