// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub} from '../src/IHub.sol';
import {Reference} from './Reference.sol';

/// @title What must come of calls on one hub, by the rules of docs/spec/hub.md
/// @notice The plain model beside the hub: channels, credit, payers and money, and the comparison of the
/// whole hub with it. What was really met is counted in `seen`, so that a run which met nothing cannot
/// pass for a good one.
abstract contract Model is Reference {
    struct Channel {
        uint256 key;
        address voucherKey;
        address payee;
        address owner;
        uint256 deposit;
        uint256 settled;
        uint256 closeAt;
        uint256 signed; // the largest amount or shown claim that the voucher key ever signed for the payee at this hub
    }

    /// What can come of an action or of a row. A row is skipped for a reason only if, without that reason,
    /// it would have gained.
    enum Seen {
        Enter,
        Open,
        OpenRefused,
        OpenMany,
        OpenManySkipped,
        OpenManyRefused,
        TopUp,
        TopUpCancelsClose,
        TopUpRefused,
        Settle,
        SettleClamped,
        SettleWhileClosing,
        SettleRefused,
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
        ReplayAfterRise,
        Forced,
        SkipStale,
        SkipClosed,
        SkipUnknown,
        SkipParity,
        SkipRange,
        SkipForeignPayee,
        SkipForeignHub,
        SkipDuplicate,
        SkipNoise,
        SettleTick,
        SettleTickRoot,
        SettleTickClamped,
        SettleTickWhileClosing,
        SettleTicksRefused,
        ReplayTicks,
        ReplayTicksAfterRise,
        SkipTickStale,
        SkipTickClosed,
        SkipTickUnknown,
        SkipTickDuplicate,
        SkipTickForeignPayee,
        SkipTickForeignHub,
        SkipTickPlainSignature,
        SkipTickParity,
        SkipTickSignatureRange,
        SkipTickOffChain,
        SkipTickNoise,
        SkipTickLength0,
        SkipTickLengthMax,
        SkipTickUnit0,
        SkipTickCount,
        SkipTickOverflow
    }

    uint256 private constant SEEN_COUNT = uint256(type(Seen).max) + 1;
    /// The names of `Seen` in its order, for the report.
    string private constant SEEN_NAMES =
        'enter,open,openRefused,openMany,openManySkipped,openManyRefused,topUp,topUpCancelsClose,topUpRefused,settle,settleClamped,settleWhileClosing,settleRefused,cooperativeClose,cooperativeCloseSkipped,requestClose,requestCloseAgain,requestCloseRefused,withdraw,withdrawEarly,withdrawUnasked,withdrawClosed,withdrawCredit,withdrawCreditRefused,replay,replayAfterRise,forced,skipStale,skipClosed,skipUnknown,skipParity,skipRange,skipForeignPayee,skipForeignHub,skipDuplicate,skipNoise,settleTick,settleTickRoot,settleTickClamped,settleTickWhileClosing,settleTicksRefused,replayTicks,replayTicksAfterRise,skipTickStale,skipTickClosed,skipTickUnknown,skipTickDuplicate,skipTickForeignPayee,skipTickForeignHub,skipTickPlainSignature,skipTickParity,skipTickSignatureRange,skipTickOffChain,skipTickNoise,skipTickLength0,skipTickLengthMax,skipTickUnit0,skipTickCount,skipTickOverflow';
    uint256 private constant PAYERS = 3;
    uint256 private constant PAYEES = 20;

    IHub internal immutable core;
    mapping(Seen => uint256) private seen;
    uint256 public calls;

    Channel[] internal channels;
    mapping(address payee => uint256[]) internal channelsOf;
    mapping(bytes32 id => uint256) private positionOf; // position + 1
    mapping(address => uint256) internal credit;
    mapping(address payer => uint256) private indexOf;
    uint256 private payersEntered;
    address[] internal holders;
    uint256 internal paidIn;
    uint256 internal paidOut;
    uint256 internal forced;
    uint256 internal clock = 1_800_000_000;
    /// How often any deposit rose.
    uint256 internal rises;

    constructor(IHub hub_) {
        core = hub_;
        for (uint256 i = 0; i < PAYERS; ++i) {
            holders.push(payerAt(i));
        }
        for (uint256 i = 0; i < PAYEES; ++i) {
            holders.push(payeeAt(i));
        }
    }

    /// @dev What an address holds of the hub's asset.
    function held(address who) internal view virtual returns (uint256);

    function payerAt(uint256 seed) internal pure returns (address) {
        return addressOf('payer', seed % PAYERS);
    }

    /// @dev The addresses 1 to 16, among them the precompiles, and four others.
    function payeeAt(uint256 seed) internal pure returns (address) {
        uint256 index = seed % PAYEES;
        return index < 16 ? address(uint160(index + 1)) : addressOf('payee', index);
    }

    function note(Seen what) internal {
        ++seen[what];
    }

    /// @notice Names and counts of all that can be met, for the report.
    function witnesses() external view returns (string memory names, string memory counts) {
        counts = vm.toString(calls);
        for (uint256 i = 0; i < SEEN_COUNT; ++i) {
            counts = string.concat(counts, ',', vm.toString(seen[Seen(i)]));
        }
        return (string.concat('calls,', SEEN_NAMES), counts);
    }

    // Rules

    function exists(address voucherKey, address payee) internal view returns (bool) {
        return positionOf[idOf(voucherKey, payee)] != 0;
    }

    function at(address voucherKey, address payee) internal view returns (Channel storage) {
        return channels[positionOf[idOf(voucherKey, payee)] - 1];
    }

    function add(uint256 key, address payee, address owner, uint256 amount) internal {
        enters(owner);
        address voucherKey = vm.addr(key);
        channels.push(Channel(key, voucherKey, payee, owner, amount, 0, 0, 0));
        channelsOf[payee].push(channels.length - 1);
        positionOf[idOf(voucherKey, payee)] = channels.length;
        ++rises;
    }

    function enters(address payer) internal returns (uint256) {
        if (indexOf[payer] == 0) indexOf[payer] = ++payersEntered;
        return indexOf[payer];
    }

    function close(Channel storage it) internal {
        credit[it.owner] += it.deposit - it.settled;
        it.closeAt = TOMBSTONE;
    }

    function gainOf(Channel storage it, uint256 amount) internal view returns (uint256) {
        uint256 target = amount < it.deposit ? amount : it.deposit;
        return it.closeAt == TOMBSTONE || target <= it.settled ? 0 : target - it.settled;
    }

    function capture(Channel storage it, uint256 amount) internal returns (uint256 gain) {
        gain = gainOf(it, amount);
        it.settled += gain;
        credit[it.payee] += gain;
    }

    /// @dev Captures a whole batch as the reference reads it, row by row.
    function captureRows(address payee, bytes memory rows, uint256 size) internal returns (uint256 total) {
        bytes32 separator = core.domainSeparator();
        for (uint256 start = 0; start < rows.length; start += size) {
            (address signer, uint256 claim) = readRow(separator, payee, slice(rows, start, size));
            if (exists(signer, payee)) total += capture(at(signer, payee), claim);
        }
    }

    function idOf(address voucherKey, address payee) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(voucherKey, payee));
    }

    /// @notice The invariants of docs/spec/hub.md 5 that a state can show, on the hub's own words.
    function checkAll() public view {
        uint256 owed;
        for (uint256 i = 0; i < channels.length; ++i) {
            Channel storage it = channels[i];
            IHub.ChannelView memory view_ = core.channel(it.voucherKey, it.payee);
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
            equal(core.credit(holders[i]), credit[holders[i]], 'credit');
            equal(core.ownerIndex(holders[i]), indexOf[holders[i]], 'owner index');
            owed += core.credit(holders[i]);
        }
        equal(held(address(core)), owed + forced, 'the hub holds what it owes and what was forced in');
        equal(paidIn + forced, held(address(core)) + paidOut, 'nothing came from nowhere');
    }

    /// @notice A payee that holds the largest signed voucher of a live channel can capture it now.
    function settleAll() external {
        vm.warp(clock);
        for (uint256 i = 0; i < channels.length; ++i) {
            Channel storage it = channels[i];
            if (it.closeAt == TOMBSTONE) continue;
            bytes memory row = signRow(core, it.key, it.payee, uint96(it.signed));
            capture(it, it.signed);
            core.settle(it.payee, row);
            uint256 most = it.signed < it.deposit ? it.signed : it.deposit;
            equal(core.channel(it.voucherKey, it.payee).settled, most, 'the best voucher counts');
        }
        checkAll();
    }
}
