// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub, INativeHub, ITokenHub} from '../src/IHub.sol';
import {Vm} from './Vm.sol';

/// @title What every test needs: assertions, keys and signed rows
abstract contract Base {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256('hevm cheat code')))));
    uint256 internal constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
    uint32 internal constant TOMBSTONE = 0xffffffff;
    uint32 internal constant PERIOD = 1 days;
    bytes32 internal constant VOUCHER_TYPE_HASH = keccak256('Voucher(address payee,uint256 cumulativeAmount)');

    bytes32 internal constant TICK_TYPE_HASH =
        keccak256('TickVoucher(address payee,uint256 cumulativeAmount,bytes32 root,uint96 unit,uint16 length)');

    /// What a tick voucher promises, and one tick of its chain (ticks.md 1 and 2).
    struct Tick {
        uint96 amount;
        uint96 unit;
        uint16 length;
        uint16 count;
        bytes32 value;
    }

    error AssertionFailed(string what, uint256 actual, uint256 expected);

    function check(bool condition, string memory what) internal pure {
        if (!condition) revert AssertionFailed(what, 0, 1);
    }

    function equal(uint256 actual, uint256 expected, string memory what) internal pure {
        if (actual != expected) revert AssertionFailed(what, actual, expected);
    }

    function equal(address actual, address expected, string memory what) internal pure {
        equal(uint160(actual), uint160(expected), what);
    }

    function equal(bytes32 actual, bytes32 expected, string memory what) internal pure {
        equal(uint256(actual), uint256(expected), what);
    }

    /// @dev A value in low..high that depends on `seed`.
    function between(uint256 seed, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + seed % (high - low + 1);
    }

    /// @dev A private key fixed by a label and a number, so that gas figures do not change from run to run.
    function keyOf(string memory label, uint256 index) internal pure returns (uint256) {
        return 1 + uint256(keccak256(abi.encode(label, index))) % (ORDER - 1);
    }

    function addressOf(string memory label, uint256 index) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode(label, index, 'address')))));
    }

    /// @dev The digest of voucher.md 2, written from the page and not from the hub's code.
    function digestOf(bytes32 separator, address payee, uint256 cumulative) internal pure returns (bytes32) {
        bytes32 structHash = keccak256(abi.encode(VOUCHER_TYPE_HASH, payee, cumulative));
        return keccak256(abi.encodePacked(hex'1901', separator, structHash));
    }

    function encodeRow(uint96 cumulative, bytes32 r, bytes32 s, uint256 parity) internal pure returns (bytes memory) {
        return abi.encodePacked(cumulative, r, uint256(s) | (parity << 255));
    }

    /// @dev A well-signed row.
    function signRow(IHub hub, uint256 key, address payee, uint96 cumulative) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digestOf(hub.domainSeparator(), payee, cumulative));
        return encodeRow(cumulative, r, s, v - 27);
    }

    /// @dev The digest of ticks.md 2, written from the page and not from the hub's code.
    function tickDigestOf(bytes32 separator, address payee, Tick memory tick) internal pure returns (bytes32) {
        bytes32 root = linked(tick.value, tick.count);
        bytes32 structHash =
            keccak256(abi.encode(TICK_TYPE_HASH, payee, uint256(tick.amount), root, tick.unit, tick.length));
        return keccak256(abi.encodePacked(hex'1901', separator, structHash));
    }

    /// @dev `link` applied `times` times.
    function linked(bytes32 value, uint256 times) internal pure returns (bytes32) {
        for (uint256 i = 0; i < times; ++i) {
            value = sha256(abi.encode(value));
        }
        return value;
    }

    /// @dev Tick `count` of the chain with a secret end.
    function tickOf(uint96 amount, uint96 unit, uint16 length, uint16 count, bytes32 end)
        internal
        pure
        returns (Tick memory)
    {
        return Tick(amount, unit, length, count, linked(end, length - count));
    }

    function encodeTick(Tick memory tick, bytes32 r, bytes32 s, uint256 parity) internal pure returns (bytes memory) {
        bytes memory terms = abi.encodePacked(tick.amount, tick.unit, tick.length, tick.count, tick.value);
        return abi.encodePacked(terms, r, uint256(s) | (parity << 255));
    }

    /// @dev A tick row, signed as it stands, in range or not.
    function signTick(IHub hub, uint256 key, address payee, Tick memory tick) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, tickDigestOf(hub.domainSeparator(), payee, tick));
        return encodeTick(tick, r, s, v - 27);
    }

    /// @dev The code that scripts/compile-contracts.mjs wrote, which is the code that gets deployed. The
    /// tests are compiled with other settings and in a tenth of the time, because they do not import it.
    function creationCode(string memory name) internal view returns (bytes memory) {
        string memory path = string.concat('../build/contracts/', name, '.json');
        check(vm.exists(path), 'no artifact: run node scripts/compile-contracts.mjs first');
        return vm.parseJsonBytes(vm.readFile(path), '.bytecode');
    }

    /// @dev Deploys code with constructor arguments, and reverts as the constructor does.
    function deploy(bytes memory code) internal returns (address deployed) {
        assembly ('memory-safe') {
            deployed := create(0, add(code, 0x20), mload(code))
            if iszero(deployed) {
                let answer := mload(0x40)
                returndatacopy(answer, 0, returndatasize())
                revert(answer, returndatasize())
            }
        }
    }

    function newNativeHub(uint32 challengePeriod) internal returns (INativeHub) {
        return INativeHub(deploy(bytes.concat(creationCode('NativeHub'), abi.encode(challengePeriod))));
    }

    function newTokenHub(address token, uint32 challengePeriod) internal returns (ITokenHub) {
        return ITokenHub(deploy(bytes.concat(creationCode('TokenHub'), abi.encode(token, challengePeriod))));
    }

    /// @dev A native hub at a fixed time, so that due times do not depend on the machine.
    function newNativeHub() internal returns (INativeHub) {
        vm.warp(1_800_000_000);
        return newNativeHub(PERIOD);
    }

    function openAs(INativeHub hub, address owner, address voucherKey, address payee, uint96 deposit) internal {
        vm.deal(owner, owner.balance + deposit);
        vm.prank(owner);
        hub.open{value: deposit}(voucherKey, payee);
    }
}
