/**
 * The payee's side against towers of all kinds: a real HTTP server that answers as a test tells it. What a tower
 * says changes what is counted as held and nothing else. About 5 s.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Domain } from '../../../src/channels/channel.js';
import { NONE } from '../../../src/channels/voucher.js';
import { type ClaimOutbox, startClaimOutbox } from '../../../src/engine/towers/outbox.js';
import type { PushRequest } from '../../../src/engine/towers/protocol.js';
import type { ChannelRecord } from '../../../src/native/records.js';
import { fastClock, temporary } from '../../support/engines.js';
import { until } from '../settlement/support.js';

const DOMAIN: Domain = { chainId: 31415n, hub: new Uint8Array(20).fill(7) };
const PAYEE = new Uint8Array(20).fill(8);
const TOKEN = 'ab'.repeat(32);

type Reply = { status?: number; headers?: Record<string, string>; body: string } | 'hang' | 'drop';

let server: Server;
let url: string;
let answer: (request: PushRequest) => Reply;
let asked: PushRequest[] = [];
let tokens: Array<string | undefined> = [];
let outbox: ClaimOutbox | undefined;
let channels: ChannelRecord[] = [];
let sequence = 0;
let warnings: string[] = [];
const place = temporary();
const tokenFile = join(place.path, 'token');

/** Says "held" to everything. */
const holdAll = ({ rows }: PushRequest): Reply => ({
  body: JSON.stringify({
    funded: true,
    claims: rows.map((row) => ({ status: 'held', amount: String(BigInt(`0x${row.slice(0, 24)}`)) })),
  }),
});

beforeEach(async () => {
  mkdirSync(place.path, { recursive: true });
  writeFileSync(tokenFile, `${TOKEN}\n`);
  [asked, tokens, channels, warnings] = [[], [], [], []];
  answer = holdAll;
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as PushRequest;
      asked.push(body);
      tokens.push(request.headers.authorization);
      const reply = answer(body);
      if (reply === 'hang') return;
      if (reply === 'drop') return void request.socket.destroy();
      response.writeHead(reply.status ?? 200, reply.headers).end(reply.body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  await outbox?.stop();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  place.remove();
});

function start(place: { url?: string; tokenFile?: string } = {}): ClaimOutbox {
  outbox = startClaimOutbox({
    towers: [{ url, tokenFile, ...place }],
    domain: DOMAIN,
    ledger: {
      channels: async () => [...channels],
      summary: async () => ({ sequence }) as never,
    },
    // Waits are short, and what is put off for minutes is put off for ever.
    clock: { ...fastClock(500), monotonicMs: () => 0 },
    onWarning: (text) => warnings.push(text),
  });
  return outbox;
}

function channel(index: number, authorized: bigint, more: Partial<ChannelRecord> = {}): ChannelRecord {
  const row = NONE.slice();
  row.set(Buffer.from(authorized.toString(16).padStart(24, '0'), 'hex'));
  const base = { index, role: 'payee', payee: PAYEE, authorized, row, settled: 0n, closeAt: 0 };
  return {
    ...base,
    voucherKey: new Uint8Array(randomBytes(20)),
    deposit: 10n ** 6n,
    ...more,
  } as ChannelRecord;
}

const unheld = (): number => outbox!.views(channels)[0]!.unheld;

test('heads are sent greatest first, in bounded requests, and only what is higher is sent again', async () => {
  channels = Array.from({ length: 600 }, (_, at) => channel(at, BigInt(at + 1)));
  channels.push(channel(600, 5n, { role: 'payer' }), channel(601, 5n, { settled: 5n }));
  channels.push(channel(602, 5n, { closeAt: 0xffffffff }), channel(603, 0n));
  start();
  expect(unheld()).toBe(600);
  await until(() => unheld() === 0);
  expect(asked.map(({ rows }) => rows.length)).toEqual([256, 256, 88]);
  expect(asked[0]!.rows[0]!.startsWith((600).toString(16).padStart(24, '0'))).toBe(true);
  expect(asked[0]).toMatchObject({
    chainId: '31415',
    hub: `0x${'07'.repeat(20)}`,
    payee: `0x${'08'.repeat(20)}`,
  });
  expect(tokens[0]).toBe(`Bearer ${TOKEN}`);
  channels[7] = channel(7, 1_000n);
  sequence++;
  await until(() => asked.length === 4);
  expect(asked[3]!.rows.length).toBe(1);
  // Nothing new: nothing is asked.
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(asked.length).toBe(4);
  expect(outbox!.views(channels)).toEqual([{ tower: url, held: 600, unheld: 0 }]);
  expect(warnings).toEqual([]);
});

test('a tower that lies, refuses or breaks off is not believed, and is told of once', async () => {
  channels = [channel(0, 50n)];
  const one = (claim: object): Reply => ({ body: JSON.stringify({ funded: true, claims: [claim] }) });
  const bad: Reply[] = [
    'drop',
    { body: 'nonsense' },
    { body: 'null' },
    { body: JSON.stringify({ funded: true, claims: [] }) },
    { body: JSON.stringify({ funded: 'yes', claims: [{ status: 'held', amount: '50' }] }) },
    one({ status: 'held', amount: 50 }),
    one({ status: 'held', amount: '-50' }),
    one({ status: 'paid', amount: '50' }),
    { status: 500, body: '<html>' },
    { status: 401, body: JSON.stringify({ code: 'UNAUTHORIZED', detail: 'no' }) },
    { status: 302, headers: { location: 'http://127.0.0.1:1/' }, body: '' },
    // What would be right if it were not so long.
    { body: JSON.stringify({ funded: true, claims: [{ status: 'held', amount: '50' }] }).padEnd(1_000_000) },
    one({ status: 'held', amount: '49' }),
  ];
  let at = 0;
  answer = () => bad[at++] ?? 'drop';
  start();
  await until(() => warnings.some((text) => text.includes('does not hold channel')));
  expect(at).toBe(bad.length);
  expect(unheld()).toBe(1);
  expect(warnings.filter((text) => text.includes('trying again')).length).toBe(1);
  answer = holdAll;
  channels = [channel(0, 51n)];
  sequence++;
  await until(() => unheld() === 0);
  expect(outbox!.views(channels)[0]!.error).toBeUndefined();
}, 120_000);

test('what a tower refuses waits, and rises are sent at once; a tower without gas is told of', async () => {
  channels = [channel(0, 50n), channel(1, 60n)];
  answer = ({ rows }) => ({
    body: JSON.stringify({
      funded: false,
      claims: rows.map((row) =>
        row.slice(0, 24).endsWith('32')
          ? { status: 'full', amount: '0' }
          : { status: 'settled', amount: '0' },
      ),
    }),
  });
  start();
  await until(() => unheld() === 1);
  const before = asked.length;
  await new Promise((resolve) => setTimeout(resolve, 150));
  expect(asked.length).toBe(before);
  channels[0] = channel(0, 51n);
  sequence++;
  await until(() => unheld() === 0);
  expect(warnings.filter((text) => text.includes('full')).length).toBe(1);
  expect(warnings.filter((text) => text.includes('gas')).length).toBe(1);
});

test('a token that cannot be read, and plain HTTP to somewhere else, are told of', async () => {
  channels = [channel(0, 50n)];
  start({ tokenFile: join(place.path, 'none') });
  await until(() => warnings.length === 1);
  expect(warnings[0]).toContain('none');
  await outbox!.stop();
  warnings = [];
  start({ url: 'http://tower.invalid/' });
  expect(warnings[0]).toContain('plain HTTP');
});
