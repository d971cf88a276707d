// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {TickScene} from './TickScene.sol';

/// @title Random tick rows against the reference, in any order and once more
contract TicksFuzzTest is TickScene {
    /// Ways in which `anyRow` spoils a row.
    uint256 private constant WAYS = 18;

    /// @dev A row made from a seed, sound or spoilt in one of `WAYS` ways.
    function anyRow(uint256 seed) private view returns (bytes memory) {
        uint256 way = (seed >> 64) % (2 * WAYS);
        Tick memory it = anyTick(seed, way);
        bytes32 separator = way == 5 ? keccak256('another hub') : hub.domainSeparator();
        address payee_ = way == 4 ? addressOf('payee', 1) : payee;
        bytes32 digest = way == 6 ? digestOf(separator, payee_, it.amount) : tickDigestOf(separator, payee_, it);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key(seed % KEYS), digest);
        if (way == 7) v = 55 - v;
        if (way == 8) r = 0;
        if (way == 9) s = 0;
        if (way == 10) r = bytes32(ORDER + seed % 3);
        if (way == 11) s = bytes32(ORDER / 2 + 1 + seed % 3);
        if (way == 12) r = keccak256(abi.encode(seed));
        // After it was signed.
        if (way == 13) it.count = uint16(it.count ^ (1 << (seed >> 128) % 11));
        if (way == 14) it.value ^= bytes32(1 << (seed >> 128) % 256);
        if (way == 15) it.amount ^= uint96(1 << (seed >> 128) % 96);
        if (way == 16) it.unit ^= uint96(1 << (seed >> 128) % 96);
        if (way == 17) it.length ^= uint16(1 << (seed >> 128) % 16);
        return encodeTick(it, r, s, v - 27);
    }

    /// @dev A tick in range, or out of it in one of the first four ways.
    function anyTick(uint256 seed, uint256 way) private pure returns (Tick memory it) {
        uint16 length = uint16(between(seed >> 72, 1, (seed >> 40) % 4 == 0 ? 1024 : 24));
        uint96 unit = uint96(between(seed >> 104, 1, ((seed >> 44) % 8 == 0 ? type(uint96).max : DEPOSIT) / length));
        uint96 room = type(uint96).max - unit * length;
        it = tickOf(anyAmount(seed >> 8, room), unit, length, uint16(between(seed >> 88, 0, length)), bytes32(seed));
        if (way == 0) it.length = uint16((seed >> 48) % 2 == 0 ? 0 : 1025 + seed % 3);
        if (way == 1) it.unit = 0;
        if (way == 2) it.count = uint16(it.length + 1 + seed % 3);
        if (way == 3) it.amount = room + 1;
    }

    function anyAmount(uint256 seed, uint96 room) private pure returns (uint96) {
        uint256 kind = seed % 8;
        uint256 amount = between(seed >> 8, 0, DEPOSIT);
        if (kind == 0) amount = seed >> 8 & type(uint96).max; // anything up to 2^96
        if (kind == 1) amount = between(seed >> 8, DEPOSIT - 3, DEPOSIT + 6); // around the deposits
        if (kind == 2) amount = (seed >> 8) % 3; // 0, 1, 2
        return uint96(amount > room ? room : amount);
    }

    function anyRows(uint256 seed, uint256 count) private view returns (bytes memory rows) {
        for (uint256 i = 0; i < count; ++i) {
            rows = bytes.concat(rows, anyRow(uint256(keccak256(abi.encode(seed, i)))));
        }
    }

    function testFuzz_settleTicks_equals_the_reference(uint256 seed) public {
        for (uint256 batch = 0; batch < 3; ++batch) {
            expectEqualToReference(anyRows(uint256(keccak256(abi.encode(seed, batch))), 1 + seed % 8));
        }
    }

    function expectEqualToReference(bytes memory rows) private {
        uint256 before = hub.credit(payee);
        uint256 gain = expectedGain(hub, payee, rows, TICK_ROW_SIZE);
        uint256[] memory expected = new uint256[](KEYS);
        for (uint256 i = 0; i < KEYS; ++i) {
            expected[i] = settledAfter(hub, vm.addr(key(i)), payee);
        }
        hub.settleTicks(payee, rows);
        equal(hub.credit(payee) - before, gain, 'gain');
        for (uint256 i = 0; i < KEYS; ++i) {
            equal(settledOf(i), expected[i], 'settled');
        }
    }

    /// @dev Bytes that nobody signed: whatever they recover to, no channel moves.
    function testFuzz_noise_settles_nothing(bytes calldata noise) public {
        expectSkip(noise[:noise.length - noise.length % TICK_ROW_SIZE], 'noise');
    }

    /// @dev A batch equals its rows one by one, in any order; replaying all of it changes nothing.
    function testFuzz_batch_is_the_fold_of_its_rows_in_any_order(uint256 seed) public {
        uint256 count = 1 + seed % 6;
        bytes memory rows = anyRows(seed, count);
        uint256 id = vm.snapshotState();
        hub.settleTicks(payee, rows);
        bytes32 state = stateOf();
        hub.settleTicks(payee, rows);
        equal(stateOf(), state, 'a replay changes nothing');
        vm.revertToState(id);
        for (uint256 i = 0; i < count; ++i) {
            uint256 at = (seed >> 16 & 1) == 0 ? (i + (seed >> 8)) % count : count - 1 - (i + (seed >> 8)) % count;
            hub.settleTicks(payee, slice(rows, at * TICK_ROW_SIZE, TICK_ROW_SIZE));
        }
        equal(stateOf(), state, 'singles in another order');
    }

    /// @dev The comparison with the reference must notice a hub that follows too long chains: the bound is found in
    /// the code and doubled, and a row that only such a hub credits must fail the comparison.
    function test_canary_a_hub_that_follows_longer_chains_is_noticed() public {
        bytes memory code = address(hub).code;
        uint256 found;
        for (uint256 at = 0; at + 3 <= code.length; ++at) {
            // PUSH2 1,023.
            if (code[at] != 0x61 || code[at + 1] != 0x03 || code[at + 2] != 0xff) continue;
            ++found;
            code[at + 1] = 0x07;
        }
        equal(found, 1, 'the bound is in the code');
        vm.etch(address(hub), code);
        try this.compare(sign(0, Tick(1 ether, UNIT, 1025, 1, END))) {
            revert AssertionFailed('the comparison noticed nothing', 0, 0);
        } catch {}
    }

    function compare(bytes calldata rows) external {
        expectEqualToReference(rows);
    }
}
