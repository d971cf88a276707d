/**
 * The way of vouchers and ticks from the wire to the ledger, in batches: keep the highest of each session, screen
 * what costs nothing to refuse, verify the signatures of the rest in the wide pool, then commit. One batch is
 * verified at a time, beside the commit of the one before; what arrives meanwhile forms the next one. A voucher that is
 * not urgent waits a little for better ones, or goes with the next that is; other work of its session may go with it.
 * Cost: O(batch), one screen, one verify and one commit each.
 */
import * as Tick from '../channels/tick.js';
import type { Clock } from '../clock.js';
import { batchCommandsMax, intakeQueueMax, voucherPatienceMs } from '../limits.js';
import type { Command, Outcome, Status, TickClaim, VoucherClaim } from '../native/records.js';
import type { Book } from './book.js';

export interface Submission {
  /** Session index in the ledger. */
  readonly session: number;
  readonly voucherKey: Uint8Array;
  readonly payee: Uint8Array;
  /** A voucher; a tick voucher with one of its ticks; or the next tick of the current chain, in the row that it makes. */
  readonly kind: 'voucher' | 'tick_voucher' | 'tick';
  /** 76 bytes of a voucher, else 124. */
  readonly row: Uint8Array;
  /** What the row claims, in base units. */
  readonly claim: bigint;
  readonly final: boolean;
  /** Whether its session has paid before. */
  readonly proven?: boolean;
}

/** What became of a voucher. `outcome` is there once the ledger decided. */
export interface Verdict {
  readonly status: Status | 'superseded' | 'rate_limited';
  /** The voucher that this is about: the one submitted, or what was put in its place. */
  readonly submission: Submission;
  readonly outcome?: Outcome;
}

/** Checks signatures for the engine's domain, in a batch; one status each. */
export interface Verifier {
  vouchers(claims: ReadonlyArray<VoucherClaim & { readonly proven?: boolean }>): Promise<readonly Status[]>;
  ticks(claims: readonly TickClaim[]): Promise<readonly Status[]>;
}

interface Waiting {
  submission: Submission;
  readonly resolve: (verdict: Verdict) => void;
  readonly reject: (reason: unknown) => void;
}

export interface Intake {
  /** Resolves when the voucher is durable or refused; rejects only when the ledger or the pool failed. */
  submit(submission: Submission, urgent?: boolean): Promise<Verdict>;
  /**
   * Puts a voucher in the place of one that waits for its session; the higher one stays, and its verdict goes to who
   * submitted the first. False when none waits.
   */
  replace(submission: Submission, urgent?: boolean): boolean;
  /**
   * Runs work that is committed behind the vouchers: where one of the session waits, it goes at once and the work joins
   * its commit. What is joined is durable by the same sync.
   */
  join<Result>(session: number, work: () => Promise<Result>): Promise<Result>;
  /** Lets nothing wait any longer that waits now. */
  hurry(): void;
  readonly waitingCount: number;
}

export function createIntake(book: Book, verifier: Verifier, clock: Clock): Intake {
  let waiting = new Map<number, Waiting>();
  const joined: Array<() => void> = [];
  let busy = false;
  let checking = false;
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
      checking = true;
      const signed = await check(book, verifier, take());
      // No batch runs ahead of another by more than its signatures: commits keep their order.
      await committing;
      checking = false;
      committing = commit(book, signed);
      // In the same turn, so that the book makes one commit of both.
      for (const work of joined.splice(0)) work();
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
      if (waiting.size >= intakeQueueMax) return Promise.resolve({ status: 'rate_limited', submission });
      const before = waiting.get(submission.session);
      if (before) {
        const lower = before.submission.claim > submission.claim;
        if (lower) return Promise.resolve({ status: 'superseded', submission });
        before.resolve({ status: 'superseded', submission: before.submission });
      }
      return new Promise((resolve, reject) => {
        waiting.set(submission.session, { submission, resolve, reject });
        if (urgent) hurry();
        else if (!busy) wait();
      });
    },
    replace(submission, urgent = true) {
      const one = waiting.get(submission.session);
      if (!one) return false;
      if (one.submission.claim <= submission.claim) one.submission = submission;
      if (urgent) hurry();
      return true;
    },
    join(session, work) {
      if (!checking && !waiting.has(session)) return work();
      hurry();
      return new Promise((resolve) => joined.push(() => resolve(work())));
    },
  };
}

/** Answers the vouchers that need no commit; gives the others. */
async function check(book: Book, verifier: Verifier, batch: readonly Waiting[]): Promise<Waiting[]> {
  try {
    const passed = keepOk(batch, book.screen(batch.map(toCommand)));
    if (passed.length === 0) return passed;
    return keepOk(passed, await verify(verifier, passed));
  } catch (reason) {
    for (const one of batch) one.reject(reason);
    return [];
  }
}

/** A status for each: plain vouchers and tick vouchers apart, side by side; a tick is checked by the ledger. */
async function verify(verifier: Verifier, batch: readonly Waiting[]): Promise<readonly Status[]> {
  const submissions = batch.map((one) => one.submission);
  const vouchers = submissions.filter(({ kind }) => kind === 'voucher');
  if (vouchers.length === batch.length) return verifier.vouchers(vouchers);
  const ticks = submissions.filter(({ kind }) => kind === 'tick_voucher');
  const none: readonly Status[] = [];
  const found = await Promise.all([
    vouchers.length > 0 ? verifier.vouchers(vouchers) : none,
    ticks.length > 0 ? verifier.ticks(ticks) : none,
  ]);
  const [ofVouchers, ofTicks] = found.map((statuses) => statuses.values());
  return submissions.map(({ kind }) => {
    if (kind === 'tick') return 'ok';
    return (kind === 'voucher' ? ofVouchers : ofTicks)!.next().value!;
  });
}

function keepOk(batch: readonly Waiting[], statuses: readonly Status[]): Waiting[] {
  return batch.filter((one, at) => {
    const status = statuses[at]!;
    if (status !== 'ok') one.resolve({ status, submission: one.submission });
    return status === 'ok';
  });
}

async function commit(book: Book, batch: readonly Waiting[]): Promise<void> {
  if (batch.length === 0) return;
  try {
    const outcomes = await book.commit(batch.map(toCommand));
    for (const [at, one] of batch.entries()) {
      const outcome = outcomes[at]!;
      one.resolve({ status: outcome.status, submission: one.submission, outcome });
    }
  } catch (reason) {
    for (const one of batch) one.reject(reason);
  }
}

function toCommand({ submission: { kind, session, row, final } }: Waiting): Command {
  if (kind === 'voucher') return { kind, session, row, final, verified: true };
  if (kind === 'tick_voucher') return { kind, session, row, verified: true };
  return { kind, session, count: Tick.countOf(row), tick: Tick.tickOf(row) };
}
