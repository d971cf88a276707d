// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {INativeHub} from '../src/IHub.sol';
import {Reference} from './Reference.sol';

/// @title A hub with channels of every kind, and ticks for them
abstract contract TickScene is Reference {
    INativeHub internal hub;
    address internal payer = addressOf('payer', 0);
    address internal payee = addressOf('payee', 0);
    uint256 internal constant KEYS = 6;
    uint96 internal constant DEPOSIT = 100 ether;
    uint96 internal constant UNIT = 1 ether / 64;
    bytes32 internal constant END = keccak256('a secret end');

    function setUp() public {
        hub = newNativeHub();
        // Four live channels of different deposits, one closed, one unknown.
        for (uint256 i = 0; i < KEYS - 1; ++i) {
            openAs(hub, payer, vm.addr(key(i)), payee, DEPOSIT + uint96(i));
        }
        address[] memory closing = new address[](1);
        closing[0] = vm.addr(key(4));
        vm.prank(payee);
        hub.cooperativeClose(closing, '');
    }

    function key(uint256 index) internal pure returns (uint256) {
        return keyOf('ticks', index);
    }

    function settledOf(uint256 index) internal view returns (uint256) {
        return hub.channel(vm.addr(key(index)), payee).settled;
    }

    /// @dev Tick `count` of a chain of 100 over `amount`.
    function tick(uint96 amount, uint16 count) internal pure returns (Tick memory) {
        return tickOf(amount, UNIT, 100, count, END);
    }

    function sign(uint256 index, Tick memory it) internal view returns (bytes memory) {
        return signTick(hub, key(index), payee, it);
    }

    function sound(uint256 index, uint96 amount, uint16 count) internal view returns (bytes memory) {
        return sign(index, tick(amount, count));
    }

    /// @dev Settles rows and expects that nothing at all changes.
    function expectSkip(bytes memory rows, string memory why) internal {
        bytes32 state = stateOf();
        vm.recordLogs();
        hub.settleTicks(payee, rows);
        equal(vm.getRecordedLogs().length, 0, string.concat(why, ': no event'));
        equal(stateOf(), state, why);
    }

    function stateOf() internal view returns (bytes32) {
        address[] memory list = new address[](KEYS);
        for (uint256 i = 0; i < KEYS; ++i) {
            list[i] = vm.addr(key(i));
        }
        return keccak256(abi.encode(hub.readChannels(payee, list), hub.credit(payee), hub.credit(payer)));
    }
}
