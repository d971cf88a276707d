// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

import {IHub, INativeHub} from '../src/IHub.sol';
import {Reference} from './Reference.sol';

/// @title The vectors that TypeScript and Rust read too
/// @notice Each record names a chain and a hub. The hub's real constructor runs at that address on that
/// chain, so the separator, the digest and the recovery that are checked are the deployed code's own.
contract VectorsTest is Reference {
    struct Voucher {
        uint256 chainId;
        address hub;
        bytes32 privateKey;
        address voucherKey;
        address payee;
        uint256 amount;
        bytes32 domainSeparator;
        bytes32 digest;
        bytes row;
    }

    struct Mutation {
        string name;
        uint256 chainId;
        address hub;
        address voucherKey;
        address payee;
        bytes row;
        string status;
    }

    struct TickRecord {
        string name;
        uint256 chainId;
        address hub;
        bytes32 privateKey;
        address voucherKey;
        address payee;
        uint256 amount;
        uint256 unit;
        uint256 length;
        bytes32 end;
        bytes32 root;
        bytes32 digest;
        uint256 count;
        bytes32 tick;
        bytes row;
        uint256 claim;
        string status;
    }

    string private constant VOUCHER_TYPE =
        'Voucher(uint256 chainId,address hub,bytes32 privateKey,address voucherKey,address payee,uint256 amount,bytes32 domainSeparator,bytes32 digest,bytes row)';
    string private constant MUTATION_TYPE =
        'Mutation(string name,uint256 chainId,address hub,address voucherKey,address payee,bytes row,string status)';
    string private constant TICK_TYPE =
        'TickRecord(string name,uint256 chainId,address hub,bytes32 privateKey,address voucherKey,address payee,uint256 amount,uint256 unit,uint256 length,bytes32 end,bytes32 root,bytes32 digest,uint256 count,bytes32 tick,bytes row,uint256 claim,string status)';
    string private constant TICKS = '../test/vectors/ticks.json';
    string private constant VOUCHERS = '../test/vectors/voucher.json';
    string private constant MUTATIONS = '../test/vectors/voucher-mutations.json';
    address private payer = addressOf('payer', 0);
    bytes private hubCode;

    function setUp() public {
        hubCode = bytes.concat(creationCode('NativeHub'), abi.encode(PERIOD));
    }

    function read(string memory path) private view returns (string memory) {
        check(vm.exists(path), string.concat('missing vectors: ', path));
        return vm.readFile(path);
    }

    /// @dev Deploys the native hub at a given address of a given chain.
    function deployAt(uint256 chainId, address where) private returns (INativeHub) {
        vm.chainId(chainId);
        vm.etch(where, hubCode);
        (bool ok, bytes memory runtime) = where.call('');
        check(ok, 'the constructor ran');
        vm.etch(where, runtime);
        return INativeHub(where);
    }

    function test_vouchers() public {
        bytes memory data = vm.parseJsonTypeArray(read(VOUCHERS), '$', VOUCHER_TYPE);
        Voucher[] memory vouchers = abi.decode(data, (Voucher[]));
        equal(vouchers.length, 1024, 'records');
        uint256 credited;
        for (uint256 i = 0; i < vouchers.length; ++i) {
            Voucher memory it = vouchers[i];
            INativeHub hub = deployAt(it.chainId, it.hub);
            equal(hub.domainSeparator(), it.domainSeparator, 'separator');
            equal(digestOf(it.domainSeparator, it.payee, it.amount), it.digest, 'digest');
            equal(vm.addr(uint256(it.privateKey)), it.voucherKey, 'voucher key');
            equal(uint256(word(it.row, 0)) >> 160, it.amount, 'amount');
            equal(it.row.length, ROW_SIZE, 'row');
            equal(keccak256(signRow(hub, uint256(it.privateKey), it.payee, uint96(it.amount))), keccak256(it.row), 'bytes');
            equal(signerOf(it.domainSeparator, it.payee, it.row), it.voucherKey, 'well signed');
            credited += settles(hub, it.voucherKey, it.payee, it.row);
        }
        check(credited >= 1000, 'nearly all vouchers are worth something');
    }

    function test_mutations() public {
        bytes memory data = vm.parseJsonTypeArray(read(MUTATIONS), '$', MUTATION_TYPE);
        Mutation[] memory mutations = abi.decode(data, (Mutation[]));
        uint256 accepted;
        uint256 refused;
        for (uint256 i = 0; i < mutations.length; ++i) {
            Mutation memory it = mutations[i];
            INativeHub hub = deployAt(it.chainId, it.hub);
            bool ok = keccak256(bytes(it.status)) == keccak256('ok');
            bool wellSigned = signerOf(hub.domainSeparator(), it.payee, it.row) == it.voucherKey;
            check(ok == wellSigned, it.name);
            if (ok) {
                ++accepted;
                settles(hub, it.voucherKey, it.payee, it.row);
            } else {
                ++refused;
                openOnce(hub, it.voucherKey, it.payee);
                uint256 before = hub.channel(it.voucherKey, it.payee).settled;
                // A row of another length never becomes a row: the hub refuses the whole call.
                if (it.row.length % ROW_SIZE != 0) vm.expectRevert(IHub.BadRows.selector);
                hub.settle(it.payee, it.row);
                equal(hub.channel(it.voucherKey, it.payee).settled, before, it.name);
            }
        }
        check(accepted > 0 && refused > 0, 'both kinds');
    }

    function test_ticks() public {
        TickRecord[] memory records = abi.decode(vm.parseJsonTypeArray(read(TICKS), '$', TICK_TYPE), (TickRecord[]));
        uint256 good;
        uint256 accepted;
        for (uint256 i = 0; i < records.length; ++i) {
            TickRecord memory it = records[i];
            INativeHub hub = deployAt(it.chainId, it.hub);
            if (same(it.name, 'good')) {
                ++good;
                expectMade(hub, it);
            }
            bool ok = same(it.status, 'ok');
            if (ok) ++accepted;
            (address signer, uint256 claim) = readRow(hub.domainSeparator(), it.payee, it.row);
            check(ok == (signer == it.voucherKey), it.name);
            equal(claim, it.claim, 'claim');
            // Some records have the channel in common.
            uint256 id = vm.snapshotState();
            openOnce(hub, it.voucherKey, it.payee);
            hub.settleTicks(it.payee, it.row);
            equal(hub.channel(it.voucherKey, it.payee).settled, ok ? it.claim : 0, it.name);
            equal(hub.credit(it.payee), ok ? it.claim : 0, it.name);
            vm.revertToState(id);
        }
        check(good >= 256 && records.length - good >= 400, 'as many as the page says');
        check(accepted > good && accepted < records.length, 'both kinds');
    }

    /// @dev A good record is made again from its keys.
    function expectMade(INativeHub hub, TickRecord memory it) private view {
        check(same(it.status, 'ok'), 'good');
        bytes32 end = it.end;
        Tick memory made = tickOf(uint96(it.amount), uint96(it.unit), uint16(it.length), uint16(it.count), end);
        equal(made.value, it.tick, 'tick');
        equal(linked(end, it.length), it.root, 'root');
        equal(tickDigestOf(hub.domainSeparator(), it.payee, made), it.digest, 'digest');
        equal(vm.addr(uint256(it.privateKey)), it.voucherKey, 'voucher key');
        equal(keccak256(signTick(hub, uint256(it.privateKey), it.payee, made)), keccak256(it.row), 'bytes');
    }

    function same(string memory one, string memory other) private pure returns (bool) {
        return keccak256(bytes(one)) == keccak256(bytes(other));
    }

    function openOnce(INativeHub hub, address voucherKey, address payee) private {
        if (hub.channel(voucherKey, payee).deposit == 0) {
            openAs(hub, payer, voucherKey, payee, type(uint96).max);
        }
    }

    /// @dev Settles a well-signed row and checks that it gains its amount; tells 1 where that is not zero.
    function settles(INativeHub hub, address voucherKey, address payee, bytes memory row) private returns (uint256) {
        openOnce(hub, voucherKey, payee);
        uint256 amount = uint256(word(row, 0)) >> 160;
        uint256 before = hub.channel(voucherKey, payee).settled;
        uint256 credit = hub.credit(payee);
        hub.settle(payee, row);
        uint256 after_ = amount > before ? amount : before;
        equal(hub.channel(voucherKey, payee).settled, after_, 'settled');
        equal(hub.credit(payee), credit + after_ - before, 'credit');
        return after_ > before ? 1 : 0;
    }
}
