// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {Base} from './Base.sol';

/// @title The deployed code fits the target chain
contract CodeTest is Base {
    function test_code_fits_the_limit_of_a_contract() public {
        check(address(newNativeHub()).code.length <= 24_576, 'EIP-170, native');
        check(address(newTokenHub(address(this), PERIOD)).code.length <= 24_576, 'EIP-170, token');
    }

    /// @dev Berlin knows neither BASEFEE (0x48) nor PUSH0 (0x5f) nor what came between and after. The walk
    /// steps over the data of PUSH instructions and leaves out the metadata at the end.
    function test_code_has_no_instruction_younger_than_berlin() public {
        expectBerlin(address(newNativeHub()).code);
        expectBerlin(address(newTokenHub(address(this), PERIOD)).code);
    }

    function expectBerlin(bytes memory code) private pure {
        uint256 metadata = uint256(uint8(code[code.length - 2])) << 8 | uint8(code[code.length - 1]);
        uint256 end = code.length - 2 - metadata;
        for (uint256 at = 0; at < end; ++at) {
            uint8 op = uint8(code[at]);
            check((op < 0x48 || op > 0x4f) && (op < 0x5c || op > 0x5f), 'an instruction younger than Berlin');
            if (op >= 0x60 && op <= 0x7f) at += op - 0x5f;
        }
    }
}
