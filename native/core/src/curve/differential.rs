//! Lanes against libsecp256k1: the same signer for honest, broken and hostile signatures.
//!
//! `PIECEWORK_CASES` (20,000 without it) says how many signatures, `PIECEWORK_SEED` repeats a run.

use secp256k1::PublicKey;

use super::order::{self, N, Words};
use super::reference::{Chance, P, difference, sum};
use super::{Claim, Signer, recover};
use crate::cpu::{self, Level};
use crate::recovery::recover_one;
use crate::status::Status;
use crate::voucher::{secret_key, sign_digest};

const LAMBDA: Words = [
    0xdf02_967c_1b23_bd72,
    0x122e_22ea_2081_6678,
    0xa526_1c02_8812_645a,
    0x5363_ad4c_c05c_30e0,
];
const ONE: Words = [1, 0, 0, 0];

fn bytes(words: &Words) -> [u8; 32] {
    let mut out = [0; 32];
    for (k, word) in words.iter().rev().enumerate() {
        out[8 * k..8 * k + 8].copy_from_slice(&word.to_be_bytes());
    }
    out
}

fn negated(a: &Words) -> Words {
    if *a == [0; 4] { *a } else { difference(&N, a) }
}

/// 2^256 / a modulo n, so that a product with it is a division by `a`.
fn divisor(a: &Words) -> Words {
    let mut one = [*a];
    order::invert_all(&mut one);
    one[0]
}

/// a · b modulo n.
fn times(a: &Words, b: &Words) -> Words {
    let radix = difference(&[0; 4], &N);
    let radix2 = super::reference::product(&radix, &radix, &N);
    order::product(&order::product(a, b), &radix2)
}

/// A number in 1 … n − 1.
fn scalar(chance: &mut Chance) -> Words {
    loop {
        let found = chance.below(&N);
        if found != [0; 4] {
            return found;
        }
    }
}

/// The claim that s / r = `of_r` and −z / r = `of_g` for R = k G.
fn crafted(k: &Words, of_r: &Words, of_g: &Words) -> Option<Claim> {
    let key = PublicKey::from_secret_key(&secret_key(bytes(k)).ok()?);
    let compressed = key.serialize();
    let mut r = [0; 32];
    r.copy_from_slice(&compressed[1..]);
    let x = order::words(&r);
    let s = times(of_r, &x);
    let fits = x.iter().rev().lt(N.iter().rev()) && s != [0; 4];
    fits.then(|| Claim {
        digest: bytes(&negated(&times(of_g, &x))),
        r,
        s: bytes(&s),
        odd: compressed[0] == 3,
    })
}

/// A small number, positive or negative modulo n.
fn small(chance: &mut Chance) -> Words {
    let size = [chance.word() % 64, 0, 0, 0];
    if chance.coin() { size } else { negated(&size) }
}

/// A claim that steers the sum of multiples into a case that the formulas leave out, or near one.
fn hostile(chance: &mut Chance) -> Option<Claim> {
    let k = match chance.word() % 4 {
        0 => ONE,
        1 => LAMBDA,
        2 => [1 + chance.word() % 300, 0, 0, 0],
        _ => scalar(chance),
    };
    let inverse = divisor(&k);
    match chance.word() % 5 {
        // The multiple of R is a + b λ with small a and b.
        0 => {
            let of_r = sum(&small(chance), &times(&small(chance), &LAMBDA), &N);
            crafted(&k, &of_r, &chance.below(&N))
        }
        // The signer is infinity, G, −G or another small multiple of G.
        1 => {
            let of_g = chance.below(&N);
            let signer = small(chance);
            let of_r = order::product(&sum(&signer, &negated(&of_g), &N), &inverse);
            crafted(&k, &of_r, &of_g)
        }
        // The signer is R, −R, λ R, or the multiples of R and G are equal or opposite.
        2 => {
            let of_r = chance.below(&N);
            let of_g = match chance.word() % 4 {
                0 => times(&of_r, &k),
                1 => negated(&times(&of_r, &k)),
                2 => times(&sum(&ONE, &negated(&of_r), &N), &k),
                _ => times(&sum(&LAMBDA, &negated(&of_r), &N), &k),
            };
            crafted(&k, &of_r, &of_g)
        }
        // Just before the digit of G in a window is added, the sum is that very multiple, or its
        // opposite.
        3 => {
            let (odd, _) = order::odd_of(&scalar(chance));
            let last = (chance.word() % 32) as usize;
            let (mut low, mut next) = ([0; 4], [0; 4]);
            let halved: Words = std::array::from_fn(|k| {
                let above = odd.get(k + 1).copied().unwrap_or(1);
                odd[k] >> 1 | above << 63
            });
            for window in 0..=last {
                let plain = halved[window / 8] >> (8 * (window % 8)) & 0xff;
                let mut place = [0; 4];
                place[window / 8] = 1 << (8 * (window % 8));
                low = sum(&low, &next, &N);
                next = if plain >= 128 {
                    times(&[2 * plain - 255, 0, 0, 0], &place)
                } else {
                    negated(&times(&[255 - 2 * plain, 0, 0, 0], &place))
                };
            }
            let before = if chance.coin() { next } else { negated(&next) };
            let of_r = order::product(&sum(&before, &negated(&low), &N), &inverse);
            crafted(&k, &of_r, &odd)
        }
        // Any numbers with r and s at the edges of their ranges.
        _ => {
            let edge = |chance: &mut Chance| {
                let few = [chance.word() % 3, 0, 0, 0];
                let half = order::words(&crate::recovery::HALF_ORDER);
                match chance.word() % 4 {
                    0 => sum(&ONE, &few, &N),
                    1 => difference(&N, &sum(&ONE, &few, &N)),
                    2 => sum(&half, &few, &N),
                    _ => difference(&half, &few),
                }
            };
            Some(Claim {
                digest: bytes(&chance.below(&[u64::MAX; 4])),
                r: bytes(&edge(chance)),
                s: bytes(&edge(chance)),
                odd: chance.coin(),
            })
        }
    }
}

fn honest(chance: &mut Chance) -> Claim {
    let digest = bytes(&std::array::from_fn(|_| chance.word()));
    let secret = secret_key(bytes(&scalar(chance))).unwrap();
    let signature = sign_digest(&secret, &digest);
    let mut claim = Claim {
        digest,
        r: [0; 32],
        s: [0; 32],
        odd: signature[32] & 0x80 != 0,
    };
    claim.r.copy_from_slice(&signature[..32]);
    claim.s.copy_from_slice(&signature[32..]);
    claim.s[0] &= 0x7f;
    claim
}

fn broken(chance: &mut Chance) -> Claim {
    let mut claim = honest(chance);
    let (at, bit) = (chance.word() as usize % 32, 1u8 << (chance.word() % 8));
    match chance.word() % 4 {
        0 => claim.digest[at] ^= bit,
        1 => claim.r[at] ^= bit,
        2 => claim.s[at] ^= bit,
        _ => claim.odd = !claim.odd,
    }
    claim
}

fn any(chance: &mut Chance) -> Claim {
    loop {
        let claim = match chance.word() % 4 {
            0 => Some(honest(chance)),
            1 => Some(broken(chance)),
            2 => hostile(chance),
            _ => Some(Claim {
                digest: bytes(&chance.below(&[u64::MAX; 4])),
                r: bytes(&chance.below(&P)),
                s: bytes(&scalar(chance)),
                odd: chance.coin(),
            }),
        };
        let in_range = |number: &[u8; 32]| {
            let words = order::words(number);
            words != [0; 4] && words.iter().rev().lt(N.iter().rev())
        };
        if let Some(claim) = claim.filter(|claim| in_range(&claim.r) && in_range(&claim.s)) {
            return claim;
        }
    }
}

fn number(name: &str, without: u64) -> u64 {
    std::env::var(name).map_or(without, |text| text.parse().expect(name))
}

#[test]
fn lanes_find_whom_libsecp256k1_finds() {
    if cpu::detected() < Level::Avx512 {
        eprintln!("no lanes here: nothing tested");
        return;
    }
    assert!(
        recover(Level::Avx2, &[]).is_none(),
        "a lower level has no lanes"
    );
    let cases = number("PIECEWORK_CASES", 20_000);
    let seed = number("PIECEWORK_SEED", 1);
    let mut chance = Chance(seed);
    let (mut done, mut found, mut nobody, mut unknown) = (0, 0, 0, 0);
    let mut size = 0;
    while done < cases {
        let claims: Vec<Claim> = (0..size).map(|_| any(&mut chance)).collect();
        let signers = recover(Level::Avx512, &claims).expect("there are lanes");
        assert_eq!(signers.len(), claims.len());
        for (claim, signer) in claims.iter().zip(&signers) {
            let context = format!("seed {seed}, batch of {size}: {claim:x?}");
            match (recover_one(claim), signer) {
                (Ok(expected), Signer::Address(address)) => {
                    assert_eq!(expected, *address, "{context}");
                    found += 1;
                }
                (Err(Status::BadSignature), Signer::Nobody) => nobody += 1,
                (_, Signer::Unknown) => unknown += 1,
                (expected, _) => panic!("{expected:?} and not {signer:?}, {context}"),
            }
        }
        done += size;
        // Every length up to 70, then long ones that are no multiple of anything.
        size = if size < 70 {
            size + 1
        } else {
            71 + chance.word() % 1_500
        };
    }
    eprintln!("{done} signatures: {found} signers, {nobody} without, {unknown} unknown");
    assert!(found > done / 2 && nobody > done / 20, "{found}, {nobody}");
    // The witness that the cases which the formulas leave out were met. Nothing else may end there.
    assert!(unknown > 0 && unknown < done / 8, "{unknown} unknown");
}

#[test]
fn honest_signatures_are_never_unknown() {
    let mut chance = Chance(9);
    let claims: Vec<Claim> = (0..600).map(|_| honest(&mut chance)).collect();
    let Some(signers) = recover(Level::Avx512, &claims) else {
        eprintln!("no lanes here: nothing tested");
        return;
    };
    for signer in signers {
        assert!(matches!(signer, Signer::Address(_)));
    }
}
