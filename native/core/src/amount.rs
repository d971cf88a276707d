//! Owns the arithmetic of money: the uint96 amount and the price of a byte count.
//!
//! Amounts are integers of base units. They are computed as `u128` and stored in 12 bytes; every
//! operation that could leave uint96 answers `None` or `Status::Overflow` instead of wrapping.

use crate::status::Status;

/// The greatest amount: 2^96 − 1 base units.
pub const AMOUNT_MAX: u128 = (1 << 96) - 1;

/// A uint96 in 12 bytes, aligned to 4, so that a million channels stay small.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Amount([u32; 3]);

impl Amount {
    /// Zero base units.
    pub const ZERO: Amount = Amount([0; 3]);

    /// The amount, or `None` above uint96.
    #[must_use]
    pub const fn new(value: u128) -> Option<Amount> {
        if value > AMOUNT_MAX {
            return None;
        }
        Some(Amount([
            value as u32,
            (value >> 32) as u32,
            (value >> 64) as u32,
        ]))
    }

    /// The amount as an integer to compute with.
    #[must_use]
    pub const fn get(self) -> u128 {
        (self.0[0] as u128) | ((self.0[1] as u128) << 32) | ((self.0[2] as u128) << 64)
    }

    /// Reads the big-endian form of a voucher row.
    #[must_use]
    pub fn from_be_bytes(bytes: [u8; 12]) -> Amount {
        let limb = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Amount([limb(8), limb(4), limb(0)])
    }

    /// Writes the big-endian form of a voucher row.
    #[must_use]
    pub fn to_be_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[0..4].copy_from_slice(&self.0[2].to_be_bytes());
        bytes[4..8].copy_from_slice(&self.0[1].to_be_bytes());
        bytes[8..12].copy_from_slice(&self.0[0].to_be_bytes());
        bytes
    }

    /// Reads the little-endian form of the journal.
    #[must_use]
    pub fn from_le_bytes(mut bytes: [u8; 12]) -> Amount {
        bytes.reverse();
        Amount::from_be_bytes(bytes)
    }

    /// Writes the little-endian form of the journal.
    #[must_use]
    pub fn to_le_bytes(self) -> [u8; 12] {
        let mut bytes = self.to_be_bytes();
        bytes.reverse();
        bytes
    }
}

/// The amount of `value`, or `Overflow` above uint96.
pub fn checked(value: u128) -> Result<Amount, Status> {
    Amount::new(value).ok_or(Status::Overflow)
}

/// The sum of two uint96 values, or `Overflow` above uint96.
pub fn add(a: u128, b: u128) -> Result<u128, Status> {
    match a.checked_add(b) {
        Some(sum) if sum <= AMOUNT_MAX => Ok(sum),
        _ => Err(Status::Overflow),
    }
}

/// The price of the first `bytes` bytes of a session: `ceil(price_mib × bytes / 2^20)`.
///
/// The count is split at 2^20 so that no product leaves 128 bits before it is checked.
pub fn value(price_mib: Amount, bytes: u64) -> Result<u128, Status> {
    let price = price_mib.get();
    let whole = price
        .checked_mul(u128::from(bytes >> 20))
        .ok_or(Status::Overflow)?;
    let part = (price * u128::from(bytes & 0xf_ffff)).div_ceil(1 << 20);
    add(whole, part)
}

/// The price of the step from `from` bytes to `to` bytes: the cumulative count is priced and
/// rounded once, so steps never add rounding of their own.
pub fn step(price_mib: Amount, from: u64, to: u64) -> Result<u128, Status> {
    Ok(value(price_mib, to)?.saturating_sub(value(price_mib, from)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_kept() {
        assert_eq!(Amount::new(AMOUNT_MAX).map(Amount::get), Some(AMOUNT_MAX));
        assert_eq!(Amount::new(AMOUNT_MAX + 1), None);
        assert_eq!(add(AMOUNT_MAX, 1), Err(Status::Overflow));
        assert_eq!(add(AMOUNT_MAX, 0), Ok(AMOUNT_MAX));
        assert_eq!(add(u128::MAX, 1), Err(Status::Overflow));
    }

    #[test]
    fn bytes_round_trip_in_both_orders() {
        for value in [0, 1, 255, 1 << 32, (1 << 64) + 7, AMOUNT_MAX] {
            let amount = Amount::new(value).unwrap();
            assert_eq!(Amount::from_be_bytes(amount.to_be_bytes()), amount);
            assert_eq!(Amount::from_le_bytes(amount.to_le_bytes()), amount);
            assert_eq!(amount.to_be_bytes(), value.to_be_bytes()[4..]);
            assert_eq!(amount.to_le_bytes(), value.to_le_bytes()[..12]);
        }
    }

    #[test]
    fn value_rounds_up_once() {
        let price = |p| Amount::new(p).unwrap();
        assert_eq!(value(price(1), 0), Ok(0));
        assert_eq!(value(price(1), 1), Ok(1));
        assert_eq!(value(price(1), 1 << 20), Ok(1));
        assert_eq!(value(price(1), (1 << 20) + 1), Ok(2));
        assert_eq!(value(price(1 << 20), 12_345), Ok(12_345));
        assert_eq!(value(price(3), 1 << 19), Ok(2));
        assert_eq!(value(price(0), u64::MAX), Ok(0));
        assert_eq!(value(price(AMOUNT_MAX), 1 << 20), Ok(AMOUNT_MAX));
        assert_eq!(
            value(price(AMOUNT_MAX), (1 << 20) + 1),
            Err(Status::Overflow)
        );
        assert_eq!(value(price(AMOUNT_MAX), u64::MAX), Err(Status::Overflow));
    }

    #[test]
    fn steps_sum_to_the_whole() {
        let price = Amount::new(999_999_999_999_999_999).unwrap();
        let (mut at, mut sum) = (0u64, 0u128);
        for size in [1u64, 16_384, 262_144, 1_048_576, 77, 1 << 33] {
            sum += step(price, at, at + size).unwrap();
            at += size;
        }
        assert_eq!(Ok(sum), value(price, at));
    }
}
