/**
 * What was signed on one of our channels, how much of it was sent and how much its payee has acknowledged; shared by
 * all connections that pay from the channel. The ledger holds the truth; this is its copy for deciding quickly.
 */
import type { PayLink } from '../channels/link.js';
import * as Tick from '../channels/tick.js';
import { amountOf } from '../channels/voucher.js';
import type { Outcome } from '../native/records.js';

/** A channel of ours that can pay a payee, with what was signed so far. */
export interface PayingChannel {
  readonly index: number;
  readonly voucherKey: Uint8Array;
  readonly authorized: bigint;
  readonly due: bigint;
  readonly row: Uint8Array;
  readonly tickRow: Uint8Array | undefined;
}

export interface Head {
  readonly index: number;
  readonly voucherKey: Uint8Array;
  authorized: bigint;
  /** The price of all that was received. */
  due: bigint;
  /** The plain head. */
  row: Uint8Array;
  /** The current tick row, if there is one: it claims what is authorized. */
  chain: Uint8Array | undefined;
  /** The tick row that was sent last, and by which connection: ticks of its chain go the same way. */
  shown: { readonly link: number; readonly chain: Uint8Array } | undefined;
  sent: bigint;
  acked: bigint;
}

function beginHead({ index, voucherKey, authorized, due, row, tickRow }: PayingChannel): Head {
  return { index, voucherKey, authorized, due, row, chain: tickRow, shown: undefined, sent: 0n, acked: 0n };
}

/** The heads of a ledger's channels by index: one for a channel, however many torrents are paid from it at a time. */
export type Heads = Map<number, Head>;

/** The head of a channel, brought to what the ledger says of it where that is more. */
export function headOf(heads: Heads, channel: PayingChannel): Head {
  const head = heads.get(channel.index) ?? beginHead(channel);
  heads.set(channel.index, head);
  if (channel.due > head.due) head.due = channel.due;
  if (channel.authorized > head.authorized) {
    [head.row, head.chain, head.authorized] = [channel.row, channel.tickRow, channel.authorized];
  }
  return head;
}

/** Takes over what the ledger has made durable: what is due, and a row or a tick row that claims no less than before. */
export function publish(head: Head, { row, tickRow, due }: Outcome): void {
  if (due > head.due) head.due = due;
  if (tickRow && Tick.claimOf(tickRow) >= head.authorized) {
    head.chain = tickRow;
    head.authorized = Tick.claimOf(tickRow);
  } else if (row && amountOf(row) >= head.authorized) {
    head.row = row;
    head.chain = undefined;
    head.authorized = amountOf(row);
  }
}

/** The payee holds durable evidence of `amount`. */
export function acknowledge(head: Head, amount: bigint): void {
  if (amount > head.acked) head.acked = amount;
  if (amount > head.sent) head.sent = amount;
}

/** Sends the best evidence: the plain row, or the next tick, with its voucher where this connection has not had it. */
export function show(head: Head, link: PayLink, final: boolean): void {
  head.sent = head.authorized;
  const { chain, shown } = head;
  if (!chain) return link.send({ type: 'voucher', final, row: head.row });
  const follows = shown?.link === link.id && Tick.isSameChain(shown.chain, chain);
  head.shown = { link: link.id, chain };
  if (!follows) return link.send({ type: 'tick_voucher', row: chain });
  const { count, tick } = Tick.decode(chain);
  if (count > Tick.countOf(shown.chain)) link.send({ type: 'tick', count, tick });
}
