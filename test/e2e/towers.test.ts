/**
 * The commands of docs/guide/towers.md as they stand there, through the built command line: a box earns and is killed,
 * its payer closes, the tower is killed too and started again, and settles before the deadline; the box comes back and
 * its books agree with the chain. About 40 s.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formatAddress } from '../../src/channels/channel.js';
import type { ChannelView, StatementView } from '../../src/engine/operations.js';
import type { ClaimsPage, TowerStatus } from '../../src/engine/towers/protocol.js';
import { until } from '../integration/settlement/support.js';
import { ask, type Home, PASSWORD, type Running, run, settle, start } from '../support/cli.js';
import { temporary } from '../support/engines.js';
import { type Ground, layGround } from '../support/ground.js';

const BTT = 10n ** 18n;
const PERIOD_SECONDS = 3_600;
const GUIDE = new URL('../../docs/guide/towers.md', import.meta.url);

let ground: Ground;
let box: Home;
let payer: Home;
const place = temporary();
const alive: Running[] = [];

beforeAll(async () => {
  ground = await layGround(PERIOD_SECONDS);
  mkdirSync(place.path, { recursive: true });
  box = await settle(ground, join(place.path, 'box'), 1_000n * BTT);
  payer = await settle(ground, join(place.path, 'payer'), 10_000n * BTT);
  writeFileSync(join(place.path, 'film.mkv'), Buffer.alloc(2 * 1024 * 1024, 7));
});
afterAll(async () => {
  for (const running of alive) running.kill('SIGKILL');
  await ground?.stop();
  place.remove();
});

/** The commands of the guide, in order, as arguments. */
const COMMANDS = [...readFileSync(GUIDE, 'utf8').matchAll(/^piecework (.+)$/gm)].map(([, text]) =>
  text!.split(' '),
);

/** The command of the guide that begins or goes on with these words, with the places of this test in it. */
function guide(words: string, port = 0): string[] {
  const found = COMMANDS.filter((args) => args.join(' ').replace('--data-dir tower ', '').startsWith(words));
  if (found.length !== 1) throw new Error(`the guide has ${found.length} commands "${words}"`);
  const here = found[0]!.map((word) =>
    word
      .replace(/^tower$/, (text, at) => text + (at > 0 ? '' : ''))
      .replace('127.0.0.1:7881', `127.0.0.1:${port}`)
      .replace(/(^|,)(my-box\.token|film\.mkv)$/, (_, comma, file) => `${comma}${join(place.path, file)}`),
  );
  const folder = here.indexOf('--data-dir');
  if (folder >= 0) here[folder + 1] = join(place.path, 'tower');
  const own = folder >= 0 ? ['--password-file', box.passwordFile] : [];
  const chain = ['--chain', 'local', '--rpc', ground.rpcUrl, '--hub', formatAddress(ground.domain.hub)];
  return [...own, ...chain, '--log-level', 'info', ...here];
}

function keep(running: Running): Running {
  alive.push(running);
  return running;
}

const runTower = (): Running =>
  keep(start(['--json', ...guide('tower run'), '--listen', '127.0.0.1:0', '--grace', '60']));

test('the guide, with a box and a tower that are killed at the worst moments', async () => {
  expect(readFileSync(box.passwordFile, 'utf8').trim()).toBe(PASSWORD);
  await ask(guide('wallet new'));
  const { address } = await ask<{ address: string }>(guide('wallet show'));
  await ground.fund(Buffer.from(address.slice(2), 'hex'), 500n * BTT);
  await ask(guide('tower add-client'));
  let tower = runTower();
  const up = await tower.until(({ event }) => event === 'tower');
  let port = Number(String(up['url']).split(':').at(-1));
  expect(up['funded']).toBe(true);

  const serving = ['--host', '127.0.0.1', '--port', '0', '--piece-length', '64KiB', '--price', '50BTT/MiB'];
  const boxFlags = ['--json', '--data-dir', box.dataDir, '--password-file', box.passwordFile];
  const seed = (): Running =>
    keep(start([...boxFlags, ...guide('seed', port), ...serving, '--exposure', '500BTT']));
  let seeding = seed();
  const line = await seeding.until(({ event }) => event === 'seeding');
  const bought = await run([
    ...['--json', ...payer.flags, 'get', String(line['torrentFile']), '--to', join(place.path, 'got')],
    ...['--peer', `127.0.0.1:${line['port']}`, '--budget', '200BTT', '--max-price', '50BTT/MiB'],
  ]);
  expect(bought.lines.at(-1)).toMatchObject({ event: 'done', acknowledged: true, spent: String(100n * BTT) });

  // The head is with the tower; then the box is gone.
  const claims = () => ask<ClaimsPage>(guide('tower claims', port));
  await until(async () => (await claims()).claims[0]?.amount === String(100n * BTT));
  seeding.kill('SIGKILL');
  await seeding.ended;
  // And so is the tower, before the payer asks to close.
  tower.kill('SIGKILL');
  await tower.ended;
  const [channel] = await ask<ChannelView[]>([...payer.flags, 'channel', 'list']);
  await ask([...payer.flags, 'channel', 'close', channel!.voucherKey]);
  await ground.passTime(120);

  tower = runTower();
  port = Number(
    String((await tower.until(({ event }) => event === 'tower'))['url'])
      .split(':')
      .at(-1),
  );
  await until(async () => (await ground.hub.credit(box.address)) > 0n);
  expect(await ground.hub.credit(box.address)).toBe(100n * BTT);
  const key = { voucherKey: Buffer.from(channel!.voucherKey.slice(2), 'hex'), payee: box.address };
  const [facts] = await ground.hub.readChannels([key]);
  const { timestamp } = (await ground.ask('eth_getBlockByNumber', 'latest', false)) as { timestamp: string };
  expect(facts!.closeAt - Number(timestamp)).toBeGreaterThan((PERIOD_SECONDS * 3) / 4);
  await until(async () => (await claims()).claims[0]?.state === 'settled');
  const status = await ask<TowerStatus>(guide('tower status'));
  expect(status.clients).toEqual([
    expect.objectContaining({
      name: 'my-box',
      claims: 1,
      worth: '0',
      states: expect.objectContaining({ settled: 1 }),
    }),
  ]);
  expect(BigInt(status.clients[0]!.gasToday)).toBeGreaterThan(0n);

  // The box comes back: its book takes over what the chain says, and owes or claims nothing.
  seeding = seed();
  await seeding.until(({ event }) => event === 'seeding');
  const statement = () => ask<StatementView>([...box.flags, 'statement']);
  await until(async () => (await statement()).totals.settled === String(100n * BTT));
  const { totals, checks } = await statement();
  expect([totals.earned, totals.claimable]).toEqual([String(100n * BTT), '0']);
  expect(checks.every(({ ok }) => ok)).toBe(true);
  await seeding.stop();

  await ask(guide('tower remove-client'));
  const refused = await run(['--json', ...guide('tower claims', port)]);
  expect(refused.lines.at(-1)).toMatchObject({ event: 'error', code: 'UNAUTHORIZED' });
  expect((await tower.stop()).status).toBe(0);
  // Everything in the guide was run.
  const run8 = ['wallet new', 'wallet show', 'tower add-client', 'tower run', 'seed', 'tower claims'];
  expect(COMMANDS.length).toBe([...run8, 'tower status', 'tower remove-client'].length);
}, 240_000);
