//! Hash chains: SHA-256 of 32 bytes, again and again, many chains side by side.
//!
//! A link is one block: the value, then padding that is always the same. Values stay in the registers of a
//! kernel from link to link.

use std::cmp::Reverse;

use super::constants::SHA256_INITIAL;
use super::kernels;
use crate::cpu::Level;

/// A value as the words of SHA-256.
pub type Words = [u32; 8];

/// The half of a link's block behind the value: the bit that ends it, zeros, its length of 256 bits.
pub const PADDING: Words = [0x8000_0000, 0, 0, 0, 0, 0, 0, 256];

/// Chains of the widest kernel.
const CHAINS_MAX: usize = 16;

/// Links of several chains at once.
pub struct LinkKernel {
    /// How many chains it takes at once.
    pub chains: usize,
    /// From how many chains on it is worth using; below that a narrower one is faster.
    pub worth: usize,
    /// Replaces each of `chains` values by its link, so many times.
    pub walk: fn(values: &mut [Words], steps: u32),
}

/// A value and how far to walk from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walk {
    /// Where the walk starts; where it ended afterwards.
    pub value: [u8; 32],
    /// How many links.
    pub steps: u32,
}

/// Links one chain; what every kernel is held against.
pub fn walk_one(values: &mut [Words], steps: u32) {
    for _ in 0..steps {
        let mut block = [0; 64];
        let (to, _) = block.as_chunks_mut();
        for (to, word) in to.iter_mut().zip(values[0].iter().chain(&PADDING)) {
            *to = word.to_be_bytes();
        }
        values[0] = SHA256_INITIAL;
        sha2::block_api::compress256(&mut values[0], &[block]);
    }
}

/// The value that many links on.
#[must_use]
pub fn walk(value: &[u8; 32], steps: u32) -> [u8; 32] {
    let mut words = [words_of(value)];
    walk_one(&mut words, steps);
    bytes_of(&words[0])
}

/// One chain on its way.
struct Chain {
    at: usize,
    words: Words,
    left: u32,
}

/// Takes every walk to its end, on the path of a level, or of the processor's where that is lower.
pub fn walk_all(level: Level, walks: &mut [Walk]) {
    let table = kernels::links(level);
    // The longest first, so that chains side by side end close to each other.
    let mut order: Vec<usize> = (0..walks.len()).filter(|&at| walks[at].steps > 0).collect();
    order.sort_by_key(|&at| Reverse(walks[at].steps));
    let mut waiting = order.into_iter();
    let mut live: Vec<Chain> = Vec::with_capacity(CHAINS_MAX);
    while let Some(kernel) = table
        .iter()
        .find(|kernel| kernel.worth <= live.len() + waiting.len())
    {
        let free = kernel.chains.saturating_sub(live.len());
        live.extend(waiting.by_ref().take(free).map(|at| Chain {
            at,
            words: words_of(&walks[at].value),
            left: walks[at].steps,
        }));
        let taken = kernel.chains.min(live.len());
        let steps = live[..taken].iter().map(|chain| chain.left).min();
        let steps = steps.unwrap_or(0);
        // Places of the kernel that have no chain walk from zero; nobody looks where they get.
        let mut values = [[0; 8]; CHAINS_MAX];
        for (value, chain) in values.iter_mut().zip(&live[..taken]) {
            *value = chain.words;
        }
        (kernel.walk)(&mut values[..kernel.chains], steps);
        for (chain, value) in live[..taken].iter_mut().zip(values) {
            chain.words = value;
            chain.left -= steps;
        }
        live.retain(|chain| {
            if chain.left == 0 {
                walks[chain.at].value = bytes_of(&chain.words);
            }
            chain.left > 0
        });
    }
}

fn words_of(value: &[u8; 32]) -> Words {
    let (words, _) = value.as_chunks();
    std::array::from_fn(|at| u32::from_be_bytes(words[at]))
}

fn bytes_of(words: &Words) -> [u8; 32] {
    let mut value = [0; 32];
    let (to, _) = value.as_chunks_mut();
    for (to, word) in to.iter_mut().zip(words) {
        *to = word.to_be_bytes();
    }
    value
}
