//! Owns the voucher: its EIP-712 digest, its 76-byte row, signing and acceptance
//! (`docs/spec/voucher.md`).
//!
//! Acceptance is the hub's rule and nothing weaker: `r` and `s` in range, `s` low, and the y parity
//! bit must recover the voucher key. What is accepted here is accepted on chain.

use secp256k1::ecdsa::RecoverableSignature;
use secp256k1::{Message, PublicKey, SecretKey};

use crate::Address;
use crate::amount::Amount;
use crate::cpu::Level;
use crate::curve::{self, VECTOR};
use crate::error::{Code, Error};
use crate::hash::keccak256;
use crate::recovery::{self, Signed};
use crate::status::Status;

/// The size of a row in bytes.
pub const ROW_SIZE: usize = 76;
pub use crate::recovery::SIGNATURE_SIZE;

/// A voucher as it travels and is kept: amount (12, big-endian), `r` (32), `vs` (32).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row(pub [u8; ROW_SIZE]);

impl Row {
    /// The row of a channel that has no voucher yet.
    pub const EMPTY: Row = Row([0; ROW_SIZE]);

    /// Puts an amount and a compact signature together.
    #[must_use]
    pub fn new(amount: Amount, signature: &[u8; SIGNATURE_SIZE]) -> Row {
        let mut bytes = [0; ROW_SIZE];
        bytes[..12].copy_from_slice(&amount.to_be_bytes());
        bytes[12..].copy_from_slice(signature);
        Row(bytes)
    }

    /// The cumulative amount.
    #[must_use]
    pub fn amount(&self) -> Amount {
        let mut bytes = [0; 12];
        bytes.copy_from_slice(&self.0[..12]);
        Amount::from_be_bytes(bytes)
    }

    /// `r ‖ vs`.
    #[must_use]
    pub fn signature(&self) -> [u8; SIGNATURE_SIZE] {
        let mut bytes = [0; SIGNATURE_SIZE];
        bytes.copy_from_slice(&self.0[12..]);
        bytes
    }
}

/// The EIP-712 domain separator of the hub at `hub` on the chain `chain_id`.
#[must_use]
pub fn domain_separator(chain_id: u64, hub: &Address) -> [u8; 32] {
    let type_hash = keccak256(&[
        b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
    ]);
    let mut chain = [0; 32];
    chain[24..].copy_from_slice(&chain_id.to_be_bytes());
    keccak256(&[
        &type_hash,
        &keccak256(&[b"Piecework"]),
        &keccak256(&[b"1"]),
        &chain,
        &[0; 12],
        hub,
    ])
}

/// The digest that the voucher key signs.
#[must_use]
pub fn digest(domain: &[u8; 32], payee: &Address, amount: Amount) -> [u8; 32] {
    let fields = keccak256(&[&fields_of(payee, amount)]);
    keccak256(&[&message_of(domain, &fields)])
}

/// The digest of each claim in its order, eight at a time where `level` allows.
#[must_use]
pub fn digests(level: Level, domain: &[u8; 32], claims: &[Claim]) -> Vec<[u8; 32]> {
    let one_by_one = |claims: &[Claim]| {
        claims
            .iter()
            .map(|claim| digest(domain, &claim.payee, claim.row.amount()))
            .collect::<Vec<_>>()
    };
    let (eights, rest) = claims.as_chunks::<VECTOR>();
    let mut found = Vec::with_capacity(claims.len());
    for eight in eights {
        let fields = eight.map(|claim| fields_of(&claim.payee, claim.row.amount()));
        let digests = curve::keccak256_eight(level, &fields).and_then(|hashes| {
            curve::keccak256_eight(level, &hashes.map(|hash| message_of(domain, &hash)))
        });
        match digests {
            Some(digests) => found.extend(digests),
            None => found.extend(one_by_one(eight)),
        }
    }
    found.extend(one_by_one(rest));
    found
}

/// The encoded struct, which is hashed first.
fn fields_of(payee: &Address, amount: Amount) -> [u8; 96] {
    // keccak256("Voucher(address payee,uint256 cumulativeAmount)"); a test recomputes it.
    const TYPE_HASH: [u8; 32] = [
        0x1b, 0xe3, 0x88, 0xfe, 0x51, 0x88, 0x19, 0x13, 0x3a, 0xa8, 0x96, 0x2e, 0x0d, 0x6a, 0xb7,
        0x65, 0x38, 0x7c, 0xce, 0xe0, 0x7b, 0x7c, 0xbd, 0xc9, 0x20, 0x30, 0x16, 0x11, 0xba, 0x7c,
        0x2f, 0xb0,
    ];
    let mut fields = [0; 96];
    fields[..32].copy_from_slice(&TYPE_HASH);
    fields[44..64].copy_from_slice(payee);
    fields[84..96].copy_from_slice(&amount.to_be_bytes());
    fields
}

/// The message of the digest, around the hash of the struct.
fn message_of(domain: &[u8; 32], fields: &[u8; 32]) -> [u8; 66] {
    let mut message = [0; 66];
    message[..2].copy_from_slice(&[0x19, 0x01]);
    message[2..34].copy_from_slice(domain);
    message[34..].copy_from_slice(fields);
    message
}

/// The address of a public key.
#[must_use]
pub fn address_of_key(key: &PublicKey) -> Address {
    let hash = keccak256(&[&key.serialize_uncompressed()[1..]]);
    let mut address = [0; 20];
    address.copy_from_slice(&hash[12..]);
    address
}

/// The address of a secret key.
#[must_use]
pub fn address_of_secret(key: &SecretKey) -> Address {
    address_of_key(&PublicKey::from_secret_key(key))
}

/// Reads a secret key; out of range is an argument error, since it never comes from a peer.
pub fn secret_key(bytes: [u8; 32]) -> Result<SecretKey, Error> {
    SecretKey::from_secret_bytes(bytes)
        .map_err(|_| Error::new(Code::BadArgument, "a secret key is not in 1 … n − 1"))
}

/// A voucher and the channel it claims to be of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The address of the key that must have signed.
    pub voucher_key: Address,
    /// Who is paid.
    pub payee: Address,
    /// The voucher.
    pub row: Row,
}

/// The status of a row for (domain, voucher key, payee).
#[must_use]
pub fn verify(domain: &[u8; 32], voucher_key: &Address, payee: &Address, row: &Row) -> Status {
    let found = recovery::recover(&Signed {
        digest: digest(domain, payee, row.amount()),
        signature: row.signature(),
    });
    status_of(found, voucher_key)
}

/// The status of each claim in its order. Thousands together cost least per claim (`recovery`).
#[must_use]
pub fn verify_all(level: Level, domain: &[u8; 32], claims: &[Claim]) -> Vec<Status> {
    let signed: Vec<Signed> = digests(level, domain, claims)
        .into_iter()
        .zip(claims)
        .map(|(digest, claim)| Signed {
            digest,
            signature: claim.row.signature(),
        })
        .collect();
    recovery::recover_all(level, &signed)
        .into_iter()
        .zip(claims)
        .map(|(found, claim)| status_of(found, &claim.voucher_key))
        .collect()
}

/// What a recovery says of a claim by `voucher_key`.
pub(crate) fn status_of(found: Result<Address, Status>, voucher_key: &Address) -> Status {
    match found {
        Ok(signer) if signer == *voucher_key => Status::Ok,
        Ok(_) => Status::BadSignature,
        Err(status) => status,
    }
}

/// Signs a digest: RFC 6979 nonce, low `s`, the parity folded into `vs`.
#[must_use]
pub fn sign_digest(key: &SecretKey, digest: &[u8; 32]) -> [u8; SIGNATURE_SIZE] {
    let signature =
        RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(*digest), key);
    let (id, mut compact) = signature.serialize_compact();
    // libsecp256k1 gives low s with the parity already flipped to match. The ids 2 and 3 mean that
    // the x coordinate of R was n or more, which no one has ever seen; the parity is the low bit.
    if id.to_u8() & 1 == 1 {
        compact[32] |= 0x80;
    }
    compact
}

/// Signs the voucher over `amount` of the channel (address of `key`, `payee`).
#[must_use]
pub fn sign(domain: &[u8; 32], key: &SecretKey, payee: &Address, amount: Amount) -> Row {
    Row::new(amount, &sign_digest(key, &digest(domain, payee, amount)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::{HALF_ORDER, ORDER};

    fn key(byte: u8) -> SecretKey {
        secret_key([byte; 32]).unwrap()
    }

    #[test]
    fn type_hash_is_of_the_type() {
        let domain = domain_separator(199, &[7; 20]);
        let amount = Amount::new(5).unwrap();
        let type_hash = keccak256(&[b"Voucher(address payee,uint256 cumulativeAmount)"]);
        let inner = keccak256(&[
            &type_hash,
            &[0; 12],
            &[3; 20],
            &[0; 20],
            &amount.to_be_bytes(),
        ]);
        assert_eq!(
            digest(&domain, &[3; 20], amount),
            keccak256(&[&[0x19, 0x01], &domain, &inner])
        );
    }

    #[test]
    fn signs_what_it_accepts_and_nothing_else() {
        let (key, payee) = (key(9), [5; 20]);
        let (domain, other) = (
            domain_separator(199, &[1; 20]),
            domain_separator(1029, &[1; 20]),
        );
        let voucher_key = address_of_secret(&key);
        let row = sign(&domain, &key, &payee, Amount::new(1_000).unwrap());
        assert_eq!(verify(&domain, &voucher_key, &payee, &row), Status::Ok);
        assert_eq!(
            verify(&other, &voucher_key, &payee, &row),
            Status::BadSignature
        );
        assert_eq!(verify(&domain, &payee, &payee, &row), Status::BadSignature);
        assert_eq!(
            verify(&domain, &voucher_key, &voucher_key, &row),
            Status::BadSignature
        );
        let again = sign(&domain, &key, &payee, Amount::new(1_000).unwrap());
        assert_eq!(row, again, "the same voucher has the same bytes");
        for bit in 0..ROW_SIZE * 8 {
            let mut flipped = row;
            flipped.0[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(
                verify(&domain, &voucher_key, &payee, &flipped),
                Status::Ok,
                "bit {bit}"
            );
        }
    }

    #[test]
    fn range_comes_before_recovery() {
        let domain = domain_separator(1, &[1; 20]);
        let with = |r: [u8; 32], s: [u8; 32]| {
            let mut row = Row::EMPTY;
            row.0[12..44].copy_from_slice(&r);
            row.0[44..].copy_from_slice(&s);
            verify(&domain, &[1; 20], &[2; 20], &row)
        };
        let mut one = [0; 32];
        one[31] = 1;
        let mut above = HALF_ORDER;
        above[31] += 1;
        assert_eq!(with([0; 32], one), Status::BadRange);
        assert_eq!(with(one, [0; 32]), Status::BadRange);
        assert_eq!(with(ORDER, one), Status::BadRange);
        assert_eq!(with([0xff; 32], one), Status::BadRange);
        assert_eq!(with(one, above), Status::BadRange);
        assert_eq!(with(one, HALF_ORDER), Status::BadSignature);
        // x = 5 is not on the curve: nothing recovers.
        let mut five = [0; 32];
        five[31] = 5;
        assert_eq!(with(five, one), Status::BadSignature);
    }

    #[test]
    fn secret_keys_are_in_range() {
        assert!(secret_key([0; 32]).is_err());
        assert!(secret_key(ORDER).is_err());
    }
}
