// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub} from './IHub.sol';
import {Slots} from './Slots.sol';
import {TickReader} from './TickReader.sol';

/// @title The rules of the hub, without the asset
/// @notice Owns the storage and every rule of docs/spec/hub.md. How money comes in and goes out is left
/// to the two forms. There is no owner, no upgrade and no pause. Nothing here calls another
/// contract except the precompiles ecrecover and SHA-256 and, last of all in `withdrawCredit`, the form's `_pay`.
abstract contract HubCore is TickReader {
    /// One word; `Slots` knows its layout.
    struct Channel {
        uint256 slot;
    }

    /// Bytes of a row, where its signature stands, and of the struct that is signed (voucher.md 2 and 3).
    uint256 private constant ROW_SIZE = 76;
    uint256 private constant SIGNATURE = 12;
    uint256 private constant STRUCT = 3 * 32;
    /// The same of a tick row (ticks.md 2).
    uint256 private constant TICK_ROW_SIZE = 124;
    uint256 private constant TICK_SIGNATURE = 60;
    uint256 private constant TICK_STRUCT = 6 * 32;
    uint32 private constant CHALLENGE_PERIOD_MAX = 365 days;

    /// @inheritdoc IHub
    uint32 public immutable override challengePeriod;

    /// Channels by id. The id goes through a mapping, so that no pair of addresses can be chosen whose id is
    /// the storage slot of something else.
    mapping(bytes32 id => Channel) private _channels;
    /// @inheritdoc IHub
    mapping(uint32 index => address owner) public override owners;
    /// @inheritdoc IHub
    mapping(address owner => uint32 index) public override ownerIndex;
    /// @inheritdoc IHub
    mapping(address owner => uint256 amount) public override credit;
    uint32 private _ownerCount;

    constructor(uint32 challengePeriod_) {
        if (challengePeriod_ == 0 || challengePeriod_ > CHALLENGE_PERIOD_MAX) revert BadChallengePeriod();
        challengePeriod = challengePeriod_;
    }

    // Verbs

    /// @inheritdoc IHub
    function enter() external override returns (uint32 index) {
        return _enter();
    }

    /// @inheritdoc IHub
    function settle(address payee, bytes calldata rows) external override {
        _settle(payee, rows);
    }

    /// @inheritdoc IHub
    function settleTicks(address payee, bytes calldata rows) external override {
        if (rows.length % TICK_ROW_SIZE != 0) revert BadTickRows();
        (uint256 channelsSlot, uint256 at) = _offsets(rows);
        _prepareTicks(payee, channelsSlot);
        uint256 total;
        // As in `_settle`; what a tick adds is below 2^96.
        unchecked {
            uint256 end = at + rows.length;
            for (; at < end; at += TICK_ROW_SIZE) {
                (bool sound, uint256 ticked) = _readTick(at);
                if (sound) total += _capture(at, at + 1, TICK_SIGNATURE, TICK_STRUCT, ticked);
            }
        }
        _earn(payee, total);
    }

    /// @inheritdoc IHub
    function cooperativeClose(address[] calldata voucherKeys, bytes calldata rows) external override {
        _settle(msg.sender, rows);
        for (uint256 i = 0; i < voucherKeys.length; ++i) {
            Channel storage channel_ = _at(voucherKeys[i], msg.sender);
            if (Slots.isLive(channel_.slot)) _close(channel_, voucherKeys[i], msg.sender);
        }
    }

    /// @inheritdoc IHub
    function requestClose(address voucherKey, address payee) external override {
        Channel storage channel_ = _ownLive(voucherKey, payee);
        if (Slots.closeAt(channel_.slot) != 0) return;
        uint256 due = block.timestamp + challengePeriod;
        // After the year 2106 a due time would look like a tombstone or wrap to a time long past.
        if (due >= Slots.TOMBSTONE) revert BadChallengePeriod();
        channel_.slot = Slots.closing(channel_.slot, due);
        emit CloseRequested(voucherKey, payee, uint32(due));
    }

    /// @inheritdoc IHub
    function withdraw(address voucherKey, address payee) external override {
        Channel storage channel_ = _live(voucherKey, payee);
        uint256 due = Slots.closeAt(channel_.slot);
        // Zero means that nobody asked; as a time it would lie in the past.
        if (due == 0) revert CloseNotRequested();
        if (block.timestamp < due) revert CloseNotDue();
        _close(channel_, voucherKey, payee);
    }

    /// @inheritdoc IHub
    function withdrawCredit(address to) external virtual override {
        _withdrawCredit(to);
    }

    // Views

    /// @inheritdoc IHub
    function channelId(address voucherKey, address payee) public pure override returns (bytes32) {
        return keccak256(abi.encodePacked(voucherKey, payee));
    }

    /// @inheritdoc IHub
    function channel(address voucherKey, address payee) public view override returns (ChannelView memory) {
        uint256 slot = _at(voucherKey, payee).slot;
        return ChannelView({
            deposit: uint96(Slots.deposit(slot)),
            settled: uint96(Slots.settled(slot)),
            closeAt: uint32(Slots.closeAt(slot)),
            owner: owners[Slots.owner(slot)]
        });
    }

    /// @inheritdoc IHub
    function readChannels(address payee, address[] calldata voucherKeys)
        external
        view
        override
        returns (ChannelView[] memory views)
    {
        views = new ChannelView[](voucherKeys.length);
        for (uint256 i = 0; i < voucherKeys.length; ++i) {
            views[i] = channel(voucherKeys[i], payee);
        }
    }

    // Rules that the forms call once the money is in

    /// @dev Opens one channel for the caller or reverts.
    function _open(address voucherKey, address payee, uint256 amount) internal {
        if (voucherKey == address(0) || payee == address(0)) revert ZeroAddress();
        if (amount == 0) revert ZeroDeposit();
        if (amount > Slots.UINT96_MAX) revert AmountTooLarge();
        Channel storage channel_ = _at(voucherKey, payee);
        if (channel_.slot != 0) revert ChannelExists();
        channel_.slot = Slots.opened(amount, _enter());
        emit Opened(msg.sender, voucherKey, payee, uint96(amount));
    }

    /// @dev Opens the rows that can be opened and credits the caller with the deposits of the others,
    /// because anyone may have taken a slot with dust a moment earlier.
    function _openMany(OpenRow[] calldata rows, uint256 amount) internal {
        uint32 index = _enter();
        uint256 sum;
        uint256 skipped;
        // No sum overflows: each addend is below 2^96 and calldata holds far fewer than 2^160 rows.
        unchecked {
            for (uint256 i = 0; i < rows.length; ++i) {
                OpenRow calldata row = rows[i];
                uint96 deposit = row.deposit;
                sum += deposit;
                if (!_tryOpen(row.voucherKey, row.payee, deposit, index)) skipped += deposit;
            }
        }
        if (sum != amount) revert WrongValue();
        if (skipped != 0) credit[msg.sender] += skipped;
    }

    /// @dev Raises the deposit of the caller's channel or reverts.
    function _topUp(address voucherKey, address payee, uint256 amount) internal {
        if (amount == 0) revert ZeroDeposit();
        Channel storage channel_ = _ownLive(voucherKey, payee);
        uint256 slot = channel_.slot;
        if (!Slots.fits(Slots.deposit(slot), amount)) revert AmountTooLarge();
        uint256 next = Slots.toppedUp(slot, amount);
        channel_.slot = next;
        emit ToppedUp(voucherKey, payee, uint96(Slots.deposit(next)));
    }

    /// @dev Zeroes the caller's credit before it pays, so that a recipient that calls back finds nothing.
    function _withdrawCredit(address to) internal {
        if (to == address(0)) revert ZeroAddress();
        uint256 amount = credit[msg.sender];
        if (amount == 0) revert NoCredit();
        credit[msg.sender] = 0;
        emit CreditWithdrawn(msg.sender, to, amount);
        _pay(to, amount);
    }

    /// @dev Moves `amount` base units of the asset from the hub to `to`, or reverts.
    function _pay(address to, uint256 amount) internal virtual;

    // Helpers

    function _enter() private returns (uint32 index) {
        index = ownerIndex[msg.sender];
        if (index == 0) {
            index = ++_ownerCount;
            ownerIndex[msg.sender] = index;
            owners[index] = msg.sender;
        }
    }

    function _tryOpen(address voucherKey, address payee, uint96 deposit, uint32 index) private returns (bool) {
        if (deposit == 0 || voucherKey == address(0) || payee == address(0)) return false;
        Channel storage channel_ = _at(voucherKey, payee);
        if (channel_.slot != 0) return false;
        channel_.slot = Slots.opened(deposit, index);
        emit Opened(msg.sender, voucherKey, payee, deposit);
        return true;
    }

    /// @dev The channel of a pair, existing or not. Hashes in the scratch space, because `openMany` would
    /// otherwise allocate memory for every row.
    function _at(address voucherKey, address payee) private view returns (Channel storage) {
        bytes32 id;
        // Memory-safe because it writes only to the 64 bytes of scratch space.
        assembly ('memory-safe') {
            mstore(0x00, shl(96, voucherKey))
            mstore(0x14, shl(96, payee))
            id := keccak256(0x00, 40)
        }
        return _channels[id];
    }

    /// @dev The channel of a pair, which must exist and not be closed.
    function _live(address voucherKey, address payee) private view returns (Channel storage channel_) {
        channel_ = _at(voucherKey, payee);
        uint256 slot = channel_.slot;
        if (slot == 0) revert UnknownChannel();
        if (Slots.closeAt(slot) == Slots.TOMBSTONE) revert ChannelClosed();
    }

    /// @dev As `_live`, and the caller must be the owner.
    function _ownLive(address voucherKey, address payee) private view returns (Channel storage channel_) {
        channel_ = _live(voucherKey, payee);
        if (owners[Slots.owner(channel_.slot)] != msg.sender) revert NotOwner();
    }

    function _close(Channel storage channel_, address voucherKey, address payee) private {
        uint256 slot = channel_.slot;
        (uint256 next, uint256 returned) = Slots.closed(slot);
        channel_.slot = next;
        if (returned != 0) credit[owners[Slots.owner(slot)]] += returned;
        emit Closed(voucherKey, payee, uint96(Slots.settled(slot)), uint96(returned));
    }

    /// @dev Captures plain rows for `payee`.
    function _settle(address payee, bytes calldata rows) private {
        if (rows.length % ROW_SIZE != 0) revert BadRows();
        (uint256 channelsSlot, uint256 at) = _offsets(rows);
        _prepare(payee, channelsSlot);
        // Offsets cannot overflow: calldata is short.
        unchecked {
            _earn(payee, _capture(at, at + rows.length, SIGNATURE, STRUCT, 0));
        }
    }

    /// @dev The storage slot of the mapping of channels, and where in calldata rows begin.
    function _offsets(bytes calldata rows) private pure returns (uint256 channelsSlot, uint256 at) {
        assembly ('memory-safe') {
            channelsSlot := _channels.slot
            at := rows.offset
        }
    }

    /// @dev Captures the rows that begin from calldata offset `at` on and before `end`: the reader locates the channel
    /// of each, `Slots.captured` decides. `offset` and `size` are the reader's, `ticked` comes on top of each amount.
    /// Plain rows come here together, ticks one by one.
    function _capture(uint256 at, uint256 end, uint256 offset, uint256 size, uint256 ticked)
        private
        returns (uint256 total)
    {
        // Neither the offsets nor the total can overflow: calldata is short and each gain is below 2^96.
        unchecked {
            for (; at < end; at += ROW_SIZE) {
                (uint256 key, uint256 cumulative) = _locate(at, offset, size);
                Channel storage channel_;
                assembly ('memory-safe') {
                    channel_.slot := key
                }
                (uint256 next, uint256 gain) = Slots.captured(channel_.slot, cumulative + ticked);
                if (gain == 0) continue;
                channel_.slot = next;
                total += gain;
            }
        }
    }

    /// @dev Credits `payee` with what a batch gained.
    function _earn(address payee, uint256 total) private {
        if (total == 0) return;
        credit[payee] += total;
        emit Settled(payee, total);
    }
}
