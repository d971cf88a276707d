import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TOMBSTONE } from '../../../src/channels/channel.js';
import { type Candidate, defaultPolicy, gain, gasOf, plan } from '../../../src/settlement/planner.js';

const PRICE = 300_000_000_000_000n;
const MODEL = { batch: 60_000n, row: 10_000n };
const ROW_COST = MODEL.row * PRICE;
const BATCH_COST = MODEL.batch * PRICE;

function candidate(index: number, fields: Partial<Candidate> = {}): Candidate {
  const voucherKey = new Uint8Array(20).fill(index + 1);
  const row = new Uint8Array(76).fill(index);
  return { voucherKey, row, authorized: 0n, settled: 0n, deposit: 10n ** 24n, closeAt: 0, ...fields };
}

const reasons = (found: ReturnType<typeof plan>): string[] => found.skipped.map(({ reason }) => reason);

describe('what a head is worth', () => {
  it('is what it raises the settled amount by, clamped to the deposit', () => {
    expect(gain({ authorized: 70n, settled: 20n, deposit: 100n })).toBe(50n);
    expect(gain({ authorized: 170n, settled: 20n, deposit: 100n })).toBe(80n);
    expect(gain({ authorized: 10n, settled: 20n, deposit: 100n })).toBe(0n);
  });
});

describe('a plan', () => {
  it('takes heads that are worth many times their gas and says what they cost', () => {
    const rich = candidate(0, { authorized: 1_000n * ROW_COST });
    const found = plan([rich], PRICE, defaultPolicy, MODEL);
    expect(found).toEqual({
      rows: [rich],
      credit: 1_000n * ROW_COST,
      gas: 70_000n,
      cost: 70_000n * PRICE,
      skipped: [],
    });
  });

  it('names why each other head is left', () => {
    const heads = [
      candidate(0, { authorized: 5n, settled: 5n }),
      candidate(1, { authorized: 5n, deposit: 0n }),
      candidate(2, { authorized: 1_000n * ROW_COST, closeAt: TOMBSTONE }),
      candidate(3, { authorized: ROW_COST - 1n }),
      candidate(4, { authorized: 50n * ROW_COST - 1n }),
    ];
    const found = plan(heads, PRICE, defaultPolicy, MODEL);
    expect(found.rows).toEqual([]);
    expect(reasons(found)).toEqual(['nothing_new', 'no_channel', 'closed', 'below_cost', 'waiting']);
  });

  it('settles a closing channel as soon as it pays, the earliest first', () => {
    const late = candidate(0, { authorized: 20n * ROW_COST, closeAt: 2_000 });
    const early = candidate(1, { authorized: 9n * ROW_COST, closeAt: 1_000 });
    const open = candidate(2, { authorized: 20n * ROW_COST });
    const found = plan([late, open, early], PRICE, defaultPolicy, MODEL);
    expect(found.rows).toEqual([early, late]);
    expect(found.skipped).toEqual([{ candidate: open, reason: 'waiting' }]);
  });

  it('leaves closing channels that together do not carry the transaction', () => {
    const closing = candidate(0, { authorized: BATCH_COST, closeAt: 1_000 });
    const found = plan([closing], PRICE, defaultPolicy, MODEL);
    expect(found.rows).toEqual([]);
    expect(reasons(found)).toEqual(['batch_below_cost']);
  });

  it('waits while the gas of the whole transaction is too large a part', () => {
    const found = plan([candidate(0, { authorized: 60n * ROW_COST })], PRICE, defaultPolicy, MODEL);
    expect(reasons(found)).toEqual(['waiting']);
  });

  it('settles at a loss when forced, and still nothing that credits nothing', () => {
    const dust = candidate(0, { authorized: 1n });
    const found = plan([dust, candidate(1)], PRICE, { force: true, gainFactor: 50n }, MODEL);
    expect(found.rows).toEqual([dust]);
    expect(reasons(found)).toEqual(['nothing_new']);
  });

  it('counts the gas of every transaction that the rows need', () => {
    expect(gasOf(1, MODEL)).toBe(70_000n);
    expect(gasOf(1_000, MODEL)).toBe(10_060_000n);
    expect(gasOf(1_001, MODEL)).toBe(10_130_000n);
  });
});

describe('any plan', () => {
  const amount = fc.bigInt({ min: 0n, max: 200n * ROW_COST });
  const head = fc.record({
    authorized: amount,
    settled: amount,
    deposit: amount,
    closeAt: fc.constantFrom(0, 0, 1_000, 2_000, TOMBSTONE),
  });
  const heads = fc
    .array(head, { maxLength: 40 })
    .map((list) => list.map((fields, index) => candidate(index, fields)));
  const price = fc.bigInt({ min: 1n, max: 4n * PRICE });
  const factor = fc.bigInt({ min: 1n, max: 60n });

  it('holds no row and no batch that costs more than it credits, unless forced', () => {
    let settled = 0;
    fc.assert(
      fc.property(heads, price, factor, (list, gasPrice, gainFactor) => {
        const found = plan(list, gasPrice, { force: false, gainFactor }, MODEL);
        settled += found.rows.length;
        for (const row of found.rows) expect(gain(row)).toBeGreaterThanOrEqual(MODEL.row * gasPrice);
        expect(found.credit).toBeGreaterThanOrEqual(found.cost);
      }),
      { seed: 20_261_122, numRuns: 2_000 },
    );
    expect(settled).toBeGreaterThan(1_000);
  });

  it('holds each head once, taken or skipped, whatever the order it is given in', () => {
    fc.assert(
      fc.property(heads, price, fc.boolean(), (list, gasPrice, force) => {
        const policy = { force, gainFactor: 5n };
        const found = plan(list, gasPrice, policy, MODEL);
        const all = [...found.rows, ...found.skipped.map((skip) => skip.candidate)];
        expect(new Set(all).size).toBe(list.length);
        expect(all.length).toBe(list.length);
        expect(plan([...list].reverse(), gasPrice, policy, MODEL).rows).toEqual(found.rows);
        expect(found.credit).toBe(found.rows.reduce((sum, row) => sum + gain(row), 0n));
      }),
      { seed: 20_261_122, numRuns: 500 },
    );
  });
});
