// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {HubCore} from './HubCore.sol';
import {IHub, INativeHub} from './IHub.sol';

/// @title The hub that holds the chain's own coin
/// @notice Money comes in as `msg.value` and leaves through `withdrawCredit`. The hub accepts no coin
/// outside its verbs; what is forced in belongs to nobody and changes no rule.
contract NativeHub is HubCore, INativeHub {
    constructor(uint32 challengePeriod_) HubCore(challengePeriod_) {}

    /// @inheritdoc INativeHub
    function open(address voucherKey, address payee) external payable override {
        _open(voucherKey, payee, msg.value);
    }

    /// @inheritdoc INativeHub
    function openMany(OpenRow[] calldata rows) external payable override {
        _openMany(rows, msg.value);
    }

    /// @inheritdoc INativeHub
    function topUp(address voucherKey, address payee) external payable override {
        _topUp(voucherKey, payee, msg.value);
    }

    /// @inheritdoc IHub
    function asset() external pure override returns (address) {
        return address(0);
    }

    function _pay(address to, uint256 amount) internal override {
        (bool ok,) = to.call{value: amount}('');
        if (!ok) revert TransferFailed();
    }
}
