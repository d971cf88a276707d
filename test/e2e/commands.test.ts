/** The command line as people meet it: help, mistakes, wallets, the local chain. About 20 s. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Wallet } from 'ethers';
import { afterAll, expect, test } from 'vitest';
import type { ErrorCode } from '../../src/errors.js';
import { ask, PASSWORD, run, start, wrongEnd } from '../support/cli.js';
import { temporary } from '../support/engines.js';
import { askNode } from '../support/ground.js';

const place = temporary();
afterAll(() => place.remove());

const COMMANDS = [
  [],
  ['seed'],
  ['get'],
  ['channel'],
  ['channel', 'open'],
  ['channel', 'list'],
  ['channel', 'show'],
  ['channel', 'top-up'],
  ['channel', 'close'],
  ['settle'],
  ['withdraw'],
  ['statement'],
  ['vault'],
  ['vault', 'trust'],
  ['vault', 'untrust'],
  ['vault', 'list'],
  ['vault', 'show'],
  ['vault', 'receive'],
  ['vault', 'issue'],
  ['vault', 'cash'],
  ['wallet'],
  ['wallet', 'new'],
  ['wallet', 'import'],
  ['wallet', 'show'],
  ['chain'],
  ['chain', 'dev'],
  ['chain', 'deploy'],
  ['chain', 'info'],
  ['chain', 'probe'],
  ['tower'],
  ['tower', 'run'],
  ['tower', 'status'],
  ['tower', 'add-client'],
  ['tower', 'remove-client'],
  ['tower', 'claims'],
  ['demo'],
];

const home = (name: string): string => {
  const folder = join(place.path, name);
  mkdirSync(folder, { recursive: true });
  return folder;
};
/** Nobody listens there: these commands must not need the chain. */
const offline = (name: string): string[] => [
  ...[
    '--data-dir',
    home(name),
    '--chain',
    'local',
    '--rpc',
    'http://127.0.0.1:9',
    '--hub',
    `0x${'22'.repeat(20)}`,
  ],
];

async function fails(args: readonly string[], code: ErrorCode): Promise<string> {
  const ran = await run(args);
  expect(wrongEnd(ran, code, false)).toEqual([]);
  return ran.stderr;
}

test('every command has help that names it, its options and what they mean', async () => {
  for (const command of COMMANDS) {
    const ran = await run([...command, '--help']);
    expect([command.join(' '), ran.status, ran.stderr]).toEqual([command.join(' '), 0, '']);
    expect(ran.stdout).toContain(`Usage: ${['piecework', ...command].join(' ')}`);
    // No option without a word about it.
    for (const line of ran.stdout.split('\n').filter((text) => /^ {2}--/.test(text)))
      expect(line).toMatch(/^ {2}--\S+( <[^>]+>)? {2,}\S/);
  }
  const { stdout } = await run(['--help']);
  const listed = COMMANDS.filter(({ length }) => length === 1).map(([name]) => name);
  for (const name of listed) expect(stdout).toMatch(new RegExp(`^ {2}${name}\\b`, 'm'));
  expect(stdout).toContain('Exit status:');
  expect((await run(['--version'])).stdout.trim()).toBe(packageVersion());
}, 120_000);

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

test('wrong usage ends with 2 and says where help is', async () => {
  const wrong = [
    ['sead'],
    ['seed'],
    ['get'],
    ['get', 'a', 'b'],
    ['get', 'a', '--bugdet', '1BTT'],
    ['channel', 'opne'],
    ['channel', 'open', '--deposit', '1BTT'],
    ['channel', 'show'],
    ['wallet', 'import'],
    ['settle', '--max-gas'],
  ];
  for (const args of wrong) {
    const ran = await run(args);
    expect([args.join(' '), ran.status, ran.stdout]).toEqual([args.join(' '), 2, '']);
    expect(ran.stderr).toMatch(/error: |Usage: /);
    expect(ran.stderr).toContain('--help');
  }
});

test('amounts, prices, sizes and numbers are refused unless they are unmistakable', async () => {
  const flags = offline('amounts');
  const open = ['channel', 'open', '--payee', `0x${'11'.repeat(20)}`, '--deposit'];
  for (const amount of [
    '5',
    '5 btc',
    '-1BTT',
    '1.5wei',
    '1e3BTT',
    '0x10BTT',
    '1,5BTT',
    '1.0000000000000000001BTT',
    '',
  ])
    await fails([...flags, ...open, amount], 'BAD_AMOUNT');
  const torrent = join(place.path, 'any.torrent');
  writeFileSync(torrent, 'any');
  await fails([...flags, 'get', torrent, '--budget', '20'], 'BAD_AMOUNT');
  await fails([...flags, 'get', torrent, '--max-price', '20BTT'], 'BAD_PRICE');
  await fails([...flags, 'get', torrent, '--max-price', '1wei/GiB'], 'BAD_PRICE');
  await fails([...flags, 'get', torrent, '--peer', 'example.com'], 'TORRENT_CORRUPT');
  await fails([...flags, 'settle', '--max-gas', '20'], 'BAD_AMOUNT');
  await fails([...flags, 'seed', torrent, '--piece-length', '1 parsec'], 'BAD_ARGUMENT');
  await fails([...flags, 'seed', torrent, '--port', '70000'], 'BAD_CONFIG');
  await fails([...flags, 'statement', '--format', 'xml'], 'BAD_ARGUMENT');
  await fails([...flags, 'channel', 'show', 'not-an-address'], 'BAD_ARGUMENT');
  await fails([...flags, 'channel', 'show', `0x${'11'.repeat(20)}`], 'NOT_FOUND');
  await fails([...flags, '--hub', '0x00', 'channel', 'list'], 'BAD_ARGUMENT');
}, 120_000);

test('a wallet is made once, is private, and comes from a key, a mnemonic or a keystore', async () => {
  const dataDir = home('wallets');
  const passwordFile = join(place.path, 'password');
  writeFileSync(passwordFile, `${PASSWORD}\nanother line\n`);
  const flags = ['--data-dir', dataDir, '--password-file', passwordFile];
  const made = await ask<{ address: string; path: string }>([...flags, 'wallet', 'new']);
  expect(made.address).toMatch(/^0x[0-9a-f]{40}$/);
  expect(statSync(made.path).mode & 0o777).toBe(0o600);
  expect(await ask([...flags, 'wallet', 'show'])).toEqual(made);
  const store = readFileSync(made.path, 'utf8');
  expect(Wallet.fromEncryptedJsonSync(store, PASSWORD).address.toLowerCase()).toBe(made.address);
  await fails([...flags, 'wallet', 'new'], 'WALLET_EXISTS');

  const short = join(place.path, 'short');
  writeFileSync(short, 'short\n');
  await fails(['--data-dir', home('short-one'), '--password-file', short, 'wallet', 'new'], 'BAD_ARGUMENT');
  await fails(['--data-dir', home('no-terminal'), 'wallet', 'new'], 'PASSWORD_REQUIRED');

  const source = join(place.path, 'source');
  const take = async (name: string, text: string, more: readonly string[] = []): Promise<string> => {
    writeFileSync(source, text);
    const args = [
      '--data-dir',
      home(name),
      '--password-file',
      passwordFile,
      'wallet',
      'import',
      source,
      ...more,
    ];
    return (await ask<{ address: string }>(args)).address;
  };
  expect(await take('from-keystore', store)).toBe(made.address);
  const mnemonic = 'test test test test test test test test test test test junk';
  expect(await take('from-words', mnemonic)).toBe('0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266');
  const key = '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80';
  expect(await take('from-key', `${key}\n`)).toBe('0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266');
  const other = join(place.path, 'other-password');
  writeFileSync(other, 'the other password\n');
  const locked = await Wallet.createRandom().encrypt('the other password', undefined);
  expect(await take('other', locked, ['--source-password-file', other])).toMatch(/^0x/);

  writeFileSync(source, 'twelve words that are none');
  const into = ['--data-dir', home('nonsense'), '--password-file', passwordFile];
  await fails([...into, 'wallet', 'import', source], 'BAD_ARGUMENT');
  writeFileSync(source, locked);
  const said = await fails([...into, 'wallet', 'import', source], 'WALLET_PASSWORD');
  expect(said).not.toContain(PASSWORD);
  await fails([...into, 'wallet', 'import', join(place.path, 'nothing')], 'NOT_FOUND');
}, 120_000);

test('a local chain runs until it is stopped, can be asked and deployed to, and leaves nothing behind', async () => {
  const chain = start(['--json', 'chain', 'dev', '--challenge-period', '30']);
  const ready = await chain.until(({ event }) => event === 'ready');
  const rpc = String(ready['rpc']);
  const on = ['--chain', 'local', '--rpc', rpc];
  const info = await ask<Record<string, unknown>>([...on, '--hub', String(ready['hub']), 'chain', 'info']);
  expect(info).toMatchObject({ chainId: ready['chainId'], hub: ready['hub'], challengePeriod: 30 });

  const dataDir = home('deployer');
  const passwordFile = join(place.path, 'password-2');
  writeFileSync(passwordFile, `${PASSWORD}\n`);
  const key = join(place.path, 'key');
  writeFileSync(key, 'test test test test test test test test test test test junk');
  const flags = ['--data-dir', dataDir, '--password-file', passwordFile, ...on];
  await ask([...flags, 'wallet', 'import', key]);
  const deployed = await ask<{ hub: string }>([
    ...flags,
    'chain',
    'deploy',
    '--challenge-period',
    '60',
    '--max-gas',
    '10000BTT',
  ]);
  const again = await ask<Record<string, unknown>>([...on, '--hub', deployed.hub, 'chain', 'info']);
  expect(again).toMatchObject({ hub: deployed.hub, challengePeriod: 60 });
  await fails([...flags, 'chain', 'deploy', '--max-gas', '1wei'], 'GAS_CEILING');
  await fails([...flags, 'chain', 'deploy', '--challenge-period', '0'], 'BAD_ARGUMENT');
  const held = await ask<{ balance: string }>([...flags, 'wallet', 'show', '--balance']);
  expect(BigInt(held.balance)).toBeGreaterThan(0n);

  chain.kill('SIGINT');
  expect((await chain.ended).status).toBe(0);
  await expect(askNode(rpc, 'eth_chainId', [])).rejects.toThrow();
}, 120_000);
