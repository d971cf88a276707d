// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {VoucherReader} from './VoucherReader.sol';

/// @title Reading tick rows: range, and the way from the tick to the root
/// @notice Owns what docs/spec/ticks.md 1 and 2 fix beyond a plain row, and has no storage. A tick row whose root is
/// found is then read as any other row is; a plain implementation stands in the tests.
abstract contract TickReader is VoucherReader {
    uint256 private constant LENGTH_MAX = 1024;
    uint256 private constant CLAIM_MAX = 0xffffffffffffffffffffffff;
    bytes32 private constant TICK_TYPE_HASH =
        keccak256('TickVoucher(address payee,uint256 cumulativeAmount,bytes32 root,uint96 unit,uint16 length)');

    /// @dev As `_prepare`, for tick rows: root, unit and length at 0x240, 0x260 and 0x280 end the frame.
    function _prepareTicks(address payee, uint256 channelsSlot) internal view {
        _prepare(payee, channelsSlot);
        bytes32 typeHash = TICK_TYPE_HASH;
        // Memory-safe because it writes only inside the frame.
        assembly ('memory-safe') {
            mstore(0x1e0, typeHash)
        }
    }

    /// @dev Writes root, unit and length of the tick row at calldata offset `at` to the frame, and tells whether the
    /// row is in range and what its ticks add to its amount. Some 195 gas for each count of a row in range.
    function _readTick(uint256 at) internal view returns (bool sound, uint256 ticked) {
        // Memory-safe because it writes only inside the frame.
        assembly ('memory-safe') {
            // Unit, length and count: 12, 2 and 2 bytes.
            let terms := calldataload(add(at, 12))
            let unit := shr(160, terms)
            let length := and(shr(144, terms), 0xffff)
            let count := and(shr(128, terms), 0xffff)
            // No product and no sum below overflows 256 bits. A length of zero becomes the greatest number.
            let all := add(shr(160, calldataload(at)), mul(length, unit))
            sound := iszero(or(gt(sub(length, 1), sub(LENGTH_MAX, 1)), or(iszero(unit), gt(count, length))))
            sound := and(sound, iszero(gt(all, CLAIM_MAX)))
            ticked := mul(count, unit)
            calldatacopy(0x240, add(at, 28), 0x20)
            mstore(0x260, unit)
            mstore(0x280, length)
            // From the tick to the root in place, eight links at a time. SHA-256 fails only for want of gas, and then
            // at most one unit is left (one part in 64 of too little for 72), less than the next instruction costs.
            // So the whole batch fails here, and never goes on with a value that is no link.
            let left := mul(count, sound)
            for {} gt(left, 7) { left := sub(left, 8) } {
                pop(staticcall(gas(), 2, 0x240, 0x20, 0x240, 0x20))
                pop(staticcall(gas(), 2, 0x240, 0x20, 0x240, 0x20))
                pop(staticcall(gas(), 2, 0x240, 0x20, 0x240, 0x20))
                pop(staticcall(gas(), 2, 0x240, 0x20, 0x240, 0x20))
                pop(staticcall(gas(), 2, 0x240, 0x20, 0x240, 0x20))
                pop(staticcall(gas(), 2, 0x240, 0x20, 0x240, 0x20))
                pop(staticcall(gas(), 2, 0x240, 0x20, 0x240, 0x20))
                pop(staticcall(gas(), 2, 0x240, 0x20, 0x240, 0x20))
            }
            for {} left { left := sub(left, 1) } { pop(staticcall(gas(), 2, 0x240, 0x20, 0x240, 0x20)) }
        }
    }
}
