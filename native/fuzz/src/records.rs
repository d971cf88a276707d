//! Command records: a record is a command exactly when its layout and the rules of `docs/spec/ledger.md` 2
//! say so, and bytes outside its fields mean nothing.

use piecework_core::ledger::command::Command;
use piecework_core::records::command::{self, STRIDE, grant, note, purchase};
use piecework_core::records::{Field, Kind, Layout};

use crate::Seen;
use crate::chance::Chance;

type Decode = for<'a> fn(&[u8], &'a [u8]) -> Option<Command<'a>>;

/// One record, and behind it the side buffer.
pub fn run(data: &[u8]) -> Seen {
    run_with(command::decode, data)
}

/// The same with another decoder, so that a test can see a broken one caught.
pub fn run_with(decode: Decode, data: &[u8]) -> Seen {
    let mut record = [0; STRIDE];
    let size = STRIDE.min(data.len());
    record[..size].copy_from_slice(&data[..size]);
    let blobs = &data[size..];
    let found = decode(&record, blobs);
    assert_eq!(found.is_some(), is_command(&record, blobs), "{record:?}");
    if let Some(found) = &found {
        assert_eq!(decode(&without_gaps(&record), blobs).as_ref(), Some(found));
    }
    Seen::one(found.is_some())
}

fn layout_of(kind: u8) -> Option<&'static Layout> {
    let found = command::ALL.iter().find(|(number, _)| *number == kind);
    found.map(|(_, layout)| *layout)
}

fn number(record: &[u8], at: usize, size: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes[..size].copy_from_slice(&record[at..at + size]);
    u64::from_le_bytes(bytes)
}

/// The rules, written from the specification and the table of fields alone.
fn is_command(record: &[u8], blobs: &[u8]) -> bool {
    let fits = |field: &Field| {
        let bytes = &record[field.offset..field.offset + field.size];
        match (field.name, field.kind) {
            ("role", _) => (1..=2).contains(&bytes[0]),
            ("voucherKey" | "payee", _) => bytes.iter().any(|byte| *byte != 0),
            (_, Kind::Flag) => bytes[0] <= 1,
            (_, Kind::U64) => number(record, field.offset, 8) < 1 << 53,
            (_, Kind::Amount) => bytes[12..] == [0; 4],
            _ => true,
        }
    };
    let rest = match record[0] {
        4 => number(record, grant::BYTES, 8) > 0,
        8 => number(record, purchase::BYTES, 4) > 0,
        13 if record[note::PRESENT] == 1 => {
            let end = number(record, note::VALUE_OFFSET, 4) + number(record, note::VALUE_SIZE, 4);
            end <= blobs.len() as u64
        }
        _ => true,
    };
    layout_of(record[0]).is_some_and(|layout| layout.fields.iter().all(fits)) && rest
}

/// The record with zeros wherever no field lies.
fn without_gaps(record: &[u8; STRIDE]) -> [u8; STRIDE] {
    let mut clean = [0; STRIDE];
    for field in layout_of(record[0]).map_or([].as_slice(), |layout| layout.fields) {
        let range = field.offset..field.offset + field.size;
        clean[range.clone()].copy_from_slice(&record[range]);
    }
    clean
}

/// A few commands of every kind.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut chance = Chance(1);
    let mut seeds = Vec::new();
    for (kind, layout) in command::ALL.iter().cycle().take(command::ALL.len() * 4) {
        let mut record = vec![0; STRIDE];
        for field in layout.fields {
            let bytes = &mut record[field.offset..field.offset + field.size];
            match field.kind {
                Kind::Flag => bytes[0] = chance.below(2) as u8,
                Kind::Amount => chance.fill(&mut bytes[..12]),
                Kind::U64 => chance.fill(&mut bytes[..6]),
                Kind::U32 => chance.fill(&mut bytes[..1]),
                _ => chance.fill(bytes),
            }
            if field.name == "role" {
                bytes[0] = 1 + chance.below(2) as u8;
            }
        }
        record[0] = *kind;
        record.extend([0xab; 128]);
        seeds.push(record);
    }
    seeds
}
