/**
 * A ledger as the engine sees it. Commits that are asked for while one is under way are joined into the next
 * batch (group commit), so the disk is waited for once for all of them; a batch is bounded. What `commit`
 * resolves with is durable. `screen` and the finders are synchronous and may be one batch ahead of the disk:
 * use them to choose, never to promise.
 */
import { PieceworkError } from '../errors.js';
import { batchCommandsMax, intakeQueueMax } from '../limits.js';
import { call, type Opened, type TableName } from './binding.js';
import type { Executor } from './executor.js';
import {
  type BudgetRecord,
  type ChannelRecord,
  type Command,
  CommandWriter,
  type NoteRecord,
  type Outcome,
  type OutstandingRecord,
  readBudgets,
  readChannels,
  readNotes,
  readOutcomes,
  readOutstanding,
  readSessions,
  readSummary,
  type SessionRecord,
  type Status,
  type Summary,
  statusesOf,
} from './records.js';

export interface LedgerOptions {
  /** The folder; it is created if it is missing. */
  readonly folder: string;
  readonly chainId: bigint;
  /** The address of the hub, 20 bytes. */
  readonly hub: Uint8Array;
  /** The size of new journal segments; 16 MiB if absent. */
  readonly segmentBytes?: number;
  /** The seed of the voucher keys, 32 bytes; needed where this ledger pays. */
  readonly seed?: Uint8Array;
}

/** Bytes of note values that one batch takes besides its first commit. */
const batchBlobBytesMax = 1 << 20;

interface Waiting {
  readonly count: number;
  readonly resolve: (outcomes: Outcome[]) => void;
  readonly reject: (reason: unknown) => void;
}

interface Batch {
  readonly writer: CommandWriter;
  readonly waiting: Waiting[];
}

export class Ledger {
  readonly #executor: Executor;
  readonly #handle: number;
  readonly #batches: Batch[] = [];
  #waitingCount = 0;
  #flushing: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  /** What opening found. */
  readonly recovery: Opened;
  /** The EIP-712 domain separator of the ledger's hub. */
  readonly domain: Uint8Array;

  private constructor(executor: Executor, recovery: Opened, domain: Uint8Array) {
    this.#executor = executor;
    this.#handle = recovery.handle;
    this.recovery = recovery;
    this.domain = domain;
  }

  /**
   * Opens or begins a ledger. Fails with LEDGER_LOCKED, LEDGER_FOREIGN, JOURNAL_CORRUPT, LEDGER_READ_ONLY,
   * DISK_FULL or LEDGER_IO.
   */
  static async open(executor: Executor, options: LedgerOptions): Promise<Ledger> {
    const { folder, chainId, hub, segmentBytes, seed } = options;
    const domain = call((addon) => addon.domainSeparator(chainId, hub));
    const opened = await executor.lane('open', { folder, chainId, hub, segmentBytes, seed });
    return new Ledger(executor, opened, domain);
  }

  /**
   * Commits commands in order and resolves with their outcomes once all of them are durable. Commands of one
   * call stay together in one batch. Fails with LEDGER_POISONED after a disk error, QUEUE_FULL when too many wait.
   */
  async commit(commands: readonly Command[]): Promise<Outcome[]> {
    if (this.#closing) throw new PieceworkError('EXECUTOR_CLOSED');
    if (commands.length === 0) return [];
    if (this.#waitingCount + commands.length > intakeQueueMax) throw new PieceworkError('QUEUE_FULL');
    const batch = this.#batchFor(commands.length);
    batch.writer.add(commands);
    this.#waitingCount += commands.length;
    return new Promise<Outcome[]>((resolve, reject) => {
      batch.waiting.push({ count: commands.length, resolve, reject });
      this.#flushing ??= this.#flush();
    });
  }

  #batchFor(count: number): Batch {
    const last = this.#batches.at(-1);
    const fits = last && last.writer.count + count <= batchCommandsMax;
    if (last && (last.writer.count === 0 || (fits && last.writer.blobBytes < batchBlobBytesMax))) return last;
    const batch: Batch = { writer: new CommandWriter(), waiting: [] };
    this.#batches.push(batch);
    return batch;
  }

  async #flush(): Promise<void> {
    // One turn's commits join the first batch too.
    await Promise.resolve();
    for (let batch = this.#batches.shift(); batch; batch = this.#batches.shift()) {
      const { commands, blobs } = batch.writer.finish();
      try {
        const outcomes = readOutcomes(await this.#executor.lane('commit', this.#handle, commands, blobs));
        let at = 0;
        for (const { count, resolve } of batch.waiting) {
          resolve(outcomes.slice(at, at + count));
          at += count;
        }
      } catch (thrown) {
        for (const { reject } of batch.waiting) reject(thrown);
      }
      this.#waitingCount -= batch.writer.count;
    }
    this.#flushing = undefined;
  }

  /** The status each command would get if it came alone now; a voucher as if it were verified. */
  screen(commands: readonly Command[]): Status[] {
    const writer = new CommandWriter();
    writer.add(commands);
    const { commands: bytes, blobs } = writer.finish();
    return statusesOf(call((addon) => addon.ledgerScreen(this.#handle, bytes, blobs)));
  }

  /** The index of the channel of (voucher key, payee). */
  findChannel(voucherKey: Uint8Array, payee: Uint8Array): number | undefined {
    return call((addon) => addon.ledgerFindChannel(this.#handle, voucherKey, payee)) ?? undefined;
  }

  /** The index of the session with an id. */
  findSession(sessionId: Uint8Array): number | undefined {
    return call((addon) => addon.ledgerFindSession(this.#handle, sessionId)) ?? undefined;
  }

  #read(table: TableName, from: number, count: number): Promise<Uint8Array> {
    return this.#executor.lane('read', this.#handle, table, from, count);
  }

  /** Channels by index, durable as all that follow. */
  async channels(from: number, count: number): Promise<ChannelRecord[]> {
    return readChannels(await this.#read('channels', from, count));
  }

  async channel(index: number): Promise<ChannelRecord | undefined> {
    return (await this.channels(index, 1))[0];
  }

  /** Sessions by index. */
  async sessions(from: number, count: number): Promise<SessionRecord[]> {
    return readSessions(await this.#read('sessions', from, count));
  }

  async session(index: number): Promise<SessionRecord | undefined> {
    return (await this.sessions(index, 1))[0];
  }

  /** Outstanding pieces in the order of torrent and piece. */
  async outstanding(from: number, count: number): Promise<OutstandingRecord[]> {
    return readOutstanding(await this.#read('outstanding', from, count));
  }

  /** Budgets in the order their infohashes were first named. */
  async budgets(from: number, count: number): Promise<BudgetRecord[]> {
    return readBudgets(await this.#read('budgets', from, count));
  }

  /** Notes in the order of space and key. */
  async notes(from: number, count: number): Promise<NoteRecord[]> {
    return readNotes(await this.#read('notes', from, count));
  }

  /** The value of a note. */
  async note(space: number, key: Uint8Array): Promise<Uint8Array | undefined> {
    return (await this.#executor.lane('note', this.#handle, space, key)) ?? undefined;
  }

  async summary(): Promise<Summary> {
    return readSummary(await this.#executor.lane('summary', this.#handle));
  }

  /** SHA-256 of the state's canonical bytes: equal states, and only they, have equal hashes. */
  async stateHash(): Promise<Uint8Array> {
    return this.#executor.lane('stateHash', this.#handle);
  }

  async checkpoint(): Promise<void> {
    await this.#executor.lane('checkpoint', this.#handle);
  }

  /** Lets waiting commits finish, writes a checkpoint and releases the folder. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      await this.#flushing;
      await this.#executor.lane('close', this.#handle);
    })();
    return this.#closing;
  }
}
