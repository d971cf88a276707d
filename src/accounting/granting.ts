/**
 * Granting pieces, or blocks where ticks pay, against a channel's credit and giving up what will not be paid (wire.md
 * 4, ticks.md 6). Every grant is durable before it is answered. What may not be granted yet stalls its session; a
 * voucher, a tick, a top-up or a write-off wakes it again.
 */
import type { Clock } from '../clock.js';
import { blockBytesMax, defaultAfterMs, staleGrantMs, voucherLateMs } from '../limits.js';
import type { Status } from '../native/records.js';
import {
  adopt,
  type ChannelAccount,
  firstWindow,
  isByBlock,
  type PayeeSession,
  unitOf,
  unpaid,
} from './account.js';
import type { Book } from './book.js';
import * as Credit from './credit.js';
import * as Tariff from './tariff.js';

/** Whether a piece may be served: 'serve' all of it, a number so many bytes of it, 'wait' until something changes. */
export type Admission = 'serve' | number | 'wait' | 'refuse';

/** What is asked for: a piece of `bytes`, of which the peer lacks some; what it has is granted. */
export interface Wanted {
  readonly piece: number;
  readonly bytes: number;
  readonly lacking: number;
}

export interface GrantingEvents {
  /** The session may try its stalled requests again. */
  onResume(session: PayeeSession): void;
  /** A voucher is overdue: stop serving until one comes. */
  onLate(session: PayeeSession): void;
  /** The deposit does not cover another piece. Called once until it is raised. */
  onDepositExhausted(session: PayeeSession): void;
  /** The ledger failed while nobody waited for its answer. */
  onFailure(reason: unknown): void;
}

export interface Granting {
  /** Grants the whole piece, or as much of what is wanted as the window has room for where credit is by blocks. */
  admit(session: PayeeSession, wanted: Wanted): Promise<Admission>;
  /** All that was granted of a piece has left. */
  sent(session: PayeeSession, piece: number): void;
  /** The channel changed: wakes what is stalled. */
  wake(account: ChannelAccount): void;
  /** Chokes the sessions of a retired channel, until it is woken as one that is not. */
  pause(account: ChannelAccount): void;
  /** Ends a session: writes off what was granted and never sent, and records what was delivered. */
  end(session: PayeeSession): Promise<void>;
  /**
   * The payer has shown all it signed: what older sessions were granted and stays unpaid was lost on the way.
   * It is given up and counts like a default, so that no window is blocked and no loss is unlimited.
   */
  forgive(session: PayeeSession): Promise<void>;
  /** Starts the clock after which an unpaid rest without sessions counts as a default. */
  watchDefault(session: PayeeSession): void;
}

export interface GrantingPorts {
  readonly book: Book;
  readonly clock: Clock;
  /** Whether the payee itself is about to close the channel: what is granted then could not be paid. */
  readonly isRetired: (voucherKey: Uint8Array) => boolean;
}

export function createGranting({ book, clock, isRetired }: GrantingPorts, events: GrantingEvents): Granting {
  async function admit(session: PayeeSession, wanted: Wanted): Promise<Admission> {
    const { account } = session;
    for (;;) {
      const { changes } = account;
      const admission = await tryGrant(session, wanted);
      // A voucher that was booked meanwhile has woken nobody yet: the answer is out of date.
      if (admission !== 'wait' || account.changes === changes) return admission;
    }
  }

  async function tryGrant(session: PayeeSession, wanted: Wanted): Promise<Admission> {
    const { account } = session;
    const unit = unitOf(session);
    const bad = Credit.isBad(account.credit, unit.terms, unit.price);
    const ending = account.closing || isRetired(account.voucherKey);
    if (ending || session.ended || session.link.closed || bad) return 'refuse';
    const exposureLimit = Credit.unpaidMax(account.credit, unit.terms, unit.price);
    const isPart = isByBlock(session);
    const bytes = isPart ? fitting(session, wanted.lacking, exposureLimit) : wanted.bytes;
    const price = Tariff.priceStep(session.offer.priceMiB, session.grantedBytes, BigInt(bytes));
    account.asked += price;
    try {
      const [outcome] = await book.commit([{ kind: 'grant', session: session.index, bytes, exposureLimit }]);
      const publish = (): void => adopt(account, outcome!);
      const admission = settleGrant(session, wanted.piece, bytes, outcome!.status, publish);
      return isPart && admission === 'serve' ? bytes : admission;
    } finally {
      account.asked -= price;
    }
  }

  /** Whole blocks, at least one, as many as fit under the limit besides what is on its way to the ledger. */
  function fitting({ account, offer }: PayeeSession, lacking: number, exposureLimit: bigint): number {
    const room = Tariff.bytesFor(offer.priceMiB, exposureLimit - unpaid(account) - account.asked);
    const blocks = room < 0n ? 0n : room / BigInt(blockBytesMax);
    return Math.min(lacking, Math.max(1, Number(blocks)) * blockBytesMax);
  }

  function settleGrant(
    session: PayeeSession,
    piece: number,
    bytes: number,
    status: Status,
    publish: () => void,
  ): Admission {
    if (status === 'ok') {
      publish();
      session.grantedBytes += BigInt(bytes);
      if (session.ended) {
        // The session was closed while its grant was under way: nobody will send it.
        giveUpUnsent(session).catch(events.onFailure);
        return 'refuse';
      }
      session.underWay.set(piece, { sinceMs: clock.monotonicMs() });
      return 'serve';
    }
    if (status === 'exceeds_window' || status === 'no_space') {
      stall(session);
      return 'wait';
    }
    if (status === 'exceeds_deposit') {
      session.stalled = true;
      if (!session.depositReported) events.onDepositExhausted(session);
      session.depositReported = true;
      return 'wait';
    }
    return 'refuse';
  }

  function stall(session: PayeeSession): void {
    session.stalled = true;
    session.cancelLate ??= clock.after(voucherLateMs, () => {
      session.cancelLate = undefined;
      // Pieces still on their way cannot be paid yet: the payer is not late while we are.
      if (!session.stalled || session.choked || session.link.closed) return;
      if (session.underWay.size > 0) {
        if (isStale(session)) return session.link.close('a piece was not fetched to its end');
        return stall(session);
      }
      if (neverSent(session) > 0n) {
        // Pieces that were granted again left a rest that cannot be asked for any more.
        giveUpUnsent(session).then(() => wake(session.account), events.onFailure);
        return stall(session);
      }
      session.choked = true;
      session.cancelLate = clock.after(defaultAfterMs, () => takeDefault(session));
      events.onLate(session);
    });
  }

  /** Whether the peer fetches none of its pieces to the end: ending the connection frees the window. */
  function isStale(session: PayeeSession): boolean {
    const untilMs = clock.monotonicMs() - staleGrantMs;
    for (const { sinceMs } of session.underWay.values()) if (sinceMs > untilMs) return false;
    return true;
  }

  /** Gives up what the session was granted and never left this process. What was sent stays owed. */
  async function giveUpUnsent(session: PayeeSession): Promise<void> {
    const bytes = neverSent(session);
    const value = priceOfLast(session, bytes);
    session.forgivenBytes += bytes;
    await giveUp(session.account, session.index, value);
  }

  /** Gives up what the channel owes: the window is free again, but back to its beginning. */
  function takeDefault(session: PayeeSession): void {
    const { account } = session;
    giveUp(account, session.index, unpaid(account)).then((amount) => {
      if (amount > 0n) fallBack(session, amount);
      wake(account);
    }, events.onFailure);
  }

  function fallBack({ account, prices, requiresTicks }: PayeeSession, amount: bigint): void {
    const window = firstWindow(prices, requiresTicks, account.authorized);
    account.credit = Credit.afterDefault(account.credit, window, amount);
  }

  function pause(account: ChannelAccount): void {
    for (const session of account.sessions) {
      session.stalled = true;
      session.choked = true;
      events.onLate(session);
    }
  }

  function wake(account: ChannelAccount): void {
    account.changes++;
    if (isRetired(account.voucherKey)) return;
    for (const session of account.sessions) {
      session.cancelLate?.();
      session.cancelLate = undefined;
      session.depositReported = false;
      if (!session.stalled) continue;
      session.stalled = false;
      session.choked = false;
      resume(session);
    }
  }

  /** Not at once: an answer 'wait' that is on its way to who asked has to arrive first, or nobody asks again. */
  function resume(session: PayeeSession): void {
    setImmediate(() => {
      if (!session.link.closed) events.onResume(session);
    });
  }

  async function end(session: PayeeSession): Promise<void> {
    const { account } = session;
    session.cancelLate?.();
    session.ended = true;
    account.sessions.delete(session);
    session.underWay.clear();
    await giveUpUnsent(session);
    await book.commit([
      { kind: 'session_close', session: session.index, deliveredBytes: session.deliveredBytes },
    ]);
    if (account.sessions.size === 0) watchDefault(session);
    else wake(account);
  }

  /** Writes off up to `value`, never more than is unpaid; gives what was written off. */
  async function giveUp(account: ChannelAccount, session: number, value: bigint): Promise<bigint> {
    for (let tries = 0; tries < 3; tries++) {
      const amount = min(value, unpaid(account));
      if (amount === 0n) return 0n;
      const [outcome] = await book.commit([{ kind: 'write_off', session, amount }]);
      if (outcome!.channel !== undefined) adopt(account, outcome!);
      // Refused: a voucher of the same batch paid some of it, so less is unpaid now.
      if (outcome!.status === 'ok') return amount;
    }
    return 0n;
  }

  async function forgive(session: PayeeSession): Promise<void> {
    const { account } = session;
    if (account.sessions.size > 1) return;
    const stale = session.grantedBefore - account.writtenOff - account.authorized;
    if (stale <= 0n) return;
    const amount = await giveUp(account, session.index, stale);
    if (amount > 0n) fallBack(session, amount);
    wake(account);
  }

  function watchDefault(session: PayeeSession): void {
    const { account } = session;
    account.cancelDefault?.();
    if (unpaid(account) === 0n) return;
    account.cancelDefault = clock.after(defaultAfterMs, () => {
      account.cancelDefault = undefined;
      if (account.sessions.size === 0) takeDefault(session);
    });
  }

  return {
    admit,
    sent: (session, piece) => void session.underWay.delete(piece),
    wake,
    pause,
    end,
    forgive,
    watchDefault,
  };
}

/** Bytes that the session was granted and that did not leave this process, less those that were given up. */
function neverSent(session: PayeeSession): bigint {
  const bytes = session.grantedBytes - BigInt(session.deliveredBytes) - session.forgivenBytes;
  return bytes > 0n ? bytes : 0n;
}

/** The price of the last `bytes` that the session was granted. */
function priceOfLast(session: PayeeSession, bytes: bigint): bigint {
  return Tariff.priceStep(session.offer.priceMiB, session.grantedBytes - bytes, bytes);
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
