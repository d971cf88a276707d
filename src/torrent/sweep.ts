/**
 * All pieces of a torrent through the hasher: a batch is read while the one before it is hashed, into the memory that
 * the one before that came back in. Two batches are in memory at a time.
 */
import { PieceworkError } from '../errors.js';
import { BATCH_BYTES, type Hasher } from './hasher.js';
import * as Layout from './layout.js';

export interface Sweep {
  readonly layout: Layout.Layout;
  readonly hasher: Hasher;
  /** Fills `target` with a whole piece; what it held before is something else's. False where it is not there. */
  read(index: number, target: Uint8Array): Promise<boolean>;
  /** Of all pieces below `end` that were there: their places in order, with digests one after the other. */
  hashed(indices: readonly number[], digests: Uint8Array, end: number): void;
  readonly signal: AbortSignal | undefined;
}

/** Cost: each piece is read and hashed once. Throws INTERRUPTED when it was aborted, and what `read` throws. */
export async function hashAll({ layout, hasher, read, hashed, signal }: Sweep): Promise<void> {
  const { pieceCount, pieceLength } = layout;
  const perBatch = Math.max(1, Math.floor(BATCH_BYTES / pieceLength));
  // Only the last piece can be shorter, and nothing is read after it.
  const spare: Uint8Array[] = [];
  const hash = async (indices: readonly number[], pieces: Uint8Array[], end: number): Promise<void> => {
    if (indices.length === 0) return hashed(indices, new Uint8Array(), end);
    const done = await hasher.hashPieces('sha1', pieces);
    spare.push(...done.pieces);
    hashed(indices, done.digests, end);
  };
  let hashing: Promise<void> = Promise.resolve();
  try {
    for (let first = 0; first < pieceCount; first += perBatch) {
      if (signal?.aborted) throw new PieceworkError('INTERRUPTED');
      const end = Math.min(first + perBatch, pieceCount);
      const indices: number[] = [];
      const pieces: Uint8Array[] = [];
      for (let index = first; index < end; index++) {
        const size = Layout.pieceBytes(layout, index);
        const piece = (size === pieceLength ? spare.pop() : undefined) ?? new Uint8Array(size);
        if (await read(index, piece)) {
          indices.push(index);
          pieces.push(piece);
        } else {
          spare.push(piece);
        }
      }
      await hashing;
      hashing = hash(indices, pieces, end);
      // Its failure is thrown by who waits for it, which may still be reading.
      hashing.catch(() => undefined);
    }
  } finally {
    await hashing;
  }
}
