//! The vectors that TypeScript and Solidity read too: made with ethers, checked here.

use piecework_core::amount::Amount;
use piecework_core::cpu::Level;
use piecework_core::recovery::{self, Signed};
use piecework_core::tick_row::{self, TickRow};
use piecework_core::voucher::{self, Claim, Row};
use serde_json::Value;

fn read(name: &str) -> Vec<Value> {
    let path = format!("{}/../../test/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap()
}

fn hex<const N: usize>(value: &Value) -> [u8; N] {
    let digits = value.as_str().unwrap().strip_prefix("0x").unwrap();
    assert_eq!(digits.len(), N * 2);
    std::array::from_fn(|at| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).unwrap())
}

fn decimal<T: std::str::FromStr>(value: &Value) -> T
where
    T::Err: std::fmt::Debug,
{
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn every_record_is_reproduced() {
    let records = read("voucher.json");
    assert_eq!(records.len(), 1024);
    for record in &records {
        let domain = voucher::domain_separator(decimal(&record["chainId"]), &hex(&record["hub"]));
        assert_eq!(domain, hex(&record["domainSeparator"]));
        let key = voucher::secret_key(hex(&record["privateKey"])).unwrap();
        let (voucher_key, payee) = (hex(&record["voucherKey"]), hex(&record["payee"]));
        assert_eq!(voucher::address_of_secret(&key), voucher_key);
        let amount = Amount::new(decimal(&record["amount"])).unwrap();
        assert_eq!(
            voucher::digest(&domain, &payee, amount),
            hex(&record["digest"])
        );
        let row = voucher::sign(&domain, &key, &payee, amount);
        assert_eq!(row.0, hex(&record["row"]));
        assert_eq!(row.amount(), amount);
        assert_eq!(
            voucher::verify(&domain, &voucher_key, &payee, &row).name(),
            "ok"
        );
    }
}

#[test]
fn every_mutation_gets_its_status() {
    let mutations = read("voucher-mutations.json");
    let mut counts = std::collections::BTreeMap::new();
    for mutation in &mutations {
        let domain =
            voucher::domain_separator(decimal(&mutation["chainId"]), &hex(&mutation["hub"]));
        let row = Row(hex(&mutation["row"]));
        let (voucher_key, payee) = (hex(&mutation["voucherKey"]), hex(&mutation["payee"]));
        let status = voucher::verify(&domain, &voucher_key, &payee, &row).name();
        assert_eq!(status, mutation["status"], "{mutation}");
        *counts.entry(status).or_insert(0) += 1;
    }
    assert!(
        counts["ok"] > 0 && counts["bad_range"] > 100 && counts["bad_signature"] > 100,
        "{counts:?}"
    );
}

const LEVELS: [Level; 3] = [Level::Scalar, Level::Avx2, Level::Avx512];

/// The vectors as one batch, on every path that this processor has. A level it has not is taken
/// down to one that it has, so this passes anywhere.
#[test]
fn every_path_gives_every_status() {
    let mutations = read("voucher-mutations.json");
    let signed: Vec<Signed> = mutations
        .iter()
        .map(|mutation| {
            let (chain_id, hub) = (decimal(&mutation["chainId"]), hex(&mutation["hub"]));
            let domain = voucher::domain_separator(chain_id, &hub);
            let row = Row(hex(&mutation["row"]));
            Signed {
                digest: voucher::digest(&domain, &hex(&mutation["payee"]), row.amount()),
                signature: row.signature(),
            }
        })
        .collect();
    for level in LEVELS {
        let found = recovery::recover_all(level, &signed);
        assert_eq!(found.len(), mutations.len());
        for (mutation, found) in mutations.iter().zip(found) {
            let status = match found {
                Ok(signer) if signer == hex(&mutation["voucherKey"]) => "ok",
                Ok(_) => "bad_signature",
                Err(status) => status.name(),
            };
            assert_eq!(status, mutation["status"], "{level:?}: {mutation}");
        }
    }
}

/// Batches of every length, one voucher in three broken: exactly the broken ones are refused.
#[test]
fn every_path_names_the_culprits() {
    let domain = voucher::domain_separator(199, &[1; 20]);
    let seed = [4; 32];
    let claims: Vec<Claim> = (0..70u8)
        .map(|index| {
            let key = piecework_core::keys::derive(&seed, index.into());
            let (payee, amount) = ([index; 20], Amount::new(1000 + u128::from(index)).unwrap());
            let mut claim = Claim {
                voucher_key: voucher::address_of_secret(&key),
                payee,
                row: voucher::sign(&domain, &key, &payee, amount),
            };
            match index % 12 {
                1 => claim.row.0[11] ^= 1,
                4 => claim.row.0[44] ^= 0x80,
                7 => claim.row.0[75] ^= 1,
                10 => claim.row.0[12..44].fill(0xff),
                _ => (),
            }
            claim
        })
        .collect();
    for level in LEVELS {
        for length in 0..=claims.len() {
            let part = &claims[claims.len() - length..];
            let found = voucher::verify_all(level, &domain, part);
            let digests = voucher::digests(level, &domain, part);
            assert_eq!((found.len(), digests.len()), (length, length));
            for ((claim, status), digest) in part.iter().zip(found).zip(digests) {
                let expected = match claim.payee[0] % 12 {
                    1 | 4 | 7 => "bad_signature",
                    10 => "bad_range",
                    _ => "ok",
                };
                assert_eq!(status.name(), expected, "{level:?}, {length}, {claim:?}");
                let alone = voucher::digest(&domain, &claim.payee, claim.row.amount());
                assert_eq!(digest, alone, "{level:?}");
            }
        }
    }
}

#[test]
fn every_tick_row_gets_its_status() {
    let records = read("ticks.json");
    let mut counts = std::collections::BTreeMap::new();
    for record in &records {
        let domain = voucher::domain_separator(decimal(&record["chainId"]), &hex(&record["hub"]));
        let row = TickRow(hex(&record["row"]));
        let (voucher_key, payee) = (hex(&record["voucherKey"]), hex(&record["payee"]));
        let status = tick_row::verify(&domain, &voucher_key, &payee, &row).name();
        assert_eq!(status, record["status"], "{record}");
        let terms = row.terms(&payee);
        assert_eq!(terms.amount.get(), decimal(&record["amount"]));
        assert_eq!(terms.unit.get(), decimal(&record["unit"]));
        assert_eq!(u64::from(terms.length), record["length"]);
        assert_eq!(u64::from(row.count()), record["count"]);
        assert_eq!(row.tick(), hex(&record["tick"]));
        assert_eq!(row.claim(), decimal(&record["claim"]));
        let root = row.root();
        assert_eq!(root, hex(&record["root"]));
        assert_eq!(
            tick_row::digest(&domain, &terms, &root),
            hex(&record["digest"])
        );
        *counts.entry(status).or_insert(0) += 1;
        if record["name"] == "good" {
            let key = voucher::secret_key(hex(&record["privateKey"])).unwrap();
            let end = hex(&record["end"]);
            assert_eq!(tick_row::walk(&end, terms.length), root);
            let signed = tick_row::sign(&domain, &key, &terms, &root);
            let tick = tick_row::walk(&end, terms.length - row.count());
            assert_eq!(signed.with_tick(row.count(), &tick), row);
            assert_eq!(voucher::address_of_secret(&key), voucher_key);
        }
    }
    assert!(
        counts["ok"] > 288 && counts["bad_range"] > 100 && counts["bad_signature"] > 100,
        "{counts:?}"
    );
}
