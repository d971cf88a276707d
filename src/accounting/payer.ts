/**
 * The paying side of pw_pay (wire.md 3–7): judges offers, opens sessions on a channel, reserves every piece
 * in the budget before it is asked for, and pays it once it is verified and written, or by ticks as its blocks come
 * (ticks.md). What pays leaves only after its record is synced. Which channel pays whom is the engine's choice, through `channelFor`.
 */
import type { PayLink } from '../channels/link.js';
import type { Ack, Message, RejectCode } from '../channels/message.js';
import {
  acceptDigest,
  type Offer,
  offerDigest,
  type Receipt,
  receiptDigest,
  sessionId,
} from '../channels/terms.js';
import * as Tick from '../channels/tick.js';
import { amountOf, isNone } from '../channels/voucher.js';
import { offersPerLinkMax } from '../limits.js';
import type { Status } from '../native/records.js';
import { sameBytes } from '../units.js';
import { type Book, isLedgerFailure } from './book.js';
import { acknowledge, type Head, type Heads, headOf, type PayingChannel, publish, show } from './head.js';
import { checkOffer, type OfferPorts } from './offers.js';
import { advance, arrivedPrice, openPurse, type Purse, type Standing, type Told } from './purse.js';
import { begin, planTicks, reveal } from './revealing.js';

export interface PayerPorts extends OfferPorts {
  readonly book: Book;
  /** Shared with all other payers of the book. */
  readonly heads: Heads;
  /** Base units we are willing to pay ahead. */
  readonly prepayMax: bigint;
  /**
   * The piece length where blocks are paid one by one to sellers that take ticks; what is paid ahead then is a piece
   * less a block. Undefined pays whole pieces.
   */
  readonly payTicksFor: number | undefined;
  /** Signs a digest with the voucher key of a channel. */
  readonly signAs: (voucherKey: Uint8Array, digest: Uint8Array) => Uint8Array;
  /** An open channel to this payee, opened if need be; undefined when there is no money for one. */
  readonly channelFor: (offer: Offer, link: PayLink) => Promise<PayingChannel | undefined>;
}

export interface PayerEvents {
  /** The peer sells to us from now on, or no longer. `code` says why not. */
  onStanding(link: PayLink, standing: Standing, code?: RejectCode): void;
  /** The payee holds a durable voucher of this channel for `ack.authorized`. */
  onAck(link: PayLink, ack: Ack, voucherKey: Uint8Array): void;
  onReceipt(link: PayLink, receipt: Receipt): void;
  /** The ledger failed: nothing can be paid any more. */
  onFailure(reason: unknown): void;
  /** One seller cannot be paid, or one connection failed; others go on. */
  onTrouble(reason: unknown): void;
}

export type { Standing } from './purse.js';

export type Reservation = 'ok' | 'wait' | 'stop';

export interface Payer {
  attach(link: PayLink): void;
  onMessage(link: PayLink, message: Message): void;
  detach(link: PayLink): Promise<void>;
  /** Whether this connection sells, and at what price per MiB. */
  offerOf(link: PayLink): Offer | undefined;
  standingOf(link: PayLink): Standing;
  reserve(link: PayLink, piece: number, bytes: number): Promise<Reservation>;
  /** A block of a reserved piece came from this connection. Does nothing where pieces are paid as a whole. */
  arrived(link: PayLink, piece: number, bytes: number): void;
  /** A piece from this connection is verified and written: pays it. */
  received(link: PayLink, piece: number, bytes: number): Promise<void>;
  /** A reserved piece will not come from this connection. Due for every reserved piece, also after a close. */
  abandoned(link: PayLink, piece: number): Promise<void>;
  /** Looks again at offers that no channel could be found for: money may have become free. */
  reconsider(): void;
  /** Sends the final voucher and resolves once the payee acknowledged it, or after `timeoutMs`. */
  finish(link: PayLink, timeoutMs: number): Promise<void>;
  /** Whether the payee of a channel has said, since this process began, that it holds all that was signed. */
  isAcknowledged(channel: number): boolean;
}

/** Receipts that are looked at on one connection. */
const RECEIPTS_MAX = 16;

export function createPayer(ports: PayerPorts, events: PayerEvents): Payer {
  const purses = new Map<number, Purse>();
  const { heads } = ports;
  /** By channel: what was signed when the last voucher was sent. Others may go on with the channel. */
  const finished = new Map<number, bigint>();

  function setStanding(purse: Purse, standing: Standing, code?: RejectCode): void {
    purse.standing = standing;
    events.onStanding(purse.link, standing, code);
  }

  function onOffer(purse: Purse, told: Told): void {
    const { link } = purse;
    if (++purse.offers > offersPerLinkMax) {
      setStanding(purse, 'refused', 'rate_limited');
      return link.close('too many offers');
    }
    purse.nextOffer = told;
    if (!purse.judging) run(purse, judgeOffers(purse));
  }

  /** One offer at a time, and of those that come meanwhile the last: who floods keeps only itself waiting. */
  async function judgeOffers(purse: Purse): Promise<void> {
    purse.judging = true;
    try {
      for (let told = purse.nextOffer; told && !purse.link.closed; told = purse.nextOffer) {
        purse.nextOffer = undefined;
        await judge(purse, told);
      }
    } finally {
      purse.judging = false;
    }
  }

  async function judge(purse: Purse, { offer, signature }: Told): Promise<void> {
    const { link } = purse;
    const digest = offerDigest(offer);
    const code = await checkOffer(ports, { offer, digest, signature, infohash: link.infohash });
    if (code) {
      link.send({ type: 'reject', refused: 'offer', code, detail: '' });
      // What was agreed before holds until something else is.
      if (purse.session === undefined) setStanding(purse, 'refused', code);
      return;
    }
    let channel: PayingChannel | undefined;
    try {
      channel = await ports.channelFor(offer, link);
    } catch (reason) {
      // The chain or the wallet: this seller cannot be paid now, others perhaps can.
      if (isLedgerFailure(reason)) throw reason;
      purse.declined = { offer, signature };
      events.onTrouble(reason);
      if (purse.session === undefined) setStanding(purse, 'exhausted');
      return;
    }
    if (link.closed) return;
    if (!channel) {
      if (purse.session !== undefined) return;
      purse.declined = { offer, signature };
      return setStanding(purse, 'exhausted', 'budget_exhausted');
    }
    purse.declined = undefined;
    const pieceLength = ports.payTicksFor;
    const plan = pieceLength === undefined ? undefined : planTicks(offer, pieceLength, ports.prepayMax);
    const prepay = plan?.prepay ?? (offer.prepay < ports.prepayMax ? offer.prepay : ports.prepayMax);
    const accept = { offerDigest: digest, nonce: offer.nonce, voucherKey: channel.voucherKey, prepay };
    const connection = { payerPeerId: link.localPeerId, payeePeerId: link.peerId, infohash: link.infohash };
    const proof = acceptDigest(ports.domain, accept, connection);
    const [outcome] = await ports.book.commit([
      {
        kind: 'session_open',
        channel: channel.index,
        sessionId: sessionId(proof),
        infohash: link.infohash,
        priceMiB: offer.priceMiB,
        minimumStep: offer.minStep,
        prepay,
      },
    ]);
    if (outcome!.status !== 'ok') return setStanding(purse, 'refused', 'unavailable');
    await closeSession(purse);
    const [head, session] = [headOf(heads, channel), outcome!.session!];
    const received = (): bigint => arrivedPrice(purse, session);
    const ticks = plan && { link, session, head, plan, received, busy: false, again: false };
    const fresh = { session, ticks, bytes: 0n, stateSeen: false, chainSeen: false };
    Object.assign(purse, { offer, digest, head, ...fresh });
    link.send({ type: 'accept', accept, signature: ports.signAs(channel.voucherKey, proof) });
  }

  async function onState(purse: Purse, row: Uint8Array): Promise<void> {
    const { head } = purse;
    if (!head || purse.session === undefined || purse.stateSeen) return;
    purse.stateSeen = true;
    const shown = isNone(row) ? 0n : amountOf(row);
    if (shown > head.authorized) {
      // Our book is behind what the payee holds: take it over if our own key signed it, ignore it if not.
      const [outcome] = await ports.book.commit([{ kind: 'adopt', channel: head.index, row }]);
      // The outcome has no row: it was not signed now.
      if (outcome!.status === 'ok') publish(head, { ...outcome!, row });
    }
    if (shown <= head.authorized) acknowledge(head, shown);
    // Who pays by pieces has its credit counted in pieces: a chain of before is over. Who pays by ticks signs for what is
    // due first: the payee gives up what it does not hear of now.
    if (purse.ticks) await begin(ports.book, purse.ticks);
    const folded = !purse.ticks && (await fold(purse));
    if (folded || head.authorized > head.acked) sendVoucher(purse);
    else purse.link.send({ type: 'state', role: 'payer', row: head.row, deposit: 0n });
    // The first block shall find the chain known.
    if (purse.ticks && head.chain && !purse.link.closed) show(head, purse.link, false);
    setStanding(purse, 'ready');
  }

  /** The payee shows a tick row that claims more than the plain row of its state. */
  async function onShownChain(purse: Purse, row: Uint8Array): Promise<void> {
    const { head } = purse;
    if (!head || purse.session === undefined || purse.chainSeen) return;
    purse.chainSeen = true;
    const claim = Tick.claimOf(row);
    if (claim > head.authorized) {
      const [outcome] = await ports.book.commit([{ kind: 'adopt_ticks', channel: head.index, row }]);
      if (outcome!.status === 'ok') publish(head, { ...outcome!, tickRow: row.slice() });
    }
    if (claim <= head.authorized) acknowledge(head, claim);
  }

  function sendVoucher(purse: Purse): void {
    const { head, link, offer } = purse;
    if (!head!.chain || offer!.tickLength > 0) return show(head!, link, false);
    run(
      purse,
      fold(purse).then(() => show(head!, link, false)),
    );
  }

  /** Puts a plain voucher of as much in the place of a chain: the last one is plain, and so is all for who takes no ticks. */
  async function fold({ head, session }: Purse): Promise<boolean> {
    if (!head?.chain || session === undefined) return false;
    const [outcome] = await ports.book.commit([{ kind: 'sign', session, advance: 0n }]);
    if (outcome!.status === 'ok') publish(head, outcome!);
    return head.chain === undefined;
  }

  function onAck(purse: Purse, ack: Ack): void {
    const { head } = purse;
    if (!head) return;
    // Another connection may have brought it further than this one knows.
    acknowledge(head, ack.authorized < head.authorized ? ack.authorized : head.authorized);
    events.onAck(purse.link, ack, head.voucherKey);
    const raised = ack.deposit > purse.depositSeen;
    purse.depositSeen = ack.deposit;
    if (raised && purse.standing === 'exhausted' && purse.session !== undefined) setStanding(purse, 'ready');
    if (isHeld(head) && purse.finishing?.by === 'ack') purse.finishing.done();
  }

  /** Whether the payee holds all that was signed, or all that was when this payer was done. */
  function isHeld(head: Head): boolean {
    return head.acked >= (finished.get(head.index) ?? head.authorized);
  }

  function onReject(purse: Purse, code: RejectCode): void {
    if (code === 'deposit_exhausted') {
      purse.turnedAway = new Set(purse.outstanding.keys());
      return setStanding(purse, 'exhausted', code);
    }
    if (code === 'below_step' && purse.head) {
      // More was granted meanwhile: what was sent does not count, and may be worth a step by now. If it is not,
      // it goes out with the next piece; the same again would only be refused again.
      const { head } = purse;
      head.sent = head.acked;
      if (head.authorized - head.sent >= purse.offer!.minStep) sendVoucher(purse);
      return;
    }
    if (
      code === 'banned' ||
      code === 'channel_closing' ||
      code === 'unavailable' ||
      code === 'exposure_too_small'
    ) {
      setStanding(purse, 'refused', code);
    }
  }

  async function onReceipt(purse: Purse, receipt: Receipt, signature: Uint8Array): Promise<void> {
    if (!purse.offer || ++purse.receipts > RECEIPTS_MAX) return;
    const signer = await ports.recover(receiptDigest(ports.domain, receipt), signature);
    if (!signer || !sameBytes(signer, purse.offer.delegate)) return;
    events.onReceipt(purse.link, receipt);
    if (purse.head && isHeld(purse.head)) purse.finishing?.done();
  }

  /** Sends what was signed if it is worth a voucher: a step, or all that was asked for has come. */
  function payUp(purse: Purse): void {
    const { head } = purse;
    if (!head || purse.link.closed) return;
    const step = head.authorized - head.sent;
    if (step > 0n && (step >= purse.offer!.minStep || hasReceivedAll(head))) sendVoucher(purse);
  }

  function hasReceivedAll(head: Head): boolean {
    for (const purse of purses.values()) if (purse.head === head && purse.outstanding.size > 0) return false;
    return true;
  }

  async function reserve(purse: Purse, piece: number, bytes: number): Promise<Reservation> {
    if (purse.standing === 'exhausted' || purse.standing === 'refused') return 'stop';
    const { session, head } = purse;
    if (purse.standing !== 'ready' || session === undefined || !head) return 'wait';
    const [outcome] = await ports.book.commit([{ kind: 'purchase', session, piece, bytes }]);
    const { status } = outcome!;
    if (status === 'ok' && purse.link.closed) {
      // The connection ended while the purchase was under way: nobody will speak of the piece again.
      await ports.book.commit([{ kind: 'abandon', session, piece }]);
      return 'stop';
    }
    if (status === 'ok') {
      purse.outstanding.set(piece, { bytes, session, head, arrived: 0 });
      finished.delete(head.index);
      const isAhead = purse.offer!.prepay > 0n && ports.prepayMax > 0n;
      if (isAhead && !purse.ticks) await payAhead(purse, session, head);
      return 'ok';
    }
    const why = STOPS[status];
    if (why === undefined) return 'wait';
    purse.short = status === 'exceeds_budget' || status === 'exceeds_deposit';
    // What pieces under way have reserved comes back if they do not come: until then it is not known to be gone.
    if (purse.short && underWay()) return 'wait';
    setStanding(purse, 'exhausted', why);
    return 'stop';
  }

  function underWay(): boolean {
    for (const purse of purses.values()) if (purse.outstanding.size > 0) return true;
    return false;
  }

  /** Money has come back, or will not come any more: whoever was short of it asks again. */
  function wakeShort(): void {
    for (const purse of purses.values()) {
      if (!purse.short || purse.link.closed) continue;
      purse.short = false;
      setStanding(purse, 'ready');
    }
  }

  async function payAhead(purse: Purse, session: number, head: Head): Promise<void> {
    const ahead = advance(purse);
    const [outcome] = await ports.book.commit([{ kind: 'sign', session, advance: ahead }]);
    if (outcome!.status !== 'ok') return;
    publish(head, outcome!);
    if (purse.head === head && head.authorized > head.sent) sendVoucher(purse);
  }

  async function received(purse: Purse, piece: number, bytes: number): Promise<void> {
    const asked = purse.outstanding.get(piece);
    if (!asked) return;
    const { session } = asked;
    const ticks = purse.ticks?.session === session ? purse.ticks : undefined;
    if (!ticks) purse.outstanding.delete(piece);
    // From here on it is due: what of it was ahead must not be paid for a second time while the ledger writes.
    else asked.arrived = 0;
    const [outcome] = await ports.book.commit([
      ticks
        ? { kind: 'receive', session, piece, bytes }
        : { kind: 'pay', session, piece, bytes, advance: advance(purse) },
    ]);
    if (outcome!.status !== 'ok') throw new Error(`the ledger refused a payment: ${outcome!.status}`);
    purse.outstanding.delete(piece);
    purse.bytes += BigInt(bytes);
    publish(asked.head, outcome!);
    forgetIfDone(purse);
    if (ticks) await reveal(ports.book, ticks);
    else payUp(purse);
    if (!underWay()) wakeShort();
    comeBack(purse, piece);
  }

  /** All that the payee had turned away has come: it has given up what it still counted then, and grants again. */
  function comeBack(purse: Purse, piece: number): void {
    if (!purse.turnedAway?.delete(piece) || purse.turnedAway.size > 0) return;
    purse.turnedAway = undefined;
    if (purse.standing === 'exhausted' && !purse.link.closed) setStanding(purse, 'ready');
  }

  /** Pieces under way stay outstanding: the fetcher still says of each whether it arrived. */
  async function closeSession(purse: Purse): Promise<void> {
    const { session } = purse;
    if (session === undefined) return;
    purse.session = undefined;
    await ports.book.commit([{ kind: 'session_close', session, deliveredBytes: Number(purse.bytes) }]);
  }

  /** A connection ended and with it perhaps a voucher on its way: another one of the channel sends it. */
  function sendAgain(head: Head): void {
    head.sent = head.acked;
    if (head.authorized === head.acked) return;
    for (const purse of purses.values()) {
      if (purse.head === head && purse.standing === 'ready' && !purse.link.closed) return sendVoucher(purse);
    }
  }

  function forgetIfDone(purse: Purse): void {
    if (purse.link.closed && purse.outstanding.size === 0) purses.delete(purse.link.id);
  }

  /** Ends when the work has, or has failed and was told of. */
  async function run({ link }: Purse, work: Promise<unknown>): Promise<void> {
    await work.catch((reason) => {
      link.close('the payer failed');
      if (isLedgerFailure(reason)) events.onFailure(reason);
      else events.onTrouble(reason);
    });
  }

  return {
    attach(link) {
      purses.set(link.id, openPurse(link));
    },
    onMessage(link, message) {
      const purse = purses.get(link.id);
      if (!purse) return;
      switch (message.type) {
        case 'offer':
          return onOffer(purse, message);
        case 'state':
          return message.role === 'payee' ? run(purse, onState(purse, message.row)) : undefined;
        case 'tick_voucher':
          return run(purse, onShownChain(purse, message.row));
        case 'ack':
          return onAck(purse, message);
        case 'receipt':
          return run(purse, onReceipt(purse, message.receipt, message.signature));
        case 'reject':
          return onReject(purse, message.code);
        default:
          return;
      }
    },
    async detach(link) {
      const purse = purses.get(link.id);
      if (!purse) return;
      purse.finishing?.done();
      forgetIfDone(purse);
      if (purse.head) sendAgain(purse.head);
      await closeSession(purse);
    },
    offerOf: (link) => purses.get(link.id)?.offer,
    standingOf: (link) => purses.get(link.id)?.standing ?? 'refused',
    async reserve(link, piece, bytes) {
      const purse = purses.get(link.id);
      return purse ? reserve(purse, piece, bytes) : 'stop';
    },
    arrived(link, piece, bytes) {
      const purse = purses.get(link.id);
      const asked = purse?.outstanding.get(piece);
      if (!purse?.ticks || !asked) return;
      asked.arrived += bytes;
      run(purse, reveal(ports.book, purse.ticks));
    },
    async received(link, piece, bytes) {
      const purse = purses.get(link.id);
      if (purse) await received(purse, piece, bytes);
    },
    async abandoned(link, piece) {
      const purse = purses.get(link.id);
      const asked = purse?.outstanding.get(piece);
      if (!purse || !asked) return;
      purse.outstanding.delete(piece);
      forgetIfDone(purse);
      await ports.book.commit([{ kind: 'abandon', session: asked.session, piece }]);
      wakeShort();
    },
    reconsider() {
      for (const purse of purses.values()) {
        const { declined, link } = purse;
        if (link.closed) continue;
        if (!declined) {
          if (purse.standing === 'exhausted' && purse.session !== undefined) setStanding(purse, 'ready');
          continue;
        }
        purse.declined = undefined;
        purse.nextOffer ??= declined;
        if (!purse.judging) run(purse, judgeOffers(purse));
      }
    },
    async finish(link, timeoutMs) {
      const purse = purses.get(link.id);
      const head = purse?.head;
      if (!purse || !head || link.closed || (isNone(head.row) && !head.chain)) return;
      const wasChain = head.chain !== undefined;
      await run(purse, fold(purse));
      if (link.closed) return;
      finished.set(head.index, head.authorized);
      await new Promise<void>((resolve) => {
        const cancel = ports.clock.after(timeoutMs, resolve);
        const done = (): void => {
          cancel();
          resolve();
        };
        purse.finishing = { by: wasChain && !head.chain ? 'receipt' : 'ack', done };
        show(head, link, true);
      });
    },
    isAcknowledged(channel) {
      const head = heads.get(channel);
      return head !== undefined && isHeld(head);
    },
  };
}

const STOPS: Partial<Record<Status, RejectCode>> = {
  exceeds_budget: 'budget_exhausted',
  exceeds_deposit: 'deposit_exhausted',
  closing: 'channel_closing',
  closed: 'no_session',
};
