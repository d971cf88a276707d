// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub, ITokenHub} from '../src/IHub.sol';
import {Base} from './Base.sol';
import {HookToken, PlainToken, SilentToken, WeirdToken} from './Tokens.sol';

/// @title The token form: the same rules, exact amounts, and tokens with bad habits
contract TokenHubTest is Base {
    WeirdToken private token;
    ITokenHub private hub;
    address private payer = addressOf('payer', 0);
    address private payee = addressOf('payee', 0);
    uint256 private key = keyOf('token', 0);
    address private voucherKey;

    function setUp() public {
        vm.warp(1_800_000_000);
        token = new WeirdToken();
        hub = newTokenHub(address(token), PERIOD);
        voucherKey = vm.addr(key);
        token.mint(payer, 1000);
        vm.prank(payer);
        token.approve(address(hub), type(uint256).max);
    }

    function openOne(uint256 amount) private {
        vm.prank(payer);
        hub.open(voucherKey, payee, amount);
    }

    function test_constructor() public {
        equal(hub.asset(), address(token), 'asset');
        equal(hub.challengePeriod(), PERIOD, 'period');
        vm.expectRevert(ITokenHub.NotAToken.selector);
        newTokenHub(address(0), PERIOD);
        vm.expectRevert(ITokenHub.NotAToken.selector);
        newTokenHub(payer, PERIOD);
        vm.expectRevert(IHub.BadChallengePeriod.selector);
        newTokenHub(address(token), 0);
    }

    function test_the_whole_life_of_a_channel() public {
        vm.expectEmit(true, true, true, true, address(hub));
        emit IHub.Opened(payer, voucherKey, payee, 100);
        openOne(100);
        vm.prank(payer);
        hub.topUp(voucherKey, payee, 20);
        hub.settle(payee, signRow(hub, key, payee, 50));
        vm.prank(payer);
        hub.requestClose(voucherKey, payee);
        vm.warp(block.timestamp + PERIOD);
        hub.withdraw(voucherKey, payee);
        vm.prank(payer);
        hub.withdrawCredit(payer);
        vm.prank(payee);
        hub.withdrawCredit(payee);
        equal(token.balanceOf(payee), 50, 'payee');
        equal(token.balanceOf(payer), 950, 'payer');
        equal(token.balanceOf(address(hub)), 0, 'hub');
    }

    function test_openMany() public {
        IHub.OpenRow[] memory rows = new IHub.OpenRow[](3);
        rows[0] = IHub.OpenRow(voucherKey, payee, 10);
        rows[1] = IHub.OpenRow(voucherKey, payee, 20);
        rows[2] = IHub.OpenRow(voucherKey, payer, 30);
        vm.startPrank(payer);
        vm.expectRevert(IHub.WrongValue.selector);
        hub.openMany(rows, 59);
        hub.openMany(rows, 60);
        vm.stopPrank();
        equal(token.balanceOf(address(hub)), 60, 'pulled once');
        equal(hub.credit(payer), 20, 'the skipped row');
        equal(hub.channel(voucherKey, payer).deposit, 30, 'opened');
    }

    function test_refusals_that_need_no_token() public {
        vm.startPrank(payer);
        vm.expectRevert(IHub.ZeroDeposit.selector);
        hub.open(voucherKey, payee, 0);
        vm.expectRevert(IHub.AmountTooLarge.selector);
        hub.open(voucherKey, payee, 1 << 96);
        vm.expectRevert(IHub.ZeroAddress.selector);
        hub.open(address(0), payee, 1);
        hub.open(voucherKey, payee, 100);
        vm.expectRevert(IHub.AmountTooLarge.selector);
        hub.topUp(voucherKey, payee, type(uint256).max);
        vm.expectRevert(IHub.ZeroDeposit.selector);
        hub.topUp(voucherKey, payee, 0);
        vm.stopPrank();
        (bool ok,) = address(hub).call{value: 1}(abi.encodeCall(ITokenHub.open, (voucherKey, payer, 1)));
        check(!ok, 'the token form takes no coin');
    }

    function test_without_allowance_or_balance_nothing_opens() public {
        address poor = addressOf('poor', 0);
        vm.prank(poor);
        vm.expectRevert(IHub.TransferFailed.selector);
        hub.open(voucherKey, payee, 1);
        vm.prank(poor);
        token.approve(address(hub), 10);
        vm.prank(poor);
        vm.expectRevert(IHub.TransferFailed.selector);
        hub.open(voucherKey, payee, 1);
        equal(hub.channel(voucherKey, payee).deposit, 0, 'no channel');
    }

    function test_a_token_that_returns_nothing_works() public {
        SilentToken silent = new SilentToken();
        ITokenHub silentHub = newTokenHub(address(silent), PERIOD);
        silent.mint(payer, 100);
        vm.prank(payer);
        silentHub.open(voucherKey, payee, 100);
        silentHub.settle(payee, signRow(silentHub, key, payee, 40));
        vm.prank(payee);
        silentHub.withdrawCredit(payee);
        equal(silent.balanceOf(payee), 40, 'paid');
    }

    // Each bad habit, on the way in and on the way out. After a refusal the sums are as before.

    function refuses(WeirdToken.Habit habit, bytes4 inward, bytes4 outward) private {
        openOne(100);
        hub.settle(payee, signRow(hub, key, payee, 60));
        token.become(habit);
        vm.startPrank(payer);
        vm.expectRevert(inward);
        hub.open(addressOf('second key', 0), payee, 100);
        vm.expectRevert(inward);
        hub.topUp(voucherKey, payee, 100);
        IHub.OpenRow[] memory rows = new IHub.OpenRow[](1);
        rows[0] = IHub.OpenRow(addressOf('second key', 0), payee, 100);
        vm.expectRevert(inward);
        hub.openMany(rows, 100);
        vm.stopPrank();
        vm.prank(payee);
        vm.expectRevert(outward);
        hub.withdrawCredit(payee);
        equal(hub.credit(payee), 60, 'the credit is still there');
        equal(hub.channel(voucherKey, payee).deposit, 100, 'the deposit is as before');
        equal(token.balanceOf(address(hub)), 100, 'the hub holds what it owes');
        token.become(WeirdToken.Habit.None);
        vm.prank(payee);
        hub.withdrawCredit(payee);
        equal(token.balanceOf(payee), 60, 'paid once the token behaves');
    }

    function test_fee_on_transfer_is_refused_inward() public {
        openOne(100);
        token.become(WeirdToken.Habit.FeeOnTransfer);
        vm.prank(payer);
        vm.expectRevert(ITokenHub.WrongAmountMoved.selector);
        hub.open(addressOf('second key', 0), payee, 100);
        // Outward the fee is the recipient's: the hub loses what it owed, and its sums hold.
        hub.settle(payee, signRow(hub, key, payee, 60));
        vm.prank(payee);
        hub.withdrawCredit(payee);
        equal(token.balanceOf(address(hub)), 40, 'the hub holds what it owes');
    }

    function test_fee_on_top_is_refused_outward() public {
        openOne(100);
        hub.settle(payee, signRow(hub, key, payee, 60));
        token.become(WeirdToken.Habit.FeeOnTop);
        vm.prank(payee);
        vm.expectRevert(ITokenHub.WrongAmountMoved.selector);
        hub.withdrawCredit(payee);
        equal(hub.credit(payee), 60, 'the credit is still there');
    }

    function test_false_is_refused() public {
        refuses(WeirdToken.Habit.ReturnsFalse, IHub.TransferFailed.selector, IHub.TransferFailed.selector);
    }

    function test_false_is_refused_even_where_money_moved() public {
        refuses(WeirdToken.Habit.ReturnsFalseButMoves, IHub.TransferFailed.selector, IHub.TransferFailed.selector);
    }

    function test_moving_nothing_is_refused() public {
        refuses(WeirdToken.Habit.MovesNothing, ITokenHub.WrongAmountMoved.selector, ITokenHub.WrongAmountMoved.selector);
    }

    function test_a_paused_token_is_refused() public {
        refuses(WeirdToken.Habit.Paused, IHub.TransferFailed.selector, IHub.TransferFailed.selector);
    }

    /// @dev A revert without a word must not pass for a token that returns nothing.
    function test_a_token_that_reverts_silently_is_refused() public {
        refuses(WeirdToken.Habit.PausedSilently, IHub.TransferFailed.selector, IHub.TransferFailed.selector);
    }

    function test_a_token_that_lost_its_code_moves_nothing() public {
        openOne(100);
        hub.settle(payee, signRow(hub, key, payee, 60));
        vm.etch(address(token), '');
        vm.prank(payer);
        vm.expectRevert();
        hub.topUp(voucherKey, payee, 1);
        vm.prank(payee);
        vm.expectRevert();
        hub.withdrawCredit(payee);
        equal(hub.credit(payee), 60, 'still owed');
        equal(hub.channel(voucherKey, payee).deposit, 100, 'the deposit is as before');
    }

    function test_a_short_answer_is_refused() public {
        refuses(WeirdToken.Habit.ShortAnswer, IHub.TransferFailed.selector, IHub.TransferFailed.selector);
    }

    function test_an_answer_other_than_true_is_refused() public {
        refuses(WeirdToken.Habit.AnswerTwo, IHub.TransferFailed.selector, IHub.TransferFailed.selector);
    }

    function test_a_bonus_is_refused_inward() public {
        token.become(WeirdToken.Habit.Bonus);
        vm.prank(payer);
        vm.expectRevert(ITokenHub.WrongAmountMoved.selector);
        hub.open(voucherKey, payee, 100);
    }

    /// @dev A rebase that takes from the hub cannot be refused, but nobody is paid more than the hub has.
    function test_after_a_negative_rebase_payments_stop_where_the_money_stops() public {
        openOne(100);
        hub.settle(payee, signRow(hub, key, payee, 60));
        token.rebase(address(hub), 59);
        vm.prank(payee);
        vm.expectRevert(IHub.TransferFailed.selector);
        hub.withdrawCredit(payee);
        equal(hub.credit(payee), 60, 'still owed');
    }

    function test_a_payment_to_the_hub_itself_is_refused() public {
        openOne(100);
        hub.settle(payee, signRow(hub, key, payee, 60));
        vm.prank(payee);
        vm.expectRevert(ITokenHub.WrongAmountMoved.selector);
        hub.withdrawCredit(address(hub));
    }

    function test_tokens_forced_in_change_nothing() public {
        openOne(100);
        token.mint(address(hub), 7);
        vm.prank(payer);
        hub.topUp(voucherKey, payee, 10);
        equal(hub.channel(voucherKey, payee).deposit, 110, 'deposit');
        equal(token.balanceOf(address(hub)), 117, 'balance');
    }

    /// @dev A token with hooks lets the payer act in the middle of a transfer. Every verb that moves money
    /// must refuse, else one transfer could be measured twice.
    function test_hooks_cannot_enter_verbs_that_move_money() public {
        HookToken hooks = new HookToken();
        ITokenHub hookHub = newTokenHub(address(hooks), PERIOD);
        HookedPayer hooked = new HookedPayer(hookHub, hooks);
        hooks.mint(address(hooked), 1000);
        for (uint256 way = 0; way < 4; ++way) {
            hooked.run(way);
            equal(hooked.refusals(), way + 1, 'the hook was refused');
        }
        equal(hooks.balanceOf(address(hookHub)), 400, 'what four openings brought');
        uint256 owed = hookHub.credit(address(hooked));
        for (uint256 way = 0; way < 4; ++way) {
            owed += hookHub.channel(address(uint160(1 + way)), address(1)).deposit;
        }
        equal(owed, 400, 'what the hub owes');
    }

    /// @dev Settling is not locked, and a channel exists before its money has arrived. What is captured in
    /// between counts only if the money comes: if it does not, the whole opening falls.
    function test_a_hook_may_settle_but_money_that_does_not_come_undoes_it() public {
        HookToken hooks = new HookToken();
        ITokenHub hookHub = newTokenHub(address(hooks), PERIOD);
        HookedPayer hooked = new HookedPayer(hookHub, hooks);
        hooked.settles(payee, signRow(hookHub, key, payee, 60));
        vm.expectRevert(IHub.TransferFailed.selector);
        hooked.open(voucherKey, payee);
        equal(hookHub.credit(payee), 0, 'no credit without money');
        equal(hookHub.channel(voucherKey, payee).deposit, 0, 'no channel without money');
        hooks.mint(address(hooked), 100);
        hooked.open(voucherKey, payee);
        equal(hookHub.credit(payee), 60, 'captured in the middle');
        equal(hooks.balanceOf(address(hookHub)), 100, 'and paid for');
    }
}

/// @title A payer that tries to enter the hub again while its tokens move
contract HookedPayer is Base {
    ITokenHub private immutable hub;
    uint256 private way;
    bool private inside;
    uint256 public refusals;
    address private payee;
    bytes private row;

    constructor(ITokenHub hub_, PlainToken token) {
        hub = hub_;
        token.approve(address(hub_), type(uint256).max);
    }

    function run(uint256 way_) external {
        way = way_;
        hub.open(address(uint160(1 + way_)), address(1), 100);
    }

    function settles(address payee_, bytes calldata row_) external {
        (payee, row) = (payee_, row_);
    }

    function open(address voucherKey, address payee_) external {
        hub.open(voucherKey, payee_, 100);
    }

    function onTokens() external {
        if (inside) return;
        if (row.length != 0) return hub.settle(payee, row);
        inside = true;
        bytes memory call_;
        if (way == 0) call_ = abi.encodeCall(ITokenHub.open, (address(0x99), address(1), 100));
        if (way == 1) call_ = abi.encodeCall(ITokenHub.topUp, (address(1), address(1), 100));
        if (way == 2) call_ = abi.encodeCall(ITokenHub.openMany, (new IHub.OpenRow[](0), 0));
        if (way == 3) call_ = abi.encodeCall(IHub.withdrawCredit, (address(this)));
        (bool ok, bytes memory answer) = address(hub).call(call_);
        if (!ok && bytes4(answer) == ITokenHub.Reentered.selector) ++refusals;
        inside = false;
    }
}
