/**
 * What the book adds up to: pure sums over channels and sessions and the equations that must hold between
 * them, to the base unit. Nothing is rounded and nothing is left out.
 */
import { TOMBSTONE } from '../channels/channel.js';
import type { ChannelRecord, SessionRecord } from '../native/records.js';
import type { UnderWay } from './settlements.js';

export interface StatementCheck {
  readonly name: string;
  readonly left: bigint;
  readonly right: bigint;
}

export interface Totals {
  /** Heads of channels to us, and from us. */
  readonly earned: bigint;
  readonly spent: bigint;
  /** Earned, covered by deposits, and not on its way to the chain. */
  readonly claimable: bigint;
  readonly inFlight: bigint;
  readonly confirmed: bigint;
  readonly final: bigint;
  readonly lost: bigint;
  readonly bytesServed: bigint;
  readonly bytesBought: bigint;
}

/** Where the money of an accepted head is. The five amounts sum to what was accepted, whatever happens. */
export interface Claim {
  /** What settling now would capture: covered by the deposit and not under way. */
  readonly claimable: bigint;
  /** In a transaction that is signed and in no block. */
  readonly inFlight: bigint;
  /** In a block that may still be replaced. */
  readonly confirmed: bigint;
  /** The hub has captured it, as of a block that counts as final. */
  readonly final: bigint;
  /** What nothing can capture any more, or not now: see `lostReason`. */
  readonly lost: bigint;
  /** `closed`: the channel is closed for ever. `uncovered`: the deposit is smaller than the head. */
  readonly lostReason: 'closed' | 'uncovered' | undefined;
}

/** Divides the accepted amount of a channel; `underWay` are the greatest amounts on their way to the chain. */
export function claim(
  channel: Pick<ChannelRecord, 'authorized' | 'deposit' | 'settled' | 'closeAt'>,
  underWay: UnderWay = { sent: 0n, mined: 0n },
): Claim {
  const { authorized, deposit, settled } = channel;
  const closed = channel.closeAt === TOMBSTONE;
  const reach = closed ? settled : max(settled, min(authorized, deposit));
  const mined = max(settled, min(underWay.mined, reach));
  const sent = max(mined, min(underWay.sent, reach));
  const lost = accepted(channel) - reach;
  const reason = closed ? 'closed' : 'uncovered';
  return {
    claimable: reach - sent,
    inFlight: sent - mined,
    confirmed: mined - settled,
    final: settled,
    lost,
    lostReason: lost > 0n ? reason : undefined,
  };
}

/** The best voucher's amount. Where the book lost it, the chain may know of a higher one. */
export function accepted(channel: Pick<ChannelRecord, 'authorized' | 'settled'>): bigint {
  return max(channel.authorized, channel.settled);
}

/** Under way by channel; nothing where it is not asked. */
export type UnderWayOf = (channel: ChannelRecord) => UnderWay;

export function totals(
  channels: readonly ChannelRecord[],
  sessions: readonly SessionRecord[],
  underWay?: UnderWayOf,
): Totals {
  const claims = channels.filter(({ role }) => role === 'payee').map((one) => claim(one, underWay?.(one)));
  const payee = channels.filter((channel) => channel.role === 'payee');
  const payer = channels.filter((channel) => channel.role === 'payer');
  const roles = new Map(channels.map((channel) => [channel.index, channel.role]));
  const bytes = (role: 'payee' | 'payer'): bigint =>
    sum(sessions, (session) => (roles.get(session.channel) === role ? BigInt(session.bytes) : 0n));
  return {
    earned: sum(payee, accepted),
    spent: sum(payer, (channel) => channel.authorized),
    claimable: sum(claims, (one) => one.claimable),
    inFlight: sum(claims, (one) => one.inFlight),
    confirmed: sum(claims, (one) => one.confirmed),
    final: sum(claims, (one) => one.final),
    lost: sum(claims, (one) => one.lost),
    bytesServed: bytes('payee'),
    bytesBought: bytes('payer'),
  };
}

/** The equations of a statement; each must have equal sides. Sessions and channels are booked apart. */
export function checks(
  channels: readonly ChannelRecord[],
  sessions: readonly SessionRecord[],
  underWay?: UnderWayOf,
): StatementCheck[] {
  const result: StatementCheck[] = [];
  const payee = channels.filter((channel) => channel.role === 'payee');
  const payer = channels.filter((channel) => channel.role === 'payer');
  if (payee.length > 0) {
    const { claimable, inFlight, confirmed, final, lost } = totals(channels, sessions, underWay);
    result.push({
      name: 'claimable + in flight + settled + written off = accepted',
      left: claimable + inFlight + confirmed + final + lost,
      right: sum(payee, accepted),
    });
    result.push({
      name: 'granted = price of the pieces granted in all sessions',
      left: sum(payee, (channel) => channel.granted),
      right: owed(payee, sessions),
    });
  }
  if (payer.length > 0) {
    result.push({
      name: 'due = price of the pieces received in all sessions',
      left: sum(payer, (channel) => channel.due),
      right: owed(payer, sessions),
    });
  }
  return result;
}

function owed(channels: readonly ChannelRecord[], sessions: readonly SessionRecord[]): bigint {
  const indexes = new Set(channels.map((channel) => channel.index));
  return sum(sessions, (session) => (indexes.has(session.channel) ? session.owed : 0n));
}

function sum<Item>(items: readonly Item[], amount: (item: Item) => bigint): bigint {
  return items.reduce((total, item) => total + amount(item), 0n);
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
