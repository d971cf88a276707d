/**
 * The tower's interface over real HTTP, in front of a tower that only remembers what it was asked: who gets in,
 * what bodies it takes, and how much of them. About 2 s.
 */
import { createHash } from 'node:crypto';
import { request as send } from 'node:http';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createAllowance } from '../../../src/api/allowance.js';
import { startTowerServer, type TowerServer } from '../../../src/api/tower-server.js';
import type { Clock } from '../../../src/clock.js';
import { systemClock } from '../../../src/clock.js';
import type { PushRequest, TowerOperations } from '../../../src/engine/towers/protocol.js';
import * as limits from '../../../src/limits.js';

const OPERATOR = 'aa'.repeat(32);
const TOKENS = new Map([
  ['11'.repeat(32), 'one'],
  ['22'.repeat(32), 'two'],
]);
const [ONE, TWO] = [...TOKENS.keys()] as [string, string];
const ADDRESS = `0x${'12'.repeat(20)}`;
const ROW = 'ab'.repeat(76);
const PUSH = { chainId: '31415', hub: ADDRESS, payee: ADDRESS, rows: [ROW] };

let server: TowerServer;
let asked: Array<{ client: string; what: unknown }> = [];
let nowMs = 0;
let work: () => Promise<void> = async () => {};

const clock: Clock = { ...systemClock, monotonicMs: () => nowMs };
const tower: TowerOperations = {
  async push(client, what) {
    asked.push({ client, what });
    await work();
    return { funded: true, claims: what.rows.map(() => ({ status: 'held', amount: '1' })) };
  },
  async claims(client, from) {
    asked.push({ client, what: from });
    return { funded: true, claims: [] };
  },
  async status() {
    asked.push({ client: 'operator', what: 'status' });
    return {} as never;
  },
};

beforeEach(async () => {
  asked = [];
  work = async () => {};
  server = await startTowerServer({
    ...{ tower, clock, operatorToken: OPERATOR, host: '127.0.0.1', port: 0 },
    authenticate: (token) => TOKENS.get(token),
  });
});
afterEach(() => server.close());

interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  readonly retryAfter: string | undefined;
}

function http(method: string, path: string, headers: Record<string, string>, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    const all = { ...length, 'content-type': 'application/json', ...headers };
    const options = { host: '127.0.0.1', port: server.port, method, path, headers: all };
    const sent = send(options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const { code } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { code?: string };
        const retryAfter = response.headers['retry-after'];
        resolve({ status: response.statusCode ?? 0, code, retryAfter });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const push = (body: unknown, token = ONE): Promise<Answer> =>
  http('POST', '/v1/claims', bearer(token), typeof body === 'string' ? body : JSON.stringify(body));

test('nobody gets in without a token of their own, and each token opens one door', async () => {
  const paths = [
    ['POST', '/v1/claims'],
    ['GET', '/v1/claims'],
    ['GET', '/v1/status'],
    ['GET', '/v1/nothing'],
  ] as const;
  const wrong: Record<string, string>[] = [
    {},
    { authorization: ONE },
    { authorization: `Basic ${ONE}` },
    bearer(''),
    bearer(`${ONE.slice(1)}0`),
    bearer(`${ONE}0`),
    bearer(createHash('sha256').update(ONE).digest('hex')),
  ];
  for (const [method, path] of paths) {
    for (const headers of wrong) {
      const body = method === 'POST' ? JSON.stringify(PUSH) : undefined;
      const answer = await http(method, path, headers, body);
      expect([path, answer.status, answer.code]).toEqual([path, 401, 'UNAUTHORIZED']);
    }
  }
  expect((await http('GET', '/v1/status', bearer(ONE))).status).toBe(401);
  expect((await http('GET', '/v1/claims', bearer(OPERATOR))).status).toBe(401);
  expect(asked).toEqual([]);
  expect((await http('GET', '/v1/status', bearer(OPERATOR))).status).toBe(200);
  expect((await http('GET', '/v1/claims?from=7', bearer(TWO))).status).toBe(200);
  expect((await push(PUSH)).status).toBe(200);
  expect(asked).toEqual([
    { client: 'operator', what: 'status' },
    { client: 'two', what: 7 },
    { client: 'one', what: PUSH },
  ]);
});

test('a body that is not exactly a push is refused before the tower hears of it', async () => {
  const bad: unknown[] = [
    '{',
    '[]',
    'null',
    {},
    { ...PUSH, extra: 1 },
    { ...PUSH, chainId: 31415 },
    { ...PUSH, chainId: '0x1' },
    { ...PUSH, hub: '0x12' },
    { ...PUSH, payee: ADDRESS.slice(2) },
    { ...PUSH, rows: [] },
    { ...PUSH, rows: ROW },
    { ...PUSH, rows: [`0x${ROW}`] },
    { ...PUSH, rows: [ROW.slice(2)] },
    { ...PUSH, rows: [`${ROW}ab`] },
    { ...PUSH, rows: [null] },
    { ...PUSH, rows: [`${ROW.slice(1)}g`] },
    `{"__proto__":{"x":1},"chainId":"1","hub":"${ADDRESS}","payee":"${ADDRESS}","rows":["${ROW}"]}`,
  ];
  for (const body of bad) {
    nowMs += 1_000;
    expect([body, await push(body)]).toEqual([
      body,
      expect.objectContaining({ status: 400, code: 'BAD_ARGUMENT' }),
    ]);
  }
  nowMs += 60_000;
  const many = Array.from({ length: limits.towerRowsPerRequestMax + 1 }, () => ROW);
  expect(await push({ ...PUSH, rows: many })).toMatchObject({ status: 400 });
  expect(await push({ ...PUSH, rows: many.slice(1) })).toMatchObject({ status: 200 });
  expect(await push('x'.repeat(limits.httpBodyBytesMax + 1))).toMatchObject({ status: 413 });
  expect(await http('GET', '/v1/claims?from=x', bearer(ONE))).toMatchObject({ status: 400 });
  expect(asked.length).toBe(1);
});

test('a client sends as many requests and rows as it may, and another is not slowed down by it', async () => {
  let taken = 0;
  let refused: Answer | undefined;
  while (!refused && taken < 100) {
    const answer = await push('junk');
    if (answer.status === 429) refused = answer;
    else taken++;
  }
  // Junk counts as well as what is good.
  expect(taken).toBe(limits.towerRequestBurstMax);
  expect(refused).toMatchObject({ code: 'TOO_MANY_REQUESTS', retryAfter: '1' });
  expect((await push(PUSH, TWO)).status).toBe(200);
  nowMs += 1_000 / limits.towerRequestsPerSecondMax;
  expect([(await push(PUSH)).status, (await push(PUSH)).status]).toEqual([200, 429]);
  // And rows: the bucket is emptied by full requests.
  const rows = Array.from({ length: limits.towerRowsPerRequestMax }, () => ROW);
  let held = 0;
  for (let at = 0; at < 100; at++) {
    nowMs += 250;
    if ((await push({ ...PUSH, rows })).status === 200) held += rows.length;
  }
  const most = limits.towerRowBurstMax + limits.towerRowsPerSecondMax * 26;
  expect(held).toBeLessThanOrEqual(most);
  expect(held).toBeGreaterThan(limits.towerRowBurstMax - 2 * rows.length);
});

test('one push of a client runs at a time', async () => {
  let finish: () => void = () => {};
  work = () =>
    new Promise((resolve) => {
      finish = resolve;
    });
  const first = push(PUSH);
  await vi.waitFor(() => expect(asked.length).toBe(1));
  expect(await push(PUSH)).toMatchObject({ status: 429, retryAfter: '1' });
  expect(await http('GET', '/v1/claims', bearer(ONE))).toMatchObject({ status: 200 });
  finish();
  expect((await first).status).toBe(200);
  work = async () => {};
  expect((await push(PUSH as PushRequest)).status).toBe(200);
});

test('an allowance fills with time up to its burst and takes all or nothing', () => {
  const allowance = createAllowance({ monotonicMs: () => nowMs }, 10, 40);
  expect([allowance.take(40), allowance.take(1)]).toEqual([0, 1]);
  nowMs += 1_500;
  expect([allowance.take(36), allowance.take(15), allowance.take(1)]).toEqual([3, 0, 1]);
  nowMs += 3_600_000;
  expect([allowance.take(41), allowance.take(40)]).toEqual([1, 0]);
});
