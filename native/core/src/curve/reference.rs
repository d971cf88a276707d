//! Slow arithmetic that is plain to see, and chance, for the tests of this room.

use super::order::Words;

/// p.
pub const P: Words = [0xffff_fffe_ffff_fc2f, u64::MAX, u64::MAX, u64::MAX];

/// `a + b` modulo `m`, for both below `m`.
pub fn sum(a: &Words, b: &Words, m: &Words) -> Words {
    let mut out = [0u64; 4];
    let mut carry = 0u128;
    for k in 0..4 {
        carry += u128::from(a[k]) + u128::from(b[k]);
        out[k] = carry as u64;
        carry >>= 64;
    }
    let over = carry > 0 || out.iter().rev().ge(m.iter().rev());
    if over { difference(&out, m) } else { out }
}

/// `a − b` modulo 2^256.
pub fn difference(a: &Words, b: &Words) -> Words {
    let mut out = [0u64; 4];
    let mut carry = 1u128;
    for k in 0..4 {
        carry += u128::from(a[k]) + u128::from(!b[k]);
        out[k] = carry as u64;
        carry >>= 64;
    }
    out
}

/// `a · b` modulo `m`, bit by bit, for `b` below `m`.
pub fn product(a: &Words, b: &Words, m: &Words) -> Words {
    (0..256).rev().fold([0; 4], |all, bit| {
        let twice = sum(&all, &all, m);
        if a[bit / 64] >> (bit % 64) & 1 == 1 {
            sum(&twice, b, m)
        } else {
            twice
        }
    })
}

/// A stream of numbers that is the same for the same seed (splitmix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn coin(&mut self) -> bool {
        self.word() & 1 == 1
    }

    /// A number below `m`, which is more than 2^255. Every other one is near 0, near `m`, or full
    /// of long runs of equal bits.
    pub fn below(&mut self, m: &Words) -> Words {
        let near = [self.word() % 4, 0, 0, 0];
        let found = match self.word() % 6 {
            0 => near,
            1 => difference(m, &[near[0] + 1, 0, 0, 0]),
            2 => std::array::from_fn(|_| match self.word() % 3 {
                0 => 0,
                1 => u64::MAX,
                _ => self.word() >> (self.word() % 64),
            }),
            _ => std::array::from_fn(|_| self.word()),
        };
        if found.iter().rev().ge(m.iter().rev()) {
            difference(&found, m)
        } else {
            found
        }
    }
}
