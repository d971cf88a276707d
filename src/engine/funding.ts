/**
 * The payer's side of channels on the chain: open, top up, ask for the close, take back the rest. Every step that
 * spends says first what it costs and holds it against the caller's ceiling.
 */
import { parseAddress } from '../channels/channel.js';
import * as Lifecycle from '../channels/lifecycle.js';
import type { Clock } from '../clock.js';
import { PieceworkError } from '../errors.js';
import type { Ledger } from '../ledger/ledger.js';
import type { ChannelRecord } from '../native/records.js';
import type { Confirmed } from '../settlement/follow.js';
import type { Call } from '../settlement/transaction.js';
import { sameBytes } from '../units.js';
import type { ChainBook } from './chain-book.js';
import { type ChainSide, transactionView } from './chain-side.js';
import type { ChannelView, OpenRequest, TopUpRequest, TransactionView } from './operations.js';
import { channelView, sessionsByChannel } from './views.js';

export interface FundingOptions {
  readonly side: ChainSide;
  readonly book: ChainBook;
  readonly ledger: Ledger;
  readonly clock: Clock;
  /** The gas ceiling where a request names none, in base units. */
  readonly gasMax: bigint;
}

/** A channel after money was put into it. */
export interface Funded {
  readonly channel: ChannelRecord;
  readonly transaction: TransactionView;
  readonly fee: bigint;
}

/** Hears what gas may cost at most before it is spent. */
export type OnGas = (purpose: string, feeMax: bigint, ceiling: bigint) => void;

type WithTransaction = ChannelView & { readonly transaction: TransactionView };

export interface Funding {
  open(request: OpenRequest): Promise<WithTransaction>;
  topUp(request: TopUpRequest): Promise<WithTransaction>;
  /** Opens a channel and gives its record. */
  openChannel(payee: Uint8Array, deposit: bigint, gasMax: bigint, onGas?: OnGas): Promise<Funded>;
  topUpChannel(channel: ChannelRecord, amount: bigint, gasMax: bigint, onGas?: OnGas): Promise<Funded>;
  /** Asks for the close of an own channel, or takes back the rest once the challenge period is over. */
  close(channel: ChannelRecord, gasMax: bigint): Promise<Confirmed>;
}

export function createFunding({ side, book, ledger, clock, gasMax }: FundingOptions): Funding {
  /** Says what the gas may cost, unless it is spent already. */
  async function announce(call: Call, ceiling: bigint, onGas: OnGas | undefined): Promise<void> {
    const { quote, isUnderWay } = await side.ready();
    if (onGas && !isUnderWay(call)) onGas(call.purpose, (await quote(call)).costMax, ceiling);
  }

  async function openChannel(
    payee: Uint8Array,
    deposit: bigint,
    ceiling: bigint,
    onGas?: OnGas,
  ): Promise<Funded> {
    const { escrow, send } = await side.ready();
    const { keyIndex, voucherKey } = (await unopened(payee)) ?? ledger.freshVoucherKey();
    const call = escrow.open({ voucherKey, payee, deposit });
    await announce(call, ceiling, onGas);
    // The key is in the book before money can be sent to it, so that no crash can lose it.
    const owner = side.account!.address;
    const none = { deposit: 0n, settled: 0n, closeAt: 0, block: 0n };
    await book.put({ voucherKey, payee, owner, ...none }, 'payer', keyIndex);
    const confirmed = await send(call, ceiling);
    return funded(await booked((await ledger.channel(voucherKey, payee))!, confirmed), confirmed);
  }

  /**
   * The channel after money was put into it. While nodes contradict each other its view may still show the old
   * deposit; the receipt, on which enough of them agree, does not, and the same money must not be sent again.
   */
  async function booked(channel: ChannelRecord, confirmed: Confirmed): Promise<ChannelRecord> {
    const { escrow } = await side.ready();
    const [now] = await book.refresh([channel]);
    let { deposit } = now!;
    for (const event of escrow.decode(confirmed)) {
      const own =
        (event.type === 'opened' || event.type === 'topped_up') &&
        sameBytes(event.voucherKey, now!.voucherKey);
      if (own && event.deposit > deposit) deposit = event.deposit;
    }
    if (deposit === now!.deposit) return now!;
    await book.put({ ...now!, deposit, block: BigInt(now!.block) }, 'payer', now!.keyIndex);
    return (await ledger.channel(now!.voucherKey, now!.payee))!;
  }

  /** A key for this payee whose opening did not land, or is not known to have: it is used before a fresh one. */
  async function unopened(payee: Uint8Array): Promise<ChannelRecord | undefined> {
    const own = (await ledger.channels()).filter(
      (channel) => channel.role === 'payer' && sameBytes(channel.payee, payee) && channel.deposit === 0n,
    );
    return (await book.refresh(own)).find((channel) => Lifecycle.phase(channel, 0n) === 'none');
  }

  async function topUpChannel(
    channel: ChannelRecord,
    amount: bigint,
    ceiling: bigint,
    onGas?: OnGas,
  ): Promise<Funded> {
    const { escrow, send } = await side.ready();
    const call = escrow.topUp(channel, amount, channel.deposit);
    await announce(call, ceiling, onGas);
    const confirmed = await send(call, ceiling);
    return funded(await booked(channel, confirmed), confirmed);
  }

  async function view({ channel, transaction }: Funded): Promise<WithTransaction> {
    const own = sessionsByChannel(await ledger.sessions())(channel);
    return { ...channelView(channel, own, clock.unixSeconds()), transaction };
  }

  const ceilingOf = (asked: string | undefined): bigint => (asked === undefined ? gasMax : BigInt(asked));

  return {
    async open({ payee, deposit, gasMax: asked }) {
      return view(await openChannel(parseAddress(payee), BigInt(deposit), ceilingOf(asked)));
    },
    async topUp({ voucherKey, amount, gasMax: asked }) {
      const [channel] = await book.refresh([await book.find(voucherKey)]);
      // A close that is under way is taken back by it; one that is over is not.
      const { timestamp } = await (await side.ready()).chain.head();
      const phase = Lifecycle.phase(channel!, timestamp);
      if (phase === 'closed' || phase === 'none') throw closedOrNone(phase);
      return view(await topUpChannel(channel!, BigInt(amount), ceilingOf(asked)));
    },
    openChannel,
    topUpChannel,
    async close(channel, ceiling) {
      const { chain, escrow, send } = await side.ready();
      const { timestamp } = await chain.head();
      const phase = Lifecycle.phase(channel, timestamp);
      if (phase === 'open') return send(escrow.requestClose(channel), ceiling);
      if (phase === 'withdrawable') return send(escrow.withdraw(channel), ceiling);
      if (phase !== 'closing') throw closedOrNone(phase);
      const left = BigInt(channel.closeAt) - timestamp;
      const detail = `the close is under way; the rest can be withdrawn in ${left} s`;
      throw new PieceworkError('CHANNEL_CLOSED', detail);
    },
  };
}

function closedOrNone(phase: 'closed' | 'none'): PieceworkError {
  const detail = phase === 'none' ? 'the channel is not open yet' : 'the channel is closed';
  return new PieceworkError('CHANNEL_CLOSED', detail);
}

function funded(channel: ChannelRecord, confirmed: Confirmed): Funded {
  return { channel, transaction: transactionView(confirmed), fee: confirmed.cost };
}
