//! Owns the recovery of signers under the rules of acceptance (`docs/spec/voucher.md` 4): one by
//! libsecp256k1, many side by side where the processor can (`curve`). The answers are the same.

use secp256k1::Message;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};

use crate::Address;
use crate::cpu::Level;
use crate::curve::{self, Claim, Signer};
use crate::status::Status;
use crate::voucher::address_of_key;

/// The size of a compact signature `r ‖ vs` in bytes (EIP-2098).
pub const SIGNATURE_SIZE: usize = 64;

/// `n`, the order of secp256k1.
pub(crate) const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
    0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];
/// `(n − 1) / 2`, the greatest accepted `s`.
pub(crate) const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// Fewer signatures than this are recovered one by one: all lanes together take as long as two.
const LANES_FROM: usize = 3;

/// A digest and what claims to be a signature of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signed {
    /// What was signed.
    pub digest: [u8; 32],
    /// `r ‖ vs`.
    pub signature: [u8; SIGNATURE_SIZE],
}

impl Signed {
    /// The parts of the signature, or `BadRange`.
    fn claim(&self) -> Result<Claim, Status> {
        let mut claim = Claim {
            digest: self.digest,
            r: [0; 32],
            s: [0; 32],
            odd: self.signature[32] & 0x80 != 0,
        };
        claim.r.copy_from_slice(&self.signature[..32]);
        claim.s.copy_from_slice(&self.signature[32..]);
        claim.s[0] &= 0x7f;
        let zero = [0; 32];
        if claim.r == zero || claim.r >= ORDER || claim.s == zero || claim.s > HALF_ORDER {
            return Err(Status::BadRange);
        }
        Ok(claim)
    }
}

/// The signer of a digest. Some 45 µs.
///
/// Answers `BadRange` when `r` or `s` is out of range and `BadSignature` when no key recovers.
pub fn recover(signed: &Signed) -> Result<Address, Status> {
    signed.claim().and_then(|claim| recover_one(&claim))
}

/// What `recover` says of each, in their order. Some 4 µs each in sixteens at `Level::Avx512`.
#[must_use]
pub fn recover_all(level: Level, signed: &[Signed]) -> Vec<Result<Address, Status>> {
    let claims: Vec<Result<Claim, Status>> = signed.iter().map(Signed::claim).collect();
    let in_range: Vec<Claim> = claims.iter().filter_map(|claim| claim.ok()).collect();
    let side_by_side = (in_range.len() >= LANES_FROM)
        .then(|| curve::recover(level, &in_range))
        .flatten();
    let Some(signers) = side_by_side else {
        return claims
            .iter()
            .map(|claim| claim.and_then(|claim| recover_one(&claim)))
            .collect();
    };
    let mut signers = signers.into_iter();
    claims
        .iter()
        .map(|claim| {
            let claim = (*claim)?;
            match signers.next() {
                Some(Signer::Address(address)) => Ok(address),
                Some(Signer::Nobody) => Err(Status::BadSignature),
                Some(Signer::Unknown) | None => recover_one(&claim),
            }
        })
        .collect()
}

/// The scalar twin of `curve::recover`.
pub(crate) fn recover_one(claim: &Claim) -> Result<Address, Status> {
    let id = if claim.odd {
        RecoveryId::One
    } else {
        RecoveryId::Zero
    };
    let mut compact = [0; SIGNATURE_SIZE];
    compact[..32].copy_from_slice(&claim.r);
    compact[32..].copy_from_slice(&claim.s);
    RecoverableSignature::from_compact(&compact, id)
        .and_then(|parsed| parsed.recover_ecdsa(Message::from_digest(claim.digest)))
        .map(|key| address_of_key(&key))
        .map_err(|_| Status::BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_order_is_half_the_order() {
        // 2 × HALF_ORDER + 1 = ORDER, by schoolbook doubling.
        let mut carry = 1u16;
        let mut doubled = [0u8; 32];
        for at in (0..32).rev() {
            let sum = u16::from(HALF_ORDER[at]) * 2 + carry;
            doubled[at] = sum as u8;
            carry = sum >> 8;
        }
        assert_eq!((doubled, carry), (ORDER, 0));
    }
}
