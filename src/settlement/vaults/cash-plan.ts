/**
 * Which cheques are worth cashing now (vaults.md 7): a pure decision from ladders, balances, gas price and policy.
 * Invariant: unless forced, no cheque that is priced in the gas coin is cashed for less than its gas.
 */
import { best, type Rung } from './ladder.js';

/** One vault and token that may owe us. Amounts in base units of the token. */
export interface Candidate<R extends Rung = Rung> {
  /** Rising. */
  readonly rungs: readonly R[];
  readonly paidOut: bigint;
  readonly balance: bigint;
  /** The issuer's limit of the token. */
  readonly limit: bigint;
  /** What the issuer owes of the token in all its vaults. */
  readonly owed: bigint;
  /** Its issuer is frozen. */
  readonly alarm: boolean;
  /** One base unit is worth one base unit of gas. */
  readonly priced: boolean;
}

export interface CashPolicy {
  /** Cashes whatever is payable, at any cost. */
  readonly force: boolean;
  /** Without alarm or half-used limit, a cheque waits until it is worth this many times its gas. */
  readonly gainFactor: bigint;
}

export type CashSkip =
  /** No cheque is above what is paid out. */
  | 'nothing_new'
  /** The vault cannot pay even the lowest rung. */
  | 'vault_short'
  | 'below_cost'
  /** It would pay, but later it pays better. */
  | 'waiting'
  /** Nothing says what the token is worth in gas; cashed when half of the limit is used, or forced. */
  | 'no_price';

export interface Cashing<C, R> {
  readonly candidate: C;
  readonly rung: R;
  readonly value: bigint;
  /** Expected, in base units of the gas coin. */
  readonly cost: bigint;
}

export interface CashPlan<C, R> {
  /** Alarms first, then the greatest value. */
  readonly cashings: readonly Cashing<C, R>[];
  readonly skipped: ReadonlyArray<{ readonly candidate: C; readonly reason: CashSkip }>;
}

export const defaultCashPolicy: CashPolicy = { force: false, gainFactor: 50n };

/** Gas of the first cash-out of a beneficiary and of later ones, as measured on a Berlin chain and rounded up. */
const GAS_FIRST = 127_000n;
const GAS_LATER = 76_000n;

/** `gasPrice` in base units per unit of gas. */
export function planCash<R extends Rung, C extends Candidate<R>>(
  candidates: readonly C[],
  gasPrice: bigint,
  policy: CashPolicy = defaultCashPolicy,
): CashPlan<C, R> {
  const cashings: Cashing<C, R>[] = [];
  const skipped: Array<{ candidate: C; reason: CashSkip }> = [];
  for (const candidate of candidates) {
    const found = decide<R, C>(candidate, gasPrice, policy);
    if (typeof found === 'string') skipped.push({ candidate, reason: found });
    else cashings.push(found);
  }
  return { cashings: cashings.sort(byUrgency), skipped };
}

function decide<R extends Rung, C extends Candidate<R>>(
  candidate: C,
  gasPrice: bigint,
  policy: CashPolicy,
): Cashing<C, R> | CashSkip {
  const { rungs, paidOut, balance, limit, owed, alarm, priced } = candidate;
  if (rungs.every((rung) => rung.cumulativePayout <= paidOut)) return 'nothing_new';
  const rung = best(rungs, paidOut, balance);
  if (!rung) return 'vault_short';
  const value = rung.cumulativePayout - paidOut;
  const cost = (paidOut === 0n ? GAS_FIRST : GAS_LATER) * gasPrice;
  const cashing = { candidate, rung, value, cost };
  if (policy.force) return cashing;
  const pressing = alarm || owed * 2n >= limit;
  if (!priced) return pressing ? cashing : 'no_price';
  if (value < cost) return 'below_cost';
  return pressing || value >= cost * policy.gainFactor ? cashing : 'waiting';
}

function byUrgency<C extends Candidate>(a: Cashing<C, Rung>, b: Cashing<C, Rung>): number {
  if (a.candidate.alarm !== b.candidate.alarm) return a.candidate.alarm ? -1 : 1;
  if (a.value === b.value) return 0;
  return a.value > b.value ? -1 : 1;
}
