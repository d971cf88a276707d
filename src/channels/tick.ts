/**
 * The tick row of 124 bytes (ticks.md 2): what a tick voucher promises, one tick of its chain, and the signature over
 * both amount and root. Digests, links and checking are not here; here is only the layout.
 */
import { readUint96, writeUint96 } from './voucher.js';

export const TICK_ROW_BYTES = 124;
export const TICK_BYTES = 32;

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
    count: view.getUint16(26),
    tick: row.slice(28, 60),
    r: row.slice(60, 92),
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
  view.setUint16(26, count);
  row.set(tick, 28);
  row.set(r, 60);
  row.set(vs, 92);
  return row;
}

/** How many links lead from the row's tick to its root. */
export function countOf(row: Uint8Array): number {
  return new DataView(row.buffer, row.byteOffset, row.byteLength).getUint16(26);
}

/** What the row claims, in base units: its amount and its unit for each count. */
export function claimOf(row: Uint8Array): bigint {
  return readUint96(row, 0) + readUint96(row, 12) * BigInt(countOf(row));
}
