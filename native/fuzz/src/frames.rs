//! Frames and segment headers: what is found is what the specification writes, and what `find` answers is what looking at
//! every place answers.

use std::path::Path;

use piecework_core::journal::{frame, segment};

use crate::Seen;
use crate::source::Source;

/// A segment of frames. The first byte says what is looked for, the rest is the segment.
pub fn run(data: &[u8]) -> Seen {
    let mut source = Source::new(data);
    let (way, sequence) = (source.below(4), u64::from(source.byte()));
    let bytes = source.rest();
    match way {
        0 => sealed(bytes, sequence),
        1 => header(bytes),
        _ => segment_of(bytes, sequence),
    }
}

/// A frame and its checksum, written from `docs/spec/ledger.md` 3 alone.
fn encode(sequence: u64, previous_crc: u32, count: u32, payload: &[u8]) -> (Vec<u8>, u32) {
    let size = payload.len() as u32;
    let summed = [
        &sequence.to_le_bytes()[..],
        &previous_crc.to_le_bytes(),
        &count.to_le_bytes(),
        payload,
    ]
    .concat();
    let crc = crc32c::crc32c(&summed);
    let mut bytes = [&size.to_le_bytes()[..], &crc.to_le_bytes(), &summed].concat();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    (bytes, crc)
}

/// Walks the frames from the start and looks for a later one behind where they end.
fn segment_of(bytes: &[u8], sequence: u64) -> Seen {
    let mut at = 0;
    while let Some(found) = frame::at(bytes, at) {
        let (again, crc) = encode(
            found.sequence,
            found.previous_crc,
            found.event_count,
            found.payload,
        );
        // The end of a file may lack padding.
        let payload_end = frame::HEADER_SIZE + found.payload.len();
        assert_eq!(again[..payload_end], bytes[at..at + payload_end]);
        assert_eq!((found.crc, found.end), (crc, at + again.len()));
        at = found.end;
    }
    let last = sequence.saturating_add(bytes.len() as u64);
    let slow = (at..bytes.len()).step_by(frame::ALIGNMENT).find(|from| {
        frame::at(bytes, *from).is_some_and(|f| (sequence..=last).contains(&f.sequence))
    });
    assert_eq!(frame::find(bytes, at, sequence), slow);
    Seen::one(at > 0 || slow.is_some())
}

/// A frame is read back as it was written, and with one byte changed it is not read at all.
fn sealed(bytes: &[u8], sequence: u64) -> Seen {
    let mut source = Source::new(bytes);
    let (previous, count) = (source.bytes(), source.byte());
    let (flipped, mask) = (usize::from(source.short()), source.byte());
    let payload = source.rest();
    if payload.is_empty() {
        return Seen::one(false);
    }
    let previous = u32::from_le_bytes(previous);
    let (mut whole, crc) = encode(sequence, previous, u32::from(count), payload);
    let found = frame::at(&whole, 0);
    let told = found.map(|f| (f.sequence, f.previous_crc, f.event_count, f.payload, f.crc));
    assert_eq!(
        told,
        Some((sequence, previous, u32::from(count), payload, crc))
    );
    // The size says how much is summed, so a changed size is judged elsewhere; padding is not summed.
    let end = frame::HEADER_SIZE + payload.len();
    let at = 4 + flipped % (end - 4);
    whole[at] ^= mask;
    assert_eq!(frame::at(&whole, 0).is_some(), mask == 0, "byte {at}");
    Seen::one(true)
}

/// A header that is taken is the header that is written for what it says.
fn header(bytes: &[u8]) -> Seen {
    let Ok((identity, first)) = segment::decode(Path::new("segment"), bytes) else {
        return Seen::one(false);
    };
    assert_eq!(
        segment::encode(&identity, first),
        bytes[..segment::HEADER_SIZE]
    );
    Seen::one(true)
}

/// Frames in a row, one behind garbage, a frame to seal, and a header.
pub fn seeds() -> Vec<Vec<u8>> {
    let (first, crc) = encode(7, 0, 2, b"hello");
    let (second, _) = encode(8, crc, 1, &[1; 40]);
    let identity = segment::Identity {
        ledger_id: [1; 16],
        chain_id: 199,
        hub_tag: [2; 12],
    };
    vec![
        [&[2, 7][..], &first, &second].concat(),
        [&[3, 8][..], &[0xa5; 32], &second].concat(),
        [&[0, 9, 1, 2, 3, 4, 5, 6, 0, 1][..], b"a payload"].concat(),
        [&[1, 0][..], &segment::encode(&identity, 1), &[0; 8]].concat(),
    ]
}
