/**
 * Settlements under way and done: which amounts a transaction is to capture, durable before it is signed, and what
 * became of it. The truth about what is settled is the chain's; this says what is neither settled any more to be
 * claimed nor settled yet. Invariant: a row counts as under way from before its transaction exists until the end of
 * that transaction is durable here. Amounts in base units.
 */
import { createHash } from 'node:crypto';
import { settlementsKeptMax } from '../limits.js';
import type { Ledger } from './ledger.js';
import { noteSpaces } from './spaces.js';

export interface SettlementRow {
  /** 0x-prefixed lower-case hex. */
  readonly voucherKey: string;
  readonly amount: string;
}

/** Strings and numbers only, so that it survives JSON. */
export interface SettlementRecord {
  /** Names the effect that is wanted: that of the transaction's call. */
  readonly intent: string;
  readonly payee: string;
  /** Unix seconds. */
  readonly since: number;
  /** How many channels are closed with it; their voucher keys are kept while it is under way. */
  readonly closes: number;
  readonly closing: readonly string[];
  /** How many rows it has; the rows themselves are kept while it is under way. */
  readonly vouchers: number;
  readonly rows: readonly SettlementRow[];
  readonly end: SettlementEnd | undefined;
}

export interface SettlementEnd {
  /** False when it was mined in vain: then only its gas was spent. */
  readonly ok: boolean;
  readonly hash: string;
  readonly block: string;
  readonly gas: string;
  readonly fee: string;
  /** What the chain credited to the payee. */
  readonly settled: string;
}

/** How far a row under way has come: signed and perhaps sent, or in a block that may still be replaced. */
export interface UnderWay {
  readonly sent: bigint;
  readonly mined: bigint;
}

const NOTHING: UnderWay = { sent: 0n, mined: 0n };

export class Settlements {
  readonly #ledger: Ledger;
  readonly #records: Map<string, SettlementRecord>;
  readonly #mined = new Set<string>();
  /** What closes channels and is under way, by intent. */
  readonly #closing = new Map<string, ReadonlySet<string>>();

  private constructor(ledger: Ledger, records: readonly SettlementRecord[]) {
    this.#ledger = ledger;
    this.#records = new Map();
    for (const record of records) this.#keep(record);
  }

  static async open(ledger: Ledger): Promise<Settlements> {
    const records = await ledger.notes<SettlementRecord>(noteSpaces.settlements);
    return new Settlements(
      ledger,
      records.sort((a, b) => a.since - b.since),
    );
  }

  /** Oldest first. */
  get all(): readonly SettlementRecord[] {
    return [...this.#records.values()];
  }

  /** Durable before it returns: only then may its transaction be signed. */
  async begin(record: Omit<SettlementRecord, 'end' | 'vouchers' | 'closes'>): Promise<void> {
    const { rows, closing } = record;
    await this.#put({ ...record, vouchers: rows.length, closes: closing.length, end: undefined });
    await this.#prune();
  }

  isMined(intent: string): boolean {
    return this.#mined.has(intent);
  }

  /** Its transaction is in a block, or, after a reorganisation, no longer is. */
  setMined(intent: string, mined: boolean): void {
    if (mined) this.#mined.add(intent);
    else this.#mined.delete(intent);
  }

  /** Its transaction came to its end. Does nothing for an intent that was never begun. */
  async finish(intent: string, end: SettlementEnd): Promise<void> {
    const record = this.#records.get(intent);
    if (!record) return;
    await this.#put({ ...record, rows: [], closing: [], end });
    this.#mined.delete(intent);
  }

  /** No transaction of it can have an effect. */
  async drop(intent: string): Promise<void> {
    this.#mined.delete(intent);
    this.#closing.delete(intent);
    if (!this.#records.delete(intent)) return;
    await this.#ledger.removeNote(noteSpaces.settlements, keyOf(intent));
  }

  /** Drops what was begun and has no transaction: the process ended between the two. */
  async dropUnsigned(isSigned: (intent: string) => boolean): Promise<void> {
    for (const { intent, end } of this.all) {
      if (end === undefined && !isSigned(intent)) await this.drop(intent);
    }
  }

  /** Whether a close of the channel is under way; the key 0x-prefixed. Costs O(closes under way). */
  isClosing(voucherKey: string): boolean {
    for (const voucherKeys of this.#closing.values()) if (voucherKeys.has(voucherKey)) return true;
    return false;
  }

  /** The voucher keys whose channels the transaction closes, 0x-prefixed; none once it came to its end. */
  closingWith(intent: string): readonly string[] {
    return this.#records.get(intent)?.closing ?? [];
  }

  /** The greatest amounts of each voucher key that are under way; by voucher key, 0x-prefixed. Costs O(rows under way). */
  underWay(): (voucherKey: string) => UnderWay {
    const found = new Map<string, UnderWay>();
    for (const { intent, end, rows } of this.#records.values()) {
      if (end !== undefined) continue;
      for (const { voucherKey, amount } of rows) {
        const { sent, mined } = found.get(voucherKey) ?? NOTHING;
        const value = BigInt(amount);
        const inBlock = this.#mined.has(intent) && value > mined;
        found.set(voucherKey, { sent: value > sent ? value : sent, mined: inBlock ? value : mined });
      }
    }
    return (voucherKey) => found.get(voucherKey) ?? NOTHING;
  }

  async #put(record: SettlementRecord): Promise<void> {
    await this.#ledger.putNote(noteSpaces.settlements, keyOf(record.intent), record);
    this.#keep(record);
  }

  #keep(record: SettlementRecord): void {
    const { intent, closing } = record;
    this.#records.set(intent, record);
    if (closing.length > 0) this.#closing.set(intent, new Set(closing));
    else this.#closing.delete(intent);
  }

  async #prune(): Promise<void> {
    for (const { intent, end } of this.all) {
      if (this.#records.size <= settlementsKeptMax) return;
      if (end !== undefined) await this.drop(intent);
    }
  }
}

function keyOf(intent: string): Uint8Array {
  return new Uint8Array(createHash('sha256').update(intent, 'utf8').digest());
}
