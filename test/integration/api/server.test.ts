/** The daemon's interface over real HTTP, in front of operations that only remember what they were asked. About 2 s. */
import { readFileSync } from 'node:fs';
import { request as send } from 'node:http';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createMetrics } from '../../../src/api/metrics.js';
import { type Api, startApi } from '../../../src/api/server.js';
import type { FetchEvent, Operations } from '../../../src/engine/operations.js';
import { ERRORS, type ErrorCode, PieceworkError } from '../../../src/errors.js';

const TOKEN = 'ab'.repeat(32);
const KEY = `0x${'12'.repeat(20)}`;
const PAYEE = `0x${'34'.repeat(20)}`;

let api: Api;
let asked: Array<{ verb: string; what: unknown }> = [];
/** What the next operation does. */
let answer: () => unknown = () => ({});
let streamed: (onEvent: (event: FetchEvent) => void, signal: AbortSignal | undefined) => Promise<unknown>;

function operations(): Operations {
  const verb =
    (name: string) =>
    async (what?: unknown): Promise<never> => {
      asked.push({ verb: name, what });
      return answer() as never;
    };
  return {
    status: verb('status'),
    channels: verb('channels'),
    channel: verb('channel'),
    open: verb('open'),
    topUp: verb('topUp'),
    closeChannel: verb('closeChannel'),
    settle: verb('settle'),
    settlements: verb('settlements'),
    withdraw: verb('withdraw'),
    statement: verb('statement'),
    vaults: {
      trust: verb('vaults.trust'),
      untrust: verb('vaults.untrust'),
      list: verb('vaults.list'),
      show: verb('vaults.show'),
      receive: verb('vaults.receive'),
      issue: verb('vaults.issue'),
      cash: verb('vaults.cash'),
    },
    seed: verb('seed'),
    fetch: async (what, onEvent, signal) => {
      asked.push({ verb: 'fetch', what });
      return (await streamed(onEvent, signal)) as never;
    },
  };
}

beforeAll(async () => {
  const made = operations();
  api = await startApi({ operations: made, metrics: createMetrics(made), token: TOKEN, port: 0 });
});
afterAll(() => api.close());
beforeEach(() => {
  asked = [];
  answer = () => ({});
  streamed = async () => ({ event: 'done' });
});

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
  readonly body: Record<string, unknown>;
}

interface Ask {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

/** Straight HTTP: fetch would not let a test choose the Host header. */
function http({ method = 'GET', path, headers = {}, body }: Ask): Promise<Answer> {
  const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: api.port, method, path, headers: { ...length, ...headers } };
    const sent = send(options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        const type = response.headers['content-type'] ?? '';
        const parsed = type.includes('json') && !type.includes('ndjson') ? JSON.parse(text) : {};
        resolve({ status: response.statusCode ?? 0, type, text, body: parsed as Answer['body'] });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

const bearer = { authorization: `Bearer ${TOKEN}` };
const json = { ...bearer, 'content-type': 'application/json' };
const post = (path: string, body: unknown, headers: Record<string, string> = json): Promise<Answer> =>
  http({ method: 'POST', path, headers, body: typeof body === 'string' ? body : JSON.stringify(body) });

function expectProblem(
  { status, type, body }: Answer,
  code: ErrorCode,
  httpStatus = ERRORS[code].http,
): void {
  expect([status, type]).toEqual([httpStatus, 'application/problem+json; charset=utf-8']);
  expect(body).toMatchObject({
    code,
    status: httpStatus,
    type: `urn:piecework:error:${code}`,
    title: ERRORS[code].advice,
  });
  expect(typeof body['detail']).toBe('string');
  expect(JSON.stringify(body)).not.toMatch(/\bat .+:\d+:\d+/);
}

/** Every route with a body that it takes. */
const ROUTES: ReadonlyArray<readonly [string, string, unknown]> = [
  ['GET', '/health', undefined],
  ['GET', '/metrics', undefined],
  ['GET', '/v1/channels', undefined],
  ['GET', `/v1/channels/${KEY}`, undefined],
  ['GET', '/v1/settlements', undefined],
  ['GET', '/v1/statement', undefined],
  ['POST', '/v1/channels', { payee: PAYEE, deposit: '5' }],
  ['POST', '/v1/top-ups', { voucherKey: KEY, amount: '5' }],
  ['POST', '/v1/closes', { voucherKey: KEY }],
  ['POST', '/v1/settlements', {}],
  ['POST', '/v1/withdrawals', {}],
  ['POST', '/v1/seeds', { paths: ['/tmp/x'], announce: [] }],
  ['POST', '/v1/fetches', { magnet: 'magnet:?', folder: '/tmp/x' }],
  ['GET', '/v1/vaults', undefined],
  ['GET', `/v1/vaults/${KEY}`, undefined],
  ['POST', '/v1/vaults', { vault: KEY, limit: '1BTT' }],
  ['POST', '/v1/vaults/untrust', { vault: KEY }],
  ['POST', '/v1/cheques', { cheque: '{}' }],
  ['POST', '/v1/cheques/issue', { vault: KEY, beneficiary: PAYEE, amount: '5' }],
  ['POST', '/v1/cheques/cash', { vault: KEY, dryRun: true }],
];

test('the list of routes here is all of them', () => {
  const source = readFileSync(new URL('../../../src/api/server.ts', import.meta.url), 'utf8');
  const found = [...source.matchAll(/app\.(get|post)(?:<[^(]*>)?\(\s*'([^']+)'/g)].map(
    ([, method, path]) => `${method!.toUpperCase()} ${path!.replace(':key', KEY)}`,
  );
  const vaults = readFileSync(new URL('../../../src/api/vault-routes.ts', import.meta.url), 'utf8');
  for (const [, path] of vaults.matchAll(/ route\(\s*'([^']+)'/g)) found.push(`POST ${path}`);
  expect(found.sort()).toEqual(ROUTES.map(([method, path]) => `${method} ${path}`).sort());
});

test('no route answers without the token, or with another one', async () => {
  const wrong: Array<Record<string, string>> = [
    {},
    { authorization: TOKEN },
    { authorization: `Basic ${TOKEN}` },
    { authorization: `Bearer ${TOKEN.slice(1)}0` },
    { authorization: 'Bearer ' },
    { authorization: `Bearer ${TOKEN}x` },
    { cookie: `token=${TOKEN}` },
  ];
  for (const [method, path, body] of [...ROUTES, ['GET', '/nothing', undefined] as const]) {
    for (const headers of wrong) {
      const text = body === undefined ? {} : { body: JSON.stringify(body) };
      const all = body === undefined ? headers : { ...headers, 'content-type': 'application/json' };
      expectProblem(await http({ method, path, headers: all, ...text }), 'UNAUTHORIZED');
    }
    expectProblem(await http({ method, path: `${path}?token=${TOKEN}` }), 'UNAUTHORIZED');
  }
  expect(asked).toEqual([]);
});

test('a foreign host or any origin is refused, with the token too', async () => {
  for (const host of [
    'evil.example',
    `evil.example:${api.port}`,
    '127.0.0.1.evil.example',
    '0.0.0.0',
    '[::1]',
  ]) {
    expectProblem(await http({ path: '/health', headers: { ...bearer, host } }), 'FORBIDDEN');
  }
  for (const origin of ['http://evil.example', `http://127.0.0.1:${api.port}`, 'null']) {
    expectProblem(await http({ path: '/health', headers: { ...bearer, origin } }), 'FORBIDDEN');
  }
  expect(asked).toEqual([]);
  for (const host of ['localhost', `localhost:${api.port}`, `127.0.0.1:${api.port}`]) {
    expect((await http({ path: '/health', headers: { ...bearer, host } })).status).toBe(200);
  }
});

test('every route passes on what it was asked', async () => {
  for (const [method, path, body] of ROUTES) {
    if (path === '/metrics') continue;
    answer = () => (path === '/v1/channels' && method === 'GET' ? [] : { fine: true });
    const { status } = body === undefined ? await http({ path, headers: bearer }) : await post(path, body);
    expect([method, path, status]).toEqual([method, path, 200]);
  }
  expect(asked.map(({ verb }) => verb)).toEqual([
    ...[
      'status',
      'channels',
      'channel',
      'settlements',
      'statement',
      'open',
      'topUp',
      'closeChannel',
      'settle',
      'withdraw',
    ],
    ...['seed', 'fetch'],
    ...['vaults.list', 'vaults.show', 'vaults.trust', 'vaults.untrust'],
    ...['vaults.receive', 'vaults.issue', 'vaults.cash'],
  ]);
  expect(asked.find(({ verb }) => verb === 'channel')?.what).toBe(KEY);
  expect(asked.find(({ verb }) => verb === 'open')?.what).toEqual({ payee: PAYEE, deposit: '5' });
});

test('bodies are taken exactly or not at all', async () => {
  const open = { payee: PAYEE, deposit: '5' };
  const bad: Array<readonly [string, unknown]> = [
    ['/v1/channels', {}],
    ['/v1/channels', []],
    ['/v1/channels', null],
    ['/v1/channels', 'text'],
    ['/v1/channels', { ...open, extra: 1 }],
    ['/v1/channels', { ...open, deposit: '-5' }],
    ['/v1/channels', { ...open, deposit: '5.0' }],
    ['/v1/channels', { ...open, deposit: '0x5' }],
    ['/v1/channels', { ...open, deposit: '5BTT' }],
    ['/v1/channels', { ...open, deposit: '' }],
    ['/v1/channels', { ...open, deposit: '1'.repeat(40) }],
    // A number would have lost its last digits before anybody could look at it.
    ['/v1/channels', `{"payee":"${PAYEE}","deposit":12345678901234567890}`],
    ['/v1/channels', { ...open, deposit: ['5'] }],
    ['/v1/channels', { ...open, payee: '0x12' }],
    ['/v1/channels', { ...open, payee: `${PAYEE}0` }],
    ['/v1/channels', { ...open, gasMax: null }],
    ['/v1/top-ups', { voucherKey: KEY }],
    ['/v1/closes', { voucherKey: 'x' }],
    ['/v1/settlements', { close: 'yes' }],
    ['/v1/settlements', { close: 'true' }],
    ['/v1/settlements', { force: 1 }],
    ['/v1/settlements', { voucherKeys: KEY }],
    ['/v1/settlements', { voucherKeys: ['x'] }],
    ['/v1/withdrawals', { to: 'x' }],
    ['/v1/vaults', {}],
    ['/v1/vaults', { vault: 'x' }],
    ['/v1/vaults', { vault: KEY, limit: 1 }],
    ['/v1/vaults/untrust', { vault: KEY, force: true }],
    ['/v1/cheques', { cheque: {} }],
    ['/v1/cheques', { cheque: '' }],
    ['/v1/cheques', { cheque: 'x'.repeat(2_049) }],
    ['/v1/cheques/issue', { vault: KEY, beneficiary: PAYEE, amount: 5 }],
    ['/v1/cheques/cash', { dryRun: 'yes' }],
    ['/v1/seeds', {}],
    ['/v1/seeds', { paths: [], announce: [] }],
    ['/v1/seeds', { paths: [1], announce: [] }],
    ['/v1/seeds', { paths: ['/x'], announce: [], pieceLength: '64KiB' }],
    ['/v1/fetches', {}],
    ['/v1/fetches', { folder: 5 }],
    ['/v1/fetches', { folder: '/x', magnet: 'm', budget: 5 }],
    ['/v1/fetches', { folder: '/x', magnet: 'm', peers: 'one' }],
    ['/v1/fetches', { folder: '/x', magnet: 'm', unknown: true }],
    ['/v1/channels', '{'],
    ['/v1/channels', `{"__proto__":{"x":1},"payee":"${PAYEE}","deposit":"5"}`],
    ['/v1/channels', `{"constructor":{"prototype":{"x":1}},"payee":"${PAYEE}","deposit":"5"}`],
  ];
  for (const [path, body] of bad) {
    const reply = await post(path, body);
    expect([path, body, reply.status]).toEqual([path, body, 400]);
    expectProblem(reply, 'BAD_ARGUMENT');
  }
  const bare = await http({ path: `/v1/channels/${KEY}0`, headers: bearer });
  expectProblem(bare, 'BAD_ARGUMENT');
  expect(asked).toEqual([]);
});

test('other media types, sizes, methods and paths are refused as problems', async () => {
  const body = JSON.stringify({ payee: PAYEE, deposit: '5' });
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data',
    'application/xml',
  ]) {
    const reply = await post('/v1/channels', body, { ...bearer, 'content-type': type });
    expect([type, reply.status]).toEqual([type, 415]);
    expect(reply.body).toMatchObject({ code: 'BAD_ARGUMENT', status: 415 });
  }
  const large = await post('/v1/channels', { payee: PAYEE, deposit: '5', gasMax: '1'.repeat(70_000) });
  expectProblem(large, 'BAD_ARGUMENT', 413);
  const torrent = 'A'.repeat(1_000_000);
  expect((await post('/v1/seeds', { paths: ['/x'], announce: [], torrent })).status).toBe(200);
  expectProblem(await http({ path: '/v1/nothing', headers: bearer }), 'NOT_FOUND');
  expectProblem(await http({ method: 'DELETE', path: '/v1/channels', headers: bearer }), 'NOT_FOUND');
  expectProblem(await http({ path: '/%', headers: bearer }), 'BAD_ARGUMENT');
});

test('every operation error has its status, and a bug tells nothing of itself', async () => {
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    answer = () => {
      throw new PieceworkError(code, 'the particular');
    };
    const reply = await http({ path: '/v1/statement', headers: bearer });
    expectProblem(reply, code);
    expect(reply.body['detail']).toBe('the particular');
  }
  answer = () => {
    throw new TypeError('x is not a function');
  };
  expectProblem(await http({ path: '/v1/statement', headers: bearer }), 'INTERNAL');
});

test('metrics are text that Prometheus reads, without anything a peer could have said', async () => {
  answer = () => ({
    ...{ peers: 3, earned: '1500000000000000000' },
    towers: [{ tower: 'https://tower.example', held: 5, unheld: 2 }],
    nodeAlarms: { silent: 2, wrong_chain: 0, stale: 0, contradiction: 1 },
    torrents: [{ infohash: 'ab'.repeat(20), name: 'evil"} 1\nname', peers: 1, bytesServed: 7 }],
    channels: [
      { role: 'payee', phase: 'open', skipped: 'waiting' },
      { role: 'payee', phase: 'open' },
    ],
    // Of the statement, and of the vaults.
    totals: Object.assign(
      [
        { isWbtt: false, outstanding: '9', writtenOff: '9' },
        { isWbtt: true, outstanding: '750000000000000000', writtenOff: '125000000000000000' },
      ],
      { claimable: '250000000000000000', inFlight: '1', confirmed: '0', settled: '1250000000000000000' },
      { lost: '0', fees: '500000000000000000' },
    ),
    vaults: [{ frozen: 'short: of something' }, {}],
  });
  const { status, type, text } = await http({ path: '/metrics', headers: bearer });
  expect([status, type]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
  const sample = /^[a-z_:][a-z0-9_:]*(\{[a-z_]+="[^"\\\n]*"(,[a-z_]+="[^"\\\n]*")*\})? [0-9.e+-]+$/i;
  for (const line of text.split('\n').filter(Boolean))
    expect(line).toMatch(line.startsWith('#') ? /^# (HELP|TYPE) / : sample);
  expect(text).toContain('\npiecework_peers 3\n');
  expect(text).toContain('\npiecework_earned_btt 1.5\n');
  expect(text).toContain('\npiecework_claims_btt{state="claimable"} 0.25\n');
  expect(text).toContain('\npiecework_claims_btt{state="final"} 1.25\n');
  expect(text).toContain('\npiecework_settlement_fees_btt 0.5\n');
  expect(text).toContain('\npiecework_skipped_channels{reason="waiting"} 1\n');
  expect(text).toContain(`piecework_served_bytes{infohash="${'ab'.repeat(20)}"} 7`);
  expect(text).toContain('piecework_node_alarms{kind="silent"} 2');
  expect(text).toContain('piecework_channels{role="payee",phase="open"} 2');
  expect(text).toContain('piecework_tower_unheld_channels{tower="https://tower.example"} 2');
  expect(text).toContain('\npiecework_vault_unsecured_btt 0.75\n');
  expect(text).toContain('\npiecework_vault_lost_btt 0.125\n');
  expect(text).toContain('\npiecework_vaults_frozen 1\n');
  expect(text).not.toContain('evil');
});

test('a download streams its events, its end or its error, and ends when nobody listens', async () => {
  streamed = async (onEvent) => {
    onEvent({ event: 'checked', pieces: 1 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    onEvent({ event: 'warning', text: 'two\nlines' });
    return { event: 'done', folder: '/x' };
  };
  const request = { magnet: 'magnet:?', folder: '/x' };
  const whole = await post('/v1/fetches', request);
  expect([whole.status, whole.type]).toEqual([200, 'application/x-ndjson']);
  expect(
    whole.text
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { event: string }).event),
  ).toEqual([...['checked', 'warning', 'done']]);
  streamed = async () => {
    throw new PieceworkError('BUDGET_EXHAUSTED', 'no more');
  };
  const failed = await post('/v1/fetches', request);
  expect(JSON.parse(failed.text)).toEqual({ event: 'error', code: 'BUDGET_EXHAUSTED', detail: 'no more' });

  let aborted: (() => void) | undefined;
  const heard = new Promise<void>((resolve) => {
    aborted = resolve;
  });
  streamed = (onEvent, signal) => {
    onEvent({ event: 'checked', pieces: 1 });
    return new Promise((_, reject) => {
      signal!.addEventListener('abort', () => {
        aborted!();
        reject(new PieceworkError('INTERRUPTED'));
      });
    });
  };
  const body = JSON.stringify(request);
  const options = {
    host: '127.0.0.1',
    port: api.port,
    method: 'POST',
    path: '/v1/fetches',
    headers: { ...json, 'content-length': String(body.length) },
  };
  const open = send(options, (response) => {
    response.once('data', () => open.destroy());
    response.on('error', () => {});
  });
  open.on('error', () => {});
  open.end(body);
  await heard;
});

test('it listens on loopback alone', async () => {
  const others = Object.values(networkInterfaces())
    .flat()
    .filter((one) => one && !one.internal && one.family === 'IPv4')
    .map((one) => one!.address);
  // Another loopback address stands for the outside where there is none.
  for (const host of [...others, '127.0.0.2']) {
    const reached = await new Promise<boolean>((resolve) => {
      const socket = connect({ host, port: api.port });
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.setTimeout(2_000, () => resolve(false));
    });
    expect([host, reached]).toEqual([host, false]);
  }
});

test('a port that is taken is said to be', async () => {
  const made = operations();
  const options = { operations: made, metrics: createMetrics(made), token: TOKEN, port: api.port };
  await expect(startApi(options)).rejects.toMatchObject({ code: 'LISTEN_FAILED' });
});
