/**
 * Payee ledgers for the benches: channels with an open session each that was granted more than a bench will ever
 * pay. `journal-books.ts` has those that take commits side by side with a peer.
 */
import type { Command } from '../../dist/native/records.js';
import { PAYEE } from './vouchers.js';

export const DEPOSIT = 1n << 90n;
export const COMMANDS_MAX = 4_096;

interface Committing {
  commit(commands: readonly Command[]): Promise<ReadonlyArray<{ readonly status: string }>>;
}

/** Bytes that differ for every number. */
export function idOf(size: number, number: number): Uint8Array {
  const id = new Uint8Array(size).fill(1);
  new DataView(id.buffer).setUint32(0, number + 1);
  return id;
}

/** Opens channel and session `at` of each index from 0 to `count`, and grants it a MiB. */
export async function fill(
  ledger: Committing,
  count: number,
  keyOf: (channel: number) => Uint8Array,
): Promise<void> {
  const facts = { payee: PAYEE, deposit: DEPOSIT, settled: 0n, closeAt: 0, block: 1 };
  const price = { priceMiB: 1n << 80n, minimumStep: 0n, prepay: 0n };
  await each(ledger, count, (at) => ({
    kind: 'channel_put',
    role: 'payee',
    voucherKey: keyOf(at),
    ...facts,
  }));
  await each(ledger, count, (at) => {
    return { kind: 'session_open', channel: at, sessionId: idOf(16, at), infohash: idOf(20, 0), ...price };
  });
  await each(ledger, count, (at) => {
    return { kind: 'grant', session: at, bytes: 1 << 20, exposureLimit: DEPOSIT };
  });
}

/** Commits one command for each number below `count`; throws when one is refused. */
export async function each(ledger: Committing, count: number, make: (at: number) => Command): Promise<void> {
  for (let from = 0; from < count; from += COMMANDS_MAX) {
    const size = Math.min(COMMANDS_MAX, count - from);
    const outcomes = await ledger.commit(Array.from({ length: size }, (_, at) => make(from + at)));
    const refused = outcomes.find(({ status }) => status !== 'ok');
    if (refused) throw new Error(`the ledger refused with ${refused.status}`);
  }
}
