/**
 * Taking what a payer shows for what it owes: vouchers, tick vouchers and ticks (wire.md 6, ticks.md 5). Each is limited in
 * rate, judged by the intake, acknowledged once it is durable, and earns credit.
 */
import type { Domain } from '../channels/channel.js';
import type { PayLink } from '../channels/link.js';
import type { MessageType, RejectCode } from '../channels/message.js';
import { receiptDigest } from '../channels/terms.js';
import * as Tick from '../channels/tick.js';
import { amountOf, isNone } from '../channels/voucher.js';
import type { Clock } from '../clock.js';
import { ticksPerVoucher, voucherBurstMax, vouchersPerSecondMax } from '../limits.js';
import type { Status } from '../native/records.js';
import { adopt, adoptRow, type ChannelAccount, isByBlock, type PayeeSession, unpaid } from './account.js';
import * as Credit from './credit.js';
import type { Granting } from './granting.js';
import type { Intake, Submission, Verdict } from './intake.js';
import * as Tariff from './tariff.js';

export interface TakingPorts {
  readonly clock: Clock;
  readonly domain: Domain;
  readonly payee: Uint8Array;
  readonly intake: Intake;
  /** Signs digests with the delegate's key: 64 bytes, r ‖ vs. */
  readonly sign: (digest: Uint8Array) => Uint8Array;
}

/** One connection, seen from where its vouchers are taken. */
export interface Counter {
  readonly link: PayLink;
  session: PayeeSession | undefined;
  tokens: number;
  refilledMs: number;
  /** The row of the tick voucher that came last by this connection. */
  chain: Uint8Array | undefined;
}

/** What was shown was answered already where nothing is given back; else the promise ends once it is durable or refused. */
export interface Taking {
  voucher(counter: Counter, row: Uint8Array, final: boolean): Promise<void> | undefined;
  tickVoucher(counter: Counter, row: Uint8Array): Promise<void> | undefined;
  /** A tick counts from the tick voucher that came last by its connection. */
  tick(counter: Counter, count: number, tick: Uint8Array): Promise<void> | undefined;
  acknowledge(session: PayeeSession): void;
}

/** Verdicts after which it is known what the payer had signed before: too little for a step is known too. */
const RESYNCED: ReadonlySet<Verdict['status']> = new Set(['ok', 'not_increasing', 'below_step']);

type Refuse = (link: PayLink, refused: MessageType, code: RejectCode) => undefined;

export function createTaking(
  ports: TakingPorts,
  granting: Pick<Granting, 'forgive' | 'wake'>,
  refuse: Refuse,
): Taking {
  function onTick(counter: Counter, count: number, tick: Uint8Array): Promise<void> | undefined {
    const { link, session, chain } = counter;
    if (!session || !chain) return refuse(link, 'tick', 'no_session');
    // Before its voucher is booked, or where another has taken its place, a tick is shown together with it.
    const kind = isOfChain(session.account, chain) ? 'tick' : 'tick_voucher';
    return take(counter, kind, Tick.withTick(chain, count, tick), false);
  }

  function onTickVoucher(counter: Counter, row: Uint8Array): Promise<void> | undefined {
    counter.chain = row.slice();
    return take(counter, 'tick_voucher', row, false);
  }

  function onVoucher(counter: Counter, row: Uint8Array, final: boolean): Promise<void> | undefined {
    return isNone(row) ? takeNothing(counter) : take(counter, 'voucher', row, final);
  }

  /** The payer says that it has signed no plain voucher on the channel: nothing to be judged. */
  async function takeNothing(counter: Counter): Promise<void> {
    const { link, session } = counter;
    if (!takeToken(counter, 1)) return refuse(link, 'voucher', 'rate_limited');
    if (!session) return refuse(link, 'voucher', 'no_session');
    session.shown ??= 0n;
    await resync(session);
    acknowledge(session);
  }

  /** What earlier sessions left unpaid and the payer has not signed was lost. */
  async function resync(session: PayeeSession): Promise<void> {
    if (session.resynced) return;
    session.resynced = true;
    await granting.forgive(session);
  }

  function take(
    counter: Counter,
    kind: Submission['kind'],
    row: Uint8Array,
    final: boolean,
  ): Promise<void> | undefined {
    const { link, session } = counter;
    if (!takeToken(counter, kind === 'tick' ? 1 / ticksPerVoucher : 1))
      return refuse(link, kind, 'rate_limited');
    if (!session) return refuse(link, kind, 'no_session');
    const { index, account, hasPaid } = session;
    const claim = kind === 'voucher' ? amountOf(row) : Tick.claimOf(row);
    session.shown ??= claim;
    if (kind !== 'voucher') session.paysTicks = true;
    const submission: Submission = {
      session: index,
      voucherKey: account.voucherKey,
      payee: ports.payee,
      kind,
      row,
      claim,
      final,
      proven: hasPaid,
    };
    const urgent = final || isAwaited(session);
    if (!ports.intake.replace(submission, urgent))
      return settle(counter, session, ports.intake.submit(submission, urgent));
    // The better one is answered for both; what the head covers is answered now.
    if (submission.claim <= account.authorized) acknowledge(session);
    return undefined;
  }

  async function settle(counter: Counter, session: PayeeSession, verdictOf: Promise<Verdict>): Promise<void> {
    const { link } = session;
    const verdict = await verdictOf;
    const { kind, final, row } = verdict.submission;
    if (kind === 'tick' && isMisplaced(verdict.status) && !isOfChain(session.account, row)) {
      // Another connection of the channel has put something in the chain's place meanwhile: no fault of this one.
      return take(counter, 'tick_voucher', row, false);
    }
    if (verdict.status === 'ok') credit(session, verdict);
    if (RESYNCED.has(verdict.status)) await resync(session);
    if (verdict.status !== 'ok' && verdict.status !== 'not_increasing')
      return refuse(link, kind, toReject(verdict.status));
    acknowledge(session);
    if (final) sendReceipt(session);
  }

  /** Whether something depends on the next voucher: a stalled piece, a window that grows, or one that is nearly full. */
  function isAwaited({ account, resynced, terms }: PayeeSession): boolean {
    if (!resynced || !Credit.isFull(account.credit, terms)) return true;
    for (const session of account.sessions) if (session.stalled) return true;
    return unpaid(account) * 4n > account.credit.window * 3n;
  }

  function credit(session: PayeeSession, { submission, outcome }: Verdict): void {
    const { account } = session;
    if (outcome!.authorized < account.authorized) return;
    adopt(account, outcome!);
    adoptRow(account, submission.kind, submission.row);
    session.hasPaid = true;
    // Not from what was known when it came: what others before it in the queue have paid earns once.
    const paid = account.authorized - account.credited;
    account.credited = account.authorized;
    const { terms, prices } = session;
    account.credit = isByBlock(session)
      ? Credit.afterTicks(account.credit, terms, prices, paid, account.authorized)
      : Credit.afterVoucher(account.credit, terms, prices, paid);
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

  function takeToken(counter: Counter, cost: number): boolean {
    const nowMs = ports.clock.monotonicMs();
    const refill = ((nowMs - counter.refilledMs) / 1000) * vouchersPerSecondMax;
    counter.tokens = Math.min(voucherBurstMax, counter.tokens + refill) - cost;
    counter.refilledMs = nowMs;
    if (counter.tokens >= 0) return true;
    counter.tokens = 0;
    return false;
  }

  return { voucher: onVoucher, tickVoucher: onTickVoucher, tick: onTick, acknowledge };
}

/** Whether the row is of the chain that is current as far as is known. */
function isOfChain({ chain }: ChannelAccount, row: Uint8Array): boolean {
  return chain !== undefined && Tick.isSameChain(chain, row);
}

/** What the ledger answers to a tick that is held against no chain or another one. */
function isMisplaced(status: Verdict['status']): boolean {
  return status === 'unknown_piece' || status === 'bad_signature';
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
