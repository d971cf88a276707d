// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub, INativeHub} from '../src/IHub.sol';
import {Base} from './Base.sol';

/// @title Every verb, revert, view and event of the native form
contract NativeHubTest is Base {
    INativeHub private hub;
    address private payer = addressOf('payer', 0);
    address private stranger = addressOf('stranger', 0);
    address private payee = addressOf('payee', 0);
    uint256 private key = keyOf('unit', 0);
    address private voucherKey;

    function setUp() public {
        hub = newNativeHub();
        voucherKey = vm.addr(key);
        vm.deal(payer, 1000 ether);
        vm.deal(stranger, 1000 ether);
    }

    function openOne(uint96 deposit) private {
        vm.prank(payer);
        hub.open{value: deposit}(voucherKey, payee);
    }

    function expectChannel(uint256 deposit, uint256 settled, uint256 closeAt, address owner) private view {
        IHub.ChannelView memory view_ = hub.channel(voucherKey, payee);
        equal(view_.deposit, deposit, 'deposit');
        equal(view_.settled, settled, 'settled');
        equal(view_.closeAt, closeAt, 'closeAt');
        equal(view_.owner, owner, 'owner');
    }

    function keys() private view returns (address[] memory list) {
        list = new address[](1);
        list[0] = voucherKey;
    }

    // Deployment

    function test_constructor_refuses_a_period_of_zero_or_over_a_year() public {
        vm.expectRevert(IHub.BadChallengePeriod.selector);
        newNativeHub(0);
        vm.expectRevert(IHub.BadChallengePeriod.selector);
        newNativeHub(365 days + 1);
        equal(newNativeHub(365 days).challengePeriod(), 365 days, 'a year is allowed');
    }

    function test_views_of_the_deployment() public view {
        equal(hub.challengePeriod(), PERIOD, 'period');
        equal(hub.asset(), address(0), 'asset');
        equal(hub.owners(0), address(0), 'index zero is nobody');
        expectChannel(0, 0, 0, address(0));
        equal(hub.channelId(voucherKey, payee), keccak256(abi.encodePacked(voucherKey, payee)), 'id');
    }

    function test_domain() public {
        (bytes1 fields, string memory name, string memory version, uint256 chainId, address verifying, bytes32 salt, uint256[] memory extensions) =
            hub.eip712Domain();
        equal(uint8(fields), 0x0f, 'fields');
        equal(salt, bytes32(0), 'salt');
        equal(extensions.length, 0, 'extensions');
        equal(verifying, address(hub), 'verifying contract');
        equal(chainId, block.chainid, 'chain id');
        bytes32 typeHash =
            keccak256('EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)');
        bytes32 expected =
            keccak256(abi.encode(typeHash, keccak256(bytes(name)), keccak256(bytes(version)), chainId, verifying));
        equal(hub.domainSeparator(), expected, 'separator');
        equal(keccak256(bytes(name)), keccak256('Piecework'), 'name');
        equal(keccak256(bytes(version)), keccak256('1'), 'version');
        vm.chainId(1029);
        check(hub.domainSeparator() != expected, 'a fork has a separator of its own');
        expected = keccak256(
            abi.encode(typeHash, keccak256(bytes(name)), keccak256(bytes(version)), uint256(1029), verifying)
        );
        equal(hub.domainSeparator(), expected, 'the separator of the fork');
    }

    function test_a_voucher_of_one_chain_is_nothing_on_a_fork() public {
        openOne(10 ether);
        bytes memory row = signRow(hub, key, payee, 1 ether);
        vm.chainId(1029);
        hub.settle(payee, row);
        expectChannel(10 ether, 0, 0, payer);
        hub.settle(payee, signRow(hub, key, payee, 1 ether));
        expectChannel(10 ether, 1 ether, 0, payer);
    }

    // enter

    function test_enter_gives_one_index_for_ever() public {
        vm.prank(payer);
        equal(hub.enter(), 1, 'first');
        vm.prank(stranger);
        equal(hub.enter(), 2, 'second');
        vm.prank(payer);
        equal(hub.enter(), 1, 'again');
        equal(hub.owners(1), payer, 'owners');
        equal(hub.ownerIndex(stranger), 2, 'ownerIndex');
        equal(hub.ownerIndex(payee), 0, 'none');
    }

    // open

    function test_open() public {
        vm.expectEmit(true, true, true, true, address(hub));
        emit IHub.Opened(payer, voucherKey, payee, 5 ether);
        openOne(5 ether);
        expectChannel(5 ether, 0, 0, payer);
        equal(hub.ownerIndex(payer), 1, 'the payer has entered');
        equal(address(hub).balance, 5 ether, 'balance');
    }

    function test_open_refuses_zero_addresses_zero_and_too_much() public {
        vm.deal(payer, 1 << 100);
        vm.startPrank(payer);
        vm.expectRevert(IHub.ZeroAddress.selector);
        hub.open{value: 1}(address(0), payee);
        vm.expectRevert(IHub.ZeroAddress.selector);
        hub.open{value: 1}(voucherKey, address(0));
        vm.expectRevert(IHub.ZeroDeposit.selector);
        hub.open(voucherKey, payee);
        vm.expectRevert(IHub.AmountTooLarge.selector);
        hub.open{value: 1 << 96}(voucherKey, payee);
        hub.open{value: type(uint96).max}(voucherKey, payee);
        vm.stopPrank();
        expectChannel(type(uint96).max, 0, 0, payer);
    }

    function test_open_refuses_a_taken_slot_open_or_closed() public {
        openOne(1 ether);
        vm.expectRevert(IHub.ChannelExists.selector);
        openOne(1 ether);
        vm.expectRevert(IHub.ChannelExists.selector);
        vm.prank(stranger);
        hub.open{value: 1}(voucherKey, payee);
        vm.prank(payee);
        hub.cooperativeClose(keys(), '');
        vm.expectRevert(IHub.ChannelExists.selector);
        openOne(1 ether);
    }

    // openMany

    function test_openMany_skips_what_cannot_be_opened_and_credits_it() public {
        vm.prank(stranger);
        hub.open{value: 1}(voucherKey, payee);
        IHub.OpenRow[] memory rows = new IHub.OpenRow[](7);
        address other = addressOf('other key', 0);
        rows[0] = IHub.OpenRow(voucherKey, payee, 1 ether); // taken by dust
        rows[1] = IHub.OpenRow(other, payee, 2 ether); // good
        rows[2] = IHub.OpenRow(other, payee, 4 ether); // taken by the row before
        rows[3] = IHub.OpenRow(other, stranger, 0); // nothing in it
        rows[4] = IHub.OpenRow(address(0), payee, 8 ether);
        rows[5] = IHub.OpenRow(other, address(0), 16 ether);
        rows[6] = IHub.OpenRow(other, stranger, 32 ether); // good
        vm.recordLogs();
        vm.prank(payer);
        hub.openMany{value: 63 ether}(rows);
        equal(vm.getRecordedLogs().length, 2, 'one event for each opened row');
        equal(hub.credit(payer), 29 ether, 'the skipped deposits');
        equal(hub.channel(other, payee).deposit, 2 ether, 'second row');
        equal(hub.channel(other, stranger).deposit, 32 ether, 'last row');
        equal(hub.channel(other, stranger).owner, payer, 'owner');
        expectChannel(1, 0, 0, stranger);
        equal(hub.channel(address(0), payee).deposit, 0, 'zero voucher key');
        // Later ones add to the credit, and a closed channel is taken too.
        vm.prank(payee);
        hub.cooperativeClose(keys(), '');
        IHub.OpenRow[] memory closed = new IHub.OpenRow[](1);
        closed[0] = IHub.OpenRow(voucherKey, payee, 3 ether);
        vm.prank(payer);
        hub.openMany{value: 3 ether}(closed);
        equal(hub.credit(payer), 32 ether, 'added');
        expectChannel(1, 0, TOMBSTONE, stranger);
    }

    function test_openMany_refuses_a_wrong_sum() public {
        IHub.OpenRow[] memory rows = new IHub.OpenRow[](2);
        rows[0] = IHub.OpenRow(voucherKey, payee, 1 ether);
        rows[1] = IHub.OpenRow(voucherKey, stranger, type(uint96).max);
        vm.startPrank(payer);
        vm.expectRevert(IHub.WrongValue.selector);
        hub.openMany{value: 1 ether}(rows);
        rows[1].deposit = 1;
        vm.expectRevert(IHub.WrongValue.selector);
        hub.openMany{value: 1 ether}(rows);
        vm.expectRevert(IHub.WrongValue.selector);
        hub.openMany{value: 1 ether + 2}(rows);
        vm.expectRevert(IHub.WrongValue.selector);
        hub.openMany{value: 1}(new IHub.OpenRow[](0));
        vm.stopPrank();
    }

    // topUp

    function test_topUp_raises_and_cancels_a_pending_close() public {
        openOne(1 ether);
        vm.startPrank(payer);
        hub.requestClose(voucherKey, payee);
        vm.expectEmit(true, true, true, true, address(hub));
        emit IHub.ToppedUp(voucherKey, payee, 3 ether);
        hub.topUp{value: 2 ether}(voucherKey, payee);
        vm.stopPrank();
        expectChannel(3 ether, 0, 0, payer);
        vm.warp(block.timestamp + 2 * PERIOD);
        vm.expectRevert(IHub.CloseNotRequested.selector);
        hub.withdraw(voucherKey, payee);
    }

    function test_topUp_refuses() public {
        vm.deal(payer, 1 << 100);
        vm.prank(payer);
        vm.expectRevert(IHub.UnknownChannel.selector);
        hub.topUp{value: 1}(voucherKey, payee);
        openOne(1 ether);
        // A stranger that never entered has index zero, as an empty slot has.
        vm.prank(stranger);
        vm.expectRevert(IHub.NotOwner.selector);
        hub.topUp{value: 1}(voucherKey, payee);
        vm.startPrank(payer);
        vm.expectRevert(IHub.ZeroDeposit.selector);
        hub.topUp(voucherKey, payee);
        vm.expectRevert(IHub.AmountTooLarge.selector);
        hub.topUp{value: (1 << 96) - 1 ether}(voucherKey, payee);
        vm.expectRevert(IHub.AmountTooLarge.selector);
        hub.topUp{value: 1 << 96}(voucherKey, payee);
        hub.topUp{value: (1 << 96) - 1 ether - 1}(voucherKey, payee);
        vm.stopPrank();
        expectChannel(type(uint96).max, 0, 0, payer);
        vm.prank(payee);
        hub.cooperativeClose(keys(), '');
        vm.prank(payer);
        vm.expectRevert(IHub.ChannelClosed.selector);
        hub.topUp{value: 1}(voucherKey, payee);
        expectChannel(type(uint96).max, 0, TOMBSTONE, payer);
    }

    // cooperativeClose

    function test_cooperativeClose_settles_and_returns_the_remainder() public {
        openOne(10 ether);
        vm.expectEmit(true, true, true, true, address(hub));
        emit IHub.Settled(payee, 4 ether);
        vm.expectEmit(true, true, true, true, address(hub));
        emit IHub.Closed(voucherKey, payee, 4 ether, 6 ether);
        bytes memory row = signRow(hub, key, payee, 4 ether);
        vm.prank(payee);
        hub.cooperativeClose(keys(), row);
        expectChannel(10 ether, 4 ether, TOMBSTONE, payer);
        equal(hub.credit(payee), 4 ether, 'payee');
        equal(hub.credit(payer), 6 ether, 'payer');
    }

    function test_cooperativeClose_by_another_closes_nothing() public {
        openOne(10 ether);
        bytes memory row = signRow(hub, key, payee, 4 ether);
        vm.prank(payer);
        hub.cooperativeClose(keys(), row);
        expectChannel(10 ether, 0, 0, payer);
    }

    function test_cooperativeClose_skips_unknown_closed_and_repeated_keys() public {
        openOne(10 ether);
        address[] memory list = new address[](4);
        list[0] = addressOf('unknown', 0);
        list[1] = voucherKey;
        list[2] = voucherKey;
        list[3] = address(0);
        vm.startPrank(payee);
        vm.recordLogs();
        hub.cooperativeClose(list, '');
        hub.cooperativeClose(list, '');
        equal(vm.getRecordedLogs().length, 1, 'one event for the one that closed');
        vm.expectRevert(IHub.BadRows.selector);
        hub.cooperativeClose(list, hex'00');
        vm.stopPrank();
        expectChannel(10 ether, 0, TOMBSTONE, payer);
        equal(hub.credit(payer), 10 ether, 'returned once');
        // A name without a channel does not become a tombstone, so it can still be opened.
        equal(hub.channel(addressOf('unknown', 0), payee).closeAt, 0, 'unknown');
        openAs(hub, payer, addressOf('unknown', 0), payee, 1);
    }

    function test_cooperativeClose_of_a_used_up_channel_and_of_one_with_a_pending_close() public {
        openOne(10 ether);
        vm.prank(payer);
        hub.requestClose(voucherKey, payee);
        bytes memory row = signRow(hub, key, payee, 11 ether);
        vm.prank(payee);
        hub.cooperativeClose(keys(), row);
        expectChannel(10 ether, 10 ether, TOMBSTONE, payer);
        equal(hub.credit(payer), 0, 'nothing is left');
        equal(hub.credit(payee), 10 ether, 'clamped to the deposit');
    }

    // requestClose and withdraw

    function test_requestClose_twice_changes_nothing() public {
        openOne(1 ether);
        uint256 due = block.timestamp + PERIOD;
        vm.startPrank(payer);
        vm.expectEmit(true, true, true, true, address(hub));
        emit IHub.CloseRequested(voucherKey, payee, uint32(due));
        hub.requestClose(voucherKey, payee);
        vm.warp(due - 10);
        vm.recordLogs();
        hub.requestClose(voucherKey, payee);
        vm.stopPrank();
        equal(vm.getRecordedLogs().length, 0, 'no event');
        expectChannel(1 ether, 0, due, payer);
    }

    function test_requestClose_refuses() public {
        vm.expectRevert(IHub.UnknownChannel.selector);
        hub.requestClose(voucherKey, payee);
        openOne(1 ether);
        vm.expectRevert(IHub.NotOwner.selector);
        hub.requestClose(voucherKey, payee);
        // Neither the payee nor the voucher key may ask: the one closes at once, the other only signs.
        vm.prank(payee);
        vm.expectRevert(IHub.NotOwner.selector);
        hub.requestClose(voucherKey, payee);
        vm.prank(voucherKey);
        vm.expectRevert(IHub.NotOwner.selector);
        hub.requestClose(voucherKey, payee);
        vm.warp(uint256(TOMBSTONE) - PERIOD);
        vm.prank(payer);
        vm.expectRevert(IHub.BadChallengePeriod.selector);
        hub.requestClose(voucherKey, payee);
        vm.warp(uint256(TOMBSTONE) - PERIOD - 1);
        vm.prank(payer);
        hub.requestClose(voucherKey, payee);
        expectChannel(1 ether, 0, TOMBSTONE - 1, payer);
        vm.prank(payee);
        hub.cooperativeClose(keys(), '');
        vm.prank(payer);
        vm.expectRevert(IHub.ChannelClosed.selector);
        hub.requestClose(voucherKey, payee);
    }

    function test_withdraw_by_anyone_once_due() public {
        openOne(10 ether);
        hub.settle(payee, signRow(hub, key, payee, 3 ether));
        vm.prank(payer);
        hub.requestClose(voucherKey, payee);
        uint256 due = block.timestamp + PERIOD;
        vm.warp(due - 1);
        vm.expectRevert(IHub.CloseNotDue.selector);
        hub.withdraw(voucherKey, payee);
        // Until the withdrawal lands, the payee can still raise its credit.
        vm.warp(due);
        hub.settle(payee, signRow(hub, key, payee, 5 ether));
        vm.expectEmit(true, true, true, true, address(hub));
        emit IHub.Closed(voucherKey, payee, 5 ether, 5 ether);
        vm.prank(stranger);
        hub.withdraw(voucherKey, payee);
        expectChannel(10 ether, 5 ether, TOMBSTONE, payer);
        equal(hub.credit(payer), 5 ether, 'the owner gets it, whoever calls');
        equal(hub.credit(stranger), 0, 'the caller gets nothing');
        vm.expectRevert(IHub.ChannelClosed.selector);
        hub.withdraw(voucherKey, payee);
        hub.settle(payee, signRow(hub, key, payee, 9 ether));
        expectChannel(10 ether, 5 ether, TOMBSTONE, payer);
    }

    function test_withdraw_refuses_without_a_request() public {
        vm.expectRevert(IHub.UnknownChannel.selector);
        hub.withdraw(voucherKey, payee);
        openOne(1 ether);
        vm.expectRevert(IHub.CloseNotRequested.selector);
        hub.withdraw(voucherKey, payee);
    }

    // withdrawCredit

    function test_withdrawCredit() public {
        openOne(10 ether);
        hub.settle(payee, signRow(hub, key, payee, 3 ether));
        address to = addressOf('cold', 0);
        vm.startPrank(payee);
        vm.expectRevert(IHub.ZeroAddress.selector);
        hub.withdrawCredit(address(0));
        // The hub takes no coin outside its verbs, so a payment to the hub itself fails.
        vm.expectRevert(IHub.TransferFailed.selector);
        hub.withdrawCredit(address(hub));
        vm.expectEmit(true, true, true, true, address(hub));
        emit IHub.CreditWithdrawn(payee, to, 3 ether);
        hub.withdrawCredit(to);
        equal(to.balance, 3 ether, 'paid');
        equal(hub.credit(payee), 0, 'credit is gone');
        vm.expectRevert(IHub.NoCredit.selector);
        hub.withdrawCredit(to);
        vm.stopPrank();
        equal(address(hub).balance, 7 ether, 'the rest stays');
    }

    function test_the_hub_takes_no_plain_coin() public {
        (bool ok,) = address(hub).call{value: 1}('');
        check(!ok, 'receive');
        (ok,) = address(hub).call{value: 1}(hex'12345678');
        check(!ok, 'fallback');
        (ok,) = address(hub).call{value: 1}(abi.encodeCall(IHub.settle, (payee, '')));
        check(!ok, 'settle is not payable');
    }

    // Views

    function test_readChannels_keeps_the_order() public {
        openOne(1 ether);
        address[] memory list = new address[](3);
        list[0] = addressOf('unknown', 0);
        list[1] = voucherKey;
        list[2] = voucherKey;
        IHub.ChannelView[] memory views = hub.readChannels(payee, list);
        equal(views.length, 3, 'length');
        equal(views[0].deposit, 0, 'unknown');
        equal(views[0].owner, address(0), 'unknown owner');
        equal(views[1].deposit, 1 ether, 'known');
        equal(views[2].owner, payer, 'twice');
        equal(hub.readChannels(payee, new address[](0)).length, 0, 'none');
    }

    function test_a_contract_may_own_channels() public {
        hub.open{value: 1 ether}(voucherKey, payee);
        hub.requestClose(voucherKey, payee);
        vm.warp(block.timestamp + PERIOD);
        hub.withdraw(voucherKey, payee);
        equal(hub.credit(address(this)), 1 ether, 'credit');
    }
}
