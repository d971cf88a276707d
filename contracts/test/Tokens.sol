// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

/// @title An ERC-20 by the book
contract PlainToken {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external virtual returns (bool) {
        move(msg.sender, to, amount);
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external virtual returns (bool) {
        spend(from, amount);
        move(from, to, amount);
        return true;
    }

    function spend(address from, uint256 amount) internal {
        allowance[from][msg.sender] -= amount;
    }

    function move(address from, address to, uint256 amount) internal virtual {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @title A token whose transfers return nothing, as some old ones do
contract SilentToken {
    mapping(address => uint256) public balanceOf;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function transfer(address to, uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @title A token that can be switched from one bad habit to another
contract WeirdToken is PlainToken {
    enum Habit {
        None,
        FeeOnTransfer,
        FeeOnTop,
        ReturnsFalse,
        ReturnsFalseButMoves,
        MovesNothing,
        Bonus,
        Paused,
        PausedSilently,
        ShortAnswer,
        AnswerTwo
    }

    Habit public habit;

    function become(Habit habit_) external {
        habit = habit_;
    }

    /// @dev A rebase: the balance changes without a transfer.
    function rebase(address who, uint256 balance) external {
        balanceOf[who] = balance;
    }

    function transfer(address to, uint256 amount) external override returns (bool) {
        return act(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external override returns (bool) {
        spend(from, amount);
        return act(from, to, amount);
    }

    function act(address from, address to, uint256 amount) private returns (bool) {
        require(habit != Habit.Paused, 'paused');
        require(habit != Habit.PausedSilently);
        if (habit == Habit.ReturnsFalse) return false;
        if (habit == Habit.MovesNothing) return true;
        move(from, to, amount);
        if (habit == Habit.FeeOnTransfer) balanceOf[to] -= amount / 100 + 1;
        if (habit == Habit.FeeOnTop) balanceOf[from] -= 1;
        if (habit == Habit.Bonus) balanceOf[to] += 1;
        if (habit == Habit.ShortAnswer) {
            assembly {
                mstore(0, 1)
                return(31, 1)
            }
        }
        if (habit == Habit.AnswerTwo) {
            assembly {
                mstore(0, 2)
                return(0, 32)
            }
        }
        return habit != Habit.ReturnsFalseButMoves;
    }
}

/// @title A token that calls the sender or the recipient before it moves anything
contract HookToken is PlainToken {
    function move(address from, address to, uint256 amount) internal override {
        hook(from);
        hook(to);
        super.move(from, to, amount);
    }

    function hook(address who) private {
        if (who.code.length == 0) return;
        (bool ok,) = who.call(abi.encodeWithSignature('onTokens()'));
        ok;
    }
}
