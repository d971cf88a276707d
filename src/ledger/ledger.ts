/**
 * The durable book of one engine: the native ledger in its folder, with the voucher keys that its seed gives
 * and notes as JSON. Outcomes and reads are durable; what the book decides is ledger.md's.
 */
import { join } from 'node:path';
import { call } from '../native/binding.js';
import type { Executor } from '../native/executor.js';
import * as Native from '../native/ledger.js';
import type {
  BudgetRecord,
  ChannelRecord,
  Command,
  Outcome,
  OutstandingRecord,
  SessionRecord,
  Status,
  Summary,
} from '../native/records.js';
import { sameBytes, toHex } from '../units.js';

export interface LedgerOptions {
  /** The engine's data folder. */
  readonly dataDir: string;
  readonly chainId: bigint;
  readonly hub: Uint8Array;
  /** 32 bytes from which voucher keys are derived. */
  readonly seed: Uint8Array;
  readonly segmentBytes?: number;
}

const PAGE = 1_000;
const KEY_BYTES = 32;

export class Ledger {
  readonly #native: Native.Ledger;
  readonly #seed: Uint8Array;
  #nextKeyIndex = 0;

  private constructor(native: Native.Ledger, seed: Uint8Array) {
    this.#native = native;
    this.#seed = seed;
  }

  /** The folder of the ledger for one hub. */
  static folder(dataDir: string, chainId: bigint, hub: Uint8Array): string {
    return join(dataDir, 'ledger', `${chainId}-${toHex(hub).slice(0, 16)}`);
  }

  /** @throws PieceworkError LEDGER_*, JOURNAL_CORRUPT, DISK_FULL. */
  static async open(executor: Executor, options: LedgerOptions): Promise<Ledger> {
    const { dataDir, chainId, hub, seed, segmentBytes } = options;
    const folder = Ledger.folder(dataDir, chainId, hub);
    const place = { folder, chainId, hub, seed, ...(segmentBytes === undefined ? {} : { segmentBytes }) };
    const ledger = new Ledger(await Native.Ledger.open(executor, place), seed);
    ledger.#nextKeyIndex = (await ledger.summary()).nextKeyIndex;
    return ledger;
  }

  /** The domain separator of its hub. */
  get domain(): Uint8Array {
    return this.#native.domain;
  }

  commit(commands: readonly Command[]): Promise<Outcome[]> {
    return this.#native.commit(commands);
  }

  screen(commands: readonly Command[]): Status[] {
    return this.#native.screen(commands);
  }

  async channel(voucherKey: Uint8Array, payee: Uint8Array): Promise<ChannelRecord | undefined> {
    const index = this.#native.findChannel(voucherKey, payee);
    return index === undefined ? undefined : this.#native.channel(index);
  }

  session(index: number): Promise<SessionRecord | undefined> {
    return this.#native.session(index);
  }

  channels(): Promise<ChannelRecord[]> {
    return all((from) => this.#native.channels(from, PAGE));
  }

  sessions(): Promise<SessionRecord[]> {
    return all((from) => this.#native.sessions(from, PAGE));
  }

  /** Pieces of a torrent that were asked for and neither paid nor given up. */
  async outstanding(infohash: Uint8Array): Promise<OutstandingRecord[]> {
    const records = await all((from) => this.#native.outstanding(from, PAGE));
    return records.filter((one) => sameBytes(one.infohash, infohash));
  }

  async budget(infohash: Uint8Array): Promise<BudgetRecord | undefined> {
    const records = await all((from) => this.#native.budgets(from, PAGE));
    return records.find((one) => sameBytes(one.infohash, infohash));
  }

  summary(): Promise<Summary> {
    return this.#native.summary();
  }

  /** The next voucher key that was never used: its index and address. Durable once its channel is put. */
  freshVoucherKey(): { readonly keyIndex: number; readonly voucherKey: Uint8Array } {
    const keyIndex = this.#nextKeyIndex++;
    const voucherKey = call((addon) => addon.deriveVoucherKeys(this.#seed, BigInt(keyIndex), 1));
    return { keyIndex, voucherKey };
  }

  /** Signs a digest with a voucher key: 64 bytes, r ‖ vs. */
  signAs(keyIndex: number, digest: Uint8Array): Uint8Array {
    return call((addon) =>
      addon.signDigests(addon.deriveVoucherSecret(this.#seed, BigInt(keyIndex)), digest),
    );
  }

  async putNote(space: number, key: Uint8Array, value: unknown): Promise<void> {
    const bytes = new Uint8Array(Buffer.from(JSON.stringify(value), 'utf8'));
    await this.#note(space, key, bytes);
  }

  async removeNote(space: number, key: Uint8Array): Promise<void> {
    await this.#note(space, key, undefined);
  }

  /** All notes of a space, in the order of their keys. */
  async notes<Value>(space: number): Promise<Value[]> {
    const records = await all((from) => this.#native.notes(from, PAGE));
    return records
      .filter((record) => record.space === space)
      .map((record) => JSON.parse(Buffer.from(record.value).toString('utf8')) as Value);
  }

  close(): Promise<void> {
    return this.#native.close();
  }

  async #note(space: number, key: Uint8Array, value: Uint8Array | undefined): Promise<void> {
    if (key.length !== KEY_BYTES) throw new RangeError('a note needs a key of 32 bytes');
    const [outcome] = await this.commit([{ kind: 'note', space, key, ...(value ? { value } : {}) }]);
    if (outcome!.status !== 'ok') throw new RangeError(`the ledger refused a note: ${outcome!.status}`);
  }
}

async function all<Item>(page: (from: number) => Promise<Item[]>): Promise<Item[]> {
  const items: Item[] = [];
  for (;;) {
    const next = await page(items.length);
    items.push(...next);
    if (next.length < PAGE) return items;
  }
}
