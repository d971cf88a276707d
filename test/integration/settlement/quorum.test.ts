/**
 * Several nodes, one of them wrong: what is believed, what is not, who is told of and set aside, and that it
 * all comes back.
 */
import { hexlify } from 'ethers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ChannelKey, TOMBSTONE } from '../../../src/channels/channel.js';
import { systemClock } from '../../../src/clock.js';
import { cautious, type Known } from '../../../src/settlement/caution.js';
import type { Chain, ChainOptions } from '../../../src/settlement/chain.js';
import * as DevChains from '../../../src/settlement/dev-chain.js';
import { Hub } from '../../../src/settlement/hub.js';
import { readArtifact } from '../../../src/settlement/hub-code.js';
import type { Alarm } from '../../../src/settlement/quorum.js';
import { type FaultyNode, startFaultyNode } from '../../support/faulty-node.js';
import {
  ask,
  BTT,
  connectTo,
  deployHub,
  failure,
  keyOf,
  mine,
  startChain,
  startRelay,
  until,
  voucherWallet,
  withSender,
} from './support.js';

let dev: DevChains.DevChain;
let truth: Chain;
let hub: Hub;
let nodes: FaultyNode[];
let other: DevChains.DevChain;
let key: ChannelKey;
let nth = 0;
const alarms: Alarm[] = [];
const open: Chain[] = [];

beforeAll(async () => {
  [dev, other] = await Promise.all([startChain(), DevChains.start({ blockTime: 0, chainId: 271n })]);
  truth = await connectTo(dev.profile);
  hub = await deployHub(truth, dev.accounts[0]!);
  nodes = await Promise.all(
    [1, 2, 3].map((seed) => startFaultyNode(dev.rpcUrl, { seed, other: other.rpcUrl, behind: 40 })),
  );
  await Promise.all([mine(dev.rpcUrl, 50), mine(other.rpcUrl, 2)]);
});
afterAll(async () => {
  truth?.close();
  await Promise.all(nodes?.map((node) => node.stop()) ?? []);
  await Promise.all([dev?.stop(), other?.stop()]);
});
beforeEach(async () => {
  key = keyOf(voucherWallet(++nth), dev.accounts[1]!);
  await pay(hub.open({ ...key, deposit: 10n * BTT }));
});
afterEach(async () => {
  for (const chain of open.splice(0)) chain.close();
  for (const node of nodes) await node.become(undefined);
  alarms.length = 0;
});

const account = (index: number) => dev.accounts[index]!.address;
const pay = (call: Parameters<Parameters<Parameters<typeof withSender>[2]>[0]['send']>[0]) =>
  withSender(truth, dev.accounts[0]!, (sender) => sender.send(call));

async function through(count: number, options: ChainOptions = {}): Promise<Chain> {
  const rpcUrls = nodes.slice(0, count).map(({ url }) => url);
  const onAlarm = (alarm: Alarm): unknown => alarms.push(alarm);
  const chain = await connectTo(dev.profile, {
    ...{ rpcUrls, timeoutMs: 1_500, retriesMax: 1, asideMs: 60, onAlarm },
    ...options,
  });
  open.push(chain);
  return chain;
}

async function seen(chain: Chain, known?: Known): Promise<Hub> {
  const options = known === undefined ? {} : { known: async () => known };
  const seenHub = new Hub(chain, hub.domain.hub, await readArtifact(), options);
  await seenHub.verify();
  return seenHub;
}

const booked: Known = { deposit: 4n * BTT, settled: 0n, closeAt: 0 };

describe('two nodes that agree', () => {
  it('make a fact of what they say, and say who is asked', async () => {
    const chain = await through(2);
    expect(chain.agreement).toBe(2);
    expect(chain.nodes).toEqual(nodes.slice(0, 2).map(({ url }) => ({ node: url, inUse: true })));
    expect((await (await seen(chain)).readChannels([key]))[0]).toMatchObject({ deposit: 10n * BTT });
    expect(alarms).toEqual([]);
  });

  it('are as many as the setting says, which cannot be more than there are', async () => {
    expect((await through(2, { agreement: 1 })).agreement).toBe(1);
    expect((await through(3)).agreement).toBe(2);
    expect((await failure(through(2, { agreement: 3 }))).code).toBe('BAD_CONFIG');
    expect((await failure(through(2, { agreement: 0 }))).code).toBe('BAD_CONFIG');
  });
});

describe('one of two that lies about channels', () => {
  it('raises no credit, hides no close, and is told of by scheme and host', async () => {
    const chain = await through(2);
    const both = await seen(chain, booked);
    await nodes[0]!.become('lying_balance');
    // The deposit rose since it was booked, and the nodes do not agree to what: it stays as booked.
    expect((await both.readChannels([key]))[0]).toMatchObject({ deposit: 4n * BTT, closeAt: 0 });
    expect(new Set(alarms.map(({ node }) => node))).toEqual(new Set([nodes[0]!.url, nodes[1]!.url]));
    expect(alarms[0]).toMatchObject({ kind: 'contradiction' });
    expect(chain.alarms.contradiction).toBeGreaterThan(0);
    await pay(hub.requestClose(key));
    const [closing] = await both.readChannels([key]);
    expect(closing!.closeAt).toBe((await hub.readChannels([key]))[0]!.closeAt);
    expect(closing!.closeAt).toBeGreaterThan(0);
    await nodes[0]!.become(undefined);
    expect((await both.readChannels([key]))[0]).toMatchObject({ deposit: 10n * BTT });
  });

  it('gives no deposit to a channel that nobody knew', async () => {
    const both = await seen(await through(2));
    await nodes[1]!.become('lying_balance');
    expect((await both.readChannels([key]))[0]!.deposit).toBe(0n);
  });
});

describe('one of three that lies', () => {
  it('is contradicted and set aside, and the others go on; later it is asked again', async () => {
    const chain = await through(3, { asideMs: 1_500 });
    const all = await seen(chain);
    await nodes[2]!.become('lying_balance');
    await all.readChannels([key]);
    expect(alarms.map(({ node, kind }) => [node, kind])).toEqual([[nodes[2]!.url, 'contradiction']]);
    expect(chain.nodes.map(({ inUse }) => inUse)).toEqual([true, true, false]);
    expect((await all.readChannels([key]))[0]).toMatchObject({ deposit: 10n * BTT });
    await nodes[2]!.become(undefined);
    await until(() => chain.nodes.every(({ inUse }) => inUse));
    expect(chain.nodes.map(({ inUse }) => inUse)).toEqual([true, true, true]);
    await nodes[0]!.become('lying_balance');
    expect((await all.readChannels([key]))[0]).toMatchObject({ deposit: 10n * BTT });
    expect(alarms.at(-1)).toMatchObject({ node: nodes[0]!.url, kind: 'contradiction' });
  });

  it('about a receipt is contradicted too', async () => {
    const chain = await through(3);
    const { hash } = await pay(hub.topUp(key, BTT, 10n * BTT));
    const honest = await chain.receipt(hash);
    await nodes[1]!.become('missing_logs');
    expect(await chain.receipt(hash)).toEqual(honest);
    expect(alarms.map(({ node, kind }) => [node, kind])).toEqual([[nodes[1]!.url, 'contradiction']]);
  });
});

describe('a receipt', () => {
  it.each(['missing_logs', 'duplicate_logs', 'lying_receipt'] as const)(
    'that one of two nodes falsifies (%s) settles nothing',
    async (fault) => {
      const chain = await through(2);
      const { hash } = await pay(hub.topUp(key, BTT, 10n * BTT));
      await nodes[1]!.become(fault);
      expect(await failure(chain.receipt(hash))).toMatchObject({
        code: 'CHAIN_UNREACHABLE',
        message: expect.stringContaining('no agreement on the receipt'),
      });
      await nodes[1]!.become(undefined);
      expect((await chain.receipt(hash))!.logs.length).toBe(1);
    },
  );

  it('of a transaction that never was is not believed from one', async () => {
    const chain = await through(2);
    await nodes[0]!.become('lying_receipt');
    const never = `0x${'ab'.repeat(32)}`;
    expect((await failure(chain.receipt(never))).code).toBe('CHAIN_UNREACHABLE');
    await nodes[0]!.become(undefined);
    expect(await chain.receipt(never)).toBeUndefined();
  });
});

describe('only one of two that answers', () => {
  it('raises no credit, shows a close, and what is sent to it arrives', async () => {
    const chain = await through(2);
    const both = await seen(chain, booked);
    await nodes[0]!.become('connection_reset');
    expect((await both.readChannels([key]))[0]).toMatchObject({ deposit: 4n * BTT, closeAt: 0 });
    expect(alarms).toMatchObject([{ node: nodes[0]!.url, kind: 'silent' }]);
    await pay(hub.requestClose(key));
    expect((await both.readChannels([key]))[0]!.closeAt).toBeGreaterThan(0);

    const account = dev.accounts[2]!;
    const to = dev.accounts[3]!.address;
    const before = await truth.balance(to);
    const send = withSender(
      chain,
      account,
      (sender) => sender.send({ to, data: '0x', value: 5n, purpose: 'try', intent: 'try' }),
      undefined,
      { waitMs: 600 },
    );
    // It is on the chain, and not called confirmed while one node alone says so.
    expect((await failure(send)).code).toBe('TX_TIMEOUT');
    expect(await truth.balance(to)).toBe(before + 5n);
    await nodes[0]!.become(undefined);
    await until(() => chain.nodes.every(({ inUse }) => inUse));
    expect((await both.readChannels([key]))[0]).toMatchObject({ deposit: 10n * BTT });
  });

  it('is enough to start with, and for nothing that raises credit until the other is back', async () => {
    await nodes[1]!.become('server_error');
    const chain = await through(2);
    const both = await seen(chain);
    expect((await both.readChannels([key]))[0]!.deposit).toBe(0n);
    await nodes[1]!.become(undefined);
    await until(() => chain.nodes.every(({ inUse }) => inUse));
    expect((await both.readChannels([key]))[0]!.deposit).toBe(10n * BTT);
  });

  it('does not make a nonce used', async () => {
    const chain = await through(2);
    const account = dev.accounts[0]!.address;
    await nodes[0]!.become('timeout');
    expect(await chain.nonce(account, 'latest')).toBe(0);
    expect(await chain.nonce(account, 'pending')).toBeGreaterThan(0);
    await nodes[0]!.become(undefined);
    await until(() => chain.nodes.every(({ inUse }) => inUse));
    expect(await chain.nonce(account, 'latest')).toBe(await truth.nonce(account, 'latest'));
  });
});

describe('a stale node', () => {
  it('of two hides no close: the newest block is read, without agreement', async () => {
    const chain = await through(2);
    const both = await seen(chain, { ...booked, deposit: 10n * BTT });
    await nodes[1]!.become('stale_head');
    await pay(hub.requestClose(key));
    expect((await chain.head()).number).toBe((await truth.head()).number);
    expect((await both.readChannels([key]))[0]!.closeAt).toBeGreaterThan(0);
    expect(alarms).toMatchObject([{ node: nodes[1]!.url, kind: 'stale' }]);
    expect(alarms[0]!.detail).toMatch(/4\d blocks behind the others/);
  });

  it('of three is set aside', async () => {
    const chain = await through(3, { asideMs: 60_000 });
    await nodes[0]!.become('stale_head');
    expect((await chain.head()).number).toBe((await truth.head()).number);
    expect(chain.nodes.map(({ inUse }) => inUse)).toEqual([false, true, true]);
  });
});

describe('a node of another chain', () => {
  it('is not asked anything while others are there, and is told of', async () => {
    await nodes[0]!.become('wrong_chain');
    const chain = await through(2, { asideMs: 60_000 });
    expect(alarms).toMatchObject([{ node: nodes[0]!.url, kind: 'wrong_chain' }]);
    expect(chain.node).toBe(nodes[1]!.url);
  });
});

describe('a block', () => {
  it('that is dated back by who names it makes nothing confirmed', async () => {
    const both = await seen(await through(2), booked);
    const head = await truth.head();
    const agreed = await both.readChannels([key], head);
    expect(agreed[0]!.deposit).toBe(10n * BTT);
    // The newest state under the number of an old block.
    for (const lie of [{ number: head.number - 40n }, { timestamp: 1n }, { parentHash: head.hash }]) {
      expect((await both.readChannels([key], { ...head, ...lie }))[0]!.deposit).toBe(4n * BTT);
    }
  });

  it('is vouched for by enough nodes, not by one', async () => {
    const chain = await through(2);
    const head = await truth.head();
    await nodes[0]!.become('server_error');
    expect(await chain.vouches(head)).toBe(false);
    await nodes[0]!.become(undefined);
    await until(() => chain.nodes.every(({ inUse }) => inUse));
    expect(await chain.vouches(head)).toBe(true);
  });
});

describe('a node that moves to another chain without ever failing', () => {
  it.each([
    ['heads', (chain: Chain) => chain.head()],
    ['a block', (chain: Chain) => chain.block(1n)],
  ])('is found out at once when it contradicts the only other one on %s', async (_, look) => {
    const chain = await through(2, { asideMs: 60_000 });
    await nodes[0]!.become('wrong_chain');
    await look(chain);
    expect(alarms.some(({ kind }) => kind === 'wrong_chain')).toBe(false);
    await look(chain);
    expect(alarms.at(-1)).toMatchObject({ node: nodes[0]!.url, kind: 'wrong_chain' });
    expect(chain.nodes.map(({ inUse }) => inUse)).toEqual([false, true]);
  });

  it('is found out when it has to show its chain again', async () => {
    let aheadMs = 0;
    const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
    const chain = await through(1, { clock });
    await nodes[0]!.become('wrong_chain');
    expect((await chain.head()).hash).not.toBe((await truth.head()).hash);
    aheadMs = 31_000;
    const error = await failure(chain.head());
    expect(error).toMatchObject({
      code: 'CHAIN_UNREACHABLE',
      message: expect.stringContaining('serves chain 271'),
    });
    await nodes[0]!.become(undefined);
    expect((await chain.head()).hash).toBe((await truth.head()).hash);
  });
});

describe('an alarm', () => {
  it('that stands is counted each time and told once', async () => {
    const chain = await through(2, { asideMs: 1 });
    await nodes[0]!.become('server_error');
    for (let tries = 0; tries < 4; tries++) {
      await chain.head();
      await new Promise((go) => setTimeout(go, 30));
    }
    expect(alarms.length).toBe(1);
    expect(chain.alarms.silent).toBeGreaterThan(1);
  });
});

describe('a slow node', () => {
  it('is not waited for once enough have answered', async () => {
    const chain = await through(3, { timeoutMs: 3_000, asideMs: 60_000 });
    await nodes[2]!.become('timeout');
    // Neither for the time that is allowed nor for a further try.
    expect((await chain.head()).number).toBe((await truth.head()).number);
    expect(chain.nodes.map(({ inUse }) => inUse)).toEqual([true, true, true]);
    // Once it has let its time pass it is told of and set aside all the same.
    await until(() => alarms.length > 0);
    expect(alarms).toMatchObject([{ node: nodes[2]!.url, kind: 'silent' }]);
    expect(chain.nodes.map(({ inUse }) => inUse)).toEqual([true, true, false]);
  });
});

describe('quantities', () => {
  it('are the greatest that enough nodes reach', async () => {
    const chain = await through(2);
    const { address } = dev.accounts[4]!;
    const balance = await truth.balance(address);
    await nodes[0]!.become('lying_balance');
    expect(await chain.balance(address, await chain.head())).toBe(balance);
    // Sending is not held up by a node that sees less than others.
    await nodes[0]!.become(undefined);
    await nodes[1]!.become('stale_head');
    await pay({ to: account(7), data: '0x', value: BTT, purpose: 'try', intent: 'try' });
    expect(await chain.balance(account(7))).toBe(await truth.balance(account(7)));
    expect(await chain.gasPrice()).toBe(dev.profile.gasPriceFloor);
  });
});

describe('caution', () => {
  const at = { number: 9n, hash: '0x', parentHash: '0x', timestamp: 1_000n };
  const facts = (deposit: bigint, settled: bigint, closeAt: number) => ({
    ...{ voucherKey: new Uint8Array(20), payee: new Uint8Array(20), owner: new Uint8Array(20) },
    ...{ deposit, settled, closeAt, block: 1n },
  });
  const [open5, open7, open9] = [facts(5n, 0n, 0), facts(7n, 0n, 0), facts(9n, 0n, 0)];
  it.each([
    ['the deposit that is booked', [open9], [], open7, [7n, 0n, 0]],
    ['no deposit of the unknown', [open9], [], undefined, [0n, 0n, 0]],
    ['no settlement', [facts(9n, 9n, 0)], [], facts(9n, 2n, 0), [9n, 2n, 0]],
    ['the settlement that is booked', [open9], [], facts(9n, 2n, 0), [9n, 2n, 0]],
    ['any close', [open9, facts(9n, 0n, 2_000)], [], open9, [9n, 0n, 2_000]],
    ['a newer close', [open9], [facts(9n, 0n, 2_000)], open9, [9n, 0n, 2_000]],
    ['the earlier close', [facts(9n, 0n, 3_000)], [], facts(9n, 0n, 2_000), [9n, 0n, 2_000]],
    ['a close that is booked', [open9], [], facts(9n, 0n, 2_000), [9n, 0n, 2_000]],
    ['an end as a close that is due', [facts(9n, 0n, TOMBSTONE)], [], open9, [9n, 0n, 1_000]],
    ['a lower deposit as a close that is due', [open9, open5], [], open7, [7n, 0n, 1_000]],
    ['nothing of a lower deposit that may be old', [open9], [open5], open7, [7n, 0n, 0]],
    ['an end that is booked', [open9], [], facts(9n, 3n, TOMBSTONE), [9n, 3n, TOMBSTONE]],
  ])('believes %s', (_, said, newest, known, expected) => {
    const { deposit, settled, closeAt } = cautious(said, newest, known, at);
    expect([deposit, settled, closeAt]).toEqual(expected);
  });
});

describe('a node that refuses the block that is asked for', () => {
  it('is heard on a close all the same, when the other hides it', async () => {
    const relay = await startRelay(dev.rpcUrl);
    const rpcUrls = [nodes[0]!.url, relay.url];
    const both = await seen(await through(2, { rpcUrls }), { ...booked, deposit: 10n * BTT });
    await pay(hub.requestClose(key));
    await nodes[0]!.become('lying_balance');
    relay.fault = (method, _, [, at]) =>
      method === 'eth_call' && at !== 'latest'
        ? { kind: 'answer', body: { error: { code: -32000, message: 'header not found' } } }
        : undefined;
    const [facts] = await both.readChannels([key]);
    expect(facts!.closeAt).toBe((await hub.readChannels([key]))[0]!.closeAt);
    await relay.stop();
  });
});

describe('a hub that only one node vouched for', () => {
  it('is asked about again before anything is credited', async () => {
    const artifact = await readArtifact();
    const copy = await deployHub(truth, dev.accounts[8]!);
    const address = hexlify(copy.domain.hub);
    await withSender(truth, dev.accounts[0]!, (sender) => sender.send(copy.open({ ...key, deposit: BTT })));
    const right = await truth.code(copy.domain.hub);
    // Another contract by its last byte, which behaves like the hub; one node shows the right code.
    await ask(dev.rpcUrl, 'anvil_setCode', address, `${right.slice(0, -2)}77`);
    await mine(dev.rpcUrl);
    const relay = await startRelay(dev.rpcUrl);
    relay.fault = (method) =>
      method === 'eth_getCode' ? { kind: 'answer', body: { result: right } } : undefined;
    await nodes[0]!.become('server_error');
    const chain = await through(2, { rpcUrls: [relay.url, nodes[0]!.url] });
    const fake = new Hub(chain, copy.domain.hub, artifact);
    await fake.verify();
    await nodes[0]!.become(undefined);
    await until(() => chain.nodes.every(({ inUse }) => inUse));
    expect(chain.nodes.map(({ inUse }) => inUse)).toEqual([true, true]);
    expect((await fake.readChannels([key]))[0]!.deposit).toBe(0n);
    // And with the code put right it is.
    await ask(dev.rpcUrl, 'anvil_setCode', address, right);
    await mine(dev.rpcUrl);
    expect((await fake.readChannels([key]))[0]!.deposit).toBe(BTT);
    await relay.stop();
  });
});

it('never shows more of a node’s address than scheme and host', async () => {
  const { host } = new URL(nodes[0]!.url);
  const rpcUrls = [`http://${host}/secret-path?key=secret-query`, nodes[1]!.url];
  await nodes[0]!.become('server_error');
  const onAlarm = (alarm: Alarm): unknown => alarms.push(alarm);
  open.push(await connectTo(dev.profile, { rpcUrls, onAlarm, retriesMax: 0 }));
  expect(alarms.length).toBe(1);
  expect(JSON.stringify(alarms)).not.toContain('secret');
});
