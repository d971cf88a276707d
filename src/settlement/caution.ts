/**
 * What is believed of a channel when nodes do not agree on it, or too few were heard: of every fact what
 * raises no credit and gives up no claim. A lower deposit and a close are believed from anyone; a deposit, a
 * settlement, an end for ever or the absence of a close from nobody alone. Pure.
 */
import { type ChannelFacts, TOMBSTONE } from '../channels/channel.js';
import type { Head } from './answers.js';

/** What was agreed on before. */
export type Known = Pick<ChannelFacts, 'deposit' | 'settled' | 'closeAt'>;

const nothing: Known = { deposit: 0n, settled: 0n, closeAt: 0 };

/**
 * `said` holds at least one answer, `known` what was agreed before; a channel that was not known has no
 * deposit yet. One that somebody calls closed for ever and others do not is shown as a close that is due at
 * `at`: it gets no more credit, and what it owes is claimed.
 */
export function cautious(said: readonly ChannelFacts[], known: Known | undefined, at: Head): ChannelFacts {
  const all = [known ?? nothing, ...said];
  return {
    ...said[0]!,
    deposit: least(all.map(({ deposit }) => deposit)),
    settled: least(all.map(({ settled }) => settled)),
    closeAt:
      known?.closeAt === TOMBSTONE
        ? TOMBSTONE
        : closing(
            all.map(({ closeAt }) => closeAt),
            at,
          ),
    block: at.number,
  };
}

function closing(times: readonly number[], at: Head): number {
  const pending = times.filter((time) => time !== 0 && time !== TOMBSTONE);
  if (pending.length > 0) return Math.min(...pending);
  return times.includes(TOMBSTONE) ? Number(at.timestamp) : 0;
}

function least(values: readonly bigint[]): bigint {
  return values.reduce((a, b) => (b < a ? b : a));
}
