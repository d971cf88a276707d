/**
 * A flood of vouchers with bad signatures over hundreds of connections a second, each from an address and a
 * channel of its own, since three of them ban both. The seeder is a process of its own: what the flood costs it
 * is read from its metrics and from the system. About 25 s.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as Metainfo from '../../src/torrent/metainfo.js';
import { accept, agree, type Key, keyNamed, rowOf, spoiled } from '../support/agreement.js';
import { type Home, type Running, settle, start } from '../support/cli.js';
import { temporary } from '../support/engines.js';
import { type Ground, layGround } from '../support/ground.js';
import { dial } from '../support/hostile.js';

const BTT = 10n ** 18n;
const CONNECTIONS = 900;
/** Connections at a time; the flood is as fast as the seeder answers. */
const LANES = 48;
const PIECE_BYTES = 65_536;
/** What may be paid ahead: without it a voucher for nothing granted would be refused before its signature. */
const PREPAY = BTT;

let ground: Ground;
let payee: Home;
let payer: Home;
let seeder: Running;
let port: number;
let apiPort: number;
let metainfo: Metainfo.Metainfo;
let keys: Key[];
const place = temporary();

beforeAll(async () => {
  ground = await layGround();
  payee = await settle(ground, join(place.path, 'payee'), 1_000n * BTT);
  payer = await settle(ground, join(place.path, 'payer'), 1_000n * BTT);
  const file = join(place.path, 'payload.bin');
  writeFileSync(file, Buffer.alloc(96 * PIECE_BYTES, 1));
  const listen = [
    '--host',
    '127.0.0.1',
    '--port',
    '0',
    '--piece-length',
    '64KiB',
    '--price',
    '1BTT/MiB',
    '--prepay',
    '1BTT',
  ];
  seeder = start(['--json', ...payee.flags, 'seed', file, ...listen, '--torrent-out', torrentFile()]);
  const line = await seeder.until(({ event }) => event === 'seeding');
  port = Number(line['port']);
  apiPort = Number(line['apiPort']);
  metainfo = Metainfo.parse(new Uint8Array(readFileSync(torrentFile())));
  keys = Array.from({ length: CONNECTIONS }, (_, nth) => keyNamed(`flood ${nth}`));
  await ground.open(keys.map(({ address }) => ({ voucherKey: address, payee: payee.address, deposit: BTT })));
}, 120_000);

afterAll(async () => {
  await seeder?.stop();
  await ground?.stop();
  place.remove();
});

const torrentFile = (): string => join(place.path, 'payload.torrent');

/** 127.1.x.y: every connection comes from somewhere else. */
const addressOf = (nth: number): string => `127.1.${nth >> 7}.${1 + (nth & 127)}`;

const rssMib = (): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${seeder.pid}/status`, 'utf8'))![1]) / 1024;

/** Processor time of the seeder so far. */
function cpuSeconds(): number {
  const fields = readFileSync(`/proc/${seeder.pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function metric(name: string): Promise<number> {
  const token = readFileSync(join(payee.dataDir, 'token'), 'utf8').trim();
  const headers = { authorization: `Bearer ${token}` };
  const text = await (await fetch(`http://127.0.0.1:${apiPort}/metrics`, { headers })).text();
  return Number(new RegExp(`^${name}(?:{[^}]*})? (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
}

interface Tally {
  connections: number;
  vouchers: number;
  badSignatures: number;
  /** Connections that the seeder ended. */
  ended: number;
  other: Map<string, number>;
}

/** One connection: sends bad vouchers, one after each answer, until it is thrown out. */
async function attack(nth: number, tally: Tally): Promise<void> {
  const peer = await dial(port, { infohash: metainfo.infohash, from: addressOf(nth) });
  const key = keys[nth]!;
  try {
    await accept(peer, key, metainfo.infohash, PREPAY);
    await peer.hears('state');
    tally.connections++;
    for (let sent = 0; sent < 10 && !peer.closed; sent++) {
      const before = peer.rejects.length;
      peer.say({
        type: 'voucher',
        final: true,
        row: spoiled(rowOf(ground.domain, key, payee.address, 1n), sent),
      });
      tally.vouchers++;
      await peer.until(() => peer.closed || peer.rejects.length > before, 10_000, 'an answer');
    }
    await peer.until(() => peer.closed, 5_000, 'the ban');
    tally.ended++;
  } finally {
    for (const code of peer.rejects) {
      if (code === 'bad_signature') tally.badSignatures++;
      else tally.other.set(code, (tally.other.get(code) ?? 0) + 1);
    }
    peer.end();
  }
}

test('a flood of bad signatures is cut off at three each, and the honest peer goes on', async () => {
  const fetching = (to: string, budget: string): Running =>
    start([
      ...['--json', ...payer.flags, 'get', torrentFile(), '--to', join(place.path, to)],
      ...['--budget', budget, '--max-price', '1BTT/MiB', '--peer', `127.0.0.1:${port}`],
    ]);
  const rssBefore = rssMib();
  const tally: Tally = { connections: 0, vouchers: 0, badSignatures: 0, ended: 0, other: new Map() };
  const honest = fetching('honest', '20BTT');
  const beginMs = performance.now();
  const cpuBefore = cpuSeconds();
  let next = 0;
  let maxRss = rssBefore;
  await Promise.all(
    Array.from({ length: LANES }, async () => {
      while (next < CONNECTIONS) {
        await attack(next++, tally);
        if (next % 50 === 0) maxRss = Math.max(maxRss, rssMib());
      }
    }),
  );
  const seconds = (performance.now() - beginMs) / 1000;
  const ended = await honest.ended;
  const lag = await metric('piecework_nodejs_eventloop_lag_p99_seconds');
  const grown = maxRss - rssBefore;
  const cpuMs = ((cpuSeconds() - cpuBefore) * 1000) / CONNECTIONS;
  console.log(
    `flood: ${tally.vouchers} bad vouchers over ${tally.connections} connections in ${seconds.toFixed(1)} s ` +
      `(${(tally.vouchers / seconds).toFixed(0)} vouchers/s, ${(tally.connections / seconds).toFixed(0)} connections/s), ` +
      `${cpuMs.toFixed(1)} ms of the seeder’s processor each, ${tally.badSignatures} answered, RSS +${grown.toFixed(0)} MiB, p99 lag ${(lag * 1000).toFixed(0)} ms`,
  );
  // Each got in, each was heard three times, and each was thrown out.
  expect(tally.other).toEqual(new Map());
  expect(tally.connections).toBe(CONNECTIONS);
  expect(tally.ended).toBe(CONNECTIONS);
  expect(tally.vouchers).toBe(3 * CONNECTIONS);
  expect(tally.badSignatures).toBeGreaterThanOrEqual(2 * CONNECTIONS);
  // The honest peer was served meanwhile.
  expect(ended.lines.at(-1)).toMatchObject({ event: 'done', acknowledged: true });
  expect(ended.status).toBe(0);
  expect(grown).toBeLessThan(150);
  expect(lag).toBeLessThan(0.5);

  // Banned addresses and keys cost nothing more: no offer is made, no signature is looked at.
  const again = { connections: 0, offers: 0 };
  const againMs = performance.now();
  const cpuThen = cpuSeconds();
  await Promise.all(
    Array.from({ length: 20 }, async (_, lane) => {
      for (let nth = lane; nth < CONNECTIONS; nth += 20) {
        const peer = await dial(port, { infohash: metainfo.infohash, from: addressOf(nth) });
        await peer.until(() => peer.closed, 5_000, 'the refusal');
        again.connections++;
        again.offers += peer.heard.length;
      }
    }),
  );
  const perSecond = again.connections / ((performance.now() - againMs) / 1000);
  const refusalMs = ((cpuSeconds() - cpuThen) * 1000) / again.connections;
  console.log(`banned: ${perSecond.toFixed(0)} refusals/s, ${refusalMs.toFixed(2)} ms each`);
  expect(again).toEqual({ connections: CONNECTIONS, offers: 0 });
  expect(refusalMs).toBeLessThan(cpuMs / 2);
  for (let nth = 0; nth < 20; nth++) {
    const peer = await dial(port, { infohash: metainfo.infohash, from: addressOf(5_000 + nth) });
    await accept(peer, keys[nth]!, metainfo.infohash);
    expect((await peer.hears('reject')).code).toBe('banned');
    peer.end();
  }
}, 120_000);

test('one peer that sends thousands of vouchers a second is slowed down, not verified', async () => {
  const key = keyNamed('one flooder');
  await ground.open([{ voucherKey: key.address, payee: payee.address, deposit: BTT }]);
  const peer = await dial(port, { infohash: metainfo.infohash, from: '127.2.0.1' });
  await agree(peer, key, metainfo.infohash);
  const row = rowOf(ground.domain, key, payee.address, 2n * BTT);
  let sent = 0;
  // Over its deposit: refused before any signature, and scored.
  for (; sent < 20_000 && !peer.closed; sent++) {
    peer.say({ type: 'voucher', final: false, row });
    if (sent % 500 === 499) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await peer.until(() => peer.closed, 5_000, 'the end');
  const codes = new Set(peer.rejects);
  expect([...codes].every((code) => ['exceeds_deposit', 'rate_limited', 'banned'].includes(code))).toBe(true);
  expect(peer.rejects.length).toBeLessThanOrEqual(101);
});
