/**
 * Makes torrents from the user's own files: gathers what was named, in an order that is the same on every
 * machine, hashes it and returns the torrent with the real place of each file. Every regular file counts,
 * dotfiles too; what is left out is reported, never dropped in silence.
 */
import { readdir, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { from, PieceworkError } from '../errors.js';
import { torrentBytesMax, torrentFilesMax, torrentPiecesMax } from '../limits.js';
import { KIB, MIB } from '../units.js';
import * as Bencode from './bencode.js';
import { statOf } from './files.js';
import { DIGEST_BYTES, type Hasher, plainHasher } from './hasher.js';
import * as Layout from './layout.js';
import * as Metainfo from './metainfo.js';
import * as Storage from './storage.js';
import { hashAll } from './sweep.js';

export interface CreationOptions {
  /** The torrent's name; the file's or folder's own name when left out. */
  readonly name?: string;
  readonly announce?: readonly string[];
  /** Bytes; a power of two. Chosen from the size when left out. */
  readonly pieceLength?: number;
  readonly private?: boolean;
  readonly hasher?: Hasher;
  readonly onProgress?: (hashedBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal;
}

export interface Creation {
  readonly metainfo: Metainfo.Metainfo;
  readonly torrentBytes: Uint8Array;
  /** The real path of each of the torrent's files, in its order, for `Storage.openSources`. */
  readonly sources: readonly string[];
  /** What was named or found and left out, one sentence each. */
  readonly warnings: readonly string[];
}

interface Found {
  readonly components: readonly string[];
  readonly source: string;
  readonly bytes: number;
}

const PIECES_WANTED = 1_500;
const PIECE_LENGTH_MIN = 16 * KIB;
const PIECE_LENGTH_MAX = 16 * MIB;

/** Makes a torrent of files and folders. Throws NOT_FOUND, BAD_ARGUMENT, TORRENT_UNSAFE or TORRENT_TOO_LARGE. */
export async function create(paths: readonly string[], options: CreationOptions = {}): Promise<Creation> {
  const [first] = paths;
  if (first === undefined) throw new PieceworkError('BAD_ARGUMENT', 'name at least one file or folder');
  const warnings: string[] = [];
  const found: Found[] = [];
  for (const path of paths) await gather(path, paths.length > 1, found, warnings);
  const single = paths.length === 1 && found.length === 1 && found[0]?.components.length === 0;
  const name = options.name ?? basename(paths.length === 1 ? resolve(first) : dirname(resolve(first)));
  Layout.checkComponent(name);

  found.sort((a, b) => compareComponents(a.components, b.components));
  const files = placed(found, name);
  const totalBytes = found.reduce((sum, { bytes }) => sum + bytes, 0);
  if (totalBytes === 0)
    throw new PieceworkError('BAD_ARGUMENT', 'there is nothing to share: no file has any bytes');
  const pieceLength = options.pieceLength ?? pieceLengthFor(totalBytes);
  const layout = { files, pieceLength, totalBytes, pieceCount: Math.ceil(totalBytes / pieceLength) };
  const sources = found.map(({ source }) => source);
  const pieces = await hash(layout, sources, options);
  const info = Bencode.encode({
    ...(single
      ? { length: totalBytes }
      : { files: found.map(({ components, bytes }) => ({ length: bytes, path: components })) }),
    name,
    'piece length': pieceLength,
    pieces,
    private: options.private ? 1 : undefined,
  });
  const metainfo = Metainfo.fromInfo(info, Metainfo.usableTrackers(options.announce ?? []));
  const torrentBytes = Metainfo.toTorrentBytes(metainfo);
  if (torrentBytes.length > torrentBytesMax) throw new PieceworkError('TORRENT_TOO_LARGE');
  return { metainfo, torrentBytes, sources, warnings };
}

/** A power of two that makes about 1,500 pieces. */
export function pieceLengthFor(totalBytes: number): number {
  let length = PIECE_LENGTH_MIN;
  while (length < PIECE_LENGTH_MAX && totalBytes / length > PIECES_WANTED) length *= 2;
  while (totalBytes / length > torrentPiecesMax) length *= 2;
  return length;
}

/** Adds one named path: the file itself, or everything regular below the folder. */
async function gather(named: string, keepName: boolean, found: Found[], warnings: string[]): Promise<void> {
  let path: string;
  try {
    // What the user named may be a link; what lies below it may not.
    path = await realpath(named);
  } catch (thrown) {
    throw new PieceworkError('NOT_FOUND', `${named} does not exist or cannot be read`, { cause: thrown });
  }
  const top = keepName ? [basename(resolve(named))] : [];
  const stat = await statOf(path);
  if (stat?.isFile()) found.push({ components: top, source: path, bytes: stat.size });
  else if (stat?.isDirectory()) await walk(path, top, found, warnings);
  else throw new PieceworkError('BAD_ARGUMENT', `${named} is neither a file nor a folder`);
}

async function walk(
  folder: string,
  above: readonly string[],
  found: Found[],
  warnings: string[],
): Promise<void> {
  let entries: string[];
  try {
    entries = await readdir(folder);
  } catch (thrown) {
    throw from(thrown, 'IO');
  }
  for (const name of entries) {
    const path = join(folder, name);
    const components = [...above, name];
    const stat = await statOf(path);
    if (!stat)
      throw new PieceworkError(
        'BAD_ARGUMENT',
        `${path} cannot be read: its name is not UTF-8, or it is gone`,
      );
    if (stat.isDirectory()) await walk(path, components, found, warnings);
    else if (stat.isFile()) found.push({ components, source: path, bytes: stat.size });
    else
      warnings.push(
        `${path} is left out: it is ${stat.isSymbolicLink() ? 'a symbolic link' : 'not a regular file'}.`,
      );
    if (found.length > torrentFilesMax)
      throw new PieceworkError('TORRENT_TOO_LARGE', `more than ${torrentFilesMax} files`);
  }
}

function placed(found: readonly Found[], name: string): Layout.TorrentFile[] {
  let offset = 0;
  const files = found.map(({ components, bytes }) => {
    const file = { path: Layout.joinPath([name, ...components]), offset, bytes, pad: false };
    offset += bytes;
    return file;
  });
  Layout.checkCollisions(files);
  return files;
}

async function hash(
  layout: Layout.Layout,
  sources: readonly string[],
  options: CreationOptions,
): Promise<Uint8Array> {
  const { hasher = plainHasher, onProgress, signal } = options;
  if (layout.pieceCount > torrentPiecesMax)
    throw new PieceworkError('TORRENT_TOO_LARGE', `${layout.pieceCount} pieces`);
  const digests = new Uint8Array(layout.pieceCount * DIGEST_BYTES);
  const storage = await Storage.openSources({ ...layout, pieceHashes: digests }, sources);
  try {
    await hashAll({
      layout,
      hasher,
      async read(index, piece) {
        await storage.readInto(index, 0, [piece]);
        return true;
      },
      hashed(indices, found, end) {
        digests.set(found, indices[0]! * DIGEST_BYTES);
        onProgress?.(Math.min(end * layout.pieceLength, layout.totalBytes), layout.totalBytes);
      },
      signal,
    });
    return digests;
  } finally {
    await storage.close();
  }
}

/** Orders paths by their components' UTF-8 bytes. */
function compareComponents(a: readonly string[], b: readonly string[]): number {
  for (let at = 0; at < Math.min(a.length, b.length); at++) {
    const order = Buffer.compare(Buffer.from(a[at] ?? ''), Buffer.from(b[at] ?? ''));
    if (order !== 0) return order;
  }
  return a.length - b.length;
}
