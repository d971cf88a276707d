/**
 * Blocks paid one by one (ticks.md), against real engines, a real chain and real sockets: what a payee that requires
 * ticks can lose to a payer that cheats, and what becomes of ticks whose payer is gone. About 20 s.
 */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hexlify, Wallet } from 'ethers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formatAddress } from '../../src/channels/channel.js';
import * as Tick from '../../src/channels/tick.js';
import { tickRow } from '../integration/settlement/support.js';
import { accept, agree, type Key, keyNamed, rowOf } from '../support/agreement.js';
import { type PayeeParty, PIECE_BYTES, startPayee, startPayer, temporary } from '../support/engines.js';
import { type Ground, layGround } from '../support/ground.js';
import { dial, type Hostile } from '../support/hostile.js';

const BTT = 10n ** 18n;
/** 16 pieces make a MiB: a piece costs exactly 100 BTT, and has four blocks, each worth more than its gas. */
const SETTINGS = { price: '1600BTT/MiB', exposure: '800BTT', window: '1MiB', step: '0wei', ticks: 'require' };
const PIECE = 100n * BTT;
const DEPOSIT = 10n * PIECE;
const BLOCK = PIECE / 4n;
const BLOCK_BYTES = PIECE_BYTES / 4;
const AHEAD = PIECE - BLOCK;
const MONEY = { budget: String(100n * PIECE), priceMiBMax: String(16n * PIECE), gasMax: String(10n ** 21n) };

let ground: Ground;
let payee: PayeeParty;
let addresses = 10;

beforeAll(async () => {
  ground = await layGround();
  payee = await startPayee(ground, { account: ground.accounts[1]!, settings: SETTINGS });
});

afterAll(async () => {
  await payee?.close();
  await ground?.stop();
});

async function connected(): Promise<Hostile> {
  return dial(payee.port, { infohash: payee.metainfo.infohash, from: `127.0.0.${++addresses}` });
}

/** A payer with an open channel and a session that may pay `AHEAD` of a piece. */
async function session(name: string): Promise<{ key: Key; peer: Hostile }> {
  const key = keyNamed(name);
  await ground.open([{ voucherKey: key.address, payee: payee.payee, deposit: DEPOSIT }]);
  const peer = await connected();
  await agree(peer, key, payee.metainfo.infohash, AHEAD);
  return { key, peer };
}

/** The tick row of a payer's chain over `amount`, with one of its ticks. */
const chainOf = (key: Key, count: number, amount = 0n, unit = BLOCK): Promise<Uint8Array> => {
  const chain = { amount, unit, length: 100 };
  return tickRow(new Wallet(hexlify(key.secret)), ground.domain, payee.payee, chain, count);
};

async function reveal(peer: Hostile, key: Key, count: number): Promise<void> {
  const { tick } = Tick.decode(await chainOf(key, count));
  peer.say({ type: 'tick', count, tick });
}

const acked = (peer: Hostile, amount: bigint): Promise<unknown> =>
  peer.until(
    () => peer.heard.some((message) => message.type === 'ack' && message.authorized >= amount),
    5_000,
    `the ack of ${amount}`,
  );

/** Waits until no block has come for a while. */
async function quiet(peer: Hostile, forMs = 300): Promise<void> {
  let seen = -1;
  while (seen !== peer.blockBytes) {
    seen = peer.blockBytes;
    await new Promise((resolve) => setTimeout(resolve, forMs));
  }
}

test('a payer that never pays takes one block with it', async () => {
  const { key, peer } = await session('takes a block');
  peer.say({ type: 'tick_voucher', row: await chainOf(key, 0) });
  for (let piece = 0; piece < 4; piece++) peer.requestPiece(piece, PIECE_BYTES);
  await quiet(peer);
  expect(peer.blockBytes).toBe(BLOCK_BYTES);
  await peer.until(() => !peer.unchoked, 5_000, 'being choked');
  const { granted, authorized } = await payee.channel(key.address);
  expect({ granted, authorized }).toEqual({ granted: String(BLOCK), authorized: '0' });
  peer.end();
});

test('a payer that stops takes with it no more than what it has paid and two blocks', async () => {
  const { key, peer } = await session('stops after three');
  peer.say({ type: 'tick_voucher', row: await chainOf(key, 0) });
  for (let piece = 0; piece < 8; piece++) peer.requestPiece(piece, PIECE_BYTES);
  for (let count = 1; count <= 3; count++) {
    await peer.until(() => peer.blockBytes >= count * BLOCK_BYTES, 5_000, `block ${count}`);
    await reveal(peer, key, count);
    await acked(peer, BigInt(count) * BLOCK);
  }
  await quiet(peer);
  const { granted, authorized } = await payee.channel(key.address);
  expect(BigInt(authorized)).toBe(3n * BLOCK);
  // The window has grown to a piece, and has room for a block besides.
  expect(BigInt(granted) - BigInt(authorized)).toBe(BigInt(authorized) + 2n * BLOCK);
  expect(BigInt(peer.blockBytes) * BLOCK).toBe(BigInt(granted) * BigInt(BLOCK_BYTES));
  peer.end();
});

test('who cannot pay ahead of a piece is refused, and served nothing', async () => {
  const key = keyNamed('pays nothing ahead');
  await ground.open([{ voucherKey: key.address, payee: payee.payee, deposit: DEPOSIT }]);
  const peer = await connected();
  const offer = await accept(peer, key, payee.metainfo.infohash, 0n);
  expect({ length: offer.tickLength, step: offer.minStep, prepay: offer.prepay }).toEqual({
    length: Tick.CHAIN_LENGTH_MAX,
    step: 0n,
    prepay: PIECE,
  });
  expect((await peer.hears('reject')).code).toBe('exposure_too_small');
  peer.requestPiece(0, PIECE_BYTES);
  await quiet(peer);
  expect(peer.blockBytes).toBe(0);
  peer.end();
});

test('ticks that are forged, repeated, of another chain or not yet owed count nothing', async () => {
  const { key, peer } = await session('cheats with ticks');
  const refused = async (code: string): Promise<void> => expect((await peer.hears('reject')).code).toBe(code);
  peer.say({ type: 'tick', count: 1, tick: new Uint8Array(32) });
  await refused('no_session');
  peer.say({ type: 'tick_voucher', row: await chainOf(key, 0) });
  peer.requestPiece(0, PIECE_BYTES);
  await peer.until(() => peer.blockBytes === BLOCK_BYTES);
  await reveal(peer, key, 1);
  await acked(peer, BLOCK);
  await reveal(peer, key, 30);
  await refused('exceeds_granted');
  peer.say({ type: 'tick', count: 2, tick: new Uint8Array(32) });
  await refused('bad_signature');
  const stranger = await chainOf(keyNamed('somebody else'), 2);
  peer.say({ type: 'tick_voucher', row: stranger });
  await refused('bad_signature');
  // The connection now stands on the stranger's voucher: its ticks lead to nothing that was signed here.
  const before = peer.heard.length;
  peer.say({ type: 'tick_voucher', row: await chainOf(key, 1) });
  await peer.until(() => peer.heard.length > before);
  expect(peer.heard.at(-1)).toMatchObject({ type: 'ack', authorized: BLOCK });
  const { authorized } = await payee.channel(key.address);
  expect(authorized).toBe(String(BLOCK));
  peer.end();
});

test('a plain voucher of as much takes the place of the ticks, and a new chain goes on from it', async () => {
  const { key, peer } = await session('folds its ticks');
  peer.say({ type: 'tick_voucher', row: await chainOf(key, 0) });
  peer.requestPiece(0, PIECE_BYTES);
  await peer.until(() => peer.blockBytes === BLOCK_BYTES);
  await reveal(peer, key, 1);
  await acked(peer, BLOCK);
  peer.say({ type: 'voucher', final: true, row: rowOf(ground.domain, key, payee.payee, BLOCK) });
  expect((await peer.hears('receipt')).receipt.head).toBe(BLOCK);
  // Without its first voucher being shown anew, a chain and its tick may come in one.
  await peer.until(() => peer.blockBytes > 2 * BLOCK_BYTES);
  peer.say({ type: 'tick_voucher', row: await chainOf(key, 1, BLOCK) });
  await acked(peer, 2n * BLOCK);
  peer.end();
});

test('an engine pays a whole download by ticks, ends it with a plain voucher, and all of it settles', async () => {
  const payer = await startPayer(ground, { account: ground.accounts[3]!, settings: { payTicks: true } });
  try {
    const request = { torrent: payee.torrent, peers: [`127.0.0.1:${payee.port}`], ...MONEY };
    const end = await payer.fetch(request);
    expect(end).toMatchObject({ acknowledged: true, spent: String(32n * PIECE) });
    expect(payer.got(payee.metainfo.name).equals(payee.payload)).toBe(true);
    const [paid] = await payer.engine.channels();
    const earned = await payee.engine.channel(paid!.voucherKey);
    expect(earned).toMatchObject({ authorized: String(32n * PIECE), granted: String(32n * PIECE) });
    // A chain and the last voucher: two signatures for 128 blocks.
    expect(earned.vouchers).toBe(2);
    expect(paid!.vouchers).toBe(2);
    const report = await payee.engine.settle({ voucherKeys: [paid!.voucherKey], force: true });
    expect(report.settled).toBe(String(32n * PIECE));
  } finally {
    await payer.close();
  }
});

test('two torrents of one seller are paid at once by ticks, from a channel each', async () => {
  const payer = await startPayer(ground, { account: ground.accounts[5]!, settings: { payTicks: true } });
  const folder = temporary();
  try {
    const file = join(folder.path, 'second.bin');
    writeFileSync(file, randomBytes(32 * PIECE_BYTES));
    const second = await payee.engine.seed({ paths: [file], announce: [], pieceLength: PIECE_BYTES });
    await payer.engine.open({ payee: formatAddress(payee.payee), deposit: String(100n * PIECE) });
    const peers = [`127.0.0.1:${payee.port}`];
    const ends = await Promise.all(
      [payee.torrent, second.torrent].map((torrent) => payer.fetch({ torrent, peers, ...MONEY })),
    );
    for (const end of ends) expect(end).toMatchObject({ acknowledged: true, spent: String(32n * PIECE) });
    const each = { authorized: String(32n * PIECE) };
    expect(await payer.engine.channels()).toMatchObject([each, each]);
  } finally {
    await payer.close();
    folder.remove();
  }
});

/** Some blocks are paid by ticks of `unit`, then the payer is gone for good. */
async function vanished(name: string, ticks = 3, unit = BLOCK): Promise<string> {
  const { key, peer } = await session(name);
  peer.say({ type: 'tick_voucher', row: await chainOf(key, 0, 0n, unit) });
  peer.requestPiece(0, PIECE_BYTES);
  for (let count = 1; count <= ticks; count++) {
    await peer.until(() => peer.blockBytes >= count * BLOCK_BYTES, 5_000, `block ${count}`);
    const { tick } = Tick.decode(await chainOf(key, count, 0n, unit));
    peer.say({ type: 'tick', count, tick });
    await acked(peer, BigInt(count) * unit);
  }
  peer.end();
  return formatAddress(key.address);
}

test('a payer that is gone has paid its ticks: the hub takes the newest one', async () => {
  const voucherKey = await vanished('gone, then settled');
  const report = await payee.engine.settle({ voucherKeys: [voucherKey], force: true });
  expect(report).toMatchObject({ settled: String(3n * BLOCK), vouchers: 1, expectedTransactions: 1 });
  expect(report.transactions).toHaveLength(1);
  expect(await payee.engine.channel(voucherKey)).toMatchObject({
    settled: String(3n * BLOCK),
    claimable: '0',
  });
});

test('ticks that are worth their gas are settled before a close, and are not lost with it', async () => {
  const voucherKeys = [await vanished('gone, then closed')];
  const dry = await payee.engine.settle({ voucherKeys, close: true, dryRun: true });
  expect(dry).toMatchObject({ settled: String(3n * BLOCK), rows: [{ cause: 'aged' }], closed: 1 });
  const report = await payee.engine.settle({ voucherKeys, close: true });
  expect(report.transactions).toHaveLength(2);
  const returned = String(DEPOSIT - 3n * BLOCK);
  expect(report).toMatchObject({ settled: String(3n * BLOCK), returned, closed: 1, skipped: [] });
  // The report tells of both halves.
  expect(report.rows).toEqual([{ voucherKey: voucherKeys[0], cause: 'aged', credit: String(3n * BLOCK) }]);
  expect(report.vouchers).toBe(1);
  const { phase, settled, lost } = await payee.engine.channel(voucherKeys[0]!);
  expect({ phase, settled, lost }).toEqual({ phase: 'closed', settled: String(3n * BLOCK), lost: '0' });
});

test('the ceiling for gas holds for the ticks and the close together', async () => {
  const both = [await vanished('closed for a measure')];
  const { transactions } = await payee.engine.settle({ voucherKeys: both, close: true });
  const [ticks, close] = transactions.map(({ fee }) => BigInt(fee));
  const voucherKeys = [await vanished('closed under a ceiling')];
  // Enough for each of them, and not for both.
  const gasMax = String(((ticks! > close! ? ticks! : close!) * 19n) / 10n);
  await expect(payee.engine.settle({ voucherKeys, close: true, gasMax })).rejects.toMatchObject({
    code: 'GAS_CEILING',
  });
  expect(await payee.engine.channel(voucherKeys[0]!)).toMatchObject({
    phase: 'open',
    settled: String(3n * BLOCK),
  });
});

test('ticks that are not worth their gas are named, and given up with a close', async () => {
  const voucherKeys = [await vanished('gone for little', 1, BTT)];
  const report = await payee.engine.settle({ voucherKeys, close: true });
  expect(report).toMatchObject({ settled: '0', closed: 1 });
  expect(report.skipped).toEqual([{ voucherKey: voucherKeys[0], reason: 'below_cost' }]);
  const { phase, lost, lostReason } = await payee.engine.channel(voucherKeys[0]!);
  expect({ phase, lost, lostReason }).toEqual({
    phase: 'closed',
    lost: String(BTT),
    lostReason: 'closed',
  });
});

test('a download that was broken off by ticks is ended without them, and nothing is paid twice', async () => {
  const offering = await startPayee(ground, {
    account: ground.accounts[5]!,
    settings: { ...SETTINGS, ticks: 'offer' },
    bytes: 256 * PIECE_BYTES,
  });
  const payer = await startPayer(ground, { account: ground.accounts[6]!, settings: { payTicks: true } });
  try {
    const request = { torrent: offering.torrent, peers: [`127.0.0.1:${offering.port}`], ...MONEY };
    const budget = { ...request, budget: String(400n * PIECE), gasMax: String(10n ** 22n) };
    const stop = new AbortController();
    const broken = payer.fetch(budget, stop.signal).catch((thrown) => (thrown as { code: string }).code);
    while (((await offering.engine.channels())[0]?.pieces ?? 0) < 40)
      await new Promise((resolve) => setTimeout(resolve, 2));
    stop.abort();
    expect(await broken).toBe('INTERRUPTED');
    const end = await payer.fetch({ ...budget, payTicks: false });
    expect(end).toMatchObject({ acknowledged: true, spent: String(256n * PIECE) });
    expect(payer.got(offering.metainfo.name).equals(offering.payload)).toBe(true);
    expect((await offering.channel()).authorized).toBe(String(256n * PIECE));
  } finally {
    await payer.close();
    await offering.close();
  }
});

test('a payee that takes no ticks says so', async () => {
  const plain = await startPayee(ground, {
    account: ground.accounts[4]!,
    settings: { ...SETTINGS, ticks: 'off' },
  });
  try {
    const key = keyNamed('meets no ticks');
    await ground.open([{ voucherKey: key.address, payee: plain.payee, deposit: DEPOSIT }]);
    const peer = await dial(plain.port, {
      infohash: plain.metainfo.infohash,
      from: `127.0.0.${++addresses}`,
    });
    const { tickLength } = await agree(peer, key, plain.metainfo.infohash);
    expect(tickLength).toBe(0);
    peer.say({ type: 'tick', count: 1, tick: new Uint8Array(32) });
    expect(await peer.hears('reject')).toMatchObject({ refused: 'tick', code: 'unsupported_type' });
    peer.say({ type: 'tick_voucher', row: new Uint8Array(124) });
    expect(await peer.hears('reject')).toMatchObject({ refused: 'tick_voucher', code: 'unsupported_type' });
    peer.end();
  } finally {
    await plain.close();
  }
});
