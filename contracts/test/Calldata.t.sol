// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub, INativeHub} from '../src/IHub.sol';
import {Base} from './Base.sol';

/// @title Calls whose bytes no ordinary encoder makes
contract CalldataTest is Base {
    INativeHub private hub;
    address private payer = addressOf('payer', 0);
    address private payee = addressOf('payee', 0);
    uint256 private key = keyOf('calldata', 0);
    bytes private row;

    function setUp() public {
        hub = newNativeHub();
        openAs(hub, payer, vm.addr(key), payee, 10 ether);
        row = signRow(hub, key, payee, 3 ether);
    }

    function passes(bytes memory call_) private returns (bool ok) {
        (ok,) = address(hub).call(call_);
    }

    /// @dev A call of `settle` from its raw words: payee, offset, what lies between, length, rows.
    function raw(uint256 payeeWord, uint256 offset, bytes memory gap, uint256 length, bytes memory rows)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodePacked(IHub.settle.selector, payeeWord, offset, gap, length, rows);
    }

    function expectSettled(uint256 amount, string memory what) private view {
        equal(hub.channel(vm.addr(key), payee).settled, amount, what);
        equal(hub.credit(payee), amount, what);
    }

    function test_bytes_after_the_rows_are_ignored() public {
        bytes memory higher = signRow(hub, key, payee, 5 ether);
        check(passes(raw(uint160(payee), 0x40, '', 76, bytes.concat(row, higher))), 'passes');
        expectSettled(3 ether, 'the row counts');
    }

    function test_rows_may_lie_anywhere() public {
        check(passes(raw(uint160(payee), 0x43, hex'112233', 76, row)), 'passes');
        expectSettled(3 ether, 'the row counts');
    }

    function test_rows_beyond_the_call_are_refused() public {
        bytes memory two = signRow(hub, key, payee, 4 ether);
        check(passes(raw(uint160(payee), 0x40, '', 152, bytes.concat(row, two))), 'both are there');
        expectSettled(4 ether, 'two rows');
        bytes memory higher = signRow(hub, key, payee, 5 ether);
        check(!passes(raw(uint160(payee), 0x40, '', 152, higher)), 'a length beyond the call');
        check(!passes(raw(uint160(payee), 0x40, '', type(uint256).max, higher)), 'an endless length');
        check(!passes(raw(uint160(payee), type(uint256).max - 31, '', 76, higher)), 'an offset that wraps');
        check(!passes(raw(uint160(payee), 0x1000, '', 76, higher)), 'an offset beyond the call');
        check(!passes(abi.encodePacked(IHub.settle.selector, uint256(uint160(payee)))), 'no rows at all');
        expectSettled(4 ether, 'nothing more');
    }

    function test_dirty_words_are_refused() public {
        check(!passes(raw(uint160(payee) | 1 << 160, 0x40, '', 76, row)), 'a payee above 160 bits');
        expectSettled(0, 'nothing');
        bytes memory rows = abi.encodePacked(
            uint256(0x20), uint256(1), uint256(uint160(address(this))), uint256(uint160(payee)), uint256(1) << 96
        );
        vm.deal(address(this), 1);
        (bool ok,) = address(hub).call{value: 1}(abi.encodePacked(INativeHub.openMany.selector, rows));
        check(!ok, 'a deposit above 96 bits');
        rows = abi.encodePacked(
            uint256(0x20), uint256(1), uint256(uint160(address(this))) | 1 << 255, uint256(uint160(payee)), uint256(1)
        );
        (ok,) = address(hub).call{value: 1}(abi.encodePacked(INativeHub.openMany.selector, rows));
        check(!ok, 'a voucher key above 160 bits');
        rows = abi.encodePacked(
            uint256(0x20), uint256(1), uint256(uint160(address(this))), uint256(uint160(payee)), uint256(1)
        );
        (ok,) = address(hub).call{value: 1}(abi.encodePacked(INativeHub.openMany.selector, rows));
        check(ok, 'the same row, clean');
    }

    /// @dev The table of payers holds 2^32 - 1. When it is full, new payers are refused and the others go on.
    function test_a_full_table_of_payers_refuses_new_ones_only() public {
        bytes32 countSlot = bytes32(uint256(4));
        equal(uint256(vm.load(address(hub), countSlot)), 1, 'the slot is the count');
        vm.store(address(hub), countSlot, bytes32(uint256(type(uint32).max)));
        vm.expectRevert();
        hub.enter();
        vm.deal(address(this), 1);
        vm.expectRevert();
        hub.open{value: 1}(address(this), payee);
        openAs(hub, payer, address(this), payee, 1 ether);
        equal(hub.channel(address(this), payee).owner, payer, 'an old payer opens');
    }
}
