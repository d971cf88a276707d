/**
 * What the book adds up to: pure sums over channels and sessions and the equations that must hold between
 * them, to the base unit. Nothing is rounded and nothing is left out.
 */
import type { ChannelRecord, SessionRecord } from '../native/records.js';

export interface StatementCheck {
  readonly name: string;
  readonly left: bigint;
  readonly right: bigint;
}

export interface Totals {
  /** Heads of channels to us, and from us. */
  readonly earned: bigint;
  readonly spent: bigint;
  /** Earned and not yet captured on chain, as far as deposits cover it. */
  readonly claimable: bigint;
  readonly settled: bigint;
  readonly bytesServed: bigint;
  readonly bytesBought: bigint;
}

/** What settling a channel now would capture: never more than its deposit. */
export function claimable(channel: Pick<ChannelRecord, 'authorized' | 'deposit' | 'settled'>): bigint {
  const covered = channel.authorized < channel.deposit ? channel.authorized : channel.deposit;
  return covered > channel.settled ? covered - channel.settled : 0n;
}

export function totals(channels: readonly ChannelRecord[], sessions: readonly SessionRecord[]): Totals {
  const payee = channels.filter((channel) => channel.role === 'payee');
  const payer = channels.filter((channel) => channel.role === 'payer');
  const roles = new Map(channels.map((channel) => [channel.index, channel.role]));
  const bytes = (role: 'payee' | 'payer'): bigint =>
    sum(sessions, (session) => (roles.get(session.channel) === role ? BigInt(session.bytes) : 0n));
  return {
    earned: sum(payee, (channel) => channel.authorized),
    spent: sum(payer, (channel) => channel.authorized),
    claimable: sum(payee, claimable),
    settled: sum(payee, (channel) => channel.settled),
    bytesServed: bytes('payee'),
    bytesBought: bytes('payer'),
  };
}

/** The equations of a statement; each must have equal sides. Sessions and channels are booked apart. */
export function checks(
  channels: readonly ChannelRecord[],
  sessions: readonly SessionRecord[],
): StatementCheck[] {
  const result: StatementCheck[] = [];
  const payee = channels.filter((channel) => channel.role === 'payee');
  const payer = channels.filter((channel) => channel.role === 'payer');
  if (payee.length > 0) {
    result.push({
      name: 'settled + claimable = accepted, as far as deposits cover it',
      left: sum(payee, (channel) => channel.settled + claimable(channel)),
      right: sum(payee, (channel) => min(channel.authorized, channel.deposit)),
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

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
