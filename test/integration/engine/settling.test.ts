/**
 * Settling through the engine on a real chain: a thousand channels planned and reconciled to the wei, the states
 * a claim goes through, a restart in the middle, and the payee that settles by itself.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ChannelKey, formatAddress } from '../../../src/channels/channel.js';
import type { Settings } from '../../../src/config.js';
import type { StatementView } from '../../../src/engine/operations.js';
import { createEngine, type Engine } from '../../../src/engine.js';
import { Ledger } from '../../../src/ledger/ledger.js';
import { openSecret } from '../../../src/ledger/secrets.js';
import { call } from '../../../src/native/binding.js';
import * as Executors from '../../../src/native/executor.js';
import type { Command } from '../../../src/native/records.js';
import type { Account } from '../../../src/settlement/account.js';
import { configOn, fastClock, temporary } from '../../support/engines.js';
import { type Ground, layGround } from '../../support/ground.js';

const BTT = 10n ** 18n;
const SEED = new Uint8Array(32).fill(77);
let ground: Ground;
/** Each test takes voucher keys of its own. */
let nextKey = 0;

beforeAll(async () => {
  ground = await layGround();
});
afterAll(() => ground.stop());

interface Earned {
  readonly amount: bigint;
  readonly deposit: bigint;
}

/** A data folder whose book holds channels of these heads, all open on the chain. */
async function bookOf(account: Account, earned: readonly Earned[]) {
  const folder = temporary();
  const dataDir = join(folder.path, 'data');
  mkdirSync(dataDir, { recursive: true });
  const first = nextKey;
  nextKey += earned.length;
  const packed = call((addon) => addon.deriveVoucherKeys(SEED, BigInt(first), earned.length));
  const keys: ChannelKey[] = earned.map((_, at) => ({
    voucherKey: packed.slice(20 * at, 20 * at + 20),
    payee: account.address,
  }));
  await ground.open(keys.map((key, at) => ({ ...key, deposit: earned[at]!.deposit })));
  const executor = Executors.inline();
  const seed = openSecret(join(dataDir, 'voucher.seed'), (size) => new Uint8Array(size).fill(9));
  const ledger = await Ledger.open(executor, { dataDir, ...ground.domain, seed });
  const domain = ledger.domain;
  const commands = keys.flatMap((key, at): Command[] => {
    const { amount, deposit } = earned[at]!;
    const secret = call((addon) => addon.deriveVoucherSecret(SEED, BigInt(first + at)));
    const row = call((addon) => addon.signVoucher(domain, secret, key.payee, amount));
    const sessionId = new Uint8Array(16);
    new DataView(sessionId.buffer).setUint32(0, at + 1);
    const infohash = new Uint8Array(20).fill(1);
    return [
      { kind: 'channel_put', role: 'payee', ...key, deposit, settled: 0n, closeAt: 0, block: 0, keyIndex: 0 },
      {
        ...{ kind: 'session_open', channel: at, sessionId, infohash },
        ...{ priceMiB: amount, minimumStep: 0n, prepay: 0n },
      },
      { kind: 'grant', session: at, bytes: 1 << 20, exposureLimit: amount },
      { kind: 'voucher', session: at, row, final: true, verified: true },
    ];
  });
  for (let at = 0; at < commands.length; at += 4_000) {
    for (const { status } of await ledger.commit(commands.slice(at, at + 4_000))) expect(status).toBe('ok');
  }
  await ledger.close();
  await executor.close();
  const open = (settings: Settings = {}, more: object = {}): Promise<Engine> =>
    createEngine({ config: configOn(ground, dataDir, settings), account, executor: 'inline', ...more });
  return { keys, open, remove: folder.remove };
}

const sum = (amounts: Iterable<bigint>): bigint => [...amounts].reduce((total, one) => total + one, 0n);

/** Every channel and the whole: the five places money can be sum to what was accepted. */
function expectWhole({ channels, totals, checks }: StatementView): void {
  for (const one of channels) {
    const parts = [one.claimable, one.inFlight, one.confirmed, one.settled, one.lost].map(BigInt);
    expect(sum(parts)).toBe(BigInt(one.authorized));
    expect(one.lostReason === undefined).toBe(one.lost === '0');
  }
  const { claimable, inFlight, confirmed, settled, lost, earned } = totals;
  expect(sum([claimable, inFlight, confirmed, settled, lost].map(BigInt))).toBe(BigInt(earned));
  expect(checks.filter(({ ok }) => !ok)).toEqual([]);
}

async function until(met: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 30_000;
  while (!(await met())) {
    if (performance.now() > endMs) throw new Error('it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

describe('a thousand channels', () => {
  it('are planned by their worth and reconcile to the wei once settled', async () => {
    const account = ground.accounts[1]!;
    // Gas of a row costs about 3 BTT here: dust, what waits, what pays, and a few that close.
    const worth = [1n, 3n, 40n, 150n, 170n, 400n];
    const earned = Array.from({ length: 1_000 }, (_, at) => {
      const amount = worth[at % worth.length]! * BTT + BigInt(at);
      return { amount, deposit: at % 7 === 0 ? amount : amount * 2n };
    });
    const { keys, open, remove } = await bookOf(account, earned);
    const closing = [0, 2, 8, 14];
    for (const at of closing) {
      const { to, data } = ground.hub.requestClose(keys[at]!);
      await ground.transact({ to, data });
    }
    const engine = await open();
    try {
      const [credit, balance] = [
        await ground.hub.credit(account.address),
        await ground.balance(account.address),
      ];
      const dry = await engine.settle({ dryRun: true });
      expectWhole(await engine.statement());
      const taken = earned.flatMap(({ amount }, at) =>
        amount >= 156n * BTT || (closing.includes(at) && amount > 4n * BTT) ? [at] : [],
      );
      const names = (at: number) => formatAddress(keys[at]!.voucherKey);
      expect(dry.rows.map(({ voucherKey }) => voucherKey).sort()).toEqual(taken.map(names).sort());
      const wanted = sum(taken.map((at) => earned[at]!.amount));
      expect(dry.settled).toBe(String(wanted));
      expect(new Set(dry.skipped.map(({ reason }) => reason))).toEqual(new Set(['below_cost', 'waiting']));
      expect(await ground.balance(account.address)).toBe(balance);

      const done = await engine.settle({});
      expect(done.settled).toBe(String(wanted));
      expect(done.transactions.length).toBe(1);
      const fee = sum(done.transactions.map((one) => BigInt(one.fee)));
      expect(fee).toBeLessThanOrEqual(BigInt(done.expectedFee!));
      expect((await ground.hub.credit(account.address)) - credit).toBe(wanted);
      expect(balance - (await ground.balance(account.address))).toBe(fee);

      const statement = await engine.statement();
      expectWhole(statement);
      expect(statement.totals.settled).toBe(String(wanted));
      expect(statement.totals.fees).toBe(String(fee));
      expect(statement.totals.earned).toBe(String(sum(earned.map(({ amount }) => amount))));
      for (const [at, one] of statement.channels.entries()) {
        expect(one.settled).toBe(taken.includes(at) ? one.authorized : '0');
        expect(one.skipped === undefined).toBe(taken.includes(at));
      }
      const [record, ...others] = await engine.settlements();
      expect(others).toEqual([]);
      const hash = done.transactions[0]!.hash;
      expect(record).toMatchObject({ state: 'final', hash, settled: String(wanted), vouchers: taken.length });
      expect((await engine.settle({})).transactions).toEqual([]);
    } finally {
      await engine.close();
      remove();
    }
  });
});

describe('a claim', () => {
  it('is told apart while it is in flight, in a block, and final, also after a restart', async () => {
    const account = ground.accounts[2]!;
    const amount = 2_000n * BTT;
    const { open, remove } = await bookOf(account, [
      { amount, deposit: amount },
      { amount: BTT, deposit: BTT },
    ]);
    const settings = { confirmations: 3 };
    await ground.ask('anvil_mine', '0x3');
    let engine = await open(settings);
    const places = async () => {
      const statement = await engine.statement();
      expectWhole(statement);
      const { claimable, inFlight, confirmed, settled } = statement.totals;
      return [claimable, inFlight, confirmed, settled].map((text) => BigInt(text) / BTT);
    };
    const states = async () => (await engine.settlements()).map(({ state }) => state);
    try {
      expect(await places()).toEqual([2_001n, 0n, 0n, 0n]);
      await ground.ask('evm_setAutomine', false);
      await ground.ask('evm_setIntervalMining', 0);
      const under = engine.settle({}).catch((thrown: unknown) => (thrown as { code: string }).code);
      await until(async () => (await places())[1] === 2_000n);
      expect(await places()).toEqual([1n, 2_000n, 0n, 0n]);
      expect(await states()).toEqual(['in_flight']);
      // What is in flight is in no second plan.
      const again = await engine.settle({ dryRun: true });
      expect(again.rows).toEqual([]);
      expect(again.skipped.map(({ reason }) => reason).sort()).toEqual(['below_cost', 'in_flight']);

      await engine.close();
      expect(await under).toBe('INTERRUPTED');
      engine = await open(settings);
      expect(await places()).toEqual([1n, 2_000n, 0n, 0n]);
      const resumed = engine.settle({});
      await ground.ask('anvil_mine', '0x1');
      await until(async () => (await places())[2] === 2_000n);
      expect(await places()).toEqual([1n, 0n, 2_000n, 0n]);
      expect(await states()).toEqual(['confirmed']);
      await ground.ask('anvil_mine', '0x2');
      await resumed;
      expect(await places()).toEqual([1n, 0n, 0n, 2_000n]);
      expect(await states()).toEqual(['final']);
      expect(await ground.hub.credit(account.address)).toBe(amount);
    } finally {
      await ground.ask('evm_setAutomine', true);
      await engine.close();
      remove();
    }
  });

  it('is written off, with the reason, where the channel closed without it', async () => {
    const account = ground.accounts[3]!;
    const amount = 20n * BTT;
    const { keys, open, remove } = await bookOf(account, [{ amount, deposit: amount }]);
    for (const make of ['requestClose', 'withdraw'] as const) {
      const { to, data } = ground.hub[make](keys[0]!);
      await ground.transact({ to, data });
      await ground.passTime(3_601);
    }
    const engine = await open();
    try {
      const report = await engine.settle({});
      expect(report.transactions).toEqual([]);
      const statement = await engine.statement();
      expectWhole(statement);
      expect(statement.channels[0]).toMatchObject({
        lost: String(amount),
        lostReason: 'closed',
        claimable: '0',
      });
      expect(statement.totals.lost).toBe(String(amount));
    } finally {
      await engine.close();
      remove();
    }
  });
});

describe('a payee with a wallet', () => {
  it('settles by itself what pays, and leaves the rest, unless it is told not to', async () => {
    const [busy, manual] = [ground.accounts[4]!, ground.accounts[5]!];
    const rich = { amount: 2_000n * BTT, deposit: 2_000n * BTT };
    const small = { amount: 5n * BTT, deposit: 5n * BTT };
    const more = { sell: true, clock: fastClock(20) };
    const books = [await bookOf(busy, [rich, small]), await bookOf(manual, [rich])] as const;
    const engines = [
      await books[0].open({ settleEvery: '10s', settle: 'auto' }, more),
      await books[1].open({ settleEvery: '10s', settle: 'manual' }, more),
    ] as const;
    try {
      await until(async () => (await engines[0].statement()).totals.settled === String(rich.amount));
      const statement = await engines[0].statement();
      expectWhole(statement);
      expect(statement.channels.map(({ skipped }) => skipped)).toEqual([undefined, 'waiting']);
      expect((await engines[1].statement()).totals.settled).toBe('0');
    } finally {
      for (const engine of engines) await engine.close();
      for (const { remove } of books) remove();
    }
  });
});
