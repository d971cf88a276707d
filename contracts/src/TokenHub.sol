// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {HubCore} from './HubCore.sol';
import {IHub, ITokenHub} from './IHub.sol';

/// @title The part of ERC-20 that the hub uses
interface IToken {
    function balanceOf(address owner) external view returns (uint256);
    function transfer(address to, uint256 amount) external returns (bool);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// @title The hub that holds one ERC-20
/// @notice The token is fixed at deployment. Every movement is measured on the hub's own balance and must
/// be exactly the named amount, so a token that takes a fee is refused where it would break the sums. A
/// token that returns nothing is accepted, one that returns false is not. While money moves, no verb that
/// moves money can be entered again: a token with hooks could otherwise count one transfer twice.
contract TokenHub is HubCore, ITokenHub {
    /// @inheritdoc IHub
    address public immutable override asset;

    /// 1 while idle, 2 while money moves; never zero, because rewriting a non-zero slot is cheaper.
    uint256 private _lock = 1;

    modifier locked() {
        if (_lock != 1) revert Reentered();
        _lock = 2;
        _;
        _lock = 1;
    }

    constructor(address token, uint32 challengePeriod_) HubCore(challengePeriod_) {
        if (token.code.length == 0) revert NotAToken();
        asset = token;
    }

    /// @inheritdoc ITokenHub
    function open(address voucherKey, address payee, uint256 amount) external override locked {
        _open(voucherKey, payee, amount);
        _take(amount);
    }

    /// @inheritdoc ITokenHub
    function openMany(OpenRow[] calldata rows, uint256 amount) external override locked {
        _openMany(rows, amount);
        _take(amount);
    }

    /// @inheritdoc ITokenHub
    function topUp(address voucherKey, address payee, uint256 amount) external override locked {
        _topUp(voucherKey, payee, amount);
        _take(amount);
    }

    /// @inheritdoc IHub
    function withdrawCredit(address to) external override(HubCore, IHub) locked {
        _withdrawCredit(to);
    }

    /// @dev Pulls `amount` from the caller and checks that exactly so much arrived.
    function _take(uint256 amount) private {
        uint256 before = IToken(asset).balanceOf(address(this));
        _move(abi.encodeCall(IToken.transferFrom, (msg.sender, address(this), amount)));
        if (IToken(asset).balanceOf(address(this)) != before + amount) revert WrongAmountMoved();
    }

    /// @dev Pays and checks that exactly so much left, which also refuses a payment to the hub itself.
    function _pay(address to, uint256 amount) internal override {
        uint256 before = IToken(asset).balanceOf(address(this));
        _move(abi.encodeCall(IToken.transfer, (to, amount)));
        if (IToken(asset).balanceOf(address(this)) + amount != before) revert WrongAmountMoved();
    }

    function _move(bytes memory call_) private {
        (bool ok, bytes memory answer) = asset.call(call_);
        if (!ok || (answer.length != 0 && (answer.length < 32 || abi.decode(answer, (uint256)) != 1))) {
            revert TransferFailed();
        }
    }
}
