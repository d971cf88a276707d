// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {Slots} from '../src/Slots.sol';

/// @title The arithmetic of a channel, for the model checker
/// @notice A proof by induction: each function takes any state that satisfies the invariant, does one step
/// of the hub by the arithmetic of `Slots`, and asserts that the invariant holds again. The invariant is
/// settled <= deposit < 2^96; with it, what was paid in (the deposit) is what the payee got (settled) plus
/// what is held or went back (the remainder). The packing into a word is not part of this; Slots.t.sol
/// fuzzes it. scripts/prove-contracts.mjs runs the checker.
contract SlotsProof {
    function holds(uint256 deposit, uint256 settled) private pure returns (bool) {
        return settled <= deposit && deposit <= Slots.UINT96_MAX;
    }

    function open(uint256 amount) public pure {
        require(Slots.fits(0, amount));
        assert(holds(amount, 0));
    }

    function topUp(uint256 deposit, uint256 settled, uint256 amount) public pure {
        require(holds(deposit, settled) && Slots.fits(deposit, amount));
        uint256 raised = deposit + amount;
        assert(holds(raised, settled));
        assert(raised >= deposit);
    }

    function capture(uint256 deposit, uint256 settled, uint256 closeAt, uint256 cumulative) public pure {
        require(holds(deposit, settled));
        uint256 gain = Slots.gainOf(deposit, settled, closeAt, cumulative);
        uint256 raised = settled + gain;
        assert(holds(deposit, raised));
        assert(raised >= settled);
        assert(gain == 0 || raised <= cumulative);
        assert(gain == 0 || closeAt != Slots.TOMBSTONE);
        // What the payee gains is what the hub no longer holds.
        assert(Slots.remainderOf(deposit, settled) == Slots.remainderOf(deposit, raised) + gain);
        // On a live channel a voucher of v brings settled to at least min(v, deposit).
        assert(closeAt == Slots.TOMBSTONE || raised >= cumulative || raised == deposit);
    }

    function captureTwiceInAnyOrder(uint256 deposit, uint256 settled, uint256 closeAt, uint256 one, uint256 other)
        public
        pure
    {
        require(holds(deposit, settled));
        uint256 forwards = settled + Slots.gainOf(deposit, settled, closeAt, one);
        forwards += Slots.gainOf(deposit, forwards, closeAt, other);
        uint256 backwards = settled + Slots.gainOf(deposit, settled, closeAt, other);
        backwards += Slots.gainOf(deposit, backwards, closeAt, one);
        assert(forwards == backwards);
        assert(Slots.gainOf(deposit, forwards, closeAt, one) == 0);
    }

    function captureNothing(uint256 cumulative) public pure {
        assert(Slots.gainOf(0, 0, 0, cumulative) == 0);
    }

    function close(uint256 deposit, uint256 settled) public pure {
        require(holds(deposit, settled));
        assert(Slots.remainderOf(deposit, settled) + settled == deposit);
    }

    // The whole hub: what it holds is what the channels still hold plus the credit. One channel stands for any,
    // `others` for all that the rest of the channels hold, `credit` for the sum of all credit.

    function conserves(uint256 balance, uint256 others, uint256 deposit, uint256 settled, uint256 credit)
        private
        pure
        returns (bool)
    {
        return holds(deposit, settled) && others <= type(uint128).max && credit <= type(uint128).max
            && balance == others + Slots.remainderOf(deposit, settled) + credit;
    }

    function openConserves(uint256 balance, uint256 others, uint256 credit, uint256 amount) public pure {
        require(conserves(balance, others, 0, 0, credit) && Slots.fits(0, amount));
        assert(conserves(balance + amount, others, amount, 0, credit));
    }

    function topUpConserves(
        uint256 balance, uint256 others, uint256 deposit, uint256 settled, uint256 credit, uint256 amount
    ) public pure {
        require(conserves(balance, others, deposit, settled, credit) && Slots.fits(deposit, amount));
        assert(conserves(balance + amount, others, deposit + amount, settled, credit));
    }

    function captureConserves(
        uint256 balance,
        uint256 others,
        uint256 deposit,
        uint256 settled,
        uint256 credit,
        uint256 closeAt,
        uint256 cumulative
    ) public pure {
        require(conserves(balance, others, deposit, settled, credit) && credit < type(uint128).max - deposit);
        uint256 gain = Slots.gainOf(deposit, settled, closeAt, cumulative);
        assert(conserves(balance, others, deposit, settled + gain, credit + gain));
    }

    /// @dev A closed channel holds nothing: as if it were settled in full.
    function closeConserves(uint256 balance, uint256 others, uint256 deposit, uint256 settled, uint256 credit)
        public
        pure
    {
        require(conserves(balance, others, deposit, settled, credit) && credit < type(uint128).max - deposit);
        uint256 returned = Slots.remainderOf(deposit, settled);
        assert(conserves(balance, others, deposit, deposit, credit + returned));
    }

    function paymentConserves(
        uint256 balance, uint256 others, uint256 deposit, uint256 settled, uint256 credit, uint256 paid
    ) public pure {
        require(conserves(balance, others, deposit, settled, credit) && paid <= credit);
        assert(conserves(balance - paid, others, deposit, settled, credit - paid));
    }

    /// @dev The canary: this is false, and a checker that proves it proves nothing.
    function canary(uint256 deposit, uint256 settled, uint256 cumulative) public pure {
        require(holds(deposit, settled));
        assert(Slots.gainOf(deposit, settled, 0, cumulative) <= deposit / 2);
    }
}
