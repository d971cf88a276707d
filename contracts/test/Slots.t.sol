// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {Slots} from '../src/Slots.sol';
import {Base} from './Base.sol';

/// @title The arithmetic of the slot, each function for any word the hub can hold
/// @notice The same properties stand in SlotsProof.sol for the model checker; here they are fuzzed.
contract SlotsTest is Base {
    function wordOf(uint96 deposit, uint96 settled, uint32 closeAt, uint32 owner) private pure returns (uint256) {
        return uint256(owner) << 224 | uint256(closeAt) << 192 | uint256(settled) << 96 | deposit;
    }

    function expectWord(uint256 slot, uint256 deposit, uint256 settled, uint256 closeAt, uint256 owner) private pure {
        equal(Slots.deposit(slot), deposit, 'deposit');
        equal(Slots.settled(slot), settled, 'settled');
        equal(Slots.closeAt(slot), closeAt, 'closeAt');
        equal(Slots.owner(slot), owner, 'owner');
    }

    function testFuzz_unpack(uint96 deposit, uint96 settled, uint32 closeAt, uint32 owner) public pure {
        expectWord(wordOf(deposit, settled, closeAt, owner), deposit, settled, closeAt, owner);
    }

    function testFuzz_opened(uint96 deposit, uint32 owner) public pure {
        expectWord(Slots.opened(deposit, owner), deposit, 0, 0, owner);
    }

    function testFuzz_toppedUp(uint96 deposit, uint96 settled, uint32 closeAt, uint32 owner, uint96 amount) public pure {
        amount = uint96(between(amount, 0, type(uint96).max - deposit));
        uint256 next = Slots.toppedUp(wordOf(deposit, settled, closeAt, owner), amount);
        expectWord(next, uint256(deposit) + amount, settled, 0, owner);
    }

    function testFuzz_captured(uint96 deposit, uint96 settled, uint32 closeAt, uint32 owner, uint96 amount) public pure {
        settled = uint96(between(settled, 0, deposit));
        if (owner % 4 == 0) closeAt = TOMBSTONE;
        (uint256 next, uint256 gain) = Slots.captured(wordOf(deposit, settled, closeAt, owner), amount);
        uint256 target = amount < deposit ? amount : deposit;
        uint256 after_ = closeAt != TOMBSTONE && target > settled ? target : settled;
        expectWord(next, deposit, after_, closeAt, owner);
        equal(gain, after_ - settled, 'gain');
    }

    function testFuzz_captured_of_nothing(uint96 amount) public pure {
        (uint256 next, uint256 gain) = Slots.captured(0, amount);
        equal(next, 0, 'word');
        equal(gain, 0, 'gain');
    }

    function testFuzz_closing(uint96 deposit, uint96 settled, uint32 owner, uint32 due) public pure {
        expectWord(Slots.closing(wordOf(deposit, settled, 0, owner), due), deposit, settled, due, owner);
    }

    function testFuzz_closed(uint96 deposit, uint96 settled, uint32 closeAt, uint32 owner) public pure {
        settled = uint96(between(settled, 0, deposit));
        (uint256 next, uint256 returned) = Slots.closed(wordOf(deposit, settled, closeAt, owner));
        expectWord(next, deposit, settled, TOMBSTONE, owner);
        equal(returned, uint256(deposit) - settled, 'returned');
        check(!Slots.isLive(next), 'not live');
    }
}
