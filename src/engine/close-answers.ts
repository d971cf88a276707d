/**
 * Answers close requests: whoever asks to close a channel that owes us is settled before it can withdraw. Every
 * closing channel is settled as soon as its request is seen, again soon where that fails, and again now and then
 * until it is closed, for a late voucher or a gas price that has fallen. What is worth its gas is the planner's
 * decision, how a stuck transaction is pushed the sender's. Without a wallet it can only warn.
 *
 * Invariants: a channel has one answer under way at a time, and does not wait for another's; nothing is kept but
 * what the chain says, so a restart finds every request again.
 */
import { type ChannelFacts, formatAddress, TOMBSTONE } from '../channels/channel.js';
import * as Lifecycle from '../channels/lifecycle.js';
import type { Clock } from '../clock.js';
import { from } from '../errors.js';
import { closeAnswerRetryMs } from '../limits.js';
import type { SettleReport } from './operations.js';

export interface CloseAnswersOptions {
  readonly clock: Clock;
  /** Seconds. */
  readonly challengePeriod: number;
  /** Settles these channels; undefined without a wallet. */
  readonly settle: ((voucherKeys: readonly string[]) => Promise<SettleReport>) | undefined;
  readonly onWarning: (text: string) => void;
}

export interface CloseAnswers {
  /** The chain says something about a channel of ours. */
  see(facts: ChannelFacts): void;
  stop(): void;
}

interface Closing {
  readonly closeAt: number;
  /** When it is to be settled next, by the monotonic clock. */
  dueMs: number;
  underWay: boolean;
  /** What was said of it last: nothing is said twice. */
  said: string;
}

/** Parts of the challenge period: requests that come together, tries after a failure, looks at what is answered. */
const [GATHER_PART, RETRY_PART, AGAIN_PART] = [256, 64, 8];

export function createCloseAnswers(options: CloseAnswersOptions): CloseAnswers {
  const { clock, onWarning } = options;
  const periodMs = options.challengePeriod * 1_000;
  const closing = new Map<string, Closing>();
  let cancel: (() => void) | undefined;
  let stopped = false;

  function schedule(): void {
    cancel?.();
    cancel = undefined;
    const due = [...closing.values()].filter(({ underWay }) => !underWay).map(({ dueMs }) => dueMs);
    if (due.length === 0 || stopped || !options.settle) return;
    const delayMs = Math.max(0, Math.min(...due) - clock.monotonicMs());
    cancel = clock.after(delayMs, () => {
      cancel = undefined;
      void answer();
    });
  }

  async function answer(): Promise<void> {
    const nowMs = clock.monotonicMs();
    const asked = [...closing].filter(([, { underWay, dueMs }]) => !underWay && dueMs <= nowMs);
    for (const [, one] of asked) one.underWay = true;
    // What is asked for from now on is not kept waiting by these.
    schedule();
    if (asked.length > 0) await settle(asked);
    schedule();
  }

  async function settle(asked: readonly (readonly [string, Closing])[]): Promise<void> {
    let waitMs = periodMs / AGAIN_PART;
    try {
      const { skipped } = await options.settle!(asked.map(([key]) => key));
      const reasons = new Map(skipped.map(({ voucherKey, reason }) => [voucherKey, reason]));
      for (const [key, one] of asked) {
        const reason = reasons.get(key);
        if (reason !== undefined && reason !== 'nothing_new')
          say(one, `${key} was not settled: ${reason}; it is looked at again until it closes`);
      }
    } catch (thrown) {
      waitMs = Math.min(closeAnswerRetryMs, periodMs / RETRY_PART);
      for (const [key, one] of asked)
        say(one, `the close request of ${key} is not answered yet: ${from(thrown).message}`);
    }
    for (const [, one] of asked) {
      one.underWay = false;
      one.dueMs = clock.monotonicMs() + waitMs;
    }
  }

  function say(one: Closing, text: string): void {
    if (one.said !== text) onWarning(text);
    one.said = text;
  }

  return {
    see({ voucherKey, closeAt }) {
      const key = formatAddress(voucherKey);
      if (closeAt === 0 || closeAt === TOMBSTONE) {
        closing.delete(key);
        return schedule();
      }
      if (closing.get(key)?.closeAt === closeAt) return;
      const gatherMs = Math.min(closeAnswerRetryMs, periodMs) / GATHER_PART;
      closing.set(key, { closeAt, dueMs: clock.monotonicMs() + gatherMs, underWay: false, said: '' });
      const by = new Date(Lifecycle.settleBy(closeAt, options.challengePeriod) * 1000).toISOString();
      const how = options.settle ? 'settling it now' : 'no wallet is unlocked: run `piecework settle`';
      onWarning(`the payer of ${key} asked to close; it should be settled by ${by}: ${how}`);
      schedule();
    },
    stop() {
      stopped = true;
      cancel?.();
    },
  };
}
