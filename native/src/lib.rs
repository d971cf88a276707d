//! The Node addon: checks arguments, calls `piecework-core`, turns errors and panics into exceptions.
//!
//! It decides nothing and keeps nothing but the table of open ledgers. Batches cross as one
//! `Uint8Array` of fixed-stride records each way. A message of an exception starts with its code.

// In a test build nothing registers the exports, so they would all seem unused.
#![cfg_attr(test, allow(dead_code))]

mod hashing;
mod ledgers;
mod vouchers;

use std::panic::{AssertUnwindSafe, catch_unwind};

use napi_derive::napi;
use piecework_core::{Code, Error};

/// Runs the body of a verb. A panic must not unwind into Node: it becomes an exception.
fn guarded<T>(body: impl FnOnce() -> Result<T, Error>) -> napi::Result<T> {
    // A panic inside a ledger poisons the lock it holds, so no broken state is used afterwards.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(napi::Error::from_reason(error.to_string())),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(napi::Error::from_reason(format!("NATIVE_PANIC: {text}")))
        }
    }
}

/// Reads an argument of exactly `N` bytes.
fn exactly<const N: usize>(bytes: &[u8], what: &str) -> Result<[u8; N], Error> {
    bytes.try_into().map_err(|_| {
        let size = bytes.len();
        Error::new(
            Code::BadArgument,
            format!("{what}: {size} bytes instead of {N}"),
        )
    })
}

/// The version of this boundary; TypeScript refuses another.
#[napi]
pub fn abi_version() -> u32 {
    piecework_core::ABI_VERSION
}

/// Strides, offsets, kinds and statuses as JSON.
#[napi]
pub fn layout() -> String {
    piecework_core::records::layout_json()
}

/// The level of instructions in force, then the processor features that this build uses here.
#[napi]
pub fn cpu_features() -> napi::Result<Vec<&'static str>> {
    guarded(|| Ok(piecework_core::hash::cpu_features()))
}
