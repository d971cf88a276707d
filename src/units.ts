/**
 * Text and integers: amounts of the asset (18 decimals), prices per data size, and byte counts. Amounts are
 * bigint base units (wei) everywhere; decimals exist only in what people read and write.
 */
import { PieceworkError } from './errors.js';

export const KIB = 1024;
export const MIB = 1024 * 1024;
export const GIB = 1024 * 1024 * 1024;
/** Base units in one BTT. */
export const BTT = 10n ** 18n;
/** The largest amount a channel can hold (hub.md 1). */
export const AMOUNT_MAX = (1n << 96n) - 1n;

const AMOUNT = /^(\d{1,30})(?:\.(\d{1,18}))?\s*(BTT|wei)$/i;
const PRICE = /^(.+?)\s*\/\s*(GiB|MiB)$/i;
const SIZE = /^(\d{1,15})(?:\.(\d{1,6}))?\s*(B|KiB|MiB|GiB|TiB)?$/i;

/** Parses `20BTT`, `0.5 BTT` or `1000wei` into base units. A unit is required. */
export function parseAmount(text: string): bigint {
  const match = AMOUNT.exec(text.trim());
  if (!match)
    throw new PieceworkError('BAD_AMOUNT', `"${text}" is not an amount; write it like 20BTT or 0.5BTT`);
  const [, whole = '0', fraction = '', unit = ''] = match;
  if (unit.toLowerCase() === 'wei') {
    if (fraction !== '') throw new PieceworkError('BAD_AMOUNT', `"${text}": wei cannot be divided`);
    return withinRange(BigInt(whole), text);
  }
  return withinRange(BigInt(whole) * BTT + BigInt(fraction.padEnd(18, '0')), text);
}

function withinRange(amount: bigint, text: string): bigint {
  if (amount > AMOUNT_MAX)
    throw new PieceworkError('BAD_AMOUNT', `"${text}" is more than a channel can hold`);
  return amount;
}

/** Writes base units as BTT with all its decimals that matter: `12.5 BTT`. Exact, never rounded. */
export function formatAmount(amount: bigint): string {
  const sign = amount < 0n ? '-' : '';
  const value = amount < 0n ? -amount : amount;
  const fraction = (value % BTT).toString().padStart(18, '0').replace(/0+$/, '');
  return `${sign}${value / BTT}${fraction === '' ? '' : `.${fraction}`} BTT`;
}

/** Writes base units as BTT cut to `decimals`, for progress lines; exact figures belong in statements. */
export function formatAmountShort(amount: bigint, decimals = 4): string {
  const scale = 10n ** BigInt(18 - decimals);
  const [whole = '0', fraction = ''] = formatAmount((amount / scale) * scale)
    .replace(' BTT', '')
    .split('.');
  return `${whole}.${fraction.padEnd(decimals, '0').slice(0, decimals)} BTT`;
}

/** Parses `0.5BTT/GiB` into base units per MiB. Refuses a price that is not a whole number of them. */
export function parsePrice(text: string): bigint {
  const match = PRICE.exec(text.trim());
  if (!match) throw new PieceworkError('BAD_PRICE', `"${text}" is not a price; write it like 0.5BTT/GiB`);
  const amount = parseAmount(match[1] ?? '');
  if ((match[2] ?? '').toLowerCase() === 'mib') return amount;
  if (amount % 1024n !== 0n) {
    throw new PieceworkError(
      'BAD_PRICE',
      `"${text}" is not a whole number of base units per MiB; use fewer decimals`,
    );
  }
  return amount / 1024n;
}

/** Writes base units per MiB as a price per GiB. */
export function formatPrice(priceMiB: bigint): string {
  return `${formatAmount(priceMiB * 1024n).replace(' BTT', '')} BTT/GiB`;
}

/** Parses `256KiB`, `4 MiB` or plain bytes. */
export function parseSize(text: string): number {
  const match = SIZE.exec(text.trim());
  if (!match)
    throw new PieceworkError('BAD_ARGUMENT', `"${text}" is not a size; write it like 256KiB or 4MiB`);
  const [, whole = '0', fraction = '0', unit = 'B'] = match;
  const power = ['b', 'kib', 'mib', 'gib', 'tib'].indexOf(unit.toLowerCase());
  return Math.floor(Number(`${whole}.${fraction}`) * 1024 ** power);
}

/** Parses `30s`, `5min`, `12h` or `7d` into seconds. */
export function parseDuration(text: string): number {
  const match = /^(\d{1,9})\s*(s|min|h|d)$/.exec(text.trim());
  if (!match)
    throw new PieceworkError('BAD_ARGUMENT', `"${text}" is not a time; write it like 30s, 5min or 7d`);
  const [, count = '0', unit = 's'] = match;
  const seconds: Record<string, number> = { s: 1, min: 60, h: 3_600, d: 86_400 };
  return Number(count) * seconds[unit]!;
}

/** Writes a byte count for people: `218.0 MiB`. */
export function formatSize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let power = 0;
  let value = bytes;
  while (value >= 1024 && power < units.length - 1) {
    value /= 1024;
    power++;
  }
  return `${power === 0 ? value : value.toFixed(1)} ${units[power]}`;
}

/** Lower-case hex of some bytes, without 0x. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

/** Bytes of a hex string, with or without 0x. */
export function fromHex(text: string): Uint8Array {
  const digits = text.startsWith('0x') ? text.slice(2) : text;
  if (digits.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(digits)) {
    throw new PieceworkError('BAD_ARGUMENT', `"${text}" is not hexadecimal`);
  }
  return new Uint8Array(Buffer.from(digits, 'hex'));
}

/** Compares byte strings for equality. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
