//! libFuzzer's form: `PIECEWORK_TARGET` names the target. `npm run soak:native` builds and runs it.

#![no_main]

use std::sync::LazyLock;

use piecework_fuzz::{TARGETS, Target, find};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("PIECEWORK_TARGET").unwrap_or_default();
    let names = TARGETS.map(|target| target.name).join(", ");
    *find(&name).unwrap_or_else(|| panic!("PIECEWORK_TARGET is one of {names}"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (TARGET.run)(data);
});
