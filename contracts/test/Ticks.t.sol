// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub} from '../src/IHub.sol';
import {TickScene} from './TickScene.sol';

/// @title Settling tick rows: claims, each reason to skip, and gas
contract TicksTest is TickScene {
    // Claims

    function test_a_tick_is_worth_its_amount_and_its_units() public {
        uint16[11] memory counts = [uint16(0), 1, 2, 7, 8, 9, 15, 16, 17, 99, 100];
        for (uint256 i = 0; i < counts.length; ++i) {
            uint256 claim = 3 ether + counts[i] * uint256(UNIT);
            uint256 before = settledOf(0);
            vm.expectEmit(true, true, true, true, address(hub));
            emit IHub.Settled(payee, claim - before);
            hub.settleTicks(payee, sound(0, 3 ether, counts[i]));
            equal(settledOf(0), claim, 'amount and units');
            equal(hub.credit(payee), claim, 'credited');
        }
    }

    function test_the_shortest_and_the_longest_chain() public {
        hub.settleTicks(payee, sign(0, tickOf(1, 5, 1, 1, END)));
        equal(settledOf(0), 6, 'a chain of one');
        hub.settleTicks(payee, sign(1, tickOf(1, 5, 1024, 1024, END)));
        equal(settledOf(1), 1 + 5 * 1024, 'a chain of 1,024');
        hub.settleTicks(payee, sign(2, tickOf(0, 1, 1024, 1023, END)));
        equal(settledOf(2), 1023, 'without its end');
    }

    function test_one_event_a_batch_in_any_mix() public {
        bytes memory rows = bytes.concat(
            sound(0, 3 ether, 10), sound(4, 1 ether, 1), sound(0, 3 ether, 5), sound(1, 4 ether, 0), sound(5, 1, 1)
        );
        uint256 total = 7 ether + 10 * uint256(UNIT);
        vm.expectEmit(true, true, true, true, address(hub));
        emit IHub.Settled(payee, total);
        vm.recordLogs();
        hub.settleTicks(payee, rows);
        equal(vm.getRecordedLogs().length, 1, 'one event');
        equal(hub.credit(payee), total, 'credit');
        expectSkip(rows, 'a replay');
    }

    function test_a_claim_is_clamped_to_the_deposit() public {
        bytes memory row = sound(0, DEPOSIT - UNIT, 2);
        hub.settleTicks(payee, row);
        equal(settledOf(0), DEPOSIT, 'clamped');
        expectSkip(row, 'nothing is left');
        vm.deal(payer, 5);
        vm.prank(payer);
        hub.topUp{value: 5}(vm.addr(key(0)), payee);
        hub.settleTicks(payee, row);
        equal(settledOf(0), DEPOSIT + 5, 'a replay gains what the deposit gained');
    }

    function test_plain_rows_and_ticks_raise_the_same_amount() public {
        hub.settle(payee, signRow(hub, key(0), payee, 2 ether));
        expectSkip(sound(0, 1 ether, 64), 'a tick of as much');
        hub.settleTicks(payee, sound(0, 1 ether, 65));
        equal(settledOf(0), 2 ether + UNIT, 'the difference');
        hub.settle(payee, signRow(hub, key(0), payee, 2 ether + 1));
        equal(settledOf(0), 2 ether + UNIT, 'a stale plain row');
        hub.settle(payee, signRow(hub, key(0), payee, 4 ether));
        equal(hub.credit(payee), 4 ether, 'all in all');
    }

    function test_a_pending_close_is_not_disturbed() public {
        vm.prank(payer);
        hub.requestClose(vm.addr(key(0)), payee);
        uint32 due = hub.channel(vm.addr(key(0)), payee).closeAt;
        hub.settleTicks(payee, sound(0, 1 ether, 1));
        equal(settledOf(0), 1 ether + UNIT, 'settled');
        equal(hub.channel(vm.addr(key(0)), payee).closeAt, due, 'due as before');
    }

    /// @dev The separator of a fork takes memory that nothing else may be using by then.
    function test_ticks_of_a_fork() public {
        bytes memory here = sound(0, 1 ether, 9);
        vm.chainId(1029);
        expectSkip(here, 'a row of the chain before');
        hub.settleTicks(payee, bytes.concat(here, sound(0, 1 ether, 9), here));
        equal(settledOf(0), 1 ether + 9 * uint256(UNIT), 'a row of the fork');
    }

    // Calls

    function test_odd_lengths_are_refused() public {
        bytes memory row = sound(0, 1 ether, 1);
        bytes memory plain = signRow(hub, key(0), payee, 1 ether);
        vm.expectRevert(IHub.BadTickRows.selector);
        hub.settleTicks(payee, slice(row, 0, 123));
        vm.expectRevert(IHub.BadTickRows.selector);
        hub.settleTicks(payee, bytes.concat(row, hex'00'));
        vm.expectRevert(IHub.BadTickRows.selector);
        hub.settleTicks(payee, plain);
        vm.expectRevert(IHub.BadRows.selector);
        hub.settle(payee, row);
        expectSkip('', 'no rows');
    }

    function test_rows_may_lie_anywhere_but_within_the_call() public {
        bytes memory row = sound(0, 1 ether, 1);
        bytes memory head = abi.encodePacked(IHub.settleTicks.selector, uint256(uint160(payee)), uint256(0x43));
        (bool ok,) = address(hub).call(abi.encodePacked(head, hex'112233', uint256(248), row));
        check(!ok, 'a length beyond the call');
        (ok,) = address(hub).call(abi.encodePacked(head, hex'112233', uint256(124), row, sound(0, 2 ether, 1)));
        check(ok, 'bytes after the rows');
        equal(settledOf(0), 1 ether + UNIT, 'the row counts, what follows does not');
    }

    // Reasons to skip

    function test_skip_stale_equal_and_lower() public {
        hub.settleTicks(payee, sound(0, 3 ether, 10));
        expectSkip(sound(0, 3 ether, 10), 'equal');
        expectSkip(sound(0, 3 ether, 9), 'a tick before');
        expectSkip(sound(0, 3 ether, 0), 'the root');
        expectSkip(sign(0, tickOf(3 ether, 1, 1024, 1024, END)), 'another chain that claims less');
    }

    function test_skip_closed_unknown_and_foreign() public {
        expectSkip(sound(4, 1 ether, 1), 'closed');
        expectSkip(sound(5, 1 ether, 1), 'unknown voucher key');
        expectSkip(signTick(hub, key(0), addressOf('payee', 1), tick(1 ether, 1)), 'for another payee');
        expectSkip(signTick(newNativeHub(PERIOD), key(0), payee, tick(1 ether, 1)), 'for another hub');
    }

    /// @dev Signed as they stand: nothing but the range is wrong, and a hub without it would capture them.
    function test_skip_out_of_range() public {
        expectSkip(sign(0, Tick(1 ether, UNIT, 0, 0, END)), 'length 0');
        expectSkip(sign(0, Tick(1 ether, UNIT, 1025, 1, END)), 'length 1,025');
        expectSkip(sign(0, Tick(1 ether, UNIT, 1025, 1025, END)), 'length and count 1,025');
        expectSkip(sign(0, Tick(1 ether, UNIT, type(uint16).max, 0, END)), 'length 65,535');
        expectSkip(sign(0, Tick(1 ether, 0, 100, 1, END)), 'unit 0');
        expectSkip(sign(0, Tick(1 ether, 0, 100, 0, END)), 'unit 0 and count 0');
        expectSkip(sign(0, Tick(1 ether, UNIT, 100, 101, END)), 'count above the length');
        expectSkip(sign(0, Tick(1 ether, UNIT, 1, 2, END)), 'count above a length of one');
        uint96 unit = type(uint96).max / 100;
        uint96 rest = type(uint96).max - 100 * unit;
        expectSkip(sign(0, Tick(rest + 1, unit, 100, 1, END)), 'the end claims more than 96 bits');
        expectSkip(sign(0, Tick(rest + 1, unit, 100, 0, END)), 'the same at the root');
        expectSkip(sign(0, Tick(type(uint96).max, 1, 1, 1, END)), 'a claim of 2^96');
        hub.settleTicks(payee, sign(0, Tick(rest, unit, 100, 1, END)));
        equal(settledOf(0), DEPOSIT, 'the most that fits');
        hub.settleTicks(payee, sign(1, Tick(type(uint96).max - 1, 1, 1, 0, END)));
        equal(settledOf(1), DEPOSIT + 1, 'and in one unit');
    }

    /// @dev A row out of range costs no links, whatever its count says.
    function test_a_row_out_of_range_is_not_followed() public {
        bytes memory rows = sign(0, Tick(1 ether, UNIT, 1025, 1025, END));
        uint256 before = gasleft();
        hub.settleTicks(payee, rows);
        check(before - gasleft() < 10_000, 'no links were followed');
    }

    function test_skip_what_does_not_lead_to_the_root() public {
        Tick memory it = tick(1 ether, 10);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key(0), tickDigestOf(hub.domainSeparator(), payee, it));
        uint256 parity = v - 27;
        bytes32 value = it.value;
        it.count = 11;
        expectSkip(encodeTick(it, r, s, parity), 'a count too high');
        it.count = 9;
        expectSkip(encodeTick(it, r, s, parity), 'a count too low');
        it.count = 10;
        it.value = linked(value, 1);
        expectSkip(encodeTick(it, r, s, parity), 'the tick before at this count');
        it.value = value ^ bytes32(uint256(1));
        expectSkip(encodeTick(it, r, s, parity), 'another value');
        it.value = linked(value, 10);
        expectSkip(encodeTick(it, r, s, parity), 'the root at this count');
        it.value = value;
        it.unit += 1;
        expectSkip(encodeTick(it, r, s, parity), 'another unit');
        it.unit -= 1;
        it.amount += 1;
        expectSkip(encodeTick(it, r, s, parity), 'another amount');
        it.amount -= 1;
        it.length += 1;
        expectSkip(encodeTick(it, r, s, parity), 'another length');
        it.length -= 1;
        hub.settleTicks(payee, encodeTick(it, r, s, parity));
        equal(settledOf(0), 1 ether + 10 * uint256(UNIT), 'the sound row counts');
    }

    function test_skip_malformed_signatures() public {
        Tick memory it = tick(1 ether, 3);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key(0), tickDigestOf(hub.domainSeparator(), payee, it));
        uint256 parity = v - 27;
        expectSkip(encodeTick(it, r, s, 1 - parity), 'parity flipped');
        expectSkip(encodeTick(it, 0, s, parity), 'r zero');
        expectSkip(encodeTick(it, r, 0, parity), 's zero');
        expectSkip(encodeTick(it, bytes32(ORDER), s, parity), 'r is n');
        expectSkip(encodeTick(it, r, bytes32(ORDER / 2 + 1), parity), 's just above half');
        expectSkip(new bytes(TICK_ROW_SIZE), 'zeros');
        (v, r, s) = vm.sign(key(0), digestOf(hub.domainSeparator(), payee, it.amount));
        expectSkip(encodeTick(it, r, s, v - 27), 'the signature of a plain voucher');
        (v, r, s) = vm.sign(key(0), tickDigestOf(hub.domainSeparator(), payee, it));
        hub.settle(payee, encodeRow(it.amount, r, s, v - 27));
        equal(settledOf(0), 0, 'that of a tick voucher in a plain row');
    }

    /// @dev As in `Settle.t.sol`: a payer may choose s and take the voucher key that fits.
    function test_skip_high_s() public {
        bytes32 r = 0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798;
        Tick memory it = tick(1 ether, 3);
        bytes32 digest = tickDigestOf(hub.domainSeparator(), payee, it);
        for (uint256 above = 0; above < 2; ++above) {
            bytes32 s = bytes32(ORDER / 2 + above);
            address signer = ecrecover(digest, 27, r, s);
            openAs(hub, payer, signer, payee, DEPOSIT);
            hub.settleTicks(payee, encodeTick(it, r, s, 0));
            uint256 claim = above == 0 ? 1 ether + 3 * uint256(UNIT) : 0;
            equal(hub.channel(signer, payee).settled, claim, 'the limit itself is allowed');
        }
    }

    /// @dev Neither the key nor the root of one row must be taken for those of the next.
    function test_skip_spoilt_after_sound() public {
        Tick memory it = tick(50 ether, 20);
        (, bytes32 r, bytes32 s) = vm.sign(key(0), tickDigestOf(hub.domainSeparator(), payee, it));
        bytes memory rows = bytes.concat(
            sound(0, 1 ether, 5),
            encodeTick(it, 0, s, 0),
            encodeTick(it, r, 0, 1),
            encodeTick(it, bytes32(ORDER), s, 0),
            sign(0, Tick(50 ether, 0, 100, 20, END)),
            encodeTick(Tick(1 ether, UNIT, 100, 6, 0), r, s, 0)
        );
        hub.settleTicks(payee, rows);
        equal(hub.credit(payee), 1 ether + 5 * uint256(UNIT), 'only the first');
    }

    /// @dev A hub that read on behind a row would find what looks like the next plain row, with a signature that
    /// whoever makes the batch may choose: any signature fits some voucher key.
    function test_a_row_is_read_once() public {
        bytes memory row = sound(0, 1 ether, 3);
        bytes32 r = 0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798;
        bytes32 s = bytes32(uint256(12_345));
        Tick memory beyond = tick(uint96(uint256(word(row, ROW_SIZE)) >> 160), 3);
        address signer = ecrecover(tickDigestOf(hub.domainSeparator(), payee, beyond), 27, r, s);
        openAs(hub, payer, signer, payee, DEPOSIT);
        hub.settleTicks(payee, bytes.concat(row, new bytes(12), r, s, new bytes(48)));
        equal(hub.channel(signer, payee).settled, 0, 'nothing but the row');
        equal(settledOf(0), 1 ether + 3 * uint256(UNIT), 'and the row');
    }

    // Gas

    /// @dev With too little gas a batch must fail as a whole and never pass without its rows: neither a link nor a
    /// signature check that ran out may be taken for an answer.
    function test_too_little_gas_never_skips_a_sound_row() public {
        bytes memory rows = bytes.concat(sound(0, 1, 3), sound(1, 1, 20));
        uint256 claims = 2 + 23 * uint256(UNIT);
        uint256 passed = sweep(rows, claims, 1000, 120_000, 211);
        check(passed > 0, 'some gas is enough');
        // Closely wherever a link or the check of a single row may run out, and up to where a reserve is kept back.
        sweep(sound(0, 1, 20), 1 + 20 * uint256(UNIT), 1000, 16_000, 5);
        sweep(sound(0, 1, 20), 1 + 20 * uint256(UNIT), 16_000, 70_000, 61);
    }

    function sweep(bytes memory rows, uint256 claims, uint256 from, uint256 to, uint256 step)
        private
        returns (uint256 passed)
    {
        bytes memory call_ = abi.encodeCall(IHub.settleTicks, (payee, rows));
        for (uint256 gas = from; gas < to; gas += step) {
            uint256 id = vm.snapshotState();
            (bool ok,) = address(hub).call{gas: gas}(call_);
            equal(hub.credit(payee), ok ? claims : 0, 'a batch that passes is complete');
            if (ok) ++passed;
            vm.revertToState(id);
        }
    }
}
