/**
 * Reads what is about to be sent: stretches of pieces, kept for a moment and shared by all peers of a torrent,
 * so that a block costs a view and not a read. Bounded in bytes; empty when nothing was asked for lately.
 */
import { from, type PieceworkError } from '../errors.js';
import { MIB } from '../units.js';
import * as Layout from './layout.js';
import type { Storage } from './storage.js';

export interface ReadAhead {
  /** The bytes if they are in memory: a view that nobody may write to. */
  take(index: number, offset: number, length: number): Uint8Array | undefined;
  /** Reads what a block lies in. Rejects with a PieceworkError. */
  load(index: number, offset: number, length: number): Promise<void>;
  /** Begins to read what lies at a place, if it is not there and nobody reads it. */
  prefetch(index: number, offset: number): void;
  /** Drops what was not used since the last call. */
  forget(): void;
}

const STRETCH_BYTES = MIB;
const KEPT_BYTES = 32 * MIB;

interface Stretch {
  readonly bytes: Uint8Array;
  used: boolean;
}

export function create(
  storage: Pick<Storage, 'readBlock'>,
  layout: Layout.Layout,
  keptBytesMax: number = KEPT_BYTES,
): ReadAhead {
  const stretchBytes = Math.min(STRETCH_BYTES, layout.pieceLength);
  const perPiece = Math.ceil(layout.pieceLength / stretchBytes);
  const keptMax = Math.max(4, Math.floor(keptBytesMax / stretchBytes));
  // Insertion order is the order of last use.
  const kept = new Map<number, Stretch>();
  const loading = new Map<number, Promise<void>>();

  const keyOf = (index: number, offset: number): number =>
    index * perPiece + Math.floor(offset / stretchBytes);
  const loadKey = (key: number): Promise<void> => {
    const underway = loading.get(key);
    if (underway) return underway;
    const index = Math.floor(key / perPiece);
    const start = (key % perPiece) * stretchBytes;
    const length = Math.min(stretchBytes, Layout.pieceBytes(layout, index) - start);
    const read = storage
      .readBlock(index, start, length)
      .then((bytes) => {
        kept.set(key, { bytes, used: true });
        for (const oldest of kept.keys()) {
          if (kept.size <= keptMax) break;
          kept.delete(oldest);
        }
      })
      .catch((thrown: unknown): never => {
        throw from(thrown, 'IO') as PieceworkError;
      })
      .finally(() => loading.delete(key));
    loading.set(key, read);
    return read;
  };
  const use = (key: number): Stretch | undefined => {
    const stretch = kept.get(key);
    if (!stretch) return undefined;
    stretch.used = true;
    kept.delete(key);
    kept.set(key, stretch);
    return stretch;
  };

  return {
    take(index, offset, length) {
      const first = keyOf(index, offset);
      const last = keyOf(index, offset + length - 1);
      const start = offset % stretchBytes;
      if (first === last) return use(first)?.bytes.subarray(start, start + length);
      const parts: Uint8Array[] = [];
      for (let key = first; key <= last; key++) {
        const stretch = use(key);
        if (!stretch) return undefined;
        parts.push(stretch.bytes);
      }
      return Buffer.concat(parts).subarray(start, start + length);
    },
    async load(index, offset, length) {
      const last = keyOf(index, offset + length - 1);
      for (let key = keyOf(index, offset); key <= last; key++) if (!kept.has(key)) await loadKey(key);
    },
    prefetch(index, offset) {
      const key = keyOf(index, offset);
      // Nobody waits for this read: whoever needs the bytes will meet the same error.
      if (!kept.has(key) && !loading.has(key)) loadKey(key).catch(() => {});
    },
    forget() {
      for (const [key, stretch] of kept) {
        if (!stretch.used) kept.delete(key);
        stretch.used = false;
      }
    },
  };
}
