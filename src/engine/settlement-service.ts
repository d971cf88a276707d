/**
 * Settles by itself: asks at intervals what is worth settling now and does it, within the policy of the operator.
 * One round at a time; a round that fails is told and the next one tries again.
 */
import type { Clock } from '../clock.js';
import { from } from '../errors.js';
import { formatAmount } from '../units.js';
import type { SettleReport } from './operations.js';

export interface SettlementServiceOptions {
  readonly clock: Clock;
  readonly periodMs: number;
  readonly settle: () => Promise<SettleReport>;
  readonly onInfo: (text: string) => void;
  readonly onWarning: (text: string) => void;
}

export interface SettlementService {
  /** No round begins any more; one that runs is not awaited here. */
  stop(): void;
}

export function startSettlementService(options: SettlementServiceOptions): SettlementService {
  const { clock, periodMs, settle, onInfo, onWarning } = options;
  let busy = false;
  let told: string | undefined;

  async function round(): Promise<void> {
    if (busy) return;
    busy = true;
    try {
      const { transactions, settled, vouchers } = await settle();
      told = undefined;
      for (const { hash } of transactions) onInfo(`settlement ${hash} is final`);
      if (transactions.length > 0)
        onInfo(`settled ${vouchers} vouchers for ${formatAmount(BigInt(settled))}`);
    } catch (thrown) {
      // The same trouble every round is told once.
      const text = `settling failed and is tried again: ${from(thrown).message}`;
      if (text !== told) onWarning(text);
      told = text;
    }
    busy = false;
  }

  const cancel = clock.every(periodMs, () => void round());
  return { stop: cancel };
}
