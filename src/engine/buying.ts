/**
 * Paying for one torrent: which channel pays whom, what is still to be spent, and what older runs left to be
 * settled. The payer decides about vouchers, the fetcher about pieces; this joins them to the chain.
 */
import type { PayingChannel } from '../accounting/head.js';
import { createPayer, type Payer, type PayerEvents } from '../accounting/payer.js';
import * as Tariff from '../accounting/tariff.js';
import { type Domain, formatAddress } from '../channels/channel.js';
import * as Lifecycle from '../channels/lifecycle.js';
import type { PayLink } from '../channels/link.js';
import type { Offer } from '../channels/terms.js';
import type { Clock } from '../clock.js';
import { PieceworkError } from '../errors.js';
import type { Ledger } from '../ledger/ledger.js';
import type { Executor } from '../native/executor.js';
import type { ChannelRecord, Command } from '../native/records.js';
import { sameBytes, toHex } from '../units.js';
import type { ChainBook } from './chain-book.js';
import type { Funded, Funding } from './funding.js';
import type { FetchEvent } from './operations.js';
import type { Sharing } from './sharing.js';
import { recoverWith } from './verifying.js';

export interface BuyingOptions {
  readonly ledger: Ledger;
  /** One for the ledger: torrents of one seller are paid from one channel. */
  readonly sharing: Sharing;
  readonly executor: Executor;
  readonly book: ChainBook;
  readonly funding: Funding;
  readonly domain: Domain;
  readonly challengePeriod: number;
  readonly clock: Clock;
  readonly infohash: Uint8Array;
  readonly budget: bigint;
  readonly priceMiBMax: bigint;
  readonly gasMax: bigint;
  readonly prepayMax: bigint;
  /** The piece length, where blocks are paid one by one to sellers that take ticks. */
  readonly payTicksFor: number | undefined;
  /** Whether channels can be opened: a wallet is unlocked. */
  readonly mayOpen: boolean;
  /** Bytes of the torrent that are still to be fetched. */
  readonly bytesLeft: () => number;
  readonly onEvent: (event: FetchEvent) => void;
  readonly events: PayerEvents;
}

export interface Buying {
  readonly payer: Payer;
  /** Whether a channel is being chosen or opened: nothing can arrive before that. */
  readonly busy: boolean;
  /** The connection is gone: what was meant for its payee may go to others. */
  detach(link: PayLink): Promise<void>;
  /** What was signed for this torrent, all runs. */
  spent(): Promise<bigint>;
  /** Whether every payee of this torrent has acknowledged, to this process, or settled all it was signed. */
  acknowledged(): Promise<boolean>;
  /** Bought so far: pieces, bytes and their price, all runs. */
  bought(): Promise<{
    readonly pieces: number;
    readonly bytes: number;
    readonly owed: bigint;
    readonly vouchers: number;
  }>;
}

/** Rounding of each session's price costs at most one base unit; this covers any number of reconnects. */
const ROUNDING_RESERVE = 1_000n;
/** What was paid by ticks or ahead and is lost with a connection is missing in the channel: so often without a top-up. */
const LOSSES_COVERED = 16n;

export async function startBuying(options: BuyingOptions): Promise<Buying> {
  const { ledger, book, funding, infohash, sharing } = options;
  await setBudget(ledger, infohash, options.budget);
  const keyIndexes = new Map<string, number>();
  /** By connection: whom it pays, and what its channel had left when it was chosen. */
  const inUse = new Map<number, { readonly payee: Uint8Array; readonly amount: bigint }>();
  /** What was put into channels in this run: all of it counts against the budget, used or not. */
  let deposited = 0n;
  const spentBefore = (await ledger.budget(infohash))?.spent ?? 0n;
  let gasLeft = options.gasMax;
  let waiting = 0;
  let choosing: Promise<unknown> = Promise.resolve();

  /**
   * One choice at a time, so that two sellers do not both get the same money; and one for a payee, so that two torrents do
   * not. The payee's turn comes first: a torrent waits for no other torrent's transaction but one to the same payee.
   */
  function channelFor(offer: Offer, link: PayLink): Promise<PayingChannel | undefined> {
    waiting++;
    const choice = sharing.inTurn(offer.payee, () => {
      const chosen = choosing.then(() => (link.closed ? undefined : choose(offer, link)));
      choosing = chosen.catch(() => undefined);
      return chosen;
    });
    return choice.finally(() => {
      waiting--;
    });
  }

  async function choose(offer: Offer, link: PayLink): Promise<PayingChannel | undefined> {
    const budget = await ledger.budget(infohash);
    const unspent = options.budget - (budget?.spent ?? 0n) - (budget?.reserved ?? 0n);
    const bytesLeft = BigInt(options.bytesLeft());
    const price = Tariff.price(offer.priceMiB, bytesLeft);
    // What costs nothing takes a channel all the same.
    const need = min(price === 0n && bytesLeft > 0n ? 1n : price, unspent);
    const own = (await ledger.channels()).filter(
      (channel) => channel.role === 'payer' && sameBytes(channel.payee, offer.payee),
    );
    // Claims before the books: what is reserved in between is counted twice rather than not at all.
    const claims = new Map<number, bigint>();
    for (const { index } of own) claims.set(index, await sharing.claimedByOthers(index, infohash));
    const open = (await book.refresh(own)).filter((channel) => Lifecycle.phase(channel, 0n) === 'open');
    const byTicks = isByTicks(offer);
    const apart = open.filter(({ index }) => !sharing.isTaken(index, infohash, byTicks));
    // What is left in each for this torrent, and what of it no other counts on; in the order of the latter.
    const held = await heldBy();
    const funds = (options.mayOpen ? apart : open).map((channel) => {
      const all = left(channel) + (held.get(channel.index) ?? 0n);
      const claimed = claims.get(channel.index) ?? 0n;
      return { channel, all, free: all > claimed ? all - claimed : 0n };
    });
    const best = funds.sort((a, b) => (a.free < b.free ? 1 : -1))[0];
    if (need <= 0n) {
      // Nothing more to buy, but the payee may still be owed what was signed, most likely on the last channel.
      const used = (await ownSessions()).at(-1)?.channel;
      const owed = open.find(({ index }) => index === used) ?? best?.channel;
      return owed && owed.authorized > 0n ? use(owed, offer, link, 0n) : undefined;
    }
    if (best && best.free >= need) return use(best.channel, offer, link, best.free);
    let promised = 0n;
    for (const { payee, amount } of inUse.values()) if (!sameBytes(payee, offer.payee)) promised += amount;
    // A channel that is good enough is not topped up for roundings to come: that would cost gas each time.
    const wanted =
      min(price + spareFor(offer, options, price, unspent - price), unspent) - promised - (best?.free ?? 0n);
    const missing = min(wanted, options.budget - spentBefore - deposited);
    const funded = options.mayOpen && missing > 0n ? await fund(offer, best?.channel, missing) : undefined;
    if (funded) return use(funded.channel, offer, link, (best?.free ?? 0n) + missing, funded);
    if (best && (best.all > 0n || best.channel.authorized > 0n))
      return use(best.channel, offer, link, best.free);
    if (missing <= 0n || options.mayOpen) return undefined;
    throw new PieceworkError(
      'PASSWORD_REQUIRED',
      'no open channel can pay this seller; opening one needs the wallet',
    );
  }

  async function fund(
    offer: Offer,
    best: ChannelRecord | undefined,
    missing: bigint,
  ): Promise<Funded | undefined> {
    const onGas = (purpose: string, feeMax: bigint, ceiling: bigint): void =>
      options.onEvent({ event: 'gas', purpose, feeMax: String(feeMax), ceiling: String(ceiling) });
    try {
      const funded = best
        ? await funding.topUpChannel(best, missing, gasLeft, onGas)
        : await funding.openChannel(offer.payee, missing, gasLeft, onGas);
      gasLeft -= funded.fee;
      deposited += missing;
      return funded;
    } catch (thrown) {
      const error = thrown as Error;
      // An open channel with less in it is still worth using; without one the reason is the caller's.
      if (!best || left(best) === 0n) throw thrown;
      options.onEvent({ event: 'warning', text: `the channel was not topped up: ${error.message}` });
      return undefined;
    }
  }

  function isByTicks({ tickLength }: Offer): boolean {
    return options.payTicksFor !== undefined && tickLength > 0;
  }

  function use(
    channel: ChannelRecord,
    offer: Offer,
    link: PayLink,
    amount: bigint,
    funded?: Funded,
  ): PayingChannel {
    keyIndexes.set(toHex(channel.voucherKey), channel.keyIndex);
    if (!link.closed) {
      inUse.set(link.id, { payee: channel.payee, amount });
      sharing.claim(link, {
        channel: channel.index,
        infohash,
        byTicks: isByTicks(offer),
        needed: () => needed(channel.index, offer.priceMiB, amount),
      });
    }
    options.onEvent({
      event: 'channel',
      voucherKey: formatAddress(channel.voucherKey),
      payee: formatAddress(channel.payee),
      deposit: String(channel.deposit),
      opened: funded !== undefined,
      ...(funded ? { transaction: funded.transaction } : {}),
    });
    return channel;
  }

  /** By channel: what pieces of this torrent that are under way have reserved. */
  async function heldBy(): Promise<Map<number, bigint>> {
    const held = new Map<number, bigint>();
    for (const { channel, reserved } of await ownSessions())
      held.set(channel, (held.get(channel) ?? 0n) + reserved);
    return held;
  }

  /** What the rest of the torrent costs, as far as it was to come from `amount` of a channel and is not reserved there. */
  async function needed(channel: number, priceMiB: bigint, amount: bigint): Promise<bigint> {
    const held = (await heldBy()).get(channel) ?? 0n;
    const rest = min(Tariff.price(priceMiB, BigInt(options.bytesLeft())), amount);
    return rest > held ? rest - held : 0n;
  }

  const payer = createPayer(
    {
      clock: options.clock,
      domain: options.domain,
      challengePeriod: options.challengePeriod,
      book: ledger,
      heads: sharing.heads,
      priceMiBMax: () => options.priceMiBMax,
      prepayMax: options.prepayMax,
      payTicksFor: options.payTicksFor,
      recover: recoverWith(options.executor),
      signAs: (voucherKey, digest) => ledger.signAs(keyIndexes.get(toHex(voucherKey))!, digest),
      channelFor,
    },
    options.events,
  );

  const ownSessions = async () => {
    const channels = await ledger.channels();
    const sessions = await ledger.sessions();
    return sessions.filter(
      (session) => sameBytes(session.infohash, infohash) && channels[session.channel]?.role === 'payer',
    );
  };
  return {
    payer,
    get busy() {
      return waiting > 0;
    },
    async detach(link) {
      inUse.delete(link.id);
      sharing.release(link);
      await payer.detach(link);
      payer.reconsider();
    },
    spent: async () => (await ledger.budget(infohash))?.spent ?? 0n,
    async acknowledged() {
      const used = new Set((await ownSessions()).map((session) => session.channel));
      return (await ledger.channels())
        .filter(({ index, authorized, settled }) => used.has(index) && authorized > settled)
        .every(({ index }) => payer.isAcknowledged(index));
    },
    async bought() {
      const sessions = await ownSessions();
      const channels = await ledger.channels();
      const used = new Set(sessions.map((session) => session.channel));
      return {
        pieces: sessions.reduce((sum, session) => sum + session.pieceCount, 0),
        bytes: sessions.reduce((sum, session) => sum + session.bytes, 0),
        owed: sessions.reduce((sum, session) => sum + session.owed, 0n),
        vouchers: channels.reduce(
          (sum, channel) => sum + (used.has(channel.index) ? channel.voucherCount : 0),
          0,
        ),
      };
    },
  };
}

/**
 * What a channel is given beyond the price: for roundings, and for what is paid and does not come. `rest` is what the
 * budget has beyond the price; what a seller asks to be paid ahead leaves of it what the whole costs with another one.
 */
export function spareFor(
  { priceMiB, prepay }: Pick<Offer, 'priceMiB' | 'prepay'>,
  { payTicksFor, prepayMax }: Pick<BuyingOptions, 'payTicksFor' | 'prepayMax'>,
  price: bigint,
  rest: bigint,
): bigint {
  const byTicks = LOSSES_COVERED * Tariff.price(priceMiB, BigInt(payTicksFor ?? 0));
  const ahead = LOSSES_COVERED * min(min(prepay, prepayMax), price);
  return ROUNDING_RESERVE + max(byTicks, min(ahead, rest - price - 2n * ROUNDING_RESERVE));
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

/** What a channel can still pay. */
function left(channel: ChannelRecord): bigint {
  const taken = (channel.due > channel.authorized ? channel.due : channel.authorized) + channel.reserved;
  return channel.deposit > taken ? channel.deposit - taken : 0n;
}

/**
 * Settles what a crash left open for a torrent: a piece that is there and names its seller is paid, one that
 * is not there is given up; sessions that were open are over.
 */
export async function settleLeftovers(
  ledger: Ledger,
  infohash: Uint8Array,
  has: (piece: number) => boolean,
): Promise<void> {
  const commands: Command[] = (await ledger.outstanding(infohash)).map(({ session, piece, bytes }) =>
    has(piece) ? { kind: 'pay', session, piece, bytes, advance: 0n } : { kind: 'abandon', session, piece },
  );
  for (const session of await ledger.sessions()) {
    if (session.closed || !sameBytes(session.infohash, infohash)) continue;
    commands.push({ kind: 'session_close', session: session.index, deliveredBytes: session.bytes });
  }
  await ledger.commit(commands);
}

/** Sets the limit. One below what is spent already becomes just that: nothing more is bought. */
async function setBudget(ledger: Ledger, infohash: Uint8Array, limit: bigint): Promise<void> {
  const before = await ledger.budget(infohash);
  const committed = (before?.spent ?? 0n) + (before?.reserved ?? 0n);
  const [outcome] = await ledger.commit([
    { kind: 'budget', infohash, limit: limit > committed ? limit : committed },
  ]);
  if (outcome!.status === 'no_space')
    throw new PieceworkError('DISK_FULL', 'the ledger has no room for a budget');
  if (outcome!.status !== 'ok')
    throw new PieceworkError('INTERNAL', `the ledger refused a budget: ${outcome!.status}`);
}
