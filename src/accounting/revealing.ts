/**
 * Paying blocks as they come (ticks.md 6): a chain for each session that agreed to one, a tick for every block up to
 * what may be paid ahead of a verified piece. One step of a session is under way at a time; what arrives meanwhile is
 * paid together by the next.
 */
import type { PayLink } from '../channels/link.js';
import type { Offer } from '../channels/terms.js';
import * as Tick from '../channels/tick.js';
import { blockBytesMax } from '../limits.js';
import type { Book } from './book.js';
import { type Head, publish, show } from './head.js';
import * as Tariff from './tariff.js';

/** What a session pays by ticks. */
export interface TickPlan {
  /** Base units a tick: the price of a block, rounded down. */
  readonly unit: bigint;
  readonly length: number;
  /** Base units that are paid ahead of verified pieces at most. */
  readonly prepay: bigint;
}

/** A session that pays by ticks, and what has come of pieces that are not verified yet. */
export interface TickSession {
  readonly link: PayLink;
  readonly session: number;
  readonly head: Head;
  readonly plan: TickPlan;
  /** The price of those blocks, in base units. */
  readonly received: () => bigint;
  busy: boolean;
  again: boolean;
}

/**
 * How an offer could be paid by ticks: undefined where it takes none, a block is worth nothing, or it lets too little be
 * paid ahead to fetch a piece to its end.
 */
export function planTicks(offer: Offer, pieceLength: number, prepayMax: bigint): TickPlan | undefined {
  const blockBytes = BigInt(Math.min(blockBytesMax, pieceLength));
  const unit = (offer.priceMiB * blockBytes) >> 20n;
  const block = Tariff.price(offer.priceMiB, blockBytes);
  const needed = Tariff.price(offer.priceMiB, BigInt(pieceLength)) - block;
  if (offer.tickLength === 0 || unit === 0n || offer.prepay < needed) return undefined;
  const wanted = needed > prepayMax ? needed : prepayMax;
  return { unit, length: offer.tickLength, prepay: wanted < offer.prepay ? wanted : offer.prepay };
}

/** Makes a chain of the session's unit current, whose voucher claims all that is due. */
export async function begin(book: Book, one: TickSession): Promise<void> {
  const { head, plan } = one;
  const fits = head.chain && Tick.unitOf(head.chain) === plan.unit && head.due <= head.authorized;
  if (!fits) await openChain(book, one);
}

/** Pays what has come: reveals as far as what is due and what may be ahead of it allow. */
export async function reveal(book: Book, one: TickSession): Promise<void> {
  one.again = true;
  if (one.busy) return;
  one.busy = true;
  try {
    while (one.again && !one.link.closed) {
      one.again = false;
      await step(book, one);
    }
  } finally {
    one.busy = false;
  }
}

async function step(book: Book, one: TickSession): Promise<void> {
  const { head, plan, session } = one;
  const advance = one.received();
  const payable = head.due + (advance < plan.prepay ? advance : plan.prepay);
  if (payable < head.authorized + plan.unit) return payRest(book, one);
  const isUsedUp = !head.chain || Tick.unitOf(head.chain) !== plan.unit || isWhole(head.chain);
  if (isUsedUp && !(await openChain(book, one))) return;
  const chain = head.chain!;
  const ticks = (payable - Tick.amountOf(chain)) / plan.unit;
  const length = Tick.lengthOf(chain);
  const count = ticks < BigInt(length) ? Number(ticks) : length;
  if (count > Tick.countOf(chain)) {
    const [outcome] = await book.commit([{ kind: 'reveal', session, count, advance }]);
    if (outcome!.status !== 'ok') {
      // Another session of the channel has gone on meanwhile, or has ended the chain: what is left is seen anew.
      if (head.chain !== chain) one.again = true;
      else if (outcome!.status === 'unknown_piece') [head.chain, one.again] = [undefined, true];
      return;
    }
    publish(head, outcome!);
    // What is left behind the end of a chain is paid by the next one.
    one.again ||= count === length;
  }
  showMore(one);
}

/**
 * Pays what is due and less than a tick, by the voucher of a new chain, where the channel has paid less than a tick in all:
 * a stranger's window has room for no block beside it.
 */
async function payRest(book: Book, one: TickSession): Promise<void> {
  const { head, plan } = one;
  if (head.due <= head.authorized || head.authorized >= plan.unit) return;
  if (await openChain(book, one)) showMore(one);
}

function showMore({ head, link }: TickSession): void {
  if (!link.closed && head.authorized > head.sent) show(head, link, false);
}

async function openChain(book: Book, { session, plan, head }: TickSession): Promise<boolean> {
  const { unit, length } = plan;
  const [outcome] = await book.commit([{ kind: 'open_chain', session, unit, length }]);
  if (outcome!.status === 'ok') publish(head, outcome!);
  return outcome!.status === 'ok' && head.chain !== undefined;
}

function isWhole(chain: Uint8Array): boolean {
  return Tick.countOf(chain) === Tick.lengthOf(chain);
}
