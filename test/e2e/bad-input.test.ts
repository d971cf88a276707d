/**
 * What users get wrong, through the real command line: each ends with its code, its exit status and a sentence
 * that says what to do, as text and as JSON, and once the cause is gone the same command works. About 40 s.
 */
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { StatementView } from '../../src/engine/operations.js';
import type { ErrorCode } from '../../src/errors.js';
import { Ledger } from '../../src/ledger/ledger.js';
import * as DevChain from '../../src/settlement/dev-chain.js';
import { ask, chainFlags, type Home, type Running, run, settle, start, wrongEnd } from '../support/cli.js';
import { temporary } from '../support/engines.js';
import { type Ground, layGround } from '../support/ground.js';

const BTT = 10n ** 18n;
const PIECES = 32;
const PIECE_BYTES = 65_536;

let ground: Ground;
let payee: Home;
let seeding: Running;
let torrent: string;
let port: number;
let payload: Buffer;
const place = temporary();
let homes = 0;

beforeAll(async () => {
  ground = await layGround();
  payee = await settle(ground, join(place.path, 'payee'), 1_000n * BTT);
  const file = join(place.path, 'film.bin');
  payload = Buffer.alloc(PIECES * PIECE_BYTES);
  for (let at = 0; at < payload.length; at += 4) payload.writeUInt32LE(Math.imul(at, 0x9e3779b1) >>> 0, at);
  writeFileSync(file, payload);
  seeding = startSeed();
  const line = await seeding.until(({ event }) => event === 'seeding');
  torrent = String(line['torrentFile']);
  port = Number(line['port']);
});

afterAll(async () => {
  await seeding?.stop();
  await ground?.stop();
  place.remove();
});

function startSeed(more: readonly string[] = []): Running {
  const listen = ['--host', '127.0.0.1', '--port', '0', '--piece-length', '64KiB', '--price', '16BTT/MiB'];
  const file = join(place.path, 'film.bin');
  return start(['--json', ...payee.flags, 'seed', file, ...listen, '--exposure', '8BTT', ...more]);
}

const freshHome = (funds = 1_000n * BTT): Promise<Home> =>
  settle(ground, join(place.path, `home-${++homes}`), funds);

const forms = new Map<ErrorCode, number>();

/** Runs a command that has to fail: as text and as JSON the first time a code comes up, then as one of them. */
async function fails(args: readonly string[], code: ErrorCode): Promise<string> {
  const nth = forms.get(code) ?? 0;
  forms.set(code, nth + 1);
  let said = '';
  if (nth === 0 || nth % 2 === 0) {
    const text = await run(args);
    expect(wrongEnd(text, code, false)).toEqual([]);
    said += text.stderr;
  }
  if (nth === 0 || nth % 2 === 1) {
    const json = await run(['--json', ...args]);
    expect(wrongEnd(json, code, true)).toEqual([]);
    said += String(json.lines.at(-1)?.['detail']);
  }
  return said;
}

const getArgs = (home: Home, file: string, to: string, more: readonly string[] = []): string[] => [
  ...home.flags,
  ...['get', file, '--to', to, '--budget', '60BTT', '--max-price', '16BTT/MiB'],
  ...['--peer', `127.0.0.1:${port}`, ...more],
];

async function unusedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port: free } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return free;
}

/** Every file below a folder with the hash of its bytes. */
function fingerprint(folder: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    found.set(path, createHash('sha256').update(readFileSync(path)).digest('hex'));
  }
  return found;
}

function bencoded(path: readonly string[]): Buffer {
  const text = (value: string): string => `${Buffer.byteLength(value)}:${value}`;
  const file = `d6:lengthi5e4:pathl${path.map(text).join('')}ee`;
  const info = `d5:filesl${file}e4:name4:film12:piece lengthi16384e6:pieces20:${'x'.repeat(20)}e`;
  return Buffer.from(`d4:info${info}e`, 'latin1');
}

test('a corrupt torrent', async () => {
  const good = readFileSync(torrent);
  const to = join(place.path, 'corrupt');
  const home = await freshHome();
  for (const [name, bytes] of [
    ['cut', good.subarray(0, good.length - 10)],
    ['empty', Buffer.alloc(0)],
    ['text', Buffer.from('this is not a torrent')],
    ['trailing', Buffer.concat([good, Buffer.from('x')])],
  ] as const) {
    const file = join(place.path, `${name}.torrent`);
    writeFileSync(file, bytes);
    await fails(getArgs(home, file, to), 'TORRENT_CORRUPT');
  }
  expect(existsSync(to)).toBe(false);
  const missing = await fails(getArgs(home, join(place.path, 'no.torrent'), to), 'NOT_FOUND');
  expect(missing).toContain('no.torrent');
  await fails(getArgs(home, 'magnet:?dn=nothing', to), 'TORRENT_CORRUPT');
});

test('a torrent that names files outside its folder', async () => {
  const home = await freshHome(0n);
  const to = join(place.path, 'unsafe', 'deep');
  for (const [nth, path] of [
    ['..', 'evil'],
    ['a', '..', '..', 'evil'],
    ['/etc/evil'],
    ['.', 'x'],
    [''],
  ].entries()) {
    const file = join(place.path, `unsafe-${nth}.torrent`);
    writeFileSync(file, bencoded(path));
    await fails(getArgs(home, file, to), 'TORRENT_UNSAFE');
  }
  expect(existsSync(join(place.path, 'unsafe'))).toBe(false);
});

test('a wrong wallet password, then the right one', async () => {
  const home = await freshHome();
  const wrong = join(place.path, 'wrong-password');
  writeFileSync(wrong, 'not the password\n');
  const withWrong = home.flags.map((flag) => (flag === home.passwordFile ? wrong : flag));
  const open = ['channel', 'open', '--payee', `0x${'11'.repeat(20)}`, '--deposit', '1BTT'];
  const before = fingerprint(home.dataDir);
  await fails([...withWrong, ...open], 'WALLET_PASSWORD');
  await fails(
    [...withWrong, 'get', torrent, '--budget', '1BTT', '--to', join(place.path, 'x')],
    'WALLET_PASSWORD',
  );
  const missing = home.flags.map((flag) => (flag === home.passwordFile ? join(place.path, 'none') : flag));
  await fails([...missing, ...open], 'PASSWORD_REQUIRED');
  const without = home.flags.filter((flag) => flag !== '--password-file' && flag !== home.passwordFile);
  await fails([...without, ...open], 'PASSWORD_REQUIRED');
  expect(fingerprint(home.dataDir)).toEqual(before);
  const opened = await ask<{ deposit: string }>([...home.flags, ...open]);
  expect(opened.deposit).toBe(String(BTT));
});

test('a missing, a damaged and a second wallet', async () => {
  const home = await freshHome(0n);
  const kept = readFileSync(home.walletPath);
  await fails([...home.flags, 'wallet', 'new'], 'WALLET_EXISTS');
  expect(readFileSync(home.walletPath).equals(kept)).toBe(true);
  for (const damage of [
    kept.subarray(0, 100),
    Buffer.from('{}'),
    Buffer.from(String(kept).replace('"version":3', '"version":9')),
  ]) {
    writeFileSync(home.walletPath, damage);
    await fails([...home.flags, 'settle'], 'WALLET_CORRUPT');
  }
  rmSync(home.walletPath);
  await fails([...home.flags, 'settle'], 'WALLET_MISSING');
  await fails([...home.flags, 'wallet', 'show'], 'WALLET_MISSING');
  writeFileSync(home.walletPath, kept);
  const { address } = await ask<{ address: string }>([...home.flags, 'wallet', 'show']);
  expect(address).toBe(`0x${Buffer.from(home.address).toString('hex')}`);
});

test('an unreachable chain, another chain, no hub and a foreign hub', async () => {
  const home = await freshHome();
  const local = chainFlags(ground);
  const flags = home.flags.filter((flag) => !local.includes(flag));
  const on = (rpc: string, hub: string, name = 'local'): string[] => [
    ...[...flags, '--chain', name, '--rpc', rpc, '--hub', hub],
    ...['channel', 'open', '--payee', `0x${'11'.repeat(20)}`, '--deposit', '1BTT'],
  ];
  const hub = local.at(-1)!;
  await fails(on('http://127.0.0.1:9', hub), 'CHAIN_UNREACHABLE');
  await fails(on(ground.rpcUrl, hub, 'donau'), 'CHAIN_WRONG_ID');
  await fails(on(ground.rpcUrl, `0x${'22'.repeat(20)}`), 'HUB_MISSING');
  const foreign = `0x${'33'.repeat(20)}`;
  await ground.ask('anvil_setCode', foreign, '0x60006000f3');
  await fails(on(ground.rpcUrl, foreign), 'HUB_MISMATCH');
  const other = await DevChain.start({ chainId: 4_242n, blockTime: 0 });
  try {
    await fails(on(other.rpcUrl, hub), 'CHAIN_WRONG_ID');
  } finally {
    await other.stop();
  }
  const bare = flags.filter((flag) => flag !== '--hub');
  await fails([...bare, '--chain', 'local', '--rpc', ground.rpcUrl, 'channel', 'list'], 'BAD_CONFIG');
  // The same command on the right chain.
  const ran = await run(on(ground.rpcUrl, hub));
  expect(ran.status).toBe(0);
  await fails(
    [...home.flags, 'channel', 'open', '--payee', `0x${'11'.repeat(20)}`, '--deposit', '5000BTT'],
    'INSUFFICIENT_FUNDS',
  );
});

test('a corrupt journal stops at its place, changes nothing, and works again once restored', async () => {
  const home = await freshHome();
  const to = join(place.path, 'journal');
  expect((await run(getArgs(home, torrent, to))).status).toBe(0);
  const folder = Ledger.folder(home.dataDir, ground.domain.chainId, ground.domain.hub);
  const segment = readdirSync(folder).find((name) => name.startsWith('seg-'))!;
  const path = join(folder, segment);
  const copy = join(place.path, 'segment');
  copyFileSync(path, copy);
  const bytes = readFileSync(path);
  // In the first frame: there are many behind it.
  bytes[64 + 24 + 3]! ^= 0x40;
  writeFileSync(path, bytes);
  for (const name of readdirSync(folder)) if (name.startsWith('checkpoint-')) rmSync(join(folder, name));
  const before = fingerprint(home.dataDir);
  for (const command of [['statement'], ['channel', 'list'], ['get', torrent, '--to', to]]) {
    const said = await fails([...home.flags, ...command], 'JOURNAL_CORRUPT');
    expect(said).toContain(segment);
    expect(said).toMatch(/\b64\b/);
  }
  expect(fingerprint(home.dataDir)).toEqual(before);
  copyFileSync(copy, path);
  const statement = await ask<StatementView>([...home.flags, 'statement']);
  expect(statement.totals.spent).toBe(String(BigInt(PIECES) * BTT));
  expect(statement.checks.every(({ ok }) => ok)).toBe(true);
});

test('a ledger of another hub in the place of this one', async () => {
  const home = await freshHome(0n);
  expect((await run([...home.flags, 'channel', 'list'])).status).toBe(0);
  const own = Ledger.folder(home.dataDir, ground.domain.chainId, ground.domain.hub);
  const other = Ledger.folder(home.dataDir, ground.domain.chainId, new Uint8Array(20).fill(0x44));
  mkdirSync(other);
  for (const name of readdirSync(own)) copyFileSync(join(own, name), join(other, name));
  const flags = home.flags.map((flag) => (flag === home.flags.at(-1) ? `0x${'44'.repeat(20)}` : flag));
  await fails([...flags, 'channel', 'list'], 'LEDGER_FOREIGN');
});

test('a second process on the same ledger', async () => {
  const home = await freshHome(0n);
  // A download that finds nobody keeps the ledger.
  const holder = start(['--json', ...home.flags, 'get', torrent, '--to', join(place.path, 'second')]);
  await holder.until(({ event }) => event === 'checked');
  await fails([...home.flags, 'channel', 'list'], 'LEDGER_LOCKED');
  await fails(getArgs(home, torrent, join(place.path, 'second')), 'LEDGER_LOCKED');
  const held = await holder.stop();
  expect([held.status, held.lines.at(-1)?.['code']]).toEqual([130, 'INTERRUPTED']);
  expect((await run([...home.flags, 'channel', 'list'])).status).toBe(0);
});

test('a killed process leaves a lock and a note that stop nobody', async () => {
  const home = await freshHome(0n);
  const holder = start(['--json', ...home.flags, 'get', torrent, '--to', join(place.path, 'killed')]);
  await holder.until(({ event }) => event === 'checked');
  holder.kill('SIGKILL');
  await holder.ended;
  // A daemon that died: its note names a process that is gone, or one that is somebody else's by now.
  writeFileSync(join(home.dataDir, 'token'), 'x'.repeat(64));
  writeFileSync(join(home.dataDir, 'daemon.json'), JSON.stringify({ pid: 4_000_000, port: 9 }));
  expect((await run([...home.flags, 'channel', 'list'])).status).toBe(0);
  const nobody = await unusedPort();
  writeFileSync(join(home.dataDir, 'daemon.json'), JSON.stringify({ pid: process.pid, port: nobody }));
  expect((await run([...home.flags, 'channel', 'list'])).status).toBe(0);
});

test('a damaged voucher seed', async () => {
  const home = await freshHome(0n);
  expect((await run([...home.flags, 'channel', 'list'])).status).toBe(0);
  const path = join(home.dataDir, 'voucher.seed');
  const kept = readFileSync(path);
  writeFileSync(path, 'damaged');
  const said = await fails([...home.flags, 'channel', 'list'], 'IO');
  expect(said).toContain('voucher.seed');
  expect(readFileSync(path, 'utf8')).toBe('damaged');
  writeFileSync(path, kept);
  expect((await run([...home.flags, 'channel', 'list'])).status).toBe(0);
});

test('settings that are wrong', async () => {
  const home = await freshHome(0n);
  const file = join(home.dataDir, 'config.json');
  for (const [text, named] of [
    ['{', 'config.json'],
    ['[]', 'config.json'],
    ['{"pirce": "1BTT/GiB"}', 'pirce'],
    ['{"port": 70000}', 'port'],
    ['{"rpc": "ftp://127.0.0.1"}', 'ftp://127.0.0.1'],
    ['{"logLevel": "loud"}', 'logLevel'],
    ['{"confirmations": 0}', 'confirmations'],
  ] as const) {
    writeFileSync(file, text);
    // Flags come before the file: these are the ones that no flag sets.
    const flags = [
      '--data-dir',
      home.dataDir,
      '--password-file',
      home.passwordFile,
      '--hub',
      home.flags.at(-1)!,
    ];
    const said = await fails([...flags, '--chain', 'local', 'channel', 'list'], 'BAD_CONFIG');
    expect(said).toContain(named);
  }
  writeFileSync(file, '{"price": "cheap"}');
  await fails([...home.flags, 'channel', 'list'], 'BAD_PRICE');
  writeFileSync(file, '{"maxGas": "5"}');
  await fails([...home.flags, 'channel', 'list'], 'BAD_AMOUNT');
  rmSync(file);
  expect((await run([...home.flags, 'channel', 'list'])).status).toBe(0);
  await fails([...home.flags, '--chain', 'nowhere', 'channel', 'list'], 'BAD_CONFIG');
});

test('files that are gone or changed, and a port that is taken', async () => {
  const home = await freshHome(0n);
  const file = join(place.path, 'changing.bin');
  writeFileSync(file, Buffer.alloc(100_000, 1));
  const listen = ['--host', '127.0.0.1', '--port', '0'];
  const out = join(place.path, 'changing.torrent');
  const made = start(['--json', ...home.flags, 'seed', file, ...listen, '--torrent-out', out]);
  await made.until(({ event }) => event === 'seeding');
  expect((await made.stop()).status).toBe(0);
  const again = [...home.flags, 'seed', file, ...listen, '--torrent', out];
  writeFileSync(file, Buffer.alloc(100_000, 2));
  await fails(again, 'SOURCE_CHANGED');
  writeFileSync(file, Buffer.alloc(99_999, 1));
  await fails(again, 'SOURCE_CHANGED');
  rmSync(file);
  await fails(again, 'SOURCE_CHANGED');
  await fails([...home.flags, 'seed', file, ...listen], 'NOT_FOUND');
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port: takenPort } = taken.address() as { port: number };
  writeFileSync(file, Buffer.alloc(100_000, 1));
  await fails(
    [...home.flags, 'seed', file, '--host', '127.0.0.1', '--port', String(takenPort)],
    'LISTEN_FAILED',
  );
  await new Promise((resolve) => taken.close(resolve));
  const back = start(['--json', ...again]);
  await back.until(({ event }) => event === 'seeding');
  expect((await back.stop()).status).toBe(0);
});
