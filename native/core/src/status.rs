//! Owns the closed table of record statuses (`docs/spec/ledger.md` 2, `voucher.md` 4).
//!
//! The numbers are part of the boundary and of the tests in three languages: a number is never
//! given a second meaning.

/// What became of one record of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Status {
    /// Accepted.
    Ok = 0,
    /// `r` or `s` of a row is out of range.
    BadRange = 1,
    /// The row does not recover the voucher key, or the key is not the ledger's own.
    BadSignature = 2,
    /// No channel has this index.
    UnknownChannel = 3,
    /// No session has this index.
    UnknownSession = 4,
    /// The session is closed.
    Closed = 5,
    /// The command is for the other role of the channel.
    WrongRole = 6,
    /// The key index, session id or outstanding piece is taken.
    Duplicate = 7,
    /// A close was requested for the channel.
    Closing = 8,
    /// The journal has no room for this.
    NoSpace = 9,
    /// More than the deposit.
    ExceedsDeposit = 10,
    /// More unpaid than the exposure limit.
    ExceedsWindow = 11,
    /// The amount is not above the authorized one.
    NotIncreasing = 12,
    /// The amount rises by less than the minimum step.
    BelowStep = 13,
    /// More than was granted, or more than is unpaid.
    ExceedsGranted = 14,
    /// All checks of a voucher passed but its signature was not verified.
    Unverified = 15,
    /// More than the budget of the infohash.
    ExceedsBudget = 16,
    /// The piece is not outstanding in this session with this size.
    UnknownPiece = 17,
    /// The amount would leave uint96.
    Overflow = 18,
    /// The note is longer than 128 KiB.
    TooLong = 19,
    /// The record is not a command.
    Malformed = 20,
}

/// The names of the statuses, at the index of their number.
pub const STATUS_NAMES: [&str; 21] = [
    "ok",
    "bad_range",
    "bad_signature",
    "unknown_channel",
    "unknown_session",
    "closed",
    "wrong_role",
    "duplicate",
    "closing",
    "no_space",
    "exceeds_deposit",
    "exceeds_window",
    "not_increasing",
    "below_step",
    "exceeds_granted",
    "unverified",
    "exceeds_budget",
    "unknown_piece",
    "overflow",
    "too_long",
    "malformed",
];

const _: () = assert!(STATUS_NAMES.len() == Status::Malformed as usize + 1);

impl Status {
    /// The name of the status, as the specification writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        STATUS_NAMES[self as usize]
    }
}
