//! The recovery of many signers: Q = (s / r) R − (z / r) G for each signature (r, s) of a digest z.
//!
//! The scalar of R is split in two odd halves of 130 bits (R and λ R) whose digits of 5 bits share
//! the doublings; the scalar of G has digits of 8 bits in a table without doublings. Inversions are
//! shared by all claims of a group, chains of squares by several vectors.

use super::base::BaseTable;
use super::digits::{Digits, HALF_WINDOWS, WINDOWS};
use super::field::{self, Field};
use super::order::{self, Words};
use super::pair::Pair;
use super::point::{Affine, Jacobian, odd_multiples};
use super::power;
use super::rows::{ENTRIES, LaneTable};
use super::vector::store;
use super::{Claim, LANES, Signer, VECTOR, keccak};
use crate::Address;

/// Claims that share their inversions; 512 keep 60 KiB of points at hand.
const GROUP: usize = 512;
/// Sixteens whose square roots are taken in turn.
const ROOTS: usize = 2;

/// What is multiplied in sixteen claims.
struct Scalars {
    point: Digits<HALF_WINDOWS, 5>,
    lambda: Digits<HALF_WINDOWS, 5>,
    base: Digits<WINDOWS, 8>,
}

/// The signer of each claim, in their order.
#[must_use]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
pub fn recover(claims: &[Claim]) -> Vec<Signer> {
    let mut signers = Vec::with_capacity(claims.len());
    for group in claims.chunks(GROUP) {
        recover_group(group, &mut signers);
    }
    signers
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
fn recover_group(claims: &[Claim], signers: &mut Vec<Signer>) {
    let mut inverses: Vec<_> = claims.iter().map(|claim| order::words(&claim.r)).collect();
    order::invert_all(&mut inverses);
    let base = BaseTable::get();
    let mut table = LaneTable::empty();
    let mut sums = Vec::with_capacity(claims.len().div_ceil(LANES));
    let mut on_curve = Vec::with_capacity(sums.capacity());
    let parts = claims
        .chunks(LANES * ROOTS)
        .zip(inverses.chunks(LANES * ROOTS));
    for (claims, inverses) in parts {
        let lifted = lift(claims);
        let sixteens = claims.chunks(LANES).zip(inverses.chunks(LANES));
        for ((claims, inverses), (point, valid)) in sixteens.zip(&lifted) {
            let scalars = scalars_of(claims, inverses);
            sums.push(combine(point, &scalars, base, &mut table));
            on_curve.push(*valid);
        }
    }
    let (inverses, known) = invert_z(&sums);
    for (at, claims) in claims.chunks(LANES).enumerate() {
        let addresses = addresses_of(&sums[at], &inverses[at]);
        for (lane, address) in addresses.as_flattened()[..claims.len()].iter().enumerate() {
            signers.push(if on_curve[at] >> lane & 1 == 0 {
                Signer::Nobody
            } else if known[at] >> lane & 1 == 0 {
                Signer::Unknown
            } else {
                Signer::Address(*address)
            });
        }
    }
}

/// The digits of s / r and −z / r, sixteen claims together.
fn scalars_of(claims: &[Claim], inverses: &[Words]) -> Scalars {
    let mut scalars = Scalars {
        point: Digits::ones(),
        lambda: Digits::ones(),
        base: Digits::ones(),
    };
    for (lane, (claim, inverse)) in claims.iter().zip(inverses).enumerate() {
        let of_point = order::product(&order::words(&claim.s), inverse);
        let (first, second) = order::split(&of_point);
        scalars.point.set(lane, &first.0, first.1);
        scalars.lambda.set(lane, &second.0, second.1);
        let of_base = order::product(&order::words(&claim.digest), inverse);
        let (odd, minus) = order::odd_of(&of_base);
        scalars.base.set(lane, &odd, !minus);
    }
    scalars
}

/// The points R of up to `ROOTS` times sixteen claims, and the lanes where there is one.
#[target_feature(enable = "avx512f,avx512ifma")]
fn lift(claims: &[Claim]) -> [(Affine, u16); ROOTS] {
    let mut bytes = [[[0; 32]; VECTOR]; 2 * ROOTS];
    let mut odd = [0u8; 2 * ROOTS];
    for (at, claim) in claims.iter().enumerate() {
        let (vector, lane) = (at / VECTOR, at % VECTOR);
        bytes[vector][lane] = claim.r;
        odd[vector] |= u8::from(claim.odd) << lane;
    }
    let seven = Field::splat([7, 0, 0, 0, 0]);
    let x = bytes.map(|bytes| field::from_bytes(&bytes));
    let squares = x.map(|x| x.square().mul(&x).add(&seven));
    let roots = power::square_root(&squares);
    let mut valid = [0; 2 * ROOTS];
    let mut y = roots;
    for k in 0..2 * ROOTS {
        let difference = roots[k].square().sub::<2>(&squares[k]).normalize();
        valid[k] = difference.zero_lanes();
        let root = roots[k].normalize();
        y[k] = root.negate_where(root.odd_lanes() ^ odd[k]).normalize();
    }
    std::array::from_fn(|k| {
        let (first, second) = (2 * k, 2 * k + 1);
        let point = Affine {
            x: Pair([x[first], x[second]]),
            y: Pair([y[first], y[second]]),
        };
        (point, u16::from_le_bytes([valid[first], valid[second]]))
    })
}

/// The sum of the multiples of a point and of G that the scalars name.
#[target_feature(enable = "avx512f,avx512ifma")]
fn combine(point: &Affine, scalars: &Scalars, base: &BaseTable, table: &mut LaneTable) -> Jacobian {
    let mut multiples = [*point; ENTRIES];
    let z = odd_multiples(point, &mut multiples);
    table.fill(&multiples);
    let (mut next, mut growth) = (*point, z);
    let last = HALF_WINDOWS - 1;
    table.multiples(&scalars.point, last, &mut next);
    next.y = next.y.normalize();
    let mut sum = Jacobian::from_affine(&next);
    table.lambda_multiples(&scalars.lambda, last, &mut next);
    sum.add(&next, &mut growth);
    for window in (0..last).rev() {
        for _ in 0..5 {
            sum.double();
        }
        table.multiples(&scalars.point, window, &mut next);
        sum.add(&next, &mut growth);
        table.lambda_multiples(&scalars.lambda, window, &mut next);
        sum.add(&next, &mut growth);
    }
    // Back from the curve of the table to secp256k1.
    sum.z = sum.z.mul(&z);
    for window in 0..WINDOWS {
        base.multiples(&scalars.base, window, &mut next);
        sum.add(&next, &mut growth);
    }
    sum
}

/// The inverses of all `z`, and the lanes where there is one.
#[target_feature(enable = "avx512f,avx512ifma")]
fn invert_z(sums: &[Jacobian]) -> (Vec<Pair>, Vec<u16>) {
    let one = Pair::splat([1, 0, 0, 0, 0]);
    let mut known = Vec::with_capacity(sums.len());
    let mut zs = Vec::with_capacity(sums.len());
    let mut before = Vec::with_capacity(sums.len());
    let mut all = one;
    for sum in sums {
        let zero = sum.z.normalize().zero_lanes();
        let z = sum.z.replace_where(zero, &one);
        known.push(!zero);
        zs.push(z);
        before.push(all);
        all = all.mul(&z);
    }
    let mut rest = Pair(power::invert(&all.0));
    let mut inverses = vec![one; sums.len()];
    for at in (0..sums.len()).rev() {
        inverses[at] = rest.mul(&before[at]);
        rest = rest.mul(&zs[at]);
    }
    (inverses, known)
}

/// The addresses of sixteen points, whose `z` have these inverses.
#[target_feature(enable = "avx512f,avx512ifma")]
fn addresses_of(point: &Jacobian, inverse: &Pair) -> [[Address; VECTOR]; 2] {
    let square = inverse.square();
    let x = point.x.mul(&square).normalize();
    let y = point.y.mul(&square.mul(inverse)).normalize();
    [0, 1].map(|vector| {
        let mut keys = [[0; 64]; VECTOR];
        for (half, field) in [x.0[vector], y.0[vector]].iter().enumerate() {
            for (k, words) in field.to_words().into_iter().enumerate() {
                let at = 32 * half + 24 - 8 * k;
                for (key, word) in keys.iter_mut().zip(store(words)) {
                    key[at..at + 8].copy_from_slice(&word.to_be_bytes());
                }
            }
        }
        keccak::eight(&keys).map(|hash| {
            let mut address = [0; 20];
            address.copy_from_slice(&hash[12..]);
            address
        })
    })
}
