// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IToken, Vault} from './Vault.sol';

/// @title Answers every question as a rich and honest vault would, and never pays
contract LyingLogic is Vault {
    address internal immutable claimed;

    constructor(address claimed_) {
        claimed = claimed_;
    }

    function implementation() external view override returns (address) {
        return claimed;
    }

    function totalbalance() external pure override returns (uint256) {
        return type(uint256).max;
    }

    function totalbalanceOf(address) external pure override returns (uint256) {
        return type(uint256).max;
    }

    function cashChequeBeneficiary(address, uint256, bytes memory) external pure override {
        revert('Vault: insufficient fund');
    }
}

/// @title What an issuer upgrades to: cashing succeeds, says that it paid, and the money goes to the issuer
contract TheftLogic is Vault {
    function cashChequeBeneficiary(address recipient, uint256 cumulative, bytes memory) external override {
        uint256 amount = cumulative - paidOut[msg.sender];
        paidOut[msg.sender] = cumulative;
        require(IToken(token).transfer(issuer, IToken(token).balanceOf(address(this))), 'transfer failed');
        emit ChequeCashed(msg.sender, recipient, msg.sender, amount, cumulative, 0);
    }
}

/// @title Names an honest logic in its EIP-1967 slot and runs its own code
contract FakeProxy {
    bytes32 internal constant LOGIC_SLOT = 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;

    address public immutable issuer;
    address public immutable token;

    constructor(address honest, address issuer_, address token_) {
        issuer = issuer_;
        token = token_;
        assembly {
            sstore(LOGIC_SLOT, honest)
        }
    }
}
