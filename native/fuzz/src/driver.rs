//! Draws inputs from a seed and runs a target on them: no coverage, but hundreds of thousands a second.

use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::{Seen, Target};

/// Values that sit at the edges of what a field holds.
const EDGES: [u64; 14] = [
    0,
    1,
    7,
    8,
    0x7f,
    0xff,
    0xffff,
    1 << 20,
    (1 << 31) - 1,
    u32::MAX as u64,
    (1 << 53) - 1,
    1 << 53,
    u64::MAX - 1,
    u64::MAX,
];

/// Draws inputs: seeds that were mutated, and bytes as chance gives them.
pub struct Inputs {
    chance: Chance,
    seeds: Vec<Vec<u8>>,
    size_max: usize,
    input: Vec<u8>,
}

impl Inputs {
    /// The inputs of a target for a seed of chance.
    #[must_use]
    pub fn new(target: &Target, seed: u64) -> Inputs {
        Inputs {
            chance: Chance(seed),
            seeds: (target.seeds)(),
            size_max: target.size_max,
            input: Vec::new(),
        }
    }

    /// The next input.
    pub fn draw(&mut self) -> &[u8] {
        let chance = &mut self.chance;
        self.input.clear();
        if self.seeds.is_empty() || chance.below(8) == 0 {
            let size = chance.below(self.size_max + 1);
            self.input.resize(size, 0);
            chance.fill(&mut self.input);
            return &self.input;
        }
        let seed = &self.seeds[chance.below(self.seeds.len())];
        self.input.extend_from_slice(seed);
        for _ in 0..chance.below(5) {
            mutate(&mut self.input, chance, &self.seeds);
        }
        self.input.truncate(self.size_max.max(seed.len()));
        &self.input
    }
}

fn mutate(input: &mut Vec<u8>, chance: &mut Chance, seeds: &[Vec<u8>]) {
    let at = chance.below(input.len() + 1);
    let rest = input.len() - at;
    match chance.below(8) {
        0 if rest > 0 => input[at] ^= 1 << chance.below(8),
        1 if rest > 0 => input[at] = chance.long() as u8,
        2 | 3 if rest > 0 => {
            let edge = EDGES[chance.below(EDGES.len())].to_le_bytes();
            let size = rest.min([1, 2, 4, 8][chance.below(4)]);
            input[at..at + size].copy_from_slice(&edge[..size]);
        }
        4 => input.truncate(at),
        5 => {
            let mut bytes = [0; 8];
            chance.fill(&mut bytes);
            let size = 1 + chance.below(8);
            input.splice(at..at, bytes[..size].iter().copied());
        }
        6 if rest > 0 => {
            let end = at + 1 + chance.below(rest.min(16));
            input.drain(at..end);
        }
        _ => {
            let other = &seeds[chance.below(seeds.len())];
            let from = chance.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
}

/// What a run of the driver did.
#[derive(Clone, Copy, Default, Debug)]
pub struct Report {
    /// Inputs that were run.
    pub runs: u64,
    /// What the target looked at in them.
    pub seen: Seen,
    /// How long that took.
    pub took: Duration,
    /// The input that took longest, and how long: a hang would show here.
    pub slowest: Duration,
}

/// Runs a target until it has checked `count` things.
///
/// Every 1,024th input is timed. `before` sees each input first, so that a caller can keep the one that panics.
pub fn drive(target: &Target, seed: u64, count: u64, mut before: impl FnMut(u64, &[u8])) -> Report {
    let mut inputs = Inputs::new(target, seed);
    let mut report = Report::default();
    let begin = Instant::now();
    while report.seen.checked < count {
        let input = inputs.draw();
        before(report.runs, input);
        if report.runs.is_multiple_of(1024) {
            let from = Instant::now();
            report.seen += (target.run)(input);
            report.slowest = report.slowest.max(from.elapsed());
        } else {
            report.seen += (target.run)(input);
        }
        report.runs += 1;
    }
    report.took = begin.elapsed();
    report
}
