//! Owns the tick voucher: its hash chain, its EIP-712 digest, its 124-byte row, signing and
//! acceptance (`docs/spec/ticks.md` 1 and 2).
//!
//! The row names its root by a tick and a count: whoever reads it links the tick back to the root
//! before a signature can be checked. Nothing here links more than `CHAIN_LENGTH_MAX` times.

use secp256k1::SecretKey;

use crate::Address;
use crate::amount::{AMOUNT_MAX, Amount};
use crate::cpu::Level;
use crate::hash::keccak256;
use crate::recovery::{self, Signed};
use crate::status::Status;
pub use crate::tick::Tick;
use crate::voucher::{self, SIGNATURE_SIZE};

/// The size of a tick row in bytes.
pub const TICK_ROW_SIZE: usize = 124;
/// The longest chain.
pub const CHAIN_LENGTH_MAX: u16 = 1024;

/// What a tick voucher says besides its root: over whom, and what a tick is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Who is paid.
    pub payee: Address,
    /// What is promised without any tick, in base units.
    pub amount: Amount,
    /// What each tick adds, in base units.
    pub unit: Amount,
    /// How many ticks there are.
    pub length: u16,
}

/// A tick voucher with its newest tick, as it travels and is kept: amount (12, big-endian), unit
/// (12), length (2), count (2), tick (32), `r` (32), `vs` (32).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TickRow(pub [u8; TICK_ROW_SIZE]);

impl TickRow {
    /// A row that has shown no tick yet: with the root and the signature over it.
    #[must_use]
    pub fn new(terms: &Terms, root: &Tick, signature: &[u8; SIGNATURE_SIZE]) -> TickRow {
        let mut bytes = [0; TICK_ROW_SIZE];
        bytes[..12].copy_from_slice(&terms.amount.to_be_bytes());
        bytes[12..24].copy_from_slice(&terms.unit.to_be_bytes());
        bytes[24..26].copy_from_slice(&terms.length.to_be_bytes());
        bytes[28..60].copy_from_slice(root);
        bytes[60..].copy_from_slice(signature);
        TickRow(bytes)
    }

    fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.0[at..at + N]);
        bytes
    }

    /// The amount promised without any tick.
    #[must_use]
    pub fn amount(&self) -> Amount {
        Amount::from_be_bytes(self.part(0))
    }

    /// What each tick adds.
    #[must_use]
    pub fn unit(&self) -> Amount {
        Amount::from_be_bytes(self.part(12))
    }

    /// How many ticks the chain has.
    #[must_use]
    pub fn length(&self) -> u16 {
        u16::from_be_bytes(self.part(24))
    }

    /// How many ticks are shown.
    #[must_use]
    pub fn count(&self) -> u16 {
        u16::from_be_bytes(self.part(26))
    }

    /// The tick that is shown; the root where the count is 0.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.part(28)
    }

    /// `r ‖ vs`.
    #[must_use]
    pub fn signature(&self) -> [u8; SIGNATURE_SIZE] {
        self.part(60)
    }

    /// What the voucher says besides its root.
    #[must_use]
    pub fn terms(&self, payee: &Address) -> Terms {
        Terms {
            payee: *payee,
            amount: self.amount(),
            unit: self.unit(),
            length: self.length(),
        }
    }

    /// What the row claims: amount + count × unit. Beyond uint96 only where it is not in range.
    #[must_use]
    pub fn claim(&self) -> u128 {
        claim(self.amount(), self.unit(), self.count())
    }

    /// Whether the numbers of the row are in range, and with them every claim it can ever have.
    #[must_use]
    pub fn is_in_range(&self) -> bool {
        let (unit, length) = (self.unit(), self.length());
        is_length(length)
            && unit != Amount::ZERO
            && self.count() <= length
            && claim(self.amount(), unit, length) <= AMOUNT_MAX
    }

    /// The root: the tick linked `count` times. The row must be in range.
    #[must_use]
    pub fn root(&self) -> Tick {
        walk(&self.tick(), self.count())
    }

    /// The same voucher with another tick.
    #[must_use]
    pub fn with_tick(mut self, count: u16, tick: &Tick) -> TickRow {
        self.0[26..28].copy_from_slice(&count.to_be_bytes());
        self.0[28..60].copy_from_slice(tick);
        self
    }
}

/// Whether a chain may have this length.
#[must_use]
pub fn is_length(length: u16) -> bool {
    (1..=CHAIN_LENGTH_MAX).contains(&length)
}

/// amount + count × unit; two uint96 and a uint16 stay within 128 bits.
#[must_use]
pub fn claim(amount: Amount, unit: Amount, count: u16) -> u128 {
    amount.get() + unit.get() * u128::from(count)
}

/// The value `steps` before `tick` in its chain.
#[must_use]
pub fn walk(tick: &Tick, steps: u16) -> Tick {
    crate::tick::walk(tick, steps.into())
}

/// The digest that the voucher key signs.
#[must_use]
pub fn digest(domain: &[u8; 32], terms: &Terms, root: &Tick) -> [u8; 32] {
    // keccak256 of the type in ticks.md 2; a test recomputes it.
    const TYPE_HASH: [u8; 32] = [
        0x04, 0x15, 0x6e, 0xc6, 0xfa, 0xd8, 0x57, 0x0a, 0x86, 0x46, 0x35, 0x36, 0x31, 0x95, 0x0c,
        0x89, 0x59, 0x4e, 0x41, 0x4e, 0x8e, 0x72, 0xce, 0x24, 0xbb, 0x17, 0x22, 0x8c, 0x0d, 0x2c,
        0xca, 0x86,
    ];
    let mut fields = [0; 192];
    fields[..32].copy_from_slice(&TYPE_HASH);
    fields[44..64].copy_from_slice(&terms.payee);
    fields[84..96].copy_from_slice(&terms.amount.to_be_bytes());
    fields[96..128].copy_from_slice(root);
    fields[148..160].copy_from_slice(&terms.unit.to_be_bytes());
    fields[190..].copy_from_slice(&terms.length.to_be_bytes());
    keccak256(&[&[0x19, 0x01], domain, &keccak256(&[&fields])])
}

/// A tick row and the channel it claims.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TickClaim {
    /// The voucher key that has to be the signer.
    pub voucher_key: Address,
    /// The channel's payee.
    pub payee: Address,
    /// The row.
    pub row: TickRow,
}

impl TickClaim {
    /// What its voucher key has to have signed; nothing where the row is out of range. Costs `count` hashes.
    fn signed(&self, domain: &[u8; 32]) -> Option<Signed> {
        let row = &self.row;
        row.is_in_range().then(|| Signed {
            digest: digest(domain, &row.terms(&self.payee), &row.root()),
            signature: row.signature(),
        })
    }
}

/// The status of a tick row for (domain, voucher key, payee). Costs a recovery and `count` hashes.
#[must_use]
pub fn verify(domain: &[u8; 32], voucher_key: &Address, payee: &Address, row: &TickRow) -> Status {
    let claim = TickClaim {
        voucher_key: *voucher_key,
        payee: *payee,
        row: *row,
    };
    claim.signed(domain).map_or(Status::BadRange, |signed| {
        voucher::status_of(recovery::recover(&signed), voucher_key)
    })
}

/// The status of each claim in its order. Many together cost least per claim (`recovery`).
#[must_use]
pub fn verify_all(level: Level, domain: &[u8; 32], claims: &[TickClaim]) -> Vec<Status> {
    let signed: Vec<Option<Signed>> = claims.iter().map(|claim| claim.signed(domain)).collect();
    let in_range: Vec<Signed> = signed.iter().copied().flatten().collect();
    let mut signers = recovery::recover_all(level, &in_range).into_iter();
    let status = |(claim, signed): (&TickClaim, &Option<Signed>)| {
        let found = signed.and_then(|_| signers.next());
        found.map_or(Status::BadRange, |found| {
            voucher::status_of(found, &claim.voucher_key)
        })
    };
    claims.iter().zip(&signed).map(status).collect()
}

/// Signs the tick voucher over a root; the terms must be in range.
#[must_use]
pub fn sign(domain: &[u8; 32], key: &SecretKey, terms: &Terms, root: &Tick) -> TickRow {
    let signature = voucher::sign_digest(key, &digest(domain, terms, root));
    TickRow::new(terms, root, &signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: [u8; 32] = [7; 32];
    const PAYEE: Address = [5; 20];

    fn amount(value: u128) -> Amount {
        Amount::new(value).unwrap()
    }

    fn terms() -> Terms {
        Terms {
            payee: PAYEE,
            amount: amount(1000),
            unit: amount(7),
            length: 20,
        }
    }

    fn signed(terms: &Terms, end: &Tick) -> (Address, TickRow) {
        let key = voucher::secret_key([9; 32]).unwrap();
        let root = walk(end, terms.length);
        let row = sign(&DOMAIN, &key, terms, &root);
        (voucher::address_of_secret(&key), row)
    }

    #[test]
    fn type_hash_is_of_the_type() {
        let type_hash = keccak256(&[
            b"TickVoucher(address payee,uint256 cumulativeAmount,bytes32 root,uint96 unit,uint16 length)",
        ]);
        let terms = terms();
        let inner = keccak256(&[
            &type_hash,
            &[0; 12],
            &PAYEE,
            &[0; 20],
            &terms.amount.to_be_bytes(),
            &[3; 32],
            &[0; 20],
            &terms.unit.to_be_bytes(),
            &[0; 30],
            &terms.length.to_be_bytes(),
        ]);
        assert_eq!(
            digest(&DOMAIN, &terms, &[3; 32]),
            keccak256(&[&[0x19, 0x01], &DOMAIN, &inner])
        );
    }

    #[test]
    fn many_are_judged_as_each_alone() {
        let end = [1; 32];
        let (voucher_key, row) = signed(&terms(), &end);
        let claims: Vec<TickClaim> = (0..40u16)
            .map(|at| {
                let count = at % 21;
                let mut row = row.with_tick(count, &walk(&end, 20 - count));
                match at % 5 {
                    1 => row.0[TICK_ROW_SIZE - 1] ^= 1,
                    // Neither a length nor a signature: both are out of range.
                    2 => row.0 = [0; TICK_ROW_SIZE],
                    _ => {}
                }
                TickClaim {
                    voucher_key: if at % 7 == 3 { [8; 20] } else { voucher_key },
                    payee: PAYEE,
                    row,
                }
            })
            .collect();
        let alone = |c: &TickClaim| verify(&DOMAIN, &c.voucher_key, &c.payee, &c.row);
        let wanted: Vec<Status> = claims.iter().map(alone).collect();
        for status in [Status::Ok, Status::BadRange, Status::BadSignature] {
            assert!(wanted.contains(&status), "{status:?}");
        }
        for level in [Level::Scalar, crate::cpu::detected()] {
            for size in [0, 1, 2, 3, 17, 40] {
                let found = verify_all(level, &DOMAIN, &claims[..size]);
                assert_eq!(found, wanted[..size], "{size} at {level:?}");
            }
        }
    }

    #[test]
    fn every_tick_of_the_chain_is_accepted_and_nothing_else() {
        let end = [1; 32];
        let (voucher_key, row) = signed(&terms(), &end);
        for count in 0..=20 {
            let shown = row.with_tick(count, &walk(&end, 20 - count));
            let status = verify(&DOMAIN, &voucher_key, &PAYEE, &shown);
            assert_eq!(status, Status::Ok, "{count}");
            assert_eq!(shown.claim(), 1000 + 7 * u128::from(count));
            assert_eq!(shown.root(), row.root());
        }
        let shown = row.with_tick(5, &walk(&end, 15));
        for bit in 0..TICK_ROW_SIZE * 8 {
            let mut flipped = shown;
            flipped.0[bit / 8] ^= 1 << (bit % 8);
            let status = verify(&DOMAIN, &voucher_key, &PAYEE, &flipped);
            assert_ne!(status, Status::Ok, "bit {bit}");
        }
        assert_eq!(
            verify(&[8; 32], &voucher_key, &PAYEE, &shown),
            Status::BadSignature
        );
        assert_eq!(
            verify(&DOMAIN, &voucher_key, &[6; 20], &shown),
            Status::BadSignature
        );
    }

    #[test]
    fn range_comes_before_recovery() {
        let status = |terms: &Terms, count: u16| {
            let (voucher_key, row) = signed(terms, &[1; 32]);
            let shown = row.with_tick(count, &[2; 32]);
            verify(&DOMAIN, &voucher_key, &PAYEE, &shown)
        };
        let fine = terms();
        let most = amount(AMOUNT_MAX - 7 * 20);
        let cases = [
            (Terms { length: 0, ..fine }, 0, Status::BadRange),
            (
                Terms {
                    length: 1025,
                    ..fine
                },
                0,
                Status::BadRange,
            ),
            (
                Terms {
                    unit: Amount::ZERO,
                    ..fine
                },
                1,
                Status::BadRange,
            ),
            (fine, 21, Status::BadRange),
            (
                Terms {
                    amount: most,
                    ..fine
                },
                3,
                Status::BadSignature,
            ),
            (
                Terms {
                    amount: amount(AMOUNT_MAX - 7 * 20 + 1),
                    ..fine
                },
                3,
                Status::BadRange,
            ),
            (
                Terms {
                    unit: amount(AMOUNT_MAX),
                    ..fine
                },
                0,
                Status::BadRange,
            ),
            (fine, 20, Status::BadSignature),
        ];
        for (terms, count, wanted) in cases {
            assert_eq!(status(&terms, count), wanted, "{terms:?} {count}");
        }
        let (voucher_key, mut row) = signed(&fine, &[1; 32]);
        row.0[60..92].fill(0);
        assert_eq!(
            verify(&DOMAIN, &voucher_key, &PAYEE, &row),
            Status::BadRange
        );
    }
}
