/**
 * Reads what is about to be sent: stretches of pieces, shared by all peers of a torrent, laid out as they go over the
 * wire, so that a run of blocks costs one view and no copy. Buffers are used again as soon as a stretch was given out
 * in full and has left, while they are still warm. Bounded in bytes; empty when nothing was asked for lately.
 */
import { from, type PieceworkError } from '../errors.js';
import { blockBytesMax, blockHeadBytes } from '../limits.js';
import { MIB } from '../units.js';
import * as Layout from './layout.js';
import type { Storage } from './storage.js';

/** Blocks that follow each other, with room for a message's head in front of each. */
export interface Loan {
  readonly frames: Uint8Array;
  /** The blocks' own bytes. */
  readonly bytes: number;
  /** The frames are not read any more. Without it their buffer is not used again. */
  release(): void;
}

export interface ReadAhead {
  /**
   * As much of a run of blocks as lies in one stretch; undefined when it is not in memory. `offset` must be a
   * multiple of 16 KiB, `length` one too or reach the piece's end. Room may be written to, blocks may not.
   */
  lend(index: number, offset: number, length: number): Loan | undefined;
  /** A copy of any part of a piece; undefined when it is not in memory. */
  copy(index: number, offset: number, length: number): Uint8Array | undefined;
  /** Reads what a part of a piece lies in. Rejects with a PieceworkError. */
  load(index: number, offset: number, length: number): Promise<void>;
  /** Begins to read what lies at a place, if it is not there and nobody reads it. */
  prefetch(index: number, offset: number): void;
  /** Drops what was not used since the last call. */
  forget(): void;
}

const STRETCH_BYTES = MIB;
const KEPT_BYTES = 32 * MIB;
/** Buffers that wait to be used again. */
const SPARES_MAX = 4;
const FRAME_BYTES = blockHeadBytes + blockBytesMax;

interface Stretch {
  readonly buffer: Buffered;
  readonly length: number;
  /** Loans that were not released, and bytes lent so far. */
  loans: number;
  lent: number;
  used: boolean;
}

/** A whole stretch's frames, and the places of its blocks in them. */
interface Buffered {
  readonly frames: Uint8Array;
  readonly blocks: readonly Uint8Array[];
}

export function create(
  storage: Pick<Storage, 'readInto'>,
  layout: Layout.Layout,
  keptBytesMax: number = KEPT_BYTES,
): ReadAhead {
  const stretchBytes = Math.min(STRETCH_BYTES, layout.pieceLength);
  const perPiece = Math.ceil(layout.pieceLength / stretchBytes);
  const keptMax = Math.max(4, Math.floor(keptBytesMax / stretchBytes));
  // Insertion order is the order of last use.
  const kept = new Map<number, Stretch>();
  const loading = new Map<number, Promise<void>>();
  const spares: Buffered[] = [];

  const keyOf = (index: number, offset: number): number =>
    index * perPiece + Math.floor(offset / stretchBytes);
  const drop = (key: number, { buffer, length, loans }: Stretch): void => {
    kept.delete(key);
    if (loans === 0 && length === stretchBytes && spares.length < SPARES_MAX) spares.push(buffer);
  };
  const loadKey = (key: number): Promise<void> => {
    const underway = loading.get(key);
    if (underway) return underway;
    const index = Math.floor(key / perPiece);
    const start = (key % perPiece) * stretchBytes;
    const length = Math.min(stretchBytes, Layout.pieceBytes(layout, index) - start);
    const buffer = (length === stretchBytes && spares.pop()) || allocate(length);
    const read = storage
      .readInto(index, start, buffer.blocks)
      .then(() => {
        kept.set(key, { buffer, length, loans: 0, lent: 0, used: true });
        for (const [oldest, stretch] of kept) {
          if (kept.size <= keptMax) break;
          drop(oldest, stretch);
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
    lend(index, offset, length) {
      const key = keyOf(index, offset);
      const stretch = use(key);
      if (!stretch) return undefined;
      const start = offset % stretchBytes;
      const bytes = Math.min(length, stretch.length - start);
      stretch.loans++;
      stretch.lent += bytes;
      const { frames } = stretch.buffer;
      const from = frameAt(start);
      return {
        frames: frames.subarray(from, Math.min(frameAt(start + bytes + blockBytesMax - 1), frames.length)),
        bytes,
        release() {
          stretch.loans--;
          // Who else wants it finds it in the system's cache: the buffer is worth more.
          if (stretch.loans === 0 && stretch.lent >= stretch.length && kept.get(key) === stretch)
            drop(key, stretch);
        },
      };
    },
    copy(index, offset, length) {
      const copied = new Uint8Array(length);
      let done = 0;
      for (let at = offset; done < length; at = offset + done) {
        const stretch = use(keyOf(index, at));
        if (!stretch) return undefined;
        const start = at % stretchBytes;
        const block = stretch.buffer.blocks[Math.floor(start / blockBytesMax)] ?? new Uint8Array();
        const part = block.subarray(start % blockBytesMax).subarray(0, length - done);
        copied.set(part, done);
        done += part.length;
      }
      return copied;
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
      spares.length = 0;
      for (const [key, stretch] of kept) {
        if (!stretch.used) kept.delete(key);
        stretch.used = false;
      }
    },
  };
}

/** Where the frame of the block that a byte lies in begins. */
const frameAt = (byte: number): number => Math.floor(byte / blockBytesMax) * FRAME_BYTES;

function allocate(length: number): Buffered {
  const count = Math.ceil(length / blockBytesMax);
  const frames = new Uint8Array(count * blockHeadBytes + length);
  const blocks = Array.from({ length: count }, (_, at) => {
    const start = at * FRAME_BYTES + blockHeadBytes;
    return frames.subarray(start, start + Math.min(blockBytesMax, length - at * blockBytesMax));
  });
  return { frames, blocks };
}
