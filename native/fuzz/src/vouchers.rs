//! Verification: a batch has the statuses that libsecp256k1's recovery gives its vouchers one by one.
//!
//! Chance alone would make nothing but bad signatures, so an input chooses among honest vouchers, honest ones with
//! one thing changed, and signatures that are made to meet the special cases of the curve: nonces whose point is
//! small or an image of the generator, and sums that double or cancel on the way.

use std::sync::LazyLock;

use piecework_core::amount::Amount;
use piecework_core::records::row::{self, voucher as at};
use piecework_core::voucher::{self, Row};
use piecework_core::{Address, Error, Status};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, Scalar, SecretKey};

use crate::Seen;
use crate::chance::Chance;
use crate::hashing::keccak_of;
use crate::source::Source;

const fn hex(text: &str) -> [u8; 32] {
    let (bytes, mut out, mut nth) = (text.as_bytes(), [0; 32], 0);
    while nth < 64 {
        let digit = match bytes[nth] {
            digit @ b'0'..=b'9' => digit - b'0',
            digit => digit - b'a' + 10,
        };
        out[nth / 2] = out[nth / 2] << 4 | digit;
        nth += 1;
    }
    out
}

const ONE: [u8; 32] = small(1);
/// n − 2, the exponent that inverts.
const ORDER_LESS_2: [u8; 32] =
    hex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd036413f");
const HALF_ORDER: [u8; 32] =
    hex("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0");
/// The scalar that the curve's endomorphism multiplies by.
const LAMBDA: [u8; 32] = hex("5363ad4cc05c30e0a5261c028812645a122e22ea20816678df02967c1b23bd72");
/// Words for r and s at the edges of the ranges, and an x with no point on the curve (5).
const EDGES: [[u8; 32]; 14] = [
    [0; 32],
    ONE,
    small(2),
    small(3),
    small(5),
    HALF_ORDER,
    hex("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1"),
    hex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140"),
    hex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"),
    hex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364142"),
    hex("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2e"),
    hex("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"),
    [0xff; 32],
    hex("8000000000000000000000000000000000000000000000000000000000000000"),
];
const AMOUNTS: [u128; 4] = [0, 1, 1 << 64, (1 << 96) - 1];
const PAYEES: [Address; 3] = [[0; 20], [0x22; 20], [0xff; 20]];
const KEYS: usize = 4;

const fn small(value: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[31] = value;
    bytes
}

/// A nonce, its inverse, and its point: x, and whether y is odd.
struct Nonce {
    inverse: SecretKey,
    x: [u8; 32],
    odd: bool,
}

/// What inputs choose from.
struct Pool {
    domains: [[u8; 32]; 2],
    /// Honest vouchers as records, under the first domain.
    honest: Vec<[u8; at::LAYOUT.stride]>,
    nonces: Vec<Nonce>,
}

static POOL: LazyLock<Pool> = LazyLock::new(|| {
    let domains = [199, 1029].map(|chain| voucher::domain_separator(chain, &[0x11; 20]));
    let mut honest = Vec::new();
    for nth in 0..KEYS {
        let key = secret(keccak_of(&[nth as u8]));
        let voucher_key = address(&PublicKey::from_secret_key(&key));
        for payee in PAYEES {
            for value in AMOUNTS {
                let amount = Amount::new(value).unwrap_or_default();
                let row = voucher::sign(&domains[0], &key, &payee, amount);
                honest.push(record(&voucher_key, &payee, &row));
            }
        }
    }
    let lambda = secret(LAMBDA);
    let lambda_squared = times(lambda, lambda);
    let two = secret(small(2));
    let mut scalars: Vec<SecretKey> = (1..=17).map(|value| secret(small(value))).collect();
    scalars.extend([lambda, lambda_squared, inverse(two), times(two, lambda)]);
    scalars.extend((0..4).map(|nth| secret(keccak_of(&[0xee, nth]))));
    let nonces = scalars.into_iter().map(nonce).collect();
    Pool {
        domains,
        honest,
        nonces,
    }
});

fn secret(bytes: [u8; 32]) -> SecretKey {
    SecretKey::from_secret_bytes(bytes).expect("a scalar in 1 … n − 1")
}

fn times(a: SecretKey, b: SecretKey) -> SecretKey {
    a.mul_tweak(&Scalar::from(b)).expect("no product is zero")
}

fn inverse(a: SecretKey) -> SecretKey {
    let mut power = secret(ONE);
    for bit in (0..256).rev() {
        power = times(power, power);
        if ORDER_LESS_2[31 - bit / 8] >> (bit % 8) & 1 == 1 {
            power = times(power, a);
        }
    }
    power
}

fn nonce(k: SecretKey) -> Nonce {
    let point = PublicKey::from_secret_key(&k).serialize();
    let mut x = [0; 32];
    x.copy_from_slice(&point[1..]);
    Nonce {
        inverse: inverse(k),
        x,
        odd: point[0] == 3,
    }
}

fn record(key: &Address, payee: &Address, row: &Row) -> [u8; at::LAYOUT.stride] {
    let mut record = [0; at::LAYOUT.stride];
    record[at::VOUCHER_KEY..at::VOUCHER_KEY + 20].copy_from_slice(key);
    record[at::PAYEE..at::PAYEE + 20].copy_from_slice(payee);
    record[at::ROW..].copy_from_slice(&row.0);
    record
}

fn address(key: &PublicKey) -> Address {
    let hash = keccak_of(&key.serialize_uncompressed()[1..]);
    let mut address = [0; 20];
    address.copy_from_slice(&hash[12..]);
    address
}

/// The digest of a record, written from `docs/spec/voucher.md` alone.
fn digest(domain: &[u8; 32], record: &[u8]) -> [u8; 32] {
    let mut fields = [0; 96];
    fields[..32].copy_from_slice(&keccak_of(
        b"Voucher(address payee,uint256 cumulativeAmount)",
    ));
    fields[44..64].copy_from_slice(&record[at::PAYEE..at::PAYEE + 20]);
    fields[84..].copy_from_slice(&record[at::ROW..at::ROW + 12]);
    keccak_of(&[&[0x19, 0x01], &domain[..], &keccak_of(&fields)].concat())
}

/// What `r ‖ vs` recovers, one signature at a time, by libsecp256k1.
fn recover(digest: &[u8; 32], signature: &[u8]) -> Result<Address, Status> {
    let mut compact = [0; 64];
    compact.copy_from_slice(signature);
    let odd = compact[32] >> 7;
    compact[32] &= 0x7f;
    let (r, s) = compact.split_at(32);
    let order = EDGES[8];
    if r == [0; 32] || r >= &order[..] || s == [0; 32] || s > &HALF_ORDER[..] {
        return Err(Status::BadRange);
    }
    let id = if odd == 1 {
        RecoveryId::One
    } else {
        RecoveryId::Zero
    };
    let recovered = RecoverableSignature::from_compact(&compact, id)
        .and_then(|parsed| parsed.recover_ecdsa(Message::from_digest(*digest)));
    recovered
        .map(|key| address(&key))
        .map_err(|_| Status::BadSignature)
}

/// A voucher to verify, and what libsecp256k1 recovers from it.
struct Case {
    record: [u8; at::LAYOUT.stride],
    digest: [u8; 32],
    found: Result<Address, Status>,
}

impl Case {
    fn new(domain: &[u8; 32], record: [u8; at::LAYOUT.stride]) -> Case {
        let digest = digest(domain, &record);
        Case {
            record,
            digest,
            found: recover(&digest, &record[at::ROW + 12..]),
        }
    }

    /// The status that the voucher must get.
    fn status(&self) -> Status {
        match self.found {
            Ok(key) if key == self.record[at::VOUCHER_KEY..at::VOUCHER_KEY + 20] => Status::Ok,
            Ok(_) => Status::BadSignature,
            Err(status) => status,
        }
    }
}

/// An honest voucher, mostly with something changed.
fn honest(source: &mut Source<'_>) -> [u8; at::LAYOUT.stride] {
    let pool = &*POOL;
    let mut record = pool.honest[source.below(pool.honest.len())];
    let (r, s) = (at::ROW + 12, at::ROW + 44);
    match source.below(16) {
        0 => record[s] ^= 0x80,
        1 => record[r..r + 32].copy_from_slice(&source.pick(&EDGES)),
        2 => record[s..s + 32].copy_from_slice(&source.pick(&EDGES)),
        3 => {
            let other = pool.honest[source.below(pool.honest.len())];
            let from = source.pick(&[at::VOUCHER_KEY, at::PAYEE, at::ROW]);
            let size = source.pick(&[12, 20]);
            record[from..from + size].copy_from_slice(&other[from..from + size]);
        }
        4 => {
            // The same signature in its other form: n − s under the other parity. High, so out of range.
            let odd = record[s] & 0x80;
            let mut bytes = [0; 32];
            bytes.copy_from_slice(&record[s..s + 32]);
            bytes[0] &= 0x7f;
            record[s..s + 32].copy_from_slice(&secret(bytes).negate().to_secret_bytes());
            record[s] |= !odd & 0x80;
        }
        5 | 6 => {
            let bit = usize::from(source.short()) % (record.len() * 8);
            record[bit / 8] ^= 1 << (bit % 8);
        }
        7 => record[r..].copy_from_slice(&source.bytes::<64>()),
        _ => {}
    }
    record
}

/// A signature over a nonce of the pool with an s that meets a special case, and the key that it recovers.
fn crafted(domain: &[u8; 32], source: &mut Source<'_>) -> Case {
    let pool = &*POOL;
    let nonce = &pool.nonces[source.below(pool.nonces.len())];
    let amount = Amount::new(u128::from(source.short())).unwrap_or_default();
    let mut record = record(&[0; 20], &source.pick(&PAYEES), &Row::EMPTY);
    record[at::ROW..at::ROW + 12].copy_from_slice(&amount.to_be_bytes());
    let z = secret(digest(domain, &record));
    // s with s·k = z: the two halves of the sum cancel and no key is left. Minus that: they double.
    let cancels = times(z, nonce.inverse);
    let two = secret(small(2));
    let s = match source.below(8) {
        0 => cancels,
        1 => cancels.negate(),
        2 => times(cancels, two),
        3 => times(cancels, two).negate(),
        4 => secret(ONE),
        5 => secret(HALF_ORDER),
        6 => times(z, secret(LAMBDA)),
        _ => secret(keccak_of(&source.bytes::<2>())),
    };
    let (s, odd) = low(s, nonce.odd);
    let from = at::ROW + 12;
    record[from..from + 32].copy_from_slice(&nonce.x);
    record[from + 32..].copy_from_slice(&s);
    record[from + 32] |= u8::from(odd) << 7;
    let mut case = Case::new(domain, record);
    if let (Ok(signer), false) = (case.found, source.byte() == 0) {
        case.record[at::VOUCHER_KEY..at::VOUCHER_KEY + 20].copy_from_slice(&signer);
    }
    case
}

/// The low one of s and n − s, with the parity that belongs to it.
fn low(s: SecretKey, odd: bool) -> ([u8; 32], bool) {
    let bytes = s.to_secret_bytes();
    if bytes <= HALF_ORDER {
        (bytes, odd)
    } else {
        (s.negate().to_secret_bytes(), !odd)
    }
}

type Verify = fn(&[u8; 32], &[u8]) -> Result<Vec<u8>, Error>;

/// A batch of vouchers.
pub fn run(data: &[u8]) -> Seen {
    run_with(row::verify_all, data)
}

/// The same with another verifier, so that a test can see a broken one caught.
pub fn run_with(verify: Verify, data: &[u8]) -> Seen {
    let mut source = Source::new(data);
    let count = source.pick(&[1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 33, 64, 65, 130, 260]);
    let also_recovers = source.byte() < 16;
    let domain = POOL.domains[usize::from(source.byte() > 240)];
    // Inputs are short and batches long: what is missing is drawn from the input itself.
    let mut steering = source.rest().to_vec();
    let mut chance = Chance(u64::from(crc32c::crc32c(data)));
    let given = steering.len();
    steering.resize(given.max(count * 8), 0);
    chance.fill(&mut steering[given..]);
    let mut source = Source::new(&steering);
    let cases: Vec<Case> = (0..count)
        .map(|_| match source.below(3) {
            0 => crafted(&domain, &mut source),
            _ => Case::new(&domain, honest(&mut source)),
        })
        .collect();
    let seen = check_statuses(verify, &domain, &cases);
    if also_recovers {
        check_recovery(&domain, &cases);
    }
    seen
}

fn check_statuses(verify: Verify, domain: &[u8; 32], cases: &[Case]) -> Seen {
    let statuses = verify(domain, &joined(cases)).expect("a whole number of records");
    assert_eq!(statuses.len(), cases.len());
    let mut seen = Seen::default();
    for (case, status) in cases.iter().zip(statuses) {
        let right = case.status();
        assert_eq!(status, right as u8, "{right:?} for {:02x?}", case.record);
        seen += Seen::one(right == Status::Ok);
    }
    seen
}

/// The other verbs over the same vouchers: digests, recovery, and one voucher alone.
fn check_recovery(domain: &[u8; 32], cases: &[Case]) {
    let digests = row::digest_all(domain, &joined(cases)).expect("a whole number of records");
    assert!(
        digests
            .iter()
            .eq(cases.iter().flat_map(|case| &case.digest))
    );
    let signed = |case: &Case| [&case.digest[..], &case.record[at::ROW + 12..]].concat();
    let signatures: Vec<u8> = cases.iter().flat_map(signed).collect();
    let recovered = |case: &Case| {
        let status = case.found.err().unwrap_or(Status::Ok);
        [&[status as u8][..], &case.found.unwrap_or_default()].concat()
    };
    let expected: Vec<u8> = cases.iter().flat_map(recovered).collect();
    assert_eq!(row::recover_all(&signatures), Ok(expected));
    let (key, payee, row) = parts(&cases[0].record);
    let alone = voucher::verify(domain, &key, &payee, &row);
    assert_eq!(alone, cases[0].status());
}

fn joined(cases: &[Case]) -> Vec<u8> {
    cases.iter().flat_map(|case| case.record).collect()
}

fn parts(record: &[u8; at::LAYOUT.stride]) -> (Address, Address, Row) {
    let (mut key, mut payee, mut row) = ([0; 20], [0; 20], Row::EMPTY);
    key.copy_from_slice(&record[at::VOUCHER_KEY..at::VOUCHER_KEY + 20]);
    payee.copy_from_slice(&record[at::PAYEE..at::PAYEE + 20]);
    row.0.copy_from_slice(&record[at::ROW..]);
    (key, payee, row)
}

/// Steering of chance: the batch sizes and cases are all within reach of one byte.
pub fn seeds() -> Vec<Vec<u8>> {
    (0..64)
        .map(|seed| {
            let mut steering = vec![0; 64];
            Chance(seed).fill(&mut steering);
            steering[0] = seed as u8;
            steering
        })
        .collect()
}
