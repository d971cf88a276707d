// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub, INativeHub} from '../src/IHub.sol';
import {Base} from './Base.sol';
import {Reference} from './Reference.sol';

/// @title Settling: each reason to skip, the reference, order and replay
contract SettleTest is Reference {
    INativeHub private hub;
    address private payer = addressOf('payer', 0);
    address private payee = addressOf('payee', 0);
    uint256 private constant KEYS = 6;
    uint96 private constant DEPOSIT = 100 ether;

    /// Ways in which `anyRow` spoils a row, and how often a spoilt or sound row came up.
    uint256 private constant WAYS = 12;

    function setUp() public {
        hub = newNativeHub();
        // Four live channels of different deposits, one closed, one unknown.
        for (uint256 i = 0; i < KEYS - 1; ++i) {
            openAs(hub, payer, vm.addr(key(i)), payee, DEPOSIT + uint96(i));
        }
        address[] memory closing = new address[](1);
        closing[0] = vm.addr(key(4));
        vm.prank(payee);
        hub.cooperativeClose(closing, '');
    }

    function key(uint256 index) private pure returns (uint256) {
        return keyOf('settle', index);
    }

    function settledOf(uint256 index) private view returns (uint256) {
        return hub.channel(vm.addr(key(index)), payee).settled;
    }

    function sound(uint256 index, uint96 cumulative) private view returns (bytes memory) {
        return signRow(hub, key(index), payee, cumulative);
    }

    /// @dev Settles a row and expects that nothing at all changes.
    function expectSkip(bytes memory row, string memory why) private {
        uint256 credit = hub.credit(payee);
        bytes32 state = stateOf(hub);
        vm.recordLogs();
        hub.settle(payee, row);
        equal(vm.getRecordedLogs().length, 0, string.concat(why, ': no event'));
        equal(hub.credit(payee), credit, string.concat(why, ': no credit'));
        equal(stateOf(hub), state, why);
    }

    function stateOf(INativeHub hub_) private view returns (bytes32) {
        address[] memory list = new address[](KEYS);
        for (uint256 i = 0; i < KEYS; ++i) {
            list[i] = vm.addr(key(i));
        }
        return keccak256(abi.encode(hub_.readChannels(payee, list), hub_.credit(payee), hub_.credit(payer)));
    }

    // One row

    function test_settle_credits_and_emits_once() public {
        bytes memory rows = bytes.concat(sound(0, 3 ether), sound(1, 4 ether), sound(4, 1 ether));
        vm.expectEmit(true, true, true, true, address(hub));
        emit IHub.Settled(payee, 7 ether);
        vm.recordLogs();
        hub.settle(payee, rows);
        equal(hub.credit(payee), 7 ether, 'credit');
        equal(settledOf(0), 3 ether, 'first');
        equal(settledOf(1), 4 ether, 'second');
        equal(vm.getRecordedLogs().length, 1, 'one event a batch');
    }

    function test_settle_of_nothing_is_silent() public {
        expectSkip('', 'no rows');
    }

    function test_settle_refuses_odd_lengths() public {
        bytes memory row = sound(0, 1 ether);
        vm.expectRevert(IHub.BadRows.selector);
        hub.settle(payee, slice(row, 0, 75));
        vm.expectRevert(IHub.BadRows.selector);
        hub.settle(payee, bytes.concat(row, hex'00'));
    }

    function test_settle_clamps_to_the_deposit() public {
        hub.settle(payee, sound(0, type(uint96).max));
        equal(settledOf(0), DEPOSIT, 'clamped');
        expectSkip(sound(0, type(uint96).max), 'nothing is left');
        vm.deal(payer, 5);
        vm.prank(payer);
        hub.topUp{value: 5}(vm.addr(key(0)), payee);
        hub.settle(payee, sound(0, type(uint96).max));
        equal(settledOf(0), DEPOSIT + 5, 'a replay gains what the deposit gained');
    }

    function test_settle_does_not_disturb_a_pending_close() public {
        vm.prank(payer);
        hub.requestClose(vm.addr(key(0)), payee);
        uint32 due = hub.channel(vm.addr(key(0)), payee).closeAt;
        hub.settle(payee, sound(0, 1 ether));
        equal(settledOf(0), 1 ether, 'settled');
        equal(hub.channel(vm.addr(key(0)), payee).closeAt, due, 'due as before');
    }

    // Reasons to skip

    function test_skip_stale_equal_and_zero() public {
        hub.settle(payee, sound(0, 3 ether));
        expectSkip(sound(0, 3 ether), 'equal');
        expectSkip(sound(0, 3 ether - 1), 'lower');
        expectSkip(sound(0, 0), 'zero');
    }

    function test_skip_closed_unknown_and_foreign() public {
        expectSkip(sound(4, 1 ether), 'closed');
        expectSkip(sound(5, 1 ether), 'unknown voucher key');
        expectSkip(signRow(hub, key(0), addressOf('payee', 1), 1 ether), 'voucher for another payee');
        expectSkip(signRow(newNativeHub(PERIOD), key(0), payee, 1 ether), 'voucher for another hub');
    }

    function test_skip_malformed_signatures() public {
        uint96 amount = 1 ether;
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(key(0), digestOf(hub.domainSeparator(), payee, amount));
        uint256 parity = v - 27;
        expectSkip(encodeRow(amount, r, s, 1 - parity), 'parity flipped');
        expectSkip(encodeRow(amount, 0, s, parity), 'r zero');
        expectSkip(encodeRow(amount, r, 0, parity), 's zero');
        expectSkip(encodeRow(amount, bytes32(ORDER), s, parity), 'r is n');
        expectSkip(encodeRow(amount, bytes32(type(uint256).max), s, parity), 'r above n');
        expectSkip(encodeRow(amount, r, bytes32(ORDER / 2 + 1), parity), 's just above half');
        expectSkip(encodeRow(amount, r, bytes32(type(uint256).max >> 1), parity), 's as high as it gets');
        expectSkip(encodeRow(amount + 1, r, s, parity), 'another amount');
        expectSkip(new bytes(ROW_SIZE), 'zeros');
        hub.settle(payee, encodeRow(amount, r, s, parity));
        equal(settledOf(0), amount, 'the sound row counts');
    }

    /// @dev A row has 255 bits for s, and hardly any high s fits them: no wallet ever makes one. But a payer
    /// may choose s and the nonce first and take the voucher key that fits, so the rule needs a test.
    function rowWithS(uint256 s, uint96 amount) private view returns (uint256 privateKey, bytes memory row) {
        // With nonce 1 the point R is the generator, whose y is even.
        uint256 r = 0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798;
        uint256 digest = uint256(digestOf(hub.domainSeparator(), payee, amount)) % ORDER;
        privateKey = mulmod(addmod(s, ORDER - digest, ORDER), power(r, ORDER - 2), ORDER);
        row = encodeRow(amount, bytes32(r), bytes32(s), 0);
    }

    function power(uint256 base, uint256 exponent) private pure returns (uint256 result) {
        result = 1;
        for (; exponent != 0; exponent >>= 1) {
            if (exponent & 1 == 1) result = mulmod(result, base, ORDER);
            base = mulmod(base, base, ORDER);
        }
    }

    function test_skip_high_s() public {
        (uint256 privateKey, bytes memory row) = rowWithS(ORDER / 2 + 1, 1 ether);
        openAs(hub, payer, vm.addr(privateKey), payee, DEPOSIT);
        bytes32 digest = digestOf(hub.domainSeparator(), payee, 1 ether);
        equal(
            ecrecover(digest, 27, word(row, 12), word(row, 44)), vm.addr(privateKey), 'the precompile alone takes it'
        );
        equal(signerOf(hub.domainSeparator(), payee, row), address(0), 'the reference does not');
        expectSkip(row, 'high s');
        equal(hub.channel(vm.addr(privateKey), payee).settled, 0, 'not settled');
    }

    /// @dev The limit itself is allowed, off chain and so on chain.
    function test_settle_takes_the_highest_allowed_s() public {
        (uint256 privateKey, bytes memory row) = rowWithS(ORDER / 2, 1 ether);
        openAs(hub, payer, vm.addr(privateKey), payee, DEPOSIT);
        equal(signerOf(hub.domainSeparator(), payee, row), vm.addr(privateKey), 'well signed');
        hub.settle(payee, row);
        equal(hub.channel(vm.addr(privateKey), payee).settled, 1 ether, 'settled');
    }

    /// @dev The recovered key of one row must not be taken for that of the next, malformed one.
    function test_skip_malformed_after_sound() public {
        uint96 more = 50 ether;
        (, bytes32 r, bytes32 s) = vm.sign(key(0), digestOf(hub.domainSeparator(), payee, more));
        bytes memory rows = bytes.concat(
            sound(0, 1 ether),
            encodeRow(more, 0, s, 0),
            encodeRow(more, r, 0, 1),
            encodeRow(more, r, bytes32(ORDER / 2 + 1), 0),
            encodeRow(more, bytes32(ORDER), s, 0)
        );
        hub.settle(payee, rows);
        equal(hub.credit(payee), 1 ether, 'only the first');
    }

    function test_skip_duplicates_in_a_batch() public {
        bytes memory row = sound(0, 2 ether);
        hub.settle(payee, bytes.concat(row, row, sound(0, 1 ether), row));
        equal(hub.credit(payee), 2 ether, 'once');
    }

    /// @dev Nobody can open the channel of voucher key zero, to which malformed rows point.
    function test_the_channel_of_key_zero_stays_empty() public {
        vm.expectRevert(IHub.ZeroAddress.selector);
        hub.open{value: 1}(address(0), payee);
        expectSkip(new bytes(ROW_SIZE * 3), 'zeros');
        equal(hub.channel(address(0), payee).deposit, 0, 'empty');
    }

    /// @dev With too little gas a batch must fail as a whole and never pass without its rows.
    function test_too_little_gas_never_skips_a_sound_row() public {
        bytes memory rows = bytes.concat(sound(0, 1 ether), sound(1, 1 ether));
        address[] memory list = new address[](2);
        list[0] = vm.addr(key(0));
        list[1] = vm.addr(key(1));
        uint256 passed;
        for (uint256 gas = 1000; gas < 160_000; gas += 500) {
            uint256 id = vm.snapshotState();
            vm.prank(payee);
            (bool ok,) = address(hub).call{gas: gas}(abi.encodeCall(IHub.cooperativeClose, (list, rows)));
            if (ok) {
                ++passed;
                equal(hub.credit(payee), 2 ether, 'a batch that passes is complete');
            } else {
                equal(hub.credit(payee), 0, 'a batch that fails changes nothing');
            }
            vm.revertToState(id);
        }
        check(passed > 0, 'some gas is enough');
        // Closely where too little is left for one check, and up to where a reserve would be kept back.
        for (uint256 gas = 1000; gas < 60_000; gas += gas < 20_000 ? 7 : 97) {
            uint256 id = vm.snapshotState();
            (bool ok,) = address(hub).call{gas: gas}(abi.encodeCall(IHub.settle, (payee, sound(0, 1))));
            check(!ok || hub.credit(payee) == 1, 'a single row that passes counts');
            vm.revertToState(id);
        }
    }

    // Against the reference

    /// @dev A row made from a seed, sound or spoilt in one of `WAYS` ways.
    function anyRow(uint256 seed) private view returns (bytes memory) {
        uint256 index = seed % KEYS;
        uint96 amount = anyAmount(seed >> 8);
        uint256 way = (seed >> 64) % (2 * WAYS);
        address payee_ = way == 0 ? addressOf('payee', 1) : payee;
        bytes32 separator = way == 1 ? keccak256('another hub') : hub.domainSeparator();
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key(index), digestOf(separator, payee_, amount));
        uint256 parity = v - 27;
        if (way == 2) parity = 1 - parity;
        if (way == 3) (s, parity) = (bytes32(ORDER - uint256(s)), 1 - parity);
        if (way == 4) r = 0;
        if (way == 5) s = 0;
        if (way == 6) r = bytes32(ORDER + seed % 3);
        if (way == 7) s = bytes32(ORDER / 2 + 1 + seed % 3);
        if (way == 8) r = bytes32(uint256(r) ^ (1 << (seed >> 128) % 256));
        if (way == 9) s = bytes32((uint256(s) ^ (1 << (seed >> 128) % 255)) & (type(uint256).max >> 1));
        if (way == 10) amount ^= uint96(1 << (seed >> 128) % 96);
        if (way == 11) r = keccak256(abi.encode(seed));
        // A high s reaches the parity bit, so it is cut to the 255 bits that a row has room for.
        return encodeRow(amount, r, bytes32(uint256(s) & (type(uint256).max >> 1)), parity);
    }

    function anyAmount(uint256 seed) private pure returns (uint96) {
        uint256 kind = seed % 8;
        if (kind == 0) return uint96(seed >> 8); // anything up to 2^96
        if (kind == 1) return uint96(between(seed >> 8, DEPOSIT - 3, DEPOSIT + 6)); // around the deposits
        if (kind == 2) return uint96((seed >> 8) % 3); // 0, 1, 2
        return uint96(between(seed >> 8, 1, DEPOSIT));
    }

    function anyRows(uint256 seed, uint256 count) private view returns (bytes memory rows) {
        for (uint256 i = 0; i < count; ++i) {
            rows = bytes.concat(rows, anyRow(uint256(keccak256(abi.encode(seed, i)))));
        }
    }

    function testFuzz_settle_equals_the_reference(uint256 seed) public {
        for (uint256 batch = 0; batch < 3; ++batch) {
            bytes memory rows = anyRows(uint256(keccak256(abi.encode(seed, batch))), seed % 9);
            expectEqualToReference(rows);
        }
    }

    function expectEqualToReference(bytes memory rows) private {
        uint256 before = hub.credit(payee);
        uint256 gain = expectedGain(hub, payee, rows, ROW_SIZE);
        uint256[] memory expected = new uint256[](KEYS);
        for (uint256 i = 0; i < KEYS; ++i) {
            expected[i] = settledAfter(hub, vm.addr(key(i)), payee);
        }
        hub.settle(payee, rows);
        equal(hub.credit(payee) - before, gain, 'gain');
        for (uint256 i = 0; i < KEYS; ++i) {
            equal(settledOf(i), expected[i], 'settled');
        }
    }

    /// @dev Bytes that nobody signed: whatever they recover to, no channel moves.
    function testFuzz_noise_settles_nothing(bytes calldata noise) public {
        expectSkip(noise[:noise.length - noise.length % ROW_SIZE], 'noise');
    }

    /// @dev What voucher.md 4 accepts, the hub credits; what it does not accept, the hub does not.
    function testFuzz_accepted_off_chain_means_credited(uint256 seed) public {
        bytes memory row = anyRow(seed);
        uint256 index = seed % KEYS;
        uint256 amount = uint256(word(row, 0)) >> 160;
        bool accepted = signerOf(hub.domainSeparator(), payee, row) == vm.addr(key(index)) && index < 4
            && amount > 0 && amount <= DEPOSIT + index;
        hub.settle(payee, row);
        if (accepted) equal(settledOf(index), amount, 'accepted but not credited');
        else if (amount <= DEPOSIT) equal(hub.credit(payee), 0, 'credited but not acceptable');
    }

    /// @dev A batch equals its rows one by one, in any order; replaying all of it changes nothing.
    function testFuzz_batch_is_the_fold_of_its_rows_in_any_order(uint256 seed) public {
        uint256 count = 1 + seed % 7;
        bytes memory rows = anyRows(seed, count);
        uint256 id = vm.snapshotState();
        hub.settle(payee, rows);
        bytes32 state = stateOf(hub);
        hub.settle(payee, rows);
        equal(stateOf(hub), state, 'a replay changes nothing');
        vm.revertToState(id);
        // Any rotation, read forwards or backwards, one row a call.
        for (uint256 i = 0; i < count; ++i) {
            uint256 at = (seed >> 16 & 1) == 0 ? (i + (seed >> 8)) % count : count - 1 - (i + (seed >> 8)) % count;
            hub.settle(payee, slice(rows, at * ROW_SIZE, ROW_SIZE));
        }
        equal(stateOf(hub), state, 'singles in another order');
        for (uint256 i = 0; i < count; ++i) {
            hub.settle(payee, slice(rows, i * ROW_SIZE, ROW_SIZE));
        }
        equal(stateOf(hub), state, 'replayed singles');
    }

    // Canary

    /// @dev The comparison with the reference must notice a hub without the limit on s: the limit is found
    /// in the code and lifted, and a row that only such a hub credits must fail the comparison.
    function test_canary_a_hub_that_takes_high_s_is_noticed() public {
        bytes memory code = address(hub).code;
        bytes32 limit = bytes32(ORDER / 2);
        uint256 found;
        for (uint256 at = 0; at + 32 <= code.length; ++at) {
            if (code[at] != limit[0] || word(code, at) != limit) continue;
            ++found;
            for (uint256 i = 0; i < 32; ++i) {
                code[at + i] = 0xff;
            }
        }
        check(found > 0, 'the limit is in the code');
        vm.etch(address(hub), code);
        (uint256 privateKey, bytes memory row) = rowWithS(ORDER / 2 + 1, 1 ether);
        openAs(hub, payer, vm.addr(privateKey), payee, DEPOSIT);
        try this.compare(row) {
            revert AssertionFailed('the comparison noticed nothing', 0, 0);
        } catch {}
    }

    function compare(bytes calldata row) external {
        expectEqualToReference(row);
    }
}
