/**
 * What a torrent is: parses .torrent files, info dictionaries and magnet links from strangers into one frozen,
 * fully checked value. Everything that later becomes a path, an offset or a hash was checked here, once.
 *
 * The infohash is that of the bytes as they came. Version 1 and hybrid torrents are taken (the version 1 part
 * of them); pure version 2 torrents are not supported.
 */
import { createHash } from 'node:crypto';
import { PieceworkError } from '../errors.js';
import { pieceBytesMax, torrentBytesMax, torrentFilesMax, torrentPiecesMax } from '../limits.js';
import { KIB, toHex } from '../units.js';
import * as Bencode from './bencode.js';
import { DIGEST_BYTES } from './hasher.js';
import type { TorrentFile } from './layout.js';
import * as Layout from './layout.js';

export interface Metainfo extends Layout.Layout {
  /** 20 bytes. */
  readonly infohash: Uint8Array;
  /** 40 lower-case digits. */
  readonly infohashHex: string;
  readonly name: string;
  /** `pieceCount` digests of 20 bytes. */
  readonly pieceHashes: Uint8Array;
  /** Tracker addresses in their order: http, https and udp only. */
  readonly announce: readonly string[];
  /** BEP 27: peers only from the torrent's own trackers. */
  readonly private: boolean;
  /** The info dictionary as it came; its SHA-1 is the infohash. */
  readonly infoBytes: Uint8Array;
}

export interface Magnet {
  readonly infohash: Uint8Array;
  readonly infohashHex: string;
  /** What the link calls the torrent: for display only. */
  readonly name: string | undefined;
  readonly announce: readonly string[];
  /** Peers named by the link (BEP 9 `x.pe`). */
  readonly peers: readonly { readonly address: string; readonly port: number }[];
}

/** Every key that is read here; all others are nobody's business. */
const KNOWN = new Set(
  ['name', 'name.utf-8', 'piece length', 'pieces', 'length', 'files'].concat([
    'path',
    'path.utf-8',
    'attr',
    'symlink path',
    'private',
    'meta version',
  ]),
);
/** In the outer dictionary the info dictionary is wanted as bytes only. */
const KNOWN_OUTSIDE = new Set(['announce', 'announce-list']);
const TRACKERS_MAX = 64;
const URL_CHARACTERS_MAX = 2048;
const MAGNET_CHARACTERS_MAX = 64 * KIB;
const PEERS_MAX = 64;
const PIECE_BYTES_MIN = KIB;
/** Below this, or beside its multiples, only powers of two are taken. */
const PIECE_BYTES_STEP = 16 * KIB;

/** Parses a .torrent file. Throws TORRENT_CORRUPT, _UNSAFE, _UNSUPPORTED or _TOO_LARGE. */
export function parse(torrentBytes: Uint8Array): Metainfo {
  if (torrentBytes.length > torrentBytesMax) throw tooLarge(`${torrentBytes.length} bytes`);
  const top = Bencode.decode(torrentBytes, KNOWN_OUTSIDE);
  const infoBytes = Bencode.isDictionary(top) ? top.raw('info') : undefined;
  if (!Bencode.isDictionary(top) || !infoBytes) throw corrupt('no info dictionary');
  return fromInfo(infoBytes, trackersOf(top));
}

/** Makes the value of an info dictionary's bytes, from a file or from peers. Throws as `parse`. */
export function fromInfo(infoBytes: Uint8Array, announce: readonly string[] = []): Metainfo {
  if (infoBytes.length > torrentBytesMax) throw tooLarge(`${infoBytes.length} bytes of metadata`);
  const info = Bencode.decode(infoBytes, KNOWN);
  if (!Bencode.isDictionary(info)) throw corrupt('info is not a dictionary');
  const pieces = info.entries.get('pieces');
  if (pieces === undefined && info.entries.has('meta version')) {
    throw new PieceworkError('TORRENT_UNSUPPORTED', 'the torrent has no version 1 part');
  }
  if (!(pieces instanceof Uint8Array) || pieces.length === 0 || pieces.length % DIGEST_BYTES !== 0) {
    throw corrupt('piece hashes');
  }
  const pieceLength = pieceLengthOf(info);
  const pieceCount = pieces.length / DIGEST_BYTES;
  if (pieceCount > torrentPiecesMax) throw tooLarge(`${pieceCount} pieces`);
  const name = nameOf(info);
  const files = filesOf(info, name);
  const last = files[files.length - 1];
  const totalBytes = last ? last.offset + last.bytes : 0;
  if (totalBytes === 0) throw corrupt('no bytes at all');
  if (Math.ceil(totalBytes / pieceLength) !== pieceCount) throw corrupt('piece hashes do not fit the files');
  const infohash = new Uint8Array(createHash('sha1').update(infoBytes).digest());
  return Object.freeze({
    infohash,
    infohashHex: toHex(infohash),
    name,
    pieceLength,
    pieceCount,
    totalBytes,
    pieceHashes: pieces.slice(),
    files: Object.freeze(files),
    announce: Object.freeze([...announce]),
    private: info.entries.get('private') === 1,
    infoBytes: infoBytes.slice(),
  });
}

/** The .torrent file of a metainfo: its info dictionary unchanged, and its trackers. */
export function toTorrentBytes(metainfo: Metainfo): Uint8Array {
  const [first] = metainfo.announce;
  const head = first === undefined ? '' : `8:announce${Buffer.byteLength(first)}:${first}`;
  const tiers = Bencode.encode(metainfo.announce.map((url) => [url]));
  const list =
    metainfo.announce.length > 1 ? Buffer.concat([Buffer.from('13:announce-list'), tiers]) : Buffer.alloc(0);
  return new Uint8Array(
    Buffer.concat([
      Buffer.from(`d${head}`),
      list,
      Buffer.from('4:info'),
      metainfo.infoBytes,
      Buffer.from('e'),
    ]),
  );
}

/** The magnet link of a metainfo. */
export function toMagnet(metainfo: Metainfo): string {
  const trackers = metainfo.announce.map((url) => `&tr=${encodeURIComponent(url)}`).join('');
  return `magnet:?xt=urn:btih:${metainfo.infohashHex}&dn=${encodeURIComponent(metainfo.name)}${trackers}`;
}

/** Parses a magnet link (BEP 9). Throws TORRENT_CORRUPT or TORRENT_UNSUPPORTED. */
export function parseMagnet(link: string): Magnet {
  if (!link.startsWith('magnet:?') || link.length > MAGNET_CHARACTERS_MAX) throw corrupt('not a magnet link');
  const fields = new URLSearchParams(link.slice('magnet:?'.length));
  const topics = fields.getAll('xt');
  const topic = topics.find((text) => text.startsWith('urn:btih:'))?.slice('urn:btih:'.length);
  if (topic === undefined) {
    if (topics.some((text) => text.startsWith('urn:btmh:'))) {
      throw new PieceworkError('TORRENT_UNSUPPORTED', 'the link names a version 2 torrent only');
    }
    throw corrupt('the link names no torrent');
  }
  const infohash = /^[0-9a-fA-F]{40}$/.test(topic)
    ? new Uint8Array(Buffer.from(topic, 'hex'))
    : fromBase32(topic);
  return Object.freeze({
    infohash,
    infohashHex: toHex(infohash),
    name: fields
      .get('dn')
      ?.replace(/\p{Cc}/gu, '')
      .slice(0, 255),
    announce: Object.freeze(usableTrackers(fields.getAll('tr'))),
    peers: Object.freeze(fields.getAll('x.pe').slice(0, PEERS_MAX).flatMap(parsePeer)),
  });
}

function pieceLengthOf(info: Bencode.Dictionary): number {
  const length = info.entries.get('piece length');
  if (typeof length !== 'number' || length < PIECE_BYTES_MIN) throw corrupt('piece length');
  if (length > pieceBytesMax) throw tooLarge(`pieces of ${length} bytes`);
  if (length % PIECE_BYTES_STEP !== 0 && (length & (length - 1)) !== 0) {
    throw new PieceworkError('TORRENT_UNSUPPORTED', `pieces of ${length} bytes`);
  }
  return length;
}

function nameOf(info: Bencode.Dictionary): string {
  const name = textOf(info.entries.get('name.utf-8') ?? info.entries.get('name'), 'name');
  Layout.checkComponent(name);
  return name;
}

function filesOf(info: Bencode.Dictionary, name: string): TorrentFile[] {
  const list = info.entries.get('files');
  if (list === undefined) return [fileOf(info, [name], 0)];
  if (info.entries.has('length') || !Bencode.isList(list) || list.length === 0) throw corrupt('files');
  if (list.length > torrentFilesMax) throw tooLarge(`${list.length} files`);
  let offset = 0;
  const files = list.map((entry) => {
    if (!Bencode.isDictionary(entry)) throw corrupt('files');
    const path = entry.entries.get('path.utf-8') ?? entry.entries.get('path');
    if (!Bencode.isList(path) || path.length === 0) throw corrupt('a path');
    const file = fileOf(entry, [name, ...path.map((component) => textOf(component, 'a path'))], offset);
    offset += file.bytes;
    if (!Number.isSafeInteger(offset)) throw corrupt('a length');
    return file;
  });
  Layout.checkCollisions(files);
  return files;
}

function fileOf(entry: Bencode.Dictionary, components: readonly string[], offset: number): TorrentFile {
  const bytes = entry.entries.get('length');
  if (typeof bytes !== 'number' || bytes < 0) throw corrupt('a length');
  const attributes = entry.entries.get('attr');
  const flags = attributes instanceof Uint8Array ? Buffer.from(attributes).toString('latin1') : '';
  if (flags.includes('l') || entry.entries.has('symlink path')) {
    throw new PieceworkError('TORRENT_UNSAFE', 'the torrent has symbolic links');
  }
  return Object.freeze({ path: Layout.joinPath(components), offset, bytes, pad: flags.includes('p') });
}

function textOf(value: Bencode.Value | undefined, what: string): string {
  if (!(value instanceof Uint8Array)) throw corrupt(what);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value);
  } catch (thrown) {
    throw new PieceworkError('TORRENT_UNSUPPORTED', `${what} is not UTF-8`, { cause: thrown });
  }
}

function trackersOf(top: Bencode.Dictionary): string[] {
  const tiers = top.entries.get('announce-list');
  const urls = Bencode.isList(tiers) ? tiers.flatMap((tier) => (Bencode.isList(tier) ? tier : [])) : [];
  const all = [top.entries.get('announce'), ...urls];
  return usableTrackers(
    all.flatMap((url) => (url instanceof Uint8Array ? [Buffer.from(url).toString('utf8')] : [])),
  );
}

/** Keeps the addresses that this program can announce to; others are not an error. */
export function usableTrackers(urls: readonly string[]): string[] {
  const usable = new Set<string>();
  for (const url of urls) {
    if (usable.size >= TRACKERS_MAX) break;
    if (url.length > URL_CHARACTERS_MAX || !URL.canParse(url)) continue;
    const { protocol, hostname } = new URL(url);
    if (['http:', 'https:', 'udp:'].includes(protocol) && hostname !== '') usable.add(url);
  }
  return [...usable];
}

function parsePeer(text: string): { address: string; port: number }[] {
  const match = /^\[?([0-9A-Za-z.:-]{1,255}?)\]?:(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  return match?.[1] !== undefined && port > 0 && port < 65_536 ? [{ address: match[1], port }] : [];
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

function fromBase32(text: string): Uint8Array {
  if (!/^[A-Za-z2-7]{32}$/.test(text)) throw corrupt('the link names no torrent');
  let bits = 0n;
  for (const letter of text.toUpperCase()) bits = (bits << 5n) | BigInt(BASE32.indexOf(letter));
  return new Uint8Array(Buffer.from(bits.toString(16).padStart(40, '0'), 'hex'));
}

const corrupt = (what: string): PieceworkError =>
  new PieceworkError('TORRENT_CORRUPT', `the torrent is damaged: ${what}`);
const tooLarge = (what: string): PieceworkError =>
  new PieceworkError('TORRENT_TOO_LARGE', `the torrent is too large: ${what}`);
