/**
 * What a tower may still spend for each client on the running UTC day. Charged durably before a transaction is
 * signed and given back where less was spent, so a crash can only leave too much charged, never too little.
 * Amounts in base units.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../../clock.js';
import type { Ledger } from '../../ledger/ledger.js';
import { noteSpaces } from '../../ledger/spaces.js';

export interface GasBudget {
  /** Charges the most a transaction may cost; false where the day's budget does not hold that much. */
  charge(client: string, costMax: bigint): Promise<boolean>;
  giveBack(client: string, amount: bigint): Promise<void>;
  /** Charged today. */
  spent(client: string): bigint;
}

interface Note {
  readonly client: string;
  /** Days since 1970. */
  readonly day: number;
  readonly spent: string;
}

const DAY_SECONDS = 86_400n;

export async function openGasBudget(ledger: Ledger, clock: Clock, perDay: bigint): Promise<GasBudget> {
  const notes = await ledger.notes<Note>(noteSpaces.towerGas);
  const days = new Map(notes.map(({ client, day, spent }) => [client, { day, spent: BigInt(spent) }]));
  const today = (): number => Number(clock.unixSeconds() / DAY_SECONDS);

  function spent(client: string): bigint {
    const known = days.get(client);
    return known?.day === today() ? known.spent : 0n;
  }

  async function put(client: string, amount: bigint): Promise<void> {
    const day = today();
    days.set(client, { day, spent: amount });
    const key = new Uint8Array(createHash('sha256').update(client).digest());
    await ledger.putNote(noteSpaces.towerGas, key, { client, day, spent: String(amount) } satisfies Note);
  }

  return {
    spent,
    async charge(client, costMax) {
      const after = spent(client) + costMax;
      if (after > perDay) return false;
      await put(client, after);
      return true;
    },
    async giveBack(client, amount) {
      const before = spent(client);
      // What was charged yesterday is no part of today's.
      if (amount > 0n && before > 0n) await put(client, before > amount ? before - amount : 0n);
    },
  };
}
