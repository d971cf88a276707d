/**
 * The native ledger against the plain model on random commands in random batches, with restarts in between.
 * The seed is printed; PIECEWORK_SEED repeats a run.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getBytes, hexlify, TypedDataEncoder } from 'ethers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { call } from '../../../src/native/binding.js';
import { type Executor, inline } from '../../../src/native/executor.js';
import { Ledger, type LedgerOptions } from '../../../src/native/ledger.js';
import type { Command, Status } from '../../../src/native/records.js';
import { writeTicks, writeVouchers } from '../../../src/native/records.js';
import { LedgerModel } from '../../model/ledger-model.js';
import * as Ticks from '../../model/tick-rows.js';

const commandCount = 32_000;
const keyCount = 12;
const seed = Number(process.env['PIECEWORK_SEED'] ?? Math.floor(Math.random() * 2 ** 32));

const folder = mkdtempSync(join(tmpdir(), 'piecework-model-'));
const voucherSeed = new Uint8Array(32).fill(5);
const hub = new Uint8Array(20).fill(1);
const payee = new Uint8Array(20).fill(2);
const options: LedgerOptions = { folder, chainId: 199n, hub, segmentBytes: 65_536, seed: voucherSeed };
let executor: Executor;

beforeAll(() => {
  executor = inline();
});

afterAll(async () => {
  await executor.close();
  rmSync(folder, { recursive: true, force: true });
});

/** mulberry32 */
function chance(state: number): (below: number) => number {
  let at = state >>> 0;
  return (below) => {
    at = (at + 0x6d2b79f5) >>> 0;
    let z = Math.imul(at ^ (at >>> 15), at | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) % below;
  };
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const keys = Array.from({ length: keyCount }, (_, index) =>
  call((addon) => addon.deriveVoucherKeys(voucherSeed, BigInt(index), 1)),
);
const domain = call((addon) => addon.domainSeparator(199n, hub));

function signed(keyIndex: number, amount: bigint): Uint8Array {
  const secret = call((addon) => addon.deriveVoucherSecret(voucherSeed, BigInt(keyIndex)));
  return call((addon) => addon.signVoucher(domain, secret, payee, amount));
}

const TICK_VOUCHER = {
  TickVoucher: [
    { name: 'payee', type: 'address' },
    { name: 'cumulativeAmount', type: 'uint256' },
    { name: 'root', type: 'bytes32' },
    { name: 'unit', type: 'uint96' },
    { name: 'length', type: 'uint16' },
  ],
};
const endOf = (keyIndex: number, terms: Ticks.TickTerms) =>
  Ticks.endOf(voucherSeed, domain, keyIndex, payee, terms);

/** A tick row that the key at an index signed, over a chain with this end. */
function signedTicks(keyIndex: number, terms: Ticks.TickTerms, count: number, end: Uint8Array): Uint8Array {
  const { amount, unit, length } = terms;
  const facts = { name: 'Piecework', version: '1', chainId: 199n, verifyingContract: hexlify(hub) };
  const root = Ticks.linked(end, length);
  const value = { payee: hexlify(payee), cumulativeAmount: amount, root, unit, length };
  const digest = getBytes(TypedDataEncoder.hash(facts, TICK_VOUCHER, value));
  const secret = call((addon) => addon.deriveVoucherSecret(voucherSeed, BigInt(keyIndex)));
  const signature = call((addon) => addon.signDigests(secret, digest));
  return Ticks.bytesOf({ ...terms, count, tick: Ticks.linked(end, length - count), signature });
}

function plain(amount: bigint): Uint8Array {
  const row = new Uint8Array(76);
  row.set(Buffer.from(amount.toString(16).padStart(24, '0'), 'hex'));
  return row;
}

/** Draws commands that mostly make sense: near the edges of what is allowed. */
function makeCommands(below: (bound: number) => number, model: LedgerModel) {
  const pick = <T>(items: readonly T[]): T => items[below(items.length)] as T;
  const near = (amount: bigint) => {
    const moved = amount + BigInt(below(5) - 2) * pick([0n, 0n, 1n, 1000n]);
    return moved < 0n ? 0n : moved;
  };
  const session = () => below(model.sessions.length + 1);
  const fill = (size: number, byte: number) => new Uint8Array(size).fill(byte + 1);
  const size = () => pick([1, 16_384, 262_144, 1_048_576, below(3_000_000) + 1]);
  const makers: (() => Command)[] = [
    () => {
      const role = pick(['payee', 'payer'] as const);
      const keyIndex = below(keyCount);
      const voucherKey =
        role === 'payer' ? (keys[below(20) === 0 ? 0 : keyIndex] as Uint8Array) : fill(20, keyIndex);
      const closeAt = below(12) === 0 ? 9 : 0;
      const deposit = pick([0n, 5_000n, 60_000n, 400_000n, (1n << 96n) - 1n]);
      return {
        kind: 'channel_put',
        role,
        voucherKey,
        payee,
        deposit,
        settled: 0n,
        closeAt,
        block: below(9),
        keyIndex,
      };
    },
    () => ({
      kind: 'session_open',
      channel: below(model.channels.length + 1),
      sessionId: fill(16, below(250)),
      infohash: fill(20, below(6)),
      priceMiB: pick([0n, 1n, 777n, 1000n, 1000n, 12_345n, (1n << 95n) + 3n]),
      minimumStep: BigInt(below(1500)),
      prepay: BigInt(below(3000)),
    }),
    () => ({ kind: 'session_close', session: session(), deliveredBytes: below(1000) }),
    () => ({ kind: 'budget', infohash: fill(20, below(6)), limit: pick([0n, 2_000n, 90_000n, 10n ** 9n]) }),
    () => ({
      kind: 'note',
      space: below(3),
      key: fill(32, below(4)),
      ...(below(3) ? { value: fill(below(50), 7) } : {}),
    }),
    () => {
      const channel = below(model.channels.length + 1);
      const known = model.channels[channel];
      const amount = near((known?.authorized ?? 0n) + BigInt(below(2000)));
      return { kind: 'adopt', channel, row: below(3) ? signed(known?.keyIndex ?? 0, amount) : plain(amount) };
    },
  ];
  const busy: (() => Command)[] = [
    () => ({ kind: 'grant', session: session(), bytes: size(), exposureLimit: BigInt(below(20_000)) }),
    () => {
      const at = session();
      const channel = model.channels[model.sessions[at]?.channel ?? -1];
      const amount = near(channel ? pick([channel.granted, channel.granted, channel.authorized]) : 5n);
      const row = plain(amount > (1n << 96n) - 1n ? 0n : amount);
      return { kind: 'voucher', session: at, row, final: below(4) === 0, verified: below(8) !== 0 };
    },
    () => {
      const at = session();
      const unpaid = model.unpaid(model.sessions[at]?.channel ?? -1);
      return { kind: 'write_off', session: at, amount: near(unpaid / BigInt(1 + below(6))) };
    },
    () => ({ kind: 'purchase', session: session(), piece: below(40), bytes: size() }),
    () => ({ kind: 'purchase', session: session(), piece: below(40), bytes: size() }),
    () => {
      const at = session();
      const [piece, bytes] = pick([...(model.sessions[at]?.outstanding ?? new Map([[3, 4]]))]) ?? [1, 1];
      if (below(4) === 0) return { kind: 'abandon', session: at, piece };
      return {
        kind: 'pay',
        session: at,
        piece,
        bytes: below(20) ? bytes : bytes + 1,
        advance: BigInt(below(4000)),
      };
    },
    () => ({ kind: 'sign', session: session(), advance: BigInt(below(4000)) }),
  ];
  const ticks = tickMakers(below, model, near);
  return () => pick(below(4) === 0 ? makers : below(4) === 0 ? ticks : busy)();
}

/** The same for ticks. Payers elsewhere have few chains, so that some come again. */
function tickMakers(
  below: (bound: number) => number,
  model: LedgerModel,
  near: (amount: bigint) => bigint,
): (() => Command)[] {
  const pick = <T>(items: readonly T[]): T => items[below(items.length)] as T;
  /** Mostly a session that can do it. */
  const session = (
    fits: (session: LedgerModel['sessions'][number], role: string, isChained: boolean) => boolean,
  ) => {
    const fitting = model.sessions.flatMap((one, at) => {
      const channel = model.channels[one.channel];
      return channel && fits(one, channel.role, channel.chain !== undefined) ? [at] : [];
    });
    return fitting.length > 0 && below(8) ? pick(fitting) : below(model.sessions.length + 1);
  };
  const channelOf = (at: number) => model.channels[model.sessions[at]?.channel ?? -1];
  const isBehind = (index: number) => model.due(index) > (model.channels[index]?.authorized ?? 0n);
  const chainOf = (at: number) => channelOf(at)?.chain;
  const fill = (size: number, byte: number) => new Uint8Array(size).fill(byte + 1);
  const foreign = (amount: bigint) => {
    const length = pick([1, 5, 40, 40, 1024]);
    const terms = {
      amount: amount >> 96n === 0n ? amount : 0n,
      unit: pick([1n, 30n, 30n, 700n, 1n << 90n]),
      length,
    };
    return { ...terms, end: fill(32, below(3)), count: pick([0, 0, 1, below(length + 1)]) };
  };
  const next = (at: number) => {
    const chain = chainOf(at);
    return chain ? Math.min(chain.count + below(4), chain.length + below(2)) : below(9);
  };
  return [
    () => {
      const at = session((_, role) => role === 'payee');
      const channel = channelOf(at);
      const { end, ...terms } = foreign(near(pick([channel?.authorized ?? 0n, channel?.granted ?? 0n, 5n])));
      const tick = Ticks.linked(end, terms.length - terms.count);
      const row = Ticks.bytesOf({ ...terms, tick, signature: fill(64, below(9)) });
      if (below(20) === 0)
        row.set(
          pick([
            [0, 0],
            [4, 1],
          ]),
          24,
        );
      return { kind: 'tick_voucher', session: at, row, verified: below(8) !== 0 };
    },
    () => {
      const at = session((_, role, isChained) => role === 'payee' && isChained);
      const count = next(at);
      const chain = chainOf(at);
      const ends = [0, 1, 2].map((byte) => fill(32, byte));
      // The end is one of few: the one whose chain has the root of the current one.
      const of = (end: Uint8Array) => Ticks.linked(end, Math.max(0, (chain?.length ?? 9) - count));
      const right =
        chain && ends.find((end) => Ticks.rootOf({ ...chain, count, tick: of(end) }) === Ticks.rootOf(chain));
      return { kind: 'tick', session: at, count, tick: of((below(9) ? right : undefined) ?? pick(ends)) };
    },
    () => {
      const unit = pick([1n, 16n, 16n, 250n, below(4) ? 9n : 0n, below(4) ? 9n : (1n << 96n) - 1n]);
      return {
        kind: 'open_chain',
        session: session(({ closed }, role) => role === 'payer' && !closed),
        unit,
        length: pick([3, 64, 64, 64, 1024, below(4) ? 9 : 1025 * below(2)]),
      };
    },
    () => {
      const at = session(
        ({ channel }, role, isChained) => role === 'payer' && isChained && isBehind(channel),
      );
      return { kind: 'reveal', session: at, count: next(at), advance: BigInt(below(4000)) };
    },
    () => {
      const at = session(({ outstanding }) => outstanding.size > 0);
      const [piece, bytes] = pick([...(model.sessions[at]?.outstanding ?? new Map([[3, 4]]))]) ?? [1, 1];
      return { kind: 'receive', session: at, piece, bytes: below(20) ? bytes : bytes + 1 };
    },
    () => {
      const channel = below(model.channels.length + 1);
      const known = model.channels[channel];
      const terms = foreign(near((known?.authorized ?? 0n) + BigInt(below(2000))));
      const keyIndex = below(6) ? (known?.keyIndex ?? 0) : below(keyCount);
      const end = below(6) ? endOf(keyIndex, terms) : terms.end;
      return { kind: 'adopt_ticks', channel, row: signedTicks(keyIndex, terms, terms.count, end) };
    },
  ];
}

test(`agrees with the model on ${commandCount} commands, seed ${seed}`, async () => {
  process.stdout.write(`ledger model: seed ${seed}, ${commandCount} commands\n`);
  const below = chance(seed);
  const isSigned = (voucherKey: string, row: string) => {
    const claim = { voucherKey: Buffer.from(voucherKey, 'hex'), payee, row: Buffer.from(row, 'hex') };
    if (claim.row.length === 124)
      return call((addon) => addon.verifyTicks(domain, writeTicks([claim])))[0] === 0;
    return call((addon) => addon.verifyVouchers(domain, writeVouchers([claim])))[0] === 0;
  };
  const owns = (index: number, key: string) => keys[index] !== undefined && hex(keys[index]) === key;
  let model = new LedgerModel({ owns, isSigned, endOf });
  let ledger = await Ledger.open(executor, options);
  let make = makeCommands(below, model);
  const seen = new Map<Status, number>();
  const seenOf = new Map<string, number>();
  let restarts = 0;
  let signatures = 0;
  let forfeits = 0;
  let adopted = new Set<number>();

  for (let done = 0; done < commandCount; ) {
    // Commands of a batch are drawn against the state before it, so some collide inside it.
    const commands = Array.from({ length: 1 + below(below(10) === 0 ? 60 : 6) }, make);
    const outcomes = await ledger.commit(commands);
    const expected = model.commit(commands);
    done += commands.length;
    for (const [at, { status, channel }] of outcomes.entries()) {
      const kind = commands[at]?.kind;
      if ((kind === 'adopt' || kind === 'adopt_ticks') && status === 'ok') adopted.add(channel ?? -1);
    }
    for (const [at, outcome] of outcomes.entries()) {
      const want = expected[at];
      const told = `seed ${seed}, command ${done - commands.length + at}: ${commands[at]?.kind}`;
      const { status, channel, session } = outcome;
      expect({ status, channel, session }, told).toEqual(want);
      seen.set(status, (seen.get(status) ?? 0) + 1);
      const each = `${commands[at]?.kind} ${status}`;
      seenOf.set(each, (seenOf.get(each) ?? 0) + 1);
      if (channel === undefined) continue;
      const { authorized, granted, writtenOff, deposit } = model.channels[channel] ?? {};
      const [due, reserved, unpaid] = [model.due(channel), model.reserved(channel), model.unpaid(channel)];
      const amounts = { authorized, granted, writtenOff, deposit, due, reserved, unpaid };
      expect(outcome, told).toMatchObject(amounts);
      // The signature of a payer's row is of the native ledger alone; all else the model knows to the byte.
      const chain = model.ticked.has(channel) ? model.channels[channel]?.chain : undefined;
      expect(outcome.tickRow !== undefined, told).toBe(chain !== undefined);
      if (outcome.tickRow && chain) {
        const { signature, ...rest } = Ticks.parse(outcome.tickRow);
        expect({ ...chain, ...rest }, told).toEqual(chain);
        const { role, voucherKey = '' } = model.channels[channel] ?? {};
        if (role === 'payer') expect(isSigned(voucherKey, hex(outcome.tickRow)), told).toBe(true);
        else expect(hex(signature), told).toBe(hex(chain.signature));
      }
      if (!adopted.has(channel)) expect(model.unexplained(channel) <= 0n, told).toBe(true);
      if (outcome.row) {
        signatures += 1;
        expect(hex(outcome.row), told).toBe(
          hex(signed(model.channels[channel]?.keyIndex ?? 0, authorized ?? 0n)),
        );
      }
    }
    const isForfeited = [...model.budgets.keys()].some((infohash) => model.forfeitedOf(infohash) > 0n);
    if (isForfeited || below(10) === 0) {
      for (const { infohash, reserved } of await ledger.budgets(0, 100)) {
        expect(reserved, `seed ${seed}, command ${done}`).toBe(model.reservedOf(hex(infohash)));
        forfeits += model.forfeitedOf(hex(infohash)) > 0n ? 1 : 0;
      }
    }
    if (below(100) === 0) {
      const before = hex(await ledger.stateHash());
      await ledger.close();
      ledger = await Ledger.open(executor, options);
      expect(hex(await ledger.stateHash())).toBe(before);
      restarts += 1;
    }
    if (model.sessions.length > 200) {
      await ledger.close();
      rmSync(folder, { recursive: true });
      ledger = await Ledger.open(executor, options);
      model = new LedgerModel({ owns, isSigned, endOf });
      adopted = new Set();
      make = makeCommands(below, model);
    }
  }

  for (const { index, authorized, row, tickRow } of await ledger.channels(0, 1000)) {
    const chain = model.channels[index]?.chain;
    expect(tickRow && Ticks.parse(tickRow).count, `seed ${seed}`).toBe(chain?.count);
    expect(tickRow ? Ticks.claimOf(Ticks.parse(tickRow)) : BigInt(`0x${hex(row.slice(0, 12))}`)).toBe(
      authorized,
    );
  }
  const sessions = await ledger.sessions(0, 1000);
  for (const [at, { bytes, pieceCount, closed, outstanding }] of model.sessions.entries()) {
    const outstandingBytes = [...outstanding.values()].reduce((sum, size) => sum + size, 0);
    expect(sessions[at]).toMatchObject({ bytes: Number(bytes), pieceCount, closed, outstandingBytes });
  }
  const budgets = await ledger.budgets(0, 100);
  expect(budgets.length).toBe([...model.budgets.values()].filter((b) => b.limit !== undefined).length);
  for (const { infohash, limit, spent } of budgets) {
    expect(model.budgets.get(hex(infohash))).toEqual({ limit, spent });
  }
  const notes = await ledger.notes(0, 100);
  expect(new Map(notes.map(({ space, key, value }) => [`${space} ${hex(key)}`, hex(value)]))).toEqual(
    model.notes,
  );
  await ledger.close();

  // The run means something only if it went everywhere.
  const wanted: Status[] = [
    'ok',
    'wrong_role',
    'duplicate',
    'closing',
    'closed',
    'not_increasing',
    'below_step',
  ];
  wanted.push(
    'unknown_channel',
    'unknown_session',
    'unknown_piece',
    'unverified',
    'overflow',
    'bad_signature',
  );
  wanted.push('exceeds_deposit', 'exceeds_window', 'exceeds_granted', 'exceeds_budget');
  const wantedOf = ['tick_voucher bad_range', 'tick_voucher unverified', 'tick_voucher not_increasing'];
  wantedOf.push('tick bad_range', 'tick bad_signature', 'tick exceeds_granted', 'tick unknown_piece');
  wantedOf.push('open_chain bad_range', 'open_chain overflow', 'reveal unknown_piece');
  wantedOf.push('reveal not_increasing', 'reveal exceeds_granted', 'receive unknown_piece');
  wantedOf.push('adopt_ticks bad_range', 'adopt_ticks bad_signature', 'adopt_ticks not_increasing');
  for (const kind of ['tick_voucher', 'tick', 'open_chain', 'reveal', 'receive', 'adopt_ticks'])
    wantedOf.push(`${kind} ok`);
  for (const each of wantedOf) expect(seenOf.get(each) ?? 0, `${each}, seed ${seed}`).toBeGreaterThan(0);
  for (const status of wanted) expect(seen.get(status) ?? 0, `${status}, seed ${seed}`).toBeGreaterThan(0);
  expect(seen.get('ok')).toBeGreaterThan(commandCount / 10);
  expect(restarts).toBeGreaterThan(2);
  expect(signatures).toBeGreaterThan(10);
  expect(forfeits).toBeGreaterThan(0);
});
