// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {Base} from './Base.sol';
import {Handler} from './Handler.sol';

/// @title Random sequences of calls against the model
/// @notice The handler compares hub and model after every 16th call and here after every run. A run that
/// has not met every verb and every reason to skip fails as empty.
contract InvariantTest is Base {
    Handler private handler;

    function setUp() public {
        handler = new Handler(newNativeHub());
    }

    function targetContracts() external view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(handler);
    }

    /// @dev `checkAll` and `settleAll` are for this contract, not for the fuzzer.
    function targetSelectors() external view returns (FuzzSelector[] memory list) {
        bytes4[] memory selectors = new bytes4[](14);
        selectors[0] = Handler.open.selector;
        selectors[1] = Handler.openMany.selector;
        selectors[2] = Handler.topUp.selector;
        selectors[3] = Handler.settle.selector;
        selectors[4] = Handler.settle.selector;
        selectors[5] = Handler.settle.selector;
        selectors[6] = Handler.replay.selector;
        selectors[7] = Handler.cooperativeClose.selector;
        selectors[8] = Handler.requestClose.selector;
        selectors[9] = Handler.withdraw.selector;
        selectors[10] = Handler.withdrawCredit.selector;
        selectors[11] = Handler.wait.selector;
        selectors[12] = Handler.force.selector;
        selectors[13] = Handler.open.selector;
        list = new FuzzSelector[](1);
        list[0] = FuzzSelector(address(handler), selectors);
    }

    /// What forge expects of `targetSelectors`.
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function invariant_hub_equals_model() public view {
        if (handler.calls() % 16 == 0) handler.checkAll();
    }

    function afterInvariant() public {
        handler.checkAll();
        handler.settleAll();
        if (handler.calls() < 1000) return;
        for (uint256 i = 0; i < handler.SEEN_COUNT(); ++i) {
            check(handler.seen(Handler.Seen(i)) != 0, string.concat('never met: ', vm.toString(i)));
        }
    }

    // Canaries: the comparison must notice money that appears, and a tombstone that wakes up.

    function test_canary_credit_from_nowhere_is_noticed() public {
        for (uint256 i = 1; i < 40; ++i) {
            handler.open(uint256(keccak256(abi.encode(i))));
        }
        handler.checkAll();
        bytes32 creditOfOne = keccak256(abi.encode(address(1), uint256(3)));
        vm.store(address(handler.hub()), creditOfOne, bytes32(uint256(handler.hub().credit(address(1)) + 1)));
        equal(handler.hub().credit(address(1)), 1, 'the slot is the credit');
        vm.expectRevert();
        handler.checkAll();
    }

    function test_canary_missing_coin_is_noticed() public {
        handler.open(uint256(keccak256('seed')));
        handler.checkAll();
        vm.deal(address(handler.hub()), address(handler.hub()).balance + 1);
        vm.expectRevert();
        handler.checkAll();
    }
}
