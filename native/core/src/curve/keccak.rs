//! Keccak-256 of eight short messages side by side, with AVX-512.

use std::arch::x86_64::*;

use super::VECTOR;
use super::vector::{load, store};

/// Bytes that one permutation takes in.
const RATE: usize = 136;

const ROUNDS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// The Keccak-256 of each message; `SIZE` is less than 136.
#[target_feature(enable = "avx512f")]
pub fn eight<const SIZE: usize>(messages: &[[u8; SIZE]; VECTOR]) -> [[u8; 32]; VECTOR] {
    const { assert!(SIZE < RATE) };
    let mut words = [[0u64; VECTOR]; RATE / 8];
    for (lane, message) in messages.iter().enumerate() {
        let mut block = [0; RATE];
        block[..SIZE].copy_from_slice(message);
        block[SIZE] |= 0x01;
        block[RATE - 1] |= 0x80;
        for (word, eight) in words.iter_mut().zip(block.as_chunks::<8>().0) {
            word[lane] = u64::from_le_bytes(*eight);
        }
    }
    let mut state = [_mm512_setzero_si512(); 25];
    for (lanes, word) in state.iter_mut().zip(&words) {
        *lanes = load(word);
    }
    permute(&mut state);
    let mut digests = [[0; 32]; VECTOR];
    for (k, lanes) in state[..4].iter().enumerate() {
        for (digest, word) in digests.iter_mut().zip(store(*lanes)) {
            digest[8 * k..8 * k + 8].copy_from_slice(&word.to_le_bytes());
        }
    }
    digests
}

/// Keccak-f[1600] of eight states; word (x, y) is at x + 5 y.
#[target_feature(enable = "avx512f")]
fn permute(a: &mut [__m512i; 25]) {
    for round in ROUNDS {
        let mut parity = [_mm512_setzero_si512(); 5];
        for x in 0..5 {
            parity[x] = xor3(xor3(a[x], a[x + 5], a[x + 10]), a[x + 15], a[x + 20]);
        }
        for x in 0..5 {
            let turned = _mm512_rol_epi64::<1>(parity[(x + 1) % 5]);
            for y in 0..5 {
                a[x + 5 * y] = xor3(a[x + 5 * y], parity[(x + 4) % 5], turned);
            }
        }
        let b = moved(a);
        for y in 0..5 {
            for x in 0..5 {
                let (one, two, three) =
                    (b[5 * y + x], b[5 * y + (x + 1) % 5], b[5 * y + (x + 2) % 5]);
                // one ^ (!two & three)
                a[5 * y + x] = _mm512_ternarylogic_epi64::<0xd2>(one, two, three);
            }
        }
        a[0] = _mm512_xor_si512(a[0], _mm512_set1_epi64(round as i64));
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

/// The steps rho and pi: each word turned by its own count and moved from (x, y) to (y, 2 x + 3 y).
#[inline]
#[target_feature(enable = "avx512f")]
fn moved(a: &[__m512i; 25]) -> [__m512i; 25] {
    macro_rules! turn {
        ($at:literal, $count:literal) => {
            _mm512_rol_epi64::<$count>(a[$at])
        };
    }
    [
        a[0],
        turn!(6, 44),
        turn!(12, 43),
        turn!(18, 21),
        turn!(24, 14),
        turn!(3, 28),
        turn!(9, 20),
        turn!(10, 3),
        turn!(16, 45),
        turn!(22, 61),
        turn!(1, 1),
        turn!(7, 6),
        turn!(13, 25),
        turn!(19, 8),
        turn!(20, 18),
        turn!(4, 27),
        turn!(5, 36),
        turn!(11, 10),
        turn!(17, 15),
        turn!(23, 56),
        turn!(2, 62),
        turn!(8, 55),
        turn!(14, 39),
        turn!(15, 41),
        turn!(21, 2),
    ]
}
