/**
 * How a torrent's stream of bytes lies in its files and pieces: pure arithmetic, and the rules for names that
 * may become paths on this machine. It knows nothing of hashes, trackers or disks.
 */
import { PieceworkError } from '../errors.js';
import { torrentNameBytesMax, torrentPathDepthMax } from '../limits.js';

export interface TorrentFile {
  /** Relative to the download folder, components joined by `/`, the torrent's name first. */
  readonly path: string;
  /** Where the file begins in the torrent's bytes. */
  readonly offset: number;
  readonly bytes: number;
  /** Padding (BEP 47): zeros that never exist on disk. */
  readonly pad: boolean;
}

export interface Layout {
  readonly pieceLength: number;
  readonly pieceCount: number;
  readonly totalBytes: number;
  readonly files: readonly TorrentFile[];
}

/** A stretch of one file. */
export interface Span {
  readonly file: TorrentFile;
  /** Index of the file in the layout. */
  readonly fileIndex: number;
  /** Where the stretch begins in the file. */
  readonly fileOffset: number;
  readonly bytes: number;
}

const PATH_BYTES_MAX = 4096;

/** Bytes of one piece: the last one may be short. */
export function pieceBytes(layout: Layout, index: number): number {
  return index < layout.pieceCount - 1
    ? layout.pieceLength
    : layout.totalBytes - layout.pieceLength * (layout.pieceCount - 1);
}

/** The stretches of files that `bytes` bytes from `offset` on are made of, in order. */
export function spans(layout: Layout, offset: number, bytes: number): Span[] {
  const found: Span[] = [];
  let at = offset;
  const end = offset + bytes;
  for (let fileIndex = fileAt(layout, offset); at < end; fileIndex++) {
    const file = layout.files[fileIndex];
    if (!file) break;
    const fileOffset = at - file.offset;
    const size = Math.min(end - at, file.bytes - fileOffset);
    if (size <= 0) continue;
    found.push({ file, fileIndex, fileOffset, bytes: size });
    at += size;
  }
  return found;
}

/** Index of the first file that ends after `offset`. */
function fileAt(layout: Layout, offset: number): number {
  let low = 0;
  let high = layout.files.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    const file = layout.files[middle];
    if (file && file.offset + file.bytes > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}

// Control characters, and the marks that turn text around so that a name reads as another.
const UNSAFE_CHARACTERS = /[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069/\\]/u;
const DRIVE = /^[A-Za-z]:/;

/** Checks one component of a path. Throws TORRENT_UNSAFE. */
export function checkComponent(component: string): void {
  const fault =
    component === ''
      ? 'is empty'
      : component === '.' || component === '..'
        ? 'leaves its folder'
        : DRIVE.test(component)
          ? 'names a drive'
          : UNSAFE_CHARACTERS.test(component)
            ? 'has a character that names must not have'
            : Buffer.byteLength(component) > torrentNameBytesMax
              ? `is longer than ${torrentNameBytesMax} bytes`
              : undefined;
  if (fault !== undefined) {
    throw new PieceworkError('TORRENT_UNSAFE', `the name ${JSON.stringify(component.slice(0, 80))} ${fault}`);
  }
}

/** Joins checked components to a path within bounds. Throws TORRENT_UNSAFE. */
export function joinPath(components: readonly string[]): string {
  for (const component of components) checkComponent(component);
  const path = components.join('/');
  if (components.length > torrentPathDepthMax || Buffer.byteLength(path) > PATH_BYTES_MAX) {
    throw new PieceworkError('TORRENT_UNSAFE', 'a path is too deep or too long');
  }
  return path;
}

/**
 * Refuses files that would lie over each other on some file system: the same path twice, paths that differ
 * only in case or Unicode form, and a file where another file needs a folder. Throws TORRENT_UNSAFE.
 */
export function checkCollisions(files: readonly TorrentFile[]): void {
  const seen = new Set<string>();
  const folders = new Set<string>();
  for (const file of files) {
    if (file.pad) continue;
    const folded = file.path.normalize('NFC').toLowerCase();
    if (seen.has(folded)) throw collision(file);
    seen.add(folded);
    for (let at = folded.indexOf('/'); at !== -1; at = folded.indexOf('/', at + 1))
      folders.add(folded.slice(0, at));
  }
  for (const file of files) {
    if (!file.pad && folders.has(file.path.normalize('NFC').toLowerCase())) throw collision(file);
  }
}

const collision = (file: TorrentFile): PieceworkError =>
  new PieceworkError('TORRENT_UNSAFE', `another file would lie over ${JSON.stringify(file.path)}`);
