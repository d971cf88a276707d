// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {Model} from './Model.sol';

/// @title Random batches of rows, sound and spoilt in every way, each applied to the model at once
abstract contract Rows is Model {
    /// @dev A batch for `payee`.
    function anyRows(address payee, uint256 seed) internal returns (bytes memory rows) {
        uint256[] storage own = channelsOf[payee];
        uint256 count = 1 + (seed >> 16) % 4;
        for (uint256 i = 0; i < count; ++i) {
            uint256 part = uint256(keccak256(abi.encode(seed, i)));
            Channel storage it = channels[own[part % own.length]];
            uint256 before = it.settled;
            bytes memory row = anyRow(it, part);
            rows = bytes.concat(rows, row);
            if (part >> 240 & 7 == 0) {
                rows = bytes.concat(rows, row);
                if (it.settled > before) note(Seen.SkipDuplicate);
            }
        }
    }

    function anyRow(Channel storage it, uint256 seed) private returns (bytes memory) {
        uint96 amount = anyAmount(it, seed >> 32);
        bool worth = gainOf(it, amount) != 0;
        uint256 way = (seed >> 16) % 24;
        if (way == 0) {
            if (amount != 0) note(Seen.SkipUnknown);
            return signRow(core, keyOf('unknown', seed % 3), it.payee, amount);
        }
        if (way == 1) {
            address other = payeeAt(seed >> 24);
            if (other != it.payee) {
                if (worth) note(Seen.SkipForeignPayee);
                return signedFor(it.key, other, amount);
            }
        }
        bytes32 separator = core.domainSeparator();
        if (way == 2) separator = keccak256('another hub');
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(it.key, digestOf(separator, it.payee, amount));
        if (way == 2) {
            if (worth) note(Seen.SkipForeignHub);
            return encodeRow(amount, r, s, v - 27);
        }
        if (way == 3) {
            if (worth) note(Seen.SkipParity);
            return encodeRow(amount, r, s, 28 - v);
        }
        if (way == 4) {
            if (worth) note(Seen.SkipRange);
            if (seed >> 200 & 3 == 0) return encodeRow(amount, 0, s, v - 27);
            if (seed >> 200 & 3 == 1) return encodeRow(amount, r, 0, v - 27);
            if (seed >> 200 & 3 == 2) return encodeRow(amount, bytes32(ORDER), s, v - 27);
            return encodeRow(amount, r, bytes32(ORDER / 2 + 1), v - 27);
        }
        if (way == 5) {
            if (worth) note(Seen.SkipNoise);
            return encodeRow(amount, keccak256(abi.encode(seed)), s, v - 27);
        }
        applyRow(it, amount);
        return encodeRow(amount, r, s, v - 27);
    }

    /// @dev A row that the key signs for another payee: worthless here, and remembered where it is not.
    function signedFor(uint256 key, address payee, uint96 amount) private returns (bytes memory) {
        address voucherKey = vm.addr(key);
        if (exists(voucherKey, payee) && at(voucherKey, payee).signed < amount) at(voucherKey, payee).signed = amount;
        return signRow(core, key, payee, amount);
    }

    function applyRow(Channel storage it, uint256 amount) private {
        if (amount > it.signed) it.signed = amount;
        if (it.closeAt == TOMBSTONE) {
            if (amount > it.settled && it.deposit > it.settled) note(Seen.SkipClosed);
            return;
        }
        if (capture(it, amount) == 0) {
            note(Seen.SkipStale);
            return;
        }
        note(Seen.Settle);
        if (amount > it.deposit) note(Seen.SettleClamped);
        if (it.closeAt != 0) note(Seen.SettleWhileClosing);
    }

    function anyAmount(Channel storage it, uint256 seed) private view returns (uint96) {
        uint256 kind = seed % 16;
        if (kind == 0) return uint96(seed >> 8);
        if (kind == 1) return uint96(it.settled);
        if (kind == 2) return uint96(it.deposit);
        // Small steps, so that a channel lives through many of them.
        uint256 amount = it.settled + (seed >> 8) % (1 + (it.deposit - it.settled) / 8 + 2);
        return amount > type(uint96).max ? type(uint96).max : uint96(amount);
    }
}
