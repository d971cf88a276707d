//! Owns the errors of operations: what the disk, the folder or the configuration did.
//!
//! What a record did wrong is a [`crate::Status`], never an error.

use std::fmt;

/// The closed table of operation errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// Another process, or another handle of this one, owns the ledger.
    LedgerLocked,
    /// A write or sync failed; the ledger accepts nothing more.
    LedgerPoisoned,
    /// The journal is damaged where it cannot be a torn tail.
    JournalCorrupt,
    /// The journal belongs to another chain id or hub.
    LedgerForeign,
    /// The disk has no room for a segment.
    DiskFull,
    /// The folder cannot be written.
    LedgerReadOnly,
    /// Any other error of the operating system.
    LedgerIo,
    /// The handle is closed, or never was open.
    LedgerClosed,
    /// An argument of a verb has the wrong shape.
    BadArgument,
}

impl Code {
    /// The name under which TypeScript knows the code.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Code::LedgerLocked => "LEDGER_LOCKED",
            Code::LedgerPoisoned => "LEDGER_POISONED",
            Code::JournalCorrupt => "JOURNAL_CORRUPT",
            Code::LedgerForeign => "LEDGER_FOREIGN",
            Code::DiskFull => "DISK_FULL",
            Code::LedgerReadOnly => "LEDGER_READ_ONLY",
            Code::LedgerIo => "LEDGER_IO",
            Code::LedgerClosed => "LEDGER_CLOSED",
            Code::BadArgument => "BAD_ARGUMENT",
        }
    }
}

/// An operation error: its code and what a person needs to know besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Which kind of failure; callers branch on this.
    pub code: Code,
    /// File, offset, or the operating system's words; never branched on.
    pub detail: String,
}

impl Error {
    /// Makes an error.
    pub fn new(code: Code, detail: impl Into<String>) -> Error {
        Error {
            code,
            detail: detail.into(),
        }
    }

    /// Gives an error of the operating system its code and names what was attempted.
    #[must_use]
    pub fn io(what: &str, error: &std::io::Error) -> Error {
        use std::io::ErrorKind;
        let code = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::DiskFull,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Code::LedgerReadOnly,
            _ => Code::LedgerIo,
        };
        Error::new(code, format!("{what}: {error}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.detail)
    }
}

impl std::error::Error for Error {}
