/**
 * How much of a channel's deposit counts, and from when: a pure function of the channel's facts at several
 * depths of one branch (settlement.md 2). What raises value counts once it is deep enough for its tier; what
 * lowers it counts from the newest block. The close is the newest block's: a close that is taken back leaves
 * the deposit where it was, so believing it at once risks nothing. Invariants: nothing counts at depth 0; the
 * deposit that counts never exceeds the newest block's nor any on the way down.
 */
import type { ChannelFacts } from '../channels/channel.js';

/** From this depth on, deposits count up to an amount. */
export interface Tier {
  /** Blocks, the one that holds the deposit included. At least 1. */
  readonly confirmations: number;
  /** Base units per channel; undefined for all of it. */
  readonly depositMax: bigint | undefined;
}

/** What counts of a channel as of a head: `block` is the head's number. */
export interface Counted extends ChannelFacts {
  /** The part of the deposit that is not deep enough for the last tier: what a reorganisation could take. */
  readonly early: bigint;
}

/**
 * The tiers, shallowest first: up to `amount` from `early` confirmations on, where that is sooner than `full`,
 * and everything from `full` on.
 */
export function tiersOf(full: number, early: number, amount: bigint): readonly Tier[] {
  const last = { confirmations: full, depositMax: undefined };
  return amount > 0n && early < full ? [{ confirmations: early, depositMax: amount }, last] : [last];
}

/**
 * `newest` are the facts at the head; `deep` those at each tier's depth, in the tiers' order, undefined where
 * the chain is not that long.
 */
export function counted(
  tiers: readonly Tier[],
  newest: ChannelFacts,
  deep: readonly (ChannelFacts | undefined)[],
): Counted {
  let reach = newest.deposit;
  let deposit = 0n;
  let full = 0n;
  let settled = newest.settled;
  for (const [index, { depositMax }] of tiers.entries()) {
    const facts = deep[index];
    reach = least(reach, facts?.deposit ?? 0n);
    settled = least(settled, facts?.settled ?? 0n);
    full = least(reach, depositMax ?? reach);
    if (full > deposit) deposit = full;
  }
  return { ...newest, deposit, settled, early: deposit - full };
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
