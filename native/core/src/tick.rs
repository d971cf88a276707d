//! Owns the chain behind ticks: values of 32 bytes, each the SHA-256 of the one behind it.
//!
//! A chain of `length` values has a secret end, `value(length)`; `value(i − 1) = link(value(i))`, and its root is
//! `value(0)`. Tick `k` is `value(k)`: checking it takes as many links as it is ahead of the tick that is
//! known. A link costs about 50 ns alone and 14 to 20 ns among many ([`check_all`]).

use crate::cpu;
use crate::error::Error;
use crate::hash::links::{self, Walk};
use crate::records::{bytes, row, u16_at};
use crate::status::Status;

pub use crate::records::row::tick_step;

/// A value of a chain.
pub type Tick = [u8; 32];

/// The greatest length of a chain, so that a hostile number of steps has a bounded cost: 3 ms.
pub const LENGTH_MAX: u32 = 65_536;

/// SHA-256 of the value.
#[must_use]
pub fn link(value: &Tick) -> Tick {
    walk(value, 1)
}

/// The value `steps` links on. Costs `steps` links, one after the other.
#[must_use]
pub fn walk(value: &Tick, steps: u32) -> Tick {
    links::walk(value, steps)
}

/// The root of the chain of `length` values that ends in `secret`. Costs `length` links.
#[must_use]
pub fn tip(secret: &Tick, length: u32) -> Tick {
    walk(secret, length)
}

/// The least number of links, from 1 to `steps_max`, that lead from `value` to `previous`; none if no such
/// number does. Costs as many links as it answers, `steps_max` if none.
#[must_use]
pub fn check(previous: &Tick, value: &Tick, steps_max: u32) -> Option<u32> {
    let mut at = *value;
    (1..=steps_max).find(|_| {
        at = link(&at);
        at == *previous
    })
}

/// One status byte per `tick_step` record: `ok`; `bad_range` where the number of steps is 0;
/// `bad_signature` where that many links do not lead from the value to the previous one.
///
/// Costs the links of all records together, side by side: records of callers that wait at the same time
/// belong into one call. Refuses a size that is not a whole number of records with `BAD_ARGUMENT`.
pub fn check_all(buffer: &[u8]) -> Result<Vec<u8>, Error> {
    let records = row::records(buffer, tick_step::LAYOUT.stride, "tick steps")?;
    let mut walks: Vec<Walk> = records
        .clone()
        .map(|record| Walk {
            value: bytes(record, tick_step::VALUE),
            steps: u32::from(u16_at(record, tick_step::STEPS)),
        })
        .collect();
    // Walked where they stand: a walk knows its number of steps afterwards too.
    links::walk_all(cpu::level(), &mut walks);
    let statuses = records.zip(&walks).map(|(record, walk)| {
        let previous: Tick = bytes(record, tick_step::PREVIOUS);
        match walk.steps {
            0 => Status::BadRange,
            _ if walk.value == previous => Status::Ok,
            _ => Status::BadSignature,
        }
    });
    Ok(statuses.map(|status| status as u8).collect())
}

/// A payer's chain: every value in order from the root, at less than two links each.
///
/// It keeps one value in `√length` and the stretch between two of them that was asked for last: at most
/// 16 KiB for [`LENGTH_MAX`] values, 2 KiB for 1,024. Making it costs `length` links, going on to the next
/// stretch `√length`.
pub struct Chain {
    length: u32,
    /// Values from one mark to the next, and in a stretch.
    spacing: u32,
    /// Values 0, `spacing`, 2 `spacing` … of the chain.
    marks: Vec<Tick>,
    end: Tick,
    stretch: Vec<Tick>,
    /// Which mark the stretch begins at.
    stretch_at: u32,
}

impl Chain {
    /// The chain of `length` values that ends in `end`, which must be secret and used once; none if the
    /// length is not in 1 … [`LENGTH_MAX`].
    #[must_use]
    pub fn new(end: Tick, length: u32) -> Option<Chain> {
        if length == 0 || length > LENGTH_MAX {
            return None;
        }
        let spacing = length.isqrt();
        let last = length / spacing;
        let mut at = walk(&end, length - last * spacing);
        let mut marks = vec![at];
        for _ in 0..last {
            at = walk(&at, spacing);
            marks.push(at);
        }
        marks.reverse();
        let mut chain = Chain {
            length,
            spacing,
            marks,
            end,
            stretch: Vec::new(),
            stretch_at: 0,
        };
        chain.fill(0);
        Some(chain)
    }

    /// The number of ticks.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Value 0, which a voucher commits to.
    #[must_use]
    pub fn root(&self) -> Tick {
        self.marks[0]
    }

    /// Tick `nth`; none beyond the length. 0 is the root. In order, each costs less than two links on
    /// average; a jump costs `√length`.
    pub fn value(&mut self, nth: u32) -> Option<Tick> {
        if nth > self.length {
            return None;
        }
        let (mark, within) = (nth / self.spacing, nth % self.spacing);
        if mark != self.stretch_at {
            self.fill(mark);
        }
        Some(self.stretch[within as usize])
    }

    /// Makes the values from a mark up to the next one, or up to the end.
    fn fill(&mut self, mark: u32) {
        let first = mark * self.spacing;
        let last = (first + self.spacing - 1).min(self.length);
        // From behind: a value comes from the one after it.
        let mut at = match self.marks.get(mark as usize + 1) {
            Some(next) => link(next),
            None => walk(&self.end, self.length - last),
        };
        self.stretch.clear();
        self.stretch.push(at);
        for _ in first..last {
            at = link(&at);
            self.stretch.push(at);
        }
        self.stretch.reverse();
        self.stretch_at = mark;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::put;

    /// The plain loop.
    fn plain(value: &Tick, steps: u32) -> Tick {
        use sha2::Digest;
        (0..steps).fold(*value, |at, _| sha2::Sha256::digest(at).into())
    }

    fn record(previous: &Tick, value: &Tick, steps: u16) -> Vec<u8> {
        let mut record = vec![0; tick_step::LAYOUT.stride];
        put(&mut record, tick_step::PREVIOUS, previous);
        put(&mut record, tick_step::VALUE, value);
        put(&mut record, tick_step::STEPS, &steps.to_le_bytes());
        record
    }

    #[test]
    fn a_link_is_sha256_of_the_value() {
        let hex: String = link(&[0; 32]).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
        );
        assert_eq!(walk(&[9; 32], 0), [9; 32]);
        assert_eq!(tip(&[9; 32], 1000), plain(&[9; 32], 1000));
    }

    #[test]
    fn check_finds_the_least_number_of_steps() {
        let value = [1; 32];
        let previous = plain(&value, 7);
        assert_eq!(check(&previous, &value, 7), Some(7));
        assert_eq!(check(&previous, &value, 100), Some(7));
        assert_eq!(check(&previous, &value, 6), None);
        assert_eq!(check(&value, &value, 100), None, "no step is not a step");
    }

    #[test]
    fn every_record_has_its_status() {
        let value = [2; 32];
        let mut flipped = plain(&value, 5);
        flipped[31] ^= 1;
        let buffer = [
            record(&plain(&value, 5), &value, 5),
            record(&plain(&value, 5), &value, 4),
            record(&flipped, &value, 5),
            record(&value, &value, 0),
            record(&plain(&value, 65_535), &value, 65_535),
        ]
        .concat();
        let wanted = [
            Status::Ok,
            Status::BadSignature,
            Status::BadSignature,
            Status::BadRange,
            Status::Ok,
        ];
        assert_eq!(
            check_all(&buffer).unwrap(),
            wanted.map(|status| status as u8)
        );
        assert!(check_all(&[]).unwrap().is_empty());
        assert!(check_all(&buffer[1..]).is_err());
    }

    #[test]
    fn a_chain_gives_every_value() {
        for length in (1..=40).chain([255, 256, 257, 1024, 1025]) {
            let end = [length as u8; 32];
            let mut chain = Chain::new(end, length).unwrap();
            assert_eq!(chain.root(), plain(&end, length), "{length}");
            for nth in 0..=length {
                let wanted = plain(&end, length - nth);
                assert_eq!(chain.value(nth), Some(wanted), "{nth} of {length}");
            }
            assert_eq!(chain.value(length), Some(end));
            assert_eq!(chain.value(length + 1), None);
            assert_eq!(
                chain.value(length / 2),
                Some(plain(&end, length - length / 2))
            );
        }
        assert!(Chain::new([0; 32], 0).is_none());
        assert!(Chain::new([0; 32], LENGTH_MAX + 1).is_none());
    }

    #[test]
    fn the_longest_chain_is_small() {
        let mut chain = Chain::new([7; 32], LENGTH_MAX).unwrap();
        assert_eq!(chain.value(1).map(|first| link(&first)), Some(chain.root()));
        assert_eq!(chain.value(LENGTH_MAX), Some([7; 32]));
        let kept = chain.marks.len() + chain.stretch.capacity().max(chain.spacing as usize);
        assert!(kept * 32 <= 17 * 1024, "{kept} values");
    }
}
