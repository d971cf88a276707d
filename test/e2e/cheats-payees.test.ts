/**
 * Payees that cheat, against a real payer engine, a real chain and real sockets: whatever they do, the payer
 * signs for no more than it received and the prepay it agreed to, and gets its files from the honest payee
 * beside them. Clocks run twenty times as fast, so that patience ends soon. About 40 s.
 */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { amountOf } from '../../src/channels/voucher.js';
import type { ChannelView, FetchEvent } from '../../src/engine/operations.js';
import { Ledger } from '../../src/ledger/ledger.js';
import {
  type Key,
  keyNamed,
  type OfferTerms,
  sayOffer,
  sayReceipt,
  takeAccept,
} from '../support/agreement.js';
import { type Door, doorTo } from '../support/door.js';
import {
  fastClock,
  lastSequence,
  type PayeeParty,
  type PayerParty,
  PIECE_BYTES,
  startPayee,
  startPayer,
} from '../support/engines.js';
import { type Ground, layGround } from '../support/ground.js';
import { HAVE_ALL, type Hostile, type HostileHost, host, UNCHOKE } from '../support/hostile.js';

const BTT = 10n ** 18n;
const PRICE_MIB = 16n * BTT;
/** 64 KiB at that price. */
const PIECE = BTT;
const PIECES = 24;
const SPEED = 20;

let ground: Ground;
let honest: PayeeParty;
let addresses = 100;
let payer: PayerParty | undefined;
const hosts: HostileHost[] = [];
const doors: Door[] = [];

beforeAll(async () => {
  ground = await layGround();
  honest = await startPayee(ground, {
    account: ground.accounts[1]!,
    settings: { price: '16BTT/MiB', exposure: '8BTT', window: '1MiB' },
    bytes: PIECES * PIECE_BYTES,
  });
});

afterEach(async () => {
  await payer?.close();
  payer = undefined;
  for (const one of [...hosts.splice(0), ...doors.splice(0)]) await one.close();
});

afterAll(async () => {
  await honest?.close();
  await ground?.stop();
});

const terms = (more: Partial<OfferTerms> = {}): OfferTerms => ({
  domain: ground.domain,
  infohash: honest.metainfo.infohash,
  priceMiB: PRICE_MIB,
  challengePeriod: 3_600,
  ...more,
});

interface Cheat {
  readonly key: Key;
  readonly name: string;
  readonly host: HostileHost;
  /** Blocks asked of it so far. */
  requests: number;
  /** The highest amount that was signed for it and reached it. */
  signed: bigint;
}

interface CheatOptions {
  readonly name: string;
  /** Its part after the handshakes; by default it offers, takes the accept and unchokes. */
  readonly script?: (peer: Hostile, cheat: Cheat) => Promise<void>;
  /** What it answers to a request; nothing by default. */
  readonly serve?: (peer: Hostile, piece: number, offset: number, length: number, cheat: Cheat) => void;
  readonly terms?: Partial<OfferTerms>;
}

/** A payee that does what it is told. */
async function cheat(options: CheatOptions): Promise<Cheat> {
  const key = keyNamed(options.name);
  const script =
    options.script ??
    (async (peer: Hostile) => {
      sayOffer(peer, key, terms(options.terms));
      await takeAccept(peer, 100n * BTT);
      peer.send(UNCHOKE);
    });
  const address = `127.0.0.${++addresses}`;
  const made = await host(
    address,
    (peer) => ({
      infohash: honest.metainfo.infohash,
      onRequest(piece, offset, length) {
        result.requests++;
        options.serve?.(peer(), piece, offset, length, result);
      },
      onMessage(message) {
        if (message.type !== 'voucher') return;
        const amount = amountOf(message.row);
        if (amount > result.signed) result.signed = amount;
      },
    }),
    async (peer) => {
      // The extended handshakes have to cross first.
      await new Promise((resolve) => setTimeout(resolve, 50));
      peer.send(HAVE_ALL);
      await script(peer, result);
    },
  );
  hosts.push(made);
  const result: Cheat = {
    key,
    name: `${address}:${made.port}`,
    host: made,
    requests: 0,
    signed: 0n,
  };
  return result;
}

const good = (peer: Hostile, piece: number, offset: number, length: number): void => {
  const at = piece * PIECE_BYTES + offset;
  peer.sendBlock(piece, offset, honest.payload.subarray(at, at + length));
};

async function startFetching(settings: Record<string, string> = {}): Promise<PayerParty> {
  payer = await startPayer(ground, {
    account: ground.accounts[4]!,
    clock: fastClock(SPEED),
    settings: { maxPrice: '16BTT/MiB', maxGas: '1000BTT', ...settings },
  });
  return payer;
}

const request = (peers: string[], budget = 60n * BTT) => ({
  torrent: honest.torrent,
  budget: String(budget),
  peers,
});

async function channelTo(key: Key): Promise<ChannelView | undefined> {
  const address = `0x${Buffer.from(key.address).toString('hex')}`;
  return (await payer!.engine.channels()).find((channel) => channel.payee === address);
}

/** The honest payee behind a door that is shut: it comes later. */
async function lateHonest(): Promise<Door> {
  const door = await doorTo(honest.port, `127.0.0.${++addresses}`);
  doors.push(door);
  return door;
}

const honestName = (): string => `127.0.0.1:${honest.port}`;
const channelsOf = (events: readonly FetchEvent[]) =>
  events.filter(({ event }) => event === 'channel').length;

function expectWhole(): void {
  expect(payer!.got('payload.bin').equals(honest.payload)).toBe(true);
}

test('a payee that sends garbage is paid nothing and asked no more', async () => {
  const bad = await cheat({
    name: 'garbage',
    serve: (peer, piece, offset, length) => peer.sendBlock(piece, offset, Buffer.alloc(length, 7)),
  });
  const { fetch } = await startFetching();
  const running = fetch(request([bad.name], 60n * BTT)).catch((thrown: unknown) => thrown);
  await expect.poll(() => bad.host.peers[0]?.closed, { timeout: 10_000 }).toBe(true);
  const asked = bad.requests;
  // Twenty times as fast: it would be dialled again every tenth of a second.
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(bad.host.peers.length).toBe(1);
  expect(bad.requests).toBe(asked);
  expect((await channelTo(bad.key))?.authorized).toBe('0');
  expect((await channelTo(bad.key))?.reserved).toBe('0');
  expect(bad.signed).toBe(0n);
  // Nobody else is there: it ends by saying so.
  expect(await running).toMatchObject({ code: 'NO_PEERS' });
});

test('beside a payee that sends garbage the honest one is paid and delivers', async () => {
  const bad = await cheat({
    name: 'garbage beside',
    serve: (peer, piece, offset, length) => peer.sendBlock(piece, offset, Buffer.alloc(length, 7)),
  });
  const { fetch } = await startFetching();
  const end = await fetch(request([bad.name, honestName()]));
  expectWhole();
  expect(BigInt(end.spent)).toBe(BigInt(PIECES) * PIECE);
  expect((await channelTo(bad.key))?.authorized ?? '0').toBe('0');
  expect(bad.host.peers.length).toBe(1);
});

test('a payee that takes a prepay and stalls keeps the prepay and nothing else', async () => {
  const prepay = 3n * PIECE;
  const bad = await cheat({ name: 'stalls', terms: { prepay: 50n * BTT } });
  const door = await lateHonest();
  const { fetch } = await startFetching({ maxPrepay: '3BTT' });
  const running = fetch(request([bad.name, door.name]));
  await expect.poll(() => bad.signed, { timeout: 10_000 }).toBe(prepay);
  door.open();
  const end = await running;
  expectWhole();
  expect(bad.signed).toBe(prepay);
  const channel = (await channelTo(bad.key))!;
  expect(BigInt(channel.authorized) - BigInt(channel.due)).toBe(prepay);
  expect(channel.due).toBe('0');
  expect(channel.reserved).toBe('0');
  expect(BigInt(end.spent)).toBe(BigInt(PIECES) * PIECE);
});

test('without a prepay a payee that stalls after some pieces was paid for those', async () => {
  const served = new Set<number>();
  const bad = await cheat({
    name: 'stalls later',
    serve(peer, piece, offset, length) {
      if (served.size === 3 && !served.has(piece)) return;
      served.add(piece);
      good(peer, piece, offset, length);
    },
  });
  const door = await lateHonest();
  const { fetch } = await startFetching();
  const running = fetch(request([bad.name, door.name]));
  await expect.poll(() => bad.signed, { timeout: 10_000 }).toBe(3n * PIECE);
  door.open();
  await running;
  expectWhole();
  const channel = (await channelTo(bad.key))!;
  expect(channel).toMatchObject({ due: channel.authorized, reserved: '0' });
  expect(BigInt(channel.authorized)).toBe(3n * PIECE);
});

test('a payee that stalls does not hold the money that another seller needs', async () => {
  const bad = await cheat({ name: 'holds the money' });
  const door = await lateHonest();
  const { fetch, events } = await startFetching();
  // What is promised to the one is missing for the other. Deposits count against the budget, used or not, so
  // it has to cover the torrent twice.
  const budget = 2n * BigInt(PIECES) * PIECE + BTT;
  const running = fetch(request([bad.name, door.name], budget));
  await expect.poll(() => bad.requests, { timeout: 10_000 }).toBeGreaterThan(0);
  door.open();
  const end = await running;
  expectWhole();
  expect(end.spent).toBe(String(BigInt(PIECES) * PIECE));
  expect(channelsOf(events)).toBe(2);
  expect(bad.signed).toBe(0n);
});

test('what a payee claims to hold, to have acknowledged or to have delivered changes nothing', async () => {
  const stranger = keyNamed('stranger');
  const bad: Cheat = await cheat({
    name: 'liar',
    async script(peer, self) {
      const offer = sayOffer(peer, self.key, terms());
      const voucherKey = await takeAccept(peer, 100n * BTT);
      const row = new Uint8Array(76).fill(9);
      peer.say({ type: 'state', role: 'payee', row, deposit: 1n });
      peer.say({ type: 'state', role: 'payer', row, deposit: 1n });
      const ack = {
        authorized: 90n * BTT,
        granted: 1n << 40n,
        delivered: 1n << 40n,
        deposit: 0n,
        windowBytes: 0n,
      };
      peer.say({ type: 'ack', ...ack });
      sayReceipt(peer, stranger, offer, voucherKey, 90n * BTT);
      sayReceipt(peer, self.key, offer, voucherKey, 90n * BTT);
      peer.say({ type: 'reject', refused: 'voucher', code: 'below_step', detail: 'pay more' });
      peer.send(UNCHOKE);
    },
    serve: good,
  });
  const { fetch, events } = await startFetching();
  const end = await fetch(request([bad.name]));
  expectWhole();
  expect(BigInt(end.spent)).toBe(BigInt(PIECES) * PIECE);
  expect(bad.signed).toBe(BigInt(PIECES) * PIECE);
  // It never acknowledged what it was owed, and its receipt was at least its own.
  expect(end.acknowledged).toBe(false);
  expect(events.filter(({ event }) => event === 'receipt').length).toBe(1);
});

test('offers that cannot be trusted are refused by name and cost nothing', async () => {
  const cases: Array<[string, Partial<OfferTerms>, string]> = [
    ['dear', { priceMiB: PRICE_MIB + 1n }, 'price_too_high'],
    ['other hub', { domain: { ...ground.domain, hub: keyNamed('hub').address } }, 'wrong_escrow'],
    ['other chain', { domain: { ...ground.domain, chainId: 1n } }, 'wrong_escrow'],
    ['short challenge', { challengePeriod: 60 }, 'wrong_escrow'],
    ['other torrent', { infohash: new Uint8Array(20).fill(1) }, 'bad_nonce'],
  ];
  const refused = new Map<string, string>();
  const names: string[] = [];
  for (const [name, wrong] of cases) {
    const one = await cheat({
      name,
      async script(peer, self) {
        sayOffer(peer, self.key, terms(wrong));
        refused.set(name, (await peer.hears('reject')).code);
      },
    });
    names.push(one.name);
  }
  // Signed by somebody else than the delegate it names, and by a delegate without a delegation.
  const unsigned = await cheat({
    name: 'unsigned',
    async script(peer, self) {
      sayOffer(peer, { secret: keyNamed('forger').secret, address: self.key.address }, terms());
      refused.set('unsigned', (await peer.hears('reject')).code);
    },
  });
  const { fetch } = await startFetching();
  const running = fetch(request([...names, unsigned.name])).catch((thrown: unknown) => thrown);
  await expect.poll(() => refused.size, { timeout: 10_000 }).toBe(cases.length + 1);
  for (const [name, , code] of cases) expect([name, refused.get(name)]).toEqual([name, code]);
  expect(refused.get('unsigned')).toBe('bad_signature');
  expect(await payer!.engine.channels()).toEqual([]);
  await running;
});

test('a flood of offers fills no journal and opens no session after session', async () => {
  const bad = await cheat({
    name: 'offer flood',
    async script(peer, self) {
      for (let nth = 0; nth < 3_000 && !peer.closed; nth++) {
        sayOffer(peer, self.key, terms());
        if (nth % 100 === 99) await new Promise((resolve) => setTimeout(resolve, 10));
      }
    },
  });
  const { fetch, home } = await startFetching();
  const running = fetch(request([bad.name, honestName()]));
  await running;
  expectWhole();
  const { sessions } = await payer!.engine.statement();
  const folder = Ledger.folder(`${home}/data`, ground.domain.chainId, ground.domain.hub);
  expect(sessions.length).toBeLessThan(150);
  expect(lastSequence(folder)).toBeLessThan(1_500);
});

test('a price that rises in the middle holds from the next piece on, and never above the limit', async () => {
  let served = 0;
  let raised = false;
  const held: Array<() => void> = [];
  const bad = await cheat({
    name: 'raises its price',
    async script(peer, self) {
      sayOffer(peer, self.key, terms({ priceMiB: PRICE_MIB / 2n }));
      await takeAccept(peer, 100n * BTT);
      peer.send(UNCHOKE);
      await peer.until(() => served > 0);
      sayOffer(peer, self.key, terms());
      await takeAccept(peer, 100n * BTT);
      raised = true;
      for (const serve of held.splice(0)) serve();
      await peer.until(() => served > 48);
      sayOffer(peer, self.key, terms({ priceMiB: PRICE_MIB * 2n }));
    },
    serve(peer, piece, offset, length) {
      const serve = (): void => {
        served++;
        good(peer, piece, offset, length);
      };
      // The rest waits for the higher price, so that both have pieces.
      if (served === 0 || raised) serve();
      else held.push(serve);
    },
  });
  const { fetch } = await startFetching();
  const end = await fetch(request([bad.name]));
  expectWhole();
  const { sessions } = await payer!.engine.statement();
  expect(sessions.map(({ priceMiB }) => priceMiB)).toEqual([String(PRICE_MIB / 2n), String(PRICE_MIB)]);
  // The third price is refused, and the second one holds on.
  expect(sessions.reduce((sum, { pieces }) => sum + pieces, 0)).toBe(PIECES);
  const price = sessions.reduce((sum, { amount }) => sum + BigInt(amount), 0n);
  expect(BigInt(end.spent)).toBe(price);
  expect(sessions[0]!.pieces).toBeGreaterThan(0);
  expect(sessions[1]!.pieces).toBeGreaterThan(0);
});
