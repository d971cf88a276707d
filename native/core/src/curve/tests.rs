//! The lanes against slow integers and against libsecp256k1's points.

use secp256k1::{PublicKey, SecretKey};

use super::field::{self, Field, load, store};
use super::order::{self, Digits, HALF_WINDOWS, N, WINDOWS, Words};
use super::point::{Affine, Jacobian, odd_multiples};
use super::reference::{Chance, P, difference, product, sum};
use super::{LANES, power};
use crate::cpu::{self, Level};

type Eight = [Words; LANES];

/// Runs a test of lanes where there are lanes.
macro_rules! lanes {
    ($($name:ident => $body:expr;)*) => {$(
        #[test]
        fn $name() {
            #[target_feature(enable = "avx512f,avx512ifma")]
            fn body() {
                $body
            }
            if cpu::detected() < Level::Avx512 {
                eprintln!("no lanes here: nothing tested");
                return;
            }
            // SAFETY: the processor has AVX-512 F and IFMA.
            unsafe { body() }
        }
    )*};
}

#[target_feature(enable = "avx512f")]
fn into(numbers: &Eight) -> Field {
    let word = |k: usize| load(&numbers.map(|number| number[k]));
    Field::from_words(&[word(0), word(1), word(2), word(3)])
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn out_of(field: &Field) -> Eight {
    let words = field.normalize().to_words().map(|word| store(word));
    std::array::from_fn(|lane| std::array::from_fn(|k| words[k][lane]))
}

fn each(a: &Eight, b: &Eight, f: impl Fn(&Words, &Words) -> Words) -> Eight {
    std::array::from_fn(|lane| f(&a[lane], &b[lane]))
}

fn multiple(a: &Words, times: u64) -> Words {
    product(&[times, 0, 0, 0], a, &P)
}

const CASES: usize = 300;

lanes! {
    field_operations_are_those_of_integers => {
        let mut chance = Chance(1);
        for _ in 0..CASES {
            let [a, b, c, d]: [Eight; 4] =
                std::array::from_fn(|_| std::array::from_fn(|_| chance.below(&P)));
            let minus = |a: &Eight, b: &Eight| each(a, b, |a, b| sum(a, &difference(&P, b), &P));
            let times = |a: &Eight, b: &Eight| each(a, b, |a, b| product(a, b, &P));
            let scaled = |a: &Eight, by: u64| a.map(|a| multiple(&a, by));
            let [fa, fb, fc, fd] = [into(&a), into(&b), into(&c), into(&d)];
            assert_eq!(out_of(&fa), a);
            let ab = times(&a, &b);
            assert_eq!(out_of(&fa.mul(&fb)), ab);
            assert_eq!(out_of(&fa.square()), times(&a, &a));
            assert_eq!(out_of(&fa.add(&fb)), each(&a, &b, |a, b| sum(a, b, &P)));
            assert_eq!(out_of(&fa.sub::<1>(&fb)), minus(&a, &b));
            assert_eq!(out_of(&fa.sub::<4>(&fb).mul(&fc.sub::<13>(&fd))), times(&minus(&a, &b), &minus(&c, &d)));
            let columns = fa.columns(&fb);
            assert_eq!(out_of(&columns.reduce_times::<2>()), scaled(&ab, 2));
            assert_eq!(out_of(&columns.reduce_times::<3>()), scaled(&ab, 3));
            assert_eq!(out_of(&columns.reduce_times::<4>()), scaled(&ab, 4));
            assert_eq!(out_of(&columns.minus(&fc.columns(&fd)).reduce()), minus(&ab, &times(&c, &d)));
            assert_eq!(out_of(&columns.minus_eight(&fc.square_columns()).reduce()), minus(&ab, &scaled(&times(&c, &c), 8)));
            assert_eq!(out_of(&columns.minus_field::<1>(&fc).reduce()), minus(&ab, &c));
            assert_eq!(out_of(&columns.minus_twice::<1>(&fc).reduce()), minus(&ab, &scaled(&c, 2)));
            assert_eq!(out_of(&fa.negate_where(0x55)), std::array::from_fn(|lane| {
                if lane % 2 == 0 { sum(&[0; 4], &difference(&P, &a[lane]), &P) } else { a[lane] }
            }));
            assert_eq!(out_of(&fa.replace_where(0x0f, &fb)), std::array::from_fn(|lane| if lane < 4 { b[lane] } else { a[lane] }));
            for (lane, a) in a.iter().enumerate() {
                assert_eq!(fa.zero_lanes() >> lane & 1 == 1, *a == [0; 4]);
                assert_eq!(u64::from(fa.odd_lanes() >> lane & 1), a[0] & 1);
            }
        }
    };
    numbers_from_p_on_are_normalized => {
        // p, p + 1 … and the greatest limbs that magnitude 15 allows.
        for above in 0..3u64 {
            let limbs = [0xf_fffe_ffff_fc2f + above, (1 << 52) - 1, (1 << 52) - 1, (1 << 52) - 1, (1 << 48) - 1];
            assert_eq!(out_of(&Field::splat(limbs))[0], [above, 0, 0, 0]);
        }
        let most = Field::splat([(1 << 52) - 1; 5]);
        // 2^260 − 1 is 16 · (2^32 + 977) − 1 modulo p.
        assert_eq!(out_of(&most)[0], [0x10_0000_3d0f, 0, 0, 0]);
        let squared = product(&[0x10_0000_3d0f, 0, 0, 0], &[0x10_0000_3d0f, 0, 0, 0], &P);
        assert_eq!(out_of(&most.mul(&most))[0], squared);
        assert_eq!(out_of(&most.square())[0], squared);
    };
    roots_and_inverses => {
        let mut chance = Chance(2);
        let one: Words = [1, 0, 0, 0];
        for _ in 0..20 {
            let a: Eight = std::array::from_fn(|_| chance.below(&P));
            let field = into(&a);
            let [inverse] = power::invert(&[field]);
            let expected = a.map(|a| if a == [0; 4] { a } else { one });
            assert_eq!(out_of(&inverse.mul(&field)), expected);
            let square = field.square();
            let [root, other] = power::square_root(&[square, field.square().square()]);
            assert_eq!(out_of(&root.square()), out_of(&square));
            assert_eq!(out_of(&other.square()), out_of(&square.square()));
        }
    };
    points_are_those_of_libsecp256k1 => {
        let keys: [PublicKey; LANES] = std::array::from_fn(|lane| PublicKey::from_secret_key(&secret(lane as u64 + 5)));
        let point = affine(&keys);
        let at = |times: u64| coordinates(&std::array::from_fn(|lane| PublicKey::from_secret_key(&secret((lane as u64 + 5) * times))));
        let double = Jacobian::from_affine(&point).double();
        assert_eq!(plain(&double), at(2));
        assert_eq!(plain(&double.double()), at(4));
        assert_eq!(plain(&double.add_affine(&point).0), at(3));
        let back = double.add_affine(&point).0.add_affine(&point.negate_where(0xff)).0;
        assert_eq!(plain(&back), at(2));
        let mut multiples = [point; 16];
        let z = odd_multiples(&point, &mut multiples);
        for (k, multiple) in multiples.iter().enumerate() {
            let found = Jacobian { x: multiple.x, y: multiple.y, z };
            assert_eq!(plain(&found), at(2 * k as u64 + 1), "{k}");
        }
    };
    exceptional_sums_have_no_z => {
        let keys: [PublicKey; LANES] = std::array::from_fn(|lane| PublicKey::from_secret_key(&secret(lane as u64 + 5)));
        let point = affine(&keys);
        // P + P in even lanes, P − P in odd ones; nothing that follows brings z back.
        let start = Jacobian::from_affine(&point);
        let mut sum = start.add_affine(&point.negate_where(0xaa)).0;
        for _ in 0..3 {
            assert_eq!(sum.z.normalize().zero_lanes(), 0xff);
            sum = sum.double().add_affine(&point).0;
        }
        assert_eq!(start.double().z.normalize().zero_lanes(), 0);
    };
    the_table_of_g_is_libsecp256k1s => {
        let table = super::base::BaseTable::get();
        for (window, entry) in [(0usize, 0u8), (0, 127), (1, 3), (17, 64), (31, 127)] {
            let found = table.multiples(window, &[entry; LANES]);
            let mut scalar = [0; 32];
            scalar[31 - window] = 2 * entry + 1;
            let key = PublicKey::from_secret_key(&crate::voucher::secret_key(scalar).unwrap());
            assert_eq!((out_of(&found.x), out_of(&found.y)), coordinates(&[key; LANES]));
        }
    };
}

fn secret(number: u64) -> SecretKey {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    crate::voucher::secret_key(bytes).unwrap()
}

fn halves(keys: &[PublicKey; LANES]) -> ([[u8; 32]; LANES], [[u8; 32]; LANES]) {
    let bytes = keys.map(|key| key.serialize_uncompressed());
    let half = |from: usize| bytes.map(|bytes| std::array::from_fn(|at| bytes[from + at]));
    (half(1), half(33))
}

fn coordinates(keys: &[PublicKey; LANES]) -> (Eight, Eight) {
    let (x, y) = halves(keys);
    (x.map(|x| order::words(&x)), y.map(|y| order::words(&y)))
}

#[target_feature(enable = "avx512f")]
fn affine(keys: &[PublicKey; LANES]) -> Affine {
    let (x, y) = halves(keys);
    Affine {
        x: field::from_bytes(&x),
        y: field::from_bytes(&y),
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn plain(point: &Jacobian) -> (Eight, Eight) {
    let [inverse] = power::invert(&[point.z]);
    let square = inverse.square();
    (
        out_of(&point.x.mul(&square)),
        out_of(&point.y.mul(&square.mul(&inverse))),
    )
}

#[test]
fn products_and_inverses_modulo_the_order() {
    let mut chance = Chance(3);
    // 2^256 modulo n.
    let radix = difference(&[0; 4], &N);
    for _ in 0..CASES {
        let (a, b) = (chance.below(&[u64::MAX; 4]), chance.below(&N));
        let found = order::product(&a, &b);
        assert_eq!(product(&found, &radix, &N), product(&a, &b, &N));
    }
    for count in [0, 1, 2, 3, 30] {
        let numbers: Vec<Words> = (0..count)
            .map(|_| {
                loop {
                    let number = chance.below(&N);
                    if number != [0; 4] {
                        break number;
                    }
                }
            })
            .collect();
        let mut inverses = numbers.clone();
        order::invert_all(&mut inverses);
        for (number, inverse) in numbers.iter().zip(&inverses) {
            assert_eq!(product(number, inverse, &N), radix);
        }
    }
}

fn signed((size, minus): &order::Half) -> Words {
    let size = product(size, &[1, 0, 0, 0], &N);
    if *minus && size != [0; 4] {
        difference(&N, &size)
    } else {
        size
    }
}

#[test]
fn halves_are_odd_short_and_add_up() {
    const LAMBDA: Words = [
        0xdf02_967c_1b23_bd72,
        0x122e_22ea_2081_6678,
        0xa526_1c02_8812_645a,
        0x5363_ad4c_c05c_30e0,
    ];
    let mut chance = Chance(4);
    for _ in 0..CASES * 10 {
        let k = chance.below(&N);
        let (a, b) = order::split(&k);
        for (size, _) in [&a, &b] {
            assert!(size[0] & 1 == 1 && size[3] == 0 && size[2] < 4, "{size:x?}");
        }
        let again = sum(&signed(&a), &product(&signed(&b), &LAMBDA, &N), &N);
        assert_eq!(again, k);
        let (odd, minus) = order::odd_of(&k);
        assert_eq!((odd[0] & 1, signed(&(odd, minus))), (1, k));
    }
}

/// The number modulo n that the digits of a lane stand for.
fn value<const W: usize>(digits: &Digits<W>, lane: usize, bits: usize) -> Words {
    (0..W).rev().fold([0; 4], |all, window| {
        let shifted = product(&[1 << bits, 0, 0, 0], &all, &N);
        let digit = [u64::from(digits.index[window][lane]) * 2 + 1, 0, 0, 0];
        let minus = digits.minus[window] >> lane & 1 == 1;
        sum(&shifted, &signed(&(digit, minus)), &N)
    })
}

#[test]
fn digits_add_up() {
    let mut chance = Chance(5);
    let mut full = Digits::<WINDOWS>::empty();
    let mut short = Digits::<HALF_WINDOWS>::empty();
    for case in 0..CASES {
        let lane = case % LANES;
        let mut number = chance.below(&N);
        number[0] |= 1;
        let minus = chance.coin();
        full.set::<8>(lane, &number, minus);
        assert_eq!(value(&full, lane, 8), signed(&(number, minus)));
        let half = [number[0], number[1], number[2] & 3, 0];
        short.set::<5>(lane, &half, minus);
        assert_eq!(value(&short, lane, 5), signed(&(half, minus)));
    }
}
