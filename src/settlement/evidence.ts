/**
 * What of a channel to show to the hub (ticks.md 4): the plain row; or, where a chain is newer, its tick row, or the
 * same voucher at its root where following the ticks costs more gas than they are worth. Pure. Amounts in base units.
 */
import * as Tick from '../channels/tick.js';
import { amountOf } from '../channels/voucher.js';
import * as Planner from './planner.js';

export interface Evidence {
  readonly verb: 'settle' | 'settleTicks';
  readonly row: Uint8Array;
  readonly claim: bigint;
  /** Links that the hub follows. */
  readonly steps: number;
}

/** A channel as the ledger and the chain know it. */
export interface Shown {
  /** The plain head. */
  readonly row: Uint8Array;
  readonly tickRow: Uint8Array | undefined;
  readonly settled: bigint;
  readonly deposit: bigint;
  /** The greatest amount that a transaction under way settles. */
  readonly inFlight: bigint;
}

/**
 * The evidence that gains most after its gas; without a price for gas, the one that claims most. Where none gains
 * anything it is the one that claims most, for that is what has to be told of.
 */
export function best(channel: Shown, gasPrice: bigint | undefined): Evidence {
  const { row, tickRow } = channel;
  const plain: Evidence = { verb: 'settle', row, claim: amountOf(row), steps: 0 };
  if (!tickRow) return plain;
  const whole = ticks(tickRow, Tick.claimOf(tickRow), Tick.countOf(tickRow));
  const net = ({ verb, claim, steps }: Evidence): bigint => {
    const gain = Planner.gain({ ...channel, authorized: claim });
    const model = verb === 'settle' ? Planner.hubGas : Planner.hubTickGas;
    return gain === 0n ? 0n : gain - Planner.rowGasOf({ steps }, model) * (gasPrice ?? 0n);
  };
  // The root is made only where it is the better one: that costs a hash for each tick.
  const root = ticks(tickRow, Tick.amountOf(tickRow), 0);
  const found = [plain, root].reduce((one, other) => (net(other) > net(one) ? other : one), whole);
  if (net(found) <= 0n) return whole;
  return found === root ? { ...root, row: Tick.atRoot(tickRow) } : found;
}

function ticks(row: Uint8Array, claim: bigint, steps: number): Evidence {
  return { verb: 'settleTicks', row, claim, steps };
}
