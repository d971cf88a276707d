/**
 * The earning side of pw_pay (wire.md 3–7): makes offers, opens sessions, takes vouchers in, and tells the
 * seeder whom to serve. Money is decided here in the order of wire.md 6; durability is the book's, signatures
 * the native module's, the chain is asked through `lookUp`.
 */
import type { ChannelFacts, Domain } from '../channels/channel.js';
import type { PayLink } from '../channels/link.js';
import type { Message, MessageType, RejectCode } from '../channels/message.js';
import {
  type Accept,
  acceptDigest,
  type Delegation,
  type Offer,
  offerDigest,
  receiptDigest,
  sessionId,
} from '../channels/terms.js';
import { amountOf, NONE } from '../channels/voucher.js';
import {
  acceptRetriesMax,
  acceptRetryMs,
  offerLifetimeSeconds,
  voucherBurstMax,
  vouchersPerSecondMax,
} from '../limits.js';
import type { Status } from '../native/records.js';
import { sameBytes } from '../units.js';
import { adopt, type ChannelAccount, keyOf, type PayeeSession, unpaid } from './account.js';
import { type AccountEvents, type AccountPorts, createAccounts } from './accounts.js';
import type { Bans } from './bans.js';
import { isLedgerFailure } from './book.js';
import * as Credit from './credit.js';
import { type Admission, createGranting, type Wanted } from './granting.js';
import type { Intake, Verdict } from './intake.js';
import * as Tariff from './tariff.js';

/** What a payee sells and at what risk. Amounts in base units. */
export interface PayeeTerms {
  readonly priceMiB: bigint;
  readonly windowBytes: bigint;
  readonly minStep: bigint;
  readonly prepay: bigint;
  /** The most one channel may owe: E_payee. */
  readonly exposureMax: bigint;
}

export interface PayeePorts extends AccountPorts {
  readonly domain: Domain;
  readonly payee: Uint8Array;
  readonly challengePeriod: number;
  readonly delegate: Uint8Array;
  readonly delegation: Delegation | undefined;
  readonly intake: Intake;
  readonly bans: Bans;
  /** Signs digests with the delegate's key: 64 bytes, r ‖ vs. */
  readonly sign: (digest: Uint8Array) => Uint8Array;
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
  attach(link: PayLink, pieceLength: number): void;
  onMessage(link: PayLink, message: Message): void;
  onInvalid(link: PayLink, refused: MessageType, code: RejectCode): void;
  detach(link: PayLink): Promise<void>;
  /** Answers for each of the pieces, in their order; for none of them when the link has no session. */
  admit(link: PayLink, pieces: readonly Wanted[]): Promise<readonly Admission[]>;
  sent(link: PayLink, piece: number): void;
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

interface Desk {
  readonly link: PayLink;
  readonly pieceLength: number;
  offer: Offer;
  digest: Uint8Array;
  session: PayeeSession | undefined;
  usedNonces: string[];
  retries: number;
  tokens: number;
  refilledMs: number;
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

  /** Sends a reject and counts it; ends the connection when that bans the peer. */
  function refuse(link: PayLink, refused: MessageType, code: RejectCode, detail = ''): void {
    link.send({ type: 'reject', refused, code, detail });
    if (!ports.bans.score(link.address, code)) return;
    const voucherKey = desks.get(link.id)?.session?.account.voucherKey;
    if (voucherKey) ports.bans.ban(keyOf(voucherKey));
    link.send({ type: 'reject', refused, code: 'banned', detail: '' });
    link.close('banned');
  }

  function makeOffer(link: PayLink): Offer {
    return {
      domain: ports.domain,
      payee: ports.payee,
      priceMiB: terms.priceMiB,
      windowBytes: terms.windowBytes,
      minStep: terms.minStep,
      prepay: terms.prepay,
      expiry: ports.clock.unixSeconds() + offerLifetimeSeconds,
      nonce: ports.randomBytes(16),
      infohash: link.infohash,
      challengePeriod: ports.challengePeriod,
      delegate: ports.delegate,
      delegation: ports.delegation,
      // Ticks are not taken yet.
      tickLength: 0,
    };
  }

  function sendOffer(desk: Desk): void {
    desk.offer = makeOffer(desk.link);
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

    const found = await accounts.open(accept.voucherKey, piecePriceOf(desk));
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
    acknowledge(desk.session);
    events.onStanding(link, 'paid');
    events.onResume(link);
  }

  function checkAccept(desk: Desk, accept: Accept): RejectCode | undefined {
    if (!sameBytes(accept.offerDigest, desk.digest) || !sameBytes(accept.nonce, desk.offer.nonce))
      return 'bad_nonce';
    if (desk.usedNonces.includes(Buffer.from(accept.nonce).toString('hex'))) return 'duplicate';
    if (desk.offer.expiry < ports.clock.unixSeconds()) return 'expired';
    if (accept.prepay > desk.offer.prepay) return 'malformed';
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
      piecePrice: piecePriceOf(desk),
      underWay: new Map(),
      grantedBytes: 0n,
      deliveredBytes: 0,
      forgivenBytes: 0n,
      vouchers: 0,
      authorizedBefore: account.authorized,
      grantedBefore: account.granted,
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

  function piecePriceOf(desk: Desk): bigint {
    return Tariff.price(desk.offer.priceMiB, BigInt(desk.pieceLength));
  }

  function offerAgain(desk: Desk): void {
    if (desk.retries++ >= acceptRetriesMax || desk.link.closed) return;
    desk.cancelRetry = ports.clock.after(acceptRetryMs, () => {
      if (!desk.link.closed) sendOffer(desk);
    });
  }

  function onVoucher(desk: Desk, row: Uint8Array, final: boolean): void {
    const { link, session } = desk;
    if (!takeToken(desk)) return refuse(link, 'voucher', 'rate_limited');
    if (!session) return refuse(link, 'voucher', 'no_session');
    const { index, account } = session;
    const { voucherKey } = account;
    const proven = session.vouchers > 0;
    const submission = { session: index, voucherKey, payee: ports.payee, row, final, proven };
    const urgent = final || isAwaited(session);
    if (ports.intake.replace(submission, urgent)) {
      // The better one is answered for both; what the head covers is answered now.
      if (amountOf(row) <= account.authorized) acknowledge(session);
      return;
    }
    run(desk, settleVoucher(session, ports.intake.submit(submission, urgent)));
  }

  async function settleVoucher(session: PayeeSession, verdictOf: Promise<Verdict>): Promise<void> {
    const { link, account } = session;
    const before = account.authorized;
    const verdict = await verdictOf;
    const { row, final } = verdict.submission;
    if (verdict.status === 'ok') credit(session, verdict, row, before);
    if (!session.resynced && (verdict.status === 'ok' || verdict.status === 'not_increasing')) {
      session.resynced = true;
      await granting.forgive(session);
    }
    if (verdict.status === 'ok') acknowledge(session);
    else if (verdict.status !== 'not_increasing') {
      return refuse(link, 'voucher', toReject(verdict.status));
    } else acknowledge(session);
    if (final) sendReceipt(session);
  }

  /** Whether something depends on the next voucher: a stalled piece, a window that grows, or one that is nearly full. */
  function isAwaited({ account, resynced }: PayeeSession): boolean {
    if (!resynced || !Credit.isFull(account.credit, creditTerms)) return true;
    for (const session of account.sessions) if (session.stalled) return true;
    return unpaid(account) * 4n > account.credit.window * 3n;
  }

  function credit(session: PayeeSession, verdict: Verdict, row: Uint8Array, before: bigint): void {
    const { account } = session;
    const outcome = verdict.outcome!;
    if (outcome.authorized < account.authorized) return;
    adopt(account, outcome);
    account.row = row;
    session.vouchers++;
    const paid = account.authorized - before;
    account.credit = Credit.afterVoucher(account.credit, session.terms, session.piecePrice, paid);
    granting.wake(account);
  }

  function acknowledge(session: PayeeSession): void {
    const { account } = session;
    session.link.send({
      type: 'ack',
      authorized: account.authorized,
      granted: session.grantedBytes,
      delivered: BigInt(session.deliveredBytes),
      deposit: account.deposit,
      windowBytes: Tariff.bytesFor(session.offer.priceMiB, account.credit.window),
    });
  }

  function sendReceipt(session: PayeeSession): void {
    const { account, link } = session;
    const last = session.receipt?.receipt;
    if (last?.head !== account.authorized || last.bytes !== session.grantedBytes) {
      const receipt = {
        session: session.id,
        infohash: link.infohash,
        offerDigest: session.offerDigest,
        bytes: session.grantedBytes,
        amount: account.authorized - session.authorizedBefore,
        head: account.authorized,
        time: ports.clock.unixSeconds(),
        payee: ports.payee,
        voucherKey: account.voucherKey,
      };
      session.receipt = { receipt, signature: ports.sign(receiptDigest(ports.domain, receipt)) };
    }
    link.send({ type: 'receipt', ...session.receipt! });
  }

  function takeToken(desk: Desk): boolean {
    const nowMs = ports.clock.monotonicMs();
    const refill = ((nowMs - desk.refilledMs) / 1000) * vouchersPerSecondMax;
    desk.tokens = Math.min(voucherBurstMax, desk.tokens + refill) - 1;
    desk.refilledMs = nowMs;
    if (desk.tokens >= 0) return true;
    desk.tokens = 0;
    return false;
  }

  /** Runs what a message asks for. What fails ends this connection; a failing ledger ends serving. */
  function run(desk: Desk, work: Promise<void>): void {
    work.catch((reason) => {
      desk.link.close('the payee failed');
      if (isLedgerFailure(reason)) events.onFailure(reason);
      else events.onTrouble(reason);
    });
  }

  return {
    attach(link, pieceLength) {
      if (ports.bans.isBanned(link.address)) return link.close('banned');
      const desk: Desk = {
        link,
        pieceLength,
        offer: makeOffer(link),
        digest: NONE,
        session: undefined,
        usedNonces: [],
        retries: 0,
        tokens: voucherBurstMax,
        refilledMs: ports.clock.monotonicMs(),
        cancelRetry: undefined,
        busy: false,
      };
      desks.set(link.id, desk);
      if (!Credit.canSell(creditTerms, piecePriceOf(desk))) {
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
          return onVoucher(desk, message.row, message.final);
        case 'state':
          // The payer shows what it signed: a valid higher voucher is taken like any other.
          if (message.role === 'payer' && desk.session) onVoucher(desk, message.row, false);
          return;
        case 'tick_voucher':
        case 'tick':
          // No offer has promised to take them.
          return refuse(link, message.type, 'unsupported_type');
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
    sent(link, piece) {
      const session = desks.get(link.id)?.session;
      if (session) granting.sent(session, piece);
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

function toReject(status: Status | Verdict['status']): RejectCode {
  switch (status) {
    case 'below_step':
    case 'exceeds_deposit':
    case 'exceeds_granted':
    case 'rate_limited':
      return status;
    case 'bad_range':
    case 'bad_signature':
      return 'bad_signature';
    case 'closing':
    case 'closed':
      return 'channel_closing';
    default:
      return 'unavailable';
  }
}
