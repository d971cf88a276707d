/**
 * Readers and writers of fixed records, made once from the layout that the addon gives: no offset stands here. One
 * function is put together for each record, with its offsets as constants and a literal of its fields, since a
 * loop over a table of fields costs several times as much as checking a signature.
 */
import { PieceworkError } from '../errors.js';
import { AMOUNT_MAX } from '../units.js';
import type { Field, RecordLayout } from './binding.js';

export type Value = number | bigint | boolean | Uint8Array;

/** Writes the fields of `values` at `at`. Fails with BAD_ARGUMENT on a value that is not what its field holds. */
export type Write = (bytes: Uint8Array, view: DataView, at: number, values: object) => void;

/** Reads the record at `at`. Byte fields are copies. */
export type Read<Item> = (bytes: Uint8Array, view: DataView, at: number) => Item;

/** Turns what a field holds into what the reader's caller wants; also given the whole buffer and the record's place. */
export type Convert = (value: never, bytes: Uint8Array, at: number) => unknown;

const LOW_64 = (1n << 64n) - 1n;
const WORD = 2 ** 32;
const IDENTIFIER = /^[A-Za-z]\w*$/;

/** A view on the same bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The writer of a record. Fields named in `constants` have that value always. */
export function writerOf(shape: RecordLayout, constants: Readonly<Record<string, number>> = {}): Write {
  const lines = shape.fields.map(({ name, kind, offset, size }) => {
    const constant = constants[name];
    const value = constant === undefined ? `values.${safe(name)}` : `${constant}`;
    return `put.${kind}(bytes, view, at + ${offset}, ${value}, '${safe(name)}', ${size});`;
  });
  return assemble('put', `return (bytes, view, at, values) => {\n${lines.join('\n')}\n};`, put) as Write;
}

/** The reader of a record. A field named in `converts` comes out as its function gives it. */
export function readerOf<Item>(
  shape: RecordLayout,
  converts: Readonly<Record<string, Convert>> = {},
): Read<Item> {
  const parts = shape.fields.map(({ name, kind, offset, size }) => {
    const value = `get.${kind}(bytes, view, at + ${offset}, ${size})`;
    return `${safe(name)}: ${converts[name] ? `converts.${name}(${value}, bytes, at)` : value}`;
  });
  const body = `const { get, converts } = from;\nreturn (bytes, view, at) => ({\n${parts.join(',\n')}\n});`;
  return assemble('from', body, { get, converts }) as Read<Item>;
}

/** The records of a buffer, one after the other. */
export function readAll<Item>(buffer: Uint8Array, stride: number, read: Read<Item>): Item[] {
  const bytes = plain(buffer);
  const view = viewOf(bytes);
  const items: Item[] = [];
  for (let at = 0; at + stride <= bytes.length; at += stride) items.push(read(bytes, view, at));
  return items;
}

/** The same bytes as an array whose slices are copies: those of Node's own buffers are not. */
export function plain(bytes: Uint8Array): Uint8Array {
  if (bytes.constructor === Uint8Array) return bytes;
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Names and numbers come from our own addon; a name that could not be a field's ends the assembly. */
function assemble(parameter: string, body: string, argument: object): unknown {
  const make = new Function(parameter, `'use strict';\n${body}`) as (given: object) => unknown;
  return make(argument);
}

function safe(name: string): string {
  if (!IDENTIFIER.test(name)) throw new PieceworkError('ADDON_MISMATCH', `a field cannot be named ${name}`);
  return name;
}

function bad(name: string, what: string): PieceworkError {
  return new PieceworkError('BAD_ARGUMENT', `${name} is not ${what}`);
}

function whole(value: unknown, max: number, name: string): asserts value is number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max)
    throw bad(name, `a whole number up to ${max}`);
}

type Put = (
  bytes: Uint8Array,
  view: DataView,
  at: number,
  value: unknown,
  name: string,
  size: number,
) => void;
type Get = (bytes: Uint8Array, view: DataView, at: number, size: number) => Value;

const put: Readonly<Record<Field['kind'], Put>> = {
  bytes(bytes, _view, at, value, name, size) {
    if (!(value instanceof Uint8Array) || value.length !== size) throw bad(name, `${size} bytes`);
    bytes.set(value, at);
  },
  amount(_bytes, view, at, value, name) {
    if (typeof value !== 'bigint' || value < 0n || value > AMOUNT_MAX) throw bad(name, 'an amount');
    // The view keeps the low 64 bits of what it is given.
    view.setBigUint64(at, value, true);
    view.setBigUint64(at + 8, value > LOW_64 ? value >> 64n : 0n, true);
  },
  uint96(_bytes, view, at, value, name) {
    if (typeof value !== 'bigint' || value < 0n || value > AMOUNT_MAX) throw bad(name, 'an amount');
    view.setBigUint64(at, value, true);
    view.setUint32(at + 8, value > LOW_64 ? Number(value >> 64n) : 0, true);
  },
  flag(_bytes, view, at, value, name) {
    if (typeof value !== 'boolean') throw bad(name, 'a boolean');
    view.setUint8(at, value ? 1 : 0);
  },
  u64(_bytes, view, at, value, name) {
    whole(value, Number.MAX_SAFE_INTEGER, name);
    view.setUint32(at, value % WORD, true);
    view.setUint32(at + 4, Math.floor(value / WORD), true);
  },
  u32(_bytes, view, at, value, name) {
    whole(value, 0xffff_ffff, name);
    view.setUint32(at, value, true);
  },
  u16(_bytes, view, at, value, name) {
    whole(value, 0xffff, name);
    view.setUint16(at, value, true);
  },
  u8(_bytes, view, at, value, name) {
    whole(value, 0xff, name);
    view.setUint8(at, value);
  },
};

const get: Readonly<Record<Field['kind'], Get>> = {
  bytes: (bytes, _view, at, size) => bytes.slice(at, at + size),
  amount(_bytes, view, at) {
    const low = lowOf(view, at);
    const isLow = view.getUint32(at + 8, true) === 0 && view.getUint32(at + 12, true) === 0;
    return isLow ? low : low | (view.getBigUint64(at + 8, true) << 64n);
  },
  uint96(_bytes, view, at) {
    const low = lowOf(view, at);
    const high = view.getUint32(at + 8, true);
    return high === 0 ? low : low | (BigInt(high) << 64n);
  },
  flag: (_bytes, view, at) => view.getUint8(at) === 1,
  u64(_bytes, view, at) {
    const value = view.getUint32(at + 4, true) * WORD + view.getUint32(at, true);
    if (!Number.isSafeInteger(value)) throw new PieceworkError('INTERNAL', 'a count is out of range');
    return value;
  },
  u32: (_bytes, view, at) => view.getUint32(at, true),
  u16: (_bytes, view, at) => view.getUint16(at, true),
  u8: (_bytes, view, at) => view.getUint8(at),
};

/** The low 64 bits of an amount. Many are zero, and zero need not be made anew. */
function lowOf(view: DataView, at: number): bigint {
  if (view.getUint32(at, true) === 0 && view.getUint32(at + 4, true) === 0) return 0n;
  return view.getBigUint64(at, true);
}
