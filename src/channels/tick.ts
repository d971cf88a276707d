/**
 * The tick row of 124 bytes (ticks.md 2): what a tick voucher promises, one tick of its chain, and the signature over
 * both amount and root. Digests and signatures are not here; here is the layout, and the way down to the root.
 */
import { createHash } from 'node:crypto';
import { shortLived } from '../memory.js';
import { readUint96, writeUint96 } from './voucher.js';

export const TICK_ROW_BYTES = 124;
export const TICK_BYTES = 32;
const [COUNT_AT, TICK_AT, SIGNATURE_AT] = [26, 28, 60];

/** The longest chain there is; what an offer may promise to take. */
export const CHAIN_LENGTH_MAX = 1024;

export interface TickRow {
  /** Base units that the voucher promises with no tick revealed. */
  readonly amount: bigint;
  /** What each tick adds, in base units; at least 1. */
  readonly unit: bigint;
  /** Ticks of the chain, 1 … 1,024. */
  readonly length: number;
  /** How many of them the shown one stands for, 0 … length. */
  readonly count: number;
  /** The shown tick, 32 bytes; the root where `count` is 0. */
  readonly tick: Uint8Array;
  readonly r: Uint8Array;
  readonly vs: Uint8Array;
}

/** The fields of a row of 124 bytes, in range or not. */
export function decode(row: Uint8Array): TickRow {
  const view = new DataView(row.buffer, row.byteOffset, row.byteLength);
  return {
    amount: readUint96(row, 0),
    unit: readUint96(row, 12),
    length: view.getUint16(24),
    count: view.getUint16(COUNT_AT),
    tick: row.slice(TICK_AT, SIGNATURE_AT),
    r: row.slice(SIGNATURE_AT, 92),
    vs: row.slice(92, TICK_ROW_BYTES),
  };
}

/** @throws RangeError where amount or unit is no uint96. */
export function encode({ amount, unit, length, count, tick, r, vs }: TickRow): Uint8Array {
  const row = new Uint8Array(TICK_ROW_BYTES);
  const view = new DataView(row.buffer);
  writeUint96(row, 0, amount);
  writeUint96(row, 12, unit);
  view.setUint16(24, length);
  view.setUint16(COUNT_AT, count);
  row.set(tick, TICK_AT);
  row.set(r, SIGNATURE_AT);
  row.set(vs, 92);
  return row;
}

/** How many links lead from the row's tick to its root. */
export function countOf(row: Uint8Array): number {
  return new DataView(row.buffer, row.byteOffset, row.byteLength).getUint16(COUNT_AT);
}

/** The shown tick, 32 bytes; the root where the count is 0. */
export function tickOf(row: Uint8Array): Uint8Array {
  return row.subarray(TICK_AT, SIGNATURE_AT);
}

/** What the voucher promises with no tick revealed, in base units. */
export function amountOf(row: Uint8Array): bigint {
  return readUint96(row, 0);
}

/** What each tick adds, in base units. */
export function unitOf(row: Uint8Array): bigint {
  return readUint96(row, 12);
}

/** Ticks of the chain. */
export function lengthOf(row: Uint8Array): number {
  return new DataView(row.buffer, row.byteOffset, row.byteLength).getUint16(24);
}

/** What the row claims, in base units: its amount and its unit for each count. */
export function claimOf(row: Uint8Array): bigint {
  return amountOf(row) + unitOf(row) * BigInt(countOf(row));
}

/** Whether two rows show ticks of the same voucher. */
export function isSameChain(one: Uint8Array, other: Uint8Array): boolean {
  return (
    Buffer.compare(one.subarray(0, COUNT_AT), other.subarray(0, COUNT_AT)) === 0 &&
    Buffer.compare(one.subarray(SIGNATURE_AT), other.subarray(SIGNATURE_AT)) === 0
  );
}

/** The row of the same voucher with another of its ticks, on a slab (`shortLived`); `count` is at most 65,535. */
export function withTick(row: Uint8Array, count: number, tick: Uint8Array): Uint8Array {
  const other = shortLived(TICK_ROW_BYTES);
  other.set(row);
  new DataView(other.buffer, other.byteOffset).setUint16(COUNT_AT, count);
  other.set(tick, TICK_AT);
  return other;
}

/** The row of the same voucher that shows its root and claims none of its ticks. Costs a hash for each count. */
export function atRoot(row: Uint8Array): Uint8Array {
  let tick = row.subarray(TICK_AT, SIGNATURE_AT);
  for (let count = countOf(row); count > 0; count--) tick = createHash('sha256').update(tick).digest();
  return withTick(row, 0, tick);
}
