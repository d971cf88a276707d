//! Owns the layout of every record that crosses to TypeScript, and nothing of what they mean.
//!
//! One truth: a layout is a table of named fields with offsets, checked at compile time to lie
//! inside its stride without overlap. The Rust readers use the offsets as constants, TypeScript
//! reads the tables through the addon's `layout()` and repeats no number. Integers and amounts are
//! little-endian; addresses, hashes and voucher rows are bytes as they are.

pub mod command;
pub mod outcome;
pub mod read;
pub mod row;

use crate::amount::{AMOUNT_MAX, Amount};

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One byte, 0 or 1.
    Flag,
    /// Unsigned, one byte.
    U8,
    /// Unsigned, two bytes.
    U16,
    /// Unsigned, four bytes.
    U32,
    /// Unsigned, eight bytes.
    U64,
    /// Unsigned, twelve bytes; money.
    Uint96,
    /// Unsigned, sixteen bytes; money, or a sum of money.
    Amount,
    /// Opaque bytes.
    Bytes,
}

impl Kind {
    /// The name TypeScript reads.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Flag => "flag",
            Kind::U8 => "u8",
            Kind::U16 => "u16",
            Kind::U32 => "u32",
            Kind::U64 => "u64",
            Kind::Uint96 => "uint96",
            Kind::Amount => "amount",
            Kind::Bytes => "bytes",
        }
    }

    const fn size(self) -> Option<usize> {
        match self {
            Kind::Flag | Kind::U8 => Some(1),
            Kind::U16 => Some(2),
            Kind::U32 => Some(4),
            Kind::U64 => Some(8),
            Kind::Uint96 => Some(12),
            Kind::Amount => Some(16),
            Kind::Bytes => None,
        }
    }
}

/// One field of a record.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in TypeScript.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Its first byte.
    pub offset: usize,
    /// Its size in bytes.
    pub size: usize,
}

/// One record: its fields and the distance from one record to the next.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The name under which `layout()` gives it.
    pub name: &'static str,
    /// Bytes from one record to the next.
    pub stride: usize,
    /// The fields, in the order of their offsets.
    pub fields: &'static [Field],
}

/// Panics at compile time unless the fields lie in order inside the stride with their true sizes.
#[allow(clippy::missing_panics_doc)]
pub const fn check(layout: &Layout) {
    let (mut at, mut end) = (0, 0);
    while at < layout.fields.len() {
        let field = &layout.fields[at];
        if let Some(size) = field.kind.size() {
            assert!(field.size == size, "a field has another size than its kind");
        }
        assert!(field.offset >= end, "fields overlap or are out of order");
        end = field.offset + field.size;
        at += 1;
    }
    assert!(end <= layout.stride, "a field lies outside the stride");
}

/// Declares a layout as a module of offset constants and a checked `LAYOUT` table.
macro_rules! layout {
    ($(#[$doc:meta])* $module:ident, $name:literal, $stride:expr,
     { $($field:ident $label:literal $kind:ident $size:literal @ $offset:literal;)* }) => {
        $(#[$doc])*
        #[allow(missing_docs)]
        pub mod $module {
            $(pub const $field: usize = $offset;)*
            pub const LAYOUT: $crate::records::Layout = $crate::records::Layout {
                name: $name,
                stride: $stride,
                fields: &[$($crate::records::Field {
                    name: $label,
                    kind: $crate::records::Kind::$kind,
                    offset: $offset,
                    size: $size,
                }),*],
            };
            const _: () = $crate::records::check(&LAYOUT);
        }
    };
}
pub(crate) use layout;

/// All layouts, in the order `layout()` lists them.
#[must_use]
pub fn all() -> Vec<&'static Layout> {
    let mut all = vec![
        &row::voucher::LAYOUT,
        &row::tick_step::LAYOUT,
        &row::tick::LAYOUT,
        &row::recovery::LAYOUT,
        &row::recovered::LAYOUT,
        &outcome::outcome::LAYOUT,
    ];
    all.extend(read::ALL);
    all.extend(command::ALL.iter().map(|(_, layout)| *layout));
    all
}

/// The `N` bytes at an offset. A caller passes records of a whole stride, so they are there.
pub(crate) fn bytes<const N: usize>(record: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&record[at..at + N]);
    out
}

pub(crate) fn u16_at(record: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes(record, at))
}

pub(crate) fn u32_at(record: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes(record, at))
}

pub(crate) fn u64_at(record: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes(record, at))
}

/// The amount at an offset, or `None` above uint96.
pub(crate) fn amount_at(record: &[u8], at: usize) -> Option<Amount> {
    let value = u128::from_le_bytes(bytes(record, at));
    if value > AMOUNT_MAX {
        return None;
    }
    Amount::new(value)
}

/// The flag at an offset, or `None` for a byte other than 0 and 1.
pub(crate) fn flag_at(record: &[u8], at: usize) -> Option<bool> {
    match record[at] {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// Puts bytes at an offset of a record being filled.
pub(crate) fn put(record: &mut [u8], at: usize, value: &[u8]) {
    record[at..at + value.len()].copy_from_slice(value);
}

/// Puts an amount, or a sum of amounts, at an offset of a record being filled.
pub(crate) fn put_amount(record: &mut [u8], at: usize, value: u128) {
    put(record, at, &value.to_le_bytes());
}

/// All layouts, statuses and command numbers as one JSON text, for TypeScript to read at start.
#[must_use]
pub fn layout_json() -> String {
    let field = |f: &Field| {
        let Field {
            name, offset, size, ..
        } = f;
        let kind = f.kind.name();
        format!(r#"{{"name":"{name}","kind":"{kind}","offset":{offset},"size":{size}}}"#)
    };
    let layout = |l: &&Layout| {
        let fields: Vec<String> = l.fields.iter().map(field).collect();
        let (stride, fields) = (l.stride, fields.join(","));
        format!(r#""{}":{{"stride":{stride},"fields":[{fields}]}}"#, l.name)
    };
    let commands = |(kind, layout): &(u8, &Layout)| format!(r#""{}":{kind}"#, layout.name);
    let join = |parts: Vec<String>| parts.join(",");
    let statuses = crate::status::STATUS_NAMES.map(|name| format!(r#""{name}""#));
    format!(
        r#"{{"abiVersion":{},"none":{},"rowSize":{},"tickRowSize":{},"chainLengthMax":{},"noteSizeMax":{},"statuses":[{}],"commands":{{{}}},"records":{{{}}}}}"#,
        crate::ABI_VERSION,
        outcome::NONE,
        crate::voucher::ROW_SIZE,
        crate::tick_row::TICK_ROW_SIZE,
        crate::tick_row::CHAIN_LENGTH_MAX,
        crate::ledger::decide::NOTE_SIZE_MAX,
        join(statuses.to_vec()),
        join(command::ALL.iter().map(commands).collect()),
        join(all().iter().map(layout).collect()),
    )
}
