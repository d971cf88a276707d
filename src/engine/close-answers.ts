/**
 * Answers close requests: whoever asks to close a channel that owes us is settled before it can withdraw. Tries
 * again until the chain has it or nothing is left to gain; without a wallet it can only warn.
 */
import { type ChannelFacts, formatAddress, TOMBSTONE } from '../channels/channel.js';
import * as Lifecycle from '../channels/lifecycle.js';
import type { Clock } from '../clock.js';
import { from } from '../errors.js';
import { closeAnswerRetryMs } from '../limits.js';
import type { SettleReport } from './operations.js';

export interface CloseAnswersOptions {
  readonly clock: Clock;
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

export function createCloseAnswers(options: CloseAnswersOptions): CloseAnswers {
  const { clock, onWarning } = options;
  const asked = new Set<string>();
  let busy = false;
  let stopped = false;
  let cancelRetry: (() => void) | undefined;

  async function answer(): Promise<void> {
    if (busy || stopped || !options.settle || asked.size === 0) return;
    busy = true;
    const keys = [...asked];
    try {
      const report = await options.settle(keys);
      for (const key of keys) asked.delete(key);
      for (const { voucherKey, reason } of report.skipped)
        onWarning(`${voucherKey} was not settled: ${reason}`);
    } catch (thrown) {
      onWarning(`a close request is not answered yet: ${from(thrown).message}`);
      cancelRetry = clock.after(closeAnswerRetryMs, () => void answer());
    }
    busy = false;
    if (asked.size > 0 && !cancelRetry) void answer();
  }

  return {
    see(facts) {
      const key = formatAddress(facts.voucherKey);
      if (facts.closeAt === 0 || facts.closeAt === TOMBSTONE) return void asked.delete(key);
      if (asked.has(key)) return;
      asked.add(key);
      const by = new Date(Lifecycle.settleBy(facts.closeAt, options.challengePeriod) * 1000).toISOString();
      const how = options.settle ? 'settling it now' : 'no wallet is unlocked: run `piecework settle`';
      onWarning(`the payer of ${key} asked to close; it should be settled by ${by}: ${how}`);
      cancelRetry?.();
      cancelRetry = undefined;
      void answer();
    },
    stop() {
      stopped = true;
      cancelRetry?.();
    },
  };
}
