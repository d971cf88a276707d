/** How rows are shared out among transactions; what the hub does with them is tested on a chain. */
import { getBytes, hexlify } from 'ethers';
import { describe, expect, it } from 'vitest';
import { TICK_ROW_BYTES } from '../../../src/channels/tick.js';
import { tickGasMax, tickRowsMax } from '../../../src/limits.js';
import { abi } from '../../../src/settlement/hub-abi.js';
import { HubCalls } from '../../../src/settlement/hub-calls.js';
import { tickGasOf } from '../../../src/settlement/planner.js';
import { KIB } from '../../../src/units.js';

const payee = new Uint8Array(20).fill(2);
const hub = new HubCalls({ chainId: 1029n, hub: new Uint8Array(20).fill(1) }, undefined);

/** Rows that differ, with these counts. */
const rowsOf = (counts: readonly number[]): Uint8Array[] =>
  counts.map((count, index) => {
    const row = new Uint8Array(TICK_ROW_BYTES).fill(0xff);
    const view = new DataView(row.buffer);
    view.setUint32(0, index);
    view.setUint16(26, count);
    return row;
  });

/** The rows of each call. */
function shared(rows: readonly Uint8Array[]): Uint8Array[][] {
  return hub.settleTicks(payee, rows).map(({ to, data, value }) => {
    expect(to).toEqual(hub.domain.hub);
    expect(value).toBe(0n);
    expect(getBytes(data).length).toBeLessThan(110 * KIB);
    const [whom, bytes] = abi.decodeFunctionData('settleTicks', data);
    expect(whom).toBe(hexlify(payee));
    const packed = getBytes(bytes as string);
    return Array.from({ length: packed.length / TICK_ROW_BYTES }, (_, at) =>
      packed.slice(at * TICK_ROW_BYTES, (at + 1) * TICK_ROW_BYTES),
    );
  });
}

const gasOf = (rows: readonly Uint8Array[]): bigint =>
  tickGasOf(rows.map((row) => new DataView(row.buffer).getUint16(26)));

describe('calls that settle ticks', () => {
  it('are none for no rows, and one for a few', () => {
    expect(hub.settleTicks(payee, [])).toEqual([]);
    const [call, ...others] = hub.settleTicks(payee, rowsOf([64, 0]));
    expect(others).toEqual([]);
    expect(call!.purpose).toBe('settle 2 ticks');
    expect(hub.settleTicks(payee, rowsOf([64]))[0]!.purpose).toBe('settle 1 tick');
  });

  it.each([
    ['roots only', 3_000, () => 0],
    ['blocks of a piece', 2_000, () => 64],
    ['the longest chains', 200, () => 1_024],
    ['all lengths', 2_500, (index: number) => (index * 331) % 1_025],
  ])('carry every row once and in its order, within gas and size: %s', (_, count, countAt) => {
    const rows = rowsOf(Array.from({ length: count }, (__, index) => countAt(index)));
    const calls = shared(rows);
    expect(Buffer.concat(calls.flat()).equals(Buffer.concat(rows))).toBe(true);
    for (const [index, some] of calls.entries()) {
      expect(some.length).toBeLessThanOrEqual(tickRowsMax);
      expect(gasOf(some)).toBeLessThanOrEqual(tickGasMax);
      // None could have taken the first row of the next.
      const next = calls[index + 1]?.[0];
      const full = next === undefined || some.length === tickRowsMax || gasOf([...some, next]) > tickGasMax;
      expect(full).toBe(true);
    }
  });

  it('carry a row alone whose count no chain has', () => {
    expect(shared(rowsOf([65_535, 65_535, 1])).map((some) => some.length)).toEqual([1, 1, 1]);
  });

  it('are refused for rows of another size', () => {
    const error = expect.objectContaining({ code: 'INTERNAL', message: 'a row has 76 bytes' });
    expect(() => hub.settleTicks(payee, [new Uint8Array(76)])).toThrowError(error);
  });
});
