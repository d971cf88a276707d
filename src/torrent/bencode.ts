/**
 * Decodes and encodes bencode (BEP 3) strictly: bounded depth and tokens, no number beyond 2^53, no doubled
 * keys, nothing after the value. Values of keys that nobody asks for are checked and skipped, not built. The
 * outermost dictionary keeps where its values lay, because an infohash is the hash of the bytes that were
 * there, not of what somebody would encode again.
 */
import { PieceworkError } from '../errors.js';

export type Value = number | Uint8Array | readonly Value[] | Dictionary;

export interface Dictionary {
  /** The values of known keys. */
  readonly entries: ReadonlyMap<string, Value>;
  /** The bytes of one value as they were in the input. */
  raw(key: string): Uint8Array | undefined;
}

/** Hybrid torrents nest one dictionary for each folder. */
const DEPTH_MAX = 100;
const TOKENS_MAX = 3_000_000;
/** Values that are built, as against skipped: enough for the most files with deep paths. */
const VALUES_MAX = 1_000_000;
const DIGITS_MAX = 16;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const MINUS = 0x2d;
const DICTIONARY = 0x64;
const END = 0x65;
const INTEGER = 0x69;
const LIST = 0x6c;

/**
 * Decodes exactly one value, building what lies under `known` keys only. Strings are views into `bytes`.
 * Throws TORRENT_CORRUPT.
 */
export function decode(bytes: Uint8Array, known: ReadonlySet<string>): Value {
  const reader: Reader = { bytes, known, at: 0, tokens: 0, values: 0 };
  const value = readValue(reader, 0);
  if (reader.at !== bytes.length) throw corrupt(reader, 'bytes after the end');
  return value;
}

export function isDictionary(value: Value | undefined): value is Dictionary {
  return typeof value === 'object' && 'entries' in value && 'raw' in value;
}

export function isList(value: Value | undefined): value is readonly Value[] {
  return Array.isArray(value);
}

interface Reader {
  readonly bytes: Uint8Array;
  readonly known: ReadonlySet<string>;
  at: number;
  tokens: number;
  values: number;
}

function count(reader: Reader, depth: number): void {
  if (depth > DEPTH_MAX) throw corrupt(reader, 'nested too deeply');
  if (++reader.tokens > TOKENS_MAX) throw corrupt(reader, 'too many values');
}

/** Checks a value and goes past it without building anything. */
function skipValue(reader: Reader, depth: number): void {
  count(reader, depth);
  const start = reader.bytes[reader.at];
  if (start === INTEGER) {
    reader.at++;
    readInteger(reader, END);
  } else if (start === LIST || start === DICTIONARY) {
    reader.at++;
    while (reader.bytes[reader.at] !== END) {
      if (start === DICTIONARY) skipString(reader);
      skipValue(reader, depth + 1);
    }
    reader.at++;
  } else {
    skipString(reader);
  }
}

function readValue(reader: Reader, depth: number): Value {
  count(reader, depth);
  if (++reader.values > VALUES_MAX) throw corrupt(reader, 'too many values');
  switch (reader.bytes[reader.at]) {
    case INTEGER:
      reader.at++;
      return readInteger(reader, END);
    case LIST:
      return readList(reader, depth);
    case DICTIONARY:
      return readDictionary(reader, depth);
    default:
      return readString(reader);
  }
}

function readList(reader: Reader, depth: number): Value[] {
  const list: Value[] = [];
  reader.at++;
  while (reader.bytes[reader.at] !== END) list.push(readValue(reader, depth + 1));
  reader.at++;
  return list;
}

function readDictionary(reader: Reader, depth: number): Dictionary {
  const entries = new Map<string, Value>();
  const spans = new Map<string, Uint8Array>();
  reader.at++;
  while (reader.bytes[reader.at] !== END) {
    reader.tokens++;
    const key = Buffer.from(readString(reader)).toString('latin1');
    if (entries.has(key)) throw corrupt(reader, 'a key twice');
    const start = reader.at;
    if (reader.known.has(key)) entries.set(key, readValue(reader, depth + 1));
    else skipValue(reader, depth + 1);
    // Only the outermost dictionary's values are ever asked for as bytes.
    if (depth === 0) spans.set(key, reader.bytes.subarray(start, reader.at));
  }
  reader.at++;
  return { entries, raw: (key) => spans.get(key) };
}

function readString(reader: Reader): Uint8Array {
  const start = skipString(reader);
  return reader.bytes.subarray(start, reader.at);
}

/** Goes past a string; returns where its content begins. */
function skipString(reader: Reader): number {
  const length = readInteger(reader, COLON);
  const end = reader.at + length;
  if (length < 0 || end > reader.bytes.length) throw corrupt(reader, 'a string beyond the end');
  const start = reader.at;
  reader.at = end;
  return start;
}

function readInteger(reader: Reader, until: number): number {
  const { bytes } = reader;
  const negative = until === END && bytes[reader.at] === MINUS;
  if (negative) reader.at++;
  const first = reader.at;
  let value = 0;
  for (; bytes[reader.at] !== until; reader.at++) {
    const byte = bytes[reader.at];
    if (byte === undefined || byte < ZERO || byte > NINE || reader.at - first >= DIGITS_MAX) {
      throw corrupt(reader, 'not a number');
    }
    value = value * 10 + (byte - ZERO);
  }
  const digits = reader.at - first;
  if (digits === 0 || !Number.isSafeInteger(value)) throw corrupt(reader, 'not a number');
  if (bytes[first] === ZERO && (digits > 1 || negative))
    throw corrupt(reader, 'a number with a leading zero');
  reader.at++;
  return negative ? -value : value;
}

const corrupt = (reader: Reader, what: string): PieceworkError =>
  new PieceworkError('TORRENT_CORRUPT', `not bencoded: ${what} (byte ${reader.at})`);

/** What `encode` takes: keys of records are sorted, undefined entries are left out. */
export type Encodable =
  | number
  | string
  | Uint8Array
  | readonly Encodable[]
  | { readonly [key: string]: Encodable | undefined };

/** Encodes canonically. */
export function encode(value: Encodable): Uint8Array {
  const parts: Uint8Array[] = [];
  write(value, parts);
  return new Uint8Array(Buffer.concat(parts));
}

function write(value: Encodable, parts: Uint8Array[]): void {
  if (typeof value === 'number') {
    parts.push(Buffer.from(`i${value}e`));
  } else if (typeof value === 'string') {
    write(Buffer.from(value, 'utf8'), parts);
  } else if (value instanceof Uint8Array) {
    parts.push(Buffer.from(`${value.length}:`), value);
  } else if (Array.isArray(value)) {
    parts.push(Buffer.from('l'));
    for (const item of value as readonly Encodable[]) write(item, parts);
    parts.push(Buffer.from('e'));
  } else {
    parts.push(Buffer.from('d'));
    const entries = Object.entries(value as { readonly [key: string]: Encodable | undefined });
    for (const [key, item] of entries.sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (item === undefined) continue;
      write(key, parts);
      write(item, parts);
    }
    parts.push(Buffer.from('e'));
  }
}
