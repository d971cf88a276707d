// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

interface IToken {
    function balanceOf(address owner) external view returns (uint256);
    function transfer(address to, uint256 amount) external returns (bool);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// @title A vault with the interface and the behaviour of the BTFS vaults on BTTC, for tests
/// @notice Same selectors, type hashes, events and signature rules (docs/spec/vaults.md); all or nothing,
/// withdrawal and upgrade by the issuer at any time.
contract Vault {
    bytes32 internal constant LOGIC_SLOT = 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;
    bytes32 internal constant DOMAIN_TYPE_HASH =
        keccak256('EIP712Domain(string name,string version,uint256 chainId)');
    bytes32 internal constant CHEQUE_TYPE_HASH =
        keccak256('Cheque(address vault,address beneficiary,uint256 cumulativePayout)');
    bytes32 internal constant MULTI_TOKEN_CHEQUE_TYPE_HASH =
        keccak256('MultiTokenCheque(address token,address vault,address beneficiary,uint256 cumulativePayout)');
    uint256 internal constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    address public issuer;
    address public token;
    uint256 public totalPaidOut;
    bool public bounced;
    mapping(address => uint256) public paidOut;
    mapping(address => mapping(address => uint256)) public multiTokensPaidOut;
    mapping(address => uint256) public multiTokensTotalPaidOut;

    event ChequeCashed(
        address indexed beneficiary,
        address indexed recipient,
        address indexed caller,
        uint256 totalPayout,
        uint256 cumulativePayout,
        uint256 callerPayout
    );
    event MultiTokenChequeCashed(
        address token,
        address indexed beneficiary,
        address indexed recipient,
        address indexed caller,
        uint256 totalPayout,
        uint256 cumulativePayout,
        uint256 callerPayout
    );
    event VaultDeposit(address indexed from, uint256 amount);
    event VaultWithdraw(address indexed from, uint256 amount);
    event Upgraded(address indexed implementation);

    function init(address issuer_, address token_) external {
        require(issuer == address(0), 'already initialized');
        issuer = issuer_;
        token = token_;
    }

    function implementation() external view virtual returns (address logic) {
        assembly {
            logic := sload(LOGIC_SLOT)
        }
    }

    function upgradeTo(address logic) external {
        require(msg.sender == issuer, 'not issuer');
        assembly {
            sstore(LOGIC_SLOT, logic)
        }
        emit Upgraded(logic);
    }

    function totalbalance() external view virtual returns (uint256) {
        return IToken(token).balanceOf(address(this));
    }

    function totalbalanceOf(address token_) external view virtual returns (uint256) {
        return IToken(token_).balanceOf(address(this));
    }

    function deposit(uint256 amount) external {
        require(IToken(token).transferFrom(msg.sender, address(this), amount), 'deposit failed');
        emit VaultDeposit(msg.sender, amount);
    }

    function withdraw(uint256 amount) external {
        multiTokenWithdraw(token, amount);
    }

    function multiTokenWithdraw(address token_, uint256 amount) public {
        require(msg.sender == issuer, 'not issuer');
        require(amount <= IToken(token_).balanceOf(address(this)), 'totalbalance not sufficient');
        require(IToken(token_).transfer(issuer, amount), 'transfer failed');
        emit VaultWithdraw(issuer, amount);
    }

    function cashChequeBeneficiary(address recipient, uint256 cumulative, bytes memory signature) external virtual {
        _cash(recipient, cumulative, signature);
    }

    function multiTokenCashChequeBeneficiary(
        address token_,
        address recipient,
        uint256 cumulative,
        bytes memory signature
    ) external virtual {
        if (token_ == token) return _cash(recipient, cumulative, signature);
        if (msg.sender != issuer) {
            bytes32 digest = keccak256(
                abi.encode(MULTI_TOKEN_CHEQUE_TYPE_HASH, token_, address(this), msg.sender, cumulative)
            );
            require(_recover(digest, signature) == issuer, 'invalid issuer signature');
        }
        uint256 amount = _payable(token_, cumulative, multiTokensPaidOut[token_][msg.sender]);
        multiTokensPaidOut[token_][msg.sender] += amount;
        multiTokensTotalPaidOut[token_] += amount;
        require(IToken(token_).transfer(recipient, amount), 'transfer failed');
        emit MultiTokenChequeCashed(token_, msg.sender, recipient, msg.sender, amount, cumulative, 0);
    }

    function _cash(address recipient, uint256 cumulative, bytes memory signature) internal {
        if (msg.sender != issuer) {
            bytes32 digest = keccak256(abi.encode(CHEQUE_TYPE_HASH, address(this), msg.sender, cumulative));
            require(_recover(digest, signature) == issuer, 'invalid issuer signature');
        }
        uint256 amount = _payable(token, cumulative, paidOut[msg.sender]);
        paidOut[msg.sender] += amount;
        totalPaidOut += amount;
        require(IToken(token).transfer(recipient, amount), 'transfer failed');
        emit ChequeCashed(msg.sender, recipient, msg.sender, amount, cumulative, 0);
    }

    function _payable(address token_, uint256 cumulative, uint256 paid) private view returns (uint256 amount) {
        require(cumulative > paid, 'Vault: cannot cash');
        amount = cumulative - paid;
        require(amount <= IToken(token_).balanceOf(address(this)), 'Vault: insufficient fund');
    }

    /// @dev The acceptance of OpenZeppelin 4.3.3: 65 bytes with v 27 or 28, or 64 bytes of EIP-2098; low s.
    function _recover(bytes32 structHash, bytes memory signature) private view returns (address found) {
        bytes32 separator = keccak256(
            abi.encode(DOMAIN_TYPE_HASH, keccak256('Vault'), keccak256('1.0'), block.chainid)
        );
        bytes32 r;
        bytes32 s;
        uint8 v;
        if (signature.length == 65) {
            assembly {
                r := mload(add(signature, 0x20))
                s := mload(add(signature, 0x40))
                v := byte(0, mload(add(signature, 0x60)))
            }
        } else if (signature.length == 64) {
            bytes32 vs;
            assembly {
                r := mload(add(signature, 0x20))
                vs := mload(add(signature, 0x40))
            }
            s = bytes32((uint256(vs) << 1) >> 1);
            v = uint8(uint256(vs) >> 255) + 27;
        } else {
            revert('ECDSA: invalid signature length');
        }
        require(uint256(s) <= HALF_ORDER, "ECDSA: invalid signature 's' value");
        require(v == 27 || v == 28, "ECDSA: invalid signature 'v' value");
        found = ecrecover(keccak256(abi.encodePacked(hex'1901', separator, structHash)), v, r, s);
        require(found != address(0), 'ECDSA: invalid signature');
    }
}
