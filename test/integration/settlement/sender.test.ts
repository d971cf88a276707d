import { getBytes, hexlify, Transaction } from 'ethers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PieceworkError } from '../../../src/errors.js';
import type { Account } from '../../../src/settlement/account.js';
import type { Chain } from '../../../src/settlement/chain.js';
import type { DevChain } from '../../../src/settlement/dev-chain.js';
import type { Hub } from '../../../src/settlement/hub.js';
import * as Sender from '../../../src/settlement/sender.js';
import { type Call, memoryStore, rawOf } from '../../../src/settlement/transaction.js';
import {
  ask,
  automine,
  BTT,
  connectTo,
  deployHub,
  FAST,
  failure,
  keyOf,
  mine,
  startChain,
  startRelay,
  until,
  voucherWallet,
  watchedStore,
  withSender,
} from './support.js';

let dev: DevChain;
let chain: Chain;
let hub: Hub;
let payer: Account;
let sequence = 0;

beforeAll(async () => {
  dev = await startChain();
  chain = await connectTo(dev.profile);
  hub = await deployHub(chain, dev.accounts[0]!);
  payer = dev.accounts[1]!;
});
afterAll(async () => {
  chain?.close();
  await dev?.stop();
});
beforeEach(() => {
  sequence++;
});
afterEach(async () => {
  await automine(dev.rpcUrl, true);
  await mine(dev.rpcUrl);
});

/** A transfer to an address nobody else uses: its balance counts how often it happened. */
function transfer(amount = 7n, name = `transfer ${sequence}`): Call & { readonly to: Uint8Array } {
  const to = getBytes(`0x${sequence.toString(16).padStart(40, '5')}`);
  return { to, data: '0x', value: amount, purpose: 'transfer', intent: name };
}

const key = () => keyOf(voucherWallet(sequence), dev.accounts[2]!);
const nonce = () => chain.nonce(payer.address, 'latest');

describe('sending', () => {
  it('signs a legacy transaction, stores it before the node has it, and removes it when it is confirmed', async () => {
    const store = watchedStore();
    const steps: string[] = [];
    let known: boolean | undefined;
    store.afterPut = async (record) => {
      const [variant] = record.variants;
      known = await chain.knows(variant!.hash);
      const parsed = Transaction.from(rawOf(record, variant!));
      expect([parsed.type, parsed.chainId, parsed.hash]).toEqual([0, dev.profile.chainId, variant!.hash]);
    };
    const before = await chain.balance(payer.address);
    const call = transfer();
    const confirmed = await withSender(
      chain,
      payer,
      (sender) => sender.send(call, { progress: ({ step }) => steps.push(step) }),
      store,
    );
    expect(known).toBe(false);
    expect(steps).toEqual(['signed', 'mined']);
    expect(store.records.size).toBe(0);
    expect(await chain.balance(call.to)).toBe(7n);
    expect(await chain.balance(payer.address)).toBe(before - 7n - confirmed.cost);
    expect(confirmed).toMatchObject({ ok: true, gasUsed: 21_000n, gasPrice: dev.profile.gasPriceFloor });
  });

  it('quotes what it then costs', async () => {
    await withSender(chain, payer, async (sender) => {
      const call = hub.open({ ...key(), deposit: BTT });
      const quote = await sender.quote(call);
      expect(quote.cost).toBe(quote.gas * quote.gasPrice);
      expect(quote.costMax).toBe(quote.gasLimit * quote.gasPrice);
      expect(quote.gasLimit).toBe(quote.gas + quote.gas / 5n);
      const confirmed = await sender.send(call);
      expect(confirmed.gasUsed).toBeLessThanOrEqual(quote.gasLimit);
      expect(confirmed.cost).toBeLessThanOrEqual(quote.costMax);
      expect(confirmed.cost * 10n).toBeGreaterThan(quote.cost * 9n);
    });
  });

  it('gives transactions sent at once one nonce each', async () => {
    const first = await nonce();
    await withSender(chain, payer, async (sender) => {
      const calls = Array.from({ length: 6 }, (_, index) => transfer(1n, `at once ${index}`));
      await Promise.all(calls.map((call) => sender.send(call)));
      expect(await chain.balance(calls[0]!.to)).toBe(6n);
    });
    expect(await nonce()).toBe(first + 6);
  });

  it('joins a send of the same intent', async () => {
    await withSender(chain, payer, async (sender) => {
      const receipts = await Promise.all([sender.send(transfer()), sender.send(transfer())]);
      expect(receipts[0]).toBe(receipts[1]);
      expect(await chain.balance(transfer().to)).toBe(7n);
    });
  });

  it('allows one sender for an account', async () => {
    await withSender(chain, payer, async () => {
      expect((await failure(Sender.open(chain, payer, memoryStore()))).code).toBe('INTERNAL');
    });
    await withSender(chain, payer, async (sender) => expect(sender.pending).toEqual([]));
  });

  it('has at most eight transactions under way', async () => {
    await automine(dev.rpcUrl, false);
    await withSender(chain, payer, async (sender) => {
      const sends = Array.from({ length: 9 }, (_, index) => sender.send(transfer(1n, `crowd ${index}`)));
      expect((await failure(sends[8]!)).code).toBe('QUEUE_FULL');
      expect(sender.pending.map((record) => record.intent)).toContain('crowd 7');
      await mine(dev.rpcUrl);
      await Promise.all(sends.slice(0, 8));
      expect(await chain.balance(transfer().to)).toBe(8n);
    });
  });
});

describe('refusing before anything is signed', () => {
  const untouched = async (call: Call, options: Sender.SendOptions, account = payer) => {
    const store = watchedStore();
    const before = await chain.nonce(account.address, 'pending');
    store.beforePut = async () => Promise.reject(new Error('something was signed'));
    const error = await withSender(chain, account, (sender) => failure(sender.send(call, options)), store, {
      explain: hub.explain,
    });
    expect(await chain.nonce(account.address, 'pending')).toBe(before);
    return error;
  };

  it('keeps to the gas ceiling, to the unit', async () => {
    const ceiling = 25_200n * dev.profile.gasPriceFloor;
    const error = await untouched(transfer(), { gasCeiling: ceiling - 1n });
    expect(error).toMatchObject({ code: 'GAS_CEILING', message: expect.stringContaining('7.56 BTT') });
    await withSender(chain, payer, (sender) => sender.send(transfer(), { gasCeiling: ceiling }));
    expect(await chain.balance(transfer().to)).toBe(7n);
  });

  it('does not begin what the account cannot pay', async () => {
    const poor = dev.accounts[8]!;
    const gas = 25_200n * dev.profile.gasPriceFloor;
    await ask(dev.rpcUrl, 'anvil_setBalance', hexlify(poor.address), `0x${(gas + 6n).toString(16)}`);
    expect(await untouched(transfer(), {}, poor)).toMatchObject({ code: 'INSUFFICIENT_FUNDS' });
    expect(await untouched(transfer(gas + 7n), {}, poor)).toMatchObject({ code: 'INSUFFICIENT_FUNDS' });
    await withSender(chain, poor, (sender) => sender.send(transfer(6n)));
    expect(await chain.balance(transfer().to)).toBe(6n);
  });

  it('does not send what would revert, and says why', async () => {
    const call = hub.open({ ...key(), deposit: BTT });
    await withSender(chain, payer, (sender) => sender.send(call));
    const error = await untouched(call, {});
    expect(error).toMatchObject({ code: 'CHAIN_REJECTED', message: 'reverted: ChannelExists' });
  });

  it('sends nothing when it cannot be stored', async () => {
    const store = watchedStore();
    store.beforePut = async () => Promise.reject(new PieceworkError('DISK_FULL'));
    const before = await chain.nonce(payer.address, 'pending');
    await withSender(
      chain,
      payer,
      async (sender) => {
        expect((await failure(sender.send(transfer()))).code).toBe('DISK_FULL');
        expect(sender.pending).toEqual([]);
        expect(await chain.nonce(payer.address, 'pending')).toBe(before);
        store.beforePut = async () => undefined;
        await sender.send(transfer());
      },
      store,
    );
    expect(await chain.balance(transfer().to)).toBe(7n);
  });
});

describe('dying at any point', () => {
  /** Every way to go on after a death gives one transfer and one nonce. */
  const goOn: Record<string, (sender: Sender.Sender) => Promise<unknown>> = {
    resume: (sender: Sender.Sender) => sender.resume(),
    'the same send': (sender: Sender.Sender) => sender.send(transfer()),
    'both at once': (sender: Sender.Sender) => Promise.all([sender.resume(), sender.send(transfer())]),
  };

  describe.each(Object.entries(goOn))('and going on with %s', (_, again) => {
    const settles = async (store: ReturnType<typeof watchedStore>, first: number) => {
      await automine(dev.rpcUrl, true);
      await mine(dev.rpcUrl);
      await withSender(chain, payer, again, store);
      expect(await chain.balance(transfer().to)).toBe(7n);
      expect(await nonce()).toBe(first + 1);
      expect(store.records.size).toBe(0);
    };

    it('between storing and broadcasting', async () => {
      const store = watchedStore();
      const first = await nonce();
      store.afterPut = async () => Promise.reject(new PieceworkError('INTERRUPTED', 'killed'));
      const died = await withSender(chain, payer, (sender) => failure(sender.send(transfer())), store);
      expect(died.message).toBe('killed');
      expect(store.records.size).toBe(1);
      expect(await chain.knows([...store.records.keys()][0]!)).toBe(false);
      store.afterPut = async () => undefined;
      await settles(store, first);
    });

    it('between broadcasting and the receipt, mined later', async () => {
      const store = watchedStore();
      const first = await nonce();
      await automine(dev.rpcUrl, false);
      const sender = await Sender.open(chain, payer, store, FAST);
      const signed = new Promise<void>((resolve) => {
        void failure(sender.send(transfer(), { progress: () => resolve() })).then((error) =>
          expect(error.code).toBe('INTERRUPTED'),
        );
      });
      await signed;
      await sender.close();
      expect(await chain.knows([...store.records.keys()][0]!)).toBe(true);
      await settles(store, first);
    });

    it('after the receipt, before the record is removed', async () => {
      const store = watchedStore();
      const first = await nonce();
      const onConfirmed = async () => Promise.reject(new PieceworkError('INTERRUPTED', 'killed'));
      const died = await withSender(
        chain,
        payer,
        (sender) => failure(sender.send(transfer(), { onConfirmed })),
        store,
      );
      expect(died.message).toBe('killed');
      expect(store.records.size).toBe(1);
      await settles(store, first);
    });

    it('with the bytes lost from the pool of the node', async () => {
      const store = watchedStore();
      const first = await nonce();
      await automine(dev.rpcUrl, false);
      const wait = { waitMs: 100 };
      await withSender(chain, payer, (sender) => failure(sender.send(transfer())), store, wait);
      const [hash] = store.records.keys();
      await ask(dev.rpcUrl, 'anvil_dropTransaction', hash);
      expect(await chain.knows(hash!)).toBe(false);
      await settles(store, first);
    });
  });

  it('tells of the end before it forgets it, on resuming too', async () => {
    const store = watchedStore();
    store.afterPut = async () => Promise.reject(new PieceworkError('INTERRUPTED', 'killed'));
    await withSender(chain, payer, (sender) => failure(sender.send(transfer())), store);
    store.afterPut = async () => undefined;
    await withSender(
      chain,
      payer,
      async (sender) => {
        const told: string[] = [];
        const outcomes = await sender.resume({
          onConfirmed: async (receipt, record) => {
            expect(store.records.has(record.id)).toBe(true);
            told.push(`${record.intent} ${receipt.ok}`);
          },
        });
        expect(told).toEqual([`transfer ${sequence} true`]);
        expect(outcomes).toMatchObject([{ record: { purpose: 'transfer' }, receipt: { ok: true } }]);
        expect(await sender.resume()).toEqual([]);
      },
      store,
    );
  });

  it('signs different intents after what is stored, never over it', async () => {
    const store = watchedStore();
    const first = await nonce();
    store.afterPut = async () => Promise.reject(new PieceworkError('INTERRUPTED', 'killed'));
    await withSender(chain, payer, (sender) => failure(sender.send(transfer())), store);
    store.afterPut = async () => undefined;
    await withSender(
      chain,
      payer,
      async (sender) => {
        const other = sender.send(transfer(5n, 'another'));
        const [outcome] = await sender.resume();
        expect(outcome).toMatchObject({ receipt: { ok: true } });
        await other;
      },
      store,
    );
    expect(await chain.balance(transfer().to)).toBe(12n);
    expect(await nonce()).toBe(first + 2);
  });

  it('leaves the transactions of other accounts in the store alone', async () => {
    const store = watchedStore();
    store.afterPut = async () => Promise.reject(new PieceworkError('INTERRUPTED', 'killed'));
    await withSender(chain, payer, (sender) => failure(sender.send(transfer())), store);
    await withSender(
      chain,
      dev.accounts[3]!,
      async (sender) => expect(await sender.resume()).toEqual([]),
      store,
    );
    expect(store.records.size).toBe(1);
    store.afterPut = async () => undefined;
    await withSender(chain, payer, (sender) => sender.resume(), store);
  });
});

describe('a transaction that does not come through', () => {
  it('stays stored when it is not mined in time, and is followed later', async () => {
    const store = watchedStore();
    await automine(dev.rpcUrl, false);
    const wait = { waitMs: 60 };
    const error = await withSender(chain, payer, (sender) => failure(sender.send(transfer())), store, wait);
    expect(error.code).toBe('TX_TIMEOUT');
    const [hash] = store.records.keys();
    expect(error.message).toContain(hash);
    await withSender(
      chain,
      payer,
      async (sender) => expect(await sender.resume()).toMatchObject([{ error: { code: 'TX_TIMEOUT' } }]),
      store,
      wait,
    );
    await mine(dev.rpcUrl);
    const receipt = await withSender(chain, payer, (sender) => sender.send(transfer()), store);
    expect(receipt.hash).toBe(hash);
    expect(await chain.balance(transfer().to)).toBe(7n);
  });

  it('is mined and fails: the reason is told and the record removed', async () => {
    const call = hub.open({ ...key(), deposit: BTT });
    const [store, options] = [watchedStore(), { explain: hub.explain }];
    const winner = dev.accounts[4]!;
    const waiting = async () => ((await ask(dev.rpcUrl, 'txpool_status')) as { pending: string }).pending;
    await automine(dev.rpcUrl, false);
    await withSender(chain, winner, async (first) => {
      const won = first.send(call);
      await until(async () => (await waiting()) === '0x1');
      const error = await withSender(
        chain,
        payer,
        async (second) => {
          const lost = failure(second.send(call));
          await until(async () => (await waiting()) === '0x2');
          await mine(dev.rpcUrl);
          return lost;
        },
        store,
        options,
      );
      expect((await won).ok).toBe(true);
      expect(error.code).toBe('TX_FAILED');
      expect(error.message).toMatch(
        /0x[0-9a-f]{64} was mined in block \d+ and failed: reverted: ChannelExists$/,
      );
      expect(store.records.size).toBe(0);
    });
    const [facts] = await hub.readChannels([key()]);
    expect(facts!.owner).toEqual(winner.address);
  });

  it('is overtaken by another transaction with its nonce', async () => {
    const store = watchedStore();
    await automine(dev.rpcUrl, false);
    await withSender(chain, payer, (sender) => failure(sender.send(transfer())), store, { waitMs: 60 });
    const [record] = store.records.values();
    await ask(dev.rpcUrl, 'anvil_dropTransaction', record!.id);
    const rival = payer.signTransaction({
      chainId: dev.profile.chainId,
      nonce: record!.nonce,
      to: payer.address,
      data: '0x',
      value: 0n,
      gasLimit: 21_000n,
      gasPrice: dev.profile.gasPriceFloor,
    });
    await ask(dev.rpcUrl, 'eth_sendRawTransaction', rival.raw);
    await mine(dev.rpcUrl);
    await withSender(
      chain,
      payer,
      async (sender) => {
        const end = sender.resume();
        await new Promise((go) => setTimeout(go, 150));
        expect(store.records.size).toBe(1);
        await mine(dev.rpcUrl);
        const [outcome] = await end;
        expect(outcome).toMatchObject({ error: { code: 'TX_FAILED' } });
        expect((outcome as { error: PieceworkError }).error.message).toContain('took nonce');
        expect(store.records.size).toBe(0);
        await automine(dev.rpcUrl, true);
        await sender.send(transfer());
      },
      store,
    );
    expect(await chain.balance(transfer().to)).toBe(7n);
  });

  it('is taken out of the chain by a reorganisation and put back with the same bytes', async () => {
    const deep = await connectTo({ ...dev.profile, confirmations: 4 });
    const store = watchedStore();
    const steps: string[] = [];
    const first = await nonce();
    try {
      await withSender(
        deep,
        payer,
        async (sender) => {
          const end = sender.send(transfer(), { progress: ({ step }) => steps.push(step) });
          await until(() => steps.includes('mined'));
          await mine(dev.rpcUrl, 1);
          await until(() => steps.includes('confirming'));
          await automine(dev.rpcUrl, false);
          await ask(dev.rpcUrl, 'anvil_reorg', 2, []);
          await until(() => steps.includes('reorganised'));
          expect(await chain.balance(transfer().to)).toBe(0n);
          await until(async () => chain.knows([...store.records.keys()][0]!));
          await mine(dev.rpcUrl, 4);
          const receipt = await end;
          expect((await deep.block(receipt.block))!.hash).toBe(receipt.blockHash);
        },
        store,
      );
      expect(await chain.balance(transfer().to)).toBe(7n);
      expect(await nonce()).toBe(first + 1);
      expect(store.records.size).toBe(0);
    } finally {
      deep.close();
    }
  });
});

describe('a transaction that is stuck', () => {
  const stuck = { stuckMs: 40 };
  const priced = () => chain.profile.gasPriceFloor;
  const pricesOf = (store: ReturnType<typeof watchedStore>) =>
    [...store.records.values()][0]?.variants.map(({ gasPrice }) => BigInt(gasPrice)) ?? [];

  it('is signed again with the same nonce, an eighth dearer each time, and one of them lands', async () => {
    const store = watchedStore();
    const first = await nonce();
    await automine(dev.rpcUrl, false);
    const steps: string[] = [];
    const end = withSender(
      chain,
      payer,
      (sender) => sender.send(transfer(), { progress: ({ step }) => steps.push(step) }),
      store,
      stuck,
    );
    await until(() => pricesOf(store).length >= 4);
    const prices = pricesOf(store);
    for (const [index, price] of prices.entries()) {
      if (index > 0) expect(price).toBe((prices[index - 1]! * 1_125n + 999n) / 1_000n);
    }
    const record = [...store.records.values()][0]!;
    for (const variant of record.variants) {
      const parsed = Transaction.from(rawOf(record, variant));
      expect([parsed.hash, parsed.nonce, parsed.to, parsed.from?.toLowerCase()]).toEqual([
        variant.hash,
        first,
        hexlify(transfer().to),
        hexlify(payer.address),
      ]);
    }
    const waiting = (await ask(dev.rpcUrl, 'txpool_status')) as { pending: string };
    expect(waiting.pending).toBe('0x1');
    await mine(dev.rpcUrl);
    const receipt = await end;
    expect(receipt.gasPrice).toBeGreaterThan(priced());
    expect(receipt.cost).toBe(receipt.gasUsed * receipt.gasPrice);
    expect(steps.filter((step) => step === 'replaced').length).toBeGreaterThanOrEqual(3);
    expect(await chain.balance(transfer().to)).toBe(7n);
    expect(await nonce()).toBe(first + 1);
    expect(store.records.size).toBe(0);
  });

  it('goes on from its last price after a restart', async () => {
    const store = watchedStore();
    await automine(dev.rpcUrl, false);
    const wait = { waitMs: 300, ...stuck };
    await withSender(chain, payer, (sender) => failure(sender.send(transfer())), store, wait);
    const before = pricesOf(store);
    expect(before.length).toBeGreaterThan(1);
    const reached = until(() => pricesOf(store).length > before.length);
    await withSender(chain, payer, (sender) => sender.resume(), store, wait);
    await reached;
    const after = pricesOf(store);
    expect(after.slice(0, before.length)).toEqual(before);
    expect(after[before.length]).toBeGreaterThan(before.at(-1)!);
    await mine(dev.rpcUrl);
    await withSender(chain, payer, (sender) => sender.resume(), store);
    expect(await chain.balance(transfer().to)).toBe(7n);
  });

  it('counts when an older variant lands, and only then forgets the others', async () => {
    const store = watchedStore();
    await automine(dev.rpcUrl, false);
    await withSender(chain, payer, (sender) => failure(sender.send(transfer())), store, {
      waitMs: 300,
      ...stuck,
    });
    const record = [...store.records.values()][0]!;
    expect(record.variants.length).toBeGreaterThan(1);
    await ask(dev.rpcUrl, 'anvil_dropTransaction', record.variants.at(-1)!.hash);
    await ask(dev.rpcUrl, 'eth_sendRawTransaction', rawOf(record, record.variants[0]!));
    await mine(dev.rpcUrl);
    expect(store.records.size).toBe(1);
    const receipt = await withSender(chain, payer, (sender) => sender.send(transfer()), store);
    expect(receipt.hash).toBe(record.id);
    expect(receipt.gasPrice).toBe(priced());
    expect(await chain.balance(transfer().to)).toBe(7n);
    expect(store.records.size).toBe(0);
  });

  it('is not made dearer than its ceiling, not even by whoever follows it later', async () => {
    const store = watchedStore();
    await automine(dev.rpcUrl, false);
    const gasCeiling = 25_200n * priced() * 2n;
    const wait = { waitMs: 900, ...stuck };
    await withSender(chain, payer, (sender) => failure(sender.send(transfer(), { gasCeiling })), store, wait);
    const most = pricesOf(store).at(-1)!;
    expect(most * 25_200n).toBeLessThanOrEqual(gasCeiling);
    expect((most * 25_200n * 1_125n) / 1_000n).toBeGreaterThan(gasCeiling);
    await withSender(chain, payer, (sender) => sender.resume(), store, wait);
    expect(pricesOf(store).at(-1)).toBe(most);
    await mine(dev.rpcUrl);
    await withSender(chain, payer, (sender) => sender.resume(), store);
  });

  it('behind a lower nonce is not made dearer: the lower one is, without being asked for', async () => {
    const store = watchedStore();
    await automine(dev.rpcUrl, false);
    await withSender(chain, payer, (sender) => failure(sender.send(transfer())), store, { waitMs: 60 });
    const end = withSender(chain, payer, (sender) => sender.send(transfer(1n, 'behind')), store, stuck);
    const variants = () =>
      [...store.records.values()].sort((a, b) => a.nonce - b.nonce).map((r) => r.variants.length);
    await until(() => (variants()[0] ?? 0) >= 3);
    expect(variants()).toEqual([expect.any(Number), 1]);
    await mine(dev.rpcUrl);
    await end;
    expect(await chain.balance(transfer().to)).toBe(8n);
  });

  it('behind a gap says which nonce is missing', async () => {
    const store = watchedStore();
    await automine(dev.rpcUrl, false);
    const first = await nonce();
    const stranger = payer.signTransaction({
      chainId: dev.profile.chainId,
      nonce: first,
      to: payer.address,
      data: '0x',
      value: 0n,
      gasLimit: 21_000n,
      gasPrice: priced(),
    });
    await ask(dev.rpcUrl, 'eth_sendRawTransaction', stranger.raw);
    const error = await withSender(
      chain,
      payer,
      async (sender) => {
        const end = failure(sender.send(transfer()));
        await until(() => store.records.size === 1);
        await ask(dev.rpcUrl, 'anvil_dropTransaction', stranger.hash);
        return end;
      },
      store,
      { waitMs: 300, ...stuck },
    );
    expect(error).toMatchObject({
      code: 'TX_TIMEOUT',
      message: expect.stringContaining(`nonce ${first} of`),
    });
    expect(pricesOf(store).length).toBe(1);
    await ask(dev.rpcUrl, 'eth_sendRawTransaction', stranger.raw);
    await mine(dev.rpcUrl);
    await withSender(chain, payer, (sender) => sender.resume(), store);
    expect(await chain.balance(transfer().to)).toBe(7n);
  });
});

describe('a receipt', () => {
  it('of a block that is not in the chain ends nothing', async () => {
    const relay = await startRelay(dev.rpcUrl);
    const relayed = await connectTo(dev.profile, { rpcUrls: [relay.url] });
    let doubts = 0;
    const block = await ask(dev.rpcUrl, 'eth_getBlockByNumber', '0x1', false);
    const steps: string[] = [];
    relay.fault = (method) =>
      method === 'eth_getBlockByNumber' && steps.includes('mined') && doubts++ < 3
        ? { kind: 'answer', body: { result: block } }
        : undefined;
    try {
      await withSender(relayed, payer, (sender) =>
        sender.send(transfer(), { progress: ({ step }) => steps.push(step) }),
      );
      expect(doubts).toBeGreaterThan(3);
    } finally {
      relayed.close();
      await relay.stop();
    }
  });
});

describe('a node that fails while a transaction is handed over', () => {
  it.each([
    ['drops the request', { kind: 'drop' } as const],
    ['takes it and loses the answer', { kind: 'lose_answer' } as const],
    ['is overloaded', { kind: 'status', status: 503 } as const],
  ])('%s: the same bytes come through once', async (_, fault) => {
    const relay = await startRelay(dev.rpcUrl);
    const relayed = await connectTo(dev.profile, { rpcUrls: [relay.url] });
    const first = await nonce();
    relay.fault = (method, count) => (method === 'eth_sendRawTransaction' && count === 1 ? fault : undefined);
    try {
      const store = watchedStore();
      await withSender(relayed, payer, (sender) => sender.send(transfer()), store);
      expect(relay.asked).toContain('eth_sendRawTransaction');
      expect(store.records.size).toBe(0);
      expect(await chain.balance(transfer().to)).toBe(7n);
      expect(await nonce()).toBe(first + 1);
    } finally {
      relayed.close();
      await relay.stop();
    }
  });

  it('refuses it: the reason is told, nothing stays, the next send works', async () => {
    const relay = await startRelay(dev.rpcUrl);
    const relayed = await connectTo(dev.profile, { rpcUrls: [relay.url] });
    const refusal = (message: string) =>
      ({ kind: 'answer', body: { error: { code: -32000, message } } }) as const;
    try {
      const store = watchedStore();
      const messages = ['transaction underpriced', 'insufficient funds for gas * price + value'];
      relay.fault = (method, count) =>
        method === 'eth_sendRawTransaction' && count <= 2 ? refusal(messages[count - 1]!) : undefined;
      await withSender(
        relayed,
        payer,
        async (sender) => {
          const refused = await failure(sender.send(transfer()));
          expect(refused).toMatchObject({
            code: 'CHAIN_REJECTED',
            message: 'transfer: transaction underpriced',
          });
          expect((await failure(sender.send(transfer()))).code).toBe('INSUFFICIENT_FUNDS');
          expect(store.records.size).toBe(0);
          await sender.send(transfer());
        },
        store,
      );
      expect(await chain.balance(transfer().to)).toBe(7n);
    } finally {
      relayed.close();
      await relay.stop();
    }
  });

  it('is away from then on: the transaction is followed when it is back', async () => {
    const relay = await startRelay(dev.rpcUrl);
    const relayed = await connectTo(dev.profile, { rpcUrls: [relay.url], retriesMax: 0 });
    let away = false;
    relay.fault = (method) => {
      away ||= method === 'eth_sendRawTransaction';
      return away ? { kind: 'drop' } : undefined;
    };
    try {
      const store = watchedStore();
      await withSender(
        relayed,
        payer,
        async (sender) => {
          const end = sender.send(transfer());
          await until(() => away);
          await new Promise((go) => setTimeout(go, 100));
          expect(store.records.size).toBe(1);
          relay.fault = () => undefined;
          await end;
        },
        store,
      );
      expect(await chain.balance(transfer().to)).toBe(7n);
      relay.fault = () => ({ kind: 'drop' });
      await withSender(relayed, payer, async (sender) => {
        expect((await failure(sender.send(transfer(1n, 'later')))).code).toBe('CHAIN_UNREACHABLE');
      });
    } finally {
      relayed.close();
      await relay.stop();
    }
  });
});
