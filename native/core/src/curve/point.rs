//! Points of secp256k1 in eight lanes: Jacobian doubling, mixed addition, tables of odd multiples.
//!
//! The formulas are the short, incomplete ones. Where one does not hold (the two points of an
//! addition have the same x, or one is the point at infinity) the resulting `z` is zero, and it
//! stays zero whatever is added or doubled afterwards, since every later `z` is a multiple of it.
//! So one look at the last `z` finds every lane whose result may be wrong, and no lane is trusted
//! whose `z` is zero. Points off the curve give nonsense, never a panic.

use std::arch::x86_64::__mmask8;

use super::field::Field;

/// A point (x, y); `x` has magnitude 1, `y` at most 2.
#[derive(Clone, Copy)]
pub struct Affine {
    pub x: Field,
    pub y: Field,
}

/// A point (x / z², y / z³); `x` and `y` have magnitude 1, `z` at most 2.
#[derive(Clone, Copy)]
pub struct Jacobian {
    pub x: Field,
    pub y: Field,
    pub z: Field,
}

impl Affine {
    /// The opposite point in the chosen lanes; `y` must have magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn negate_where(mut self, lanes: __mmask8) -> Affine {
        self.y = self.y.negate_where(lanes);
        self
    }
}

impl Jacobian {
    /// A point with `z` = 1; `y` must have magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn from_affine(point: &Affine) -> Jacobian {
        Jacobian {
            x: point.x,
            y: point.y,
            z: Field::splat([1, 0, 0, 0, 0]),
        }
    }

    /// `2 · self`: three products and four squares.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn double(&self) -> Jacobian {
        let slope = self.x.square_columns().reduce_times::<3>();
        let yy = self.y.square();
        let middle = self.x.columns(&yy).reduce_times::<4>();
        let x = slope.square_columns().minus_twice::<4>(&middle).reduce();
        let y = slope
            .columns(&middle.sub::<1>(&x))
            .minus_eight(&yy.square_columns())
            .reduce();
        let z = self.y.columns(&self.z).reduce_times::<2>();
        Jacobian { x, y, z }
    }

    /// `self + other`, and the factor by which `z` grew: eight products and three squares.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn add_affine(&self, other: &Affine) -> (Jacobian, Field) {
        let zz = self.z.square();
        let run = other.x.columns(&zz).minus_field::<1>(&self.x).reduce();
        let zzz = self.z.mul(&zz);
        let rise = other.y.columns(&zzz).minus_field::<1>(&self.y).reduce();
        let run2 = run.square();
        let run3 = run.mul(&run2);
        let base = self.x.mul(&run2);
        let x = rise
            .square_columns()
            .minus_field::<1>(&run3)
            .minus_twice::<1>(&base)
            .reduce();
        let y = rise
            .columns(&base.sub::<1>(&x))
            .minus(&self.y.columns(&run3))
            .reduce();
        let z = self.z.mul(&run);
        (Jacobian { x, y, z }, run)
    }
}

/// The multiples 1, 3, 5 … 2 N − 1 of a point as affine points of a curve that is isomorphic to
/// secp256k1, and the `z` that leads back: (x, y) there is (x / z², y / z³) here. The formulas of
/// this file use no constant of the curve, so they hold there too. All magnitudes are 1.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn odd_multiples<const N: usize>(point: &Affine, out: &mut [Affine; N]) -> Field {
    let twice = Jacobian::from_affine(point).double();
    // On the curve scaled by the z of the double, the double is affine.
    let zz = twice.z.square();
    let step = Affine {
        x: twice.x,
        y: twice.y,
    };
    out[0] = Affine {
        x: point.x.mul(&zz),
        y: point.y.mul(&zz.mul(&twice.z)),
    };
    let mut growth = [Field::splat([1, 0, 0, 0, 0]); N];
    let mut current = Jacobian::from_affine(&out[0]);
    for k in 1..N {
        (current, growth[k]) = current.add_affine(&step);
        out[k] = Affine {
            x: current.x,
            y: current.y,
        };
    }
    // Multiple k still has a z of its own; all are scaled to the last one's.
    let mut factor = growth[N - 1];
    for k in (0..N - 1).rev() {
        let square = factor.square();
        out[k].x = out[k].x.mul(&square);
        out[k].y = out[k].y.mul(&square.mul(&factor));
        factor = factor.mul(&growth[k]);
    }
    current.z.mul(&twice.z)
}
