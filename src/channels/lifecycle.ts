/**
 * What a channel's chain state means and what it asks for: pure decisions from facts and time.
 */
import { type ChannelFacts, TOMBSTONE } from './channel.js';

export type Phase = 'none' | 'open' | 'closing' | 'withdrawable' | 'closed';

/** `now` in unix seconds by the chain's clock. */
export function phase(facts: Pick<ChannelFacts, 'deposit' | 'closeAt'>, now: bigint): Phase {
  if (facts.deposit === 0n) return 'none';
  if (facts.closeAt === 0) return 'open';
  if (facts.closeAt === TOMBSTONE) return 'closed';
  return BigInt(facts.closeAt) <= now ? 'withdrawable' : 'closing';
}

/**
 * The unix second by which a payee that sees a close request should have settled: a quarter of the
 * challenge period after the request.
 */
export function settleBy(closeAt: number, challengePeriod: number): number {
  return closeAt - challengePeriod + Math.floor(challengePeriod / 4);
}
