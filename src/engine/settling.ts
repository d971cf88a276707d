/**
 * Channels on the chain, as operations: open, top up, close, settle, withdraw. Every step that spends asks
 * first what it costs and holds it against the caller's ceiling; every change the chain confirms is put into
 * the book from the contract's own views.
 */
import {
  type ChannelFacts,
  type ChannelKey,
  formatAddress,
  parseAddress,
  TOMBSTONE,
} from '../channels/channel.js';
import * as Lifecycle from '../channels/lifecycle.js';
import type { Clock } from '../clock.js';
import { PieceworkError } from '../errors.js';
import type { Ledger } from '../ledger/ledger.js';
import type { ChannelRecord, Command } from '../native/records.js';
import type { EscrowEvent } from '../settlement/escrow.js';
import type { Confirmed } from '../settlement/follow.js';
import * as Planner from '../settlement/planner.js';
import { sameBytes, toHex } from '../units.js';
import { type ChainSide, transactionView } from './chain-side.js';
import type {
  ChannelRequest,
  ChannelView,
  OpenRequest,
  SettleReport,
  SettleRequest,
  TopUpRequest,
  TransactionView,
  WithdrawReport,
  WithdrawRequest,
} from './operations.js';
import { channelView } from './views.js';

export interface SettlingOptions {
  readonly side: ChainSide;
  readonly ledger: Ledger;
  readonly clock: Clock;
  /** The gas ceiling where a request names none, in base units. */
  readonly gasMax: bigint;
  /** Told of facts after they are in the book. */
  readonly onFacts: (facts: ChannelFacts) => Promise<void>;
}

type WithTransaction = ChannelView & { readonly transaction: TransactionView };

/** A channel after money was put into it. */
export interface Funded {
  readonly channel: ChannelRecord;
  readonly transaction: TransactionView;
  readonly fee: bigint;
}

export interface Settling {
  open(request: OpenRequest): Promise<WithTransaction>;
  /** Opens a channel and gives its record; `onGas` hears the price before it is spent. */
  openChannel(payee: Uint8Array, deposit: bigint, gasMax: bigint, onGas?: OnGas): Promise<Funded>;
  topUpChannel(channel: ChannelRecord, amount: bigint, gasMax: bigint, onGas?: OnGas): Promise<Funded>;
  topUp(request: TopUpRequest): Promise<WithTransaction>;
  close(request: ChannelRequest): Promise<WithTransaction>;
  settle(request: SettleRequest): Promise<SettleReport>;
  withdraw(request: WithdrawRequest): Promise<WithdrawReport>;
  /** Re-reads channels from the chain into the book. */
  refresh(channels: readonly ChannelRecord[]): Promise<ChannelRecord[]>;
}

export type OnGas = (purpose: string, feeMax: bigint, ceiling: bigint) => void;

export function createSettling(options: SettlingOptions): Settling {
  const { side, ledger, clock } = options;
  const ceiling = (gasMax: string | undefined): bigint =>
    gasMax === undefined ? options.gasMax : BigInt(gasMax);

  async function record(facts: ChannelFacts, role: 'payer' | 'payee', keyIndex: number): Promise<void> {
    const { voucherKey, payee, deposit, settled, closeAt, block } = facts;
    const put: Command = {
      kind: 'channel_put',
      role,
      voucherKey,
      payee,
      deposit,
      settled,
      closeAt,
      block: Number(block),
      keyIndex,
    };
    const [outcome] = await ledger.commit([put]);
    if (outcome!.status !== 'ok')
      throw new PieceworkError('INTERNAL', `the ledger refused a channel: ${outcome!.status}`);
    if (role === 'payee') await options.onFacts(facts);
  }

  async function refresh(channels: readonly ChannelRecord[]): Promise<ChannelRecord[]> {
    if (channels.length === 0) return [];
    const { readFacts } = await side.ready();
    const facts = await readFacts(channels);
    for (const [at, channel] of channels.entries()) {
      await record(withoutForeign(facts[at]!, channel), channel.role, channel.keyIndex);
    }
    return Promise.all(
      channels.map(async ({ voucherKey, payee }) => (await ledger.channel(voucherKey, payee))!),
    );
  }

  /** A channel of our key that someone else opened first is not ours to use: it counts as closed. */
  function withoutForeign(facts: ChannelFacts, { role }: ChannelRecord): ChannelFacts {
    const foreign = side.account && facts.deposit > 0n && !sameBytes(facts.owner, side.account.address);
    return role === 'payer' && foreign ? { ...facts, closeAt: TOMBSTONE } : facts;
  }

  async function find(voucherKey: string): Promise<ChannelRecord> {
    const key = parseAddress(voucherKey);
    const found = (await ledger.channels()).find((channel) => toHex(channel.voucherKey) === toHex(key));
    if (!found) throw new PieceworkError('NOT_FOUND', `no channel with voucher key ${voucherKey}`);
    return found;
  }

  async function view(channel: ChannelRecord, confirmed: Confirmed): Promise<WithTransaction> {
    const shown = channelView(channel, await ledger.sessions(), clock.unixSeconds());
    return { ...shown, transaction: transactionView(confirmed) };
  }

  async function openNow(
    payee: Uint8Array,
    deposit: bigint,
    gasMax: bigint,
    onGas?: OnGas,
  ): Promise<[ChannelRecord, Confirmed]> {
    const { escrow, quote, send, isUnderWay } = await side.ready();
    const { keyIndex, voucherKey } = (await unopened(payee)) ?? ledger.freshVoucherKey();
    const call = escrow.open({ voucherKey, payee, deposit });
    if (!isUnderWay(call)) onGas?.(call.purpose, (await quote(call)).costMax, gasMax);
    // The key is in the book before money can be sent to it, so that no crash can lose it.
    const none = {
      voucherKey,
      payee,
      owner: side.account!.address,
      deposit: 0n,
      settled: 0n,
      closeAt: 0,
      block: 0n,
    };
    await record(none, 'payer', keyIndex);
    const confirmed = await send(call, gasMax);
    const [channel] = await refresh([(await ledger.channel(voucherKey, payee))!]);
    return [channel!, confirmed];
  }

  /** A key for this payee whose opening did not land, or is not known to have: it is used before a fresh one. */
  async function unopened(payee: Uint8Array): Promise<ChannelRecord | undefined> {
    const own = (await ledger.channels()).filter(
      (channel) => channel.role === 'payer' && sameBytes(channel.payee, payee) && channel.deposit === 0n,
    );
    return (await refresh(own)).find((channel) => Lifecycle.phase(channel, 0n) === 'none');
  }

  async function topUpNow(
    channel: ChannelRecord,
    amount: bigint,
    gasMax: bigint,
    onGas?: OnGas,
  ): Promise<[ChannelRecord, Confirmed]> {
    const { escrow, quote, send, isUnderWay } = await side.ready();
    const call = escrow.topUp(channel, amount, channel.deposit);
    if (!isUnderWay(call)) onGas?.(call.purpose, (await quote(call)).costMax, gasMax);
    const confirmed = await send(call, gasMax);
    const [raised] = await refresh([channel]);
    return [raised!, confirmed];
  }

  async function closeAsPayer(channel: ChannelRecord, gasMax: bigint): Promise<Confirmed> {
    const { chain, escrow, send } = await side.ready();
    const { timestamp } = await chain.head();
    const phase = Lifecycle.phase(channel, timestamp);
    if (phase === 'open') return send(escrow.requestClose(channel), gasMax);
    if (phase === 'withdrawable') return send(escrow.withdraw(channel), gasMax);
    if (phase === 'closing') {
      const left = BigInt(channel.closeAt) - timestamp;
      throw new PieceworkError(
        'CHANNEL_CLOSED',
        `the close is under way; the rest can be withdrawn in ${left} s`,
      );
    }
    throw closedOrNone(phase);
  }

  async function close(request: ChannelRequest): Promise<WithTransaction> {
    const [channel] = await refresh([await find(request.voucherKey)]);
    const gasMax = ceiling(request.gasMax);
    let confirmed: Confirmed;
    if (channel!.role === 'payer') {
      confirmed = await closeAsPayer(channel!, gasMax);
    } else {
      if (Lifecycle.phase(channel!, 0n) === 'closed')
        throw new PieceworkError('CHANNEL_CLOSED', 'the channel is closed');
      const { escrow, send } = await side.ready();
      const [call] = escrow.cooperativeClose(channel!.payee, [closing(channel!)]);
      confirmed = await send(call!, gasMax);
    }
    const [closed] = await refresh([channel!]);
    return view(closed!, confirmed);
  }

  async function settle(request: SettleRequest): Promise<SettleReport> {
    const { chain, escrow, send } = await side.ready();
    const wanted = request.voucherKeys && new Set(request.voucherKeys.map((key) => toHex(parseAddress(key))));
    const own = (await ledger.channels()).filter(
      (channel) => channel.role === 'payee' && (!wanted || wanted.has(toHex(channel.voucherKey))),
    );
    const channels = await refresh(own.filter((channel) => Lifecycle.phase(channel, 0n) !== 'closed'));
    const gasPrice = await chain.gasPrice();
    const policy = { ...Planner.defaultPolicy, force: request.force === true || request.close === true };
    const plan = Planner.plan(channels, gasPrice, policy);
    // A close that was mined before a crash shows only now: it is not paid for twice.
    const closable = channels.filter(
      (channel) => channel.deposit > 0n && Lifecycle.phase(channel, 0n) !== 'closed',
    );
    const targets = request.close ? closable : plan.rows;
    const skipped = request.close ? [] : plan.skipped;
    const report = {
      vouchers: plan.rows.length,
      closed: request.close ? targets.length : 0,
      skipped: skipped.map(({ candidate, reason }) => ({
        voucherKey: formatAddress(candidate.voucherKey),
        reason,
      })),
      expectedFee: String(plan.cost),
    };
    if (request.dryRun || targets.length === 0) {
      const expected = request.dryRun ? String(plan.credit) : '0';
      return { ...report, transactions: [], settled: expected, returned: '0' };
    }
    const { payee } = targets[0]!;
    if (targets.some((target) => !sameBytes(target.payee, payee))) {
      throw new PieceworkError(
        'BAD_ARGUMENT',
        'these channels have several payees: name those of one of them',
      );
    }
    if (request.close && !(side.account && sameBytes(side.account.address, payee))) {
      throw new PieceworkError(
        'WALLET_MISSING',
        `only ${formatAddress(payee)} itself can close its channels`,
      );
    }
    const calls = request.close
      ? escrow.cooperativeClose(payee, targets.map(closing))
      : escrow.settle(
          payee,
          plan.rows.map(({ row }) => row),
        );
    const done: Confirmed[] = [];
    let gasLeft = ceiling(request.gasMax);
    for (const call of calls) {
      const confirmed = await send(call, gasLeft);
      gasLeft -= confirmed.cost;
      done.push(confirmed);
    }
    await refresh(targets);
    const events = done.flatMap((confirmed) => escrow.decode(confirmed));
    return {
      ...report,
      transactions: done.map(transactionView),
      settled: String(total(events, 'settled')),
      returned: String(total(events, 'closed')),
    };
  }

  async function withdraw(request: WithdrawRequest): Promise<WithdrawReport> {
    const { escrow, send } = await side.ready();
    if (!side.account) throw new PieceworkError('WALLET_MISSING');
    const owner = side.account.address;
    const to = request.to === undefined ? owner : parseAddress(request.to);
    const amount = await escrow.credit(owner);
    if (amount === 0n) return { amount: '0', to: formatAddress(to), transaction: undefined };
    const confirmed = await send(escrow.withdrawCredit(owner, to), ceiling(request.gasMax));
    const paid = escrow.decode(confirmed).find((event) => event.type === 'credit_withdrawn');
    const transaction = transactionView(confirmed);
    return {
      amount: String(paid?.type === 'credit_withdrawn' ? paid.amount : 0n),
      to: formatAddress(to),
      transaction,
    };
  }

  return {
    async open({ payee, deposit, gasMax }) {
      const [channel, confirmed] = await openNow(parseAddress(payee), BigInt(deposit), ceiling(gasMax));
      return view(channel, confirmed);
    },
    openChannel: async (payee, deposit, gasMax, onGas) =>
      funded(await openNow(payee, deposit, gasMax, onGas)),
    topUpChannel: async (channel, amount, gasMax, onGas) =>
      funded(await topUpNow(channel, amount, gasMax, onGas)),
    async topUp({ voucherKey, amount, gasMax }) {
      const [channel] = await refresh([await find(voucherKey)]);
      // A close that is under way is taken back by it; one that is over is not.
      const { timestamp } = await (await side.ready()).chain.head();
      const phase = Lifecycle.phase(channel!, timestamp);
      if (phase === 'closed' || phase === 'none') throw closedOrNone(phase);
      const [raised, confirmed] = await topUpNow(channel!, BigInt(amount), ceiling(gasMax));
      return view(raised, confirmed);
    },
    close,
    settle,
    withdraw,
    refresh,
  };
}

function closedOrNone(phase: 'closed' | 'none'): PieceworkError {
  return new PieceworkError(
    'CHANNEL_CLOSED',
    phase === 'none' ? 'the channel is not open yet' : 'the channel is closed',
  );
}

function funded([channel, confirmed]: [ChannelRecord, Confirmed]): Funded {
  return { channel, transaction: transactionView(confirmed), fee: confirmed.cost };
}

function closing(channel: ChannelRecord): { voucherKey: Uint8Array; row: Uint8Array | undefined } {
  const unsettled = channel.authorized > channel.settled && channel.settled < channel.deposit;
  return { voucherKey: channel.voucherKey, row: unsettled ? channel.row : undefined };
}

function total(events: readonly EscrowEvent[], type: 'settled' | 'closed'): bigint {
  let sum = 0n;
  for (const event of events) {
    if (event.type === 'settled' && type === 'settled') sum += event.amount;
    if (event.type === 'closed' && type === 'closed') sum += event.returned;
  }
  return sum;
}

/** What a channel is called in lists and maps. */
export function keyName(key: ChannelKey): string {
  return `${toHex(key.voucherKey)}:${toHex(key.payee)}`;
}
