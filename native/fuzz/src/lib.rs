//! Fuzz targets of `piecework-core`: plain functions over bytes, whoever makes the bytes.
//!
//! A target panics when the core breaks a rule, and otherwise tells what it looked at. Three things drive the
//! same functions: the short tests of this crate, the driver (`src/main.rs`) that draws inputs from a seed, and
//! libFuzzer (`src/libfuzzer.rs`), which learns from coverage. `docs/guide/testing.md` says how to run them.

#![forbid(unsafe_code)]

pub mod chance;
pub mod driver;
pub mod events;
pub mod frames;
pub mod hashing;
pub mod journal;
pub mod ledger;
pub mod records;
pub mod snapshots;
pub mod source;
pub mod vouchers;

/// What one run of a target looked at.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Things checked: one for an input that is decoded, else vouchers, pieces or commands.
    pub checked: u64,
    /// How many of them were accepted, so that a run tells whether it reached the interesting paths.
    pub accepted: u64,
}

impl Seen {
    /// One decoded input.
    #[must_use]
    pub const fn one(accepted: bool) -> Seen {
        Seen {
            checked: 1,
            accepted: accepted as u64,
        }
    }
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, other: Seen) {
        self.checked += other.checked;
        self.accepted += other.accepted;
    }
}

/// A target by name.
#[derive(Clone, Copy)]
pub struct Target {
    /// The name in commands and reports.
    pub name: &'static str,
    /// Runs it on one input; panics when the core breaks a rule.
    pub run: fn(&[u8]) -> Seen,
    /// Inputs worth mutating, the same at every call.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The longest input that is drawn, in bytes.
    pub size_max: usize,
    /// What `Seen::checked` counts.
    pub counts: &'static str,
}

/// All targets. Those that count `inputs` are decoders: one execution decodes one input.
pub const TARGETS: [Target; 8] = [
    Target {
        name: "records",
        run: records::run,
        seeds: records::seeds,
        size_max: 256,
        counts: "inputs",
    },
    Target {
        name: "events",
        run: events::run,
        seeds: events::seeds,
        size_max: 512,
        counts: "inputs",
    },
    Target {
        name: "frames",
        run: frames::run,
        seeds: frames::seeds,
        size_max: 512,
        counts: "inputs",
    },
    Target {
        name: "snapshots",
        run: snapshots::run,
        seeds: snapshots::seeds,
        size_max: 1024,
        counts: "inputs",
    },
    Target {
        name: "journal",
        run: journal::run,
        seeds: journal::seeds,
        size_max: 256,
        counts: "folders",
    },
    Target {
        name: "ledger",
        run: ledger::run,
        seeds: ledger::seeds,
        size_max: 1024,
        counts: "commands",
    },
    Target {
        name: "vouchers",
        run: vouchers::run,
        seeds: vouchers::seeds,
        size_max: 256,
        counts: "vouchers",
    },
    Target {
        name: "hashing",
        run: hashing::run,
        seeds: hashing::seeds,
        size_max: 4096,
        counts: "pieces",
    },
];

/// The target with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
