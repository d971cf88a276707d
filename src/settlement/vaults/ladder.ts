/**
 * Which older cheques of one vault and token are kept (vaults.md 6): a vault pays a cheque in full or not at
 * all, so a short one can only pay an older cheque. Pure. Invariants: rungs rise; the newest is always there;
 * for every cheque ever received above the base there is a rung worth at least 80 % of it, until 256 are held.
 */
import { vaultRungsMax } from '../../limits.js';

export interface Rung {
  readonly cumulativePayout: bigint;
}

/** Two rungs at most 5/4 apart need none between them. */
const [STEP_UP, STEP_DOWN] = [5n, 4n];

/**
 * The rungs to keep of `rungs`, rising, in the same order. `paidOut` is what the vault has paid: rungs up to it are
 * worth nothing any more.
 */
export function thin<R extends Rung>(rungs: readonly R[], paidOut: bigint): readonly R[] {
  const kept: R[] = [];
  for (const rung of rungs) {
    if (rung.cumulativePayout <= paidOut) continue;
    const [before, last] = kept.slice(-2);
    if (before && last && covers(before, rung, paidOut)) kept.pop();
    kept.push(rung);
  }
  return kept.length > vaultRungsMax ? kept.slice(-vaultRungsMax) : kept;
}

/** The highest rung that a vault with this balance pays now, or undefined. */
export function best<R extends Rung>(rungs: readonly R[], paidOut: bigint, balance: bigint): R | undefined {
  const payable = ({ cumulativePayout: payout }: R): boolean =>
    payout > paidOut && payout - paidOut <= balance;
  return rungs.findLast(payable);
}

function covers(low: Rung, high: Rung, base: bigint): boolean {
  return (high.cumulativePayout - base) * STEP_DOWN <= (low.cumulativePayout - base) * STEP_UP;
}
