// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {Slots} from '../src/Slots.sol';

/// @title One channel as a machine for the model checker
/// @notice Money enters by `open` and `topUp`, goes to the payee by `capture` and back to the owner by
/// `close`. The assertions hold after every sequence of calls: conservation, settled at most the deposit,
/// both only grow, and a tombstone never changes. `node scripts/forge.mjs prove` runs the checker.
contract SlotsProof {
    uint256 private slot;
    uint256 private paidIn;
    uint256 private toPayee;
    uint256 private toOwner;

    function open(uint96 amount, uint32 owner) public {
        require(slot == 0 && amount != 0 && owner != 0);
        slot = Slots.opened(amount, owner);
        paidIn += amount;
        assertSound();
    }

    function topUp(uint96 amount) public {
        require(Slots.isLive(slot) && amount <= Slots.UINT96_MAX - Slots.deposit(slot));
        uint256 before = slot;
        slot = Slots.toppedUp(before, amount);
        paidIn += amount;
        assertGrew(before);
        assert(Slots.closeAt(slot) == 0);
    }

    function capture(uint96 cumulative) public {
        uint256 before = slot;
        uint256 gain;
        (slot, gain) = Slots.captured(before, cumulative);
        toPayee += gain;
        assertGrew(before);
        assert(Slots.deposit(slot) == Slots.deposit(before));
        assert(Slots.closeAt(slot) == Slots.closeAt(before));
        assert(gain == 0 || Slots.settled(slot) <= cumulative);
        if (!Slots.isLive(before)) assert(gain == 0 && slot == before);
    }

    function requestClose(uint32 due) public {
        require(Slots.isLive(slot) && due != 0 && due != Slots.TOMBSTONE);
        uint256 before = slot;
        slot = Slots.closing(before, due);
        assertGrew(before);
    }

    function close() public {
        require(Slots.isLive(slot));
        uint256 before = slot;
        uint256 returned;
        (slot, returned) = Slots.closed(before);
        toOwner += returned;
        assertGrew(before);
        assert(!Slots.isLive(slot));
    }

    function assertGrew(uint256 before) private view {
        assert(Slots.deposit(slot) >= Slots.deposit(before));
        assert(Slots.settled(slot) >= Slots.settled(before));
        assert(Slots.owner(slot) == Slots.owner(before));
        assertSound();
    }

    function assertSound() private view {
        assert(Slots.settled(slot) <= Slots.deposit(slot));
        assert(paidIn == Slots.deposit(slot));
        assert(toPayee == Slots.settled(slot));
        uint256 held = Slots.isLive(slot) ? Slots.deposit(slot) - Slots.settled(slot) : 0;
        assert(paidIn == held + toPayee + toOwner);
    }
}
