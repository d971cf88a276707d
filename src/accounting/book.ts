/**
 * What accounting needs of the durable ledger, as functions: it never sees the ledger itself. Outcomes are
 * published only after their records are synced.
 */
import type { Command, Outcome, Status } from '../native/records.js';

export interface Book {
  /** Decides, applies, journals and syncs; outcomes in the order of the commands. */
  commit(commands: readonly Command[]): Promise<Outcome[]>;
  /** The statuses vouchers would get before their signatures are looked at; cheap, changes nothing. */
  screen(commands: readonly Command[]): Status[];
}
