//! The recovery of many signers: Q = (s / r) R − (z / r) G for each signature (r, s) of a digest z.
//!
//! The scalar of R is split in two odd halves of 130 bits (R and λ R) whose digits of 5 bits share
//! the doublings; the scalar of G has digits of 8 bits in a table without doublings. Inversions are
//! shared by all claims of a group, chains of squares by several vectors.

use super::base::BaseTable;
use super::field::{self, Field};
use super::order::{self, Digits, HALF_WINDOWS, WINDOWS};
use super::point::{Affine, Jacobian, odd_multiples};
use super::power;
use super::rows::{ENTRIES, LaneTable};
use super::{Claim, LANES, Signer, keccak};

/// Claims that share their inversions: 64 vectors, some 150 KiB of scalars and points.
const GROUP: usize = 512;
/// Vectors whose square roots are taken in turn.
const ROOTS: usize = 4;

/// What is multiplied in a vector of claims.
struct Scalars {
    point: Digits<HALF_WINDOWS>,
    lambda: Digits<HALF_WINDOWS>,
    base: Digits<WINDOWS>,
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
    let scalars = scalars_of(claims);
    let mut points = Vec::with_capacity(scalars.len());
    let mut on_curve = Vec::with_capacity(scalars.len());
    for vectors in claims.chunks(LANES * ROOTS) {
        let (lifted, valid) = lift(vectors);
        let count = vectors.len().div_ceil(LANES);
        points.extend_from_slice(&lifted[..count]);
        on_curve.extend_from_slice(&valid[..count]);
    }
    let table = BaseTable::get();
    let sums: Vec<Jacobian> = points
        .iter()
        .zip(&scalars)
        .map(|(point, scalars)| combine(point, scalars, table))
        .collect();
    let (inverses, known) = invert_z(&sums);
    for (at, claims) in claims.chunks(LANES).enumerate() {
        let addresses = addresses_of(&sums[at], &inverses[at]);
        for (lane, address) in addresses[..claims.len()].iter().enumerate() {
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

/// The digits of s / r and −z / r, eight claims a vector. Lanes without a claim have digits too.
fn scalars_of(claims: &[Claim]) -> Vec<Scalars> {
    let mut inverses: Vec<_> = claims.iter().map(|claim| order::words(&claim.r)).collect();
    order::invert_all(&mut inverses);
    let vectors = claims.chunks(LANES).zip(inverses.chunks(LANES));
    vectors
        .map(|(claims, inverses)| {
            let mut scalars = Scalars {
                point: Digits::empty(),
                lambda: Digits::empty(),
                base: Digits::empty(),
            };
            for (lane, (claim, inverse)) in claims.iter().zip(inverses).enumerate() {
                let of_point = order::product(&order::words(&claim.s), inverse);
                let (first, second) = order::split(&of_point);
                scalars.point.set::<5>(lane, &first.0, first.1);
                scalars.lambda.set::<5>(lane, &second.0, second.1);
                let of_base = order::product(&order::words(&claim.digest), inverse);
                let (odd, minus) = order::odd_of(&of_base);
                scalars.base.set::<8>(lane, &odd, !minus);
            }
            scalars
        })
        .collect()
}

/// The points R of up to `ROOTS` vectors of claims, and the lanes where there is one.
#[target_feature(enable = "avx512f,avx512ifma")]
fn lift(claims: &[Claim]) -> ([Affine; ROOTS], [u8; ROOTS]) {
    let mut bytes = [[[0; 32]; LANES]; ROOTS];
    let mut odd = [0u8; ROOTS];
    for (at, claim) in claims.iter().enumerate() {
        let (vector, lane) = (at / LANES, at % LANES);
        bytes[vector][lane] = claim.r;
        odd[vector] |= u8::from(claim.odd) << lane;
    }
    let seven = Field::splat([7, 0, 0, 0, 0]);
    let mut points = [Affine { x: seven, y: seven }; ROOTS];
    let mut squares = [seven; ROOTS];
    for k in 0..ROOTS {
        points[k].x = field::from_bytes(&bytes[k]);
        squares[k] = points[k].x.square().mul(&points[k].x).add(&seven);
    }
    let roots = power::square_root(&squares);
    let mut valid = [0; ROOTS];
    for k in 0..ROOTS {
        let difference = roots[k].square().sub::<2>(&squares[k]).normalize();
        valid[k] = difference.zero_lanes();
        let root = roots[k].normalize();
        points[k].y = root.negate_where(root.odd_lanes() ^ odd[k]).normalize();
    }
    (points, valid)
}

/// The sum of the multiples of a point and of G that the scalars name.
#[target_feature(enable = "avx512f,avx512ifma")]
fn combine(point: &Affine, scalars: &Scalars, base: &BaseTable) -> Jacobian {
    let mut multiples = [*point; ENTRIES];
    let z = odd_multiples(point, &mut multiples);
    let mut table = LaneTable::empty();
    table.fill(&multiples);
    let of_point = |window: usize| {
        let digits = &scalars.point;
        table
            .multiples(&digits.index[window])
            .negate_where(digits.minus[window])
    };
    let of_lambda = |window: usize| {
        let digits = &scalars.lambda;
        table
            .lambda_multiples(&digits.index[window])
            .negate_where(digits.minus[window])
    };
    let mut first = of_point(HALF_WINDOWS - 1);
    first.y = first.y.normalize();
    let mut sum = Jacobian::from_affine(&first);
    sum = sum.add_affine(&of_lambda(HALF_WINDOWS - 1)).0;
    for window in (0..HALF_WINDOWS - 1).rev() {
        for _ in 0..5 {
            sum = sum.double();
        }
        sum = sum.add_affine(&of_point(window)).0;
        sum = sum.add_affine(&of_lambda(window)).0;
    }
    // Back from the curve of the table to secp256k1.
    sum.z = sum.z.mul(&z);
    for window in 0..WINDOWS {
        let digits = &scalars.base;
        let multiple = base
            .multiples(window, &digits.index[window])
            .negate_where(digits.minus[window]);
        sum = sum.add_affine(&multiple).0;
    }
    sum
}

/// The inverses of all `z`, and the lanes where there is one.
#[target_feature(enable = "avx512f,avx512ifma")]
fn invert_z(sums: &[Jacobian]) -> (Vec<Field>, Vec<u8>) {
    let one = Field::splat([1, 0, 0, 0, 0]);
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
    let [mut rest] = power::invert(&[all]);
    let mut inverses = vec![one; sums.len()];
    for at in (0..sums.len()).rev() {
        inverses[at] = rest.mul(&before[at]);
        rest = rest.mul(&zs[at]);
    }
    (inverses, known)
}

/// The addresses of eight points, whose `z` have these inverses.
#[target_feature(enable = "avx512f,avx512ifma")]
fn addresses_of(point: &Jacobian, inverse: &Field) -> [crate::Address; LANES] {
    let square = inverse.square();
    let x = point.x.mul(&square).normalize();
    let y = point.y.mul(&square.mul(inverse)).normalize();
    let mut keys = [[0; 64]; LANES];
    for (half, field) in [x, y].iter().enumerate() {
        for (k, words) in field.to_words().into_iter().enumerate() {
            let at = 32 * half + 24 - 8 * k;
            for (key, word) in keys.iter_mut().zip(field::store(words)) {
                key[at..at + 8].copy_from_slice(&word.to_be_bytes());
            }
        }
    }
    keccak::eight(&keys).map(|hash| {
        let mut address = [0; 20];
        address.copy_from_slice(&hash[12..]);
        address
    })
}
