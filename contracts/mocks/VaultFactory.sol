// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

/// @title What a clone delegates to: passes everything on to the logic in its EIP-1967 slot
contract VaultProxy {
    bytes32 internal constant LOGIC_SLOT = 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;

    /// @dev Once for each clone, by the factory that makes it.
    function start(address logic, bytes calldata data) external {
        address known;
        assembly {
            known := sload(LOGIC_SLOT)
        }
        require(known == address(0), 'already initialized');
        assembly {
            sstore(LOGIC_SLOT, logic)
        }
        (bool done, ) = logic.delegatecall(data);
        require(done, 'init failed');
    }

    fallback() external payable {
        assembly {
            calldatacopy(0, 0, calldatasize())
            let done := delegatecall(gas(), sload(LOGIC_SLOT), 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            switch done
            case 0 {
                revert(0, returndatasize())
            }
            default {
                return(0, returndatasize())
            }
        }
    }
}

/// @title Makes EIP-1167 clones of one proxy, for any issuer and with any logic, as the deployed factory does
contract VaultFactory {
    address public immutable master = address(new VaultProxy());
    mapping(address => bool) public deployedContracts;
    mapping(string => address) public peerVaultAddress;

    event VaultDeployed(address issuer, address contractAddress, string id);

    function deployVault(address issuer, address logic, bytes32 salt, string calldata id, bytes calldata data)
        external
        returns (address vault)
    {
        require(peerVaultAddress[id] == address(0), 'vault already created');
        bytes memory code = abi.encodePacked(
            hex'3d602d80600a3d3981f3363d3d373d3d3d363d73',
            master,
            hex'5af43d82803e903d91602b57fd5bf3'
        );
        bytes32 seed = keccak256(abi.encode(msg.sender, salt));
        assembly {
            vault := create2(0, add(code, 0x20), mload(code), seed)
        }
        require(vault != address(0), 'create failed');
        VaultProxy(payable(vault)).start(logic, data);
        deployedContracts[vault] = true;
        peerVaultAddress[id] = vault;
        emit VaultDeployed(issuer, vault, id);
    }
}
