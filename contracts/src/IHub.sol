// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

/// @title The hub as its callers see it
/// @notice Names every verb, view, event and error that both forms of the hub share. The rules are in
/// docs/spec/hub.md; the two interfaces below add the verbs whose signature depends on the asset.
interface IHub {
    /// @notice One channel as a reader sees it; all fields are zero where there is no channel.
    struct ChannelView {
        /// Base units escrowed since the channel was opened; it only grows.
        uint96 deposit;
        /// Base units captured for the payee so far; it only grows and never passes the deposit.
        uint96 settled;
        /// 0 while open, 0xffffffff once closed, else the unix time from which `withdraw` works.
        uint32 closeAt;
        /// The address that opened the channel and gets the remainder.
        address owner;
    }

    /// @notice One channel to open with `openMany`.
    struct OpenRow {
        address voucherKey;
        address payee;
        uint96 deposit;
    }

    /// @notice A channel came into being.
    event Opened(address indexed owner, address indexed voucherKey, address indexed payee, uint96 deposit);
    /// @notice The deposit of a channel rose; `deposit` is the new total.
    event ToppedUp(address indexed voucherKey, address indexed payee, uint96 deposit);
    /// @notice A batch credited the payee with `amount`; which rows did so is read from the channels.
    event Settled(address indexed payee, uint256 amount);
    /// @notice The owner asked for the remainder; it may be withdrawn from `closeAt` on.
    event CloseRequested(address indexed voucherKey, address indexed payee, uint32 closeAt);
    /// @notice A channel became a tombstone and `returned` went to the credit of its owner.
    event Closed(address indexed voucherKey, address indexed payee, uint96 settled, uint96 returned);
    /// @notice `owner` took its whole credit out of the hub.
    event CreditWithdrawn(address indexed owner, address indexed to, uint256 amount);

    /// @notice The voucher key, the payee or the recipient is the zero address.
    error ZeroAddress();
    /// @notice A channel cannot be opened or topped up with nothing.
    error ZeroDeposit();
    /// @notice The deposit, or the raised deposit, does not fit 96 bits.
    error AmountTooLarge();
    /// @notice The rows of `openMany` do not add up to the money that came with the call.
    error WrongValue();
    /// @notice The pair of voucher key and payee has or had a channel already.
    error ChannelExists();
    /// @notice The pair of voucher key and payee has no channel.
    error UnknownChannel();
    /// @notice The channel is closed for ever.
    error ChannelClosed();
    /// @notice Only the address that opened the channel may do this.
    error NotOwner();
    /// @notice The length of `rows` is not a multiple of 76.
    error BadRows();
    /// @notice The length of the tick rows is not a multiple of 124.
    error BadTickRows();
    /// @notice Nobody has asked to close the channel.
    error CloseNotRequested();
    /// @notice The challenge period of the channel has not passed yet.
    error CloseNotDue();
    /// @notice The caller has no credit.
    error NoCredit();
    /// @notice The asset could not be moved.
    error TransferFailed();
    /// @notice The challenge period is zero or longer than a year, or the clock has outgrown 32 bits.
    error BadChallengePeriod();

    /// @notice Gives the caller an owner index, or returns the one it has.
    /// @return index The caller's index, from 1.
    function enter() external returns (uint32 index);

    /// @notice Captures rows for `payee`; anyone may call. A row that does not raise the settled amount
    /// of a live channel skips itself. Reverts `BadRows` on a length that is not a multiple of 76.
    /// @param rows Rows of 76 bytes: cumulative amount 12, r 32, vs 32 (docs/spec/voucher.md 3).
    function settle(address payee, bytes calldata rows) external;

    /// @notice Captures tick rows for `payee` as `settle` captures rows; anyone may call. A row claims its amount
    /// and its unit for each count, and costs its caller some 195 gas for each count. Reverts `BadTickRows` on a
    /// length that is not a multiple of 124.
    /// @param rows Rows of 124 bytes: cumulative amount 12, unit 12, length 2, count 2, tick 32, r 32, vs 32
    /// (docs/spec/ticks.md 2).
    function settleTicks(address payee, bytes calldata rows) external;

    /// @notice Captures `rows` for the caller, then closes each named live channel to the caller and
    /// credits its remainder to its owner. Unknown and closed channels are skipped.
    function cooperativeClose(address[] calldata voucherKeys, bytes calldata rows) external;

    /// @notice Starts the challenge period of the caller's channel; a second call changes nothing.
    function requestClose(address voucherKey, address payee) external;

    /// @notice Closes a channel whose challenge period has passed and credits the remainder to its owner.
    function withdraw(address voucherKey, address payee) external;

    /// @notice Pays the caller's whole credit to `to`.
    function withdrawCredit(address to) external;

    /// @notice The id of the channel of a voucher key and a payee: keccak256 of the 40 packed bytes.
    function channelId(address voucherKey, address payee) external pure returns (bytes32);

    /// @notice One channel.
    function channel(address voucherKey, address payee) external view returns (ChannelView memory);

    /// @notice Many channels of one payee, in the order of the keys.
    function readChannels(address payee, address[] calldata voucherKeys)
        external
        view
        returns (ChannelView[] memory);

    /// @notice Base units that `owner` may withdraw.
    function credit(address owner) external view returns (uint256);

    /// @notice The index of a payer that has entered, else 0.
    function ownerIndex(address owner) external view returns (uint32);

    /// @notice The payer behind an index, else the zero address.
    function owners(uint32 index) external view returns (address);

    /// @notice Seconds between a close request and the earliest withdrawal.
    function challengePeriod() external view returns (uint32);

    /// @notice The ERC-20 the hub holds, or the zero address for the chain's own coin.
    function asset() external view returns (address);

    /// @notice The EIP-712 domain separator of vouchers for this hub on this chain.
    function domainSeparator() external view returns (bytes32);

    /// @notice The EIP-712 domain in the form of EIP-5267.
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        );
}

/// @title The hub that holds the chain's own coin
interface INativeHub is IHub {
    /// @notice Opens the channel of a voucher key and a payee with `msg.value`.
    function open(address voucherKey, address payee) external payable;

    /// @notice Opens each row. A row whose slot is taken, whose deposit is zero or whose address is zero
    /// is skipped and its deposit goes to the caller's credit. The deposits must sum to `msg.value`.
    function openMany(OpenRow[] calldata rows) external payable;

    /// @notice Raises the deposit of the caller's channel by `msg.value` and cancels a pending close.
    function topUp(address voucherKey, address payee) external payable;
}

/// @title The hub that holds one ERC-20
interface ITokenHub is IHub {
    /// @notice The token delivered, or took from the hub, another amount than the named one.
    error WrongAmountMoved();
    /// @notice The token called back into the hub while money was moving.
    error Reentered();
    /// @notice The address given as token has no code.
    error NotAToken();

    /// @notice Opens the channel of a voucher key and a payee with `amount` pulled from the caller.
    function open(address voucherKey, address payee, uint256 amount) external;

    /// @notice As `openMany` of the native form, with `amount` pulled from the caller.
    function openMany(OpenRow[] calldata rows, uint256 amount) external;

    /// @notice Raises the deposit of the caller's channel by `amount` pulled from the caller and cancels
    /// a pending close.
    function topUp(address voucherKey, address payee, uint256 amount) external;
}
