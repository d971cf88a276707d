// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub, INativeHub} from '../src/IHub.sol';
import {NativeHub} from '../src/NativeHub.sol';
import {Vm} from './Vm.sol';

/// @title What every test needs: assertions, keys and signed rows
abstract contract Base {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256('hevm cheat code')))));
    uint256 internal constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
    uint32 internal constant TOMBSTONE = 0xffffffff;
    uint32 internal constant PERIOD = 1 days;
    bytes32 internal constant VOUCHER_TYPE_HASH = keccak256('Voucher(address payee,uint256 cumulativeAmount)');

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

    function newNativeHub() internal returns (NativeHub) {
        vm.warp(1_800_000_000);
        return new NativeHub(PERIOD);
    }

    function openAs(INativeHub hub, address owner, address voucherKey, address payee, uint96 deposit) internal {
        vm.deal(owner, owner.balance + deposit);
        vm.prank(owner);
        hub.open{value: deposit}(voucherKey, payee);
    }
}
