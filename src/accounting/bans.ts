/**
 * Who misbehaved how much (wire.md 6): scores by address or voucher key that halve every minute, and
 * bans of an hour. Bounded: the oldest entry goes when the table is full.
 */
import { networkOf } from '../channels/link.js';
import type { RejectCode } from '../channels/message.js';
import type { Clock } from '../clock.js';
import { banDurationMs, banScore, banScoreHalfLifeMs, bansMax } from '../limits.js';

const SCORES: Partial<Record<RejectCode, number>> = {
  malformed: 5,
  rate_limited: 1,
  no_session: 2,
  unknown_channel: 0,
  bad_nonce: 5,
  bad_proof: 34,
  below_step: 1,
  exceeds_deposit: 1,
  exceeds_granted: 1,
  bad_signature: 34,
};

interface Entry {
  score: number;
  scoredMs: number;
  bannedUntilMs: number;
}

export interface Bans {
  /** Adds the score of a refusal; true when that bans the subject now. */
  score(subject: string, code: RejectCode): boolean;
  /** Bans at once, whatever the score. */
  ban(subject: string): void;
  isBanned(subject: string): boolean;
  readonly bannedCount: number;
}

export function createBans(clock: Clock): Bans {
  const entries = new Map<string, Entry>();

  function touch(who: string): Entry {
    const subject = networkOf(who);
    const known = entries.get(subject);
    if (known) return known;
    if (entries.size >= bansMax) {
      const oldest = entries.keys().next().value;
      if (oldest !== undefined) entries.delete(oldest);
    }
    const fresh = { score: 0, scoredMs: clock.monotonicMs(), bannedUntilMs: 0 };
    entries.set(subject, fresh);
    return fresh;
  }

  function ban(subject: string): void {
    touch(subject).bannedUntilMs = clock.monotonicMs() + banDurationMs;
  }

  return {
    score(subject, code) {
      const points = SCORES[code] ?? 0;
      if (points === 0) return false;
      const entry = touch(subject);
      const nowMs = clock.monotonicMs();
      const halvings = Math.floor((nowMs - entry.scoredMs) / banScoreHalfLifeMs);
      entry.score = entry.score * 0.5 ** halvings + points;
      entry.scoredMs += halvings * banScoreHalfLifeMs;
      if (entry.score < banScore) return false;
      ban(subject);
      return true;
    },
    ban,
    isBanned(subject) {
      const entry = entries.get(networkOf(subject));
      return entry !== undefined && entry.bannedUntilMs > clock.monotonicMs();
    },
    get bannedCount() {
      const nowMs = clock.monotonicMs();
      let count = 0;
      for (const entry of entries.values()) if (entry.bannedUntilMs > nowMs) count++;
      return count;
    },
  };
}
