// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {TickScene} from './TickScene.sol';

/// @title Good ticks among bad ones of every kind and among plain rows, in any order
/// @notice As in `SkipMix.t.sol` what each batch must pay is known from how it was made: every live channel has one
/// best row, a tick row or a plain one, and whatever else comes before or after it changes nothing.
contract TickMixTest is TickScene {
    enum Kind {
        LowerTick,
        LowerChain,
        Duplicate,
        Closed,
        Unknown,
        ForeignPayee,
        ForeignHub,
        ForeignChain,
        ZeroLength,
        LongChain,
        ZeroUnit,
        HighCount,
        HighClaim,
        WrongTick,
        WrongCount,
        PlainSignature,
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
    uint16 private constant LENGTH = 100;

    /// @dev What a channel is paid at most, and how.
    struct Best {
        uint96 amount;
        uint16 count;
        bool plain;
    }

    function claimOf(Best memory it) private pure returns (uint96) {
        return it.amount + it.count * UNIT;
    }

    function bestRow(uint256 index, Best memory it) private view returns (bytes memory) {
        return it.plain ? signRow(hub, key(index), payee, claimOf(it)) : sound(index, it.amount, it.count);
    }

    /// @dev A tick row of live channel `index` that is worth nothing beside that channel's best row.
    function badRow(Kind kind, uint256 index, Best memory best, uint256 seed) private returns (bytes memory) {
        if (kind == Kind.LowerTick) return sound(index, best.amount, uint16(between(seed, 0, best.count - 1)));
        if (kind == Kind.LowerChain) return sign(index, tickOf(0, 1, LENGTH, uint16(between(seed, 0, LENGTH)), END));
        if (kind == Kind.Duplicate) return sound(index, best.amount, best.count);
        Tick memory more = tick(best.amount + 1, uint16(between(seed, best.count, LENGTH)));
        if (kind == Kind.Closed) return sign(CLOSED, more);
        if (kind == Kind.Unknown) return sign(UNKNOWN + seed % 3, more);
        if (kind == Kind.ForeignPayee) return signTick(hub, key(index), addressOf('payee', 1), more);
        if (kind == Kind.ZeroLength) (more.length, more.count) = (0, 0);
        if (kind == Kind.LongChain) more.length = uint16(between(seed, 1025, type(uint16).max));
        if (kind == Kind.ZeroUnit) more.unit = 0;
        if (kind == Kind.HighCount) more.count = LENGTH + 1;
        if (kind == Kind.HighClaim) more.unit = type(uint96).max / LENGTH;
        bytes32 separator = hub.domainSeparator();
        if (kind == Kind.ForeignHub) separator = keccak256(abi.encode('another hub', seed));
        if (kind == Kind.ForeignChain) {
            uint256 chainId = block.chainid;
            vm.chainId(1029);
            separator = hub.domainSeparator();
            vm.chainId(chainId);
        }
        bytes32 digest = tickDigestOf(separator, payee, more);
        if (kind == Kind.PlainSignature) digest = digestOf(separator, payee, more.amount);
        return spoilt(kind, more, index, digest, seed);
    }

    function spoilt(Kind kind, Tick memory more, uint256 index, bytes32 digest, uint256 seed)
        private
        pure
        returns (bytes memory)
    {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key(index), digest);
        if (kind == Kind.WrongTick) more.value = keccak256(abi.encode(seed));
        if (kind == Kind.WrongCount) more.count = more.count == LENGTH ? LENGTH - 1 : more.count + 1;
        if (kind == Kind.Parity) v = 55 - v;
        if (kind == Kind.ZeroR) r = 0;
        if (kind == Kind.ZeroS) s = 0;
        if (kind == Kind.HighS) s = bytes32(ORDER / 2 + 1 + seed % 1000);
        if (kind == Kind.Noise) r = keccak256(abi.encode(seed));
        return encodeTick(more, r, s, v - 27);
    }

    /// @dev Each kind at least once, some more of any kind, and the best rows, shuffled.
    function batchOf(uint256 seed, Best[] memory best) private returns (bytes[] memory rows) {
        uint256 extra = seed % 8;
        rows = new bytes[](KINDS + extra + LIVE);
        for (uint256 i = 0; i < LIVE; ++i) {
            uint256 part = uint256(keccak256(abi.encode(seed, 'best', i)));
            uint96 amount = uint96(between(part >> 16, UNIT * LENGTH, DEPOSIT - UNIT * LENGTH));
            best[i] = Best(amount, uint16(between(part >> 8, 1, LENGTH)), part % 2 == 0);
            rows[i] = bestRow(i, best[i]);
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

    /// @dev Both kinds of rows by their sizes: all plain ones in one call and all ticks in another.
    function settleAll(bytes[] memory list, bool plainFirst) private {
        bytes memory plain;
        bytes memory ticks;
        for (uint256 i = 0; i < list.length; ++i) {
            if (list[i].length == ROW_SIZE) plain = bytes.concat(plain, list[i]);
            else ticks = bytes.concat(ticks, list[i]);
        }
        if (plainFirst) hub.settle(payee, plain);
        hub.settleTicks(payee, ticks);
        if (!plainFirst) hub.settle(payee, plain);
    }

    function expectPaid(Best[] memory best) private view {
        uint256 total;
        for (uint256 i = 0; i < LIVE; ++i) {
            equal(settledOf(i), claimOf(best[i]), 'the best row of each channel');
            total += claimOf(best[i]);
        }
        equal(settledOf(CLOSED), 0, 'the closed channel');
        equal(hub.credit(payee), total, 'to the unit');
    }

    function testFuzz_good_ticks_are_paid_whatever_stands_between(uint256 seed) public {
        Best[] memory best = new Best[](LIVE);
        bytes[] memory list = batchOf(seed, best);
        uint256 id = vm.snapshotState();
        settleAll(list, true);
        expectPaid(best);
        settleAll(list, false);
        expectPaid(best);
        vm.revertToState(id);
        settleAll(list, false);
        expectPaid(best);
        vm.revertToState(id);
        // One row a call, from the last to the first.
        for (uint256 i = list.length; i > 0; --i) {
            bytes memory row = list[i - 1];
            if (row.length == ROW_SIZE) hub.settle(payee, row);
            else hub.settleTicks(payee, row);
        }
        expectPaid(best);
    }
}
