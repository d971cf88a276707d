//! The frame of one batch: 24 bytes of header and the events, padded to a multiple of 8.
//!
//! A frame is valid when its size fits and its CRC-32C holds. Whether it is the *expected* one
//! (sequence and chain) is for the reader to judge.

use std::cell::LazyCell;

use crate::records::{u32_at, u64_at};

/// Bytes of the header before the events.
pub const HEADER_SIZE: usize = 24;
/// Frames start at multiples of this.
pub const ALIGNMENT: usize = 8;

/// A valid frame found in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its number, one more than that of the frame before.
    pub sequence: u64,
    /// Its checksum, which the next frame repeats.
    pub crc: u32,
    /// The checksum of the frame before.
    pub previous_crc: u32,
    /// How many events the payload holds.
    pub event_count: u32,
    /// The events.
    pub payload: &'a [u8],
    /// Where the next frame starts.
    pub end: usize,
}

/// The bytes that a payload of this size takes in a segment.
#[must_use]
pub const fn size(payload_size: usize) -> usize {
    (HEADER_SIZE + payload_size).next_multiple_of(ALIGNMENT)
}

/// A frame in the making. Events are appended where they will stand in the file, so nothing is copied.
#[derive(Debug)]
pub struct Draft {
    bytes: Vec<u8>,
    event_count: u32,
}

impl Draft {
    /// An empty frame in the memory of an earlier one.
    #[must_use]
    pub fn new(mut memory: Vec<u8>) -> Draft {
        memory.clear();
        memory.resize(HEADER_SIZE, 0);
        Draft {
            bytes: memory,
            event_count: 0,
        }
    }

    /// How many events there are.
    #[must_use]
    pub const fn event_count(&self) -> u32 {
        self.event_count
    }

    /// Bytes of the events.
    #[must_use]
    pub fn payload_size(&self) -> usize {
        self.bytes.len() - HEADER_SIZE
    }

    /// Appends one event: `encode` adds its bytes.
    pub fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.event_count += 1;
    }

    /// The bytes of the frame and its checksum.
    #[must_use]
    pub fn seal(self, sequence: u64, previous_crc: u32) -> (Vec<u8>, u32) {
        let payload_size = self.payload_size();
        let mut bytes = self.bytes;
        bytes[0..4].copy_from_slice(&(payload_size as u32).to_le_bytes());
        bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        bytes[16..20].copy_from_slice(&previous_crc.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.event_count.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes.resize(size(payload_size), 0);
        (bytes, crc)
    }
}

/// The valid frame at an offset, if there is one.
#[must_use]
pub fn at(segment: &[u8], offset: usize) -> Option<Frame<'_>> {
    let rest = segment.get(offset..)?;
    if rest.len() < HEADER_SIZE {
        return None;
    }
    let payload_size = u32_at(rest, 0) as usize;
    if payload_size == 0 || payload_size > rest.len() - HEADER_SIZE {
        return None;
    }
    let crc = u32_at(rest, 4);
    let end = HEADER_SIZE + payload_size;
    if crc32c::crc32c(&rest[8..end]) != crc {
        return None;
    }
    Some(Frame {
        sequence: u64_at(rest, 8),
        crc,
        previous_crc: u32_at(rest, 16),
        event_count: u32_at(rest, 20),
        payload: &rest[HEADER_SIZE..end],
        end: offset + size(payload_size),
    })
}

/// The offset of the first valid frame from `offset` on whose sequence is `sequence` or later.
///
/// The sequence is looked at first and must be near, so that random bytes rarely cost a checksum. Bytes that are
/// made to look like frames cost no more than their number: each sum is taken from sums over the whole rest.
#[must_use]
pub fn find(segment: &[u8], offset: usize, sequence: u64) -> Option<usize> {
    let last = sequence.saturating_add(segment.len() as u64);
    let sums = LazyCell::new(|| Sums::new(&segment[offset..]));
    (offset..segment.len().saturating_sub(HEADER_SIZE))
        .step_by(ALIGNMENT)
        .filter(|from| (sequence..=last).contains(&u64_at(segment, from + 8)))
        .find(|from| sums.hold_at(from - offset))
}

/// The checksums of all beginnings of some bytes, from which that of any part follows without reading it again.
struct Sums<'a> {
    bytes: &'a [u8],
    /// The checksum of the first `ALIGNMENT` × n bytes, at n.
    steps: Vec<u32>,
}

impl Sums<'_> {
    fn new(bytes: &[u8]) -> Sums<'_> {
        let mut steps = Vec::with_capacity(bytes.len() / ALIGNMENT + 2);
        let mut sum = 0;
        steps.push(sum);
        for step in bytes.chunks(ALIGNMENT) {
            sum = crc32c::crc32c_append(sum, step);
            steps.push(sum);
        }
        Sums { bytes, steps }
    }

    fn to(&self, end: usize) -> u32 {
        let step = end / ALIGNMENT;
        crc32c::crc32c_append(self.steps[step], &self.bytes[step * ALIGNMENT..end])
    }

    /// Whether a valid frame stands at an offset, as `at` would say. A whole header is there.
    fn hold_at(&self, from: usize) -> bool {
        let rest = &self.bytes[from..];
        let payload_size = u32_at(rest, 0) as usize;
        if payload_size == 0 || payload_size > rest.len() - HEADER_SIZE {
            return false;
        }
        let (begin, end) = (from + 8, from + HEADER_SIZE + payload_size);
        let joined = crc32c::crc32c_combine(self.to(begin), u32_at(rest, 4), end - begin);
        joined == self.to(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(sequence: u64, previous_crc: u32, count: u32, payload: &[u8]) -> (Vec<u8>, u32) {
        let mut draft = Draft::new(vec![0xff; 9]);
        draft.push(|bytes| bytes.extend_from_slice(payload));
        draft.event_count = count;
        draft.seal(sequence, previous_crc)
    }

    #[test]
    fn a_frame_is_found_whole_or_not_at_all() {
        let (bytes, crc) = frame(7, 99, 2, b"hello");
        assert_eq!(bytes.len(), 32);
        let frame = at(&bytes, 0).unwrap();
        assert_eq!(
            (frame.sequence, frame.previous_crc, frame.event_count),
            (7, 99, 2)
        );
        assert_eq!(
            (frame.payload, frame.crc, frame.end),
            (b"hello".as_slice(), crc, 32)
        );
        for bit in 0..(HEADER_SIZE + 5) * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(at(&bad, 0), None, "bit {bit}");
        }
        for size in 0..HEADER_SIZE + 5 {
            assert_eq!(at(&bytes[..size], 0), None, "size {size}");
        }
    }

    #[test]
    fn a_later_frame_is_found_behind_garbage() {
        let mut segment = vec![0xa5; 64];
        segment.extend(frame(9, 1, 1, b"x").0);
        segment.extend([0; 64]);
        assert_eq!(find(&segment, 8, 9), Some(64));
        assert_eq!(find(&segment, 8, 8), Some(64));
        assert_eq!(find(&segment, 8, 10), None);
    }

    #[test]
    fn bytes_that_look_like_frames_cost_no_more_than_their_number() {
        // Every second word is a near sequence, under a size that reaches the end: one by one these are 2^31
        // bytes to sum.
        let mut segment = vec![0; 1 << 18];
        let size = segment.len();
        for at in (0..size - 64).step_by(16) {
            let rest = (size - at - HEADER_SIZE) as u32;
            segment[at..at + 4].copy_from_slice(&rest.to_le_bytes());
            segment[at + 8..at + 16].copy_from_slice(&9u64.to_le_bytes());
        }
        assert_eq!(find(&segment, 0, 9), None);
        let (bytes, _) = frame(9, 1, 1, b"seventeen bytes !");
        segment[size - 48..].copy_from_slice(&bytes);
        assert_eq!(find(&segment, 0, 9), Some(size - 48));
        assert_eq!(find(&segment, 8, 9), Some(size - 48));
    }
}
