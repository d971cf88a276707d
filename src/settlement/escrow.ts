/**
 * What the engine needs of an escrow, whatever contract stands behind it: reading channels, asking for
 * transactions, and telling from a receipt what happened. Builders only describe calls; `sender` pays for
 * them. Amounts in base units.
 */
import type { Address, ChannelFacts, ChannelKey, Domain } from '../channels/channel.js';
import type { Head, Receipt } from './answers.js';
import type { Call } from './transaction.js';

export interface EscrowTerms {
  /** Seconds between a payer's close request and its withdrawal. */
  readonly challengePeriod: number;
  /** The ERC-20 escrowed, or undefined for the chain's own coin. */
  readonly asset: Address | undefined;
}

/** A channel to open and what to put into it. */
export interface Opening extends ChannelKey {
  readonly deposit: bigint;
}

/** A channel its payee closes, with the head to settle before, if one is unsettled. */
export interface Closing {
  readonly voucherKey: Address;
  readonly row: Uint8Array | undefined;
}

/** What a mined transaction did at the escrow. */
export type EscrowEvent =
  | ({ readonly type: 'opened'; readonly owner: Address; readonly deposit: bigint } & ChannelKey)
  | ({ readonly type: 'topped_up'; readonly deposit: bigint } & ChannelKey)
  | { readonly type: 'settled'; readonly payee: Address; readonly amount: bigint }
  | ({ readonly type: 'close_requested'; readonly closeAt: number } & ChannelKey)
  | ({ readonly type: 'closed'; readonly settled: bigint; readonly returned: bigint } & ChannelKey)
  | {
      readonly type: 'credit_withdrawn';
      readonly owner: Address;
      readonly to: Address;
      readonly amount: bigint;
    };

/** An event and the block that holds it. */
export interface LoggedEvent {
  readonly event: EscrowEvent;
  readonly block: bigint;
}

export interface EscrowBackend {
  readonly kind: 'hub';
  readonly domain: Domain;

  /**
   * Checks that the contract is the one this version knows and reads its terms.
   * @throws PieceworkError HUB_MISSING, HUB_MISMATCH.
   */
  verify(): Promise<EscrowTerms>;
  /**
   * Facts of channels in the order of `keys`, as of one block: `at`, or else the confirmed one. A channel
   * that does not exist has deposit zero.
   */
  readChannels(keys: readonly ChannelKey[], at?: Head): Promise<readonly ChannelFacts[]>;
  /** What happened here in the canonical blocks `from` to `to`. A hint: the truth is read with the views. */
  events(from: bigint, to: bigint): Promise<readonly LoggedEvent[]>;
  /** What `owner` may withdraw, as of `at` or the confirmed block. */
  credit(owner: Address, at?: Head): Promise<bigint>;

  open(opening: Opening): Call;
  /** Calls that each fit into a block. A channel that exists already is skipped and its deposit credited. */
  openMany(openings: readonly Opening[]): readonly Call[];
  /** `deposit` is the deposit as known now: the same rise is asked for only once. */
  topUp(key: ChannelKey, amount: bigint, deposit: bigint): Call;
  /** Calls that each fit into a block and together settle all rows. */
  settle(payee: Address, rows: readonly Uint8Array[]): readonly Call[];
  /**
   * Calls that each fit into a block and together settle all tick rows (ticks.md 2), 124 bytes each. One that the
   * plain head or another tick of the channel outdoes changes nothing.
   */
  settleTicks(payee: Address, rows: readonly Uint8Array[]): readonly Call[];
  /** Calls, sent by the payee, that each settle and close some of the channels. */
  cooperativeClose(payee: Address, closings: readonly Closing[]): readonly Call[];
  requestClose(key: ChannelKey): Call;
  withdraw(key: ChannelKey): Call;
  withdrawCredit(owner: Address, to: Address): Call;

  /**
   * The call that must land before `call`: the allowance for what it pulls, to the exact amount. Undefined
   * where nothing is pulled or enough is allowed.
   * @throws PieceworkError INSUFFICIENT_FUNDS when `owner` does not hold so much.
   */
  approval(owner: Address, call: Call): Promise<Call | undefined>;

  /** What a mined transaction did here, in order; empty where it did nothing. */
  decode(receipt: Receipt): readonly EscrowEvent[];
  /** The contract's own error in the bytes of a revert, or undefined. */
  explain(revertData: string): string | undefined;
}
