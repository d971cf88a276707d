// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub, INativeHub, ITokenHub} from '../src/IHub.sol';
import {Base} from './Base.sol';
import {PlainToken} from './Tokens.sol';

/// @title Gas of whole transactions
/// @notice With isolation every call of a test is a transaction of its own: intrinsic gas, calldata and
/// cold slots count. The figures of a form are kept in contracts/snapshots/<form>.json and a run that measures others
/// fails. Unless a name says `first`, the caller has entered, the payee's credit is not zero and payees differ.
abstract contract GasTest is Base {
    IHub internal hub;
    address internal payer = addressOf('gas payer', 0);
    address internal payee = addressOf('gas payee', 0);
    uint96 private constant DEPOSIT = 123.456789012345678901 ether;
    uint256 private constant CHANNELS = 1000;

    function form() internal pure virtual returns (string memory);
    function open(address voucherKey, address payee_, uint256 amount) internal virtual;
    function openMany(IHub.OpenRow[] memory rows, uint256 amount) internal virtual;
    function topUp(address voucherKey, address payee_, uint256 amount) internal virtual;

    /// @dev What one movement of money into the hub may cost beside the channels that it opens.
    function pullMax() internal pure virtual returns (uint256) {
        return 0;
    }

    function test_open() public {
        open(vm.addr(keyOf('gas', 0)), payee, DEPOSIT);
        record('open, first of the payer');
        open(vm.addr(keyOf('gas', 1)), payee, DEPOSIT);
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
        openMany(rows, 50 * uint256(DEPOSIT));
        uint256 gas = record('openMany 50 distinct payees');
        check(gas <= 50 * 26_500 + pullMax(), 'openMany of 50: at most 26,500 gas per channel, and the pull once');
    }

    function test_topUp() public {
        open(vm.addr(keyOf('gas', 0)), payee, DEPOSIT);
        topUp(vm.addr(keyOf('gas', 0)), payee, DEPOSIT);
        record('topUp');
    }

    function test_settle_first() public {
        open(vm.addr(keyOf('gas', 0)), payee, DEPOSIT);
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

    /// @dev What a worthless row costs whoever sends it.
    function test_settle_noise() public {
        bytes memory rows = new bytes(1000 * 76);
        for (uint256 at = 0; at < rows.length; at += 32) {
            bytes32 noise = keccak256(abi.encode(at));
            assembly ('memory-safe') {
                mstore(add(add(rows, 0x20), at), noise)
            }
        }
        hub.settle(payee, rows);
        record('settle 1000 rows of noise');
    }

    function test_settle_1000() public {
        openChannels(CHANNELS + 1);
        settleRows(CHANNELS, 1, '');
        uint256 gas = settleRows(0, CHANNELS, 'settle 1000');
        check(gas <= 1000 * 10_100, 'settle of 1000: at most 10,100 gas per voucher');
    }

    /// @dev The payee's credit is not zero from the first row on.
    function test_settleTicks() public {
        openChannels(105);
        settleRows(0, 1, '');
        uint256 one = settleTicks(1, 1, 1, 'settleTicks 1, count 1');
        settleTicks(2, 1, 64, 'settleTicks 1, count 64');
        settleTicks(3, 1, 256, 'settleTicks 1, count 256');
        uint256 most = settleTicks(4, 1, 1024, 'settleTicks 1, count 1024');
        check(most - one <= 1023 * 200, 'at most 200 gas for each count');
        settleTicks(5, 100, 64, 'settleTicks 100, count 64');
    }

    function settleTicks(uint256 from, uint256 rowCount, uint16 count, string memory name)
        private
        returns (uint256 gas)
    {
        bytes memory rows;
        for (uint256 i = from; i < from + rowCount; ++i) {
            uint256 random = uint256(keccak256(abi.encode(i)));
            // As in `rowsOf`: no byte is zero that a real one would not have. 16 KiB at 3 BTT a GiB.
            uint96 unit = uint96(between(random >> 128, 45e12, 46e12));
            Tick memory tick = tickOf(uint96(between(random, 1 ether, 9 ether)), unit, 1024, count, bytes32(random));
            rows = bytes.concat(rows, signTick(hub, keyOf('gas', i), payee, tick));
        }
        hub.settleTicks(payee, rows);
        gas = record(name);
        for (uint256 i = from; i < from + rowCount; ++i) {
            check(hub.channel(vm.addr(keyOf('gas', i)), payee).settled > 1 ether, 'each row was captured');
        }
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
            openMany(rows, size * uint256(DEPOSIT));
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
    function record(string memory name) internal returns (uint256) {
        return vm.snapshotGasLastCall(form(), name);
    }
}

/// @title Gas of the native form
/// forge-config: default.isolate = true
contract NativeGasTest is GasTest {
    INativeHub private nativeHub;

    function setUp() public {
        nativeHub = newNativeHub();
        hub = nativeHub;
        vm.deal(payer, 1e6 ether);
        // The counter of payers is written for the first time once in the life of a hub.
        vm.prank(addressOf('gas payer', 1));
        hub.enter();
        record('enter, first payer of the hub');
    }

    function form() internal pure override returns (string memory) {
        return 'NativeHub';
    }

    function open(address voucherKey, address payee_, uint256 amount) internal override {
        vm.prank(payer);
        nativeHub.open{value: amount}(voucherKey, payee_);
    }

    function openMany(IHub.OpenRow[] memory rows, uint256 amount) internal override {
        vm.prank(payer);
        nativeHub.openMany{value: amount}(rows);
    }

    function topUp(address voucherKey, address payee_, uint256 amount) internal override {
        vm.prank(payer);
        nativeHub.topUp{value: amount}(voucherKey, payee_);
    }
}

/// @title Gas of the token form with a plain token
/// @notice What moves money contains the token's own gas, so a dearer token costs more there. The payer holds
/// tokens and has approved them without limit, and the hub holds some of another payer's.
/// forge-config: default.isolate = true
contract TokenGasTest is GasTest {
    ITokenHub private tokenHub;

    function setUp() public {
        vm.warp(1_800_000_000);
        PlainToken token = new PlainToken();
        tokenHub = newTokenHub(address(token), PERIOD);
        hub = tokenHub;
        address other = addressOf('gas payer', 1);
        for (uint256 i = 0; i < 2; ++i) {
            address owner = addressOf('gas payer', i);
            token.mint(owner, 1e6 ether);
            vm.prank(owner);
            token.approve(address(hub), type(uint256).max);
        }
        token.mint(payee, 1);
        vm.prank(other);
        tokenHub.open(other, other, 1 ether);
    }

    function form() internal pure override returns (string memory) {
        return 'TokenHub';
    }

    function pullMax() internal pure override returns (uint256) {
        return 25_000;
    }

    function open(address voucherKey, address payee_, uint256 amount) internal override {
        vm.prank(payer);
        tokenHub.open(voucherKey, payee_, amount);
    }

    function openMany(IHub.OpenRow[] memory rows, uint256 amount) internal override {
        vm.prank(payer);
        tokenHub.openMany(rows, amount);
    }

    function topUp(address voucherKey, address payee_, uint256 amount) internal override {
        vm.prank(payer);
        tokenHub.topUp(voucherKey, payee_, amount);
    }
}
