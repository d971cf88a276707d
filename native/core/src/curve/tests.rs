//! The lanes against slow integers and against libsecp256k1's points.

use secp256k1::{PublicKey, SecretKey};

use super::base::{BaseTable, affine};
use super::digits::{Digits, HALF_WINDOWS, WINDOWS};
use super::field::Field;
use super::order::{self, N, Words};
use super::pair::Pair;
use super::point::{Affine, Jacobian, odd_multiples};
use super::reference::{Chance, P, difference, product, sum};
use super::vector::{load, store};
use super::{LANES, VECTOR, power};
use crate::cpu::{self, Level};

type Eight = [Words; VECTOR];
type Sixteen = [Words; LANES];

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
            let aa = times(&a, &a);
            assert_eq!(out_of(&fa.mul_times::<2>(&fb)), scaled(&ab, 2));
            assert_eq!(out_of(&fa.mul_times::<3>(&fb)), scaled(&ab, 3));
            assert_eq!(out_of(&fa.mul_times::<4>(&fb)), scaled(&ab, 4));
            assert_eq!(out_of(&fa.square_times::<3>()), scaled(&aa, 3));
            assert_eq!(out_of(&fa.mul_minus(&fb, &fc)), minus(&ab, &c));
            let products = fa.mul_minus_product(&fb, &fc, &fd);
            assert_eq!(out_of(&products), minus(&ab, &times(&c, &d)));
            let eight = scaled(&times(&c, &c), 8);
            assert_eq!(out_of(&fa.mul_minus_eight_squares(&fb, &fc)), minus(&ab, &eight));
            let twice = minus(&aa, &scaled(&c, 2));
            assert_eq!(out_of(&fa.square_minus_twice(&fc)), twice);
            assert_eq!(out_of(&fa.square_minus_and_twice(&fd, &fc)), minus(&twice, &d));
            let four = fc.mul_times::<4>(&fd);
            let less = minus(&aa, &scaled(&times(&c, &d), 8));
            assert_eq!(out_of(&fa.square_minus_twice(&four)), less);
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
        let point = affine(&keys(1));
        let mut sum = Jacobian::from_affine(&point);
        let mut growth = sum.z;
        sum.double();
        assert_eq!(plain(&sum), plain_keys(2));
        sum.add(&point, &mut growth);
        assert_eq!(plain(&sum), plain_keys(3));
        sum.double();
        assert_eq!(plain(&sum), plain_keys(6));
        sum.add(&opposite(&point), &mut growth);
        assert_eq!(plain(&sum), plain_keys(5));
        let mut multiples = [point; 16];
        let z = odd_multiples(&point, &mut multiples);
        for (k, multiple) in multiples.iter().enumerate() {
            let found = Jacobian { x: multiple.x, y: multiple.y, z };
            assert_eq!(plain(&found), plain_keys(2 * k as u64 + 1), "{k}");
        }
    };
    exceptional_sums_have_no_z => {
        let point = affine(&keys(1));
        // P + P and P − P; nothing that follows brings z back.
        for other in [point, opposite(&point)] {
            let mut sum = Jacobian::from_affine(&point);
            let mut growth = sum.z;
            sum.add(&other, &mut growth);
            for _ in 0..3 {
                assert_eq!(sum.z.normalize().zero_lanes(), 0xffff);
                sum.double();
                sum.add(&point, &mut growth);
            }
        }
        let mut double = Jacobian::from_affine(&point);
        double.double();
        assert_eq!(double.z.normalize().zero_lanes(), 0);
    };
    the_table_of_g_is_libsecp256k1s => {
        let table = BaseTable::get();
        let mut found = affine(&keys(1));
        for window in 0..WINDOWS {
            // Lane by lane another multiple of 256^window.
            let mut digits = Digits::<WINDOWS, 8>::ones();
            let mut expected = Vec::new();
            for lane in 0..LANES {
                // Window 0 of these is the digit alone; in window w the plain digit is the byte.
                let mut odd = [1, 0, 0, 0];
                let byte = (lane * 17) as u64;
                let bit = window * 8 + 1;
                odd[bit / 64] |= byte << (bit % 64);
                if bit % 64 > 56 && bit / 64 < 3 {
                    odd[bit / 64 + 1] |= byte >> (64 - bit % 64);
                }
                digits.set(lane, &odd, false);
                let (entries, minus) = digits.entries(window, lane / VECTOR);
                let size = 2 * entries[lane % VECTOR] + 1;
                let mut scalar = [0; 32];
                scalar[31 - window] = size as u8;
                let mut secret = crate::voucher::secret_key(scalar).unwrap();
                if minus >> (lane % VECTOR) & 1 == 1 {
                    secret = secret.negate();
                }
                expected.push(PublicKey::from_secret_key(&secret));
            }
            table.multiples(&digits, window, &mut found);
            let expected: [PublicKey; LANES] = expected.try_into().unwrap();
            assert_eq!(both(&found), both(&affine(&expected)));
        }
    };
    digits_add_up => {
        let mut chance = Chance(5);
        let mut full = Digits::<WINDOWS, 8>::ones();
        let mut short = Digits::<HALF_WINDOWS, 5>::ones();
        assert_eq!(value(&full, 3), [1, 0, 0, 0]);
        for case in 0..CASES {
            let lane = case % LANES;
            let mut number = chance.below(&N);
            number[0] |= 1;
            let minus = chance.coin();
            full.set(lane, &number, minus);
            assert_eq!(value(&full, lane), signed(&(number, minus)));
            let half = [number[0], number[1], number[2] & 3, 0];
            short.set(lane, &half, minus);
            assert_eq!(value(&short, lane), signed(&(half, minus)));
        }
    };
}

/// The public keys of 5 · times, 6 · times …
fn keys(times: u64) -> [PublicKey; LANES] {
    std::array::from_fn(|lane| PublicKey::from_secret_key(&secret((lane as u64 + 5) * times)))
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn both(point: &Affine) -> (Sixteen, Sixteen) {
    (sixteen(&point.x), sixteen(&point.y))
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn plain_keys(times: u64) -> (Sixteen, Sixteen) {
    both(&affine(&keys(times)))
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn sixteen(pair: &Pair) -> Sixteen {
    let [first, second] = pair.0.map(|field| out_of(&field));
    std::array::from_fn(|lane| {
        if lane < VECTOR {
            first[lane]
        } else {
            second[lane - VECTOR]
        }
    })
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn opposite(point: &Affine) -> Affine {
    let y = Pair(point.y.0.map(|y| y.negate_where(0xff)));
    Affine { x: point.x, y }
}

fn secret(number: u64) -> SecretKey {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    crate::voucher::secret_key(bytes).unwrap()
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn plain(point: &Jacobian) -> (Sixteen, Sixteen) {
    let inverse = Pair(power::invert(&point.z.0));
    let square = inverse.square();
    both(&Affine {
        x: point.x.mul(&square),
        y: point.y.mul(&square.mul(&inverse)),
    })
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
#[target_feature(enable = "avx512f")]
fn value<const W: usize, const BITS: usize>(digits: &Digits<W, BITS>, lane: usize) -> Words {
    let mut all = [0; 4];
    for window in (0..W).rev() {
        let (entries, minus) = digits.entries(window, lane / VECTOR);
        let digit = [entries[lane % VECTOR] * 2 + 1, 0, 0, 0];
        let minus = minus >> (lane % VECTOR) & 1 == 1;
        let shifted = product(&[1 << BITS, 0, 0, 0], &all, &N);
        all = sum(&shifted, &signed(&(digit, minus)), &N);
    }
    all
}
