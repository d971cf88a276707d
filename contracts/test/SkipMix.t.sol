// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {INativeHub} from '../src/IHub.sol';
import {Reference} from './Reference.sol';

/// @title Good rows among bad ones of every kind, in any order
/// @notice What each batch must pay is known from how it was made, and not from reading it: every live
/// channel has one best row, and whatever else is in the batch changes nothing.
contract SkipMixTest is Reference {
    enum Kind {
        Stale,
        Closed,
        Duplicate,
        Unknown,
        ForeignPayee,
        ForeignHub,
        ForeignChain,
        Parity,
        ZeroR,
        ZeroS,
        HighS,
        Noise
    }

    uint256 private constant KINDS = uint256(type(Kind).max) + 1;
    uint256 private constant LIVE = 4;
    uint256 private constant CLOSED = LIVE;
    uint256 private constant UNKNOWN = LIVE + 1;
    uint96 private constant DEPOSIT = 100 ether;
    uint96 private constant SETTLED = 10 ether;

    INativeHub private hub;
    address private payer = addressOf('payer', 0);
    address private payee = addressOf('payee', 0);

    function setUp() public {
        hub = newNativeHub();
        address[] memory closing = new address[](1);
        bytes memory rows;
        for (uint256 i = 0; i <= CLOSED; ++i) {
            openAs(hub, payer, voucherKey(i), payee, DEPOSIT);
            rows = bytes.concat(rows, sign(i, SETTLED));
        }
        closing[0] = voucherKey(CLOSED);
        vm.prank(payee);
        hub.cooperativeClose(closing, rows);
    }

    function key(uint256 index) private pure returns (uint256) {
        return keyOf('skip mix', index);
    }

    function voucherKey(uint256 index) private pure returns (address) {
        return vm.addr(key(index));
    }

    function sign(uint256 index, uint96 amount) private view returns (bytes memory) {
        return signRow(hub, key(index), payee, amount);
    }

    /// @dev A row of live channel `index` that is worth nothing beside that channel's best row.
    function badRow(Kind kind, uint256 index, uint96 best, uint256 seed) private returns (bytes memory) {
        uint96 more = uint96(between(seed, best + 1, DEPOSIT));
        if (kind == Kind.Stale) return sign(index, uint96(between(seed, 0, best - 1)));
        if (kind == Kind.Closed) return sign(CLOSED, more);
        if (kind == Kind.Duplicate) return sign(index, best);
        if (kind == Kind.Unknown) return sign(UNKNOWN + seed % 3, more);
        if (kind == Kind.ForeignPayee) return signRow(hub, key(index), addressOf('payee', 1), more);
        if (kind == Kind.Noise) return encodeRow(more, keccak256(abi.encode(seed)), keccak256(abi.encode(seed, 1)), 0);
        bytes32 separator = hub.domainSeparator();
        if (kind == Kind.ForeignHub) separator = keccak256(abi.encode('another hub', seed));
        if (kind == Kind.ForeignChain) {
            uint256 chainId = block.chainid;
            vm.chainId(1029);
            separator = hub.domainSeparator();
            vm.chainId(chainId);
        }
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key(index), digestOf(separator, payee, more));
        if (kind == Kind.Parity) return encodeRow(more, r, s, 28 - v);
        if (kind == Kind.ZeroR) return encodeRow(more, 0, s, v - 27);
        if (kind == Kind.ZeroS) return encodeRow(more, r, 0, v - 27);
        if (kind == Kind.HighS) return encodeRow(more, r, bytes32(ORDER / 2 + 1 + seed % 1000), v - 27);
        return encodeRow(more, r, s, v - 27);
    }

    /// @dev Each kind at least once, some more of any kind, and the best rows, shuffled.
    function batchOf(uint256 seed, uint96[] memory best) private returns (bytes[] memory rows) {
        uint256 extra = seed % 8;
        rows = new bytes[](KINDS + extra + LIVE);
        for (uint256 i = 0; i < LIVE; ++i) {
            best[i] = uint96(between(uint256(keccak256(abi.encode(seed, 'best', i))), SETTLED + 1, DEPOSIT - 1));
            rows[i] = sign(i, best[i]);
        }
        for (uint256 i = 0; i < KINDS + extra; ++i) {
            uint256 part = uint256(keccak256(abi.encode(seed, 'bad', i)));
            uint256 index = part % LIVE;
            rows[LIVE + i] = badRow(Kind(i < KINDS ? i : (part >> 8) % KINDS), index, best[index], part >> 16);
        }
        for (uint256 i = rows.length - 1; i > 0; --i) {
            uint256 other = uint256(keccak256(abi.encode(seed, 'order', i))) % (i + 1);
            (rows[i], rows[other]) = (rows[other], rows[i]);
        }
    }

    function expectPaid(uint96[] memory best, uint256 before) private view {
        uint256 total;
        for (uint256 i = 0; i < LIVE; ++i) {
            equal(hub.channel(voucherKey(i), payee).settled, best[i], 'the best row of each channel');
            total += best[i] - SETTLED;
        }
        equal(hub.channel(voucherKey(CLOSED), payee).settled, SETTLED, 'the closed channel');
        equal(hub.credit(payee) - before, total, 'to the unit');
        equal(address(hub).balance, (LIVE + 1) * uint256(DEPOSIT), 'nothing left the hub');
    }

    function testFuzz_good_rows_are_paid_whatever_stands_between(uint256 seed) public {
        uint96[] memory best = new uint96[](LIVE);
        bytes[] memory list = batchOf(seed, best);
        bytes memory rows;
        for (uint256 i = 0; i < list.length; ++i) {
            rows = bytes.concat(rows, list[i]);
        }
        uint256 before = hub.credit(payee);
        uint256 id = vm.snapshotState();
        hub.settle(payee, rows);
        expectPaid(best, before);
        hub.settle(payee, rows);
        expectPaid(best, before);
        vm.revertToState(id);
        // One row a call, from the last to the first.
        for (uint256 i = list.length; i > 0; --i) {
            hub.settle(payee, list[i - 1]);
        }
        expectPaid(best, before);
    }

    /// @dev A replay gains what the deposit gained since, and only for rows above the deposit of then.
    function testFuzz_a_replay_gains_what_the_deposit_gained(uint256 seed) public {
        uint96 rise = uint96(between(seed >> 128, 1, 50 ether));
        bytes memory rows = bytes.concat(sign(0, DEPOSIT + 20 ether), sign(1, DEPOSIT - 1), sign(CLOSED, DEPOSIT));
        hub.settle(payee, rows);
        uint256 before = hub.credit(payee);
        for (uint256 i = 0; i < 2; ++i) {
            vm.deal(payer, rise);
            vm.prank(payer);
            hub.topUp{value: rise}(voucherKey(i), payee);
        }
        hub.settle(payee, rows);
        uint256 gain = rise < 20 ether ? rise : 20 ether;
        equal(hub.credit(payee) - before, gain, 'what the deposit gained');
        hub.settle(payee, rows);
        equal(hub.credit(payee) - before, gain, 'once');
    }

    /// @dev Worthless rows cost their sender the same each, whether there are a hundred or ten thousand, and hold up
    /// nothing: the sound row at the end is paid.
    function test_ten_thousand_worthless_rows_cost_their_sender_only() public {
        uint256 hundred = gasOfNoise(100, 20 ether);
        uint256 many = gasOfNoise(10_000, 30 ether);
        check(many < 110 * hundred, 'proportional');
        check(many < 10_000 * 5_500, 'and below 5,500 gas a row, beside calldata');
    }

    function gasOfNoise(uint256 count, uint96 amount) private returns (uint256 spent) {
        bytes memory rows = new bytes(count * ROW_SIZE);
        for (uint256 at = 0; at < rows.length - ROW_SIZE; at += 32) {
            bytes32 noise = keccak256(abi.encode(at));
            assembly ('memory-safe') {
                mstore(add(add(rows, 0x20), at), noise)
            }
        }
        bytes memory last = sign(0, amount);
        for (uint256 i = 0; i < ROW_SIZE; ++i) {
            rows[rows.length - ROW_SIZE + i] = last[i];
        }
        bytes memory call_ = abi.encodeCall(hub.settle, (payee, rows));
        address target = address(hub);
        bool ok;
        // Solidity would copy the call's bytes first, and count the memory.
        assembly ('memory-safe') {
            let before := gas()
            ok := call(gas(), target, 0, add(call_, 0x20), mload(call_), 0, 0)
            spent := sub(before, gas())
        }
        check(ok, 'settled');
        equal(hub.channel(voucherKey(0), payee).settled, amount, 'the sound row is paid');
    }
}
