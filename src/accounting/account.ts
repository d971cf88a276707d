/**
 * A payee's view of one channel while peers use it: the amounts as the ledger last published them, the
 * credit they earn, and what each session was granted and sent. The ledger holds the truth; this is its
 * copy for deciding quickly, shared by all sessions of the channel.
 */
import type { ChannelFacts } from '../channels/channel.js';
import type { PayLink } from '../channels/link.js';
import type { Offer, Receipt } from '../channels/terms.js';
import type { Outcome } from '../native/records.js';
import { toHex } from '../units.js';
import { blockWindow, type Credit, type CreditTerms } from './credit.js';
import type { Submission } from './intake.js';

/** What pieces of a torrent and their blocks cost, in base units. A short piece has one block and no more. */
export interface Prices {
  readonly piece: bigint;
  readonly block: bigint;
  /** What a window can grow to at least: a piece, what may be paid ahead, and a step, or a block where blocks are paid. */
  readonly full: bigint;
}

/** A channel with the sessions that draw on it now. */
export interface ChannelAccount {
  readonly index: number;
  readonly voucherKey: Uint8Array;
  credit: Credit;
  deposit: bigint;
  authorized: bigint;
  /** What of `authorized` has earned its credit, or was there when the account was opened. */
  credited: bigint;
  granted: bigint;
  /** What had been granted when nobody used the channel last. */
  grantedIdle: bigint;
  writtenOff: bigint;
  /** Set once a close was requested: nothing more is granted. */
  closing: boolean;
  /** Counts what happened to the channel, so that a grant refused meanwhile is tried again. */
  changes: number;
  /** The 76-byte row of the plain head; zeros when there is none. Written in place. */
  readonly row: Uint8Array;
  /** The current tick row of 124 bytes with its newest tick: newer than the plain head, and claims what is authorized. Written in place. */
  chain: Uint8Array | undefined;
  readonly sessions: Set<PayeeSession>;
  cancelDefault: (() => void) | undefined;
}

/** One accepted offer on one connection. */
export interface PayeeSession {
  readonly link: PayLink;
  readonly index: number;
  readonly id: Uint8Array;
  readonly account: ChannelAccount;
  readonly offer: Offer;
  readonly offerDigest: Uint8Array;
  readonly terms: CreditTerms;
  readonly prices: Prices;
  /** Credit is counted in blocks whether there is a chain or not. */
  readonly requiresTicks: boolean;
  /** Whether its payer has shown ticks: without, pieces are granted whole, also where the channel has a chain. */
  paysTicks: boolean;
  /** Pieces granted and not yet sent in full: bytes of them that are under way, and since when. */
  readonly underWay: Map<number, { readonly sinceMs: number; readonly bytes: number }>;
  grantedBytes: bigint;
  deliveredBytes: number;
  /** Whether a voucher or tick of this session was accepted. */
  hasPaid: boolean;
  /** Of what was granted and never sent: what was given up already. */
  forgivenBytes: bigint;
  /** The head when the session began: what it earns is counted from here. */
  readonly authorizedBefore: bigint;
  /** What was granted to the channel before the session: what of it stays unpaid was lost on the way. */
  readonly grantedBefore: bigint;
  /** What the payer claimed first in the session: the last that it had signed before. */
  shown: bigint | undefined;
  /** The receipt that was signed last: the same is sent again while nothing changes. */
  receipt: { readonly receipt: Receipt; readonly signature: Uint8Array } | undefined;
  resynced: boolean;
  /** Nothing more is granted: the connection is gone or has another session. */
  ended: boolean;
  stalled: boolean;
  choked: boolean;
  depositReported: boolean;
  cancelLate: (() => void) | undefined;
}

/** Whether credit is counted in blocks (ticks.md 6), not in pieces. */
export function isByBlock({ requiresTicks, paysTicks }: PayeeSession): boolean {
  return requiresTicks || paysTicks;
}

/** What the next grant is held against: the price of what credit is counted in, and the terms for it. A tick is no step. */
export function unitOf(session: PayeeSession): { readonly price: bigint; readonly terms: CreditTerms } {
  const { prices, terms } = session;
  if (!isByBlock(session)) return { price: prices.piece, terms };
  return { price: prices.block, terms: { ...terms, minStep: 0n } };
}

/** The window that a channel begins with, and falls back to. */
export function firstWindow({ block, piece, full }: Prices, requiresTicks: boolean, paid: bigint): bigint {
  const window = blockWindow(block, full, paid);
  return requiresTicks || window > piece ? window : piece;
}

export function unpaid(account: ChannelAccount): bigint {
  const owed = balance(account);
  return owed > 0n ? owed : 0n;
}

/** What is owed; negative where more was paid than was granted. */
export function balance({ granted, writtenOff, authorized }: ChannelAccount): bigint {
  return granted - writtenOff - authorized;
}

/** Takes over the amounts that the ledger published with an outcome. */
export function adopt(account: ChannelAccount, outcome: Outcome): void {
  account.authorized = outcome.authorized;
  account.granted = outcome.granted;
  account.writtenOff = outcome.writtenOff;
  account.deposit = outcome.deposit;
}

/** Takes over the row of an accepted voucher or tick. What came off the wire is not kept itself: it lies on a slab. */
export function adoptRow(account: ChannelAccount, kind: Submission['kind'], row: Uint8Array): void {
  if (kind === 'voucher') {
    account.row.set(row);
    account.chain = undefined;
  } else if (account.chain) account.chain.set(row);
  else account.chain = row.slice();
}

/** Takes over what the chain says. */
export function adoptFacts(account: ChannelAccount, facts: Pick<ChannelFacts, 'deposit' | 'closeAt'>): void {
  account.deposit = facts.deposit;
  account.closing = facts.closeAt !== 0;
}

export function keyOf(voucherKey: Uint8Array): string {
  return toHex(voucherKey);
}
