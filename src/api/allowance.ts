/** How much a client may ask for: a bucket that fills with time and is taken from. */
import type { Clock } from '../clock.js';

export interface Allowance {
  /** Takes that many when they are there and gives 0; else takes nothing and gives the seconds to wait. */
  take(count: number): number;
}

/** A full bucket holds `burst`, which also is the most that can be taken at once. */
export function createAllowance(
  clock: Pick<Clock, 'monotonicMs'>,
  perSecond: number,
  burst: number,
): Allowance {
  let level = burst;
  let filledMs = clock.monotonicMs();
  return {
    take(count) {
      const nowMs = clock.monotonicMs();
      level = Math.min(burst, level + ((nowMs - filledMs) / 1_000) * perSecond);
      filledMs = nowMs;
      if (count > level) return Math.max(1, Math.ceil((count - level) / perSecond));
      level -= count;
      return 0;
    },
  };
}
