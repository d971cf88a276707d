// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

/// @title The channel slot and its arithmetic
/// @notice A channel is one storage word: deposit in bits 0-95, settled in 96-191, closeAt in 192-223,
/// owner index in 224-255. Every change of a channel is one of the pure functions below, from the old
/// word to the new one, so that a model checker can follow them: there is no assembly, no storage and
/// no call. Who may ask for which change is decided in `HubCore`.
library Slots {
    /// The value of closeAt of a channel that is closed for ever.
    uint256 internal constant TOMBSTONE = 0xffffffff;
    uint256 internal constant UINT96_MAX = type(uint96).max;
    uint256 internal constant UINT32_MAX = type(uint32).max;
    uint256 private constant SETTLED_SHIFT = 96;
    uint256 private constant CLOSE_AT_SHIFT = 192;
    uint256 private constant OWNER_SHIFT = 224;
    uint256 private constant CLOSE_AT_MASK = UINT32_MAX << CLOSE_AT_SHIFT;

    function deposit(uint256 slot) internal pure returns (uint256) {
        return slot & UINT96_MAX;
    }

    function settled(uint256 slot) internal pure returns (uint256) {
        return (slot >> SETTLED_SHIFT) & UINT96_MAX;
    }

    function closeAt(uint256 slot) internal pure returns (uint256) {
        return (slot >> CLOSE_AT_SHIFT) & UINT32_MAX;
    }

    function owner(uint256 slot) internal pure returns (uint32) {
        return uint32(slot >> OWNER_SHIFT);
    }

    /// @notice True for the word of a channel that exists and is not closed.
    function isLive(uint256 slot) internal pure returns (bool) {
        return slot != 0 && closeAt(slot) != TOMBSTONE;
    }

    /// @notice The word of a new channel. `amount` must be 1..2^96-1 and `ownerIndex_` not zero.
    function opened(uint256 amount, uint32 ownerIndex_) internal pure returns (uint256) {
        return (uint256(ownerIndex_) << OWNER_SHIFT) | amount;
    }

    /// @notice The word after a top-up. A pending close is cancelled. The caller has checked that the
    /// channel is live and that the sum fits 96 bits.
    function toppedUp(uint256 slot, uint256 amount) internal pure returns (uint256) {
        return (slot & ~CLOSE_AT_MASK) + amount;
    }

    /// @notice The word after a voucher of `cumulative` base units, and how much the payee gained. An empty
    /// word has no deposit, so an unknown channel gains nothing by the comparison that refuses a stale voucher.
    function captured(uint256 slot, uint256 cumulative) internal pure returns (uint256 next, uint256 gain) {
        gain = gainOf(deposit(slot), settled(slot), closeAt(slot), cumulative);
        // Settled plus gain is at most the deposit, so the sum never carries into closeAt.
        unchecked {
            next = slot + (gain << SETTLED_SHIFT);
        }
    }

    /// @notice What a voucher is worth: its amount, clamped to the deposit before it is compared, less what
    /// is settled. Kept apart from the packing, because a model checker follows numbers and not masks.
    function gainOf(uint256 deposit_, uint256 settled_, uint256 closeAt_, uint256 cumulative)
        internal
        pure
        returns (uint256)
    {
        // Each condition is written so that a row worth capturing jumps over nothing.
        uint256 target = cumulative;
        if (target > deposit_) target = deposit_;
        if (closeAt_ == TOMBSTONE) target = 0;
        if (target < settled_) target = settled_;
        unchecked {
            return target - settled_;
        }
    }

    /// @notice The word after a close request that falls due at `due`, which is neither 0 nor the tombstone.
    function closing(uint256 slot, uint256 due) internal pure returns (uint256) {
        return (slot & ~CLOSE_AT_MASK) | (due << CLOSE_AT_SHIFT);
    }

    /// @notice The word of a closed channel, and the remainder that goes back to its owner.
    function closed(uint256 slot) internal pure returns (uint256 next, uint256 returned) {
        returned = remainderOf(deposit(slot), settled(slot));
        next = slot | CLOSE_AT_MASK;
    }

    /// @notice What a channel still holds.
    function remainderOf(uint256 deposit_, uint256 settled_) internal pure returns (uint256) {
        return deposit_ - settled_;
    }

    /// @notice Whether a deposit that is raised by `amount` still fits 96 bits.
    function fits(uint256 deposit_, uint256 amount) internal pure returns (bool) {
        return amount <= UINT96_MAX - deposit_;
    }
}
