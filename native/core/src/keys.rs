//! Owns the derivation of voucher keys from a seed.
//!
//! `secret(index) = HMAC-SHA256(seed, "piecework voucher key" ‖ index as u64 big-endian)`. Should the
//! result not be in 1 … n − 1 (a chance of 2^-128), one counter byte 1, 2, 3 … is appended and the
//! HMAC computed again. One index serves one channel, for ever.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use secp256k1::SecretKey;
use sha2::Sha256;

use crate::Address;
use crate::voucher;

const LABEL: &[u8] = b"piecework voucher key";
/// Derived keys kept at hand; beyond that the table is emptied and filled anew.
const CACHED_KEYS_MAX: usize = 65_536;

/// A seed of voucher keys, with the keys derived lately.
pub struct Keyring {
    seed: [u8; 32],
    cache: Mutex<HashMap<u64, (SecretKey, Address)>>,
}

impl Keyring {
    /// A keyring over a seed that must be secret and random.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Keyring {
        Keyring {
            seed,
            cache: Mutex::new(HashMap::new()),
        }
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
    fn the_cache_gives_what_derivation_gives() {
        let ring = Keyring::new([3; 32]);
        for _ in 0..2 {
            let (secret, address) = ring.key(77);
            assert_eq!(secret, derive(&[3; 32], 77));
            assert_eq!(address, voucher::address_of_secret(&secret));
        }
    }
}
