//! Owns the derivation of voucher keys from a seed.
//!
//! `secret(index) = HMAC-SHA256(seed, "piecework voucher key" ‖ index as u64 big-endian)`. Should the
//! result not be in 1 … n − 1 (a chance of 2^-128), one counter byte 1, 2, 3 … is appended and the
//! HMAC computed again. One index serves one channel, for ever.
//!
//! The end of a tick chain comes from the seed too, and from everything else that its voucher says
//! (`docs/spec/ticks.md` 1): whoever knows a tick of it was promised that tick by this very voucher.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use secp256k1::SecretKey;
use sha2::Sha256;

use crate::Address;
use crate::tick::{Chain, Tick};
use crate::tick_row::Terms;
use crate::voucher;

const LABEL: &[u8] = b"piecework voucher key";
const CHAIN_LABEL: &[u8] = b"piecework tick chain";
/// Derived keys kept at hand; beyond that the table is emptied and filled anew.
const CACHED_KEYS_MAX: usize = 65_536;
/// Chains kept at hand, up to 2 KiB each.
const CACHED_CHAINS_MAX: usize = 4_096;

/// A seed of voucher keys, with the keys and chains derived lately.
pub struct Keyring {
    seed: [u8; 32],
    cache: Mutex<HashMap<u64, (SecretKey, Address)>>,
    /// By the end of the chain.
    chains: Mutex<HashMap<Tick, Chain>>,
}

impl Keyring {
    /// A keyring over a seed that must be secret and random.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Keyring {
        Keyring {
            seed,
            cache: Mutex::new(HashMap::new()),
            chains: Mutex::new(HashMap::new()),
        }
    }

    /// Value `count` of the chain of a tick voucher at a key index; 0 is its root. The terms must be in range and
    /// the count must not exceed the length. Costs `length` hashes the first time, then what `Chain::value` does.
    #[must_use]
    pub fn tick(&self, domain: &[u8; 32], index: u64, terms: &Terms, count: u16) -> Tick {
        let end = chain_end(&self.seed, domain, index, terms);
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        if chains.len() >= CACHED_CHAINS_MAX && !chains.contains_key(&end) {
            chains.clear();
        }
        let chain = chains.entry(end).or_insert_with(|| {
            Chain::new(end, u32::from(terms.length)).expect("the terms are in range")
        });
        let value = chain.value(u32::from(count));
        value.expect("the count does not exceed the length")
    }

    /// The key at an index and its address.
    #[must_use]
    pub fn key(&self, index: u64) -> (SecretKey, Address) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = cache.get(&index) {
            return *found;
        }
        let secret = derive(&self.seed, index);
        let entry = (secret, voucher::address_of_secret(&secret));
        if cache.len() >= CACHED_KEYS_MAX {
            cache.clear();
        }
        cache.insert(index, entry);
        entry
    }
}

/// The secret key at an index of a seed.
#[must_use]
pub fn derive(seed: &[u8; 32], index: u64) -> SecretKey {
    let mut counter = 0u8;
    loop {
        let mut mac = Hmac::<Sha256>::new_from_slice(seed).expect("HMAC takes keys of any size");
        mac.update(LABEL);
        mac.update(&index.to_be_bytes());
        if counter > 0 {
            mac.update(&[counter]);
        }
        if let Ok(key) = voucher::secret_key(mac.finalize().into_bytes().into()) {
            return key;
        }
        counter += 1;
    }
}

/// The secret end of the chain of a tick voucher: a function of all that the voucher says but its
/// root, so that the same voucher has the same chain and no other has.
#[must_use]
pub fn chain_end(seed: &[u8; 32], domain: &[u8; 32], index: u64, terms: &Terms) -> Tick {
    let mut mac = Hmac::<Sha256>::new_from_slice(seed).expect("HMAC takes keys of any size");
    mac.update(CHAIN_LABEL);
    mac.update(&index.to_be_bytes());
    mac.update(domain);
    mac.update(&terms.payee);
    mac.update(&terms.amount.to_be_bytes());
    mac.update(&terms.unit.to_be_bytes());
    mac.update(&terms.length.to_be_bytes());
    mac.finalize().into_bytes().into()
}

/// The addresses of `count` keys from `first` on, one after the other.
#[must_use]
pub fn addresses(seed: &[u8; 32], first: u64, count: u32) -> Vec<u8> {
    (0..u64::from(count))
        .flat_map(|at| voucher::address_of_secret(&derive(seed, first.wrapping_add(at))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_and_seeds_give_different_keys() {
        let keys = addresses(&[1; 32], 5, 3);
        assert_eq!(keys.len(), 60);
        assert_ne!(keys[..20], keys[20..40]);
        assert_eq!(keys[20..40], addresses(&[1; 32], 6, 1));
        assert_ne!(keys, addresses(&[2; 32], 5, 3));
    }

    #[test]
    fn chains_differ_where_their_vouchers_do() {
        use crate::amount::Amount;
        use crate::tick_row;
        let amount = |value| Amount::new(value).unwrap();
        let terms = Terms {
            payee: [1; 20],
            amount: amount(1),
            unit: amount(1),
            length: 1,
        };
        let (seed, domain) = ([3; 32], [4; 32]);
        let ends = [
            chain_end(&seed, &domain, 0, &terms),
            chain_end(&[4; 32], &domain, 0, &terms),
            chain_end(&seed, &[5; 32], 0, &terms),
            chain_end(&seed, &domain, 1, &terms),
            chain_end(
                &seed,
                &domain,
                0,
                &Terms {
                    payee: [2; 20],
                    ..terms
                },
            ),
            chain_end(
                &seed,
                &domain,
                0,
                &Terms {
                    amount: amount(2),
                    ..terms
                },
            ),
            chain_end(
                &seed,
                &domain,
                0,
                &Terms {
                    unit: amount(2),
                    ..terms
                },
            ),
            chain_end(&seed, &domain, 0, &Terms { length: 2, ..terms }),
        ];
        for (at, end) in ends.iter().enumerate() {
            assert!(!ends[..at].contains(end), "{at}");
        }
        let ring = Keyring::new(seed);
        for length in [1, 31, 32, 33, 1024] {
            let terms = Terms { length, ..terms };
            let end = chain_end(&seed, &domain, 7, &terms);
            for count in 0..=length {
                let value = tick_row::walk(&end, length - count);
                assert_eq!(
                    ring.tick(&domain, 7, &terms, count),
                    value,
                    "{count} of {length}"
                );
            }
        }
    }

    #[test]
    fn the_cache_gives_what_derivation_gives() {
        let ring = Keyring::new([3; 32]);
        for _ in 0..2 {
            let (secret, address) = ring.key(77);
            assert_eq!(secret, derive(&[3; 32], 77));
            assert_eq!(address, voucher::address_of_secret(&secret));
        }
    }
}
