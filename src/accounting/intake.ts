/**
 * The way of a voucher from the wire to the ledger, in batches: keep the highest of each session, screen
 * what costs nothing to refuse, verify the signatures of the rest in the wide pool, then commit. One batch is
 * verified at a time, beside the commit of the one before; what arrives meanwhile forms the next one. A voucher that is
 * not urgent waits a little for better ones, or goes with the next that is. Cost: O(batch), one screen, one verify and
 * one commit each.
 */
import { amountOf } from '../channels/voucher.js';
import type { Clock } from '../clock.js';
import { batchCommandsMax, intakeQueueMax, voucherPatienceMs } from '../limits.js';
import type { Command, Outcome, Status, VoucherClaim } from '../native/records.js';
import type { Book } from './book.js';

export interface Submission {
  /** Session index in the ledger. */
  readonly session: number;
  readonly voucherKey: Uint8Array;
  readonly payee: Uint8Array;
  readonly row: Uint8Array;
  readonly final: boolean;
}

/** What became of a voucher. `outcome` is there once the ledger decided. */
export interface Verdict {
  readonly status: Status | 'superseded' | 'rate_limited';
  readonly outcome?: Outcome;
}

/** Checks signatures for the engine's domain, in a batch; one status each. */
export type VerifyClaims = (claims: readonly VoucherClaim[]) => Promise<readonly Status[]>;

interface Waiting {
  readonly submission: Submission;
  readonly resolve: (verdict: Verdict) => void;
  readonly reject: (reason: unknown) => void;
}

export interface Intake {
  /** Resolves when the voucher is durable or refused; rejects only when the ledger or the pool failed. */
  submit(submission: Submission, urgent?: boolean): Promise<Verdict>;
  /** Lets nothing wait any longer that waits now. */
  hurry(): void;
  readonly waitingCount: number;
}

export function createIntake(book: Book, verify: VerifyClaims, clock: Clock): Intake {
  let waiting = new Map<number, Waiting>();
  let busy = false;
  let hurried = false;
  let cancelWait: (() => void) | undefined;

  function take(): Waiting[] {
    if (waiting.size <= batchCommandsMax) {
      // A map that entries enter and leave for ever keeps those that left from being collected as garbage soon.
      const all = [...waiting.values()];
      waiting = new Map();
      return all;
    }
    const batch: Waiting[] = [];
    for (const [session, one] of waiting) {
      if (batch.length === batchCommandsMax) break;
      batch.push(one);
      waiting.delete(session);
    }
    return batch;
  }

  async function drain(): Promise<void> {
    busy = true;
    cancelWait?.();
    cancelWait = undefined;
    // Everything that arrived in this turn of the event loop goes into the first batch.
    await Promise.resolve();
    let committing = Promise.resolve();
    while (waiting.size > 0 && hurried) {
      hurried = waiting.size > batchCommandsMax;
      const signed = await check(book, verify, take());
      // No batch runs ahead of another by more than its signatures: commits keep their order.
      await committing;
      committing = commit(book, signed);
      if (waiting.size === 0 || !hurried) await committing;
    }
    // Nothing is awaited between the last look and this line: what comes now begins anew.
    busy = false;
    if (waiting.size > 0) wait();
  }

  function wait(): void {
    cancelWait ??= clock.after(voucherPatienceMs, () => {
      cancelWait = undefined;
      hurry();
    });
  }

  function hurry(): void {
    if (waiting.size === 0) return;
    hurried = true;
    if (!busy) void drain();
  }

  return {
    hurry,
    get waitingCount() {
      return waiting.size;
    },
    submit(submission, urgent = true) {
      if (waiting.size >= intakeQueueMax) return Promise.resolve({ status: 'rate_limited' });
      const before = waiting.get(submission.session);
      if (before) {
        const lower = amountOf(before.submission.row) > amountOf(submission.row);
        if (lower) return Promise.resolve({ status: 'superseded' });
        before.resolve({ status: 'superseded' });
      }
      return new Promise((resolve, reject) => {
        waiting.set(submission.session, { submission, resolve, reject });
        if (urgent) hurry();
        else if (!busy) wait();
      });
    },
  };
}

/** Answers the vouchers that need no commit; gives the others. */
async function check(book: Book, verify: VerifyClaims, batch: readonly Waiting[]): Promise<Waiting[]> {
  try {
    const passed = keepOk(batch, book.screen(batch.map(toCommand)));
    if (passed.length === 0) return passed;
    return keepOk(passed, await verify(passed.map((one) => one.submission)));
  } catch (reason) {
    for (const one of batch) one.reject(reason);
    return [];
  }
}

function keepOk(batch: readonly Waiting[], statuses: readonly Status[]): Waiting[] {
  return batch.filter((one, at) => {
    const status = statuses[at]!;
    if (status !== 'ok') one.resolve({ status });
    return status === 'ok';
  });
}

async function commit(book: Book, batch: readonly Waiting[]): Promise<void> {
  if (batch.length === 0) return;
  try {
    const outcomes = await book.commit(batch.map(toCommand));
    for (const [at, one] of batch.entries()) {
      const outcome = outcomes[at]!;
      one.resolve({ status: outcome.status, outcome });
    }
  } catch (reason) {
    for (const one of batch) one.reject(reason);
  }
}

function toCommand({ submission: { session, row, final } }: Waiting): Command {
  return { kind: 'voucher', session, row, final, verified: true };
}
