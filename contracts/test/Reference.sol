// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub} from '../src/IHub.sol';
import {Base} from './Base.sol';

/// @title Settling in plain Solidity
/// @notice What `settle` and `settleTicks` must do, written from docs/spec/voucher.md, ticks.md and hub.md without
/// assembly and without the hub's libraries. Tests compare the hub with it.
abstract contract Reference is Base {
    uint256 internal constant ROW_SIZE = 76;
    uint256 internal constant TICK_ROW_SIZE = 124;

    /// Settled amounts as the batch in progress leaves them, by batch number and voucher key.
    mapping(uint256 batch => mapping(address voucherKey => uint256)) private settledNow;
    mapping(uint256 batch => mapping(address voucherKey => bool)) private touched;
    uint256 private batch;

    /// @dev The signer of a well-signed row by voucher.md 4, else the zero address.
    function signerOf(bytes32 separator, address payee, bytes memory row) internal pure returns (address) {
        bytes32 digest = digestOf(separator, payee, uint256(word(row, 0)) >> 160);
        return recovered(digest, word(row, 12), uint256(word(row, 44)));
    }

    /// @dev The signer of a tick row that is `ok` by ticks.md 2, else the zero address.
    function tickSignerOf(bytes32 separator, address payee, bytes memory row) internal pure returns (address) {
        Tick memory tick = tickIn(row);
        if (tick.length < 1 || tick.length > 1024 || tick.unit == 0 || tick.count > tick.length) return address(0);
        if (uint256(tick.amount) + uint256(tick.length) * tick.unit > type(uint96).max) return address(0);
        return recovered(tickDigestOf(separator, payee, tick), word(row, 60), uint256(word(row, 92)));
    }

    function recovered(bytes32 digest, bytes32 r, uint256 vs) private pure returns (address) {
        uint256 s = vs & (type(uint256).max >> 1);
        if (r == 0 || uint256(r) >= ORDER || s == 0 || s > ORDER / 2) return address(0);
        return ecrecover(digest, vs >> 255 == 1 ? 28 : 27, r, bytes32(s));
    }

    function tickIn(bytes memory row) internal pure returns (Tick memory) {
        uint96 amount = uint96(uint256(word(row, 0)) >> 160);
        uint96 unit = uint96(uint256(word(row, 12)) >> 160);
        uint16 length = uint16(uint256(word(row, 24)) >> 240);
        uint16 count = uint16(uint256(word(row, 26)) >> 240);
        return Tick(amount, unit, length, count, word(row, 28));
    }

    /// @dev Signer and claim of a row, which is a tick row by its size; the zero address where it is worth nothing.
    function readRow(bytes32 separator, address payee, bytes memory row)
        internal
        pure
        returns (address signer, uint256 claim)
    {
        if (row.length == ROW_SIZE) return (signerOf(separator, payee, row), uint256(word(row, 0)) >> 160);
        Tick memory tick = tickIn(row);
        return (tickSignerOf(separator, payee, row), uint256(tick.amount) + uint256(tick.count) * tick.unit);
    }

    /// @dev What `settle(payee, rows)`, or `settleTicks` for rows of its `size`, must credit now; `settledAfter` then
    /// tells each settled amount.
    function expectedGain(IHub hub, address payee, bytes memory rows, uint256 size) internal returns (uint256 total) {
        ++batch;
        bytes32 separator = hub.domainSeparator();
        for (uint256 at = 0; at < rows.length; at += size) {
            (address signer, uint256 target) = readRow(separator, payee, slice(rows, at, size));
            if (signer == address(0)) continue;
            IHub.ChannelView memory view_ = hub.channel(signer, payee);
            if (view_.owner == address(0) || view_.closeAt == TOMBSTONE) continue;
            uint256 before = touched[batch][signer] ? settledNow[batch][signer] : view_.settled;
            if (target > view_.deposit) target = view_.deposit;
            if (target <= before) continue;
            touched[batch][signer] = true;
            settledNow[batch][signer] = target;
            total += target - before;
        }
    }

    /// @dev The settled amount of a channel after the batch that `expectedGain` looked at last. Ask before
    /// the hub settles: for a channel that the batch leaves alone it is the amount of now.
    function settledAfter(IHub hub, address voucherKey, address payee) internal view returns (uint256) {
        return touched[batch][voucherKey] ? settledNow[batch][voucherKey] : hub.channel(voucherKey, payee).settled;
    }

    function word(bytes memory data, uint256 at) internal pure returns (bytes32 value) {
        for (uint256 i = 0; i < 32; ++i) {
            value |= bytes32(data[at + i]) >> (8 * i);
        }
    }

    function slice(bytes memory data, uint256 at, uint256 size) internal pure returns (bytes memory part) {
        part = new bytes(size);
        for (uint256 i = 0; i < size; ++i) {
            part[i] = data[at + i];
        }
    }
}
