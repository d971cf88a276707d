/** Records of the book as the JSON of operations. Pure. */
import { formatAddress } from '../channels/channel.js';
import * as Lifecycle from '../channels/lifecycle.js';
import type { SettlementRecord, UnderWay } from '../ledger/settlements.js';
import * as Statement from '../ledger/statement.js';
import type { ChannelRecord, SessionRecord } from '../native/records.js';
import { toHex } from '../units.js';
import type { ChannelView, SessionView, SettlementView, StatementView } from './operations.js';

export const addressView = formatAddress;

/** What is known of settlements besides the book: by voucher key, 0x-prefixed. */
export interface SettlementState {
  readonly underWay: (voucherKey: string) => UnderWay;
  readonly skipReason: (voucherKey: string) => string | undefined;
}

/** `own` are the sessions of this channel, `now` in unix seconds. */
export function channelView(
  channel: ChannelRecord,
  own: readonly SessionRecord[],
  now: bigint,
  state?: SettlementState,
): ChannelView {
  const voucherKey = formatAddress(channel.voucherKey);
  const claim = Statement.claim(channel, state?.underWay(voucherKey));
  return {
    role: channel.role,
    voucherKey,
    payee: formatAddress(channel.payee),
    phase: Lifecycle.phase(channel, now),
    closeAt: channel.closeAt,
    deposit: String(channel.deposit),
    authorized: String(channel.authorized),
    claimable: String(claim.claimable),
    inFlight: String(claim.inFlight),
    confirmed: String(claim.confirmed),
    settled: String(claim.final),
    lost: String(claim.lost),
    lostReason: claim.lostReason,
    skipped: claim.claimable > 0n ? state?.skipReason(voucherKey) : undefined,
    granted: String(channel.granted),
    writtenOff: String(channel.writtenOff),
    due: String(channel.due),
    reserved: String(channel.reserved),
    vouchers: channel.voucherCount,
    bytes: String(own.reduce((sum, session) => sum + BigInt(session.bytes), 0n)),
    pieces: own.reduce((sum, session) => sum + session.pieceCount, 0),
  };
}

export function sessionsByChannel(
  sessions: readonly SessionRecord[],
): (channel: ChannelRecord) => readonly SessionRecord[] {
  const found = new Map<number, SessionRecord[]>();
  for (const session of sessions) {
    const own = found.get(session.channel);
    if (own) own.push(session);
    else found.set(session.channel, [session]);
  }
  return ({ index }) => found.get(index) ?? [];
}

export function sessionView(session: SessionRecord, channels: readonly ChannelRecord[]): SessionView {
  const channel = channels[session.channel]!;
  return {
    role: channel.role,
    infohash: toHex(session.infohash),
    voucherKey: formatAddress(channel.voucherKey),
    payee: formatAddress(channel.payee),
    priceMiB: String(session.priceMiB),
    bytes: String(session.bytes),
    pieces: session.pieceCount,
    amount: String(session.owed),
    open: !session.closed,
  };
}

/** Costs O(channels + sessions). */
export function statementView(
  domain: { chainId: bigint; hub: Uint8Array },
  channels: readonly ChannelRecord[],
  sessions: readonly SessionRecord[],
  settlements: readonly SettlementRecord[],
  now: bigint,
  state: SettlementState,
): StatementView {
  const underWay = ({ voucherKey }: ChannelRecord): UnderWay => state.underWay(formatAddress(voucherKey));
  const totals = Statement.totals(channels, sessions, underWay);
  const sessionsOf = sessionsByChannel(sessions);
  const fees = settlements.reduce((sum, { end }) => sum + BigInt(end?.fee ?? 0), 0n);
  return {
    chainId: String(domain.chainId),
    hub: formatAddress(domain.hub),
    channels: channels.map((channel) => channelView(channel, sessionsOf(channel), now, state)),
    sessions: sessions.map((session) => sessionView(session, channels)),
    totals: {
      earned: String(totals.earned),
      spent: String(totals.spent),
      claimable: String(totals.claimable),
      inFlight: String(totals.inFlight),
      confirmed: String(totals.confirmed),
      settled: String(totals.final),
      lost: String(totals.lost),
      fees: String(fees),
      bytesServed: String(totals.bytesServed),
      bytesBought: String(totals.bytesBought),
    },
    checks: Statement.checks(channels, sessions, underWay).map(({ name, left, right }) => ({
      name,
      left: String(left),
      right: String(right),
      ok: left === right,
    })),
  };
}

/** What is earned and where it is, without the sessions. Costs O(channels). */
export function claimTotals(
  channels: readonly ChannelRecord[],
  underWay: SettlementState['underWay'],
): Statement.Totals {
  return Statement.totals(channels, [], ({ voucherKey }) => underWay(formatAddress(voucherKey)));
}

export function settlementView(record: SettlementRecord, isMined: boolean): SettlementView {
  const { end, payee, since, vouchers, closes } = record;
  const open = isMined ? 'confirmed' : 'in_flight';
  const ended = end?.ok ? 'final' : 'failed';
  return {
    state: end ? ended : open,
    payee,
    since,
    vouchers,
    closes,
    hash: end?.hash,
    block: end?.block,
    gas: end?.gas,
    fee: end?.fee,
    settled: end?.settled,
  };
}
