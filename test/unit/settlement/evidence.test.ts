/** Which row of a channel is shown to the hub. Amounts in units of the gas price. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import * as Tick from '../../../src/channels/tick.js';
import { encode } from '../../../src/channels/voucher.js';
import * as Evidence from '../../../src/settlement/evidence.js';
import { hubGas, hubTickGas } from '../../../src/settlement/planner.js';

const LENGTH = 100;
const values = [new Uint8Array(32)];
while (values.length <= LENGTH)
  values.unshift(new Uint8Array(createHash('sha256').update(values[0]!).digest()));

const signature = { r: new Uint8Array(32).fill(1), vs: new Uint8Array(32).fill(2) };
const plain = (amount: bigint): Uint8Array => encode({ amount, ...signature });
const ticks = (amount: bigint, unit: bigint, count: number): Uint8Array =>
  Tick.encode({ amount, unit, length: LENGTH, count, tick: values[count]!, ...signature });
const channel = { settled: 0n, deposit: 10n ** 20n, inFlight: 0n };
const STEP = hubTickGas.step;

describe('the evidence of a channel', () => {
  it('is the plain head where there is no chain', () => {
    const row = plain(70n);
    const found = Evidence.best({ ...channel, row, tickRow: undefined }, 1n);
    expect(found).toEqual({ verb: 'settle', row, claim: 70n, steps: 0 });
  });

  it('is the tick row where its ticks are worth their links', () => {
    const tickRow = ticks(hubTickGas.row * 2n, STEP + 1n, 40);
    const found = Evidence.best({ ...channel, row: plain(5n), tickRow }, 1n);
    const claim = hubTickGas.row * 2n + 40n * (STEP + 1n);
    expect(found).toEqual({ verb: 'settleTicks', row: tickRow, claim, steps: 40 });
  });

  it('is the voucher at its root where they are not', () => {
    const amount = hubTickGas.row * 2n;
    const tickRow = ticks(amount, STEP - 1n, 40);
    const found = Evidence.best({ ...channel, row: plain(5n), tickRow }, 1n);
    expect(found).toMatchObject({ verb: 'settleTicks', claim: amount, steps: 0 });
    expect(found.row).toEqual(ticks(amount, STEP - 1n, 0));
    // Gas that costs nothing, or has no price, is no reason to give up ticks.
    for (const price of [0n, undefined])
      expect(Evidence.best({ ...channel, row: plain(5n), tickRow }, price).row).toBe(tickRow);
  });

  it('is the plain head where the chain adds less than its dearer row costs', () => {
    const row = plain(hubGas.row * 3n);
    const tickRow = ticks(hubGas.row * 3n, 1n, 9);
    expect(Evidence.best({ ...channel, row, tickRow }, 1n)).toMatchObject({ verb: 'settle', row });
  });

  it('is what claims most where nothing is worth its gas, so that the rest is told of', () => {
    const tickRow = ticks(10n, 1n, 9);
    for (const settled of [0n, 10n, 19n])
      expect(Evidence.best({ ...channel, settled, row: plain(0n), tickRow }, 10n ** 9n).row).toBe(tickRow);
  });

  it('counts only what the deposit covers and nothing is under way for', () => {
    const amount = hubTickGas.row * 2n;
    const tickRow = ticks(amount, STEP + 1n, 40);
    const covered = { ...channel, deposit: amount };
    expect(Evidence.best({ ...covered, row: plain(5n), tickRow }, 1n)).toMatchObject({
      claim: amount,
      steps: 0,
    });
    const settling = { ...channel, inFlight: amount };
    expect(Evidence.best({ ...settling, row: plain(5n), tickRow }, 1n).row).toBe(tickRow);
  });
});
