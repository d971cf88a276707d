/**
 * The owner of threads. Work without state goes to a wide pool; what concerns a ledger goes to one ordered
 * lane, so that order and replay are deterministic. `inline` does the same on the calling thread, for tests and
 * simulation. Both bound what waits and let everything finish before they close.
 */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import { PieceworkError } from '../errors.js';
import { load, type PieceAlgorithm, record } from './binding.js';
import { Lane } from './lane.js';
import {
  type Arguments,
  type HashedPieces,
  type LaneVerbs,
  perform,
  type Reply,
  type Result,
  settle,
  type Task,
  transferable,
  type Verb,
} from './work.js';

export interface Executor {
  /**
   * Digests of pieces, one after the other. The buffers of the pieces may travel to a thread and back: use the
   * returned views, the given ones may be detached, even after a failure.
   */
  hashPieces(algorithm: PieceAlgorithm, pieces: readonly Uint8Array[]): Promise<HashedPieces>;
  /** One status byte per `tick_step` record (records.writeTickSteps); few are checked faster where they are. */
  checkTicks(steps: Uint8Array): Promise<Uint8Array>;
  /** One status byte per `voucher_claim` record (records.writeVouchers). */
  verifyVouchers(domain: Uint8Array, rows: Uint8Array): Promise<Uint8Array>;
  /** One status byte per `tick_claim` record (records.writeTicks). */
  verifyTicks(domain: Uint8Array, rows: Uint8Array): Promise<Uint8Array>;
  /** One `recovered` record per `recovery` record (records.writeRecoveries). */
  recoverDigests(rows: Uint8Array): Promise<Uint8Array>;
  /** One 64-byte signature per 32-byte digest. */
  signDigests(secret: Uint8Array, digests: Uint8Array): Promise<Uint8Array>;
  /** The addresses of voucher keys, 20 bytes each. */
  deriveVoucherKeys(seed: Uint8Array, firstIndex: number, count: number): Promise<Uint8Array>;
  /**
   * Runs a verb of the ordered lane, behind all that were asked for before. The buffers of a commit are handed
   * over: their views are not to be used afterwards.
   */
  lane<V extends keyof LaneVerbs>(verb: V, ...values: Arguments<V>): Promise<Result<V>>;
  /** Lets everything that was accepted finish, then ends the threads. Later work is refused. */
  close(): Promise<void>;
}

export interface ExecutorOptions {
  /** Threads of the wide pool; as many as the processor has, up to eight. */
  readonly threads?: number;
  /** Tasks that may wait or run at once; more are refused with QUEUE_FULL. */
  readonly queueMax?: number;
}

const threadsMax = 8;
const queueMaxDefault = 10_000;
/** A batch of signatures is split over the threads in parts of at least this many. */
const signaturesPerTaskMin = 32;
/** A thread hashes sixteen pieces in little more time than one, and four where there are fewer. */
const piecesPerTaskMin = { many: 16, few: 4 };

/**
 * Threads import the module that they run. Required, as the pool tries first, it brings the whole process down on Node 20
 * where the pool is closed in the very moment that it is linked.
 */
const imported = process.allowedNodeEnvironmentFlags.has('--experimental-require-module')
  ? ['--no-experimental-require-module']
  : [];

/** Does work on one of two roads and counts what is under way. */
type Dispatch = (road: 'wide' | 'lane', task: Task, transfer: ArrayBuffer[]) => Promise<Reply>;

/** An executor with threads: a wide pool and a lane of one. */
export function pool(options: ExecutorOptions = {}): Executor {
  // The first load happens on the main thread, so that the addon outlives its workers.
  load();
  const threads = options.threads ?? Math.min(availableParallelism(), threadsMax);
  const common = { filename: pathOf('worker'), name: 'run', execArgv: imported, concurrentTasksPerWorker: 1 };
  const wide = new Piscina({ ...common, minThreads: 1, maxThreads: threads, idleTimeout: 10_000 });
  const lane = new Lane(pathOf('lane-worker'));
  return build(
    threads,
    options.queueMax ?? queueMaxDefault,
    (road, task, transfer) =>
      road === 'lane'
        ? lane.run(task, transfer)
        : (wide.run(task, { transferList: transfer }) as Promise<Reply>),
    async () => {
      await Promise.all([wide.destroy(), lane.close()]);
    },
  );
}

/** An executor without threads: the work is done in order, each in a turn of its own. */
export function inline(options: ExecutorOptions = {}): Executor {
  load();
  let last: Promise<unknown> = Promise.resolve();
  const dispatch: Dispatch = (_road, task) => {
    const done = last.then(() => perform(task));
    last = done;
    return done;
  };
  return build(1, options.queueMax ?? queueMaxDefault, dispatch, async () => {});
}

/** The module that a thread runs. Sources run by a test runner have no compiled neighbour: the last build's serves them. */
function pathOf(worker: string): string {
  const candidates = [`./${worker}.js`, `../../dist/native/${worker}.js`];
  const paths = candidates.map((path) => fileURLToPath(new URL(path, import.meta.url)));
  const found = paths.find((path) => existsSync(path));
  if (found === undefined) {
    throw new PieceworkError('ADDON_MISSING', `${paths[1]} does not exist; run \`npm run setup\``);
  }
  return found;
}

function buffersOf(values: readonly unknown[]): ArrayBuffer[] {
  const views = values.filter((value) => value instanceof Uint8Array);
  return [...new Set(views.map(({ buffer }) => buffer as ArrayBuffer))];
}

function build(threads: number, queueMax: number, dispatch: Dispatch, end: () => Promise<void>): Executor {
  // Counted, not gathered: a set that tasks enter and leave would keep them from being collected as garbage soon.
  let under = 0;
  let rest = (): void => undefined;
  let closing: Promise<void> | undefined;

  async function run<V extends Verb>(
    road: 'wide' | 'lane',
    verb: V,
    values: Arguments<V>,
    transfer: ArrayBuffer[] = [],
  ): Promise<Result<V>> {
    if (closing) throw new PieceworkError('EXECUTOR_CLOSED');
    if (under >= queueMax) throw new PieceworkError('QUEUE_FULL');
    under += 1;
    try {
      return settle<V>(await dispatch(road, { verb, values } as Task, transfer));
    } finally {
      under -= 1;
      if (under === 0) rest();
    }
  }

  /** Runs a verb over parts of its rows and joins what comes back, in order. */
  async function split(
    rows: Uint8Array,
    stride: number,
    verb: (part: Uint8Array) => Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    const count = Math.floor(rows.length / stride);
    const parts = Math.max(1, Math.min(threads, Math.floor(count / signaturesPerTaskMin)));
    if (parts === 1) return verb(rows);
    const each = Math.ceil(count / parts) * stride;
    const slices = Array.from({ length: parts }, (_, at) => {
      // The last part takes what is left over, so that a bad size is still noticed.
      return rows.slice(at * each, at === parts - 1 ? rows.length : (at + 1) * each);
    });
    return Buffer.concat(await Promise.all(slices.map(verb)));
  }

  return {
    async hashPieces(algorithm, pieces) {
      const buffers = new Set(pieces.map(({ buffer }) => buffer));
      const { many, few } = piecesPerTaskMin;
      const wanted = Math.floor(pieces.length / (pieces.length < many ? few : many));
      // Pieces that share a buffer must stay together; smaller parts would cost more time of all threads.
      const parts = buffers.size === pieces.length ? Math.max(1, Math.min(threads, wanted)) : 1;
      const each = Math.ceil(pieces.length / parts);
      const groups = Array.from({ length: parts }, (_, at) => pieces.slice(at * each, (at + 1) * each));
      const done = await Promise.all(
        groups.map((group) => run('wide', 'hashPieces', [algorithm, group], transferable(group))),
      );
      const digests = done.map((part) => part.digests);
      const joined = digests.length === 1 && digests[0] ? digests[0] : Buffer.concat(digests);
      return { digests: joined, pieces: done.flatMap((part) => part.pieces) };
    },
    checkTicks: (steps) => run('wide', 'checkTicks', [steps]),
    verifyVouchers: (domain, rows) =>
      split(rows, record('voucher_claim').stride, (part) => run('wide', 'verifyVouchers', [domain, part])),
    verifyTicks: (domain, rows) =>
      split(rows, record('tick_claim').stride, (part) => run('wide', 'verifyTicks', [domain, part])),
    recoverDigests: (rows) =>
      split(rows, record('recovery').stride, (part) => run('wide', 'recoverDigests', [part])),
    signDigests: (secret, digests) =>
      split(digests, 32, (part) => run('wide', 'signDigests', [secret, part])),
    deriveVoucherKeys: (seed, firstIndex, count) =>
      run('wide', 'deriveVoucherKeys', [seed, firstIndex, count]),
    lane: (verb, ...values) => run('lane', verb, values, verb === 'commit' ? buffersOf(values) : []),
    close() {
      closing ??= (async () => {
        if (under > 0) await new Promise<void>((resolve) => (rest = resolve));
        await end();
      })();
      return closing;
    },
  };
}
