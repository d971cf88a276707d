/** The vectors of ticks.md 2, which Rust and Solidity read too: the layout is ours, the rest is ethers'. */
import { readFileSync } from 'node:fs';
import { recoverAddress, sha256, TypedDataEncoder, toBeHex } from 'ethers';
import { expect, test } from 'vitest';
import * as Tick from '../../../src/channels/tick.js';
import { fromHex, toHex } from '../../../src/units.js';

interface Vector {
  readonly name: string;
  readonly chainId: string;
  readonly hub: string;
  readonly voucherKey: string;
  readonly payee: string;
  readonly amount: string;
  readonly unit: string;
  readonly length: number;
  readonly end: string;
  readonly root: string;
  readonly digest: string;
  readonly count: number;
  readonly tick: string;
  readonly row: string;
  readonly claim: string;
  readonly status: 'ok' | 'bad_range' | 'bad_signature';
}

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const AMOUNT_MAX = 2n ** 96n - 1n;
const FIELDS = [
  { name: 'payee', type: 'address' },
  { name: 'cumulativeAmount', type: 'uint256' },
  { name: 'root', type: 'bytes32' },
  { name: 'unit', type: 'uint96' },
  { name: 'length', type: 'uint16' },
];
const vectors = JSON.parse(
  readFileSync(new URL('../../vectors/ticks.json', import.meta.url), 'utf8'),
) as Vector[];
const good = vectors.filter(({ name }) => name === 'good');
const hex = (bytes: Uint8Array): string => `0x${toHex(bytes)}`;

function linked(value: string, times: number): string {
  let reached = value;
  for (let step = 0; step < times; step++) reached = sha256(reached);
  return reached;
}

function digestOf(row: Tick.TickRow, { chainId, hub, payee }: Vector): string {
  const domain = { name: 'Piecework', version: '1', chainId: BigInt(chainId), verifyingContract: hub };
  const root = linked(hex(row.tick), row.count);
  const { amount, unit, length } = row;
  return TypedDataEncoder.hash(
    domain,
    { TickVoucher: FIELDS },
    { payee, cumulativeAmount: amount, root, unit, length },
  );
}

/** The table of ticks.md 2. */
function statusOf(row: Tick.TickRow, vector: Vector): string {
  const [r, vs] = [BigInt(hex(row.r)), BigInt(hex(row.vs))];
  const s = vs & (2n ** 255n - 1n);
  const { amount, unit, length, count } = row;
  if (length === 0 || length > 1_024 || unit === 0n || count > length) return 'bad_range';
  if (amount + BigInt(length) * unit > AMOUNT_MAX) return 'bad_range';
  if (r === 0n || r >= ORDER || s === 0n || s > ORDER / 2n) return 'bad_range';
  const signature = { r: toBeHex(r, 32), s: toBeHex(s, 32), yParity: vs >> 255n === 0n ? 0 : 1 } as const;
  try {
    const signer = recoverAddress(digestOf(row, vector), signature);
    return signer.toLowerCase() === vector.voucherKey ? 'ok' : 'bad_signature';
  } catch {
    return 'bad_signature';
  }
}

test('every row is read as it was written, and claims what the page says', () => {
  for (const vector of vectors) {
    const bytes = fromHex(vector.row);
    expect(bytes.length).toBe(Tick.TICK_ROW_BYTES);
    const row = Tick.decode(bytes);
    expect({ ...row, tick: hex(row.tick) }, vector.name).toMatchObject({
      amount: BigInt(vector.amount),
      unit: BigInt(vector.unit),
      length: vector.length,
      count: vector.count,
      tick: vector.tick,
    });
    expect(hex(Tick.encode(row))).toBe(vector.row);
    expect(Tick.countOf(bytes)).toBe(vector.count);
    expect(Tick.claimOf(bytes)).toBe(BigInt(vector.claim));
  }
});

test('a row is read from anywhere in a buffer', () => {
  const bytes = new Uint8Array(Tick.TICK_ROW_BYTES + 7);
  bytes.set(fromHex(good[3]!.row), 7);
  const row = bytes.subarray(7);
  expect(Tick.decode(row)).toEqual(Tick.decode(fromHex(good[3]!.row)));
  expect(Tick.claimOf(row)).toBe(BigInt(good[3]!.claim));
});

test('what is no uint96 is not encoded', () => {
  const row = Tick.decode(fromHex(good[0]!.row));
  expect(() => Tick.encode({ ...row, amount: AMOUNT_MAX + 1n })).toThrow(RangeError);
  expect(() => Tick.encode({ ...row, unit: -1n })).toThrow(RangeError);
});

test('every good chain leads from its end over the tick to the root', () => {
  expect(good.length).toBe(288);
  for (const { end, length, count, tick, root } of good) {
    expect(linked(end, length - count)).toBe(tick);
    expect(linked(tick, count)).toBe(root);
  }
  expect(new Set(good.map(({ length }) => length))).toContain(1);
  expect(new Set(good.map(({ length }) => length))).toContain(1_024);
});

test('ethers gives every row its status', () => {
  const counts = new Map<string, number>();
  for (const vector of vectors) {
    expect(statusOf(Tick.decode(fromHex(vector.row)), vector), vector.name).toBe(vector.status);
    const kind = `${vector.name === 'good' ? 'good' : 'mutated'} ${vector.status}`;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  expect(Object.fromEntries(counts)).toEqual({
    'good ok': 288,
    'mutated ok': 59,
    'mutated bad_range': 204,
    'mutated bad_signature': 409,
  });
});
