/**
 * What accounting needs of the durable ledger, as functions: it never sees the ledger itself. Outcomes are
 * published only after their records are synced.
 */
import { PieceworkError } from '../errors.js';
import type { Command, Outcome, Status } from '../native/records.js';

export interface Book {
  /** Decides, applies, journals and syncs; outcomes in the order of the commands. */
  commit(commands: readonly Command[]): Promise<Outcome[]>;
  /** The statuses vouchers would get before their signatures are looked at; cheap, changes nothing. */
  screen(commands: readonly Command[]): Status[];
}

/** Whether something failed that no money may be taken or spent without: the ledger's disk, lock or state. */
export function isLedgerFailure(reason: unknown): boolean {
  if (!(reason instanceof PieceworkError)) return false;
  return (
    reason.code.startsWith('LEDGER_') || reason.code === 'JOURNAL_CORRUPT' || reason.code === 'DISK_FULL'
  );
}
