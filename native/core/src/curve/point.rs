//! Points of secp256k1 in sixteen lanes: Jacobian doubling, mixed addition, tables of odd multiples.
//!
//! The formulas are the short, incomplete ones. Where one does not hold (the two points of an
//! addition have the same x, or one is the point at infinity) the resulting `z` is zero, and it
//! stays zero whatever is added or doubled afterwards, since every later `z` is a multiple of it.
//! So one look at the last `z` finds every lane whose result may be wrong, and no lane is trusted
//! whose `z` is zero. Points off the curve give nonsense, never a panic.

use super::pair::Pair;

/// A point (x, y); `x` has magnitude 1, `y` at most 2.
#[derive(Clone, Copy)]
pub struct Affine {
    pub x: Pair,
    pub y: Pair,
}

/// A point (x / z², y / z³); `x` and `y` have magnitude 1, `z` at most 2.
#[derive(Clone, Copy)]
pub struct Jacobian {
    pub x: Pair,
    pub y: Pair,
    pub z: Pair,
}

impl Jacobian {
    /// A point with `z` = 1; `y` must have magnitude 1.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn from_affine(point: &Affine) -> Jacobian {
        Jacobian {
            x: point.x,
            y: point.y,
            z: Pair::splat([1, 0, 0, 0, 0]),
        }
    }

    /// Doubles the point: three products and four squares.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn double(&mut self) {
        let slope = self.x.square_times::<3>();
        let yy = self.y.square();
        let middle = self.x.mul_times::<4>(&yy);
        self.z = self.y.mul_times::<2>(&self.z);
        self.x = slope.square_minus_twice(&middle);
        self.y = slope.mul_minus_eight_squares(&middle.sub(&self.x), &yy);
    }

    /// Adds a point, and gives the factor by which `z` grew: eight products and three squares.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn add(&mut self, other: &Affine, growth: &mut Pair) {
        let zz = self.z.square();
        let run = other.x.mul_minus(&zz, &self.x);
        let zzz = self.z.mul(&zz);
        let rise = other.y.mul_minus(&zzz, &self.y);
        let run2 = run.square();
        let run3 = run.mul(&run2);
        let base = self.x.mul(&run2);
        self.z = self.z.mul(&run);
        self.x = rise.square_minus_and_twice(&run3, &base);
        self.y = rise.mul_minus_product(&base.sub(&self.x), &self.y, &run3);
        *growth = run;
    }
}

/// The multiples 1, 3, 5 … 2 N − 1 of a point as affine points of a curve that is isomorphic to
/// secp256k1, and the `z` that leads back: (x, y) there is (x / z², y / z³) here. The formulas of
/// this file use no constant of the curve, so they hold there too. All magnitudes are 1.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn odd_multiples<const N: usize>(point: &Affine, out: &mut [Affine; N]) -> Pair {
    let mut twice = Jacobian::from_affine(point);
    twice.double();
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
    let mut growth = [Pair::splat([1, 0, 0, 0, 0]); N];
    let mut current = Jacobian::from_affine(&out[0]);
    for k in 1..N {
        current.add(&step, &mut growth[k]);
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
