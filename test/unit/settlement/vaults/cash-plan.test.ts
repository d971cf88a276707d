/** What is cashed and when: every rule of vaults.md 7, at its edge. */
import { describe, expect, it } from 'vitest';
import { type Candidate, planCash } from '../../../../src/settlement/vaults/cash-plan.js';

const GAS = 76_000n;
const PRICE = 10n;
const COST = GAS * PRICE;
const rungs = (...payouts: bigint[]) => payouts.map((cumulativePayout) => ({ cumulativePayout }));

const candidate = (some: Partial<Candidate> = {}): Candidate => ({
  rungs: rungs(1n + COST * 50n),
  paidOut: 1n,
  balance: COST * 1_000n,
  limit: COST * 1_000n,
  owed: COST * 50n,
  alarm: false,
  priced: true,
  ...some,
});

function outcome(some: Partial<Candidate>, force = false): string | bigint {
  const plan = planCash([candidate(some)], PRICE, { force, gainFactor: 50n });
  return plan.skipped[0]?.reason ?? plan.cashings[0]!.value;
}

describe('the plan of cash-outs', () => {
  it('waits until a cheque is worth fifty times its gas', () => {
    expect(outcome({})).toBe(COST * 50n);
    expect(outcome({ rungs: rungs(COST * 50n) })).toBe('waiting');
  });

  it('counts the first cash-out of a beneficiary at its higher price', () => {
    expect(outcome({ paidOut: 0n })).toBe('waiting');
    expect(outcome({ paidOut: 0n, rungs: rungs(127_000n * PRICE * 50n) })).toBe(127_000n * PRICE * 50n);
  });

  it('does not wait once half of the limit is used, or with an alarm, but is never worth less than its gas', () => {
    const small = { rungs: rungs(1n + COST), owed: COST };
    expect(outcome({ ...small, limit: COST * 2n + 1n })).toBe('waiting');
    expect(outcome({ ...small, limit: COST * 2n })).toBe(COST);
    expect(outcome({ ...small, alarm: true })).toBe(COST);
    expect(outcome({ ...small, alarm: true, rungs: rungs(COST) })).toBe('below_cost');
    expect(outcome({ ...small, rungs: rungs(COST) }, true)).toBe(COST - 1n);
  });

  it('takes the best rung that the balance covers, down to the unit', () => {
    const some = { rungs: rungs(100n, 200n, 300n), paidOut: 50n, alarm: true, priced: false };
    expect(outcome({ ...some, balance: 250n })).toBe(250n);
    expect(outcome({ ...some, balance: 249n })).toBe(150n);
    expect(outcome({ ...some, balance: 50n })).toBe(50n);
    expect(outcome({ ...some, balance: 49n })).toBe('vault_short');
    expect(outcome({ ...some, balance: 0n }, true)).toBe('vault_short');
    expect(outcome({ ...some, paidOut: 300n }, true)).toBe('nothing_new');
  });

  it('knows no gain in a token that has no price in gas', () => {
    expect(outcome({ priced: false })).toBe('no_price');
    expect(outcome({ priced: false }, true)).toBe(COST * 50n);
    expect(outcome({ priced: false, owed: COST * 500n })).toBe(COST * 50n);
  });

  it('goes to alarms first, then to the greatest value', () => {
    const all = [
      candidate({ rungs: rungs(1n + COST * 60n) }),
      candidate({ rungs: rungs(1n + COST * 70n) }),
      candidate({ rungs: rungs(1n + COST * 2n), alarm: true }),
    ];
    const { cashings } = planCash(all, PRICE);
    expect(cashings.map(({ value }) => value / COST)).toEqual([2n, 70n, 60n]);
  });
});
