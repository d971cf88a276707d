//! The verbs over pieces and hash chains.

use napi::bindgen_prelude::{Uint8Array, Uint8ArraySlice};
use napi_derive::napi;
use piecework_core::hash::{self, PieceAlgorithm};
use piecework_core::{Code, Error, tick};

use crate::{exactly, guarded};

/// The digests of the pieces, one after the other. The algorithm is `sha1` or `sha256`.
#[napi]
pub fn hash_pieces(algorithm: String, pieces: Vec<Uint8ArraySlice>) -> napi::Result<Uint8Array> {
    guarded(|| {
        let algorithm = PieceAlgorithm::from_name(&algorithm)
            .ok_or_else(|| Error::new(Code::BadArgument, format!("no algorithm {algorithm}")))?;
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
        Ok(hash::hash_pieces(algorithm, &pieces).into())
    })
}

/// The status bytes of `tick_step` records.
#[napi]
pub fn check_ticks(steps: &[u8]) -> napi::Result<Uint8Array> {
    guarded(|| Ok(tick::check_all(steps)?.into()))
}

/// The value that many links of a hash chain on.
#[napi]
pub fn walk_ticks(value: &[u8], steps: u32) -> napi::Result<Uint8Array> {
    guarded(|| {
        if steps > tick::LENGTH_MAX {
            return Err(Error::new(Code::BadArgument, format!("{steps} steps")));
        }
        Ok(tick::walk(&exactly(value, "value")?, steps).to_vec().into())
    })
}
