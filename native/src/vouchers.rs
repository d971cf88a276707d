//! The verbs over vouchers, signatures and voucher keys; they keep no state.

use napi::bindgen_prelude::{BigInt, Uint8Array};
use napi_derive::napi;
use piecework_core::amount::Amount;
use piecework_core::records::row;
use piecework_core::{Code, Error, keys, voucher};

use crate::{exactly, guarded};

/// Reads a bigint as an unsigned 64-bit number.
pub(crate) fn long(value: &BigInt, what: &str) -> Result<u64, Error> {
    match value.get_u64() {
        (false, value, true) => Ok(value),
        _ => Err(Error::new(
            Code::BadArgument,
            format!("{what} is not a uint64"),
        )),
    }
}

fn amount(value: &BigInt) -> Result<Amount, Error> {
    match value.get_u128() {
        (false, value, true) => Amount::new(value),
        _ => None,
    }
    .ok_or_else(|| Error::new(Code::BadArgument, "the amount is not a uint96"))
}

/// The EIP-712 domain separator of a hub.
#[napi]
pub fn domain_separator(chain_id: BigInt, hub: &[u8]) -> napi::Result<Uint8Array> {
    guarded(|| {
        let hub = exactly(hub, "hub")?;
        Ok(
            voucher::domain_separator(long(&chain_id, "chain id")?, &hub)
                .to_vec()
                .into(),
        )
    })
}

/// The digests of `voucher` records.
#[napi]
pub fn voucher_digests(domain: &[u8], rows: &[u8]) -> napi::Result<Uint8Array> {
    guarded(|| Ok(row::digest_all(&exactly(domain, "domain")?, rows)?.into()))
}

/// The status bytes of `voucher` records.
#[napi]
pub fn verify_vouchers(domain: &[u8], rows: &[u8]) -> napi::Result<Uint8Array> {
    guarded(|| Ok(row::verify_all(&exactly(domain, "domain")?, rows)?.into()))
}

/// The status bytes of `tick_claim` records.
#[napi]
pub fn verify_ticks(domain: &[u8], rows: &[u8]) -> napi::Result<Uint8Array> {
    guarded(|| Ok(row::verify_ticks(&exactly(domain, "domain")?, rows)?.into()))
}

/// The `recovered` records of `recovery` records.
#[napi]
pub fn recover_digests(rows: &[u8]) -> napi::Result<Uint8Array> {
    guarded(|| Ok(row::recover_all(rows)?.into()))
}

/// The 64-byte signatures of 32-byte digests.
#[napi]
pub fn sign_digests(secret: &[u8], digests: &[u8]) -> napi::Result<Uint8Array> {
    guarded(|| Ok(row::sign_all(exactly(secret, "secret key")?, digests)?.into()))
}

/// The 76-byte row of a voucher.
#[napi]
pub fn sign_voucher(
    domain: &[u8],
    secret: &[u8],
    payee: &[u8],
    cumulative_amount: BigInt,
) -> napi::Result<Uint8Array> {
    guarded(|| {
        let key = voucher::secret_key(exactly(secret, "secret key")?)?;
        let domain = exactly(domain, "domain")?;
        let payee = exactly(payee, "payee")?;
        let row = voucher::sign(&domain, &key, &payee, amount(&cumulative_amount)?);
        Ok(row.0.to_vec().into())
    })
}

/// The address of a secret key.
#[napi]
pub fn address_of(secret: &[u8]) -> napi::Result<Uint8Array> {
    guarded(|| {
        let key = voucher::secret_key(exactly(secret, "secret key")?)?;
        Ok(voucher::address_of_secret(&key).to_vec().into())
    })
}

/// The addresses of `count` voucher keys of a seed, 20 bytes each.
#[napi]
pub fn derive_voucher_keys(
    seed: &[u8],
    first_index: BigInt,
    count: u32,
) -> napi::Result<Uint8Array> {
    guarded(|| {
        let first = long(&first_index, "first index")?;
        Ok(keys::addresses(&exactly(seed, "seed")?, first, count).into())
    })
}

/// The secret voucher key at an index of a seed.
#[napi]
pub fn derive_voucher_secret(seed: &[u8], index: BigInt) -> napi::Result<Uint8Array> {
    guarded(|| {
        let key = keys::derive(&exactly(seed, "seed")?, long(&index, "index")?);
        Ok(key.to_secret_bytes().to_vec().into())
    })
}
