//! The computing half of Piecework: vouchers, amounts, hashing, and the durable ledger.
//!
//! This crate knows nothing of Node, of peers and of chains. It reads no clock and draws no
//! randomness but the ledger id. Its only input and output is the journal folder of a ledger.
//! `docs/spec/voucher.md` and `docs/spec/ledger.md` say what it does; this is how.

// Only vector instructions need it; the modules that use them allow it, with an argument at each block.
#![deny(unsafe_code)]

pub mod amount;
pub mod cpu;
pub mod curve;
pub mod error;
pub mod hash;
pub mod journal;
pub mod keys;
pub mod ledger;
pub mod records;
pub mod recovery;
pub mod status;
pub mod tick;
pub mod tick_row;
pub mod voucher;

pub use error::{Code, Error};
pub use status::Status;

/// Version of the boundary between this crate's records and TypeScript. It rises with every
/// change of a stride, an offset, a status or a verb.
pub const ABI_VERSION: u32 = 2;

/// A 20-byte address: the last 20 bytes of the Keccak-256 of a public key, or a contract.
pub type Address = [u8; 20];
