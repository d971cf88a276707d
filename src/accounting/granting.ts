/**
 * Granting pieces, or blocks where ticks pay, against a channel's credit and giving up what will not be paid (wire.md
 * 4, ticks.md 6). Every grant is durable before it is answered. What may not be granted yet stalls its session; a
 * voucher, a tick, a top-up or a write-off wakes it again.
 */
import type { Clock } from '../clock.js';
import { blockBytesMax, defaultAfterMs, staleGrantMs, voucherLateMs } from '../limits.js';
import type { Outcome } from '../native/records.js';
import {
  adopt,
  balance,
  type ChannelAccount,
  firstWindow,
  isByBlock,
  type PayeeSession,
  unitOf,
  unpaid,
} from './account.js';
import type { Book } from './book.js';
import * as Credit from './credit.js';
import type { Intake } from './intake.js';
import * as Tariff from './tariff.js';

/** Whether a piece may be served: 'serve' all of it, a number so many bytes of it, 'wait' until something changes. */
export type Admission = 'serve' | number | 'wait' | 'refuse';

/** A piece of `bytes` that is asked for, of which the peer lacks some; what it has is granted. */
export interface Wanted {
  readonly piece: number;
  readonly bytes: number;
  readonly lacking: number;
}

interface Grant {
  readonly kind: 'grant';
  readonly session: number;
  readonly bytes: number;
  readonly exposureLimit: bigint;
}

export interface GrantingEvents {
  /** The session may try its stalled requests again. */
  onResume(session: PayeeSession): void;
  /** A voucher is overdue: stop serving until one comes. */
  onLate(session: PayeeSession): void;
  /** The deposit does not cover another piece. Called once until the channel changes. */
  onDepositExhausted(session: PayeeSession): void;
  /** The ledger failed while nobody waited for its answer. */
  onFailure(reason: unknown): void;
}

export interface Granting {
  /**
   * Grants pieces, or blocks of them where credit is by blocks, in their order as far as the credit goes; answers for each
   * once its grant is durable.
   */
  admit(session: PayeeSession, pieces: readonly Wanted[]): Promise<readonly Admission[]>;
  /** Of what was granted of a piece so many bytes have left; all of it where no number is given. */
  sent(session: PayeeSession, piece: number, bytes?: number): void;
  /** The channel changed: wakes what is stalled. */
  wake(account: ChannelAccount): void;
  /** Chokes the sessions of a retired channel, until it is woken as one that is not. */
  pause(account: ChannelAccount): void;
  /** Ends a session: writes off what was granted and never sent, and records what was delivered. */
  end(session: PayeeSession): Promise<void>;
  /**
   * The payer has shown all it signed: what older sessions were granted beyond it was lost on the way.
   * It is given up and counts like a default, so that no window is blocked and no loss is unlimited.
   */
  forgive(session: PayeeSession): Promise<void>;
  /** Starts the clock after which an unpaid rest without sessions counts as a default. */
  watchDefault(session: PayeeSession): void;
}

export interface GrantingPorts {
  readonly book: Book;
  readonly intake: Pick<Intake, 'join'>;
  readonly clock: Clock;
  /** Whether the payee itself is about to close the channel: what is granted then could not be paid. */
  readonly isRetired: (voucherKey: Uint8Array) => boolean;
}

export function createGranting(ports: GrantingPorts, events: GrantingEvents): Granting {
  const { book, intake, clock, isRetired } = ports;

  async function admit(session: PayeeSession, pieces: readonly Wanted[]): Promise<readonly Admission[]> {
    const { account } = session;
    const { changes } = account;
    const admissions = await tryGrants(session, pieces);
    // A voucher that was booked meanwhile has woken nobody yet: what is to wait is out of date.
    if (account.changes === changes || !admissions.includes('wait')) return admissions;
    // What is left of a piece that was granted in part comes before the pieces behind it.
    const rests = pieces.map((piece, at) => ({ ...piece, lacking: restOf(piece, admissions[at]!) }));
    const again = await admit(
      session,
      rests.filter(({ lacking }) => lacking > 0),
    );
    let next = 0;
    return admissions.map((admission, at) =>
      rests[at]!.lacking > 0 ? joined(admission, again[next++]!) : admission,
    );
  }

  /** Asks the ledger, in one commit, for what the window seems to allow, and for the first in any case. */
  async function tryGrants(session: PayeeSession, pieces: readonly Wanted[]): Promise<readonly Admission[]> {
    const { account } = session;
    const { terms, price } = unitOf(session);
    const bad = Credit.isBad(account.credit, terms, price);
    const ending = account.closing || isRetired(account.voucherKey);
    if (ending || session.ended || session.link.closed || bad) return pieces.map(() => 'refuse');
    let grants: readonly Grant[] = [];
    let isPart = false;
    const outcomes = await intake.join(session.index, () => {
      isPart = isByBlock(session);
      grants = isPart ? affordableParts(session, pieces) : affordable(session, pieces);
      return book.commit(grants);
    });
    if (outcomes.length < pieces.length) stall(session);
    return pieces.map(({ piece }, at) => {
      const outcome = outcomes[at];
      if (!outcome) return 'wait';
      const { bytes } = grants[at]!;
      const admission = settleGrant(session, piece, { bytes, isPart }, outcome);
      return isPart && admission === 'serve' ? bytes : admission;
    });
  }

  function settleGrant(
    session: PayeeSession,
    piece: number,
    { bytes, isPart }: { readonly bytes: number; readonly isPart: boolean },
    outcome: Outcome,
  ): Admission {
    const { status } = outcome;
    if (status === 'ok') {
      adopt(session.account, outcome);
      session.grantedBytes += BigInt(bytes);
      session.depositReported = false;
      if (session.ended) {
        // The session was closed while its grant was under way: nobody will send it.
        giveUpUnsent(session).catch(events.onFailure);
        return 'refuse';
      }
      const before = isPart ? (session.underWay.get(piece)?.bytes ?? 0) : 0;
      session.underWay.set(piece, { sinceMs: clock.monotonicMs(), bytes: before + bytes });
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

  /** Parts of a piece are granted while others of it are still leaving: it is under way until the last one has left. */
  function sent({ underWay }: PayeeSession, piece: number, bytes = Number.POSITIVE_INFINITY): void {
    const grant = underWay.get(piece);
    if (grant && grant.bytes > bytes) underWay.set(piece, { ...grant, bytes: grant.bytes - bytes });
    else underWay.delete(piece);
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
    const [last, ...others] = account.sessions;
    if (last === undefined) account.grantedIdle = account.granted;
    else if (others.length === 0 && last.resynced) await forgiveLate(last);
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
    const isAlone = account.sessions.size === 1;
    // Beside others, what they were granted may still be paid: only what was granted before any of them was lost.
    const before = isAlone ? session.grantedBefore : account.grantedIdle;
    // Where it is alone, not from the head as it is by now: that may hold what was paid for this session's pieces.
    const signed = isAlone ? signedBefore(session) : max(signedBefore(session), account.authorized);
    await giveUpLost(session, before - account.writtenOff - signed);
  }

  async function giveUpLost(session: PayeeSession, lost: bigint): Promise<void> {
    if (lost <= 0n) return;
    const { account } = session;
    const amount = await giveUp(account, session.index, lost);
    if (amount > 0n) fallBack(session, amount);
    wake(account);
  }

  /** The last other session has ended, perhaps long after its connection: what was granted before is not paid any more. */
  async function forgiveLate(session: PayeeSession): Promise<void> {
    const { account } = session;
    const signed = max(signedBefore(session), account.authorized);
    await giveUpLost(session, session.grantedBefore - account.writtenOff - signed);
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
    sent,
    wake,
    pause,
    end,
    forgive,
    watchDefault,
  };
}

/** What the payer had signed when the session began, as far as it has said and we know. */
function signedBefore({ shown, authorizedBefore }: PayeeSession): bigint {
  return max(shown ?? 0n, authorizedBefore);
}

/** What an admission leaves of a piece that may be had later. */
function restOf({ lacking }: Wanted, admission: Admission): number {
  if (admission === 'wait') return lacking;
  return typeof admission === 'number' ? lacking - admission : 0;
}

/** What was admitted of a piece before and now. */
function joined(before: Admission, now: Admission): Admission {
  if (typeof before !== 'number') return now;
  return typeof now === 'number' ? before + now : before;
}

/**
 * The grants of the first pieces that the window allows as far as is known here, at least of one: the ledger decides,
 * and what may change its answer need not have arrived.
 */
function affordable(session: PayeeSession, pieces: readonly Wanted[]): Grant[] {
  const { account, terms, offer, grantedBytes } = session;
  const grants: Grant[] = [];
  const owed = balance(account);
  let bytes = 0n;
  for (const piece of pieces) {
    const size = BigInt(piece.bytes);
    const exposureLimit = Credit.unpaidMax(account.credit, terms, Tariff.price(offer.priceMiB, size));
    bytes += size;
    const fits = owed + Tariff.priceStep(offer.priceMiB, grantedBytes, bytes) <= exposureLimit;
    if (!fits && grants.length > 0) break;
    grants.push({ kind: 'grant', session: session.index, bytes: piece.bytes, exposureLimit });
    if (!fits) break;
  }
  return grants;
}

/** The same of blocks: as many whole ones as the window allows, in the order of the pieces. */
function affordableParts(session: PayeeSession, pieces: readonly Wanted[]): Grant[] {
  const { account, offer, index, grantedBytes } = session;
  const unit = unitOf(session);
  const exposureLimit = Credit.unpaidMax(account.credit, unit.terms, unit.price);
  let room = Tariff.bytesWithin(offer.priceMiB, grantedBytes, exposureLimit - balance(account));
  const grants: Grant[] = [];
  for (const { lacking } of pieces) {
    const fits = lacking <= room ? lacking : room - (room % blockBytesMax);
    if (fits <= 0 && grants.length > 0) break;
    const bytes = fits > 0 ? fits : Math.min(lacking, blockBytesMax);
    grants.push({ kind: 'grant', session: index, bytes, exposureLimit });
    if (bytes < lacking) break;
    room -= bytes;
  }
  return grants;
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

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
