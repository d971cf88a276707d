// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub, INativeHub, ITokenHub} from '../src/IHub.sol';
import {Handler} from './Handler.sol';
import {PlainToken} from './Tokens.sol';

/// @title Random calls on the native form
contract NativeHandler is Handler {
    INativeHub public immutable hub;

    constructor(INativeHub hub_) Handler(hub_) {
        hub = hub_;
    }

    function held(address who) internal view override returns (uint256) {
        return who.balance;
    }

    function forceIn(uint256 amount) internal override {
        vm.deal(address(hub), address(hub).balance + amount);
    }

    function tryOpen(address owner, address voucherKey, address payee, uint256 amount)
        internal
        override
        returns (bool ok)
    {
        vm.deal(owner, amount);
        vm.prank(owner);
        try hub.open{value: amount}(voucherKey, payee) {
            ok = true;
        } catch {}
    }

    function tryOpenMany(address owner, IHub.OpenRow[] memory rows, uint256 amount)
        internal
        override
        returns (bool ok)
    {
        vm.deal(owner, amount);
        vm.prank(owner);
        try hub.openMany{value: amount}(rows) {
            ok = true;
        } catch {}
    }

    function tryTopUp(address caller, address voucherKey, address payee, uint256 amount)
        internal
        override
        returns (bool ok)
    {
        vm.deal(caller, amount);
        vm.prank(caller);
        try hub.topUp{value: amount}(voucherKey, payee) {
            ok = true;
        } catch {}
    }
}

/// @title Random calls on the token form
contract TokenHandler is Handler {
    ITokenHub public immutable hub;
    PlainToken private immutable token;

    constructor(ITokenHub hub_, PlainToken token_) Handler(hub_) {
        hub = hub_;
        token = token_;
        for (uint256 i = 0; i < holders.length; ++i) {
            vm.prank(holders[i]);
            token.approve(address(hub), type(uint256).max);
        }
    }

    function held(address who) internal view override returns (uint256) {
        return token.balanceOf(who);
    }

    function forceIn(uint256 amount) internal override {
        token.mint(address(hub), amount);
    }

    function tryOpen(address owner, address voucherKey, address payee, uint256 amount)
        internal
        override
        returns (bool ok)
    {
        token.mint(owner, amount);
        vm.prank(owner);
        try hub.open(voucherKey, payee, amount) {
            ok = true;
        } catch {}
    }

    function tryOpenMany(address owner, IHub.OpenRow[] memory rows, uint256 amount)
        internal
        override
        returns (bool ok)
    {
        token.mint(owner, amount);
        vm.prank(owner);
        try hub.openMany(rows, amount) {
            ok = true;
        } catch {}
    }

    function tryTopUp(address caller, address voucherKey, address payee, uint256 amount)
        internal
        override
        returns (bool ok)
    {
        token.mint(caller, amount);
        vm.prank(caller);
        try hub.topUp(voucherKey, payee, amount) {
            ok = true;
        } catch {}
    }
}
