//! Owns the voucher: its EIP-712 digest, its 76-byte row, signing and acceptance
//! (`docs/spec/voucher.md`).
//!
//! Acceptance is the hub's rule and nothing weaker: `r` and `s` in range, `s` low, and the y parity
//! bit must recover the voucher key. What is accepted here is accepted on chain.

use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SecretKey};

use crate::Address;
use crate::amount::Amount;
use crate::error::{Code, Error};
use crate::hash::keccak256;
use crate::status::Status;

/// The size of a row in bytes.
pub const ROW_SIZE: usize = 76;
/// The size of a compact signature `r ‖ vs` in bytes (EIP-2098).
pub const SIGNATURE_SIZE: usize = 64;

/// `n`, the order of secp256k1.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
    0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];
/// `(n − 1) / 2`, the greatest accepted `s`.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

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
    keccak256(&[&[0x19, 0x01], domain, &keccak256(&[&fields])])
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

/// Recovers the signer of a digest from `r ‖ vs` under the rules of acceptance.
///
/// Answers `BadRange` when `r` or `s` is out of range and `BadSignature` when no key recovers.
pub fn recover(digest: &[u8; 32], signature: &[u8; SIGNATURE_SIZE]) -> Result<Address, Status> {
    let odd = signature[32] & 0x80 != 0;
    let mut compact = *signature;
    compact[32] &= 0x7f;
    let (r, s) = compact.split_at(32);
    let zero = [0u8; 32];
    if r == zero || r >= ORDER.as_slice() || s == zero || s > HALF_ORDER.as_slice() {
        return Err(Status::BadRange);
    }
    let id = if odd {
        RecoveryId::One
    } else {
        RecoveryId::Zero
    };
    RecoverableSignature::from_compact(&compact, id)
        .and_then(|parsed| parsed.recover_ecdsa(Message::from_digest(*digest)))
        .map(|key| address_of_key(&key))
        .map_err(|_| Status::BadSignature)
}

/// The status of a row for (domain, voucher key, payee).
#[must_use]
pub fn verify(domain: &[u8; 32], voucher_key: &Address, payee: &Address, row: &Row) -> Status {
    match recover(&digest(domain, payee, row.amount()), &row.signature()) {
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
