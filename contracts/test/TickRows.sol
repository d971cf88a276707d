// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {Rows} from './Rows.sol';

/// @title Random batches of tick rows, sound and spoilt in every way, each applied to the model at once
abstract contract TickRows is Rows {
    /// Links take time, so most chains are short.
    uint256 private constant LENGTH_MAX = 24;

    /// @dev A batch for `payee`.
    function anyTickRows(address payee, uint256 seed) internal returns (bytes memory rows) {
        uint256[] storage own = channelsOf[payee];
        uint256 count = 1 + (seed >> 16) % 4;
        for (uint256 i = 0; i < count; ++i) {
            uint256 part = uint256(keccak256(abi.encode(seed, i)));
            Channel storage it = channels[own[part % own.length]];
            uint256 before = it.settled;
            bytes memory row = anyTickRow(it, part);
            rows = bytes.concat(rows, row);
            if (part >> 240 & 7 == 0) {
                rows = bytes.concat(rows, row);
                if (it.settled > before) note(Seen.SkipTickDuplicate);
            }
        }
    }

    function anyTickRow(Channel storage it, uint256 seed) private returns (bytes memory) {
        Tick memory tick = anyTick(it, seed >> 32);
        uint256 claim = uint256(tick.amount) + uint256(tick.count) * tick.unit;
        bool worth = gainOf(it, claim) != 0;
        uint256 way = (seed >> 16) % 24;
        if (way == 0) {
            if (claim != 0) note(Seen.SkipTickUnknown);
            return signTick(core, keyOf('unknown', seed % 3), it.payee, tick);
        }
        if (way == 1 && payeeAt(seed >> 24) != it.payee) {
            if (worth) note(Seen.SkipTickForeignPayee);
            return tickFor(it.key, payeeAt(seed >> 24), tick, claim);
        }
        if (way == 2 || way == 9) return outOfRange(it, tick, seed >> 200);
        bytes32 separator = way == 3 ? keccak256('another hub') : core.domainSeparator();
        bytes32 digest = way == 4 ? digestOf(separator, it.payee, tick.amount) : tickDigestOf(separator, it.payee, tick);
        if (way == 1 || way >= 9) {
            applyTick(it, tick, claim);
            return signTick(core, it.key, it.payee, tick);
        }
        return spoiltTick(it, tick, digest, way, seed >> 200, worth);
    }

    /// @dev A row whose signature or tick is none: of another hub, over a plain voucher, malformed, or off the chain.
    function spoiltTick(Channel storage it, Tick memory tick, bytes32 digest, uint256 way, uint256 seed, bool worth)
        private
        returns (bytes memory)
    {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(it.key, digest);
        if (way == 4 && tick.amount > it.signed) it.signed = tick.amount; // that signature is good elsewhere
        if (way == 5) v = 55 - v;
        if (way == 6) {
            if (seed & 3 == 0) r = 0;
            if (seed & 3 == 1) s = 0;
            if (seed & 3 == 2) r = bytes32(ORDER);
            if (seed & 3 == 3) s = bytes32(ORDER / 2 + 1);
        }
        if (way == 7) tick.value = keccak256(abi.encode(tick.value, seed));
        if (way == 8) r = keccak256(abi.encode(seed));
        if (worth) note(Seen(uint256(Seen.SkipTickForeignHub) + way - 3));
        return encodeTick(tick, r, s, v - 27);
    }

    /// @dev A row that is signed as it stands, so that a hub which does not look at ranges would capture it.
    function outOfRange(Channel storage it, Tick memory tick, uint256 seed) private returns (bytes memory) {
        if (seed % 5 == 0) (tick.length, tick.count) = (0, 0);
        if (seed % 5 == 1) tick.length = uint16(between(seed >> 8, 1025, type(uint16).max));
        if (seed % 5 == 2) tick.unit = 0;
        if (seed % 5 == 3) tick.count = tick.length + 1;
        if (seed % 5 == 4) (tick.length, tick.unit) = (tick.length + 1, type(uint96).max / (tick.length + 1) + 1);
        uint256 claim = uint256(tick.amount) + uint256(tick.count) * tick.unit;
        if (gainOf(it, claim) != 0) note(Seen(uint256(Seen.SkipTickLength0) + seed % 5));
        return signTick(core, it.key, it.payee, tick);
    }

    /// @dev A tick that the key signs for another payee: worthless here, and remembered where it is not.
    function tickFor(uint256 key, address payee, Tick memory tick, uint256 claim) private returns (bytes memory) {
        address voucherKey = vm.addr(key);
        if (exists(voucherKey, payee) && at(voucherKey, payee).signed < claim) at(voucherKey, payee).signed = claim;
        return signTick(core, key, payee, tick);
    }

    function applyTick(Channel storage it, Tick memory tick, uint256 claim) private {
        if (claim > it.signed) it.signed = claim;
        if (it.closeAt == TOMBSTONE) {
            if (claim > it.settled && it.deposit > it.settled) note(Seen.SkipTickClosed);
            return;
        }
        if (capture(it, claim) == 0) {
            note(Seen.SkipTickStale);
            return;
        }
        note(tick.count == 0 ? Seen.SettleTickRoot : Seen.SettleTick);
        if (claim > it.deposit) note(Seen.SettleTickClamped);
        if (it.closeAt != 0) note(Seen.SettleTickWhileClosing);
    }

    /// @dev Small steps, so that a channel lives through many of them; now and then a long chain or a great claim.
    function anyTick(Channel storage it, uint256 seed) private view returns (Tick memory) {
        uint16 length = uint16(between(seed >> 8, 1, seed & 63 == 0 ? 1024 : LENGTH_MAX));
        uint16 count = uint16(between(seed >> 24, 0, length));
        uint256 left = it.deposit - it.settled;
        uint96 unit = uint96(between(seed >> 40, 1, 1 + left / (4 * uint256(length))));
        if (seed >> 136 & 7 == 0) unit = uint96(between(seed >> 40, 1, type(uint96).max / length));
        uint256 room = type(uint96).max - uint256(unit) * length;
        uint256 amount = it.settled + (seed >> 140) % (1 + left / 8 + 2);
        if (seed >> 132 & 15 == 0) amount = it.deposit;
        return tickOf(uint96(amount < room ? amount : room), unit, length, count, bytes32(seed));
    }
}
