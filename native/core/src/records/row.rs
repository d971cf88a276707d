//! The rows of the stateless verbs: vouchers to verify and signatures to recover.

use super::{bytes, layout};
use crate::cpu;
use crate::error::{Code, Error};
use crate::recovery::Signed;
use crate::status::Status;
use crate::tick_row::{self, TickClaim, TickRow};
use crate::voucher::{Claim, Row};

layout!(
    /// A voucher with the channel it claims.
    voucher, "voucher_claim", 116, {
        VOUCHER_KEY "voucherKey" Bytes 20 @ 0;
        PAYEE "payee" Bytes 20 @ 20;
        ROW "row" Bytes 76 @ 40;
    }
);

layout!(
    /// A value of a hash chain that claims to lead to the one before it in so many steps.
    tick_step, "tick_step", 66, {
        PREVIOUS "previous" Bytes 32 @ 0;
        VALUE "value" Bytes 32 @ 32;
        STEPS "steps" U16 2 @ 64;
    }
);

layout!(
    /// A tick voucher, with its newest tick, and the channel it claims.
    tick, "tick_claim", 164, {
        VOUCHER_KEY "voucherKey" Bytes 20 @ 0;
        PAYEE "payee" Bytes 20 @ 20;
        ROW "row" Bytes 124 @ 40;
    }
);

layout!(
    /// A compact signature and the digest it signs.
    recovery, "recovery", 96, {
        DIGEST "digest" Bytes 32 @ 0;
        SIGNATURE "signature" Bytes 64 @ 32;
    }
);

layout!(
    /// What recovery found; the address is zero unless the status is `ok`.
    recovered, "recovered", 21, {
        STATUS "status" U8 1 @ 0;
        ADDRESS "address" Bytes 20 @ 1;
    }
);

/// Splits a buffer into records, or refuses a size that is not a whole number of them.
pub fn records<'a>(
    buffer: &'a [u8],
    stride: usize,
    what: &str,
) -> Result<std::slice::ChunksExact<'a, u8>, Error> {
    if !buffer.len().is_multiple_of(stride) {
        let size = buffer.len();
        return Err(Error::new(
            Code::BadArgument,
            format!("{what}: {size} bytes are not a multiple of {stride}"),
        ));
    }
    Ok(buffer.chunks_exact(stride))
}

fn claims(buffer: &[u8]) -> Result<Vec<Claim>, Error> {
    let rows = records(buffer, voucher::LAYOUT.stride, "vouchers")?;
    Ok(rows
        .map(|record| Claim {
            voucher_key: bytes(record, voucher::VOUCHER_KEY),
            payee: bytes(record, voucher::PAYEE),
            row: Row(bytes(record, voucher::ROW)),
        })
        .collect())
}

/// One status byte per voucher record.
pub fn verify_all(domain: &[u8; 32], buffer: &[u8]) -> Result<Vec<u8>, Error> {
    let statuses = crate::voucher::verify_all(cpu::level(), domain, &claims(buffer)?);
    Ok(statuses.into_iter().map(|status| status as u8).collect())
}

/// One status byte per tick voucher record. Each costs a recovery, and as many hashes as its count.
pub fn verify_ticks(domain: &[u8; 32], buffer: &[u8]) -> Result<Vec<u8>, Error> {
    let claims: Vec<TickClaim> = records(buffer, tick::LAYOUT.stride, "tick vouchers")?
        .map(|record| TickClaim {
            voucher_key: bytes(record, tick::VOUCHER_KEY),
            payee: bytes(record, tick::PAYEE),
            row: TickRow(bytes(record, tick::ROW)),
        })
        .collect();
    let statuses = tick_row::verify_all(cpu::level(), domain, &claims);
    Ok(statuses.into_iter().map(|status| status as u8).collect())
}

/// One 32-byte digest per voucher record.
pub fn digest_all(domain: &[u8; 32], buffer: &[u8]) -> Result<Vec<u8>, Error> {
    Ok(crate::voucher::digests(cpu::level(), domain, &claims(buffer)?).concat())
}

/// One recovered record per recovery record.
pub fn recover_all(buffer: &[u8]) -> Result<Vec<u8>, Error> {
    let rows = records(buffer, recovery::LAYOUT.stride, "recoveries")?;
    let signed: Vec<Signed> = rows
        .map(|record| Signed {
            digest: bytes(record, recovery::DIGEST),
            signature: bytes(record, recovery::SIGNATURE),
        })
        .collect();
    let mut out = Vec::with_capacity(signed.len() * recovered::LAYOUT.stride);
    for found in crate::recovery::recover_all(cpu::level(), &signed) {
        let (status, address) = match found {
            Ok(address) => (Status::Ok, address),
            Err(status) => (status, [0; 20]),
        };
        out.push(status as u8);
        out.extend_from_slice(&address);
    }
    Ok(out)
}

/// One 64-byte signature per 32-byte digest.
pub fn sign_all(secret: [u8; 32], digests: &[u8]) -> Result<Vec<u8>, Error> {
    let key = crate::voucher::secret_key(secret)?;
    Ok(records(digests, 32, "digests")?
        .flat_map(|digest| crate::voucher::sign_digest(&key, &bytes(digest, 0)))
        .collect())
}
