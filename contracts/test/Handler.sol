// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub, INativeHub} from '../src/IHub.sol';
import {Base} from './Base.sol';

/// @title Random calls on one hub, and a plain model of what must come of them
/// @notice Every action first changes the model by the rules of docs/spec/hub.md, then calls the hub, and
/// a call that the rules refuse must revert. `checkAll` compares the whole hub with the model. What was
/// really exercised is counted in `seen`, so that a run which met nothing cannot pass for a good one.
contract Handler is Base {
    struct Channel {
        uint256 key;
        address voucherKey;
        address payee;
        address owner;
        uint256 deposit;
        uint256 settled;
        uint256 closeAt;
        uint256 signed; // the largest amount that the voucher key ever signed for the payee at this hub
    }

    /// What can come of an action or of a row.
    enum Seen {
        Open,
        OpenRefused,
        OpenMany,
        OpenManySkipped,
        TopUp,
        TopUpCancelsClose,
        TopUpRefused,
        Settle,
        SettleClamped,
        SettleWhileClosing,
        CooperativeClose,
        CooperativeCloseSkipped,
        RequestClose,
        RequestCloseAgain,
        RequestCloseRefused,
        Withdraw,
        WithdrawEarly,
        WithdrawUnasked,
        WithdrawClosed,
        WithdrawCredit,
        WithdrawCreditRefused,
        Replay,
        Forced,
        SkipStale,
        SkipClosed,
        SkipUnknown,
        SkipParity,
        SkipRange,
        SkipForeignPayee,
        SkipForeignHub,
        SkipDuplicate,
        SkipNoise
    }

    uint256 public constant SEEN_COUNT = uint256(Seen.SkipNoise) + 1;
    uint256 private constant CHANNELS_MAX = 48;
    uint256 private constant PAYERS = 3;
    uint256 private constant PAYEES = 20;

    INativeHub public immutable hub;
    mapping(Seen => uint256) public seen;
    uint256 public calls;

    Channel[] private channels;
    mapping(address payee => uint256[]) private channelsOf;
    mapping(bytes32 id => uint256) private positionOf; // position + 1
    mapping(address => uint256) private credit;
    address[] private holders;
    uint256 private paidIn;
    uint256 private paidOut;
    uint256 private forced;
    uint256 private clock = 1_800_000_000;

    /// The last batch that was settled, and how often any deposit had risen by then.
    address private lastPayee;
    bytes private lastRows;
    uint256 private lastRises;
    uint256 private rises;

    modifier action() {
        ++calls;
        // The time of a call does not last beyond it, so each one sets its own.
        vm.warp(clock);
        _;
        if (calls % 16 == 0) checkAll();
    }

    constructor(INativeHub hub_) {
        hub = hub_;
        for (uint256 i = 0; i < PAYERS; ++i) {
            holders.push(payerAt(i));
        }
        for (uint256 i = 0; i < PAYEES; ++i) {
            holders.push(payeeAt(i));
        }
    }

    function payerAt(uint256 seed) private pure returns (address) {
        return addressOf('payer', seed % PAYERS);
    }

    /// @dev The addresses 1 to 16, among them the precompiles, and four others.
    function payeeAt(uint256 seed) private pure returns (address) {
        uint256 index = seed % PAYEES;
        return index < 16 ? address(uint160(index + 1)) : addressOf('payee', index);
    }

    /// @dev The fuzzer likes small and old numbers; every bit of a seed must vary.
    function mixed(uint256 seed) private view returns (uint256) {
        return uint256(keccak256(abi.encode(seed, calls)));
    }

    function note(Seen what) private {
        ++seen[what];
    }

    // Actions

    function open(uint256 seed) external action {
        seed = mixed(seed);
        address owner = payerAt(seed);
        (uint256 key, address payee) = pairOf(seed >> 8);
        uint256 amount = seed >> 64 & 15 == 0 ? 0 : anyDeposit(seed >> 72);
        bool fits = amount != 0 && amount <= type(uint96).max && positionOf[idOf(vm.addr(key), payee)] == 0
            && channels.length < CHANNELS_MAX;
        if (channels.length >= CHANNELS_MAX && positionOf[idOf(vm.addr(key), payee)] == 0) return;
        vm.deal(owner, amount);
        vm.prank(owner);
        try hub.open{value: amount}(vm.addr(key), payee) {
            check(fits, 'open should have been refused');
            add(key, payee, owner, amount);
            paidIn += amount;
            note(Seen.Open);
        } catch {
            check(!fits, 'open should have passed');
            note(Seen.OpenRefused);
        }
    }

    function openMany(uint256 seed) external action {
        seed = mixed(seed);
        if (channels.length + 4 > CHANNELS_MAX) return;
        address owner = payerAt(seed);
        IHub.OpenRow[] memory rows = new IHub.OpenRow[](4);
        uint256 sum;
        for (uint256 i = 0; i < rows.length; ++i) {
            uint256 part = uint256(keccak256(abi.encode(seed, i)));
            (uint256 key, address payee) = pairOf(part);
            uint96 amount = uint96(part >> 64 & 7 == 0 ? 0 : anyDeposit(part >> 72) & type(uint96).max);
            address voucherKey = vm.addr(key);
            if (part >> 60 & 15 == 0) voucherKey = address(0);
            rows[i] = IHub.OpenRow(voucherKey, payee, amount);
            sum += amount;
            if (amount == 0 || voucherKey == address(0) || positionOf[idOf(voucherKey, payee)] != 0) {
                credit[owner] += amount;
                note(Seen.OpenManySkipped);
            } else {
                add(key, payee, owner, amount);
                note(Seen.OpenMany);
            }
        }
        paidIn += sum;
        vm.deal(owner, sum);
        vm.prank(owner);
        hub.openMany{value: sum}(rows);
    }

    function topUp(uint256 seed) external action {
        seed = mixed(seed);
        if (channels.length == 0) return;
        Channel storage it = channels[seed % channels.length];
        uint256 amount = seed >> 64 & 15 == 0 ? 0 : anyDeposit(seed >> 72);
        address caller = seed >> 32 & 7 == 0 ? payerAt(seed >> 40) : it.owner;
        bool fits = amount != 0 && caller == it.owner && it.closeAt != TOMBSTONE
            && it.deposit + amount <= type(uint96).max;
        vm.deal(caller, amount);
        vm.prank(caller);
        try hub.topUp{value: amount}(it.voucherKey, it.payee) {
            check(fits, 'topUp should have been refused');
            if (it.closeAt != 0) note(Seen.TopUpCancelsClose);
            it.deposit += amount;
            it.closeAt = 0;
            paidIn += amount;
            ++rises;
            note(Seen.TopUp);
        } catch {
            check(!fits, 'topUp should have passed');
            note(Seen.TopUpRefused);
        }
    }

    function settle(uint256 seed) external action {
        seed = mixed(seed);
        if (channels.length == 0) return;
        address payee = channels[seed % channels.length].payee;
        bytes memory rows = anyRows(payee, seed);
        vm.prank(payerAt(seed));
        hub.settle(payee, rows);
        equal(hub.credit(payee), credit[payee], 'the credit after a batch');
        (lastPayee, lastRows, lastRises) = (payee, rows, rises);
    }

    function replay(uint256) external action {
        if (lastRows.length == 0) return;
        uint256 before = hub.credit(lastPayee);
        if (lastRises == rises) {
            hub.settle(lastPayee, lastRows);
            equal(hub.credit(lastPayee), before, 'a replay changed the credit');
            note(Seen.Replay);
        }
    }

    function cooperativeClose(uint256 seed) external action {
        seed = mixed(seed);
        // Channels close for good, so most draws leave them open.
        if (channels.length == 0 || seed >> 128 & 7 != 0) return;
        address payee = channels[seed % channels.length].payee;
        bytes memory rows = seed >> 136 & 1 == 0 ? bytes('') : anyRows(payee, seed);
        uint256[] storage own = channelsOf[payee];
        address[] memory list = new address[](3);
        list[0] = channels[seed % channels.length].voucherKey;
        list[1] = channels[own[(seed >> 32) % own.length]].voucherKey;
        list[2] = addressOf('unknown', seed % 5);
        for (uint256 i = 0; i < list.length; ++i) {
            uint256 position = positionOf[idOf(list[i], payee)];
            if (position == 0 || channels[position - 1].closeAt == TOMBSTONE) {
                note(Seen.CooperativeCloseSkipped);
            } else {
                close(channels[position - 1]);
                note(Seen.CooperativeClose);
            }
        }
        vm.prank(payee);
        hub.cooperativeClose(list, rows);
    }

    function requestClose(uint256 seed) external action {
        seed = mixed(seed);
        if (channels.length == 0) return;
        Channel storage it = channels[seed % channels.length];
        address caller = seed >> 32 & 7 == 0 ? payerAt(seed >> 40) : it.owner;
        bool fits = caller == it.owner && it.closeAt != TOMBSTONE;
        vm.prank(caller);
        try hub.requestClose(it.voucherKey, it.payee) {
            check(fits, 'requestClose should have been refused');
            note(it.closeAt == 0 ? Seen.RequestClose : Seen.RequestCloseAgain);
            if (it.closeAt == 0) it.closeAt = clock + PERIOD;
        } catch {
            check(!fits, 'requestClose should have passed');
            note(Seen.RequestCloseRefused);
        }
    }

    function withdraw(uint256 seed) external action {
        seed = mixed(seed);
        if (channels.length == 0) return;
        uint256 at = seed % channels.length;
        // Pending closes are few; half of the draws look for one.
        if (seed >> 32 & 1 == 0) {
            for (uint256 i = 0; i < 16 && !isClosing(at); ++i) at = (at + 1) % channels.length;
        }
        Channel storage it = channels[at];
        bool fits = it.closeAt != 0 && it.closeAt != TOMBSTONE && clock >= it.closeAt;
        try hub.withdraw(it.voucherKey, it.payee) {
            check(fits, 'withdraw should have been refused');
            close(it);
            note(Seen.Withdraw);
        } catch {
            check(!fits, 'withdraw should have passed');
            if (it.closeAt == 0) note(Seen.WithdrawUnasked);
            else note(it.closeAt == TOMBSTONE ? Seen.WithdrawClosed : Seen.WithdrawEarly);
        }
    }

    function isClosing(uint256 at) private view returns (bool) {
        return channels[at].closeAt != 0 && channels[at].closeAt != TOMBSTONE;
    }

    function withdrawCredit(uint256 seed) external action {
        seed = mixed(seed);
        address holder = holders[seed % holders.length];
        uint256 amount = credit[holder];
        address to = addressOf('cold', seed % 7);
        uint256 before = to.balance;
        vm.prank(holder);
        try hub.withdrawCredit(to) {
            check(amount != 0, 'withdrawCredit should have been refused');
            equal(to.balance - before, amount, 'the whole credit is paid');
            credit[holder] = 0;
            paidOut += amount;
            note(Seen.WithdrawCredit);
        } catch {
            equal(amount, 0, 'withdrawCredit should have passed');
            note(Seen.WithdrawCreditRefused);
        }
    }

    function wait(uint256 seed) external action {
        seed = mixed(seed);
        clock += between(seed, 1, PERIOD / 2);
    }

    function force(uint256 seed) external action {
        seed = mixed(seed);
        uint256 amount = between(seed, 1, 1 ether);
        vm.deal(address(hub), address(hub).balance + amount);
        forced += amount;
        note(Seen.Forced);
    }

    // Rows

    /// @dev A batch for `payee`, whose effect is at once applied to the model.
    function anyRows(address payee, uint256 seed) private returns (bytes memory rows) {
        uint256[] storage own = channelsOf[payee];
        uint256 count = 1 + (seed >> 16) % 4;
        for (uint256 i = 0; i < count; ++i) {
            uint256 part = uint256(keccak256(abi.encode(seed, i)));
            Channel storage it = channels[own[part % own.length]];
            bytes memory row = anyRow(it, part);
            rows = bytes.concat(rows, row);
            if (part >> 240 & 7 == 0) {
                rows = bytes.concat(rows, row);
                note(Seen.SkipDuplicate);
            }
        }
    }

    function anyRow(Channel storage it, uint256 seed) private returns (bytes memory) {
        uint96 amount = anyAmount(it, seed >> 32);
        uint256 way = (seed >> 16) % 24;
        if (way == 0) {
            note(Seen.SkipUnknown);
            uint256 unknown = keyOf('unknown', seed % 3);
            return signRow(hub, unknown, it.payee, amount);
        }
        if (way == 1) {
            address other = payeeAt(seed >> 24);
            if (other != it.payee) {
                note(Seen.SkipForeignPayee);
                return signedFor(it.key, other, amount);
            }
        }
        bytes32 separator = hub.domainSeparator();
        if (way == 2) {
            note(Seen.SkipForeignHub);
            separator = keccak256('another hub');
        }
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(it.key, digestOf(separator, it.payee, amount));
        if (way == 2) return encodeRow(amount, r, s, v - 27);
        if (way == 3) {
            note(Seen.SkipParity);
            return encodeRow(amount, r, s, 28 - v);
        }
        if (way == 4) {
            note(Seen.SkipRange);
            if (seed >> 200 & 3 == 0) return encodeRow(amount, 0, s, v - 27);
            if (seed >> 200 & 3 == 1) return encodeRow(amount, r, 0, v - 27);
            if (seed >> 200 & 3 == 2) return encodeRow(amount, bytes32(ORDER), s, v - 27);
            return encodeRow(amount, r, bytes32(ORDER / 2 + 1), v - 27);
        }
        if (way == 5) {
            note(Seen.SkipNoise);
            return encodeRow(amount, keccak256(abi.encode(seed)), s, v - 27);
        }
        applyRow(it, amount);
        return encodeRow(amount, r, s, v - 27);
    }

    /// @dev A row that the key signs for another payee: worthless here, and remembered where it is not.
    function signedFor(uint256 key, address payee, uint96 amount) private returns (bytes memory) {
        uint256 position = positionOf[idOf(vm.addr(key), payee)];
        if (position != 0 && channels[position - 1].signed < amount) channels[position - 1].signed = amount;
        return signRow(hub, key, payee, amount);
    }

    function applyRow(Channel storage it, uint256 amount) private {
        if (amount > it.signed) it.signed = amount;
        if (it.closeAt == TOMBSTONE) {
            note(Seen.SkipClosed);
            return;
        }
        uint256 target = amount < it.deposit ? amount : it.deposit;
        if (target <= it.settled) {
            note(Seen.SkipStale);
            return;
        }
        credit[it.payee] += target - it.settled;
        it.settled = target;
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

    function anyDeposit(uint256 seed) private pure returns (uint256) {
        uint256 kind = seed % 16;
        if (kind == 0) return between(seed >> 8, type(uint96).max - 2, uint256(type(uint96).max) + 2);
        if (kind == 1) return between(seed >> 8, 1, 3);
        return between(seed >> 8, 1, 1000 ether);
    }

    function pairOf(uint256 seed) private pure returns (uint256 key, address payee) {
        return (keyOf('voucher key', seed % 16), payeeAt(seed >> 16));
    }

    // Model

    function idOf(address voucherKey, address payee) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(voucherKey, payee));
    }

    function add(uint256 key, address payee, address owner, uint256 amount) private {
        channels.push(Channel(key, vm.addr(key), payee, owner, amount, 0, 0, 0));
        channelsOf[payee].push(channels.length - 1);
        positionOf[idOf(vm.addr(key), payee)] = channels.length;
        ++rises;
    }

    function close(Channel storage it) private {
        credit[it.owner] += it.deposit - it.settled;
        it.closeAt = TOMBSTONE;
    }

    /// @notice The invariants of docs/spec/hub.md 5 that a state can show, on the hub's own words.
    function checkAll() public view {
        uint256 owed;
        for (uint256 i = 0; i < channels.length; ++i) {
            Channel storage it = channels[i];
            IHub.ChannelView memory view_ = hub.channel(it.voucherKey, it.payee);
            check(view_.settled <= view_.deposit, 'settled above the deposit');
            check(view_.settled <= it.signed, 'settled above what was signed');
            // The model's deposit and settled only grow and stop at the tombstone; the hub equals the model.
            equal(view_.deposit, it.deposit, 'deposit');
            equal(view_.settled, it.settled, 'settled');
            equal(view_.closeAt, it.closeAt, 'closeAt');
            equal(view_.owner, it.owner, 'owner');
            if (view_.closeAt != TOMBSTONE) owed += view_.deposit - view_.settled;
        }
        for (uint256 i = 0; i < holders.length; ++i) {
            equal(hub.credit(holders[i]), credit[holders[i]], 'credit');
            owed += hub.credit(holders[i]);
        }
        equal(address(hub).balance, owed + forced, 'the hub holds what it owes and what was forced in');
        equal(paidIn + forced, address(hub).balance + paidOut, 'nothing came from nowhere');
    }

    /// @notice A payee that holds the largest signed voucher of a live channel can capture it now.
    function settleAll() external {
        vm.warp(clock);
        for (uint256 i = 0; i < channels.length; ++i) {
            Channel storage it = channels[i];
            if (it.closeAt == TOMBSTONE) continue;
            bytes memory row = signRow(hub, it.key, it.payee, uint96(it.signed));
            applyRow(it, it.signed);
            hub.settle(it.payee, row);
            uint256 most = it.signed < it.deposit ? it.signed : it.deposit;
            equal(hub.channel(it.voucherKey, it.payee).settled, most, 'the best voucher counts');
        }
        checkAll();
    }
}
