/**
 * Payers that cheat, against a real payee engine, a real chain and real sockets: whatever they do, the payee
 * loses no more than it said it would risk, and peers on other addresses are served on. About 25 s.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Domain } from '../../src/channels/channel.js';
import { accept, agree, type Key, keyNamed, rowOf, spoiled } from '../support/agreement.js';
import { fastClock, type PayeeParty, PIECE_BYTES, startPayee, startPayer } from '../support/engines.js';
import { type Ground, layGround } from '../support/ground.js';
import { dial, type Hostile } from '../support/hostile.js';

const BTT = 10n ** 18n;
/** 16 pieces make a MiB: a piece costs exactly one BTT. */
const SETTINGS = { price: '16BTT/MiB', exposure: '4BTT', window: '1MiB', step: '0wei' };
const PIECE = BTT;
const EXPOSURE = 4n * BTT;
const DEPOSIT = 100n * BTT;

let ground: Ground;
let payee: PayeeParty;
let domain: Domain;
let addresses = 10;

beforeAll(async () => {
  ground = await layGround();
  domain = ground.domain;
  payee = await startPayee(ground, { account: ground.accounts[1]!, settings: SETTINGS });
});

afterAll(async () => {
  await payee?.close();
  await ground?.stop();
});

/** A key with an open channel to the payee. */
async function payer(name: string, deposit = DEPOSIT, to = payee): Promise<Key> {
  const key = keyNamed(name);
  await ground.open([{ voucherKey: key.address, payee: to.payee, deposit }]);
  return key;
}

const freshAddress = (): string => `127.0.0.${++addresses}`;

function connect(from = freshAddress(), to = payee): Promise<Hostile> {
  return dial(to.port, { infohash: to.metainfo.infohash, from });
}

/** A connection that is through with agreeing and unchoked. */
async function session(key: Key, from = freshAddress(), to = payee): Promise<Hostile> {
  const peer = await connect(from, to);
  await agree(peer, key, to.metainfo.infohash);
  return peer;
}

const voucher = (peer: Hostile, row: Uint8Array, final = false): void =>
  peer.say({ type: 'voucher', final, row });

async function pays(peer: Hostile, key: Key, amount: bigint, to = payee): Promise<void> {
  voucher(peer, rowOf(domain, key, to.payee, amount));
  await peer.until(
    () => peer.heard.some((message) => message.type === 'ack' && message.authorized >= amount),
    10_000,
    `the ack of ${amount}`,
  );
}

/** Waits until nothing has come for a while. */
async function quiet(peer: Hostile, forMs = 400): Promise<void> {
  let seen = -1;
  while (seen !== peer.blockBytes) {
    seen = peer.blockBytes;
    await new Promise((resolve) => setTimeout(resolve, forMs));
  }
}

test('a payer that never pays gets one piece and is choked', async () => {
  const key = await payer('never pays');
  const peer = await session(key);
  for (let piece = 0; piece < 8; piece++) peer.requestPiece(piece, PIECE_BYTES);
  await quiet(peer);
  expect(peer.blockBytes).toBe(PIECE_BYTES);
  await peer.until(() => !peer.unchoked, 5_000, 'being choked');
  const { granted, authorized, writtenOff } = await payee.channel(key.address);
  expect({ granted, authorized, writtenOff }).toEqual({
    granted: String(PIECE),
    authorized: '0',
    writtenOff: '0',
  });
  peer.end();
});

test('a payer that pays for a while and then stops takes at most the exposure with it', async () => {
  const key = await payer('stops paying');
  const peer = await session(key);
  for (let piece = 0; piece < 6; piece++) {
    peer.requestPiece(piece, PIECE_BYTES);
    await peer.until(() => peer.blockBytes === (piece + 1) * PIECE_BYTES, 10_000, `piece ${piece}`);
    await pays(peer, key, BigInt(piece + 1) * PIECE);
  }
  for (let piece = 6; piece < 22; piece++) peer.requestPiece(piece, PIECE_BYTES);
  await quiet(peer);
  const { granted, authorized } = await payee.channel(key.address);
  const loss = BigInt(granted) - BigInt(authorized);
  expect(loss).toBe(EXPOSURE);
  expect(BigInt(peer.blockBytes)).toBe((BigInt(granted) / PIECE) * BigInt(PIECE_BYTES));
  peer.end();
});

test('a payer that comes back again and again without paying is refused after the exposure', async () => {
  const key = await payer('comes back');
  let bytes = 0;
  let refused = false;
  for (let visit = 0; visit < 20 && !refused; visit++) {
    const peer = await connect();
    await accept(peer, key, payee.metainfo.infohash);
    await peer.until(() => peer.rejects.length > 0 || peer.heard.some(({ type }) => type === 'state'));
    refused = peer.rejects.includes('unavailable');
    if (!refused) {
      peer.send(2);
      await peer.until(() => peer.unchoked);
      // Shows its last row, which is none: that makes the payee forgive what was lost.
      peer.say({ type: 'state', role: 'payer', row: new Uint8Array(76), deposit: 0n });
      await peer.hears('ack');
      peer.requestPiece(visit % 32, PIECE_BYTES);
      await quiet(peer, 100);
    }
    bytes += peer.blockBytes;
    peer.end();
  }
  expect(refused).toBe(true);
  const { authorized } = await payee.channel(key.address);
  expect(authorized).toBe('0');
  expect(BigInt(bytes) * PIECE).toBeLessThanOrEqual((EXPOSURE + PIECE) * BigInt(PIECE_BYTES));
  expect(bytes).toBeGreaterThan(PIECE_BYTES);
});

test('leaving before the last block of a piece makes nothing free', async () => {
  const key = await payer('leaves early');
  const blocks = PIECE_BYTES / 16_384;
  let bytes = 0;
  let refused = false;
  for (let visit = 0; visit < 40 && !refused; visit++) {
    const peer = await connect();
    await accept(peer, key, payee.metainfo.infohash);
    await peer.until(() => peer.rejects.length > 0 || peer.heard.some(({ type }) => type === 'state'));
    refused = peer.rejects.includes('unavailable');
    if (!refused) {
      peer.send(2);
      await peer.until(() => peer.unchoked);
      peer.say({ type: 'state', role: 'payer', row: new Uint8Array(76), deposit: 0n });
      await peer.hears('ack');
      peer.requestPiece(visit % 32, PIECE_BYTES, blocks - 1);
      await quiet(peer, 60);
    }
    bytes += peer.blockBytes;
    peer.end();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(refused).toBe(true);
  expect(BigInt(bytes) * PIECE).toBeLessThanOrEqual((EXPOSURE + PIECE) * BigInt(PIECE_BYTES));
  expect(bytes).toBeGreaterThan(0);
});

test('after a default the rest is given up within a minute and the window is one piece again', async () => {
  // A clock twenty times as fast: the minute takes three seconds.
  const quick = await startPayee(ground, {
    account: ground.accounts[2]!,
    settings: SETTINGS,
    clock: fastClock(20),
  });
  try {
    const key = await payer('defaults', DEPOSIT, quick);
    const peer = await session(key, freshAddress(), quick);
    // One payment doubles the window to two pieces: half of the exposure.
    peer.requestPiece(0, PIECE_BYTES);
    await peer.until(() => peer.blockBytes === PIECE_BYTES);
    await pays(peer, key, PIECE, quick);
    for (let piece = 4; piece < 12; piece++) peer.requestPiece(piece, PIECE_BYTES);
    await quiet(peer, 100);
    const before = await quick.channel();
    expect(BigInt(before.granted) - BigInt(before.authorized)).toBe(2n * PIECE);
    await peer.until(() => !peer.unchoked, 2_000, 'being choked');
    await peer.until(() => peer.unchoked, 6_000, 'the default');
    const after = await quick.channel();
    expect(BigInt(after.writtenOff)).toBe(2n * PIECE);
    const bytes = peer.blockBytes;
    for (let piece = 12; piece < 20; piece++) peer.requestPiece(piece, PIECE_BYTES);
    await quiet(peer, 60);
    expect(peer.blockBytes - bytes).toBe(PIECE_BYTES);
    // A late voucher for what was written off is still taken.
    await pays(peer, key, 3n * PIECE, quick);
    const late = await quick.channel();
    expect(BigInt(late.authorized)).toBe(3n * PIECE);
    expect(BigInt(late.granted)).toBe(4n * PIECE);
    expect(BigInt(late.writtenOff)).toBe(PIECE);
    peer.end();
  } finally {
    await quick.close();
  }
});

test('replayed and lowered vouchers are answered from memory', async () => {
  const key = await payer('replays');
  const peer = await session(key);
  for (let piece = 0; piece < 3; piece++) {
    peer.requestPiece(piece, PIECE_BYTES);
    await peer.until(() => peer.blockBytes === (piece + 1) * PIECE_BYTES);
    await pays(peer, key, BigInt(piece + 1) * PIECE);
  }
  const sequence = payee.journalSequence();
  const rows = [3n, 2n, 1n].map((amount) => rowOf(domain, key, payee.payee, amount * PIECE));
  const acks = () => peer.heard.filter(({ type }) => type === 'ack').length;
  const before = acks();
  for (let nth = 0; nth < 600; nth++) voucher(peer, rows[nth % 3]!);
  await peer.until(() => acks() === before + 600, 10_000, '600 answers');
  // Every answer says what is held, nothing was written, nobody is worse off.
  for (const message of peer.heard) {
    if (message.type === 'ack') expect(message.authorized).toBeLessThanOrEqual(3n * PIECE);
  }
  expect(peer.heard.findLast(({ type }) => type === 'ack')).toMatchObject({ authorized: 3n * PIECE });
  expect(payee.journalSequence()).toBe(sequence);
  expect(peer.rejects).toEqual([]);
  expect((await payee.channel(key.address)).authorized).toBe(String(3n * PIECE));
  peer.end();
});

test('a voucher above the deposit or above what was granted is refused by name', async () => {
  const key = await payer('overdoes it', 10n * BTT);
  const peer = await session(key);
  peer.requestPiece(0, PIECE_BYTES);
  await peer.until(() => peer.blockBytes === PIECE_BYTES);
  voucher(peer, rowOf(domain, key, payee.payee, 11n * BTT));
  expect((await peer.hears('reject')).code).toBe('exceeds_deposit');
  voucher(peer, rowOf(domain, key, payee.payee, 2n * BTT));
  expect((await peer.hears('reject')).code).toBe('exceeds_granted');
  await pays(peer, key, PIECE);
  expect((await payee.channel(key.address)).authorized).toBe(String(PIECE));
  peer.end();
});

test('the deposit ends the service, not the payee’s patience', async () => {
  const key = await payer('small deposit', 3n * BTT);
  const peer = await session(key);
  for (let piece = 0; piece < 3; piece++) {
    peer.requestPiece(piece, PIECE_BYTES);
    await peer.until(() => peer.blockBytes === (piece + 1) * PIECE_BYTES);
    await pays(peer, key, BigInt(piece + 1) * PIECE);
  }
  peer.requestPiece(3, PIECE_BYTES);
  expect((await peer.hears('reject')).code).toBe('deposit_exhausted');
  await quiet(peer, 200);
  expect(peer.blockBytes).toBe(3 * PIECE_BYTES);
  peer.end();
});

test('foreign vouchers are bad signatures, wherever they come from', async () => {
  const key = await payer('foreign');
  const other = await payer('another channel');
  const rows = [
    rowOf(domain, other, payee.payee, PIECE),
    rowOf(domain, key, ground.accounts[5]!.address, PIECE),
    rowOf({ ...domain, chainId: domain.chainId + 1n }, key, payee.payee, PIECE),
    rowOf({ ...domain, hub: ground.accounts[6]!.address }, key, payee.payee, PIECE),
  ];
  const first = await session(key);
  first.requestPiece(0, PIECE_BYTES);
  await first.until(() => first.blockBytes === PIECE_BYTES);
  for (const row of rows) {
    // Each from an address of its own, since three of them would ban one.
    const peer = await session(key);
    voucher(peer, row);
    expect((await peer.hears('reject')).code).toBe('bad_signature');
    peer.end();
  }
  expect((await payee.channel(key.address)).authorized).toBe('0');
  first.end();
  // The same amount, well signed, is worth something.
  const peer = await session(key);
  await pays(peer, key, PIECE);
  expect((await payee.channel(key.address)).authorized).toBe(String(PIECE));
  peer.end();
});

test('three bad signatures ban the address and the key, and nobody else', async () => {
  const key = await payer('bad signatures');
  const address = freshAddress();
  const honest = await startPayer(ground, {
    account: ground.accounts[3]!,
    executor: 'pool',
    settings: { maxPrice: '16BTT/MiB' },
  });
  try {
    const download = honest.fetch({
      torrent: payee.torrent,
      budget: String(100n * BTT),
      peers: [`127.0.0.1:${payee.port}`],
    });
    const peer = await session(key, address);
    peer.requestPiece(0, PIECE_BYTES);
    await peer.until(() => peer.blockBytes === PIECE_BYTES);
    for (let nth = 1; nth <= 3; nth++) {
      const good = rowOf(domain, key, payee.payee, PIECE);
      voucher(peer, spoiled(good, nth));
      // The third one ends the connection, mostly before its answer is out.
      await peer.until(() => peer.rejects.length === nth || peer.closed);
      expect(peer.closed).toBe(nth === 3);
    }
    expect(new Set(peer.rejects)).toEqual(new Set(['bad_signature']));

    // The address is refused before a word is said.
    const again = await connect(address);
    await again.until(() => again.closed, 5_000, 'the refusal');
    expect(again.heard).toEqual([]);
    // The key is refused from anywhere.
    const elsewhere = await connect();
    await accept(elsewhere, key, payee.metainfo.infohash);
    expect((await elsewhere.hears('reject')).code).toBe('banned');
    elsewhere.end();

    const end = await download;
    expect(end.acknowledged).toBe(true);
    expect(honest.got('payload.bin').equals(payee.payload)).toBe(true);
    expect((await payee.channel(key.address)).authorized).toBe('0');
  } finally {
    await honest.close();
  }
});

test('accepting with somebody else’s voucher key is a bad proof and bans like a bad signature', async () => {
  const victim = await payer('victim');
  const thief = keyNamed('thief');
  const address = freshAddress();
  for (let nth = 1; nth <= 3; nth++) {
    const peer = await connect(address);
    await accept(peer, victim, payee.metainfo.infohash, 0n, thief);
    await peer.until(() => peer.rejects.length === 1 || peer.closed);
    if (nth < 3) expect(peer.rejects).toEqual(['bad_proof']);
    peer.end();
  }
  const peer = await connect(address);
  await peer.until(() => peer.closed, 5_000, 'the refusal');
  expect(peer.heard).toEqual([]);
  // The victim itself is as welcome as before.
  const own = await session(victim);
  own.end();
});

test('an accept cannot be replayed, on its own connection or on another', async () => {
  const key = await payer('replayed accept');
  const one = await connect();
  const offer = await accept(one, key, payee.metainfo.infohash);
  await one.hears('state');
  const stolen = await connect();
  const { offer: theirs } = await stolen.hears('offer');
  expect(theirs.nonce).not.toEqual(offer.nonce);
  const { offerDigest } = await import('../../src/channels/terms.js');
  const terms = { offerDigest: offerDigest(offer), nonce: offer.nonce, voucherKey: key.address, prepay: 0n };
  for (const peer of [one, stolen]) {
    peer.say({ type: 'accept', accept: terms, signature: new Uint8Array(64) });
    expect((await peer.hears('reject')).code).toBe(peer === one ? 'duplicate' : 'bad_nonce');
    peer.end();
  }
});

test('vouchers without a session and payloads that are none cost their sender its place', async () => {
  const address = freshAddress();
  const peer = await connect(address);
  await peer.hears('offer');
  voucher(peer, rowOf(domain, keyNamed('nobody'), payee.payee, PIECE));
  expect((await peer.hears('reject')).code).toBe('no_session');
  const malformed = [[1], [1, 3], [1, 3, ...new Array(100).fill(0)], new Array(1_100).fill(1)];
  for (const bytes of malformed) {
    peer.sayRaw(Uint8Array.from(bytes as number[]));
    expect((await peer.hears('reject')).code).toBe('malformed');
  }
  peer.sayRaw(Uint8Array.from([2, 3]));
  expect((await peer.hears('reject')).code).toBe('unsupported_version');
  peer.sayRaw(Uint8Array.from([1, 99]));
  expect((await peer.hears('reject')).code).toBe('unsupported_type');
  peer.say({ type: 'tick', count: 1, tick: new Uint8Array(32) });
  expect(await peer.hears('reject')).toMatchObject({ refused: 'tick', code: 'no_session' });
  peer.say({ type: 'tick_voucher', row: new Uint8Array(124) });
  expect(await peer.hears('reject')).toMatchObject({ refused: 'tick_voucher', code: 'no_session' });
  for (let nth = 0; nth < 20 && !peer.closed; nth++) peer.sayRaw(Uint8Array.from([1]));
  await peer.until(() => peer.closed, 5_000, 'the ban');
  const again = await connect(address);
  await again.until(() => again.closed, 5_000, 'the refusal');
});

test('an unpaying peer without a session is served nothing', async () => {
  const peer = await connect();
  await peer.hears('offer');
  peer.send(2);
  for (let piece = 0; piece < 4; piece++) peer.requestPiece(piece, PIECE_BYTES);
  await quiet(peer, 300);
  expect(peer.unchoked).toBe(false);
  expect(peer.blockBytes).toBe(0);
  expect(peer.refusedRequests).toBe(16);
  peer.end();
});
