import { getBytes } from 'ethers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { TOMBSTONE } from '../../../src/channels/channel.js';
import { PieceworkError } from '../../../src/errors.js';
import type { Account } from '../../../src/settlement/account.js';
import type { Chain } from '../../../src/settlement/chain.js';
import type { DevChain } from '../../../src/settlement/dev-chain.js';
import { Hub } from '../../../src/settlement/hub.js';
import { readArtifact } from '../../../src/settlement/hub-code.js';
import type { Tier } from '../../../src/settlement/tiers.js';
import {
  type Change,
  Watcher,
  type WatcherHandlers,
  type WatcherOptions,
} from '../../../src/settlement/watcher.js';
import {
  ask,
  automine,
  BTT,
  connectTo,
  deployHub,
  keyOf,
  mine,
  passTime,
  type Relay,
  row,
  startChain,
  startRelay,
  until,
  voucherWallet,
  withSender,
} from './support.js';

const PERIOD = 600;
let dev: DevChain;
let relay: Relay;
let chain: Chain;
let hub: Hub;
let payer: Account;
let payee: Account;
let number = 0;

beforeAll(async () => {
  dev = await startChain();
  relay = await startRelay(dev.rpcUrl);
  chain = await connectTo(dev.profile);
  hub = await deployHub(chain, dev.accounts[0]!, PERIOD);
  [payer, payee] = [dev.accounts[1]!, dev.accounts[2]!];
});
afterAll(async () => {
  chain?.close();
  await relay?.stop();
  await dev?.stop();
});

let watched: Chain;
let watcher: Watcher | undefined;
beforeEach(() => {
  number++;
  relay.fault = () => undefined;
});
afterEach(async () => {
  await watcher?.stop();
  watched?.close();
  await automine(dev.rpcUrl, true);
  await mine(dev.rpcUrl);
});

const wallet = () => voucherWallet(number);
const key = () => keyOf(wallet(), payee);
const open = (deposit = 10n * BTT) =>
  withSender(chain, payer, (sender) => sender.send(hub.open({ ...key(), deposit })));

const strangerKey = (one: number) => getBytes(`0x${(one + 1).toString(16).padStart(40, '7')}`);

interface Heard {
  readonly changes: Change[];
  readonly events: string[];
}

/** A watcher that goes through the relay and writes down what it reports. */
async function watching(
  confirmations = 1,
  more: Partial<WatcherHandlers> = {},
  pollMs = 15,
  early: readonly Tier[] = [],
  options: Partial<WatcherOptions> = {},
): Promise<Heard> {
  watched = await connectTo({ ...dev.profile, confirmations }, { rpcUrls: [relay.url], retriesMax: 0 });
  const through = new Hub(watched, hub.domain.hub, await readArtifact());
  const heard: Heard = { changes: [], events: [] };
  watcher = new Watcher(
    watched,
    through,
    {
      onFacts: (changes) => void heard.changes.push(...changes),
      onFailure: (error) => heard.events.push(`failure ${error.code}`),
      onReorg: (gone, at) => heard.events.push(`reorg ${gone.number >= at.number - 10n}`),
      onUnreachable: (error) => heard.events.push(`unreachable ${error.code}`),
      onReachable: () => heard.events.push('reachable'),
      ...more,
    },
    { tiers: [...early, { confirmations, depositMax: undefined }], pollMs, backoffMsMax: 60, ...options },
  );
  return heard;
}

describe('a watched channel', () => {
  it('is reported once when it is first read, and then only when it changes', async () => {
    await open();
    const heard = await watching();
    watcher!.watch(key());
    watcher!.watch(key());
    expect(watcher!.size).toBe(1);
    watcher!.start();
    watcher!.start();
    await until(() => heard.changes.length > 0);
    expect(heard.changes).toMatchObject([{ facts: { deposit: 10n * BTT, closeAt: 0 }, before: undefined }]);
    for (let blocks = 0; blocks < 3; blocks++) {
      await mine(dev.rpcUrl);
      await new Promise((go) => setTimeout(go, 40));
    }
    expect(heard.changes.length).toBe(1);
    expect(heard.events).toEqual([]);
  });

  it('is told in full until the chain is beyond what the caller has booked', async () => {
    await open();
    const heard = await watching();
    const { number } = await chain.head();
    watcher!.watch(key(), number + 2n);
    await watcher!.poll();
    for (let blocks = 0; blocks < 4; blocks++) {
      await mine(dev.rpcUrl);
      await watcher!.poll();
    }
    expect(heard.changes.map(({ facts }) => facts.block - number)).toEqual([0n, 1n, 2n]);
    watcher!.unwatch(key());
    expect(watcher!.size).toBe(0);
  });

  it('is seen through its life: opened, topped up, settled, closing, rescued, closed', async () => {
    const heard = await watching();
    watcher!.watch(key());
    watcher!.start();
    const last = () => heard.changes.at(-1)?.facts;
    await until(() => last()?.deposit === 0n);
    await open();
    await until(() => last()?.deposit === 10n * BTT);
    await withSender(chain, payer, async (sender) => {
      await sender.send(hub.topUp(key(), BTT, 10n * BTT));
      await until(() => last()?.deposit === 11n * BTT);
      const head = await row(wallet(), hub.domain, payee.address, 3n * BTT);
      await sender.send(hub.settle(payee.address, [head])[0]!);
      await until(() => last()?.settled === 3n * BTT);
      const asked = await sender.send(hub.requestClose(key()));
      const { timestamp } = (await chain.block(asked.block))!;
      await until(() => last()?.closeAt === Number(timestamp) + PERIOD);
      await sender.send(hub.topUp(key(), BTT, 11n * BTT));
      await until(() => last()?.closeAt === 0);
      await sender.send(hub.requestClose(key()));
      await passTime(dev.rpcUrl, PERIOD);
      await sender.send(hub.withdraw(key()));
      await until(() => last()?.closeAt === TOMBSTONE);
    });
    for (const [index, { before }] of heard.changes.entries()) {
      if (index > 0)
        expect(before).toEqual(expect.objectContaining({ deposit: heard.changes[index - 1]!.facts.deposit }));
    }
    expect(heard.events).toEqual([]);
  });

  it('counts only what is confirmed', async () => {
    const heard = await watching(4);
    watcher!.watch(key());
    await watcher!.poll();
    const opened = await open();
    await watcher!.poll();
    await mine(dev.rpcUrl, 2);
    await watcher!.poll();
    expect(heard.changes.map(({ facts }) => facts.deposit)).toEqual([0n]);
    await mine(dev.rpcUrl);
    await watcher!.poll();
    expect(heard.changes.map(({ facts }) => facts.deposit)).toEqual([0n, 10n * BTT]);
    expect(heard.changes[1]!.facts.block).toBe(opened.block + 3n);
  });

  it('is read as soon as it is watched, long before the next poll and without a new block', async () => {
    const heard = await watching(1, {}, 3_600_000);
    watcher!.start();
    await until(() => relay.asked.at(-1) === 'eth_getBlockByNumber');
    await new Promise((go) => setTimeout(go, 50));
    watcher!.watch(key());
    await until(() => heard.changes.length === 1);
  });

  it('is read again when reading failed, without a new block', async () => {
    const heard = await watching();
    await watcher!.poll();
    watcher!.watch(key());
    relay.fault = (method) => (method === 'eth_call' ? { kind: 'drop' } : undefined);
    await expect(watcher!.poll()).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE' });
    relay.fault = () => undefined;
    await watcher!.poll();
    expect(heard.changes.length).toBe(1);
  });
});

describe('credit by tier', () => {
  const early = [{ confirmations: 3, depositMax: 4n * BTT }];
  const counts = (heard: Heard) => heard.changes.map(({ facts }) => [facts.deposit / BTT, facts.early / BTT]);

  it('counts nothing at first, a part early, and all of it when it is deep', async () => {
    const heard = await watching(6, {}, 15, early);
    watcher!.watch(key());
    await watcher!.poll();
    await open();
    for (let blocks = 1; blocks <= 7; blocks++) {
      await watcher!.poll();
      const { deposit } = heard.changes.at(-1)!.facts;
      expect(deposit).toBe(blocks < 3 ? 0n : blocks < 6 ? 4n * BTT : 10n * BTT);
      await mine(dev.rpcUrl);
    }
    expect(counts(heard)).toEqual([
      [0n, 0n],
      [4n, 4n],
      [10n, 0n],
    ]);
  });

  it('counts a close request and its rescue at once, and the rescuing deposit when that is deep', async () => {
    await open();
    await mine(dev.rpcUrl, 6);
    const heard = await watching(6, {}, 15, early);
    watcher!.watch(key());
    await watcher!.poll();
    await withSender(chain, payer, async (sender) => {
      await sender.send(hub.requestClose(key()));
      await watcher!.poll();
      expect(heard.changes.at(-1)!.facts.closeAt).toBeGreaterThan(0);
      await sender.send(hub.topUp(key(), BTT, 10n * BTT));
    });
    for (let blocks = 1; blocks <= 7; blocks++) {
      await watcher!.poll();
      const { closeAt, deposit } = heard.changes.at(-1)!.facts;
      expect(closeAt).toBe(0);
      expect(deposit).toBe(blocks < 6 ? 10n * BTT : 11n * BTT);
      await mine(dev.rpcUrl);
    }
  });

  it('reads a channel when something happened to it or became deep, and not at every block', async () => {
    const heard = await watching(6, {}, 15, early);
    for (let one = 0; one < 1_000; one++) watcher!.watch({ ...key(), voucherKey: strangerKey(one) });
    watcher!.watch(key());
    await watcher!.poll();
    const reads = async (blocks: number): Promise<number[]> => {
      const counts: number[] = [];
      for (let block = 0; block < blocks; block++) {
        const from = relay.asked.length;
        await watcher!.poll();
        counts.push(relay.asked.slice(from).filter((method) => method === 'eth_call').length);
        await mine(dev.rpcUrl);
      }
      return counts;
    };
    await mine(dev.rpcUrl);
    expect(await reads(20)).toEqual(new Array(20).fill(0));
    await open();
    // At depth 1, 3 and 6: the newest view and one for each tier.
    expect(await reads(8)).toEqual([3, 0, 3, 0, 0, 3, 0, 0]);
    expect(heard.changes.at(-1)!.facts.deposit).toBe(10n * BTT);
  });

  it('finds out without logs too: by sweeps where they are empty, at every block where they are refused', async () => {
    const heard = await watching(1, {}, 15, [], { sweepBlocks: 5 });
    watcher!.watch(key());
    await watcher!.poll();
    relay.fault = (method) =>
      method === 'eth_getLogs' ? { kind: 'answer', body: { result: [] } } : undefined;
    await open();
    await watcher!.poll();
    expect(heard.changes.length).toBe(1);
    await mine(dev.rpcUrl, 5);
    await watcher!.poll();
    expect(heard.changes.length).toBe(2);
    relay.fault = (method) =>
      method === 'eth_getLogs'
        ? { kind: 'answer', body: { error: { code: -32000, message: 'no logs' } } }
        : undefined;
    await withSender(chain, payer, (sender) => sender.send(hub.requestClose(key())));
    await watcher!.poll();
    expect(heard.changes.at(-1)!.facts.closeAt).toBeGreaterThan(0);
  });
});

describe('a reorganisation', () => {
  it('takes back what was reported, and what comes instead is reported too', async () => {
    const heard = await watching();
    watcher!.watch(key());
    watcher!.start();
    await until(() => heard.changes.length === 1);
    const opened = await open();
    await until(() => heard.changes.at(-1)!.facts.deposit === 10n * BTT);
    await mine(dev.rpcUrl, 2);
    await automine(dev.rpcUrl, false);
    await ask(dev.rpcUrl, 'anvil_reorg', 3, []);
    await until(() => heard.changes.at(-1)!.facts.deposit === 0n);
    // Where the node takes its blocks out one after the other it is heard of more than once.
    expect(new Set(heard.events)).toEqual(new Set(['reorg true']));
    const raw = await ask(dev.rpcUrl, 'eth_getTransactionReceipt', opened.hash);
    expect(raw).toBeNull();
    await automine(dev.rpcUrl, true);
    await open(4n * BTT);
    await until(() => heard.changes.at(-1)!.facts.deposit === 4n * BTT);
  });

  it('of blocks that do not count yet is not one', async () => {
    const heard = await watching(6);
    await open();
    await mine(dev.rpcUrl, 8);
    watcher!.watch(key());
    watcher!.start();
    await until(() => heard.changes.length === 1);
    await ask(dev.rpcUrl, 'anvil_reorg', 4, []);
    await mine(dev.rpcUrl, 2);
    await new Promise((go) => setTimeout(go, 100));
    expect(heard.events).toEqual([]);
    expect(heard.changes.length).toBe(1);
  });

  it('to a shorter chain is seen', async () => {
    const heard = await watching();
    watcher!.watch(key());
    await open();
    await watcher!.poll();
    await ask(dev.rpcUrl, 'anvil_rollback', 2);
    await watcher!.poll();
    expect(heard.events).toEqual(['reorg true']);
    expect(heard.changes.at(-1)!.facts.deposit).toBe(0n);
  });

  it('is not what a node that lags behind shows', async () => {
    const heard = await watching();
    await watcher!.poll();
    const past = await chain.head();
    const old = await ask(dev.rpcUrl, 'eth_getBlockByNumber', `0x${past.number.toString(16)}`, false);
    watcher!.watch(key());
    await open();
    await watcher!.poll();
    expect(heard.changes.length).toBe(1);
    relay.fault = (method) =>
      method === 'eth_getBlockByNumber' ? { kind: 'answer', body: { result: old } } : undefined;
    await watcher!.poll();
    await watcher!.poll();
    expect(heard.events).toEqual([]);
    expect(heard.changes.length).toBe(1);
  });
});

describe('an outage', () => {
  it('is told once, waited out, and nothing that happened meanwhile is missed', async () => {
    await open();
    const heard = await watching();
    watcher!.watch(key());
    watcher!.start();
    await until(() => heard.changes.length === 1);
    relay.fault = () => ({ kind: 'drop' });
    await until(() => heard.events.length === 1);
    await withSender(chain, payer, (sender) => sender.send(hub.requestClose(key())));
    const asked = relay.asked.length;
    await new Promise((go) => setTimeout(go, 300));
    expect(relay.asked.length - asked).toBeLessThan(12);
    expect(relay.asked.length - asked).toBeGreaterThan(1);
    relay.fault = () => undefined;
    await until(() => heard.changes.length === 2);
    expect(heard.changes[1]!.facts.closeAt).toBeGreaterThan(0);
    expect(heard.events).toEqual(['unreachable CHAIN_UNREACHABLE', 'reachable']);
  });

  it('of one refused read is passed over, of many is told', async () => {
    const heard = await watching();
    watcher!.watch(key());
    let refusals = 2;
    relay.fault = (method) =>
      method === 'eth_call' && refusals-- > 0
        ? { kind: 'answer', body: { error: { code: -32000, message: 'missing trie node' } } }
        : undefined;
    watcher!.start();
    await until(() => heard.changes.length === 1);
    expect(heard.events).toEqual([]);
    refusals = 1_000;
    await open();
    await until(() => heard.events.length === 1);
    expect(heard.events).toEqual(['unreachable CHAIN_REJECTED']);
  });
});

describe('a watcher', () => {
  it('repeats what its handler did not take', async () => {
    await open();
    let refused = 0;
    const heard = await watching(1, {
      onFacts: async () => {
        if (refused++ === 0) throw new PieceworkError('LEDGER_POISONED');
      },
    });
    watcher!.watch(key());
    await expect(watcher!.poll()).rejects.toMatchObject({ code: 'LEDGER_POISONED' });
    await watcher!.poll();
    await watcher!.poll();
    expect(refused).toBe(2);
    expect(heard.events).toEqual([]);
  });

  it('ends and tells when its handler fails, and waits while the node serves another chain', async () => {
    await open();
    const heard = await watching(1, {
      onFacts: async () => Promise.reject(new PieceworkError('LEDGER_POISONED')),
    });
    watcher!.watch(key());
    watcher!.start();
    await until(() => heard.events.length === 1);
    expect(heard.events).toEqual(['failure LEDGER_POISONED']);
    await watcher!.stop();
    watched.close();

    const other = await watching();
    watcher!.start();
    await new Promise((go) => setTimeout(go, 40));
    relay.fault = () => ({ kind: 'drop' });
    await until(() => other.events.length === 1);
    relay.asked.length = 0;
    relay.fault = (method) =>
      method === 'eth_chainId' ? { kind: 'answer', body: { result: '0x1' } } : undefined;
    await until(() => relay.asked.filter((method) => method === 'eth_chainId').length > 2);
    expect(relay.asked.filter((method) => method !== 'eth_chainId')).toEqual([]);
    relay.fault = () => undefined;
    await until(() => other.events.length === 2);
    expect(other.events).toEqual(['unreachable CHAIN_UNREACHABLE', 'reachable']);
  });

  it('asks nothing and reports nothing after it has stopped', async () => {
    const heard = await watching();
    watcher!.watch(key());
    watcher!.start();
    await until(() => heard.changes.length === 1);
    await watcher!.stop();
    const asked = relay.asked.length;
    await open();
    await watcher!.poll();
    await new Promise((go) => setTimeout(go, 60));
    expect(relay.asked.length).toBe(asked);
    expect(heard.changes.length).toBe(1);
  });

  it('stops in the middle of a read without reporting it', async () => {
    const heard = await watching();
    watcher!.watch(key());
    let reading = false;
    relay.fault = (method) => {
      reading ||= method === 'eth_call';
      return reading ? { kind: 'hang' } : undefined;
    };
    watcher!.start();
    await until(() => reading);
    const stopping = watcher!.stop();
    watched.close();
    await stopping;
    expect(heard).toEqual({ changes: [], events: [] });
  });

  it('tells each confirmed block', async () => {
    const blocks: bigint[] = [];
    await watching(1, { onBlock: (at) => void blocks.push(at.number) });
    await watcher!.poll();
    await watcher!.poll();
    await mine(dev.rpcUrl, 3);
    await watcher!.poll();
    expect(blocks.map((block) => block - blocks[0]!)).toEqual([0n, 3n]);
  });
});
