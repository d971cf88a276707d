/**
 * The only door to payload files. It turns pieces and blocks into stretches of files and back, knows which
 * pieces are there and verified, and checks them against the torrent. Whether a piece's hash is right before it
 * is written is the fetcher's business.
 *
 * A piece counts as there only after it was verified in this process: by `check` or by whoever wrote it.
 */
import { mkdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { from, PieceworkError } from '../errors.js';
import { sameBytes } from '../units.js';
import * as Files from './files.js';
import { DIGEST_BYTES, type Hasher } from './hasher.js';
import * as Layout from './layout.js';
import { hashAll } from './sweep.js';

/** What of a torrent its storage needs. */
export interface Stored extends Layout.Layout {
  readonly pieceHashes: Uint8Array;
}

export interface CheckProgress {
  readonly piecesChecked: number;
  readonly piecesFound: number;
  readonly pieceCount: number;
}

export interface Storage {
  /** Verified pieces, first piece in the highest bit (BEP 3). A live view: copy to keep. */
  readonly bits: Uint8Array;
  readonly pieceCount: number;
  /** How many pieces are there. */
  count(): number;
  complete(): boolean;
  has(index: number): boolean;
  /** Reads part of a piece into new memory. Throws SOURCE_CHANGED when a file has become shorter. */
  readBlock(index: number, offset: number, length: number): Promise<Uint8Array>;
  /** The same into memory that is there: `parts`, filled one after the other. */
  readInto(index: number, offset: number, parts: readonly Uint8Array[]): Promise<void>;
  readPiece(index: number): Promise<Uint8Array>;
  /** Writes a verified piece and counts it as there. */
  writePiece(index: number, bytes: Uint8Array): Promise<void>;
  /** Counts every piece as there without reading it: for sources that were hashed a moment ago. */
  trust(): void;
  /** Hashes what is there and sets `bits` to it. */
  check(hasher: Hasher, onProgress?: (progress: CheckProgress) => void, signal?: AbortSignal): Promise<void>;
  /** Makes everything written so far durable. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the torrent's files where the user has them, for reading only. `sources` holds one path per file of
 * the torrent, in its order; padding has an empty one. Throws SOURCE_CHANGED when one is missing or of another size.
 */
export async function openSources(torrent: Stored, sources: readonly string[]): Promise<Storage> {
  for (const [index, file] of torrent.files.entries()) {
    if (file.pad) continue;
    const path = sources[index] ?? '';
    const found = await Files.statOf(path);
    if (!found?.isFile())
      throw new PieceworkError('SOURCE_CHANGED', `${path || file.path} is not there any more`);
    if (found.size !== file.bytes) {
      throw new PieceworkError('SOURCE_CHANGED', `${path} has ${found.size} bytes instead of ${file.bytes}`);
    }
  }
  return create(torrent, Files.create({ paths: sources, root: undefined }), false);
}

/**
 * Opens a download folder, making it when it is missing. Files are made when their first piece is written.
 * Throws SOURCE_CHANGED when a file that is longer than the torrent's is in the way.
 */
export async function openFolder(torrent: Stored, folder: string): Promise<Storage> {
  try {
    await mkdir(folder, { recursive: true });
    const root = await realpath(folder);
    const paths = torrent.files.map((file) => join(root, file.path));
    for (const [index, file] of torrent.files.entries()) {
      const found = file.pad ? undefined : await Files.statOf(paths[index] ?? '');
      if (found?.isFile() && found.size > file.bytes) {
        throw new PieceworkError(
          'SOURCE_CHANGED',
          `${file.path} is there already and longer than the torrent's file`,
        );
      }
    }
    return create(torrent, Files.create({ paths, root }), true);
  } catch (thrown) {
    throw from(thrown, 'IO');
  }
}

/** The paths of a torrent's files below a folder that has them, for `openSources`. */
export function sourcesIn(torrent: Layout.Layout, folder: string): string[] {
  return torrent.files.map((file) => (file.pad ? '' : join(folder, file.path)));
}

function create(torrent: Stored, files: Files.Files, writable: boolean): Storage {
  const { pieceCount } = torrent;
  const bits = new Uint8Array(Math.ceil(pieceCount / 8));
  let count = 0;
  let touched = !writable;

  const has = (index: number): boolean => (((bits[index >> 3] ?? 0) >> (7 - (index & 7))) & 1) === 1;
  const set = (index: number, there: boolean): void => {
    if (has(index) === there) return;
    const mask = 0x80 >> (index & 7);
    bits[index >> 3] = there ? (bits[index >> 3] ?? 0) | mask : (bits[index >> 3] ?? 0) & ~mask;
    count += there ? 1 : -1;
  };

  /** Fills `target` from the torrent's byte `offset` on; returns false when files end early. */
  const fill = async (offset: number, target: Uint8Array): Promise<boolean> => {
    let at = 0;
    for (const span of Layout.spans(torrent, offset, target.length)) {
      const part = target.subarray(at, at + span.bytes);
      if (span.file.pad) part.fill(0);
      else if ((await files.read(span.fileIndex, span.fileOffset, part)) < span.bytes) return false;
      at += span.bytes;
    }
    return at === target.length;
  };
  const readBlock = async (index: number, offset: number, length: number): Promise<Uint8Array> => {
    const size = Layout.pieceBytes(torrent, index);
    if (index < 0 || index >= pieceCount || offset < 0 || length < 0 || offset + length > size) {
      throw new PieceworkError('INTERNAL', `block ${index}:${offset}+${length} is outside the torrent`);
    }
    const block = new Uint8Array(length);
    let whole: boolean;
    try {
      whole = await fill(index * torrent.pieceLength + offset, block);
    } catch (thrown) {
      if ((thrown as { cause?: { code?: unknown } }).cause?.code !== 'ENOENT') throw thrown;
      throw new PieceworkError('SOURCE_CHANGED', `a file of piece ${index} is gone`, { cause: thrown });
    }
    if (!whole) throw new PieceworkError('SOURCE_CHANGED', `a file of piece ${index} has become shorter`);
    return block;
  };
  const readInto = async (index: number, offset: number, parts: readonly Uint8Array[]): Promise<void> => {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const [span, ...others] = Layout.spans(torrent, index * torrent.pieceLength + offset, length);
    const plain = span && others.length === 0 && !span.file.pad && span.bytes === length;
    if (plain && (await files.readParts(span.fileIndex, span.fileOffset, parts).catch(() => 0)) === length)
      return;
    // Several files, or one that is not as it should be: the other way says what is wrong.
    const block = await readBlock(index, offset, length);
    let at = 0;
    for (const part of parts) {
      part.set(block.subarray(at, at + part.length));
      at += part.length;
    }
  };
  /** Files without bytes belong to no piece, so that no piece would ever make them. */
  const touchEmpty = async (): Promise<void> => {
    if (touched) return;
    touched = true;
    for (const [index, file] of torrent.files.entries())
      if (file.bytes === 0 && !file.pad) await files.touch(index);
  };
  /** Fills `piece`; false where a file is missing or short. */
  const readIfThere = async (index: number, piece: Uint8Array): Promise<boolean> => {
    try {
      return await fill(index * torrent.pieceLength, piece);
    } catch (thrown) {
      if ((thrown as { cause?: { code?: unknown } }).cause?.code === 'ENOENT') return false;
      throw thrown;
    }
  };

  const check = async (
    hasher: Hasher,
    onProgress?: (progress: CheckProgress) => void,
    signal?: AbortSignal,
  ): Promise<void> => {
    await hashAll({
      layout: torrent,
      hasher,
      async read(index, piece) {
        const isThere = await readIfThere(index, piece);
        set(index, false);
        return isThere;
      },
      hashed(indices, digests, end) {
        for (const [at, index] of indices.entries()) set(index, digestMatches(torrent, index, digests, at));
        onProgress?.({ piecesChecked: end, piecesFound: count, pieceCount });
      },
      signal,
    });
  };

  return {
    bits,
    pieceCount,
    count: () => count,
    complete: () => count === pieceCount,
    has,
    readBlock,
    readInto,
    readPiece: (index) => readBlock(index, 0, Layout.pieceBytes(torrent, index)),
    async writePiece(index, bytes) {
      if (bytes.length !== Layout.pieceBytes(torrent, index)) {
        throw new PieceworkError('INTERNAL', `piece ${index} of ${bytes.length} bytes`);
      }
      await touchEmpty();
      let at = 0;
      for (const span of Layout.spans(torrent, index * torrent.pieceLength, bytes.length)) {
        const part = bytes.subarray(at, at + span.bytes);
        if (!span.file.pad) await files.write(span.fileIndex, span.fileOffset, part);
        at += span.bytes;
      }
      set(index, true);
    },
    trust() {
      for (let index = 0; index < pieceCount; index++) set(index, true);
    },
    check,
    sync: () => files.sync(),
    close: () => files.close(),
  };
}

/** Whether the digest at place `at` of a batch is that of piece `index`. */
export function digestMatches(torrent: Stored, index: number, digests: Uint8Array, at: number): boolean {
  return sameBytes(
    torrent.pieceHashes.subarray(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES),
    digests.subarray(at * DIGEST_BYTES, (at + 1) * DIGEST_BYTES),
  );
}
