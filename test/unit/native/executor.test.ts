/** One suite for both executors: what the engine may rely on does not depend on where the work is done. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PieceworkError } from '../../../src/errors.js';
import { call } from '../../../src/native/binding.js';
import { type Executor, type ExecutorOptions, inline, pool } from '../../../src/native/executor.js';
import { Ledger, type LedgerOptions } from '../../../src/native/ledger.js';
import {
  type Command,
  readRecovered,
  statusesOf,
  writeRecoveries,
  writeTickSteps,
  writeVouchers,
} from '../../../src/native/records.js';

const root = mkdtempSync(join(tmpdir(), 'piecework-executor-'));
const hub = new Uint8Array(20).fill(1);
const payee = new Uint8Array(20).fill(2);
const secret = new Uint8Array(32).fill(3);
const seed = new Uint8Array(32).fill(4);
const domain = call((addon) => addon.domainSeparator(199n, hub));
const voucherKey = call((addon) => addon.addressOf(secret));

let folders = 0;
const place = (): LedgerOptions => {
  folders += 1;
  return { folder: join(root, `ledger-${folders}`), chainId: 199n, hub, segmentBytes: 65_536, seed };
};
const fill = (size: number, byte: number) => new Uint8Array(size).fill(byte);
const setup: Command[] = [
  {
    kind: 'channel_put',
    role: 'payee',
    voucherKey,
    payee,
    deposit: 10n ** 18n,
    settled: 0n,
    closeAt: 0,
    block: 1,
  },
  {
    kind: 'session_open',
    channel: 0,
    sessionId: fill(16, 1),
    infohash: fill(20, 1),
    priceMiB: 1n << 20n,
    minimumStep: 1n,
    prepay: 0n,
  },
];
const grant = (bytes: number): Command => ({ kind: 'grant', session: 0, bytes, exposureLimit: 10n ** 18n });
const codeOf = (thrown: unknown) => (thrown instanceof PieceworkError ? thrown.code : String(thrown));
const failure = (work: Promise<unknown>) => work.then(() => 'nothing failed', codeOf);

afterAll(() => rmSync(root, { recursive: true, force: true }));

const kinds: [string, (options?: ExecutorOptions) => Executor][] = [
  ['inline', inline],
  ['pool', pool],
];

describe.each(kinds)('%s executor', (_name, make) => {
  let executor: Executor;
  beforeAll(() => {
    executor = make({ threads: 2 });
  });
  afterAll(() => executor.close());

  test.each(['sha1', 'sha256'] as const)('hashes pieces with %s and gives them back', async (algorithm) => {
    const shared = new Uint8Array(100).fill(9);
    const pieces = [
      fill(1 << 20, 1),
      fill(0, 0),
      fill(16_385, 2),
      shared.subarray(10, 50),
      Buffer.from('abc'),
    ];
    const wanted = pieces.map((piece) => createHash(algorithm).update(piece).digest());
    const copies = pieces.map((piece) => piece.slice());
    const { digests, pieces: back } = await executor.hashPieces(algorithm, pieces);
    expect(Buffer.compare(digests, Buffer.concat(wanted))).toBe(0);
    const same = back.map((piece, at) => Buffer.compare(piece, copies[at] ?? shared) === 0);
    expect(same).toEqual([true, true, true, true, true]);
    expect(shared.length, 'a buffer that is shared is not taken away').toBe(100);
  });

  test.each([3, 8, 40])('hashes %i pieces of many sizes in order, however they are split', async (count) => {
    const pieces = Array.from({ length: count }, (_, at) => fill((at * 997) % 5000, at));
    const wanted = pieces.map((piece) => createHash('sha256').update(piece).digest());
    const sizes = pieces.map(({ length }) => length);
    const { digests, pieces: back } = await executor.hashPieces('sha256', pieces);
    expect(Buffer.compare(digests, Buffer.concat(wanted))).toBe(0);
    expect(back.map(({ length }) => length)).toEqual(sizes);
  });

  test('hashes pieces that share one buffer, and none at all', async () => {
    const whole = fill(4096, 7);
    const { digests } = await executor.hashPieces('sha1', [whole, whole.subarray(0, 4096)]);
    expect(digests.length).toBe(40);
    expect(digests.slice(0, 20)).toEqual(digests.slice(20));
    expect((await executor.hashPieces('sha1', [])).digests.length).toBe(0);
  });

  test('verifies in order, however the batch is split', async () => {
    const count = 333;
    const claims = Array.from({ length: count }, (_, at) => {
      const row = call((addon) => addon.signVoucher(domain, secret, payee, BigInt(at + 1)));
      if (at % 7 === 3) row.fill(0, 12, 44);
      return { voucherKey: at % 5 === 2 ? payee : voucherKey, payee, row };
    });
    const statuses = await executor.verifyVouchers(domain, writeVouchers(claims));
    const wanted = claims.map((_, at) => (at % 7 === 3 ? 1 : at % 5 === 2 ? 2 : 0));
    expect(Array.from(statuses)).toEqual(wanted);
    expect((await executor.verifyVouchers(domain, new Uint8Array(0))).length).toBe(0);
  });

  test('checks ticks against the chain they claim', async () => {
    const walk = (value: Uint8Array, steps: number): Uint8Array =>
      steps === 0 ? value : walk(createHash('sha256').update(value).digest(), steps - 1);
    const claims = Array.from({ length: 50 }, (_, at) => {
      const [value, steps] = [fill(32, at), at % 21];
      return { previous: walk(value, at % 5 === 2 ? steps + 1 : steps), value, steps };
    });
    const statuses = statusesOf(await executor.checkTicks(writeTickSteps(claims)));
    const wanted = claims.map(({ steps }, at) =>
      steps === 0 ? 'bad_range' : at % 5 === 2 ? 'bad_signature' : 'ok',
    );
    expect(statuses).toEqual(wanted);
    expect(await failure(executor.checkTicks(new Uint8Array(67)))).toBe('BAD_ARGUMENT');
    const walked = call((addon) => addon.walkTicks(fill(32, 3), 9));
    expect(Buffer.compare(walked, walk(fill(32, 3), 9))).toBe(0);
    expect(() => call((addon) => addon.walkTicks(fill(32, 3), 65_537))).toThrow('65537 steps');
  });

  test('signs what it recovers', async () => {
    const digests = Array.from({ length: 100 }, (_, at) => createHash('sha256').update(String(at)).digest());
    const signatures = await executor.signDigests(secret, Buffer.concat(digests));
    const claims = digests.map((digest, at) => ({
      digest,
      signature: signatures.slice(at * 64, at * 64 + 64),
    }));
    (claims[5] as { digest: Uint8Array }).digest = digests[6] as Uint8Array;
    const recovered = readRecovered(await executor.recoverDigests(writeRecoveries(claims)));
    for (const [at, { status, address }] of recovered.entries()) {
      expect(status).toBe('ok');
      expect(Buffer.compare(address, voucherKey) === 0, `digest ${at}`).toBe(at !== 5);
    }
  });

  test('derives the voucher keys of a seed', async () => {
    const keys = await executor.deriveVoucherKeys(seed, 3, 4);
    const third = call((addon) => addon.addressOf(addon.deriveVoucherSecret(seed, 5n)));
    expect(keys.slice(40, 60)).toEqual(third);
  });

  test('refuses sizes that are not whole records, with a code', async () => {
    expect(await failure(executor.verifyVouchers(domain, new Uint8Array(117)))).toBe('BAD_ARGUMENT');
    expect(await failure(executor.verifyTicks(domain, new Uint8Array(164 * 64 + 1)))).toBe('BAD_ARGUMENT');
    expect(await failure(executor.recoverDigests(new Uint8Array(96 * 100 + 1)))).toBe('BAD_ARGUMENT');
    expect(await failure(executor.verifyVouchers(new Uint8Array(31), new Uint8Array(0)))).toBe(
      'BAD_ARGUMENT',
    );
    expect(await failure(executor.signDigests(new Uint8Array(32), new Uint8Array(32)))).toBe('BAD_ARGUMENT');
  });

  test('keeps a ledger: commits in order, reads what is durable, opens again', async () => {
    const where = place();
    let ledger = await Ledger.open(executor, where);
    expect(ledger.recovery.created).toBe(true);
    expect(ledger.domain).toEqual(domain);
    expect((await ledger.commit(setup)).map(({ status }) => status)).toEqual(['ok', 'ok']);
    const all = Promise.all(Array.from({ length: 500 }, (_, at) => ledger.commit([grant(at + 1)])));
    const outcomes = (await all).map(([outcome]) => outcome);
    expect(outcomes.every((outcome) => outcome?.status === 'ok')).toBe(true);
    const summary = await ledger.summary();
    expect(summary).toMatchObject({ channelCount: 1, sessionCount: 1, granted: 125_250n, unpaid: 125_250n });
    expect(summary.sequence, 'commits of one turn are joined').toBeLessThan(10);
    expect(ledger.findChannel(voucherKey, payee)).toBe(0);
    expect(ledger.findChannel(payee, voucherKey)).toBeUndefined();
    expect(ledger.findSession(fill(16, 1))).toBe(0);
    expect(ledger.findSession(fill(16, 2))).toBeUndefined();
    expect(await ledger.session(0)).toMatchObject({
      bytes: 125_250,
      pieceCount: 500,
      owed: 125_250n,
      closed: false,
    });
    expect(await ledger.session(1)).toBeUndefined();
    const row = call((addon) => addon.signVoucher(domain, secret, payee, 125_000n));
    const voucher: Command = { kind: 'voucher', session: 0, row, final: false, verified: false };
    expect(ledger.screen([voucher, { ...voucher, session: 4 }])).toEqual(['ok', 'unknown_session']);
    const [unverified, accepted] = await ledger.commit([voucher, { ...voucher, verified: true }]);
    expect(unverified?.status).toBe('unverified');
    expect(accepted).toMatchObject({
      status: 'ok',
      channel: 0,
      session: 0,
      authorized: 125_000n,
      unpaid: 250n,
    });
    const key = fill(32, 8);
    const value = fill(1000, 5);
    await ledger.commit([
      { kind: 'note', space: 7, key, value },
      { kind: 'note', space: 6, key, value: fill(3, 1) },
      { kind: 'budget', infohash: fill(20, 9), limit: 55n },
    ]);
    expect(await ledger.note(7, key)).toEqual(value);
    expect(await ledger.note(7, fill(32, 9))).toBeUndefined();
    expect((await ledger.notes(0, 10)).map(({ space, value: kept }) => [space, kept.length])).toEqual([
      [6, 3],
      [7, 1000],
    ]);
    expect(await ledger.budgets(0, 10)).toEqual([
      { infohash: fill(20, 9), limit: 55n, spent: 0n, reserved: 0n },
    ]);
    const hash = await ledger.stateHash();
    const before = await ledger.channel(0);
    expect(before).toMatchObject({
      role: 'payee',
      voucherCount: 1,
      deposit: 10n ** 18n,
      authorized: 125_000n,
    });
    expect(before?.row).toEqual(row);
    await ledger.close();
    ledger = await Ledger.open(executor, where);
    expect(ledger.recovery).toMatchObject({ created: false, frameCount: 0, cutBytes: 0 });
    expect(await ledger.stateHash()).toEqual(hash);
    expect(await ledger.channel(0)).toEqual(before);
    await ledger.close();
  });

  test('pays with one signature a batch', async () => {
    const ledger = await Ledger.open(executor, place());
    const own = await executor.deriveVoucherKeys(seed, 11, 1);
    const [put, open] = setup as [Command & { kind: 'channel_put' }, Command & { kind: 'session_open' }];
    const piece = 262_144;
    const outcomes = await ledger.commit([
      { ...put, role: 'payer', voucherKey: own, keyIndex: 11 },
      open,
      { kind: 'budget', infohash: fill(20, 1), limit: 10n ** 9n },
      { kind: 'purchase', session: 0, piece: 0, bytes: piece },
      { kind: 'purchase', session: 0, piece: 1, bytes: piece },
      { kind: 'pay', session: 0, piece: 0, bytes: piece, advance: 0n },
      { kind: 'pay', session: 0, piece: 1, bytes: piece, advance: 0n },
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(Array(7).fill('ok'));
    const key = call((addon) => addon.deriveVoucherSecret(seed, 11n));
    const row = call((addon) => addon.signVoucher(domain, key, payee, 524_288n));
    expect(outcomes[5]?.row).toEqual(row);
    expect(outcomes[6]).toMatchObject({ due: 524_288n, reserved: 0n, authorized: 524_288n, row });
    expect((await ledger.channel(0))?.voucherCount).toBe(1);
    await ledger.close();
  });

  test('gives operation errors their codes', async () => {
    const where = place();
    const ledger = await Ledger.open(executor, where);
    expect(await failure(Ledger.open(executor, where))).toBe('LEDGER_LOCKED');
    await ledger.close();
    expect(await failure(ledger.summary())).toBe('EXECUTOR_CLOSED');
    expect(await failure(ledger.commit([grant(1)]))).toBe('EXECUTOR_CLOSED');
    expect(await failure(Ledger.open(executor, { ...where, chainId: 1n }))).toBe('LEDGER_FOREIGN');
    expect(await failure(Ledger.open(executor, { ...where, segmentBytes: 100 }))).toBe('BAD_ARGUMENT');
    expect(await failure(Ledger.open(executor, { ...where, folder: '/dev/null/nothing' }))).toBe('LEDGER_IO');
  });

  test('a command that is not valid fails alone', async () => {
    const ledger = await Ledger.open(executor, place());
    await ledger.commit(setup);
    const good = ledger.commit([grant(1)]);
    const bad = ledger.commit([grant(1), { kind: 'write_off', session: 0, amount: -1n }]);
    const alsoGood = ledger.commit([grant(2)]);
    expect(await failure(bad)).toBe('BAD_ARGUMENT');
    expect([...(await good), ...(await alsoGood)].map(({ status }) => status)).toEqual(['ok', 'ok']);
    expect((await ledger.session(0))?.bytes).toBe(3);
    await ledger.close();
  });
});

describe.each(kinds)('%s executor, at its end', (_name, make) => {
  test('bounds what waits', async () => {
    const executor = make({ threads: 1, queueMax: 3 });
    const work = Array.from({ length: 5 }, () => failure(executor.deriveVoucherKeys(seed, 0, 50)));
    const results = await Promise.all(work);
    expect(results.filter((result) => result === 'QUEUE_FULL').length).toBe(2);
    expect(await failure(executor.deriveVoucherKeys(seed, 0, 1))).toBe('nothing failed');
    await executor.close();
  });

  test('close waits for what was accepted and refuses the rest', async () => {
    const executor = make({ threads: 1 });
    const ledger = await Ledger.open(executor, place());
    const work = [ledger.commit(setup), executor.deriveVoucherKeys(seed, 0, 500)];
    const closed = ledger.close();
    await closed;
    const ended = executor.close();
    expect(await failure(executor.recoverDigests(new Uint8Array(0)))).toBe('EXECUTOR_CLOSED');
    await ended;
    expect((await Promise.all(work)).length).toBe(2);
    await executor.close();
  });
});
