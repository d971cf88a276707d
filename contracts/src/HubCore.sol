// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub} from './IHub.sol';
import {Slots} from './Slots.sol';

/// @title The rules of the hub, without the asset
/// @notice Owns the storage and every rule of docs/spec/hub.md. How money comes in and goes out is left
/// to the two forms. There is no owner, no upgrade and no pause. No function here calls another
/// contract except the ecrecover precompile and, last of all in `withdrawCredit`, the form's `_pay`.
abstract contract HubCore is IHub {
    /// One word; `Slots` knows its layout.
    struct Channel {
        uint256 slot;
    }

    uint256 private constant ROW_SIZE = 76;
    uint32 private constant CHALLENGE_PERIOD_MAX = 365 days;
    /// (n - 1) / 2 for the order n of secp256k1. The precompile accepts a higher s, voucher.md 4 does not.
    uint256 private constant S_MAX = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
    bytes32 private constant DOMAIN_TYPE_HASH =
        keccak256('EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)');
    bytes32 private constant VOUCHER_TYPE_HASH = keccak256('Voucher(address payee,uint256 cumulativeAmount)');
    bytes32 private constant NAME_HASH = keccak256('Piecework');
    bytes32 private constant VERSION_HASH = keccak256('1');

    /// @inheritdoc IHub
    uint32 public immutable override challengePeriod;
    /// The chain and the separator at deployment. A fork with another chain id gets a separator of its own.
    uint256 private immutable _deployChainId;
    bytes32 private immutable _deploySeparator;

    /// Channels by id. The id goes through a mapping, so that no
    /// pair of addresses can be chosen whose id is the storage slot of something else.
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
        _deployChainId = block.chainid;
        _deploySeparator = _separator();
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

    /// @inheritdoc IHub
    function domainSeparator() public view override returns (bytes32) {
        return block.chainid == _deployChainId ? _deploySeparator : _separator();
    }

    /// @inheritdoc IHub
    function eip712Domain()
        external
        view
        override
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        )
    {
        // 0x0f says that name, version, chainId and verifyingContract are used and salt is not.
        return (0x0f, 'Piecework', '1', block.chainid, address(this), bytes32(0), new uint256[](0));
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

    /// @dev Captures rows for `payee`. Assembly reads, recovers and locates; `Slots.captured` decides.
    function _settle(address payee, bytes calldata rows) private {
        if (rows.length % ROW_SIZE != 0) revert BadRows();
        _layOutFrame(VOUCHER_TYPE_HASH, payee);
        // After the frame, because computing a fork's separator allocates memory.
        bytes32 separator = domainSeparator();
        assembly ('memory-safe') {
            mstore(0x100, separator)
        }
        uint256 total;
        uint256 at;
        uint256 end;
        assembly ('memory-safe') {
            at := rows.offset
            end := add(at, rows.length)
        }
        // Neither the offsets nor the total can overflow: calldata is short and each gain is below 2^96.
        unchecked {
            for (; at < end; at += ROW_SIZE) {
                (Channel storage channel_, uint256 cumulative) = _locate(at);
                (uint256 next, uint256 gain) = Slots.captured(channel_.slot, cumulative);
                if (gain == 0) continue;
                channel_.slot = next;
                total += gain;
            }
        }
        if (total == 0) return;
        credit[payee] += total;
        emit Settled(payee, total);
    }

    /// @dev Allocates the frame in which `_locate` works, and writes what does not change from row to row,
    /// except the domain separator:
    ///
    /// | address | content |
    /// | --- | --- |
    /// | 0x080 | voucher type hash, payee, cumulative amount: the input of the struct hash |
    /// | 0x0e0 | 30 zero bytes, 0x1901, domain separator, struct hash: the digest's input from 0x0fe |
    /// | 0x140 | digest, v, r, s: the input of ecrecover |
    /// | 0x1c0 | 12 zero bytes and the recovered voucher key, then 20 bytes payee: the id's input from 0x1cc |
    /// | 0x200 | channel id, storage slot of the mapping: the input of the storage key |
    function _layOutFrame(bytes32 typeHash, address payee) private pure {
        // Memory-safe because it takes the bytes after the free memory pointer and moves the pointer. The
        // addresses are constants, which saves some 200 gas a row over sums; that is sound only while
        // nothing was allocated before, so anything else stops here instead of overwriting memory.
        assembly ('memory-safe') {
            if iszero(eq(mload(0x40), 0x80)) { invalid() }
            mstore(0x40, 0x240)
            mstore(0x080, typeHash)
            mstore(0x0a0, payee)
            mstore(0x0e0, 0x1901)
            mstore(0x1e0, shl(96, payee))
            mstore(0x220, _channels.slot)
        }
    }

    /// @dev The channel whose voucher key signed the row at calldata offset `at`, and the row's cumulative
    /// amount. A row that is not well signed gets the channel of voucher key zero, which cannot be opened and is therefore empty for ever.
    function _locate(uint256 at) private view returns (Channel storage channel_, uint256 cumulative) {
        uint256 sMax = S_MAX;
        // Memory-safe because it writes only inside the frame.
        assembly ('memory-safe') {
            cumulative := shr(160, calldataload(at))
            mstore(0x0c0, cumulative)
            mstore(0x120, keccak256(0x080, 0x60))
            mstore(0x140, keccak256(0x0fe, 0x42))
            let vs := calldataload(add(at, 44))
            let s := shr(1, shl(1, vs))
            // A high s turns v into something that the precompile refuses.
            mstore(0x160, add(add(27, shr(255, vs)), shl(8, gt(s, sMax))))
            calldatacopy(0x180, add(at, 12), 0x20)
            mstore(0x1a0, s)
            // The precompile writes nothing when it refuses, so the key of the row before must go first.
            mstore(0x1c0, 0)
            // The call fails only for want of gas. Taking that for a bad signature would let a transaction
            // with too little gas succeed without its rows, and a gas estimate settle on just that.
            if iszero(staticcall(gas(), 1, 0x140, 0x80, 0x1c0, 0x20)) { invalid() }
            mstore(0x200, keccak256(0x1cc, 40))
            channel_.slot := keccak256(0x200, 0x40)
        }
    }

    function _separator() private view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPE_HASH, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
    }
}
