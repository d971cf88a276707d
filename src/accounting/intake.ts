/**
 * The way of a voucher from the wire to the ledger, in batches: keep the highest of each session, screen
 * what costs nothing to refuse, verify the signatures of the rest in the wide pool, then commit. One batch is
 * under way at a time; what arrives meanwhile forms the next one. Cost: O(batch), one screen, one verify and
 * one commit each.
 */
import { amountOf } from '../channels/voucher.js';
import { batchCommandsMax, intakeQueueMax } from '../limits.js';
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
  submit(submission: Submission): Promise<Verdict>;
  readonly waitingCount: number;
}

export function createIntake(book: Book, verify: VerifyClaims): Intake {
  const waiting = new Map<number, Waiting>();
  let busy = false;

  function take(): Waiting[] {
    const batch = [...waiting.values()].slice(0, batchCommandsMax);
    for (const { submission } of batch) waiting.delete(submission.session);
    return batch;
  }

  async function drain(): Promise<void> {
    busy = true;
    // Everything that arrived in this turn of the event loop goes into the first batch.
    await Promise.resolve();
    while (waiting.size > 0) {
      const batch = take();
      try {
        const verdicts = await judge(
          book,
          verify,
          batch.map((one) => one.submission),
        );
        for (const [index, one] of batch.entries()) one.resolve(verdicts[index]!);
      } catch (reason) {
        for (const one of batch) one.reject(reason);
      }
    }
    busy = false;
  }

  return {
    get waitingCount() {
      return waiting.size;
    },
    submit(submission) {
      if (waiting.size >= intakeQueueMax) return Promise.resolve({ status: 'rate_limited' });
      const before = waiting.get(submission.session);
      if (before) {
        const lower = amountOf(before.submission.row) > amountOf(submission.row);
        if (lower) return Promise.resolve({ status: 'superseded' });
        before.resolve({ status: 'superseded' });
      }
      return new Promise((resolve, reject) => {
        waiting.set(submission.session, { submission, resolve, reject });
        if (!busy) void drain();
      });
    },
  };
}

async function judge(book: Book, verify: VerifyClaims, batch: readonly Submission[]): Promise<Verdict[]> {
  const screened = book.screen(batch.map(toCommand));
  const verdicts: Verdict[] = screened.map((status) => ({ status }));
  const passed = batch.map((_, index) => index).filter((index) => screened[index] === 'ok');
  if (passed.length === 0) return verdicts;

  const statuses = await verify(passed.map((index) => batch[index]!));
  const signed: number[] = [];
  passed.forEach((index, at) => {
    if (statuses[at] === 'ok') signed.push(index);
    else verdicts[index] = { status: statuses[at]! };
  });
  if (signed.length === 0) return verdicts;

  const outcomes = await book.commit(signed.map((index) => toCommand(batch[index]!)));
  signed.forEach((index, at) => {
    const outcome = outcomes[at]!;
    verdicts[index] = { status: outcome.status, outcome };
  });
  return verdicts;
}

function toCommand(one: Submission): Command {
  return { kind: 'voucher', session: one.session, row: one.row, final: one.final, verified: true };
}
