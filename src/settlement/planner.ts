/**
 * Which heads are worth settling now: a pure decision from heads, the price of gas and a policy. Sending is the
 * sender's, splitting into transactions the backend's. Invariants: unless forced, no row is in a plan that costs
 * more than it credits, no plan costs more than it credits, and no other choice of rows that are due would credit
 * more after its cost. Amounts in base units.
 */
import { type Address, TOMBSTONE } from '../channels/channel.js';
import { settleRowsMax, tickRowsMax } from '../limits.js';
import { toHex } from '../units.js';

/** A head and what the chain says of its channel. */
export interface Candidate {
  readonly voucherKey: Address;
  readonly authorized: bigint;
  readonly settled: bigint;
  readonly deposit: bigint;
  readonly closeAt: number;
  /** Links of a hash chain that the hub follows to check the row; none where it is a plain one. */
  readonly steps?: number;
  /** The greatest amount that a transaction under way settles. */
  readonly inFlight?: bigint;
  /** The payer, where it is known: what one payer owes in several channels counts together. */
  readonly owner?: Address | undefined;
  /** Seconds for which something has been unsettled. */
  readonly ageS?: number;
}

/** Gas of a settling transaction of at most `rowsMax` rows: `batch` once, `row` for each row, `step` for each link. */
export interface GasModel {
  readonly batch: bigint;
  readonly row: bigint;
  readonly step: bigint;
  readonly rowsMax: number;
}

export interface Policy {
  /** Settles whatever raises a settled amount, at any cost. */
  readonly force: boolean;
  /** A head waits until it is worth this many times its gas, and a plan this many times its cost; at least 1. */
  readonly gainFactor: bigint;
  /** What a plan must bring beyond its cost, unless something in it is urgent. */
  readonly profitMin: bigint;
  /** Older heads are urgent, in seconds. */
  readonly ageMaxS: number | undefined;
  /** Heads of a payer that owes more than this together are urgent. */
  readonly exposureMax: bigint | undefined;
}

/** Why a row is in a plan; all but `ripe` do not wait for a better moment. */
export type Cause = 'closing' | 'aged' | 'exposed' | 'ripe' | 'forced';

export type SkipReason =
  /** The head is not above what is settled. */
  | 'nothing_new'
  /** A transaction under way settles it. */
  | 'in_flight'
  /** There is no such channel, or it is closed for ever. */
  | 'no_channel'
  | 'closed'
  /** Settling it costs more than it credits. */
  | 'below_cost'
  /** It would pay, but later it pays better. */
  | 'waiting'
  /** It would pay, but there is too little to settle together with it. */
  | 'batch_below_cost'
  /** Gas is paid in another coin, and no rate between the two is set. */
  | 'no_rate';

export interface Skipped<C> {
  readonly candidate: C;
  readonly reason: SkipReason;
}

export interface Planned<C> {
  readonly candidate: C;
  readonly cause: Cause;
  /** What the row is expected to credit. */
  readonly credit: bigint;
}

export interface Plan<C> {
  /** Those that close first, then what gains most after its gas. */
  readonly rows: readonly Planned<C>[];
  /** What the payee is expected to be credited. */
  readonly credit: bigint;
  readonly transactions: number;
  readonly gas: bigint;
  /** Undefined where gas has no price in base units. */
  readonly cost: bigint | undefined;
  readonly skipped: readonly Skipped<C>[];
}

/**
 * What the hub uses with cold channels, rounded up: the row with its 76 bytes of calldata, and once per
 * transaction 21,000, the call, the payee's credit and the event. A test holds it against the real thing.
 */
export const hubGas: GasModel = { batch: 60_000n, row: 10_400n, step: 0n, rowsMax: settleRowsMax };

/** As `hubGas`: the row with its 124 bytes of calldata and up to seven links on their own, and one of eight links. */
export const hubTickGas: GasModel = { batch: 60_000n, row: 11_500n, step: 197n, rowsMax: tickRowsMax };

/** Waits until gas is at most 2 % of what is settled, but no longer than a week. */
export const defaultPolicy: Policy = {
  force: false,
  gainFactor: 50n,
  profitMin: 0n,
  ageMaxS: 7 * 86_400,
  exposureMax: undefined,
};

/** What settling the head would credit now: it is clamped to the deposit. Never negative. */
export function gain(candidate: Pick<Candidate, 'authorized' | 'settled' | 'deposit' | 'inFlight'>): bigint {
  const { authorized, settled, deposit, inFlight = 0n } = candidate;
  const counted = inFlight > settled ? inFlight : settled;
  const covered = authorized < deposit ? authorized : deposit;
  return covered > counted ? covered - counted : 0n;
}

/** Gas of settling `count` plain rows, in as many transactions as that takes. */
export function gasOf(count: number, model: GasModel = hubGas): bigint {
  return batchGas(count, model) + BigInt(count) * model.row;
}

/** Gas of one row, without its part of a transaction. */
export function rowGasOf({ steps = 0 }: Pick<Candidate, 'steps'>, model: GasModel): bigint {
  return model.row + BigInt(steps) * model.step;
}

/** Gas of settling tick rows with these counts, a count for each row, in one transaction. */
export function tickGasOf(counts: readonly number[], model: GasModel = hubTickGas): bigint {
  return counts.reduce((sum, steps) => sum + rowGasOf({ steps }, model), model.batch);
}

/**
 * Plans a settlement. `gasPrice` in base units per unit of gas, undefined where gas is paid in another coin at no
 * known rate: then only what is forced is planned. `owing` is what counts for the exposure to a payer, where that is more
 * than the candidates. Costs O(n log n) for n candidates.
 */
export function plan<C extends Candidate>(
  candidates: readonly C[],
  gasPrice: bigint | undefined,
  policy: Policy = defaultPolicy,
  model: GasModel = hubGas,
  owing: readonly Candidate[] = candidates,
): Plan<C> {
  const costOf = (candidate: Candidate): bigint => rowGasOf(candidate, model) * (gasPrice ?? 0n);
  const exposed = exposedPayers(owing, policy.exposureMax);
  const skipped: Skipped<C>[] = [];
  const due: Planned<C>[] = [];
  for (const candidate of candidates) {
    const credit = gain(candidate);
    const judged = judge(candidate, credit, costOf(candidate), policy, exposed);
    if ('cause' in judged) due.push({ candidate, credit, cause: judged.cause });
    else if (policy.force || gasPrice !== undefined || credit === 0n)
      skipped.push({ candidate, reason: judged.reason });
    else skipped.push({ candidate, reason: 'no_rate' });
  }
  due.sort(byNet(costOf));
  const { force } = policy;
  if (!force && gasPrice === undefined) return nothing(due, 'no_rate', skipped);
  const count = force ? due.length : bestCount(due, gasPrice ?? 0n, model);
  const rows = closingFirst(due, count);
  const credit = total(rows);
  const gas = rows.reduce((sum, row) => sum + rowGasOf(row.candidate, model), batchGas(rows.length, model));
  const cost = gasPrice === undefined ? undefined : gas * gasPrice;
  if (!force && cost !== undefined) {
    if (credit <= cost) return nothing(due, 'batch_below_cost', skipped);
    const urgent = rows.some(({ cause }) => cause !== 'ripe');
    const early = credit < cost * policy.gainFactor || credit - cost < policy.profitMin;
    if (!urgent && early) return nothing(due, 'waiting', skipped);
  }
  const taken = new Set(rows);
  const rest = due.filter((row) => !taken.has(row));
  const left = rest.map(({ candidate }) => ({ candidate, reason: 'batch_below_cost' }) as const);
  const transactions = batchesOf(rows.length, model);
  return { rows, credit, transactions, gas, cost, skipped: [...skipped, ...left] };
}

function judge(
  candidate: Candidate,
  credit: bigint,
  rowCost: bigint,
  policy: Policy,
  exposed: ReadonlySet<string>,
): { readonly cause: Cause } | { readonly reason: SkipReason } {
  if (candidate.deposit === 0n) return { reason: 'no_channel' };
  if (candidate.closeAt === TOMBSTONE) return { reason: 'closed' };
  if (credit === 0n) {
    const underWay = gain({ ...candidate, inFlight: 0n }) > 0n;
    return { reason: underWay ? 'in_flight' : 'nothing_new' };
  }
  if (policy.force) return { cause: 'forced' };
  if (credit <= rowCost) return { reason: 'below_cost' };
  if (candidate.closeAt !== 0) return { cause: 'closing' };
  if (policy.ageMaxS !== undefined && (candidate.ageS ?? 0) >= policy.ageMaxS) return { cause: 'aged' };
  if (candidate.owner && exposed.has(toHex(candidate.owner))) return { cause: 'exposed' };
  return credit < rowCost * policy.gainFactor ? { reason: 'waiting' } : { cause: 'ripe' };
}

/** Payers that owe more than `exposureMax` in all their channels together. */
function exposedPayers(candidates: readonly Candidate[], exposureMax: bigint | undefined): Set<string> {
  const owed = new Map<string, bigint>();
  if (exposureMax === undefined) return new Set();
  for (const candidate of candidates) {
    if (!candidate.owner || candidate.closeAt === TOMBSTONE) continue;
    const payer = toHex(candidate.owner);
    owed.set(payer, (owed.get(payer) ?? 0n) + gain(candidate));
  }
  return new Set([...owed].filter(([, sum]) => sum > exposureMax).map(([payer]) => payer));
}

/**
 * How many of the rows, greatest first, credit most after their cost. Every row is worth its own gas, so only a
 * last transaction that is not full can be worth less than it costs: whole transactions and all rows are tried.
 */
function bestCount(rows: readonly Planned<Candidate>[], gasPrice: bigint, model: GasModel): number {
  let [best, bestNet, net] = [0, 0n, 0n];
  for (const [index, { credit, candidate }] of rows.entries()) {
    net += credit - rowGasOf(candidate, model) * gasPrice;
    const count = index + 1;
    if (count % model.rowsMax !== 0 && count !== rows.length) continue;
    const afterBatches = net - batchGas(count, model) * gasPrice;
    if (afterBatches > bestNet) [best, bestNet] = [count, afterBatches];
  }
  return best;
}

/** Fills `count` places: what can wait makes room for what is lost otherwise. */
function closingFirst<C extends Candidate>(rows: readonly Planned<C>[], count: number): Planned<C>[] {
  const closing = rows.filter(({ candidate }) => candidate.closeAt !== 0);
  const others = rows.filter(({ candidate }) => candidate.closeAt === 0);
  return [...closing, ...others].slice(0, count);
}

function nothing<C>(due: readonly Planned<C>[], reason: SkipReason, skipped: readonly Skipped<C>[]): Plan<C> {
  const rest = due.map(({ candidate }) => ({ candidate, reason }));
  return { rows: [], credit: 0n, transactions: 0, gas: 0n, cost: 0n, skipped: [...skipped, ...rest] };
}

function batchesOf(count: number, { rowsMax }: GasModel): number {
  return Math.ceil(count / rowsMax);
}

function batchGas(count: number, model: GasModel): bigint {
  return BigInt(batchesOf(count, model)) * model.batch;
}

function total(rows: readonly Planned<unknown>[]): bigint {
  return rows.reduce((sum, { credit }) => sum + credit, 0n);
}

/** What credits most after its own gas first; a total order, so that the same heads always give the same plan. */
function byNet(costOf: (candidate: Candidate) => bigint) {
  return (a: Planned<Candidate>, b: Planned<Candidate>): number => {
    const [one, other] = [a.credit - costOf(a.candidate), b.credit - costOf(b.candidate)];
    if (one !== other) return one > other ? -1 : 1;
    return Buffer.compare(a.candidate.voucherKey, b.candidate.voucherKey);
  };
}
