//! The vectors that TypeScript and Solidity read too: made with ethers, checked here.

use piecework_core::amount::Amount;
use piecework_core::voucher::{self, Row};
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
