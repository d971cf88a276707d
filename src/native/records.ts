/**
 * Commands into records and records into outcomes, through the layout the addon gives. No offset stands here.
 * Values are checked on the way in: an amount is a bigint within uint96, a count a safe integer, bytes have
 * their exact size. Byte fields that come out are copies.
 */
import { PieceworkError } from '../errors.js';
import { AMOUNT_MAX } from '../units.js';
import { type Field, layout, type RecordLayout, record } from './binding.js';

/** The statuses of `docs/spec/ledger.md` 2, at the index of their number. */
export const STATUSES = [
  'ok',
  'bad_range',
  'bad_signature',
  'unknown_channel',
  'unknown_session',
  'closed',
  'wrong_role',
  'duplicate',
  'closing',
  'no_space',
  'exceeds_deposit',
  'exceeds_window',
  'not_increasing',
  'below_step',
  'exceeds_granted',
  'unverified',
  'exceeds_budget',
  'unknown_piece',
  'overflow',
  'too_long',
  'malformed',
] as const;

export type Status = (typeof STATUSES)[number];
export type Role = 'payee' | 'payer';

/** What the ledger is asked to do; `docs/spec/ledger.md` 2 says when it is allowed. */
export type Command =
  | {
      readonly kind: 'channel_put';
      readonly role: Role;
      readonly voucherKey: Uint8Array;
      readonly payee: Uint8Array;
      readonly deposit: bigint;
      readonly settled: bigint;
      readonly closeAt: number;
      readonly block: number;
      /** Where the voucher key comes from the seed; only for a payer. */
      readonly keyIndex?: number;
    }
  | {
      readonly kind: 'session_open';
      readonly channel: number;
      readonly sessionId: Uint8Array;
      readonly infohash: Uint8Array;
      readonly priceMiB: bigint;
      readonly minimumStep: bigint;
      readonly prepay: bigint;
    }
  | { readonly kind: 'session_close'; readonly session: number; readonly deliveredBytes: number }
  | {
      readonly kind: 'grant';
      readonly session: number;
      readonly bytes: number;
      readonly exposureLimit: bigint;
    }
  | {
      readonly kind: 'voucher';
      readonly session: number;
      readonly row: Uint8Array;
      readonly final: boolean;
      readonly verified: boolean;
    }
  | { readonly kind: 'write_off'; readonly session: number; readonly amount: bigint }
  | { readonly kind: 'budget'; readonly infohash: Uint8Array; readonly limit: bigint }
  | { readonly kind: 'purchase'; readonly session: number; readonly piece: number; readonly bytes: number }
  | { readonly kind: 'abandon'; readonly session: number; readonly piece: number }
  | {
      readonly kind: 'pay';
      readonly session: number;
      readonly piece: number;
      readonly bytes: number;
      readonly advance: bigint;
    }
  | { readonly kind: 'sign'; readonly session: number; readonly advance: bigint }
  | { readonly kind: 'adopt'; readonly channel: number; readonly row: Uint8Array }
  | {
      readonly kind: 'note';
      readonly space: number;
      readonly key: Uint8Array;
      /** Absent to erase. */
      readonly value?: Uint8Array;
    };

/** The amounts of a channel that an outcome publishes. */
export interface ChannelAmounts {
  readonly authorized: bigint;
  readonly granted: bigint;
  readonly writtenOff: bigint;
  readonly deposit: bigint;
  readonly due: bigint;
  readonly reserved: bigint;
  readonly unpaid: bigint;
}

/** What became of a command, and its channel as it is after the whole batch. */
export interface Outcome extends ChannelAmounts {
  readonly status: Status;
  readonly channel: number | undefined;
  readonly session: number | undefined;
  /** The row that the batch signed for the channel, if it signed one. */
  readonly row: Uint8Array | undefined;
}

export interface ChannelRecord extends ChannelAmounts {
  readonly index: number;
  readonly role: Role;
  readonly voucherKey: Uint8Array;
  readonly payee: Uint8Array;
  readonly keyIndex: number;
  readonly settled: bigint;
  readonly closeAt: number;
  readonly block: number;
  readonly voucherCount: number;
  /** The head; all zero while nothing is authorized. */
  readonly row: Uint8Array;
}

export interface SessionRecord {
  readonly index: number;
  readonly channel: number;
  readonly sessionId: Uint8Array;
  readonly infohash: Uint8Array;
  readonly pieceCount: number;
  readonly closed: boolean;
  readonly bytes: number;
  readonly outstandingBytes: number;
  readonly deliveredBytes: number;
  readonly priceMiB: bigint;
  readonly minimumStep: bigint;
  readonly prepay: bigint;
  /** The price of `bytes`. */
  readonly owed: bigint;
  /** The price of the outstanding pieces. */
  readonly reserved: bigint;
}

export interface OutstandingRecord {
  readonly session: number;
  readonly piece: number;
  readonly bytes: number;
  readonly infohash: Uint8Array;
}

export interface BudgetRecord {
  readonly infohash: Uint8Array;
  readonly limit: bigint;
  readonly spent: bigint;
  readonly reserved: bigint;
}

export interface NoteRecord {
  readonly space: number;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Counts and sums over the whole ledger. */
export interface Summary {
  readonly sequence: number;
  readonly channelCount: number;
  readonly payerChannelCount: number;
  readonly sessionCount: number;
  readonly openSessionCount: number;
  readonly outstandingCount: number;
  readonly budgetCount: number;
  readonly noteCount: number;
  readonly lowSpace: boolean;
  readonly payeeDeposit: bigint;
  readonly payeeSettled: bigint;
  readonly payeeAuthorized: bigint;
  readonly granted: bigint;
  readonly writtenOff: bigint;
  readonly unpaid: bigint;
  readonly payerDeposit: bigint;
  readonly payerSettled: bigint;
  readonly payerAuthorized: bigint;
  readonly due: bigint;
  readonly reserved: bigint;
  readonly spent: bigint;
}

/** A voucher with the channel it claims, to be verified. */
export interface VoucherClaim {
  readonly voucherKey: Uint8Array;
  readonly payee: Uint8Array;
  readonly row: Uint8Array;
}

/** A value of a hash chain that claims to lead to the one before it in so many steps, at least one. */
export interface TickStep {
  readonly previous: Uint8Array;
  readonly value: Uint8Array;
  readonly steps: number;
}

/** A compact signature `r ‖ vs` and the digest it signs. */
export interface RecoveryClaim {
  readonly digest: Uint8Array;
  readonly signature: Uint8Array;
}

export interface Recovered {
  readonly status: Status;
  /** The signer; zero unless the status is `ok`. */
  readonly address: Uint8Array;
}

type Value = number | bigint | boolean | Uint8Array;
type Values = Readonly<Record<string, Value>>;

const LOW_64 = (1n << 64n) - 1n;
const ROLES: readonly Role[] = ['payee', 'payer'];

/** The status with a number. */
export function statusOf(number: number): Status {
  const status = STATUSES[number];
  if (status === undefined || layout().statuses[number] !== status) {
    throw new PieceworkError('ADDON_MISMATCH', `the addon's status ${number} is not known here`);
  }
  return status;
}

/** The statuses of a buffer of status bytes. */
export function statusesOf(bytes: Uint8Array): Status[] {
  return Array.from(bytes, statusOf);
}

function bad(name: string, what: string): PieceworkError {
  return new PieceworkError('BAD_ARGUMENT', `${name} is not ${what}`);
}

function write(view: DataView, base: number, field: Field, value: Value | undefined): void {
  const { name, kind, size } = field;
  const at = base + field.offset;
  if (kind === 'bytes') {
    if (!(value instanceof Uint8Array) || value.length !== size) throw bad(name, `${size} bytes`);
    new Uint8Array(view.buffer, view.byteOffset + at, size).set(value);
  } else if (kind === 'amount') {
    if (typeof value !== 'bigint' || value < 0n || value > AMOUNT_MAX) throw bad(name, 'an amount');
    view.setBigUint64(at, value & LOW_64, true);
    view.setBigUint64(at + 8, value >> 64n, true);
  } else if (kind === 'flag') {
    if (typeof value !== 'boolean') throw bad(name, 'a boolean');
    view.setUint8(at, value ? 1 : 0);
  } else {
    const max = kind === 'u64' ? Number.MAX_SAFE_INTEGER : 2 ** (8 * size) - 1;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
      throw bad(name, `a whole number up to ${max}`);
    }
    if (kind === 'u64') view.setBigUint64(at, BigInt(value), true);
    else if (kind === 'u32') view.setUint32(at, value, true);
    else if (kind === 'u16') view.setUint16(at, value, true);
    else view.setUint8(at, value);
  }
}

function read(view: DataView, base: number, { kind, offset, size, name }: Field): Value {
  const at = base + offset;
  switch (kind) {
    case 'bytes':
      return new Uint8Array(view.buffer, view.byteOffset + at, size).slice();
    case 'amount':
      return view.getBigUint64(at, true) | (view.getBigUint64(at + 8, true) << 64n);
    case 'flag':
      return view.getUint8(at) === 1;
    case 'u64': {
      const value = Number(view.getBigUint64(at, true));
      if (!Number.isSafeInteger(value)) throw new PieceworkError('INTERNAL', `${name} is out of range`);
      return value;
    }
    case 'u32':
      return view.getUint32(at, true);
    case 'u16':
      return view.getUint16(at, true);
    case 'u8':
      return view.getUint8(at);
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function readRecord(view: DataView, base: number, shape: RecordLayout): Record<string, Value> {
  const values: Record<string, Value> = {};
  for (const field of shape.fields) values[field.name] = read(view, base, field);
  return values;
}

function readAll(bytes: Uint8Array, shape: RecordLayout): Record<string, Value>[] {
  const view = viewOf(bytes);
  const count = Math.floor(bytes.length / shape.stride);
  return Array.from({ length: count }, (_, at) => readRecord(view, at * shape.stride, shape));
}

function roleOf(value: Value | undefined): Role {
  const role = ROLES[Number(value) - 1];
  if (role === undefined) throw new PieceworkError('INTERNAL', `role ${String(value)} is not known`);
  return role;
}

/** Gathers commands of any number of callers into one batch of records and its side buffer. */
export class CommandWriter {
  #bytes = new Uint8Array(16 * record('note').stride);
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
    try {
      for (const command of commands) this.#add(command);
    } catch (thrown) {
      // Records of other kinds leave gaps, which must be zero when the place is used again.
      this.#bytes.fill(0, before.count * record('note').stride);
      this.#count = before.count;
      this.#blobs.length = before.blobs;
      this.#blobBytes = before.blobBytes;
      throw thrown;
    }
  }

  #add(command: Command): void {
    const number = layout().commands[command.kind];
    if (number === undefined) throw new PieceworkError('BAD_ARGUMENT', `no command ${command.kind}`);
    const shape = record(command.kind);
    const base = this.#count * shape.stride;
    if (base + shape.stride > this.#bytes.length) {
      const grown = new Uint8Array(this.#bytes.length * 2);
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    const values = this.#values(command, number);
    const view = viewOf(this.#bytes);
    for (const field of shape.fields) write(view, base, field, values[field.name]);
    this.#count += 1;
  }

  #values(command: Command, kind: number): Values {
    if (command.kind === 'channel_put') {
      return { keyIndex: 0, ...command, kind, role: ROLES.indexOf(command.role) + 1 };
    }
    if (command.kind !== 'note') return { ...command, kind };
    const { space, key, value } = command;
    const head = { kind, space, key, valueOffset: this.#blobBytes, valueSize: value?.length ?? 0 };
    if (value) {
      this.#blobs.push(value);
      this.#blobBytes += value.length;
    }
    return { ...head, present: value !== undefined };
  }

  /** The records and the side buffer, copied. */
  finish(): { commands: Uint8Array; blobs: Uint8Array } {
    const commands = this.#bytes.slice(0, this.#count * record('note').stride);
    const blobs = new Uint8Array(this.#blobBytes);
    let at = 0;
    for (const blob of this.#blobs) {
      blobs.set(blob, at);
      at += blob.length;
    }
    return { commands, blobs };
  }
}

/** The outcomes in a buffer of outcome records. */
export function readOutcomes(bytes: Uint8Array): Outcome[] {
  const { none } = layout();
  return readAll(bytes, record('outcome')).map((values) => {
    const { signed, ...rest } = values;
    const index = (value: Value | undefined) => (value === none ? undefined : Number(value));
    return {
      ...rest,
      status: statusOf(Number(values['status'])),
      channel: index(values['channel']),
      session: index(values['session']),
      row: signed === true ? values['row'] : undefined,
    } as unknown as Outcome;
  });
}

export function readChannels(bytes: Uint8Array): ChannelRecord[] {
  const withRole = (values: Values) => ({ ...values, role: roleOf(values['role']) });
  return readAll(bytes, record('channel')).map(withRole) as unknown as ChannelRecord[];
}

export function readSessions(bytes: Uint8Array): SessionRecord[] {
  return readAll(bytes, record('session')) as unknown as SessionRecord[];
}

export function readOutstanding(bytes: Uint8Array): OutstandingRecord[] {
  return readAll(bytes, record('outstanding')) as unknown as OutstandingRecord[];
}

export function readBudgets(bytes: Uint8Array): BudgetRecord[] {
  return readAll(bytes, record('budget_state')) as unknown as BudgetRecord[];
}

export function readSummary(bytes: Uint8Array): Summary {
  return readRecord(viewOf(bytes), 0, record('summary')) as unknown as Summary;
}

/** Notes are the only records of variable size: the value follows its head. */
export function readNotes(bytes: Uint8Array): NoteRecord[] {
  const shape = record('note_state');
  const view = viewOf(bytes);
  const notes: NoteRecord[] = [];
  for (let at = 0; at < bytes.length; ) {
    const { space, key, size } = readRecord(view, at, shape);
    at += shape.stride;
    notes.push({ space, key, value: bytes.slice(at, at + Number(size)) } as NoteRecord);
    at += Number(size);
  }
  return notes;
}

function writeAll(name: string, claims: readonly Values[]): Uint8Array {
  const shape = record(name);
  const bytes = new Uint8Array(claims.length * shape.stride);
  const view = viewOf(bytes);
  claims.forEach((claim, at) => {
    for (const field of shape.fields) write(view, at * shape.stride, field, claim[field.name]);
  });
  return bytes;
}

/** The records of vouchers to verify. */
export function writeVouchers(claims: readonly VoucherClaim[]): Uint8Array {
  return writeAll('voucher_claim', claims as unknown as readonly Values[]);
}

/** The records of ticks to check. */
export function writeTickSteps(steps: readonly TickStep[]): Uint8Array {
  return writeAll('tick_step', steps as unknown as readonly Values[]);
}

/** The records of signatures to recover. */
export function writeRecoveries(claims: readonly RecoveryClaim[]): Uint8Array {
  return writeAll('recovery', claims as unknown as readonly Values[]);
}

export function readRecovered(bytes: Uint8Array): Recovered[] {
  return readAll(bytes, record('recovered')).map((values) => ({
    status: statusOf(Number(values['status'])),
    address: values['address'] as Uint8Array,
  }));
}
