/** Records of the book as the JSON of operations. Pure. */
import { formatAddress } from '../channels/channel.js';
import * as Lifecycle from '../channels/lifecycle.js';
import * as Statement from '../ledger/statement.js';
import type { ChannelRecord, SessionRecord } from '../native/records.js';
import { toHex } from '../units.js';
import type { ChannelView, SessionView, StatementView } from './operations.js';

export const addressView = formatAddress;

/** `now` in unix seconds. */
export function channelView(
  channel: ChannelRecord,
  sessions: readonly SessionRecord[],
  now: bigint,
): ChannelView {
  const own = sessions.filter((session) => session.channel === channel.index);
  return {
    role: channel.role,
    voucherKey: formatAddress(channel.voucherKey),
    payee: formatAddress(channel.payee),
    phase: Lifecycle.phase(channel, now),
    closeAt: channel.closeAt,
    deposit: String(channel.deposit),
    settled: String(channel.settled),
    authorized: String(channel.authorized),
    claimable: String(Statement.claimable(channel)),
    granted: String(channel.granted),
    writtenOff: String(channel.writtenOff),
    due: String(channel.due),
    reserved: String(channel.reserved),
    vouchers: channel.voucherCount,
    bytes: String(own.reduce((sum, session) => sum + BigInt(session.bytes), 0n)),
    pieces: own.reduce((sum, session) => sum + session.pieceCount, 0),
  };
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

export function statementView(
  domain: { chainId: bigint; hub: Uint8Array },
  channels: readonly ChannelRecord[],
  sessions: readonly SessionRecord[],
  now: bigint,
): StatementView {
  const totals = Statement.totals(channels, sessions);
  return {
    chainId: String(domain.chainId),
    hub: formatAddress(domain.hub),
    channels: channels.map((channel) => channelView(channel, sessions, now)),
    sessions: sessions.map((session) => sessionView(session, channels)),
    totals: {
      earned: String(totals.earned),
      spent: String(totals.spent),
      claimable: String(totals.claimable),
      settled: String(totals.settled),
      bytesServed: String(totals.bytesServed),
      bytesBought: String(totals.bytesBought),
    },
    checks: Statement.checks(channels, sessions).map(({ name, left, right }) => ({
      name,
      left: String(left),
      right: String(right),
      ok: left === right,
    })),
  };
}
