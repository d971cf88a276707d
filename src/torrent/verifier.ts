/**
 * Whole pieces in, verified and written pieces out: hashes in batches off the fetcher's path and writes what
 * is right. At most so many batches are under way; the memory of what waits is bounded by the fetcher.
 */
import { from, type PieceworkError } from '../errors.js';
import { BATCH_BYTES, type Hasher } from './hasher.js';
import { digestMatches, type Storage, type Stored } from './storage.js';

export interface Verifier<Origin> {
  add(piece: number, bytes: Uint8Array, origin: Origin): void;
  /** Resolves when nothing waits or is under way. */
  idle(): Promise<void>;
}

export interface Outcomes<Origin> {
  /** Verified and written. What it returns is waited for before `idle`. */
  written(piece: number, bytes: number, origin: Origin): Promise<void>;
  /** The memory of a piece that was written is nobody's any more. */
  free(memory: Uint8Array): void;
  /** The hash is wrong. */
  bad(piece: number, bytes: number, origin: Origin): void;
  /** Hashing, writing or `written` failed. */
  failed(piece: number, bytes: number, origin: Origin, error: PieceworkError): void;
}

const BATCHES_MAX = 2;

interface Whole<Origin> {
  readonly piece: number;
  readonly bytes: Uint8Array;
  readonly size: number;
  readonly origin: Origin;
}

export function create<Origin>(
  torrent: Stored,
  storage: Pick<Storage, 'writePiece'>,
  hasher: Hasher,
  outcomes: Outcomes<Origin>,
): Verifier<Origin> {
  const waiting: Whole<Origin>[] = [];
  const underway = new Set<Promise<void>>();
  let planned = false;

  /** What waits, up to the bound: a piece that waits alone goes alone. */
  const takeBatch = (): Whole<Origin>[] => {
    let count = 0;
    for (let bytes = 0; count < waiting.length && (count === 0 || bytes < BATCH_BYTES); count++) {
      bytes += waiting[count]?.size ?? 0;
    }
    return waiting.splice(0, count);
  };
  const settle = async (whole: Whole<Origin>, bytes: Uint8Array, right: boolean): Promise<void> => {
    const { piece, size, origin } = whole;
    if (!right) return outcomes.bad(piece, size, origin);
    await storage.writePiece(piece, bytes);
    outcomes.free(bytes);
    await outcomes.written(piece, size, origin);
  };
  const run = async (batch: readonly Whole<Origin>[]): Promise<void> => {
    const fail = (whole: Whole<Origin>, thrown: unknown): void =>
      outcomes.failed(whole.piece, whole.size, whole.origin, from(thrown, 'IO'));
    try {
      const { digests, pieces } = await hasher.hashPieces(
        'sha1',
        batch.map(({ bytes }) => bytes),
      );
      await Promise.all(
        batch.map((whole, at) => {
          const right = digestMatches(torrent, whole.piece, digests, at);
          return settle(whole, pieces[at] ?? new Uint8Array(), right).catch((thrown: unknown) =>
            fail(whole, thrown),
          );
        }),
      );
    } catch (thrown) {
      for (const whole of batch) fail(whole, thrown);
    }
  };
  const start = (): void => {
    planned = false;
    while (waiting.length > 0 && underway.size < BATCHES_MAX) {
      const batch = run(takeBatch()).finally(() => {
        underway.delete(batch);
        start();
      });
      underway.add(batch);
    }
  };
  return {
    add(piece, bytes, origin) {
      waiting.push({ piece, bytes, size: bytes.length, origin });
      if (planned) return;
      planned = true;
      // What arrives in the same read of a socket goes into the same batch.
      setImmediate(start);
    },
    async idle() {
      while (planned || waiting.length > 0 || underway.size > 0) {
        if (underway.size > 0) await Promise.all(underway);
        else await new Promise((resolve) => setImmediate(resolve));
      }
    },
  };
}
