/**
 * Looks at bencoded bytes from a stranger before the library's lax decoder does: well-formed, canonical
 * enough, and within depth and token bounds. It builds nothing but the integers of the outermost dictionary;
 * decoding proper is left to others. It never throws and never recurses.
 */

export interface BencodeBounds {
  readonly depthMax: number;
  readonly tokensMax: number;
}

export interface Inspection {
  /** Offset of the first byte after the dictionary. */
  readonly end: number;
  /** The integers that are values of the outermost dictionary. */
  readonly integers: ReadonlyMap<string, number>;
}

const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const MINUS = 0x2d;
const DICTIONARY = 0x64;
const END = 0x65;
const INTEGER = 0x69;
const LIST = 0x6c;
/** Digits of the largest integer that a number holds exactly. */
const DIGITS_MAX = 16;
/** A key by this name would reach the prototype of the object that a lax decoder fills. */
const PROTOTYPE_KEY = '__proto__';

interface Level {
  readonly dictionary: boolean;
  /** The key whose value is next, or undefined where a key or a list item is next. */
  key: string | undefined;
}

/** Checks that `bytes` begin with one dictionary within `bounds`; undefined when they do not. */
export function inspect(bytes: Uint8Array, bounds: BencodeBounds): Inspection | undefined {
  if (bytes[0] !== DICTIONARY) return undefined;
  const integers = new Map<string, number>();
  const levels: Level[] = [{ dictionary: true, key: undefined }];
  let at = 1;
  for (let tokens = 1; tokens <= bounds.tokensMax; tokens++) {
    const level = levels[levels.length - 1];
    if (!level) return undefined;
    const byte = bytes[at];
    if (byte === undefined) return undefined;
    if (byte === END) {
      if (level.key !== undefined) return undefined;
      levels.pop();
      at++;
      const outer = levels[levels.length - 1];
      if (!outer) return { end: at, integers };
      outer.key = undefined;
      continue;
    }
    const wantsKey = level.dictionary && level.key === undefined;
    if (byte >= ZERO && byte <= NINE) {
      const string = readString(bytes, at);
      if (!string) return undefined;
      at = string.end;
      if (!wantsKey) {
        level.key = undefined;
        continue;
      }
      level.key = String.fromCharCode(
        ...bytes.subarray(string.start, Math.min(string.end, string.start + 64)),
      );
      if (level.key === PROTOTYPE_KEY) return undefined;
    } else if (wantsKey) {
      return undefined;
    } else if (byte === INTEGER) {
      const integer = readInteger(bytes, at + 1, END);
      if (!integer) return undefined;
      if (levels.length === 1 && level.key !== undefined) integers.set(level.key, integer.value);
      level.key = undefined;
      at = integer.end;
    } else if (byte === DICTIONARY || byte === LIST) {
      if (levels.length >= bounds.depthMax) return undefined;
      levels.push({ dictionary: byte === DICTIONARY, key: undefined });
      at++;
    } else {
      return undefined;
    }
  }
  return undefined;
}

function readString(bytes: Uint8Array, at: number): { start: number; end: number } | undefined {
  const length = readInteger(bytes, at, COLON);
  if (!length || length.value < 0) return undefined;
  const end = length.end + length.value;
  return end > bytes.length ? undefined : { start: length.end, end };
}

function readInteger(
  bytes: Uint8Array,
  at: number,
  until: number,
): { value: number; end: number } | undefined {
  const negative = bytes[at] === MINUS;
  const first = negative ? at + 1 : at;
  let value = 0;
  let index = first;
  for (; bytes[index] !== until; index++) {
    const byte = bytes[index];
    if (byte === undefined || byte < ZERO || byte > NINE || index - first >= DIGITS_MAX) return undefined;
    value = value * 10 + (byte - ZERO);
  }
  if (index === first || !Number.isSafeInteger(value)) return undefined;
  if (bytes[first] === ZERO && (index - first > 1 || negative)) return undefined;
  return { value: negative ? -value : value, end: index + 1 };
}
