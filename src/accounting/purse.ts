/**
 * What a payer keeps of one connection to a seller: the offer it took, the session under it, and the pieces that were asked
 * for and have not come. State and sums; the payer changes it.
 */
import type { PayLink } from '../channels/link.js';
import type { Offer } from '../channels/terms.js';
import { NONE } from '../channels/voucher.js';
import type { Head } from './head.js';
import type { TickSession } from './revealing.js';
import * as Tariff from './tariff.js';

export type Standing = 'waiting' | 'ready' | 'refused' | 'exhausted';

export interface Told {
  readonly offer: Offer;
  readonly signature: Uint8Array;
}

export interface Asked {
  readonly bytes: number;
  readonly session: number;
  readonly head: Head;
  /** Bytes of it that have come. */
  arrived: number;
}

export interface Purse {
  readonly link: PayLink;
  standing: Standing;
  /** Offers that came so far, and the newest one while an older one is being judged. */
  offers: number;
  nextOffer: Told | undefined;
  judging: boolean;
  offer: Offer | undefined;
  digest: Uint8Array;
  head: Head | undefined;
  /** An offer that there was no channel for. */
  declined: Told | undefined;
  session: number | undefined;
  /** How the session pays by ticks, if it does. */
  ticks: TickSession | undefined;
  /** Pieces asked for and not yet received; a piece stays with the session that it was asked under. */
  readonly outstanding: Map<number, Asked>;
  /** Whether the payee has shown its row in this session, and its tick row: it does so once. */
  stateSeen: boolean;
  chainSeen: boolean;
  /** The deposit that the payee last said it counts. */
  depositSeen: bigint;
  receipts: number;
  /** The money did not suffice when it was last asked for. */
  short: boolean;
  /** What was asked for when the payee said that the deposit does not cover it, and has not come since. */
  turnedAway: Set<number> | undefined;
  bytes: bigint;
  /** Who waits for the end, and for what: the receipt of a last voucher that an ack before it would pass for. */
  finishing: { readonly by: 'ack' | 'receipt'; readonly done: () => void } | undefined;
}

export function openPurse(link: PayLink): Purse {
  return {
    link,
    standing: 'waiting',
    offers: 0,
    nextOffer: undefined,
    judging: false,
    offer: undefined,
    digest: NONE,
    head: undefined,
    declined: undefined,
    session: undefined,
    ticks: undefined,
    outstanding: new Map(),
    stateSeen: false,
    chainSeen: false,
    depositSeen: 0n,
    receipts: 0,
    short: false,
    turnedAway: undefined,
    bytes: 0n,
    finishing: undefined,
  };
}

/** The price of pieces asked for and not yet received: what a payment may run ahead. */
export function advance(purse: Purse): bigint {
  let bytes = 0n;
  for (const asked of purse.outstanding.values()) bytes += BigInt(asked.bytes);
  return Tariff.priceStep(purse.offer?.priceMiB ?? 0n, purse.bytes, bytes);
}

/** The price of what came of the pieces of a session that are not paid yet. */
export function arrivedPrice(purse: Purse, session: number): bigint {
  let bytes = 0n;
  for (const asked of purse.outstanding.values()) {
    if (asked.session === session) bytes += BigInt(asked.arrived);
  }
  return Tariff.priceStep(purse.offer?.priceMiB ?? 0n, purse.bytes, bytes);
}
