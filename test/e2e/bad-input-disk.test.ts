/**
 * Full and read-only disks, on real file systems of a chosen size: each command ends with its code and its
 * advice, what was bought or earned stays, and with room again the same command finishes. About 15 s; mounting
 * takes root.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, onTestFinished } from 'vitest';
import type { FetchEnd, StatementView } from '../../src/engine/operations.js';
import type { ErrorCode } from '../../src/errors.js';
import { Ledger } from '../../src/ledger/ledger.js';
import { inline } from '../../src/native/executor.js';
import { keyNamed, rowOf } from '../support/agreement.js';
import { ask, type Home, type Running, run, settle, start, wrongEnd } from '../support/cli.js';
import { temporary } from '../support/engines.js';
import { type Ground, layGround } from '../support/ground.js';
import { mount, type Tmpfs, testWithMounts } from '../support/tmpfs.js';

const BTT = 10n ** 18n;
const PIECES = 32;
const PIECE_BYTES = 65_536;
const PRICE = BigInt(PIECES) * BTT;
const MIB_KIB = 1024;

let ground: Ground;
const place = temporary();
const file = join(place.path, 'film.bin');
const running = new Set<Running>();
let homes = 0;

beforeAll(async () => {
  ground = await layGround();
  const payload = Buffer.alloc(PIECES * PIECE_BYTES);
  for (let at = 0; at < payload.length; at += 4) payload.writeUInt32LE(Math.imul(at, 0x9e3779b1) >>> 0, at);
  writeFileSync(file, payload);
});

afterEach(async () => {
  for (const one of running) await one.stop();
  running.clear();
});

afterAll(async () => {
  await ground?.stop();
  place.remove();
});

/** A file system that is unmounted when the test ends, whatever happens. */
function disk(sizeKib: number): Tmpfs {
  const made = mount(sizeKib);
  onTestFinished(() => made.unmount());
  return made;
}

const home = (dataDir = join(place.path, `home-${++homes}`)): Promise<Home> =>
  settle(ground, dataDir, 1_000n * BTT);

interface Seed {
  readonly running: Running;
  readonly torrent: string;
  readonly port: number;
}

async function seed(of: Home): Promise<Seed> {
  const listen = ['--host', '127.0.0.1', '--port', '0', '--piece-length', '64KiB'];
  const out = join(place.path, 'film.torrent');
  const price = ['--price', '16BTT/MiB', '--exposure', '64BTT', '--torrent-out', out];
  const one = start(['--json', ...of.flags, 'seed', file, ...listen, ...price]);
  running.add(one);
  const line = await one.until(({ event }) => event === 'seeding');
  return { running: one, torrent: out, port: Number(line['port']) };
}

const getArgs = (of: Home, from: Seed, to: string): string[] => [
  ...of.flags,
  ...['get', from.torrent, '--to', to, '--budget', '60BTT', '--max-price', '16BTT/MiB'],
  ...['--peer', `127.0.0.1:${from.port}`],
];

async function fails(args: readonly string[], code: ErrorCode): Promise<void> {
  expect(wrongEnd(await run(args), code, false)).toEqual([]);
  expect(wrongEnd(await run(['--json', ...args]), code, true)).toEqual([]);
}

const statement = (of: Home): Promise<StatementView> => ask<StatementView>([...of.flags, 'statement']);

async function finishes(args: readonly string[]): Promise<FetchEnd> {
  const ran = await run(['--json', ...args]);
  expect([ran.status, ran.stderr]).toEqual([0, '']);
  return ran.lines.at(-1) as unknown as FetchEnd;
}

testWithMounts('a disk that fills up during a download', async () => {
  const from = await seed(await home());
  const payer = await home();
  const small = disk(MIB_KIB);
  const args = getArgs(payer, from, join(small.path, 'to'));
  await fails(args, 'DISK_FULL');
  const half = await statement(payer);
  const bought = half.sessions.reduce((sum, { pieces }) => sum + pieces, 0);
  expect(bought).toBeGreaterThan(4);
  expect(bought).toBeLessThanOrEqual(16);
  expect(half.totals.spent).toBe(String(BigInt(bought) * BTT));
  expect(half.channels[0]).toMatchObject({ reserved: '0' });
  expect(half.checks.every(({ ok }) => ok)).toBe(true);

  small.resize(4 * MIB_KIB);
  const end = await finishes(args);
  expect(end).toMatchObject({ piecesBought: PIECES, spent: String(PRICE), acknowledged: true });
  expect(readFileSync(join(small.path, 'to', 'film.bin')).equals(readFileSync(file))).toBe(true);
  const whole = await statement(payer);
  expect(whole.totals.spent).toBe(String(PRICE));
  expect(whole.channels.length).toBe(1);
});

testWithMounts('a data folder on a disk without room for a journal', async () => {
  const from = await seed(await home());
  const small = disk(2 * MIB_KIB);
  const payer = await home(join(small.path, 'data'));
  const args = getArgs(payer, from, join(place.path, 'without-room'));
  await fails(args, 'DISK_FULL');
  await fails([...payer.flags, 'statement'], 'DISK_FULL');
  small.resize(64 * MIB_KIB);
  expect(await finishes(args)).toMatchObject({ spent: String(PRICE), acknowledged: true });
});

testWithMounts('a payee whose disk is full keeps every voucher that it acknowledged', async () => {
  const small = disk(40 * MIB_KIB);
  const payee = await home(join(small.path, 'data'));
  const first = await seed(payee);
  small.fill();
  const payer = await home();
  const end = await finishes(getArgs(payer, first, join(place.path, 'full-payee')));
  expect(end).toMatchObject({ spent: String(PRICE), acknowledged: true });
  first.running.kill('SIGKILL');
  await first.running.ended;
  running.delete(first.running);

  // Still full: it starts or says that the disk is full, and holds what it acknowledged either way.
  const args = ['--json', ...payee.flags, 'seed', file, '--host', '127.0.0.1', '--port', '0'];
  const again = start(args);
  running.add(again);
  const outcome = await Promise.race([
    again.until(({ event }) => event === 'seeding').catch(() => again.ended),
    again.ended,
  ]);
  if ('status' in outcome) {
    running.delete(again);
    const ran = await again.ended;
    expect(wrongEnd(ran, 'DISK_FULL', true)).toEqual([]);
  }
  await again.stop();
  running.delete(again);
  const full = await statement(payee);
  expect(full.totals.earned).toBe(String(PRICE));

  small.free();
  const back = await seed(payee);
  expect((await statement(payee)).totals.earned).toBe(String(PRICE));
  const settled = await ask<{ settled: string }>([...payee.flags, 'settle', '--force']);
  expect(settled.settled).toBe(String(PRICE));
  await back.running.stop();
  running.delete(back.running);
});

testWithMounts('a read-only download folder', async () => {
  const from = await seed(await home());
  const payer = await home();
  const some = disk(8 * MIB_KIB);
  const to = join(some.path, 'to');
  const args = getArgs(payer, from, to);
  some.readOnly(true);
  await fails(args, 'READ_ONLY');
  expect((await statement(payer)).totals.spent).toBe('0');
  some.readOnly(false);
  mkdirSync(to);
  some.readOnly(true);
  await fails(args, 'READ_ONLY');
  const tried = await statement(payer);
  // A piece that cannot be written is not paid.
  expect(tried.totals.spent).toBe('0');
  expect(tried.channels.every(({ reserved }) => reserved === '0')).toBe(true);
  expect(readdirSync(to)).toEqual([]);
  some.readOnly(false);
  expect(await finishes(args)).toMatchObject({ spent: String(PRICE), acknowledged: true });
});

testWithMounts('a read-only data folder', async () => {
  const some = disk(64 * MIB_KIB);
  const payer = await home(join(some.path, 'data'));
  some.readOnly(true);
  await fails([...payer.flags, 'statement'], 'READ_ONLY');
  some.readOnly(false);
  expect((await statement(payer)).channels).toEqual([]);
  some.readOnly(true);
  await fails([...payer.flags, 'statement'], 'LEDGER_READ_ONLY');
  some.readOnly(false);
  expect((await statement(payer)).channels).toEqual([]);
});

testWithMounts('a journal that runs out of room refuses new credit first and loses no voucher', async () => {
  const small = disk(512);
  const executor = inline();
  const dataDir = join(small.path, 'data');
  const { chainId, hub } = ground.domain;
  const seedBytes = new Uint8Array(32).fill(3);
  const options = { dataDir, chainId, hub, seed: seedBytes, segmentBytes: 65_536 };
  const ledger = await Ledger.open(executor, options);
  const key = keyNamed('journal');
  const payee = keyNamed('payee').address;
  const facts = { deposit: 10n ** 24n, settled: 0n, closeAt: 0, block: 1 };
  await ledger.commit([{ kind: 'channel_put', role: 'payee', voucherKey: key.address, payee, ...facts }]);
  const terms = { infohash: new Uint8Array(20), priceMiB: 1n << 20n, minimumStep: 0n, prepay: 0n };
  await ledger.commit([
    { kind: 'session_open', channel: 0, sessionId: new Uint8Array(16).fill(1), ...terms },
  ]);
  // One grant for everything, so that vouchers can go on when grants cannot.
  await ledger.commit([{ kind: 'grant', session: 0, bytes: 1 << 30, exposureLimit: 10n ** 24n }]);
  small.fill();
  let acked = 0n;
  let refusedGrants = 0;
  let vouchersAfterRefusal = 0;
  let ended = '';
  for (let nth = 1; nth < 5_000 && ended === ''; nth++) {
    const [grant] = await ledger.commit([{ kind: 'grant', session: 0, bytes: 1, exposureLimit: 10n ** 24n }]);
    if (grant!.status === 'no_space') refusedGrants++;
    const row = rowOf(ground.domain, key, payee, BigInt(nth));
    const [voucher] = await ledger.commit([
      { kind: 'voucher', session: 0, row, final: false, verified: true },
    ]);
    if (voucher!.status === 'ok') acked = BigInt(nth);
    else ended = voucher!.status;
    if (refusedGrants > 0 && voucher!.status === 'ok') vouchersAfterRefusal++;
  }
  expect(refusedGrants).toBeGreaterThan(0);
  expect(vouchersAfterRefusal).toBeGreaterThan(10);
  expect(ended).toBe('no_space');
  // No room for a checkpoint either: that costs time at the next start, and nothing else.
  await expect(ledger.close()).rejects.toMatchObject({ code: 'DISK_FULL' });
  small.free();
  const again = await Ledger.open(executor, options);
  expect((await again.channels())[0]!.authorized).toBe(acked);
  const row = rowOf(ground.domain, key, payee, acked + 1n);
  const [voucher] = await again.commit([{ kind: 'voucher', session: 0, row, final: false, verified: true }]);
  const [grant] = await again.commit([{ kind: 'grant', session: 0, bytes: 1, exposureLimit: 10n ** 24n }]);
  expect([voucher!.status, grant!.status]).toEqual(['ok', 'ok']);
  await again.close();
  expect(existsSync(dataDir)).toBe(true);
});
