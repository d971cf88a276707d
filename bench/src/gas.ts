/**
 * Gas on a development chain under Berlin rules: whole transactions, real signatures, the deployed hub. Nothing here
 * is timed and nothing varies from run to run, so each figure is one transaction. Main rows show the steady state
 * (the payee has settled before, the payer has opened before); first-ever cases are told beside them.
 */
import { hash as digestOf } from 'node:crypto';
import { TypedDataEncoder } from 'ethers';
import * as Tick from '../../dist/channels/tick.js';
import { call } from '../../dist/native/binding.js';
import * as Chains from '../../dist/settlement/chain.js';
import * as Deploy from '../../dist/settlement/deploy.js';
import * as DevChain from '../../dist/settlement/dev-chain.js';
import { Hub } from '../../dist/settlement/hub.js';
import { readArtifact } from '../../dist/settlement/hub-code.js';
import * as Senders from '../../dist/settlement/sender.js';
import { type Call, memoryStore } from '../../dist/settlement/transaction.js';
import type { Settings } from './main.js';
import { check } from './measure.js';
import type { Row } from './report.js';
import { SEED } from './vouchers.js';

/** Gas of others that settle off-chain payments, whole transactions under the same rules. */
interface Rival {
  readonly gas: number;
  readonly name: string;
}
/** The rival on the same chain; its figures are measured on its own contracts, not in this run. */
const VAULT: Rival = { gas: 72_020, name: 'BTFS vault, later cash' };
const VAULT_FIRST: Rival = { gas: 123_340, name: 'BTFS vault, first cash' };
const SWARM: Rival = { gas: 73_778, name: 'Swarm chequebook, later cash' };
const RAIDEN: Rival = { gas: 11_685, name: 'Raiden bulk claim, each extra' };
/** Needs a newer chain than Berlin: transient storage. Its sweep comes once a batch. */
const X402_VOUCHER = 20_729;
const X402_SWEEP = 45_644;
/** A contract that does nothing but recover, compare and store, with rows of 76 bytes: nearly the floor. */
const MINIMAL: Readonly<Record<number, number>> = { 1: 48_428, 10: 13_713, 100: 10_246, 1000: 9_899 };
// No byte of an amount is zero: zero bytes of calldata are cheaper, and a real amount has few.
const DEPOSIT = 1_234_567_890_123_456_789n;
const AMOUNT = 123_456_789_012_345_678n;
const CHALLENGE_PERIOD = 3_600;
/** 16 KiB at 3 BTT a GiB. */
const UNIT = 45_776_367_187_501n;
const CHAIN_LENGTH = 1_024;
const TICK_FIELDS = [
  { name: 'payee', type: 'address' },
  { name: 'cumulativeAmount', type: 'uint256' },
  { name: 'root', type: 'bytes32' },
  { name: 'unit', type: 'uint96' },
  { name: 'length', type: 'uint16' },
];

interface Channel {
  readonly voucherKey: Uint8Array;
  readonly secret: Uint8Array;
}

/** A hub on a chain of its own, and everything a party does there. */
interface Scene {
  readonly dev: DevChain.DevChain;
  readonly hub: Hub;
  readonly chain: Chains.Chain;
  readonly payer: Senders.Sender;
  readonly payee: Senders.Sender;
  /** Someone who has neither opened nor settled before. */
  readonly newcomer: Senders.Sender;
  readonly deployGas: number;
  end(): Promise<void>;
}

export async function gas(_settings: Settings): Promise<Row[]> {
  const scene = await openScene();
  try {
    return [
      ...(await opening(scene)),
      ...(await settling(scene)),
      ...(await ticking(scene)),
      ...(await closing(scene)),
    ];
  } finally {
    await scene.end();
  }
}

async function opening(scene: Scene): Promise<Row[]> {
  const { hub, payer, payee, newcomer } = scene;
  const payeeAddress = payee.account.address;
  const open = (channel: Channel): Call =>
    hub.open({ voucherKey: channel.voucherKey, payee: payeeAddress, deposit: DEPOSIT });
  const [one, two, three] = channels(3);
  // The very first payer of a hub also writes its counter; that happens once and is in no row.
  await used(payer, open(one!));
  const first = await used(newcomer, open(two!));
  const later = await used(payer, open(three!));
  const many = channels(100);
  const batch = await openAll(scene, payee, many);
  // Each payee another: the condition under which the price of opening is stated.
  const fifty = await openFifty(scene);
  const facts = await hub.readChannels(many.map(({ voucherKey }) => ({ voucherKey, payee: payeeAddress })));
  check(
    facts.length === 100 && facts.every(({ deposit }) => deposit === DEPOSIT),
    'a channel was not opened',
  );
  return [
    row('gas.deploy', 'the hub, once for everyone', scene.deployGas, 1, null, true),
    row('gas.open', 'open, by a payer that opened before', later, 1, null),
    row('gas.open.first', 'a payer’s first open ever', first, 1, null, true),
    row('gas.open_many.50', 'openMany of 50 for distinct payees, per channel', fifty, 50, null),
    row('gas.open.100', 'openMany of 100 for one payee, per channel', batch, 100, null, true),
  ];
}

async function settling(scene: Scene): Promise<Row[]> {
  const { payee, newcomer } = scene;
  const rows: Row[] = [];
  const one = channels(1);
  await openAll(scene, newcomer, one);
  const first = await settle(scene, newcomer, one);
  // The payee's credit is written for the first time here, so that it is not in the figures below.
  const opener = channels(1);
  await openAll(scene, payee, opener);
  await settle(scene, payee, opener);
  for (const count of Object.keys(MINIMAL).map(Number)) {
    const some = channels(count);
    await openAll(scene, payee, some);
    const total = await settle(scene, payee, some);
    const id = `gas.settle.${count}`;
    const against = (suffix: string, rival: Rival, info = true): Row =>
      row(
        `${id}${suffix}`,
        `settle of ${count}, per voucher; peer: ${rival.name}`,
        total,
        count,
        rival.gas,
        info,
      );
    rows.push(against('', VAULT, false));
    if (count === 1) {
      const never = `a payee’s first settle ever; peer: ${VAULT_FIRST.name}`;
      rows.push(row(`${id}.first`, never, first, 1, VAULT_FIRST.gas, true), against('.swarm', SWARM));
    } else {
      const x402 = { gas: X402_VOUCHER + X402_SWEEP / count, name: 'x402 batch, its share of the sweep' };
      rows.push(against('.x402', x402), against('.raiden', RAIDEN));
    }
    rows.push(against('.minimal', { gas: MINIMAL[count]!, name: 'minimal compact batch' }));
  }
  return rows;
}

/** After `settling`: the payee has been credited before. */
async function ticking(scene: Scene): Promise<Row[]> {
  const { hub, payee } = scene;
  const { address } = payee.account;
  const redeem = async (rowCount: number, count: number): Promise<number> => {
    const some = channels(rowCount);
    await openAll(scene, payee, some);
    const before = await hub.credit(address, await scene.chain.head());
    const rows = some.map((channel) => tickRow(scene, channel, address, count));
    const total = await used(payee, only(hub.settleTicks(address, rows)));
    const gained = (await hub.credit(address, await scene.chain.head())) - before;
    const claims = rows.reduce((sum, one) => sum + Tick.claimOf(one), 0n);
    check(gained === claims, `ticks that claim ${claims} credited ${gained}`);
    return total;
  };
  const one = await redeem(1, 64);
  const longest = await redeem(1, CHAIN_LENGTH);
  const batch = await redeem(100, 64);
  const steps = CHAIN_LENGTH - 64;
  return [
    row('gas.settle_ticks.1x64', 'settleTicks of 1 row of 64 ticks', one, 1, null, true),
    row('gas.settle_ticks.1x1024', 'settleTicks of 1 row of 1,024 ticks', longest, 1, null, true),
    row('gas.settle_ticks.100x64', 'settleTicks of 100 rows of 64 ticks, per row', batch, 100, null, true),
    row('gas.settle_ticks.step', 'what each tick of a row costs', longest - one, steps, null, true),
  ];
}

/** Tick `count` of a chain whose end is the channel's secret, hashed. */
function tickRow({ hub }: Scene, { secret }: Channel, payee: Uint8Array, count: number): Uint8Array {
  let value: Uint8Array = digestOf('sha256', secret, 'buffer');
  let tick = value;
  for (let left = CHAIN_LENGTH; left > 0; left--) {
    if (left === count) tick = value;
    value = digestOf('sha256', value, 'buffer');
  }
  const { chainId, hub: verifyingContract } = hub.domain;
  const digest = TypedDataEncoder.hash(
    { name: 'Piecework', version: '1', chainId, verifyingContract: hex(verifyingContract) },
    { TickVoucher: TICK_FIELDS },
    { payee: hex(payee), cumulativeAmount: AMOUNT, root: hex(value), unit: UNIT, length: CHAIN_LENGTH },
  );
  const signature = call((addon) => addon.signDigests(secret, Buffer.from(digest.slice(2), 'hex')));
  const [r, vs] = [signature.slice(0, 32), signature.slice(32)];
  return Tick.encode({ amount: AMOUNT, unit: UNIT, length: CHAIN_LENGTH, count, tick, r, vs });
}

const hex = (bytes: Uint8Array): string => `0x${Buffer.from(bytes).toString('hex')}`;

async function closing(scene: Scene): Promise<Row[]> {
  const { hub, payer, payee, dev } = scene;
  const address = payee.account.address;
  const close = async (some: readonly Channel[], settled: boolean): Promise<number> => {
    await openAll(scene, payee, some);
    if (settled) await settle(scene, payee, some);
    const closings = some.map((channel) => {
      return { voucherKey: channel.voucherKey, row: settled ? undefined : voucher(scene, channel, address) };
    });
    const total = await used(payee, only(hub.cooperativeClose(address, closings)));
    const keys = some.map(({ voucherKey }) => ({ voucherKey, payee: address }));
    const facts = await hub.readChannels(keys);
    const done = facts.every((fact) => fact.settled === AMOUNT && fact.closeAt === 0xffff_ffff);
    check(done, 'a channel was not closed at its head');
    return total;
  };
  const first = await close(channels(1), false);
  const later = await close(channels(1), false);
  const settledBefore = await close(channels(1), true);
  const batch = await close(channels(100), false);
  const [alone] = channels(1);
  await openAll(scene, payee, [alone!]);
  const key = { voucherKey: alone!.voucherKey, payee: address };
  const request = await used(payer, hub.requestClose(key));
  await ask(dev.rpcUrl, 'evm_increaseTime', CHALLENGE_PERIOD + 1);
  await ask(dev.rpcUrl, 'anvil_mine', '0x1');
  const withdrawal = await used(payer, hub.withdraw(key));
  const credit = await used(payer, hub.withdrawCredit(payer.account.address, payer.account.address));
  return [
    row('gas.close', 'cooperative close of 1 with its head', later, 1, null),
    row('gas.close.first', 'the same, the payer’s first credit ever', first, 1, null, true),
    row('gas.close.settled', 'the same, of a settled channel', settledBefore, 1, null, true),
    row('gas.close.100', 'cooperative close of 100 with their heads, per channel', batch, 100, null, true),
    row('gas.close.request', 'requestClose', request, 1, null, true),
    row('gas.close.withdraw', 'withdraw after the challenge period', withdrawal, 1, null, true),
    row('gas.close.credit', 'withdrawCredit', credit, 1, null, true),
  ];
}

/** Settles a voucher of each channel and looks whether the hub says so too. */
async function settle(scene: Scene, payee: Senders.Sender, some: readonly Channel[]): Promise<number> {
  const { address } = payee.account;
  const before = await scene.hub.credit(address, await scene.chain.head());
  const rows = some.map((channel) => voucher(scene, channel, address));
  const total = await used(payee, only(scene.hub.settle(address, rows)));
  const gained = (await scene.hub.credit(address, await scene.chain.head())) - before;
  check(gained === AMOUNT * BigInt(some.length), `settling ${some.length} vouchers credited ${gained}`);
  return total;
}

function voucher({ hub }: Scene, { secret }: Channel, payee: Uint8Array): Uint8Array {
  const { chainId, hub: address } = hub.domain;
  const domain = call((addon) => addon.domainSeparator(chainId, address));
  return call((addon) => addon.signVoucher(domain, secret, payee, AMOUNT));
}

let nextKey = 0;

/** Voucher keys that no other channel has: every slot that is touched is cold and new. */
function channels(count: number): Channel[] {
  return Array.from({ length: count }, () => {
    const index = BigInt(nextKey++);
    const voucherKey = call((addon) => addon.deriveVoucherKeys(SEED, index, 1));
    return { voucherKey, secret: call((addon) => addon.deriveVoucherSecret(SEED, index)) };
  });
}

/** Opens channels in as few transactions as the product sends; the gas of all of them. */
async function openAll(scene: Scene, payee: Senders.Sender, some: readonly Channel[]): Promise<number> {
  const openings = some.map(({ voucherKey }) => {
    return { voucherKey, payee: payee.account.address, deposit: DEPOSIT };
  });
  let total = 0;
  for (const one of scene.hub.openMany(openings)) total += await used(scene.payer, one);
  return total;
}

async function openFifty(scene: Scene): Promise<number> {
  const payees = channels(50).map(({ voucherKey }) => voucherKey);
  const openings = channels(50).map(({ voucherKey }, index) => {
    return { voucherKey, payee: payees[index]!, deposit: DEPOSIT };
  });
  const total = await used(scene.payer, only(scene.hub.openMany(openings)));
  const facts = await scene.hub.readChannels(openings);
  check(
    facts.every(({ deposit }) => deposit === DEPOSIT),
    'a channel was not opened',
  );
  return total;
}

/** Gas of the whole transaction, as its receipt says. */
async function used(sender: Senders.Sender, wanted: Call): Promise<number> {
  const receipt = await sender.send(wanted);
  return Number(receipt.gasUsed);
}

function only(calls: readonly Call[]): Call {
  check(calls.length === 1, `${calls.length} transactions instead of one`);
  return calls[0]!;
}

function row(id: string, what: string, total: number, count: number, peer: number | null, info = false): Row {
  const ours = total / count;
  // Less gas is better: the ratio says how many times less.
  return { id, what, unit: 'gas', ours, peer, ratio: peer === null ? null : peer / ours, info };
}

async function openScene(): Promise<Scene> {
  const dev = await DevChain.start({ blockTime: 0 });
  const ends: Array<() => Promise<void>> = [() => dev.stop()];
  const end = async (): Promise<void> => {
    for (const one of ends.reverse()) await one();
  };
  try {
    // The node tries a settle of 1,000 some twenty times to estimate it, which takes a busy machine a while.
    const chain = await Chains.connect(dev.profile, { timeoutMs: 120_000 });
    ends.push(async () => chain.close());
    const sender = async (index: number): Promise<Senders.Sender> => {
      const opened = await Senders.open(chain, dev.accounts[index]!, memoryStore(), { pollMs: 10 });
      ends.push(() => opened.close());
      return opened;
    };
    const [payer, payee, newcomer] = [await sender(0), await sender(1), await sender(2)];
    const artifact = await readArtifact();
    const deployed = await Deploy.deploy(chain, payer, artifact, CHALLENGE_PERIOD);
    const hub = new Hub(chain, deployed.hub, artifact);
    await hub.verify();
    return { dev, hub, chain, payer, payee, newcomer, deployGas: Number(deployed.gas), end };
  } catch (thrown) {
    await end();
    throw thrown;
  }
}

/** One raw question to the node, for what the product never asks. */
async function ask(url: string, method: string, ...params: unknown[]): Promise<void> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  });
  const { error } = (await response.json()) as { error?: { message: string } };
  if (error) throw new Error(`${method}: ${error.message}`);
}
