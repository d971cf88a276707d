// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {Base} from './Base.sol';
import {Handler} from './Handler.sol';
import {NativeHandler, TokenHandler} from './Handlers.sol';
import {PlainToken} from './Tokens.sol';

/// @title Random sequences of calls against the model, for one form of the hub
/// @notice Hub and model are compared after every 16th call and after every run. Each run leaves a line of
/// what it met in cache/witnesses/; scripts/forge.mjs adds them up and fails a run in which any verb, any
/// refusal or any reason to skip was never met.
abstract contract InvariantTest is Base {
    /// What forge expects of `targetSelectors`.
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Handler internal handler;

    /// @dev The name of the form, which names its file of witnesses.
    function form() internal pure virtual returns (string memory);

    function targetContracts() external view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(handler);
    }

    /// @dev `checkAll` and `settleAll` are for this contract, not for the fuzzer. What comes twice is drawn
    /// twice as often.
    function targetSelectors() external view returns (FuzzSelector[] memory list) {
        bytes4[] memory selectors = new bytes4[](18);
        selectors[0] = Handler.open.selector;
        selectors[1] = Handler.open.selector;
        selectors[2] = Handler.openMany.selector;
        selectors[3] = Handler.topUp.selector;
        selectors[4] = Handler.settle.selector;
        selectors[5] = Handler.settle.selector;
        selectors[6] = Handler.settle.selector;
        selectors[7] = Handler.replay.selector;
        selectors[8] = Handler.cooperativeClose.selector;
        selectors[9] = Handler.requestClose.selector;
        selectors[10] = Handler.withdraw.selector;
        selectors[11] = Handler.withdrawCredit.selector;
        selectors[12] = Handler.wait.selector;
        selectors[13] = Handler.force.selector;
        selectors[14] = Handler.enter.selector;
        selectors[15] = Handler.settleTicks.selector;
        selectors[16] = Handler.settleTicks.selector;
        selectors[17] = Handler.replay.selector;
        list = new FuzzSelector[](1);
        list[0] = FuzzSelector(address(handler), selectors);
    }

    function invariant_hub_equals_model() public view {
        if (handler.calls() % 16 == 0) handler.checkAll();
    }

    function afterInvariant() public {
        handler.checkAll();
        (string memory names, string memory counts) = handler.witnesses();
        string memory path = string.concat('cache/witnesses/', form(), '.csv');
        if (!vm.exists(path)) vm.writeLine(path, names);
        vm.writeLine(path, counts);
        handler.settleAll();
    }
}

contract NativeInvariantTest is InvariantTest {
    function setUp() public {
        handler = new NativeHandler(newNativeHub());
    }

    function form() internal pure override returns (string memory) {
        return 'native';
    }

    // Canaries: the comparison must notice money that appears, and coin that nobody accounts for.

    function test_canary_credit_from_nowhere_is_noticed() public {
        for (uint256 i = 1; i < 40; ++i) {
            handler.open(uint256(keccak256(abi.encode(i))));
        }
        handler.checkAll();
        address hub = address(NativeHandler(address(handler)).hub());
        bytes32 creditOfOne = keccak256(abi.encode(address(1), uint256(3)));
        check(vm.load(hub, creditOfOne) == 0, 'no credit yet');
        vm.store(hub, creditOfOne, bytes32(uint256(1)));
        equal(NativeHandler(address(handler)).hub().credit(address(1)), 1, 'the slot is the credit');
        vm.expectRevert();
        handler.checkAll();
    }

    function test_canary_missing_coin_is_noticed() public {
        handler.open(uint256(keccak256('seed')));
        handler.checkAll();
        address hub = address(NativeHandler(address(handler)).hub());
        vm.deal(hub, hub.balance + 1);
        vm.expectRevert();
        handler.checkAll();
    }
}

contract TokenInvariantTest is InvariantTest {
    function setUp() public {
        vm.warp(1_800_000_000);
        PlainToken token = new PlainToken();
        handler = new TokenHandler(newTokenHub(address(token), PERIOD), token);
    }

    function form() internal pure override returns (string memory) {
        return 'token';
    }
}
