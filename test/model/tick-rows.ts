/**
 * Tick rows and their chains, written from docs/spec/ticks.md 1 and 2 alone and sharing no code with the native
 * module: bigints, and SHA-256 of Node.
 */
import { createHash, createHmac } from 'node:crypto';

export interface TickRow {
  readonly amount: bigint;
  readonly unit: bigint;
  readonly length: number;
  readonly count: number;
  readonly tick: Uint8Array;
  readonly signature: Uint8Array;
}

/** What a payer's voucher says besides its root. */
export type TickTerms = Pick<TickRow, 'amount' | 'unit' | 'length'>;

const bigEndian = (value: bigint | number, size: number): Buffer =>
  Buffer.from(
    BigInt(value)
      .toString(16)
      .padStart(size * 2, '0'),
    'hex',
  );

export function parse(bytes: Uint8Array): TickRow {
  const number = (from: number, to: number) =>
    BigInt(`0x${Buffer.from(bytes.slice(from, to)).toString('hex')}`);
  return {
    amount: number(0, 12),
    unit: number(12, 24),
    length: Number(number(24, 26)),
    count: Number(number(26, 28)),
    tick: bytes.slice(28, 60),
    signature: bytes.slice(60),
  };
}

export function bytesOf({ amount, unit, length, count, tick, signature }: TickRow): Uint8Array {
  const numbers = [bigEndian(amount, 12), bigEndian(unit, 12), bigEndian(length, 2), bigEndian(count, 2)];
  return new Uint8Array(Buffer.concat([...numbers, tick, signature]));
}

export const claimOf = ({ amount, unit, count }: TickRow): bigint => amount + unit * BigInt(count);

export function isInRange({ amount, unit, length, count }: TickRow): boolean {
  const isChain = length >= 1 && length <= 1024 && unit > 0n && count <= length;
  return isChain && amount + unit * BigInt(length) < 1n << 96n;
}

/** link, applied `times` times. */
export function linked(value: Uint8Array, times: number): Uint8Array {
  let at = Buffer.from(value);
  for (let step = 0; step < times; step++) at = createHash('sha256').update(at).digest();
  return new Uint8Array(at);
}

export const rootOf = ({ tick, count }: TickRow): string => Buffer.from(linked(tick, count)).toString('hex');

/** The secret end of a payer's chain. */
export function endOf(
  seed: Uint8Array,
  domain: Uint8Array,
  keyIndex: number,
  payee: Uint8Array,
  { amount, unit, length }: TickTerms,
): Uint8Array {
  const mac = createHmac('sha256', seed).update('piecework tick chain').update(bigEndian(keyIndex, 8));
  mac.update(domain).update(payee).update(bigEndian(amount, 12)).update(bigEndian(unit, 12));
  return new Uint8Array(mac.update(bigEndian(length, 2)).digest());
}
