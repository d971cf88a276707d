/**
 * What this room needs of whoever hashes, and a plain implementation of it. The engine passes one that works
 * on other threads; this one is for tests, for small jobs and for when there are no threads.
 */
import { createHash } from 'node:crypto';
import { MIB } from '../units.js';

export const DIGEST_BYTES = 20;
/** What goes to the hasher at once: of pieces of 1 MiB as many as it hashes side by side. */
export const BATCH_BYTES = 16 * MIB;

export interface Hasher {
  /**
   * Digests of whole pieces, `DIGEST_BYTES` each, in order. The pieces may be moved to another thread: what
   * comes back as `pieces` replaces what was given.
   */
  hashPieces(
    algorithm: 'sha1',
    pieces: Uint8Array[],
  ): Promise<{ readonly digests: Uint8Array; readonly pieces: Uint8Array[] }>;
}

/** Hashes on the calling thread. */
export const plainHasher: Hasher = {
  async hashPieces(algorithm, pieces) {
    const digests = new Uint8Array(pieces.length * DIGEST_BYTES);
    pieces.forEach((piece, at) => {
      digests.set(createHash(algorithm).update(piece).digest(), at * DIGEST_BYTES);
    });
    return { digests, pieces };
  },
};
