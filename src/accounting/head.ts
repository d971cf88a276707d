/**
 * What was signed on one of our channels, how much of it was sent and how much its payee has acknowledged; shared by
 * all connections that pay from the channel. The ledger holds the truth; this is its copy for deciding quickly.
 */
import { amountOf } from '../channels/voucher.js';

/** A channel of ours that can pay a payee, with what was signed so far. */
export interface PayingChannel {
  readonly index: number;
  readonly voucherKey: Uint8Array;
  readonly authorized: bigint;
  readonly row: Uint8Array;
}

export interface Head {
  readonly index: number;
  readonly voucherKey: Uint8Array;
  authorized: bigint;
  row: Uint8Array;
  sent: bigint;
  acked: bigint;
}

export function beginHead({ index, voucherKey, authorized, row }: PayingChannel): Head {
  return { index, voucherKey, authorized, row, sent: 0n, acked: 0n };
}

/** Takes over a row that the ledger has made durable, if it raises what is authorized. */
export function publish(head: Head, row: Uint8Array | undefined): void {
  if (!row || amountOf(row) <= head.authorized) return;
  head.row = row;
  head.authorized = amountOf(row);
}

/** The payee holds a durable voucher over `amount`. */
export function acknowledge(head: Head, amount: bigint): void {
  if (amount > head.acked) head.acked = amount;
  if (amount > head.sent) head.sent = amount;
}
