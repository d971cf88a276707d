//! SHA-1 and SHA-256 with AVX-512: sixteen streams in the sixteen 32-bit lanes of a register.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::constants::{SHA1_K, SHA256_INITIAL, SHA256_K};
use super::each;
use super::links::{PADDING, Words};
use super::schedule::{BLOCK, Blocks, starts};

/// Streams side by side.
pub const LANES: usize = 16;

/// How far ahead of a stream's block its memory is asked for. Sixteen streams are more than the
/// processor's own prefetching follows well.
const AHEAD: usize = 8 * BLOCK;

/// One block of each stream, turned so that register `w` holds word `w` of all streams, stream `s` in lane
/// `s`, read as big-endian.
///
/// # Safety
/// Every pointer has a block to read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load(data: &[*const u8; LANES]) -> [__m512i; LANES] {
    let big_endian =
        _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
    let mut rows = [_mm512_setzero_si512(); LANES];
    for (row, &block) in rows.iter_mut().zip(data) {
        _mm_prefetch::<_MM_HINT_T0>(block.wrapping_add(AHEAD).cast());
        // SAFETY: the caller says that the block is there; the load needs no alignment, and a prefetch
        // never faults.
        *row = _mm512_shuffle_epi8(unsafe { _mm512_loadu_si512(block.cast()) }, big_endian);
    }
    transpose(rows)
}

/// Turns rows into columns.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    // Within each 128-bit part: the 4 x 4 words of rows 4q … 4q + 3.
    let mut parts = rows;
    for four in parts.chunks_exact_mut(4) {
        let low = _mm512_unpacklo_epi32(four[0], four[1]);
        let high = _mm512_unpackhi_epi32(four[0], four[1]);
        let low_next = _mm512_unpacklo_epi32(four[2], four[3]);
        let high_next = _mm512_unpackhi_epi32(four[2], four[3]);
        four[0] = _mm512_unpacklo_epi64(low, low_next);
        four[1] = _mm512_unpackhi_epi64(low, low_next);
        four[2] = _mm512_unpacklo_epi64(high, high_next);
        four[3] = _mm512_unpackhi_epi64(high, high_next);
    }
    // Part p of parts[4q + i] now is word 4p + i of those rows: turn the 4 x 4 parts.
    let mut columns = rows;
    for i in 0..4 {
        let (a, b, c, d) = (parts[i], parts[4 + i], parts[8 + i], parts[12 + i]);
        let even = _mm512_shuffle_i32x4::<0x88>(a, b);
        let odd = _mm512_shuffle_i32x4::<0xdd>(a, b);
        let even_next = _mm512_shuffle_i32x4::<0x88>(c, d);
        let odd_next = _mm512_shuffle_i32x4::<0xdd>(c, d);
        columns[i] = _mm512_shuffle_i32x4::<0x88>(even, even_next);
        columns[4 + i] = _mm512_shuffle_i32x4::<0x88>(odd, odd_next);
        columns[8 + i] = _mm512_shuffle_i32x4::<0xdd>(even, even_next);
        columns[12 + i] = _mm512_shuffle_i32x4::<0xdd>(odd, odd_next);
    }
    columns
}

/// Word `word` of the states of all streams.
#[inline]
#[target_feature(enable = "avx512f")]
fn gather<const W: usize>(states: &[[u32; W]; LANES], word: usize) -> __m512i {
    let mut words = [0; LANES];
    for (to, state) in words.iter_mut().zip(states) {
        *to = state[word];
    }
    // SAFETY: the array has the 64 bytes.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

/// Puts word `word` back into the states of all streams.
#[inline]
#[target_feature(enable = "avx512f")]
fn scatter<const W: usize>(states: &mut [[u32; W]; LANES], word: usize, value: __m512i) {
    let mut words = [0u32; LANES];
    // SAFETY: the array has the 64 bytes.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), value) };
    for (state, from) in states.iter_mut().zip(words) {
        state[word] = from;
    }
}

/// The functions of SHA-1's four times twenty rounds as truth tables: choice, parity, majority, parity.
const SHA1_F: [i32; 4] = [0xca, 0x96, 0xe8, 0x96];

/// SHA-1 of `blocks` blocks of each of sixteen streams.
///
/// Panics where there are not sixteen streams of `blocks` blocks.
#[target_feature(enable = "avx512f,avx512bw")]
pub fn sha1(states: &mut [[u32; 5]], data: &[Blocks<'_>], blocks: usize) {
    let states: &mut [[u32; 5]; LANES] = states.try_into().expect("16 states");
    let mut data = starts::<LANES>(data, blocks);
    let k = SHA1_K.map(|k| _mm512_set1_epi32(k.cast_signed()));
    let [mut a, mut b, mut c, mut d, mut e] = [0, 1, 2, 3, 4].map(|word| gather(states, word));
    for _ in 0..blocks {
        let before = [a, b, c, d, e];
        // SAFETY: `starts` made sure of the blocks.
        let mut w = unsafe { load(&data) };
        data = data.map(|block| block.wrapping_add(BLOCK));
        macro_rules! round {
            ($t:literal) => {
                if $t >= 16 {
                    // w[t − 16] ^ w[t − 14] ^ w[t − 8] ^ w[t − 3], rotated by one.
                    let three = _mm512_ternarylogic_epi32::<0x96>(
                        w[$t % 16],
                        w[($t + 2) % 16],
                        w[($t + 8) % 16],
                    );
                    w[$t % 16] = _mm512_rol_epi32::<1>(_mm512_xor_si512(three, w[($t + 13) % 16]));
                }
                let f = _mm512_ternarylogic_epi32::<{ SHA1_F[$t / 20] }>(b, c, d);
                let input = _mm512_add_epi32(_mm512_add_epi32(w[$t % 16], k[$t / 20]), e);
                let next = _mm512_add_epi32(_mm512_rol_epi32::<5>(a), _mm512_add_epi32(f, input));
                (a, b, c, d, e) = (next, a, _mm512_rol_epi32::<30>(b), c, d);
            };
        }
        each!(round: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
        each!(round: 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);
        each!(round: 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59);
        each!(round: 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79);
        a = _mm512_add_epi32(a, before[0]);
        b = _mm512_add_epi32(b, before[1]);
        c = _mm512_add_epi32(c, before[2]);
        d = _mm512_add_epi32(d, before[3]);
        e = _mm512_add_epi32(e, before[4]);
    }
    for (word, value) in [a, b, c, d, e].into_iter().enumerate() {
        scatter(states, word, value);
    }
}

/// SHA-256 of `blocks` blocks of each of sixteen streams.
///
/// Panics where there are not sixteen streams of `blocks` blocks.
#[target_feature(enable = "avx512f,avx512bw")]
pub fn sha256(states: &mut [[u32; 8]], data: &[Blocks<'_>], blocks: usize) {
    let states: &mut [[u32; 8]; LANES] = states.try_into().expect("16 states");
    let mut data = starts::<LANES>(data, blocks);
    let mut state = [0, 1, 2, 3, 4, 5, 6, 7].map(|word| gather(states, word));
    for _ in 0..blocks {
        // SAFETY: `starts` made sure of the blocks.
        let words = unsafe { load(&data) };
        data = data.map(|block| block.wrapping_add(BLOCK));
        state = compress256(state, words);
    }
    for (word, value) in state.into_iter().enumerate() {
        scatter(states, word, value);
    }
}

/// Replaces each of sixteen values by its link, `steps` times.
///
/// Panics where there are not sixteen values.
#[target_feature(enable = "avx512f,avx512bw")]
pub fn links(values: &mut [Words], steps: u32) {
    let values: &mut [Words; LANES] = values.try_into().expect("16 values");
    let initial = SHA256_INITIAL.map(|word| _mm512_set1_epi32(word.cast_signed()));
    let [p, q, r, s, t, u, v, x] = PADDING.map(|word| _mm512_set1_epi32(word.cast_signed()));
    let mut value = [0, 1, 2, 3, 4, 5, 6, 7].map(|word| gather(values, word));
    for _ in 0..steps {
        let [a, b, c, d, e, f, g, h] = value;
        value = compress256(initial, [a, b, c, d, e, f, g, h, p, q, r, s, t, u, v, x]);
    }
    for (word, value) in value.into_iter().enumerate() {
        scatter(values, word, value);
    }
}

/// One block of sixteen streams; `w` are its words.
#[inline]
#[target_feature(enable = "avx512f")]
fn compress256(state: [__m512i; 8], mut w: [__m512i; 16]) -> [__m512i; 8] {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
    macro_rules! round {
        ($t:literal) => {
            if $t >= 16 {
                let (early, late) = (w[($t + 1) % 16], w[($t + 14) % 16]);
                let small0 = xor3(
                    _mm512_ror_epi32::<7>(early),
                    _mm512_ror_epi32::<18>(early),
                    _mm512_srli_epi32::<3>(early),
                );
                let small1 = xor3(
                    _mm512_ror_epi32::<17>(late),
                    _mm512_ror_epi32::<19>(late),
                    _mm512_srli_epi32::<10>(late),
                );
                w[$t % 16] = _mm512_add_epi32(
                    _mm512_add_epi32(w[$t % 16], small0),
                    _mm512_add_epi32(w[($t + 9) % 16], small1),
                );
            }
            let input = _mm512_add_epi32(
                _mm512_add_epi32(h, w[$t % 16]),
                _mm512_set1_epi32(SHA256_K[$t].cast_signed()),
            );
            let choice = _mm512_ternarylogic_epi32::<0xca>(e, f, g);
            let majority = _mm512_ternarylogic_epi32::<0xe8>(a, b, c);
            let big1 = xor3(
                _mm512_ror_epi32::<6>(e),
                _mm512_ror_epi32::<11>(e),
                _mm512_ror_epi32::<25>(e),
            );
            let big0 = xor3(
                _mm512_ror_epi32::<2>(a),
                _mm512_ror_epi32::<13>(a),
                _mm512_ror_epi32::<22>(a),
            );
            let first = _mm512_add_epi32(_mm512_add_epi32(input, choice), big1);
            let second = _mm512_add_epi32(big0, majority);
            (h, g, f, e) = (g, f, e, _mm512_add_epi32(d, first));
            (d, c, b, a) = (c, b, a, _mm512_add_epi32(first, second));
        };
    }
    each!(round: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    each!(round: 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
    each!(round: 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47);
    each!(round: 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
    let mut sums = [a, b, c, d, e, f, g, h];
    for (sum, before) in sums.iter_mut().zip(state) {
        *sum = _mm512_add_epi32(*sum, before);
    }
    sums
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}
