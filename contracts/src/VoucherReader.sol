// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub} from './IHub.sol';

/// @title Reading vouchers: domain, digest, recovery, and where the channel is stored
/// @notice Owns what docs/spec/voucher.md fixes, and has no storage. What a voucher is worth is decided
/// elsewhere. The assembly that runs once a row is here and in `TickReader`; a plain implementation stands in the
/// tests.
abstract contract VoucherReader is IHub {
    /// (n - 1) / 2 for the order n of secp256k1. The precompile accepts a higher s, voucher.md 4 does not.
    uint256 private constant S_MAX = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
    bytes32 private constant DOMAIN_TYPE_HASH =
        keccak256('EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)');
    bytes32 private constant VOUCHER_TYPE_HASH = keccak256('Voucher(address payee,uint256 cumulativeAmount)');
    bytes32 private constant NAME_HASH = keccak256('Piecework');
    bytes32 private constant VERSION_HASH = keccak256('1');

    /// The chain and the separator at deployment. A fork with another chain id gets a separator of its own.
    uint256 private immutable _deployChainId;
    bytes32 private immutable _deploySeparator;

    constructor() {
        _deployChainId = block.chainid;
        _deploySeparator = _separator();
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

    /// @dev Allocates the frame in which `_locate` works, and writes what does not change from row to row.
    /// `channelsSlot` is the storage slot of the mapping from channel ids to channels.
    ///
    /// | address | content |
    /// | --- | --- |
    /// | 0x080 | 30 zero bytes, 0x1901, domain separator, struct hash: the digest's input from 0x09e |
    /// | 0x0e0 | digest, v, r, s: the input of ecrecover |
    /// | 0x160 | 12 zero bytes and the recovered voucher key, then 20 bytes payee: the id's input from 0x16c |
    /// | 0x1a0 | channel id, storage slot of the mapping: the input of the storage key |
    /// | 0x1e0 | type hash, payee, cumulative amount, and what else a type has: the input of the struct hash |
    function _prepare(address payee, uint256 channelsSlot) internal view {
        bytes32 typeHash = VOUCHER_TYPE_HASH;
        // Memory-safe because it takes the bytes after the free memory pointer and moves the pointer. The
        // addresses are constants, which saves some 200 gas a row over sums; that is sound only while
        // nothing was allocated before, so anything else stops here instead of overwriting memory.
        assembly ('memory-safe') {
            if iszero(eq(mload(0x40), 0x80)) { invalid() }
            mstore(0x40, 0x2a0)
            mstore(0x080, 0x1901)
            mstore(0x180, shl(96, payee))
            mstore(0x1c0, channelsSlot)
            mstore(0x1e0, typeHash)
            mstore(0x200, payee)
        }
        // After the frame, because computing a fork's separator allocates memory.
        bytes32 separator = domainSeparator();
        assembly ('memory-safe') {
            mstore(0x0a0, separator)
        }
    }

    /// @dev The storage key of the channel whose voucher key signed the row at calldata offset `at`, and the
    /// row's cumulative amount. The signature stands `offset` bytes into the row and is over a struct of `size`
    /// bytes, of which the frame holds all but the amount. A row that is not well signed gets the channel of
    /// voucher key zero, which cannot be opened and is therefore empty for ever. `_prepare` comes first.
    function _locate(uint256 at, uint256 offset, uint256 size)
        internal
        view
        returns (uint256 key, uint256 cumulative)
    {
        uint256 sMax = S_MAX;
        // Memory-safe because it writes only inside the frame.
        assembly ('memory-safe') {
            cumulative := shr(160, calldataload(at))
            mstore(0x220, cumulative)
            mstore(0x0c0, keccak256(0x1e0, size))
            mstore(0x0e0, keccak256(0x09e, 0x42))
            let signature := add(at, offset)
            let vs := calldataload(add(signature, 0x20))
            let s := shr(1, shl(1, vs))
            // A high s turns v into something that the precompile refuses.
            mstore(0x100, add(add(27, shr(255, vs)), shl(8, gt(s, sMax))))
            mstore(0x120, calldataload(signature))
            mstore(0x140, s)
            // The precompile writes nothing when it refuses, so the key of the row before must go first.
            mstore(0x160, 0)
            // The call fails only for want of gas, and then at most 47 are left (one part in 64 of too little for
            // 3,000), less than any storage read costs. So the whole batch fails, and no transaction and no gas
            // estimate can pass by taking a sound row for a malformed one.
            pop(staticcall(gas(), 1, 0x0e0, 0x80, 0x160, 0x20))
            mstore(0x1a0, keccak256(0x16c, 40))
            key := keccak256(0x1a0, 0x40)
        }
    }

    function _separator() private view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPE_HASH, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
    }
}
