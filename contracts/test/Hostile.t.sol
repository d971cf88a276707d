// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub, INativeHub} from '../src/IHub.sol';
import {Base} from './Base.sol';

/// @title Recipients that revert, waste or come back, and coin that is forced in
contract HostileTest is Base {
    INativeHub private hub;
    address private payer = addressOf('payer', 0);
    uint256 private key = keyOf('hostile', 0);

    function setUp() public {
        hub = newNativeHub();
    }

    /// @dev Gives `payee` a credit of 3 of 10 ether.
    function earn(address payee) private {
        openAs(hub, payer, vm.addr(key), payee, 10 ether);
        hub.settle(payee, signRow(hub, key, payee, 3 ether));
    }

    function test_a_recipient_that_reverts_blocks_only_itself() public {
        Hostile hostile = new Hostile(hub, Hostile.Way.Revert);
        address payee = addressOf('payee', 0);
        earn(address(hostile));
        openAs(hub, payer, vm.addr(key), payee, 10 ether);
        // One batch for the hostile payee, one for the other: neither is held up.
        hub.settle(address(hostile), signRow(hub, key, address(hostile), 4 ether));
        hub.settle(payee, signRow(hub, key, payee, 5 ether));
        vm.expectRevert(IHub.TransferFailed.selector);
        hostile.take(address(hostile));
        equal(hub.credit(address(hostile)), 4 ether, 'its credit waits');
        vm.prank(payee);
        hub.withdrawCredit(payee);
        equal(payee.balance, 5 ether, 'the other is paid');
        hostile.take(payee);
        equal(payee.balance, 9 ether, 'and it can have itself paid elsewhere');
    }

    function test_an_owner_that_reverts_cannot_hold_up_a_close() public {
        Hostile hostile = new Hostile(hub, Hostile.Way.Revert);
        address payee = addressOf('payee', 0);
        openAs(hub, address(hostile), vm.addr(key), payee, 10 ether);
        address[] memory list = new address[](1);
        list[0] = vm.addr(key);
        vm.prank(payee);
        hub.cooperativeClose(list, '');
        equal(hub.credit(address(hostile)), 10 ether, 'the remainder waits');
    }

    function test_a_recipient_that_comes_back_finds_nothing() public {
        for (uint256 way = uint256(Hostile.Way.WithdrawCredit); way <= uint256(Hostile.Way.Settle); ++way) {
            hub = newNativeHub();
            Hostile hostile = new Hostile(hub, Hostile.Way(way));
            earn(address(hostile));
            hostile.prepare(vm.addr(key), signRow(hub, key, address(hostile), 3 ether));
            hostile.take(address(hostile));
            check(hostile.entered(), 'it came back');
            uint256 extra = way == uint256(Hostile.Way.Open) ? 1 ether : 0;
            equal(address(hostile).balance, 3 ether - extra, 'paid once');
            equal(address(hub).balance, 7 ether + extra, 'the rest stays');
            // By then a cooperative close from inside has turned the remainder into the payer's credit.
            uint256 owed = hub.credit(payer) + hub.credit(address(hostile));
            IHub.ChannelView memory view_ = hub.channel(vm.addr(key), address(hostile));
            if (view_.closeAt != TOMBSTONE) owed += view_.deposit - view_.settled;
            owed += hub.channel(address(0x77), address(0x78)).deposit;
            equal(address(hub).balance, owed, 'the hub holds what it owes');
        }
    }

    function test_coin_forced_in_changes_no_rule() public {
        address payee = addressOf('payee', 0);
        earn(payee);
        vm.deal(address(this), 2 ether);
        new Bomb{value: 2 ether}(payable(address(hub)));
        equal(address(hub).balance, 12 ether, 'forced in');
        openAs(hub, payer, vm.addr(keyOf('hostile', 1)), payee, 1 ether);
        vm.prank(payee);
        hub.withdrawCredit(payee);
        address[] memory list = new address[](2);
        list[0] = vm.addr(key);
        list[1] = vm.addr(keyOf('hostile', 1));
        vm.prank(payee);
        hub.cooperativeClose(list, '');
        vm.prank(payer);
        hub.withdrawCredit(payer);
        equal(address(hub).balance, 2 ether, 'all is paid, the forced coin remains');
    }

    /// @dev Precompiles and other low addresses as payees: the id goes through a mapping, so no pair of
    /// addresses reaches the slot of something else.
    function test_payees_from_one_to_sixteen() public {
        for (uint96 number = 1; number <= 16; ++number) {
            address payee = address(uint160(number));
            openAs(hub, payer, vm.addr(key), payee, 10 ether);
            hub.settle(payee, signRow(hub, key, payee, 1 ether + number));
            equal(hub.credit(payee), 1 ether + number, 'credit');
            equal(hub.channel(vm.addr(key), payee).settled, 1 ether + number, 'settled');
            address to = addressOf('cold', number);
            vm.prank(payee);
            hub.withdrawCredit(to);
            equal(to.balance, 1 ether + number, 'paid');
        }
        equal(hub.ownerIndex(payer), 1, 'the payer table is untouched');
        equal(hub.owners(1), payer, 'and so is its inverse');
    }

    /// @dev A voucher key may be any address, low ones too, which nobody can sign for.
    function testFuzz_low_voucher_keys_cannot_be_drained(uint8 low, bytes32 r, bytes32 vs) public {
        address voucherKey = address(uint160(between(low, 1, 64)));
        address payee = addressOf('payee', 0);
        openAs(hub, payer, voucherKey, payee, 10 ether);
        hub.settle(payee, abi.encodePacked(uint96(1 ether), r, vs));
        hub.settle(payee, abi.encodePacked(uint96(1 ether), bytes32(0), bytes32(uint256(27))));
        equal(hub.channel(voucherKey, payee).settled, 0, 'nothing settled');
    }
}

/// @title A recipient with bad manners
contract Hostile {
    enum Way {
        Revert,
        WithdrawCredit,
        CooperativeClose,
        Open,
        Settle
    }

    INativeHub private immutable hub;
    Way private immutable way;
    bool public entered;
    address private voucherKey;
    bytes private row;

    constructor(INativeHub hub_, Way way_) {
        hub = hub_;
        way = way_;
    }

    function prepare(address voucherKey_, bytes calldata row_) external {
        voucherKey = voucherKey_;
        row = row_;
    }

    function take(address to) external {
        hub.withdrawCredit(to);
    }

    receive() external payable {
        require(way != Way.Revert, 'no thanks');
        if (entered) return;
        entered = true;
        if (way == Way.WithdrawCredit) {
            try hub.withdrawCredit(address(this)) {
                revert('paid twice');
            } catch {}
        }
        if (way == Way.CooperativeClose) {
            address[] memory list = new address[](1);
            list[0] = voucherKey;
            hub.cooperativeClose(list, row);
        }
        if (way == Way.Open) hub.open{value: 1 ether}(address(0x77), address(0x78));
        if (way == Way.Settle) hub.settle(address(this), row);
    }
}

/// @title Forces its coin into another contract
contract Bomb {
    constructor(address payable target) payable {
        selfdestruct(target);
    }
}
