import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TOMBSTONE } from '../../../src/channels/channel.js';
import {
  type Candidate,
  defaultPolicy,
  type GasModel,
  gain,
  gasOf,
  type Plan,
  plan,
} from '../../../src/settlement/planner.js';

const PRICE = 300_000_000_000_000n;
const MODEL: GasModel = { batch: 60_000n, row: 10_000n, step: 0n, rowsMax: 1_000 };
const ROW_COST = MODEL.row * PRICE;
const BATCH_COST = MODEL.batch * PRICE;

function candidate(index: number, fields: Partial<Candidate> = {}): Candidate {
  const voucherKey = new Uint8Array(20).fill(index + 1);
  return { voucherKey, authorized: 0n, settled: 0n, deposit: 10n ** 24n, closeAt: 0, ...fields };
}

const reasons = (found: Plan<Candidate>): string[] => found.skipped.map(({ reason }) => reason);
const heads = (found: Plan<Candidate>): Candidate[] => found.rows.map((row) => row.candidate);
const causes = (found: Plan<Candidate>): string[] => found.rows.map(({ cause }) => cause);

describe('what a head is worth', () => {
  it('is what it raises the settled amount by, clamped to the deposit', () => {
    expect(gain({ authorized: 70n, settled: 20n, deposit: 100n })).toBe(50n);
    expect(gain({ authorized: 170n, settled: 20n, deposit: 100n })).toBe(80n);
    expect(gain({ authorized: 10n, settled: 20n, deposit: 100n })).toBe(0n);
  });
});

describe('a plan', () => {
  it('counts what a payer owes beside the candidates for the exposure to it', () => {
    const owner = new Uint8Array(20).fill(9);
    const [plain, ticked] = [1, 2].map((at) => candidate(at, { authorized: 40n * ROW_COST, owner }));
    const policy = { ...defaultPolicy, exposureMax: 60n * ROW_COST };
    expect(causes(plan([plain!], PRICE, policy, MODEL))).toEqual([]);
    for (const one of [plain!, ticked!])
      expect(causes(plan([one], PRICE, policy, MODEL, [plain!, ticked!]))).toEqual(['exposed']);
  });

  it('takes heads that are worth many times their gas and says what they cost', () => {
    const rich = candidate(0, { authorized: 1_000n * ROW_COST });
    const found = plan([rich], PRICE, defaultPolicy, MODEL);
    expect(found).toEqual({
      rows: [{ candidate: rich, cause: 'ripe', credit: 1_000n * ROW_COST }],
      credit: 1_000n * ROW_COST,
      transactions: 1,
      gas: 70_000n,
      cost: 70_000n * PRICE,
      skipped: [],
    });
  });

  it('names why each other head is left', () => {
    const given = [
      candidate(0, { authorized: 5n, settled: 5n }),
      candidate(1, { authorized: 5n, deposit: 0n }),
      candidate(2, { authorized: 1_000n * ROW_COST, closeAt: TOMBSTONE }),
      candidate(3, { authorized: ROW_COST - 1n }),
      candidate(4, { authorized: 50n * ROW_COST - 1n }),
      candidate(5, { authorized: 1_000n * ROW_COST, inFlight: 1_000n * ROW_COST }),
    ];
    const found = plan(given, PRICE, defaultPolicy, MODEL);
    expect(found.rows).toEqual([]);
    const wanted = ['nothing_new', 'no_channel', 'closed', 'below_cost', 'waiting', 'in_flight'];
    expect(reasons(found)).toEqual(wanted);
  });

  it('settles a closing channel as soon as it pays', () => {
    const great = candidate(0, { authorized: 20n * ROW_COST, closeAt: 2_000 });
    const small = candidate(1, { authorized: 9n * ROW_COST, closeAt: 1_000 });
    const open = candidate(2, { authorized: 20n * ROW_COST });
    const found = plan([small, open, great], PRICE, defaultPolicy, MODEL);
    expect(heads(found)).toEqual([great, small]);
    expect(causes(found)).toEqual(['closing', 'closing']);
    expect(found.skipped).toEqual([{ candidate: open, reason: 'waiting' }]);
  });

  it('does not chase the dust of a closing channel', () => {
    const rich = candidate(0, { authorized: 1_000n * ROW_COST });
    const dust = candidate(1, { authorized: ROW_COST, closeAt: 1_000 });
    const found = plan([rich, dust], PRICE, defaultPolicy, MODEL);
    expect(heads(found)).toEqual([rich]);
    expect(reasons(found)).toEqual(['below_cost']);
  });

  it('settles what is old, and all of a payer that owes too much, though it would rather wait', () => {
    const policy = { ...defaultPolicy, ageMaxS: 100, exposureMax: 60n * ROW_COST };
    const owner = new Uint8Array(20).fill(9);
    const fields = { authorized: 40n * ROW_COST };
    const given = [
      candidate(0, { ...fields, ageS: 100 }),
      candidate(1, { ...fields, ageS: 99 }),
      candidate(2, { ...fields, owner }),
      candidate(3, { ...fields, owner }),
      candidate(4, { ...fields, owner: new Uint8Array(20).fill(8) }),
    ];
    const found = plan(given, PRICE, policy, MODEL);
    expect(causes(found)).toEqual(['aged', 'exposed', 'exposed']);
    expect(heads(found)).toEqual([given[0], given[2], given[3]]);
    expect(reasons(found)).toEqual(['waiting', 'waiting']);
    expect(
      reasons(plan([candidate(0, { authorized: ROW_COST, ageS: 10 ** 9 })], PRICE, policy, MODEL)),
    ).toEqual(['below_cost']);
  });

  it('waits for the profit that is asked for, unless something is urgent', () => {
    const cost = gasOf(1, MODEL) * PRICE;
    const policy = { ...defaultPolicy, gainFactor: 1n, profitMin: 100n };
    const at = (profit: bigint, closeAt: number) =>
      plan([candidate(0, { authorized: cost + profit, closeAt })], PRICE, policy, MODEL);
    expect(reasons(at(99n, 0))).toEqual(['waiting']);
    expect(reasons(at(99n, 1_000))).toEqual([]);
    expect(reasons(at(100n, 0))).toEqual([]);
  });

  it('settles nothing by itself where gas has no price in what is settled', () => {
    const rich = candidate(0, { authorized: 10n ** 24n });
    const found = plan([rich, candidate(1)], undefined, defaultPolicy, MODEL);
    expect(reasons(found)).toEqual(['nothing_new', 'no_rate']);
    const forced = plan([rich], undefined, { ...defaultPolicy, force: true }, MODEL);
    expect(heads(forced)).toEqual([rich]);
    expect(forced.cost).toBeUndefined();
  });

  it('keeps places for what is closing when a last transaction is not worth its gas', () => {
    const model = { ...MODEL, rowsMax: 2 };
    const open = [0, 1].map((index) => candidate(index, { authorized: 100n * ROW_COST }));
    const closing = candidate(2, { authorized: 3n * ROW_COST, closeAt: 1_000 });
    const found = plan([...open, closing], PRICE, { ...defaultPolicy, gainFactor: 1n }, model);
    expect(heads(found)).toEqual([closing, open[0]]);
    expect(reasons(found)).toEqual(['batch_below_cost']);
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
    const found = plan([dust, candidate(1)], PRICE, { ...defaultPolicy, force: true }, MODEL);
    expect(heads(found)).toEqual([dust]);
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
  const lists = fc
    .array(head, { maxLength: 40 })
    .map((list) => list.map((fields, index) => candidate(index, fields)));
  const price = fc.bigInt({ min: 1n, max: 4n * PRICE });
  const factor = fc.bigInt({ min: 1n, max: 60n });

  it('holds no row and no batch that costs more than it credits, unless forced', () => {
    let settled = 0;
    fc.assert(
      fc.property(lists, price, factor, (list, gasPrice, gainFactor) => {
        const found = plan(list, gasPrice, { ...defaultPolicy, gainFactor }, MODEL);
        settled += found.rows.length;
        for (const row of heads(found)) expect(gain(row)).toBeGreaterThan(MODEL.row * gasPrice);
        expect(found.credit).toBeGreaterThanOrEqual(found.cost ?? 0n);
      }),
      { seed: 20_261_122, numRuns: 2_000 },
    );
    expect(settled).toBeGreaterThan(1_000);
  });

  it('holds each head once, taken or skipped, whatever the order it is given in', () => {
    fc.assert(
      fc.property(lists, price, fc.boolean(), (list, gasPrice, force) => {
        const policy = { ...defaultPolicy, force, gainFactor: 5n };
        const found = plan(list, gasPrice, policy, MODEL);
        const all = [...heads(found), ...found.skipped.map((skip) => skip.candidate)];
        expect(new Set(all).size).toBe(list.length);
        expect(all.length).toBe(list.length);
        expect(plan([...list].reverse(), gasPrice, policy, MODEL).rows).toEqual(found.rows);
        expect(found.credit).toBe(heads(found).reduce((sum, row) => sum + gain(row), 0n));
      }),
      { seed: 20_261_122, numRuns: 500 },
    );
  });

  it('is no dearer and credits no less than the best of all choices', () => {
    const small = fc
      .array(
        fc.record({
          authorized: fc.bigInt({ min: 0n, max: 12n * ROW_COST }),
          deposit: amount,
          steps: fc.constantFrom(0, 0, 1, 8),
        }),
        { maxLength: 9 },
      )
      .map((list) => list.map((fields, index) => candidate(index, fields)));
    const rowsMax = fc.integer({ min: 1, max: 4 });
    let [taken, left] = [0, 0];
    fc.assert(
      fc.property(small, fc.bigInt({ min: 0n, max: 12n }), rowsMax, (list, batches, most) => {
        const step = MODEL.row / 4n;
        const model = { batch: batches * MODEL.row, row: MODEL.row, step, rowsMax: most };
        const found = plan(list, PRICE, { ...defaultPolicy, gainFactor: 1n }, model);
        let best = { net: 0n, cost: 0n };
        for (let choice = 0; choice < 1 << list.length; choice++) {
          const chosen = list.filter((_, index) => (choice >> index) & 1);
          const links = chosen.reduce((sum, { steps }) => sum + BigInt(steps ?? 0), 0n);
          const cost = (gasOf(chosen.length, model) + links * step) * PRICE;
          const net = chosen.reduce((sum, row) => sum + gain(row), -cost);
          if (net > best.net || (net === best.net && cost < best.cost)) best = { net, cost };
        }
        expect(found.credit - (found.cost ?? 0n)).toBe(best.net);
        expect(found.cost).toBeLessThanOrEqual(best.cost);
        taken += found.rows.length;
        left += found.skipped.filter(({ reason }) => reason === 'batch_below_cost').length;
      }),
      { seed: 20_261_122, numRuns: 2_000 },
    );
    expect(Math.min(taken, left)).toBeGreaterThan(200);
  });
});
