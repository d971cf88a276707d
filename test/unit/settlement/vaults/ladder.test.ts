/** The ladder: bounded, and worth at least 80 % of whatever cheque a short vault could have paid. */
import { describe, expect, it } from 'vitest';
import { vaultRungsMax } from '../../../../src/limits.js';
import { best, type Rung, thin } from '../../../../src/settlement/vaults/ladder.js';
import { chance } from '../../../support/chance.js';

const rung = (cumulativePayout: bigint): Rung => ({ cumulativePayout });

/** Receives cheques one by one, as the book does. */
function climb(payouts: readonly bigint[], paidOut: bigint): readonly Rung[] {
  let rungs: readonly Rung[] = [];
  for (const payout of payouts) rungs = thin(rungs.concat(rung(payout)), paidOut);
  return rungs;
}

describe('the ladder', () => {
  it('pays at least 80 % of the best cheque ever received that a balance covers', () => {
    let short = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const draw = chance(seed);
      const paidOut = BigInt(draw.below(1_000));
      const payouts: bigint[] = [];
      let at = paidOut + 1n + BigInt(draw.below(50));
      while (payouts.length < 400) {
        at += 1n + (BigInt(draw.below(1_000)) * (at - paidOut)) / BigInt(1_000 + draw.below(90_000));
        payouts.push(at);
      }
      const rungs = climb(payouts, paidOut);
      expect(rungs.at(-1)!.cumulativePayout).toBe(payouts.at(-1));
      for (let probe = 0; probe < 200; probe++) {
        const aim = payouts[draw.below(payouts.length)]! - paidOut;
        const balance = aim + BigInt(draw.below(3)) - 1n;
        const could = payouts.findLast((payout) => payout - paidOut <= balance);
        const does = best(rungs, paidOut, balance)?.cumulativePayout ?? paidOut;
        if (could === undefined) {
          expect(does).toBe(paidOut);
          continue;
        }
        expect(does - paidOut).toBeLessThanOrEqual(balance);
        expect((does - paidOut) * 5n).toBeGreaterThanOrEqual((could - paidOut) * 4n);
        if (does !== could) short++;
      }
    }
    expect(short).toBeGreaterThan(100);
  });

  it('keeps at most 126 rungs over a range of 2^20, and 256 over any', () => {
    const million = Array.from({ length: 200_000 }, (_, at) => 1n + BigInt(at) * 5n);
    const many = climb(million, 0n);
    expect(many.length).toBeLessThanOrEqual(126);
    expect(many.length).toBeGreaterThan(50);
    const wide = Array.from({ length: 600 }, (_, at) => 3n ** BigInt(at));
    const widest = climb(wide, 0n);
    expect(widest.length).toBe(vaultRungsMax);
    expect(widest.at(-1)!.cumulativePayout).toBe(wide.at(-1));
  });

  it('drops what is paid out and measures from there', () => {
    expect(thin([rung(100n), rung(120n), rung(124n)], 0n)).toEqual([rung(100n), rung(124n)]);
    expect(thin([rung(100n), rung(120n), rung(124n)], 99n)).toEqual([rung(100n), rung(120n), rung(124n)]);
    expect(thin([rung(100n), rung(120n)], 100n)).toEqual([rung(120n)]);
    expect(thin([rung(100n)], 100n)).toEqual([]);
  });
});
