/**
 * The voucher's 76-byte row (voucher.md 3): cumulative amount, r, and s with the y parity in its top bit.
 * Digests, signing and checking are the native module's; here is only the layout.
 */
export const ROW_BYTES = 76;

export interface Voucher {
  /** Base units authorized since the channel was opened. */
  readonly amount: bigint;
  readonly r: Uint8Array;
  readonly vs: Uint8Array;
}

export function decode(row: Uint8Array): Voucher {
  return { amount: amountOf(row), r: row.slice(12, 44), vs: row.slice(44, 76) };
}

export function encode(voucher: Voucher): Uint8Array {
  const row = new Uint8Array(ROW_BYTES);
  writeUint96(row, 0, voucher.amount);
  row.set(voucher.r, 12);
  row.set(voucher.vs, 44);
  return row;
}

/** The cumulative amount of a row, in base units. */
export function amountOf(row: Uint8Array): bigint {
  return readUint96(row, 0);
}

/** True for the all-zero row that stands for "no voucher yet". */
export function isNone(row: Uint8Array): boolean {
  return row.every((byte) => byte === 0);
}

export const NONE: Uint8Array = new Uint8Array(ROW_BYTES);

export function readUint96(bytes: Uint8Array, offset: number): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return (BigInt(view.getUint32(offset)) << 64n) | view.getBigUint64(offset + 4);
}

export function writeUint96(bytes: Uint8Array, offset: number, value: bigint): void {
  if (value < 0n || value >> 96n !== 0n) throw new RangeError(`${value} is not a uint96`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(offset, Number(value >> 64n));
  view.setBigUint64(offset + 4, value & 0xffff_ffff_ffff_ffffn);
}
