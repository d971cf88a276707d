// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub} from '../src/IHub.sol';
import {Base} from './Base.sol';

/// @title Settling in plain Solidity
/// @notice What `settle` must do, written from docs/spec/voucher.md and hub.md without assembly and without
/// the hub's libraries. Tests compare the hub with it.
abstract contract Reference is Base {
    uint256 internal constant ROW_SIZE = 76;

    /// Settled amounts as the batch in progress leaves them, by batch number and voucher key.
    mapping(uint256 batch => mapping(address voucherKey => uint256)) private settledNow;
    mapping(uint256 batch => mapping(address voucherKey => bool)) private touched;
    uint256 private batch;

    /// @dev The signer of a well-signed row by voucher.md 4, else the zero address.
    function signerOf(bytes32 separator, address payee, bytes memory row) internal pure returns (address) {
        uint256 cumulative = uint256(word(row, 0)) >> 160;
        bytes32 r = word(row, 12);
        uint256 vs = uint256(word(row, 44));
        uint256 s = vs & (type(uint256).max >> 1);
        if (r == 0 || uint256(r) >= ORDER || s == 0 || s > ORDER / 2) return address(0);
        uint8 v = vs >> 255 == 1 ? 28 : 27;
        return ecrecover(digestOf(separator, payee, cumulative), v, r, bytes32(s));
    }

    /// @dev What `settle(payee, rows)` must credit now; `settledAfter` then tells each settled amount.
    function expectedGain(IHub hub, address payee, bytes memory rows) internal returns (uint256 total) {
        ++batch;
        bytes32 separator = hub.domainSeparator();
        for (uint256 at = 0; at < rows.length; at += ROW_SIZE) {
            bytes memory row = slice(rows, at, ROW_SIZE);
            address signer = signerOf(separator, payee, row);
            if (signer == address(0)) continue;
            IHub.ChannelView memory view_ = hub.channel(signer, payee);
            if (view_.owner == address(0) || view_.closeAt == TOMBSTONE) continue;
            uint256 before = touched[batch][signer] ? settledNow[batch][signer] : view_.settled;
            uint256 target = uint256(word(row, 0)) >> 160;
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
