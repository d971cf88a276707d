//! A hash index: finds the position of a thing in a table by a key that stands in the table.
//!
//! It holds five bytes a slot and grows by a quarter, so that it stays at least two thirds full. Keys are chosen by
//! peers: hashes come from a seeded hasher, so that nobody can make keys collide.

/// Slots are at most seven eighths full: a search ends after a short run of tags.
const FULL: (usize, usize) = (7, 8);
const CAPACITY_MIN: usize = 16;

/// Positions by hash. A tag of 0 marks a free slot.
#[derive(Default, Debug)]
pub struct Index {
    tags: Vec<u8>,
    positions: Vec<u32>,
    count: usize,
}

impl Index {
    /// The position among those with this hash for which `is_it` holds.
    #[must_use]
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        if self.count == 0 {
            return None;
        }
        let tag = tag_of(hash);
        let mut slot = self.slot_of(hash);
        loop {
            let found = self.tags[slot];
            if found == 0 {
                return None;
            }
            if found == tag && is_it(self.positions[slot]) {
                return Some(self.positions[slot]);
            }
            slot = self.after(slot);
        }
    }

    /// Adds the next position, which is the count of those before; `hash_of` gives the hash of any of them.
    pub fn push(&mut self, hash_of: impl Fn(u32) -> u64) {
        self.reserve(1, &hash_of);
        let position = self.count as u32;
        self.put(hash_of(position), position);
        self.count += 1;
    }

    /// Makes room for `more`.
    pub fn reserve(&mut self, more: usize, hash_of: impl Fn(u32) -> u64) {
        let needed = (self.count + more) * FULL.1 / FULL.0 + 1;
        let capacity = self.tags.len();
        if needed <= capacity {
            return;
        }
        let grown = needed.max(capacity + capacity / 4).max(CAPACITY_MIN);
        // The old slots go first, so that never both are held.
        self.tags = Vec::new();
        self.positions = Vec::new();
        self.tags = vec![0; grown];
        self.positions = vec![0; grown];
        for position in 0..self.count as u32 {
            self.put(hash_of(position), position);
        }
    }

    fn put(&mut self, hash: u64, position: u32) {
        let mut slot = self.slot_of(hash);
        while self.tags[slot] != 0 {
            slot = self.after(slot);
        }
        self.tags[slot] = tag_of(hash);
        self.positions[slot] = position;
    }

    /// Where a search begins: the upper half of the hash, scaled to the number of slots.
    fn slot_of(&self, hash: u64) -> usize {
        (((hash >> 32) * self.tags.len() as u64) >> 32) as usize
    }

    fn after(&self, slot: usize) -> usize {
        if slot + 1 == self.tags.len() {
            0
        } else {
            slot + 1
        }
    }
}

/// Seven bits of the lower half of the hash, and the one that marks a slot as taken.
const fn tag_of(hash: u64) -> u8 {
    hash as u8 | 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splitmix64: even, and the same in every run.
    fn hash(key: u64) -> u64 {
        let mut z = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn every_position_is_found_and_no_other() {
        let mut index = Index::default();
        let key = |position: u32| u64::from(position) * 3;
        assert_eq!(index.find(hash(0), |_| true), None);
        for count in 1..5_000u32 {
            index.push(|at| hash(key(at)));
            if count % 97 == 0 || count < 40 {
                for at in 0..count + 20 {
                    let found = index.find(hash(key(at)), |position| position == at);
                    assert_eq!(found, (at < count).then_some(at), "{at} of {count}");
                }
            }
        }
        assert!(index.tags.len() * 2 < index.count * 3 + 32, "it stays full");
    }

    #[test]
    fn equal_hashes_are_told_apart_by_their_keys() {
        let mut index = Index::default();
        for _ in 0..300 {
            index.push(|_| u64::MAX);
        }
        for at in 0..300 {
            assert_eq!(index.find(u64::MAX, |position| position == at), Some(at));
        }
        assert_eq!(index.find(u64::MAX, |_| false), None);
    }
}
