//! The verb over pieces.

use napi::bindgen_prelude::{Uint8Array, Uint8ArraySlice};
use napi_derive::napi;
use piecework_core::hash::{self, PieceAlgorithm};
use piecework_core::{Code, Error};

use crate::guarded;

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
