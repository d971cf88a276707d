//! Which compression functions each level of the processor has.

use super::links::{LinkKernel, walk_one};
use super::schedule::Kernel;
use crate::cpu::{self, Level};

const SHA1_ONE: Kernel<5> = Kernel {
    streams: 1,
    worth: 1,
    compress: |states, data, blocks| sha1::block_api::compress(&mut states[0], &data[0][..blocks]),
};
const SHA256_ONE: Kernel<8> = Kernel {
    streams: 1,
    worth: 1,
    compress: |states, data, blocks| {
        sha2::block_api::compress256(&mut states[0], &data[0][..blocks]);
    },
};
const LINK_ONE: LinkKernel = LinkKernel {
    chains: 1,
    worth: 1,
    walk: walk_one,
};

/// The kernels of SHA-1 at a level, or at the processor's where that is lower.
pub fn sha1(level: Level) -> &'static [Kernel<5>] {
    allowed(level, &SHA1)
}

/// The kernels of SHA-256 at a level, or at the processor's where that is lower.
pub fn sha256(level: Level) -> &'static [Kernel<8>] {
    allowed(level, &SHA256)
}

/// The kernels of hash chains at a level, or at the processor's where that is lower.
pub fn links(level: Level) -> &'static [LinkKernel] {
    allowed(level, &LINKS)
}

/// The part of a table that a level may use. The soundness of the kernels rests on this: none is handed out
/// whose instructions the processor lacks.
#[cfg(target_arch = "x86_64")]
fn allowed<K, const N: usize>(level: Level, table: &'static [K; N]) -> &'static [K] {
    match level.min(cpu::detected()) {
        // Those with AVX2 or more that lack the SHA instructions are left to the crates.
        _ if !cpu::has_sha() => &table[N - 1..],
        Level::Scalar => &table[N - 1..],
        Level::Avx2 => &table[1..],
        Level::Avx512 => table,
    }
}

#[cfg(target_arch = "x86_64")]
use x86::{LINKS, SHA1, SHA256};

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use super::super::{lanes, ni};
    use super::*;

    pub static SHA1: [Kernel<5>; 4] = [
        Kernel {
            streams: lanes::LANES,
            worth: 9,
            // SAFETY (here and below): `allowed` hands it out only where the processor has AVX-512.
            compress: |states, data, blocks| unsafe { lanes::sha1(states, data, blocks) },
        },
        Kernel {
            streams: 4,
            worth: 3,
            // SAFETY (here and below): `allowed` hands it out only where the processor has SHA-NI.
            compress: |states, data, blocks| unsafe { ni::sha1::<4>(states, data, blocks) },
        },
        Kernel {
            streams: 2,
            worth: 2,
            compress: |states, data, blocks| unsafe { ni::sha1::<2>(states, data, blocks) },
        },
        SHA1_ONE,
    ];

    pub static SHA256: [Kernel<8>; 5] = [
        Kernel {
            streams: lanes::LANES,
            worth: 15,
            compress: |states, data, blocks| unsafe { lanes::sha256(states, data, blocks) },
        },
        Kernel {
            streams: 8,
            worth: 7,
            compress: |states, data, blocks| unsafe { ni::sha256::<8>(states, data, blocks) },
        },
        Kernel {
            streams: 4,
            worth: 3,
            compress: |states, data, blocks| unsafe { ni::sha256::<4>(states, data, blocks) },
        },
        Kernel {
            streams: 2,
            worth: 2,
            compress: |states, data, blocks| unsafe { ni::sha256::<2>(states, data, blocks) },
        },
        SHA256_ONE,
    ];

    pub static LINKS: [LinkKernel; 4] = [
        LinkKernel {
            chains: lanes::LANES,
            worth: 13,
            walk: |values, steps| unsafe { lanes::links(values, steps) },
        },
        LinkKernel {
            chains: 4,
            worth: 3,
            walk: |values, steps| unsafe { ni::links::<4>(values, steps) },
        },
        LinkKernel {
            chains: 2,
            worth: 2,
            walk: |values, steps| unsafe { ni::links::<2>(values, steps) },
        },
        LINK_ONE,
    ];
}

#[cfg(not(target_arch = "x86_64"))]
static SHA1: [Kernel<5>; 1] = [SHA1_ONE];
#[cfg(not(target_arch = "x86_64"))]
static SHA256: [Kernel<8>; 1] = [SHA256_ONE];

#[cfg(not(target_arch = "x86_64"))]
fn allowed<K>(_level: Level, table: &'static [K; 1]) -> &'static [K] {
    table
}
#[cfg(not(target_arch = "x86_64"))]
static LINKS: [LinkKernel; 1] = [LINK_ONE];
