/**
 * The earning side of pw_pay (wire.md 3–7): makes offers, opens sessions, takes vouchers in, and tells the
 * seeder whom to serve. Money is decided here in the order of wire.md 6; durability is the book's, signatures
 * the native module's, the chain is asked through `lookUp`.
 */
import type { ChannelFacts } from '../channels/channel.js';
import type { PayLink } from '../channels/link.js';
import type { Message, MessageType, RejectCode } from '../channels/message.js';
import {
  type Accept,
  acceptDigest,
  type Delegation,
  type Offer,
  offerDigest,
  sessionId,
} from '../channels/terms.js';
import * as Tick from '../channels/tick.js';
import { NONE } from '../channels/voucher.js';
import {
  acceptRetriesMax,
  acceptRetryMs,
  blockBytesMax,
  offerLifetimeSeconds,
  voucherBurstMax,
} from '../limits.js';
import { sameBytes } from '../units.js';
import { type ChannelAccount, isByBlock, keyOf, type PayeeSession, type Prices } from './account.js';
import { type AccountEvents, type AccountPorts, createAccounts } from './accounts.js';
import type { Bans } from './bans.js';
import { isLedgerFailure } from './book.js';
import * as Credit from './credit.js';
import { type Admission, createGranting, type Wanted } from './granting.js';
import { type Counter, createTaking, type TakingPorts } from './taking.js';
import * as Tariff from './tariff.js';

/** Whether blocks can be paid one by one (ticks.md): never, if the payer wants, or always. */
export type TickTerms = 'off' | 'offer' | 'require';

/** What a payee sells and at what risk. Amounts in base units. */
export interface PayeeTerms {
  readonly priceMiB: bigint;
  readonly windowBytes: bigint;
  readonly minStep: bigint;
  readonly prepay: bigint;
  /** The most one channel may owe: E_payee. */
  readonly exposureMax: bigint;
  readonly ticks: TickTerms;
}

/** How a connection is sold to. */
export interface Sale {
  readonly pieceLength: number;
  /** Whether blocks can be granted and paid one by one. */
  readonly byBlock: boolean;
}

export interface PayeePorts extends AccountPorts, TakingPorts {
  readonly challengePeriod: number;
  readonly delegate: Uint8Array;
  readonly delegation: Delegation | undefined;
  readonly bans: Bans;
  /** The address that signed, or undefined for a bad signature. */
  readonly recover: (digest: Uint8Array, signature: Uint8Array) => Promise<Uint8Array | undefined>;
  readonly randomBytes: (count: number) => Uint8Array;
}

export interface PayeeEvents extends AccountEvents {
  /** Whether the seeder should serve this connection for money. */
  onStanding(link: PayLink, standing: 'paid' | 'late' | 'none'): void;
  /** Stalled requests of this connection may be tried again. */
  onResume(link: PayLink): void;
  /** A channel has a session, after having had none. */
  onActive(voucherKey: Uint8Array): void;
  /** The ledger failed: serving has to stop. */
  onFailure(reason: unknown): void;
  /** Something went wrong for one peer, or the chain does not answer: others are served on. */
  onTrouble(reason: unknown): void;
}

export interface Payee {
  attach(link: PayLink, sale: Sale): void;
  onMessage(link: PayLink, message: Message): void;
  onInvalid(link: PayLink, refused: MessageType, code: RejectCode): void;
  detach(link: PayLink): Promise<void>;
  /** Answers for each of the pieces, in their order; for none of them when the link has no session. */
  admit(link: PayLink, pieces: readonly Wanted[]): Promise<readonly Admission[]>;
  /** Whether credit is counted in blocks: they have to be asked for in the order of the requests. */
  isByBlock(link: PayLink): boolean;
  /** Of what was granted of a piece so many bytes have left; all of it where no number is given. */
  sent(link: PayLink, piece: number, bytes?: number): void;
  delivered(link: PayLink, bytes: number): void;
  /** Before a close of these channels, or of all: has what is granted paid, then serves them no more. */
  retire(voucherKeys: readonly Uint8Array[] | undefined): Promise<void>;
  /** Serves again on channels that are no longer retired. */
  release(): void;
  /** The chain says something new about a channel. */
  onFacts(facts: ChannelFacts): Promise<void>;
  /** Voucher keys of the channels in use, for the watcher. */
  activeKeys(): Uint8Array[];
}

interface Desk extends Counter {
  readonly prices: Prices;
  readonly ticks: TickTerms;
  offer: Offer;
  digest: Uint8Array;
  usedNonces: string[];
  retries: number;
  cancelRetry: (() => void) | undefined;
  busy: boolean;
}

export function createPayee(terms: PayeeTerms, ports: PayeePorts, events: PayeeEvents): Payee {
  const desks = new Map<number, Desk>();
  const creditTerms: Credit.CreditTerms = {
    exposureMax: terms.exposureMax,
    windowMax: Tariff.price(terms.priceMiB, terms.windowBytes),
    minStep: terms.minStep,
  };
  const accounts = createAccounts(creditTerms, ports, events);
  const granting = createGranting(ports, {
    onResume(session) {
      events.onStanding(session.link, 'paid');
      events.onResume(session.link);
    },
    onLate: (session) => events.onStanding(session.link, 'late'),
    onDepositExhausted: (session) => refuse(session.link, 'voucher', 'deposit_exhausted'),
    onFailure: events.onFailure,
  });

  const taking = createTaking(ports, granting, (link, refused, code) => void refuse(link, refused, code));

  /** Sends a reject and counts it; ends the connection when that bans the peer. */
  function refuse(link: PayLink, refused: MessageType, code: RejectCode, detail = ''): void {
    link.send({ type: 'reject', refused, code, detail });
    if (!ports.bans.score(link.address, code)) return;
    const voucherKey = desks.get(link.id)?.session?.account.voucherKey;
    if (voucherKey) ports.bans.ban(keyOf(voucherKey));
    link.send({ type: 'reject', refused, code: 'banned', detail: '' });
    link.close('banned');
  }

  function makeOffer(link: PayLink, ticks: TickTerms, prepay: bigint): Offer {
    return {
      domain: ports.domain,
      payee: ports.payee,
      priceMiB: terms.priceMiB,
      windowBytes: terms.windowBytes,
      minStep: ticks === 'require' ? 0n : terms.minStep,
      prepay,
      expiry: ports.clock.unixSeconds() + offerLifetimeSeconds,
      nonce: ports.randomBytes(16),
      infohash: link.infohash,
      challengePeriod: ports.challengePeriod,
      delegate: ports.delegate,
      delegation: ports.delegation,
      tickLength: ticks === 'off' ? 0 : Tick.CHAIN_LENGTH_MAX,
    };
  }

  function sendOffer(desk: Desk): void {
    desk.offer = makeOffer(desk.link, desk.ticks, desk.offer.prepay);
    desk.digest = offerDigest(desk.offer);
    desk.link.send({ type: 'offer', offer: desk.offer, signature: ports.sign(desk.digest) });
  }

  async function onAccept(desk: Desk, accept: Accept, signature: Uint8Array): Promise<void> {
    const { link, offer } = desk;
    const code = checkAccept(desk, accept);
    if (code) return refuse(link, 'accept', code);
    desk.usedNonces.push(Buffer.from(accept.nonce).toString('hex'));

    const connection = { payerPeerId: link.peerId, payeePeerId: link.localPeerId, infohash: link.infohash };
    const digest = acceptDigest(ports.domain, accept, connection);
    const signer = await ports.recover(digest, signature);
    if (!signer || !sameBytes(signer, accept.voucherKey)) return refuse(link, 'accept', 'bad_proof');

    const found = await accounts.open(accept.voucherKey, desk.prices, desk.ticks === 'require');
    if ('refusal' in found) {
      refuse(link, 'accept', found.refusal, found.detail);
      if (found.mayChange) offerAgain(desk);
      return;
    }
    if (link.closed) return;
    const { account } = found;
    const opened = {
      channel: account.index,
      sessionId: sessionId(digest),
      infohash: link.infohash,
      priceMiB: offer.priceMiB,
      minimumStep: offer.minStep,
      prepay: accept.prepay,
    };
    const [outcome] = await ports.book.commit([{ kind: 'session_open', ...opened }]);
    if (outcome!.status !== 'ok')
      return refuse(link, 'accept', outcome!.status === 'duplicate' ? 'duplicate' : 'unavailable');
    if (link.closed) {
      await ports.book.commit([{ kind: 'session_close', session: outcome!.session!, deliveredBytes: 0 }]);
      return;
    }
    if (desk.session) await granting.end(desk.session);
    desk.session = startSession(desk, account, outcome!.session!, opened.sessionId);
    desk.retries = 0;
    link.send({ type: 'state', role: 'payee', row: account.row, deposit: account.deposit });
    if (account.chain) link.send({ type: 'tick_voucher', row: account.chain });
    taking.acknowledge(desk.session);
    events.onStanding(link, 'paid');
    events.onResume(link);
  }

  function checkAccept(desk: Desk, accept: Accept): RejectCode | undefined {
    if (!sameBytes(accept.offerDigest, desk.digest) || !sameBytes(accept.nonce, desk.offer.nonce))
      return 'bad_nonce';
    if (desk.usedNonces.includes(Buffer.from(accept.nonce).toString('hex'))) return 'duplicate';
    if (desk.offer.expiry < ports.clock.unixSeconds()) return 'expired';
    if (accept.prepay > desk.offer.prepay) return 'malformed';
    const { block, piece } = desk.prices;
    if (desk.ticks === 'require' && !Credit.canFetch(block, piece, accept.prepay))
      return 'exposure_too_small';
    return ports.bans.isBanned(keyOf(accept.voucherKey)) ? 'banned' : undefined;
  }

  function startSession(desk: Desk, account: ChannelAccount, index: number, id: Uint8Array): PayeeSession {
    const session: PayeeSession = {
      link: desk.link,
      index,
      id,
      account,
      offer: desk.offer,
      offerDigest: desk.digest,
      terms: creditTerms,
      prices: desk.prices,
      requiresTicks: desk.ticks === 'require',
      paysTicks: false,
      underWay: new Map(),
      grantedBytes: 0n,
      deliveredBytes: 0,
      hasPaid: false,
      forgivenBytes: 0n,
      authorizedBefore: account.authorized,
      grantedBefore: account.granted,
      shown: undefined,
      receipt: undefined,
      resynced: false,
      ended: false,
      stalled: false,
      choked: false,
      depositReported: false,
      cancelLate: undefined,
    };
    account.cancelDefault?.();
    account.cancelDefault = undefined;
    account.sessions.add(session);
    if (account.sessions.size === 1) events.onActive(account.voucherKey);
    return session;
  }

  /** What pieces cost, and what may be paid ahead: by ticks the blocks of a piece are paid before it is whole. */
  function pricesOf(pieceLength: number, ticks: TickTerms): { prices: Prices; prepay: bigint } {
    const piece = Tariff.price(terms.priceMiB, BigInt(pieceLength));
    const block = Tariff.price(terms.priceMiB, BigInt(Math.min(pieceLength, blockBytesMax)));
    const byTicks = ticks === 'off' ? 0n : Credit.prepayByTicks(creditTerms, block, piece);
    const prepay = byTicks > terms.prepay ? byTicks : terms.prepay;
    const full = piece + prepay + (ticks === 'require' ? 0n : terms.minStep) + (ticks === 'off' ? 0n : block);
    return { prices: { piece, block, full }, prepay };
  }

  function offerAgain(desk: Desk): void {
    if (desk.retries++ >= acceptRetriesMax || desk.link.closed) return;
    desk.cancelRetry = ports.clock.after(acceptRetryMs, () => {
      if (!desk.link.closed) sendOffer(desk);
    });
  }

  /** Runs what a message asks for. What fails ends this connection; a failing ledger ends serving. */
  function run(desk: Desk, work: Promise<void> | undefined): void {
    work?.catch((reason) => {
      desk.link.close('the payee failed');
      if (isLedgerFailure(reason)) events.onFailure(reason);
      else events.onTrouble(reason);
    });
  }

  return {
    attach(link, { pieceLength, byBlock }) {
      if (ports.bans.isBanned(link.address)) return link.close('banned');
      const ticks = byBlock ? terms.ticks : 'off';
      const { prices, prepay } = pricesOf(pieceLength, ticks);
      const desk: Desk = {
        link,
        prices,
        ticks,
        offer: makeOffer(link, ticks, prepay),
        digest: NONE,
        session: undefined,
        usedNonces: [],
        retries: 0,
        tokens: voucherBurstMax,
        refilledMs: ports.clock.monotonicMs(),
        cancelRetry: undefined,
        busy: false,
        chain: undefined,
      };
      desks.set(link.id, desk);
      if (!Credit.canSell(creditTerms, prices.piece + (ticks === 'require' ? prices.block : 0n))) {
        return link.send({ type: 'reject', refused: 'offer', code: 'exposure_too_small', detail: '' });
      }
      sendOffer(desk);
    },
    onMessage(link, message) {
      const desk = desks.get(link.id);
      if (!desk) return;
      switch (message.type) {
        case 'accept': {
          // One accept at a time: the answer to the first decides what the next one means.
          if (desk.busy) return refuse(link, 'accept', 'rate_limited');
          desk.busy = true;
          const work = onAccept(desk, message.accept, message.signature).finally(() => {
            desk.busy = false;
          });
          return run(desk, work);
        }
        case 'voucher':
          return run(desk, taking.voucher(desk, message.row, message.final));
        case 'state':
          // The payer shows what it signed: a valid higher voucher is taken like any other.
          if (message.role === 'payer' && desk.session) run(desk, taking.voucher(desk, message.row, false));
          return;
        case 'tick_voucher':
        case 'tick':
          if (desk.offer.tickLength === 0) return refuse(link, message.type, 'unsupported_type');
          if (message.type === 'tick_voucher') return run(desk, taking.tickVoucher(desk, message.row));
          return run(desk, taking.tick(desk, message.count, message.tick));
        default:
          return;
      }
    },
    onInvalid(link, refused, code) {
      if (refused !== 'reject') refuse(link, refused, code);
    },
    async detach(link) {
      const desk = desks.get(link.id);
      if (!desk) return;
      desks.delete(link.id);
      desk.cancelRetry?.();
      if (!desk.session) return;
      ports.intake.hurry();
      await granting.end(desk.session);
      accounts.leave(desk.session.account);
    },
    async admit(link, pieces) {
      const session = desks.get(link.id)?.session;
      return session ? granting.admit(session, pieces) : [];
    },
    isByBlock(link) {
      const session = desks.get(link.id)?.session;
      return session !== undefined && isByBlock(session);
    },
    sent(link, piece, bytes) {
      const session = desks.get(link.id)?.session;
      if (session) granting.sent(session, piece, bytes);
    },
    delivered(link, bytes) {
      const session = desks.get(link.id)?.session;
      if (session) session.deliveredBytes += bytes;
    },
    async retire(voucherKeys) {
      for (const account of await accounts.drain(voucherKeys)) granting.pause(account);
    },
    release() {
      for (const account of accounts.all) granting.wake(account);
    },
    async onFacts(facts) {
      const account = await accounts.onFacts(facts);
      if (account) granting.wake(account);
    },
    activeKeys: () => accounts.all.map((account) => account.voucherKey),
  };
}
