/**
 * The work that threads do: one table of verbs, the same for the pool and for the inline executor. A verb takes
 * and gives plain values that can be cloned; what it throws crosses threads as text that begins with a code.
 */
import { call, failure, type Opened, type PieceAlgorithm, type TableName } from './binding.js';

export interface LedgerPlace {
  readonly folder: string;
  readonly chainId: bigint;
  readonly hub: Uint8Array;
  readonly segmentBytes: number | undefined;
  readonly seed: Uint8Array | undefined;
}

/** Digests one after the other, and the pieces back: their buffers travelled. */
export interface HashedPieces {
  readonly digests: Uint8Array;
  readonly pieces: Uint8Array[];
}

/** Verbs of the wide pool: they keep no state and may run in any order. */
const wide = {
  hashPieces: (algorithm: PieceAlgorithm, pieces: Uint8Array[]): HashedPieces => ({
    digests: call((addon) => addon.hashPieces(algorithm, pieces)),
    pieces,
  }),
  checkTicks: (steps: Uint8Array): Uint8Array => call((addon) => addon.checkTicks(steps)),
  verifyVouchers: (domain: Uint8Array, rows: Uint8Array): Uint8Array =>
    call((addon) => addon.verifyVouchers(domain, rows)),
  verifyTicks: (domain: Uint8Array, rows: Uint8Array): Uint8Array =>
    call((addon) => addon.verifyTicks(domain, rows)),
  recoverDigests: (rows: Uint8Array): Uint8Array => call((addon) => addon.recoverDigests(rows)),
  signDigests: (secret: Uint8Array, digests: Uint8Array): Uint8Array =>
    call((addon) => addon.signDigests(secret, digests)),
  deriveVoucherKeys: (seed: Uint8Array, firstIndex: number, count: number): Uint8Array =>
    call((addon) => addon.deriveVoucherKeys(seed, BigInt(firstIndex), count)),
};

/** Verbs of the ordered lane: they run one after the other, so what they read is durable. */
const lane = {
  open: (place: LedgerPlace): Opened =>
    call((addon) => addon.ledgerOpen(place.folder, place.chainId, place.hub, place.segmentBytes, place.seed)),
  commit: (handle: number, commands: Uint8Array, blobs: Uint8Array): Uint8Array =>
    call((addon) => addon.ledgerCommit(handle, commands, blobs)),
  read: (handle: number, table: TableName, from: number, count: number): Uint8Array =>
    call((addon) => addon.ledgerRead(handle, table, from, count)),
  summary: (handle: number): Uint8Array => call((addon) => addon.ledgerSummary(handle)),
  note: (handle: number, space: number, key: Uint8Array): Uint8Array | null =>
    call((addon) => addon.ledgerNote(handle, space, key)),
  stateHash: (handle: number): Uint8Array => call((addon) => addon.ledgerStateHash(handle)),
  checkpoint: (handle: number): void => call((addon) => addon.ledgerCheckpoint(handle)),
  close: (handle: number): void => call((addon) => addon.ledgerClose(handle)),
};

export type WideVerbs = typeof wide;
export type LaneVerbs = typeof lane;
export type Verbs = WideVerbs & LaneVerbs;
export type Verb = keyof Verbs;
export type Arguments<V extends Verb> = Parameters<Verbs[V]>;
export type Result<V extends Verb> = ReturnType<Verbs[V]>;

const verbs: Record<Verb, (...values: never[]) => unknown> = { ...wide, ...lane };

/** One piece of work on its way to a thread. */
export interface Task<V extends Verb = Verb> {
  readonly verb: V;
  readonly values: Arguments<V>;
}

/** What came of it. */
export type Reply = { readonly value: unknown } | { readonly failed: string };

/** Does the work; it never throws. */
export function perform(task: Task): Reply {
  try {
    return { value: verbs[task.verb](...(task.values as unknown as never[])) };
  } catch (thrown) {
    const { code, message } = failure(thrown);
    return { failed: `${code}: ${message}` };
  }
}

/** The result in a reply; throws the error with its code. */
export function settle<V extends Verb>(reply: Reply): Result<V> {
  if ('failed' in reply) throw failure(reply.failed);
  return reply.value as Result<V>;
}

/**
 * The buffers that may be handed over instead of copied: those that a view covers whole, each once. A view on
 * a part of a buffer is copied, since the rest is someone else's.
 */
export function transferable(views: readonly Uint8Array[]): ArrayBuffer[] {
  const whole = views.filter(
    ({ buffer, byteLength }) => buffer instanceof ArrayBuffer && byteLength === buffer.byteLength,
  );
  return [...new Set(whole.map(({ buffer }) => buffer as ArrayBuffer))];
}
