/**
 * Which heads are worth settling now: a pure decision from heads, gas price and policy. Sending is the
 * sender's, splitting into transactions the backend's. Invariant: unless forced, no row is in a plan that
 * costs more than it credits, and no plan costs more than it credits. Amounts in base units.
 */
import { type Address, TOMBSTONE } from '../channels/channel.js';
import * as limits from '../limits.js';

/** A head and what the chain says of its channel. */
export interface Candidate {
  readonly voucherKey: Address;
  readonly authorized: bigint;
  readonly settled: bigint;
  readonly deposit: bigint;
  readonly closeAt: number;
  readonly row: Uint8Array;
}

/** Gas of a settling transaction: `batch` once and `row` for each row. */
export interface GasModel {
  readonly batch: bigint;
  readonly row: bigint;
}

export interface Policy {
  /** Settles whatever raises a settled amount, at any cost. */
  readonly force: boolean;
  /** A channel that is not closing waits until its head is worth this many times its gas; at least 1. */
  readonly gainFactor: bigint;
}

export type SkipReason =
  /** The head is not above what is settled. */
  | 'nothing_new'
  /** There is no such channel, or it is closed for ever. */
  | 'no_channel'
  | 'closed'
  /** Settling it costs more than it credits. */
  | 'below_cost'
  /** It would pay, but later it pays better. */
  | 'waiting'
  /** It would pay, but there is too little to settle together with it. */
  | 'batch_below_cost';

export interface Skipped<C> {
  readonly candidate: C;
  readonly reason: SkipReason;
}

export interface Plan<C> {
  /** Most urgent first, then greatest gain first. */
  readonly rows: readonly C[];
  /** What the payee is expected to be credited. */
  readonly credit: bigint;
  readonly gas: bigint;
  readonly cost: bigint;
  readonly skipped: readonly Skipped<C>[];
}

/**
 * What the hub uses with cold channels, rounded up: the row with its 76 bytes of calldata, and once per
 * transaction 21,000, the call, the payee's credit and the event. A test holds it against the real thing.
 */
export const hubGas: GasModel = { batch: 60_000n, row: 10_400n };

/** Waits until gas is at most 2 % of what is settled. */
export const defaultPolicy: Policy = { force: false, gainFactor: 50n };

/** What settling the head would credit now: it is clamped to the deposit. Never negative. */
export function gain(candidate: Pick<Candidate, 'authorized' | 'settled' | 'deposit'>): bigint {
  const { authorized, settled, deposit } = candidate;
  if (deposit <= settled || authorized <= settled) return 0n;
  if (authorized > deposit) return deposit - settled;
  return authorized - settled;
}

/** Gas of settling `count` rows, in as many transactions as that takes. */
export function gasOf(count: number, model: GasModel = hubGas): bigint {
  const batches = Math.ceil(count / limits.settleRowsMax);
  return BigInt(batches) * model.batch + BigInt(count) * model.row;
}

/** `gasPrice` in base units per unit of gas. */
export function plan<C extends Candidate>(
  candidates: readonly C[],
  gasPrice: bigint,
  policy: Policy = defaultPolicy,
  model: GasModel = hubGas,
): Plan<C> {
  const rowCost = model.row * gasPrice;
  const skipped: Skipped<C>[] = [];
  const taken: C[] = [];
  for (const candidate of candidates) {
    const reason = reasonToSkip(candidate, rowCost, policy);
    if (reason === undefined) taken.push(candidate);
    else skipped.push({ candidate, reason });
  }
  const rows = taken.sort(byUrgency);
  const credit = rows.reduce((sum, row) => sum + gain(row), 0n);
  const gas = gasOf(rows.length, model);
  const cost = gas * gasPrice;
  const factor = rows.some((row) => row.closeAt !== 0) ? 1n : policy.gainFactor;
  if (policy.force || credit >= cost * factor) return { rows, credit, gas, cost, skipped };
  const reason = credit >= cost ? 'waiting' : 'batch_below_cost';
  const rest = rows.map((candidate) => ({ candidate, reason }) as const);
  return { rows: [], credit: 0n, gas: 0n, cost: 0n, skipped: [...skipped, ...rest] };
}

function reasonToSkip(candidate: Candidate, rowCost: bigint, policy: Policy): SkipReason | undefined {
  if (candidate.deposit === 0n) return 'no_channel';
  if (candidate.closeAt === TOMBSTONE) return 'closed';
  const credited = gain(candidate);
  if (credited === 0n) return 'nothing_new';
  if (policy.force) return undefined;
  if (credited < rowCost) return 'below_cost';
  if (candidate.closeAt === 0 && credited < rowCost * policy.gainFactor) return 'waiting';
  return undefined;
}

/** A total order, so that the same heads always give the same plan. */
function byUrgency(a: Candidate, b: Candidate): number {
  const [dueA, dueB] = [a.closeAt === 0 ? TOMBSTONE : a.closeAt, b.closeAt === 0 ? TOMBSTONE : b.closeAt];
  if (dueA !== dueB) return dueA - dueB;
  const [gainA, gainB] = [gain(a), gain(b)];
  if (gainA !== gainB) return gainA > gainB ? -1 : 1;
  return Buffer.compare(a.voucherKey, b.voucherKey);
}
