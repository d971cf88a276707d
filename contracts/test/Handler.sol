// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub} from '../src/IHub.sol';
import {Model} from './Model.sol';
import {TickRows} from './TickRows.sol';

/// @title Random calls on one hub
/// @notice Every action first asks the model what must come of it, then calls the hub, and a call that the
/// rules refuse must revert. How money goes in is left to the two forms.
abstract contract Handler is TickRows {
    uint256 private constant CHANNELS_MAX = 48;
    uint256 private constant BATCHES_MAX = 32;

    /// A batch that was settled, how large its rows are, and how often any deposit had risen by then.
    struct Batch {
        address payee;
        bytes rows;
        uint256 size;
        uint256 rises;
    }

    Batch[] private batches;
    uint256 private batchesKept;
    uint256 public draws;

    modifier action() {
        ++draws;
        // The time of a call does not last beyond it, so each one sets its own.
        vm.warp(clock);
        _;
    }

    /// @dev For an action that ends in a call of the hub.
    modifier calling() {
        ++calls;
        _;
    }

    /// @dev For one that needs a channel.
    modifier onChannel() {
        if (channels.length == 0) return;
        ++calls;
        _;
    }

    constructor(IHub hub_) Model(hub_) {}

    // What a form does in its own way. Each gives the payer the money first and tells whether the hub took it.

    function tryOpen(address owner, address voucherKey, address payee, uint256 amount) internal virtual returns (bool);
    function tryOpenMany(address owner, IHub.OpenRow[] memory rows, uint256 amount) internal virtual returns (bool);
    function tryTopUp(address caller, address voucherKey, address payee, uint256 amount)
        internal
        virtual
        returns (bool);
    /// @dev Money that reaches the hub outside its verbs.
    function forceIn(uint256 amount) internal virtual;

    /// @dev The fuzzer likes small and old numbers; every bit of a seed must vary.
    function mixed(uint256 seed) private view returns (uint256) {
        return uint256(keccak256(abi.encode(seed, draws)));
    }

    function enter(uint256 seed) external action calling {
        seed = mixed(seed);
        address payer = payerAt(seed);
        vm.prank(payer);
        equal(core.enter(), enters(payer), 'the owner index');
        note(Seen.Enter);
    }

    function open(uint256 seed) external action calling {
        seed = mixed(seed);
        address owner = payerAt(seed);
        (uint256 key, address payee) = pairOf(seed >> 8);
        address voucherKey = vm.addr(key);
        uint256 amount = seed >> 64 & 15 == 0 ? 0 : anyDeposit(seed >> 72);
        bool fits = amount != 0 && amount <= type(uint96).max && !exists(voucherKey, payee);
        check(tryOpen(owner, voucherKey, payee, amount) == fits, 'open');
        note(fits ? Seen.Open : Seen.OpenRefused);
        if (!fits) return;
        add(key, payee, owner, amount);
        paidIn += amount;
    }

    function openMany(uint256 seed) external action calling {
        seed = mixed(seed);
        address owner = payerAt(seed);
        IHub.OpenRow[] memory rows = new IHub.OpenRow[](4);
        uint256[] memory keys = new uint256[](4);
        uint256 sum;
        for (uint256 i = 0; i < rows.length; ++i) {
            uint256 part = uint256(keccak256(abi.encode(seed, i)));
            address payee;
            (keys[i], payee) = pairOf(part);
            uint96 amount = uint96(part >> 64 & 7 == 0 ? 0 : anyDeposit(part >> 72) & type(uint96).max);
            rows[i] = IHub.OpenRow(part >> 60 & 15 == 0 ? address(0) : vm.addr(keys[i]), payee, amount);
            sum += amount;
        }
        if (seed >> 240 & 7 == 0) {
            check(!tryOpenMany(owner, rows, sum + 1), 'openMany of a wrong sum');
            note(Seen.OpenManyRefused);
            return;
        }
        check(tryOpenMany(owner, rows, sum), 'openMany');
        paidIn += sum;
        enters(owner);
        for (uint256 i = 0; i < rows.length; ++i) {
            IHub.OpenRow memory row = rows[i];
            if (row.deposit == 0 || row.voucherKey == address(0) || exists(row.voucherKey, row.payee)) {
                credit[owner] += row.deposit;
                note(Seen.OpenManySkipped);
            } else {
                add(keys[i], row.payee, owner, row.deposit);
                note(Seen.OpenMany);
            }
        }
    }

    function topUp(uint256 seed) external action onChannel {
        seed = mixed(seed);
        uint256 index = seed % channels.length;
        // A channel that is used up makes old vouchers worth something again; half of the draws look for one.
        if (seed >> 48 & 1 == 0) {
            for (uint256 i = 0; i < 16 && !isUsedUp(index); ++i) index = (index + 1) % channels.length;
        }
        Channel storage it = channels[index];
        uint256 amount = seed >> 64 & 15 == 0 ? 0 : anyDeposit(seed >> 72);
        address caller = seed >> 32 & 7 == 0 ? payerAt(seed >> 40) : it.owner;
        bool fits = amount != 0 && caller == it.owner && it.closeAt != TOMBSTONE
            && it.deposit + amount <= type(uint96).max;
        check(tryTopUp(caller, it.voucherKey, it.payee, amount) == fits, 'topUp');
        note(fits ? Seen.TopUp : Seen.TopUpRefused);
        if (!fits) return;
        if (it.closeAt != 0) note(Seen.TopUpCancelsClose);
        it.deposit += amount;
        it.closeAt = 0;
        paidIn += amount;
        ++rises;
    }

    function isUsedUp(uint256 index) private view returns (bool) {
        return channels[index].settled == channels[index].deposit && channels[index].closeAt != TOMBSTONE;
    }

    function settle(uint256 seed) external action onChannel {
        seed = mixed(seed);
        address payee = channels[seed % channels.length].payee;
        if (seed >> 248 & 31 == 0) {
            try core.settle(payee, new bytes(1 + seed % 75)) {
                check(false, 'settle should have been refused');
            } catch {
                note(Seen.SettleRefused);
            }
            return;
        }
        bytes memory rows = anyRows(payee, seed);
        vm.prank(payerAt(seed));
        core.settle(payee, rows);
        keep(payee, rows, ROW_SIZE);
    }

    function settleTicks(uint256 seed) external action onChannel {
        seed = mixed(seed);
        address payee = channels[seed % channels.length].payee;
        if (seed >> 248 & 31 == 0) {
            try core.settleTicks(payee, new bytes(1 + seed % 123)) {
                check(false, 'settleTicks should have been refused');
            } catch {
                note(Seen.SettleTicksRefused);
            }
            return;
        }
        bytes memory rows = anyTickRows(payee, seed);
        vm.prank(payerAt(seed));
        core.settleTicks(payee, rows);
        keep(payee, rows, TICK_ROW_SIZE);
    }

    /// @dev After a batch: its credit is compared, and it is kept for a replay.
    function keep(address payee, bytes memory rows, uint256 size) private {
        equal(core.credit(payee), credit[payee], 'the credit after a batch');
        Batch memory batch = Batch(payee, rows, size, rises);
        if (batches.length < BATCHES_MAX) batches.push(batch);
        else batches[batchesKept % BATCHES_MAX] = batch;
        ++batchesKept;
    }

    /// @dev A batch of before once more: it changes nothing unless a deposit rose, and then it gains what the
    /// reference says.
    function replay(uint256 seed) external action {
        if (batches.length == 0) return;
        ++calls;
        Batch storage batch = batches[mixed(seed) % batches.length];
        uint256 gain = captureRows(batch.payee, batch.rows, batch.size);
        if (batch.rises == rises) equal(gain, 0, 'a replay gains nothing');
        bool plain = batch.size == ROW_SIZE;
        if (plain) core.settle(batch.payee, batch.rows);
        else core.settleTicks(batch.payee, batch.rows);
        equal(core.credit(batch.payee), credit[batch.payee], 'the credit after a replay');
        if (plain) note(gain == 0 ? Seen.Replay : Seen.ReplayAfterRise);
        else note(gain == 0 ? Seen.ReplayTicks : Seen.ReplayTicksAfterRise);
    }

    function cooperativeClose(uint256 seed) external action onChannel {
        seed = mixed(seed);
        address payee = channels[seed % channels.length].payee;
        bytes memory rows = seed >> 136 & 1 == 0 ? bytes('') : anyRows(payee, seed);
        uint256[] storage own = channelsOf[payee];
        // Channels close for good, so most draws name none.
        address[] memory list = new address[](seed >> 128 & 7 == 0 ? 3 : 0);
        for (uint256 i = 0; i < list.length; ++i) {
            uint256 part = seed >> (32 + 16 * i);
            list[i] = part & 7 == 0 ? addressOf('unknown', part) : channels[own[(part >> 3) % own.length]].voucherKey;
        }
        for (uint256 i = 0; i < list.length; ++i) {
            if (!exists(list[i], payee) || at(list[i], payee).closeAt == TOMBSTONE) {
                note(Seen.CooperativeCloseSkipped);
            } else {
                close(at(list[i], payee));
                note(Seen.CooperativeClose);
            }
        }
        vm.prank(payee);
        core.cooperativeClose(list, rows);
    }

    function requestClose(uint256 seed) external action onChannel {
        seed = mixed(seed);
        Channel storage it = channels[seed % channels.length];
        address caller = seed >> 32 & 7 == 0 ? payerAt(seed >> 40) : it.owner;
        bool fits = caller == it.owner && it.closeAt != TOMBSTONE;
        vm.prank(caller);
        try core.requestClose(it.voucherKey, it.payee) {
            check(fits, 'requestClose should have been refused');
            note(it.closeAt == 0 ? Seen.RequestClose : Seen.RequestCloseAgain);
            if (it.closeAt == 0) it.closeAt = clock + PERIOD;
        } catch {
            check(!fits, 'requestClose should have passed');
            note(Seen.RequestCloseRefused);
        }
    }

    function withdraw(uint256 seed) external action onChannel {
        seed = mixed(seed);
        uint256 index = seed % channels.length;
        // Pending closes are few; half of the draws look for one.
        if (seed >> 32 & 1 == 0) {
            for (uint256 i = 0; i < 16 && !isClosing(index); ++i) index = (index + 1) % channels.length;
        }
        Channel storage it = channels[index];
        bool fits = isClosing(index) && clock >= it.closeAt;
        try core.withdraw(it.voucherKey, it.payee) {
            check(fits, 'withdraw should have been refused');
            close(it);
            note(Seen.Withdraw);
        } catch {
            check(!fits, 'withdraw should have passed');
            if (it.closeAt == 0) note(Seen.WithdrawUnasked);
            else note(it.closeAt == TOMBSTONE ? Seen.WithdrawClosed : Seen.WithdrawEarly);
        }
    }

    function isClosing(uint256 index) private view returns (bool) {
        return channels[index].closeAt != 0 && channels[index].closeAt != TOMBSTONE;
    }

    function withdrawCredit(uint256 seed) external action calling {
        seed = mixed(seed);
        address holder = holders[seed % holders.length];
        uint256 amount = credit[holder];
        address to = addressOf('cold', seed % 7);
        uint256 before = held(to);
        vm.prank(holder);
        try core.withdrawCredit(to) {
            check(amount != 0, 'withdrawCredit should have been refused');
            equal(held(to) - before, amount, 'the whole credit is paid');
            credit[holder] = 0;
            paidOut += amount;
            note(Seen.WithdrawCredit);
        } catch {
            equal(amount, 0, 'withdrawCredit should have passed');
            note(Seen.WithdrawCreditRefused);
        }
    }

    function wait(uint256 seed) external action {
        clock += between(mixed(seed), 1, PERIOD / 2);
    }

    function force(uint256 seed) external action {
        uint256 amount = between(mixed(seed), 1, 1 ether);
        forceIn(amount);
        forced += amount;
        note(Seen.Forced);
    }

    function anyDeposit(uint256 seed) private pure returns (uint256) {
        uint256 kind = seed % 16;
        if (kind == 0) return between(seed >> 8, type(uint96).max - 2, uint256(type(uint96).max) + 2);
        if (kind == 1) return between(seed >> 8, 1, 3);
        return between(seed >> 8, 1, 1000 ether);
    }

    /// @dev Any pair, or, once the channels are many, one that has a channel: comparing takes time.
    function pairOf(uint256 seed) private view returns (uint256 key, address payee) {
        if (channels.length + 4 > CHANNELS_MAX) {
            Channel storage it = channels[seed % channels.length];
            return (it.key, it.payee);
        }
        return (keyOf('voucher key', seed % 16), payeeAt(seed >> 16));
    }
}
