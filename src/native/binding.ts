/**
 * The only door to the native addon: loads it, compares versions, and gives its exceptions a code. What the
 * verbs mean stands in `native/src`; strides and offsets come from the addon itself and are repeated nowhere.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { ERRORS, type ErrorCode, PieceworkError } from '../errors.js';

/** The version of the boundary this code is written against. */
const ABI_VERSION = 2;

export type PieceAlgorithm = 'sha1' | 'sha256';
export type TableName = 'channels' | 'sessions' | 'outstanding' | 'budgets' | 'notes';
export type FieldKind = 'flag' | 'u8' | 'u16' | 'u32' | 'u64' | 'uint96' | 'amount' | 'bytes';

export interface Field {
  readonly name: string;
  readonly kind: FieldKind;
  readonly offset: number;
  readonly size: number;
}

export interface RecordLayout {
  readonly stride: number;
  readonly fields: readonly Field[];
}

/** The addon's own description of its records. */
export interface Layout {
  readonly abiVersion: number;
  /** Stands for "no channel" and "no session" in outcomes. */
  readonly none: number;
  readonly rowSize: number;
  readonly tickRowSize: number;
  readonly chainLengthMax: number;
  readonly noteSizeMax: number;
  readonly statuses: readonly string[];
  /** Command numbers by name; the layout of a command is the record of the same name. */
  readonly commands: Readonly<Record<string, number>>;
  readonly records: Readonly<Record<string, RecordLayout>>;
}

/** What opening a ledger found. */
export interface Opened {
  readonly handle: number;
  readonly created: boolean;
  readonly ledgerId: Uint8Array;
  readonly sequence: number;
  /** The frame of the checkpoint that reading started from, 0 if none. */
  readonly checkpointSequence: number;
  readonly checkpointsDamaged: number;
  /** Frames applied after the checkpoint. */
  readonly frameCount: number;
  /** Bytes of a torn tail that were zeroed. */
  readonly cutBytes: number;
}

/** The verbs of the addon. All are synchronous; those that wait for the disk belong to the lane. */
export interface Addon {
  abiVersion(): number;
  layout(): string;
  cpuFeatures(): string[];
  domainSeparator(chainId: bigint, hub: Uint8Array): Uint8Array;
  hashPieces(algorithm: PieceAlgorithm, pieces: readonly Uint8Array[]): Uint8Array;
  /** One status byte per `tick_step` record (records.writeTickSteps). */
  checkTicks(steps: Uint8Array): Uint8Array;
  walkTicks(value: Uint8Array, steps: number): Uint8Array;
  voucherDigests(domain: Uint8Array, rows: Uint8Array): Uint8Array;
  verifyVouchers(domain: Uint8Array, rows: Uint8Array): Uint8Array;
  verifyTicks(domain: Uint8Array, rows: Uint8Array): Uint8Array;
  recoverDigests(rows: Uint8Array): Uint8Array;
  signDigests(secret: Uint8Array, digests: Uint8Array): Uint8Array;
  signVoucher(domain: Uint8Array, secret: Uint8Array, payee: Uint8Array, amount: bigint): Uint8Array;
  addressOf(secret: Uint8Array): Uint8Array;
  deriveVoucherKeys(seed: Uint8Array, firstIndex: bigint, count: number): Uint8Array;
  deriveVoucherSecret(seed: Uint8Array, index: bigint): Uint8Array;
  ledgerOpen(
    folder: string,
    chainId: bigint,
    hub: Uint8Array,
    segmentBytes: number | undefined,
    seed: Uint8Array | undefined,
  ): Opened;
  ledgerCommit(handle: number, commands: Uint8Array, blobs: Uint8Array): Uint8Array;
  ledgerScreen(handle: number, commands: Uint8Array, blobs: Uint8Array): Uint8Array;
  ledgerRead(handle: number, table: TableName, from: number, count: number): Uint8Array;
  ledgerSummary(handle: number): Uint8Array;
  ledgerFindChannel(handle: number, voucherKey: Uint8Array, payee: Uint8Array): number | null;
  ledgerFindSession(handle: number, sessionId: Uint8Array): number | null;
  ledgerNote(handle: number, space: number, key: Uint8Array): Uint8Array | null;
  ledgerStateHash(handle: number): Uint8Array;
  ledgerCheckpoint(handle: number): void;
  ledgerClose(handle: number): void;
}

let addon: Addon | undefined;
let description: Layout | undefined;

/** The addon, loaded on first use. */
export function load(): Addon {
  addon ??= open();
  return addon;
}

/** The layout of all records. */
export function layout(): Layout {
  description ??= JSON.parse(load().layout()) as Layout;
  return description;
}

/** The layout of one record. */
export function record(name: string): RecordLayout {
  const found = layout().records[name];
  if (!found) throw new PieceworkError('ADDON_MISMATCH', `the addon has no record ${name}`);
  return found;
}

function open(): Addon {
  const override = process.env['PIECEWORK_ADDON'];
  // The same two steps up lead to the repository from dist/native and from src/native.
  const path = override ?? fileURLToPath(new URL('../../native/piecework.node', import.meta.url));
  if (!existsSync(path)) {
    throw new PieceworkError('ADDON_MISSING', `${path} does not exist; run \`npm run setup\``);
  }
  let loaded: Addon;
  try {
    loaded = createRequire(import.meta.url)(path) as Addon;
  } catch (cause) {
    throw new PieceworkError('ADDON_MISSING', `${path} cannot be loaded; run \`npm run setup\``, { cause });
  }
  const version = typeof loaded.abiVersion === 'function' ? loaded.abiVersion() : 0;
  if (version !== ABI_VERSION) {
    const detail = `${path} has version ${version} instead of ${ABI_VERSION}; run \`npm run setup\``;
    throw new PieceworkError('ADDON_MISMATCH', detail);
  }
  return loaded;
}

/** Codes of the addon that the table of operation errors knows by another name. */
const RENAMED: Readonly<Record<string, ErrorCode>> = {
  NATIVE_PANIC: 'INTERNAL',
  LEDGER_CLOSED: 'EXECUTOR_CLOSED',
};

/** Gives an exception of the addon its code, which its message begins with. */
export function failure(thrown: unknown): PieceworkError {
  if (thrown instanceof PieceworkError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const name = /^([A-Z_]+): /.exec(message)?.[1] ?? '';
  const code = RENAMED[name] ?? (Object.hasOwn(ERRORS, name) ? (name as ErrorCode) : 'INTERNAL');
  const detail = name === '' ? message : message.slice(name.length + 2);
  return new PieceworkError(code, detail, { cause: thrown });
}

/** Runs a synchronous verb; what it throws has a code. */
export function call<T>(verb: (addon: Addon) => T): T {
  try {
    return verb(load());
  } catch (thrown) {
    throw failure(thrown);
  }
}
