// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub, INativeHub} from '../src/IHub.sol';
import {Base} from './Base.sol';

/// @title Gas of whole transactions
/// @notice With isolation every call of a test is a transaction of its own: intrinsic gas, calldata and
/// cold slots count. The figures are kept in snapshots/Hub.json and a run that measures others fails.
/// Unless a name says `first`, the caller has entered, the payee's credit is not zero and payees differ.
/// forge-config: default.isolate = true
contract GasTest is Base {
    INativeHub private hub;
    address private payer = addressOf('gas payer', 0);
    address private payee = addressOf('gas payee', 0);
    uint96 private constant DEPOSIT = 123.456789012345678901 ether;
    uint256 private constant CHANNELS = 1000;

    function setUp() public {
        hub = newNativeHub();
        vm.deal(payer, 1e6 ether);
    }

    function test_open() public {
        vm.prank(payer);
        hub.open{value: DEPOSIT}(vm.addr(keyOf('gas', 0)), payee);
        record('open, first of the payer');
        vm.prank(payer);
        hub.open{value: DEPOSIT}(vm.addr(keyOf('gas', 1)), payee);
        record('open');
    }

    function test_openMany() public {
        vm.prank(payer);
        hub.enter();
        record('enter');
        IHub.OpenRow[] memory rows = new IHub.OpenRow[](50);
        for (uint256 i = 0; i < 50; ++i) {
            rows[i] = IHub.OpenRow(vm.addr(keyOf('gas', i)), addressOf('gas payee', i), DEPOSIT);
        }
        vm.prank(payer);
        hub.openMany{value: 50 * uint256(DEPOSIT)}(rows);
        uint256 gas = record('openMany 50 distinct payees');
        check(gas <= 50 * 26_500, 'openMany of 50: at most 26,500 gas per channel');
    }

    function test_topUp() public {
        openAs(hub, payer, vm.addr(keyOf('gas', 0)), payee, DEPOSIT);
        vm.prank(payer);
        hub.topUp{value: DEPOSIT}(vm.addr(keyOf('gas', 0)), payee);
        record('topUp');
    }

    function test_settle_first() public {
        openAs(hub, payer, vm.addr(keyOf('gas', 0)), payee, DEPOSIT);
        bytes memory rows = signRow(hub, keyOf('gas', 0), payee, 1 ether + 1);
        hub.settle(payee, rows);
        record('settle 1, first credit of the payee');
    }

    function test_settle() public {
        openChannels(CHANNELS);
        settleRows(0, 1, 'settle 1, first capture of the channel and of the payee');
        settleRows(1, 1, 'settle 1');
        settleRows(2, 10, 'settle 10');
        uint256 gas = settleRows(12, 100, 'settle 100');
        check(gas <= 100 * 10_400, 'settle of 100: at most 10,400 gas per voucher');
    }

    function test_settle_1000() public {
        openChannels(CHANNELS + 1);
        settleRows(CHANNELS, 1, '');
        uint256 gas = settleRows(0, CHANNELS, 'settle 1000');
        check(gas <= 1000 * 10_100, 'settle of 1000: at most 10,100 gas per voucher');
    }

    function test_close() public {
        address voucherKey = vm.addr(keyOf('gas', 0));
        openChannels(3);
        settleRows(0, 1, '');
        // The owner's credit becomes non-zero, as it is for a payer whose channels close now and then.
        close(2, 'cooperativeClose 1, first credit of the owner');
        close(1, 'cooperativeClose 1');
        vm.prank(payer);
        hub.requestClose(voucherKey, payee);
        record('requestClose');
        vm.warp(block.timestamp + PERIOD);
        hub.withdraw(voucherKey, payee);
        record('withdraw');
        vm.prank(payer);
        hub.withdrawCredit(payer);
        record('withdrawCredit');
    }

    function close(uint256 index, string memory name) private {
        address[] memory voucherKeys = new address[](1);
        voucherKeys[0] = vm.addr(keyOf('gas', index));
        bytes memory rows = rowsOf(index, 1);
        vm.prank(payee);
        hub.cooperativeClose(voucherKeys, rows);
        record(name);
    }

    function openChannels(uint256 count) private {
        for (uint256 from = 0; from < count; from += 200) {
            uint256 size = count - from < 200 ? count - from : 200;
            IHub.OpenRow[] memory rows = new IHub.OpenRow[](size);
            for (uint256 i = 0; i < size; ++i) {
                rows[i] = IHub.OpenRow(vm.addr(keyOf('gas', from + i)), payee, DEPOSIT);
            }
            vm.prank(payer);
            hub.openMany{value: size * uint256(DEPOSIT)}(rows);
        }
    }

    function rowsOf(uint256 from, uint256 count) private view returns (bytes memory rows) {
        for (uint256 i = from; i < from + count; ++i) {
            // A random amount between one and nine BTT has no zero byte that a real one would lack.
            uint96 amount = uint96(between(uint256(keccak256(abi.encode(i))), 1 ether, 9 ether));
            rows = bytes.concat(rows, signRow(hub, keyOf('gas', i), payee, amount));
        }
    }

    function settleRows(uint256 from, uint256 count, string memory name) private returns (uint256 gas) {
        bytes memory rows = rowsOf(from, count);
        uint256 before = hub.credit(payee);
        hub.settle(payee, rows);
        if (bytes(name).length != 0) gas = record(name);
        check(hub.credit(payee) > before, 'the batch credited the payee');
        for (uint256 i = from; i < from + count; ++i) {
            check(hub.channel(vm.addr(keyOf('gas', i)), payee).settled != 0, 'each row was captured');
        }
    }

    /// @dev Keeps the gas of the last call under a name.
    function record(string memory name) private returns (uint256) {
        return vm.snapshotGasLastCall('Hub', name);
    }
}
