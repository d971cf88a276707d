/**
 * Commands that move money, through the built command line on a local chain: budgets and ceilings that hold, a
 * channel's whole life, settling, statements, commands that go through a running daemon, and Ctrl-C. About 60 s.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type {
  ChannelView,
  FetchEnd,
  SettlementView,
  SettleReport,
  StatementView,
  WithdrawReport,
} from '../../src/engine/operations.js';
import type { ErrorCode } from '../../src/errors.js';
import { ask, type Home, type Ran, type Running, run, settle, start, wrongEnd } from '../support/cli.js';
import { temporary } from '../support/engines.js';
import { type Ground, layGround } from '../support/ground.js';

const BTT = 10n ** 18n;
const PIECES = 32;
const PIECE_BYTES = 65_536;
const CHALLENGE_SECONDS = 600;
const PRICE = ['--price', '16BTT/MiB', '--exposure', '64BTT'];
const LISTEN = ['--host', '127.0.0.1', '--port', '0'];

let ground: Ground;
let payee: Home;
let seeder: Running;
let torrent: string;
let magnet: string;
let peer: string;
let homes = 0;
const place = temporary();
const file = join(place.path, 'film.bin');

beforeAll(async () => {
  ground = await layGround(CHALLENGE_SECONDS);
  writeFileSync(file, filled(PIECES * PIECE_BYTES, 1));
  payee = await settle(ground, join(place.path, 'payee'), 10_000n * BTT);
  seeder = start(['--json', ...payee.flags, 'seed', file, ...LISTEN, ...PRICE, '--piece-length', '64KiB']);
  const line = await seeder.until(({ event }) => event === 'seeding');
  torrent = String(line['torrentFile']);
  magnet = String(line['magnet']);
  peer = `127.0.0.1:${line['port']}`;
});

afterAll(async () => {
  await seeder?.stop();
  await ground?.stop();
  place.remove();
});

function filled(size: number, seed: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at += 4) bytes.writeUInt32LE(Math.imul(at + seed, 0x9e3779b1) >>> 0, at);
  return bytes;
}

const home = (funds = 10_000n): Promise<Home> =>
  settle(ground, join(place.path, `home-${++homes}`), funds * BTT);

interface Get {
  readonly of: Home;
  readonly to: string;
  readonly what?: string;
  readonly from?: string;
  readonly more?: readonly string[];
}

function getArgs({ of, to, what = torrent, from = peer, more = [] }: Get): string[] {
  return [...of.flags, 'get', what, '--to', join(place.path, to), '--peer', from, ...more];
}

const paid = (budget: string, price = '16BTT/MiB'): string[] => ['--budget', budget, '--max-price', price];
const gets = (get: Get): Promise<Ran> => run(['--json', ...getArgs(get)]);

async function finishes(get: Get): Promise<FetchEnd> {
  const ran = await gets(get);
  expect([ran.status, ran.lines.at(-1)]).toMatchObject([0, { event: 'done' }]);
  return ran.lines.at(-1) as unknown as FetchEnd;
}

async function fails(get: Get, code: ErrorCode): Promise<Ran> {
  const ran = await gets(get);
  expect(wrongEnd(ran, code, true)).toEqual([]);
  return ran;
}

const statement = (of: Home): Promise<StatementView> => ask<StatementView>([...of.flags, 'statement']);
const channels = (of: Home): Promise<ChannelView[]> => ask<ChannelView[]>([...of.flags, 'channel', 'list']);
const same = (to: string): boolean =>
  readFileSync(join(place.path, to, 'film.bin')).equals(readFileSync(file));

test('a budget that is too small buys what it can, and a larger one buys only the rest', async () => {
  const payer = await home();
  const before = BigInt((await statement(payee)).totals.earned);
  const get = { of: payer, to: 'small-budget' };
  await fails({ ...get, more: paid('10BTT') }, 'BUDGET_EXHAUSTED');
  const half = await statement(payer);
  expect(half.totals.spent).toBe(String(10n * BTT));
  expect(half.totals.bytesBought).toBe(String(10 * PIECE_BYTES));
  // The same budget again buys nothing and loses nothing.
  await fails({ ...get, more: paid('10BTT') }, 'BUDGET_EXHAUSTED');
  expect((await statement(payer)).totals.spent).toBe(String(10n * BTT));
  const end = await finishes({ ...get, more: paid('60BTT') });
  expect(end).toMatchObject({
    piecesBought: PIECES,
    spent: String(BigInt(PIECES) * BTT),
    acknowledged: true,
  });
  expect(same('small-budget')).toBe(true);
  const whole = await statement(payer);
  expect(whole.totals.spent).toBe(String(BigInt(PIECES) * BTT));
  expect(whole.checks.every(({ ok }) => ok)).toBe(true);
  expect(BigInt((await statement(payee)).totals.earned) - before).toBe(BigInt(PIECES) * BTT);
  // What is there and paid costs nothing again.
  expect(await finishes({ ...get, more: paid('60BTT') })).toMatchObject({
    spent: String(BigInt(PIECES) * BTT),
  });
  expect((await statement(payer)).totals.spent).toBe(String(BigInt(PIECES) * BTT));
}, 120_000);

test('without a budget nothing is paid; peers that ask nothing serve', async () => {
  const payer = await home();
  const greedy = start(['--json', ...getArgs({ of: payer, to: 'no-budget' })]);
  await greedy.until(({ event, peers }) => event === 'progress' && Number(peers) > 0);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  greedy.kill('SIGINT');
  const ended = await greedy.ended;
  expect(wrongEnd(ended, 'INTERRUPTED', true)).toEqual([]);
  expect(await channels(payer)).toEqual([]);
  expect(await ground.balance(payer.address)).toBe(10_000n * BTT);

  const generous = await home();
  const free = start([
    '--json',
    ...generous.flags,
    'seed',
    file,
    ...LISTEN,
    ...PRICE,
    '--free-slots',
    '2',
    '--torrent',
    torrent,
  ]);
  const line = await free.until(({ event }) => event === 'seeding');
  const end = await finishes({ of: payer, to: 'no-budget', from: `127.0.0.1:${line['port']}` });
  expect(end).toMatchObject({ piecesBought: 0, spent: '0' });
  expect(same('no-budget')).toBe(true);
  expect(await channels(payer)).toEqual([]);
  expect((await free.stop()).status).toBe(0);
}, 120_000);

test('ceilings on price and gas hold before anything is spent', async () => {
  const payer = await home();
  await fails({ of: payer, to: 'ceilings', more: paid('60BTT', '15.9BTT/MiB') }, 'PRICE_TOO_HIGH');
  await fails({ of: payer, to: 'ceilings', more: [...paid('60BTT'), '--max-gas', '1BTT'] }, 'GAS_CEILING');
  expect(await ground.balance(payer.address)).toBe(10_000n * BTT);
  const poor = await home(5n);
  await fails({ of: poor, to: 'ceilings', more: paid('60BTT') }, 'INSUFFICIENT_FUNDS');
  // Without a password only channels that are open already can pay, and there is none.
  const locked = { ...payer, flags: payer.flags.filter((flag) => !flag.includes('password')) };
  await fails({ of: locked, to: 'ceilings', more: paid('60BTT') }, 'PASSWORD_REQUIRED');
  expect(await finishes({ of: payer, to: 'ceilings', more: paid('60BTT') })).toMatchObject({
    acknowledged: true,
  });
}, 120_000);

test('a magnet link with a budget', async () => {
  const payer = await home();
  const end = await finishes({ of: payer, to: 'magnet', what: magnet, more: paid('60BTT') });
  expect(end).toMatchObject({ piecesBought: PIECES, acknowledged: true });
  expect(same('magnet')).toBe(true);
  // As text: what is bought and at which price is said before and after.
  const text = await run(getArgs({ of: payer, to: 'magnet-2', what: magnet, more: paid('120BTT') }));
  expect([text.status, text.stderr]).toEqual([0, '']);
  expect(text.stdout).toContain('film.bin: 2.0 MiB in 32 pieces');
  expect(text.stdout).toMatch(/gas up to .* BTT \(allowed: 300 BTT\)/);
  expect(text.stdout).toContain('Done: 2.0 MiB');
}, 120_000);

test('Ctrl-C in the middle of a download, and the same command again', async () => {
  const payer = await home();
  const args = getArgs({ of: payer, to: 'interrupted', more: paid('60BTT') });
  const first = start(['--json', ...args]);
  await first.until(({ event, pieces }) => event === 'progress' && Number(pieces) > 0);
  first.kill('SIGINT');
  const ended = await first.ended;
  // It may have been done just before, and be gone by itself or by the signal.
  const isDone = ended.lines.at(-1)?.['event'] === 'done' && (ended.status ?? 0) === 0;
  if (!isDone) expect(wrongEnd(ended, 'INTERRUPTED', true)).toEqual([]);
  expect(() => process.kill(first.pid, 0)).toThrow();
  const end = await finishes({ of: payer, to: 'interrupted', more: paid('60BTT') });
  expect(end).toMatchObject({ piecesBought: PIECES, spent: String(BigInt(PIECES) * BTT) });
  expect((await statement(payer)).totals.spent).toBe(String(BigInt(PIECES) * BTT));
  expect(same('interrupted')).toBe(true);
}, 120_000);

test('the life of a channel as its payer', async () => {
  const payer = await home();
  const to = `0x${'ab'.repeat(20)}`;
  type Done = ChannelView & { transaction: { fee: string } };
  const opened = await ask<Done>([...payer.flags, 'channel', 'open', '--payee', to, '--deposit', '20BTT']);
  expect(opened).toMatchObject({ role: 'payer', payee: to, phase: 'open', deposit: String(20n * BTT) });
  const key = opened.voucherKey;
  const raised = await ask<Done>([...payer.flags, 'channel', 'top-up', key, '--amount', '2.5BTT']);
  expect(raised.deposit).toBe(String((225n * BTT) / 10n));
  expect(await channels(payer)).toMatchObject([{ voucherKey: key, deposit: raised.deposit }]);
  expect(await ask([...payer.flags, 'channel', 'show', key])).toMatchObject({ phase: 'open' });
  const tooDear = await run([
    ...payer.flags,
    'channel',
    'top-up',
    key,
    '--amount',
    '1BTT',
    '--max-gas',
    '1wei',
  ]);
  expect(wrongEnd(tooDear, 'GAS_CEILING', false)).toEqual([]);

  const closing = await ask<Done>([...payer.flags, 'channel', 'close', key]);
  expect(closing.phase).toBe('closing');
  const early = await run([...payer.flags, 'channel', 'close', key]);
  expect(wrongEnd(early, 'CHANNEL_CLOSED', false)).toEqual([]);
  expect(early.stderr).toMatch(/can be withdrawn in \d+ s/);
  const nothing = await ask<WithdrawReport>([...payer.flags, 'withdraw']);
  expect(nothing.amount).toBe('0');
  await ground.passTime(CHALLENGE_SECONDS + 1);
  const closed = await ask<Done>([...payer.flags, 'channel', 'close', key]);
  expect(closed.phase).toBe('closed');
  const late = await run([...payer.flags, 'channel', 'top-up', key, '--amount', '1BTT']);
  expect(wrongEnd(late, 'CHANNEL_CLOSED', false)).toEqual([]);
  const before = await ground.balance(payer.address);
  const other = `0x${'cd'.repeat(20)}`;
  const paidOut = await ask<WithdrawReport>([...payer.flags, 'withdraw', '--to', other]);
  expect(paidOut).toMatchObject({ amount: raised.deposit, to: other });
  expect(await ground.balance(new Uint8Array(20).fill(0xcd))).toBe(BigInt(raised.deposit));
  expect(before - (await ground.balance(payer.address))).toBe(BigInt(paidOut.transaction!.fee));
  const shown = await run([...payer.flags, 'channel', 'show', key]);
  expect(shown.stdout).toContain('payer channel, closed');
}, 120_000);

test('through the daemon: settling, closing, statements, more torrents and downloads', async () => {
  const payer = await home();
  await finishes({ of: payer, to: 'daemon', more: paid('60BTT') });
  const [channel] = await channels(payer);
  // No password is needed: the daemon has the wallet.
  const flags = payee.flags.filter((flag) => !flag.includes('password'));
  const own = ['settle', '--channel', channel!.voucherKey];
  const held = await ground.hub.credit(payee.address);
  const dry = await ask<SettleReport>([...flags, ...own, '--dry-run', '--force']);
  expect(dry).toMatchObject({ vouchers: 1, transactions: [], settled: String(BigInt(PIECES) * BTT) });
  expect(BigInt(dry.expectedFee ?? 0)).toBeGreaterThan(0n);
  expect(await ground.hub.credit(payee.address)).toBe(held);
  const dear = await run([...flags, ...own, '--force', '--max-gas', '1wei']);
  expect(wrongEnd(dear, 'GAS_CEILING', false)).toEqual([]);
  const done = await ask<SettleReport>([...flags, ...own, '--force']);
  expect(done).toMatchObject({ vouchers: 1, settled: String(BigInt(PIECES) * BTT), closed: 0 });
  expect((await ground.hub.credit(payee.address)) - held).toBe(BigInt(PIECES) * BTT);
  const listed = await ask<SettlementView[]>([...flags, 'settle', '--list']);
  expect(listed.at(-1)).toMatchObject({ state: 'final', settled: done.settled, vouchers: 1 });
  const again = await ask<SettleReport>([...flags, ...own, '--force']);
  expect(again).toMatchObject({ vouchers: 0, transactions: [], settled: '0' });
  const text = await run([...flags, ...own]);
  expect(text.stdout).toContain('Nothing to settle now.');
  const gone = await ask<SettleReport>([...flags, ...own, '--close']);
  expect(gone.closed).toBe(1);
  const closed = await run([...flags, ...own.slice(0, 2), `0x${'99'.repeat(20)}`]);
  expect(closed.status).toBe(0);

  // The engine of the daemon also sells more, and buys.
  const second = join(place.path, 'second.bin');
  writeFileSync(second, filled(8 * PIECE_BYTES, 2));
  const more = await run(['--json', ...flags, 'seed', second, '--piece-length', '64KiB']);
  expect(more.status).toBe(0);
  expect(more.lines[0]).toMatchObject({ event: 'seeding', name: 'second.bin', pieces: 8 });
  const twice = await run([...flags, 'seed', second, '--piece-length', '64KiB']);
  expect(wrongEnd(twice, 'BAD_ARGUMENT', false)).toEqual([]);
  const fromDaemon = { of: payer, to: 'second', what: String(more.lines[0]!['torrentFile']) };
  expect(await finishes({ ...fromDaemon, more: paid('20BTT') })).toMatchObject({ piecesBought: 8 });

  const other = await home();
  const third = join(place.path, 'third.bin');
  writeFileSync(third, filled(4 * PIECE_BYTES, 3));
  const out = join(place.path, 'third.torrent');
  const shop = start(['--json', ...other.flags, 'seed', third, ...LISTEN, ...PRICE, '--torrent-out', out]);
  const line = await shop.until(({ event }) => event === 'seeding');
  const bought = await run([
    ...['--json', ...flags, 'get', out, '--to', join(place.path, 'bought'), ...paid('20BTT')],
    ...['--peer', `127.0.0.1:${line['port']}`],
  ]);
  expect([bought.status, bought.lines.at(-1)]).toMatchObject([0, { event: 'done', acknowledged: true }]);
  expect(existsSync(join(place.path, 'bought', 'third.bin'))).toBe(true);
  const busy = await run([
    '--json',
    ...flags,
    'get',
    torrent,
    '--to',
    join(place.path, 'bought'),
    ...paid('20BTT'),
  ]);
  expect(wrongEnd(busy, 'BAD_ARGUMENT', true)).toEqual([]);
  // Ctrl-C ends the command and the download in the daemon, not the daemon.
  const endless = start(['--json', ...flags, 'get', missingTorrent(), '--to', join(place.path, 'endless')]);
  await endless.until(({ event }) => event === 'progress');
  endless.kill('SIGINT');
  expect(wrongEnd(await endless.ended, 'INTERRUPTED', true)).toEqual([]);
  await shop.stop();

  const books = await statement(payee);
  expect(books.checks.every(({ ok }) => ok)).toBe(true);
  expect(books.channels.some(({ role }) => role === 'payer')).toBe(true);
}, 180_000);

/** A torrent that nobody has. */
function missingTorrent(): string {
  const path = join(place.path, 'missing.torrent');
  const info = `d6:lengthi16384e4:name7:missing12:piece lengthi16384e6:pieces20:${'x'.repeat(20)}e`;
  writeFileSync(path, Buffer.from(`d4:info${info}e`, 'latin1'));
  return path;
}

test('the statement as table, CSV and JSON', async () => {
  const payer = await home();
  await finishes({ of: payer, to: 'statement', more: paid('60BTT') });
  const view = await statement(payer);
  const table = await run([...payer.flags, 'statement']);
  expect(table.stdout).toContain(`Statement for hub ${view.hub} on chain ${view.chainId}`);
  expect(table.stdout).toContain('Spent 32 BTT');
  expect(table.stdout).toMatch(/due = price of the pieces received in all sessions: holds/);
  const csv = (await run([...payer.flags, 'statement', '--format', 'csv'])).stdout.trim().split('\n');
  expect(csv[0]).toBe('role,infohash,voucher_key,payee,price_wei_per_mib,bytes,pieces,amount_wei,open');
  const [session] = view.sessions;
  expect(csv.slice(1)).toEqual([
    `payer,${session!.infohash},${session!.voucherKey},${session!.payee},${16n * BTT},${PIECES * PIECE_BYTES},${PIECES},${32n * BTT},false`,
  ]);
  const json = await run([...payer.flags, 'statement', '--format', 'json']);
  expect(JSON.parse(json.stdout)).toEqual(view);
  const empty = await home(0n);
  expect((await run([...empty.flags, 'statement'])).stdout).toContain('No channels yet.');
  expect((await run([...empty.flags, 'channel', 'list'])).stdout).toContain('No channels yet.');
}, 120_000);

test('Ctrl-C on the daemon: it ends well, takes its note back, and an existing torrent is served again', async () => {
  const before = await statement(payee);
  seeder.kill('SIGINT');
  const ended = await seeder.ended;
  expect([ended.status, ended.signal]).toEqual([0, null]);
  expect(readdirSync(payee.dataDir)).not.toContain('daemon.json');
  expect(readdirSync(payee.dataDir)).not.toContain('token');
  expect((await statement(payee)).totals).toEqual(before.totals);
  const moved = join(place.path, 'moved');
  mkdirSync(moved);
  writeFileSync(join(moved, 'film.bin'), readFileSync(file));
  seeder = start(['--json', ...payee.flags, 'seed', moved, ...LISTEN, ...PRICE, '--torrent', torrent]);
  const line = await seeder.until(({ event }) => event === 'seeding');
  peer = `127.0.0.1:${line['port']}`;
  expect(line['infohash']).toBe(/btih:([0-9a-f]{40})/.exec(magnet)![1]);
  const payer = await home();
  expect(await finishes({ of: payer, to: 'served-again', more: paid('60BTT') })).toMatchObject({
    acknowledged: true,
  });
  expect(same('served-again')).toBe(true);
}, 120_000);
