/**
 * Commands into records and records into outcomes, through the layout the addon gives. Values are checked on the
 * way in: an amount is a bigint within uint96, a count a safe integer, bytes have their exact size. Byte fields that
 * come out are copies.
 */
import { PieceworkError } from '../errors.js';
import { layout, record } from './binding.js';
import { plain, type Read, readAll, readerOf, viewOf, type Write, writerOf } from './codec.js';
import {
  type BudgetRecord,
  type ChannelRecord,
  type Command,
  type NoteRecord,
  type Outcome,
  type OutstandingRecord,
  type Recovered,
  type RecoveryClaim,
  type Role,
  type SessionRecord,
  STATUSES,
  type Status,
  type Summary,
  type TickClaim,
  type TickStep,
  type VoucherClaim,
} from './vocabulary.js';

export * from './vocabulary.js';

const ROLES: readonly Role[] = ['payee', 'payer'];

/** Makes a value when it is first needed: the addon is not loaded before that. */
function lazy<Item>(make: () => Item): () => Item {
  let made: Item | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/** The statuses that the addon and this code name alike, at the index of their number. */
const known = lazy(() => STATUSES.map((name, at) => (layout().statuses[at] === name ? name : undefined)));

/** The status with a number. */
export function statusOf(number: number): Status {
  const status = known()[number];
  if (status === undefined)
    throw new PieceworkError('ADDON_MISMATCH', `the addon's status ${number} is not known here`);
  return status;
}

/** The statuses of a buffer of status bytes. */
export function statusesOf(bytes: Uint8Array): Status[] {
  return Array.from(bytes, statusOf);
}

function roleOf(number: number): Role {
  const role = ROLES[number - 1];
  if (role === undefined) throw new PieceworkError('INTERNAL', `role ${number} is not known`);
  return role;
}

/** The writer of each command; all have the same stride. */
const commandWriters = lazy(() => {
  const numbers = Object.entries(layout().commands);
  return new Map<string, Write>(numbers.map(([name, kind]) => [name, writerOf(record(name), { kind })]));
});
const commandStride = lazy(() => record('note').stride);
const COMMANDS_AT_FIRST = 16;

/** Gathers commands of any number of callers into one batch of records and its side buffer. */
export class CommandWriter {
  #bytes = new Uint8Array(COMMANDS_AT_FIRST * commandStride());
  #view = viewOf(this.#bytes);
  #count = 0;
  #blobs: Uint8Array[] = [];
  #blobBytes = 0;

  get count(): number {
    return this.#count;
  }

  /** Bytes of note values so far. */
  get blobBytes(): number {
    return this.#blobBytes;
  }

  /** Adds all commands, or none of them if one is not valid. */
  add(commands: readonly Command[]): void {
    const before = { count: this.#count, blobs: this.#blobs.length, blobBytes: this.#blobBytes };
    this.#reserve(commands.length);
    try {
      for (const command of commands) this.#add(command);
    } catch (thrown) {
      // Records of other kinds leave gaps, which must be zero when the place is used again.
      this.#bytes.fill(0, before.count * commandStride());
      this.#count = before.count;
      this.#blobs.length = before.blobs;
      this.#blobBytes = before.blobBytes;
      throw thrown;
    }
  }

  #reserve(more: number): void {
    const needed = (this.#count + more) * commandStride();
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = viewOf(grown);
  }

  #add(command: Command): void {
    const write = commandWriters().get(command.kind);
    if (write === undefined) throw new PieceworkError('BAD_ARGUMENT', `no command ${command.kind}`);
    write(this.#bytes, this.#view, this.#count * commandStride(), this.#values(command));
    this.#count += 1;
  }

  #values(command: Command): object {
    if (command.kind === 'channel_put')
      return { keyIndex: 0, ...command, role: ROLES.indexOf(command.role) + 1 };
    if (command.kind !== 'note') return command;
    const { value } = command;
    const place = { valueOffset: this.#blobBytes, valueSize: value?.length ?? 0 };
    if (value) {
      this.#blobs.push(value);
      this.#blobBytes += value.length;
    }
    return { ...command, ...place, present: value !== undefined };
  }

  /** The records and the side buffer. They are handed over: nothing may be added afterwards. */
  finish(): { commands: Uint8Array; blobs: Uint8Array } {
    const commands = this.#bytes.subarray(0, this.#count * commandStride());
    const blobs = new Uint8Array(this.#blobBytes);
    let at = 0;
    for (const blob of this.#blobs) {
      blobs.set(blob, at);
      at += blob.length;
    }
    return { commands, blobs };
  }
}

/** A table's reader over a whole buffer. */
function reader<Item>(
  name: string,
  converts?: Parameters<typeof readerOf>[1],
): (bytes: Uint8Array) => Item[] {
  const read = lazy(() => readerOf<Item>(record(name), converts));
  return (bytes) => readAll(bytes, record(name).stride, read());
}

export const readSessions = reader<SessionRecord>('session');
export const readOutstanding = reader<OutstandingRecord>('outstanding');
export const readBudgets = reader<BudgetRecord>('budget_state');
export const readRecovered = reader<Recovered>('recovered', { status: statusOf });

const summaries = reader<Summary>('summary');

export function readSummary(bytes: Uint8Array): Summary {
  return summaries(bytes)[0]!;
}

/** What a flag says: whether a row of a size follows the record. */
function behind(name: string, size: number): (follows: boolean, bytes: Uint8Array, at: number) => unknown {
  const { stride } = record(name);
  return (follows, bytes, at) => (follows ? bytes.slice(at + stride, at + stride + size) : undefined);
}

/** The records of a buffer; behind a record may follow one row, which it names. */
function readWithRows<Item>(
  buffer: Uint8Array,
  stride: number,
  read: Read<Item>,
  rowOf: (item: Item) => Uint8Array | undefined,
): Item[] {
  const bytes = plain(buffer);
  const view = viewOf(bytes);
  const items: Item[] = [];
  for (let at = 0; at + stride <= bytes.length; at += stride) {
    const item = read(bytes, view, at);
    at += rowOf(item)?.length ?? 0;
    items.push(item);
  }
  return items;
}

const channelReader = lazy((): Read<ChannelRecord> => {
  const tickRow = behind('channel', layout().tickRowSize);
  return readerOf(record('channel'), { role: roleOf, tickRow });
});

/** Channels; the current tick row follows its record. */
export function readChannels(buffer: Uint8Array): ChannelRecord[] {
  return readWithRows(buffer, record('channel').stride, channelReader(), ({ tickRow }) => tickRow);
}

const outcomeReader = lazy((): Read<Outcome> => {
  const { none, rowSize, tickRowSize } = layout();
  const index = (value: number): number | undefined => (value === none ? undefined : value);
  return readerOf(record('outcome'), {
    status: statusOf,
    channel: index,
    session: index,
    row: behind('outcome', rowSize),
    tickRow: behind('outcome', tickRowSize),
  });
});

/** The outcomes in a buffer of outcome records; the row or tick row that it names follows its record. */
export function readOutcomes(buffer: Uint8Array): Outcome[] {
  const { stride } = record('outcome');
  return readWithRows(buffer, stride, outcomeReader(), ({ row, tickRow }) => row ?? tickRow);
}

interface NoteHead {
  readonly space: number;
  readonly size: number;
  readonly key: Uint8Array;
}

const noteReader = lazy(() => readerOf<NoteHead>(record('note_state')));

/** Notes are of variable size: the value follows its head. */
export function readNotes(buffer: Uint8Array): NoteRecord[] {
  const read = noteReader();
  const { stride } = record('note_state');
  const bytes = plain(buffer);
  const view = viewOf(bytes);
  const notes: NoteRecord[] = [];
  for (let at = 0; at < bytes.length; ) {
    const { space, key, size } = read(bytes, view, at);
    at += stride;
    notes.push({ space, key, value: bytes.slice(at, at + size) });
    at += size;
  }
  return notes;
}

function writer<Item extends object>(name: string): (items: readonly Item[]) => Uint8Array {
  const write = lazy(() => writerOf(record(name)));
  return (items) => {
    const { stride } = record(name);
    const bytes = new Uint8Array(items.length * stride);
    const view = viewOf(bytes);
    const one = write();
    for (let at = 0; at < items.length; at++) one(bytes, view, at * stride, items[at]!);
    return bytes;
  };
}

/** The records of vouchers to verify. */
export const writeVouchers = writer<VoucherClaim>('voucher_claim');

/** The records of ticks to check. */
export const writeTickSteps = writer<TickStep>('tick_step');
/** The records of tick vouchers to verify. */
export const writeTicks = writer<TickClaim>('tick_claim');

/** The records of signatures to recover. */
export const writeRecoveries = writer<RecoveryClaim>('recovery');
