/**
 * What is believed of a channel when nodes do not agree on it, or too few were heard: what is booked already,
 * so that no credit is raised and no claim given up, and of all that is said only what ends credit. Pure.
 */
import { type ChannelFacts, TOMBSTONE } from '../channels/channel.js';
import type { Head } from './answers.js';

/** What was agreed on before. */
export type Known = Pick<ChannelFacts, 'deposit' | 'settled' | 'closeAt'>;

const nothing: Known = { deposit: 0n, settled: 0n, closeAt: 0 };

/**
 * `said` is what nodes say at `at`, one answer at least; `newest` what they say now, which may be older. A
 * channel that was not booked has no deposit yet. A close is believed from anyone. Whoever says that the channel
 * is closed for ever, or holds less than was booked, is believed as far as a close that is due at once: no
 * more credit is given, and what is owed is claimed from the deposit that was booked.
 */
export function cautious(
  said: readonly ChannelFacts[],
  newest: readonly ChannelFacts[],
  known: Known | undefined,
  at: Head,
): ChannelFacts {
  const { deposit, settled, closeAt } = known ?? nothing;
  const facts = { ...said[0]!, deposit, settled, block: at.number };
  if (closeAt === TOMBSTONE) return { ...facts, closeAt };
  const times = [closeAt, ...[...said, ...newest].map((view) => view.closeAt)];
  const pending = times.filter((time) => time !== 0 && time !== TOMBSTONE);
  if (pending.length > 0) return { ...facts, closeAt: Math.min(...pending) };
  const gone = times.includes(TOMBSTONE) || said.some((view) => view.deposit < deposit);
  return { ...facts, closeAt: gone ? Number(at.timestamp) : 0 };
}
