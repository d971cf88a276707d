/**
 * The channel accounts of a payee: opened from what the chain says when a peer accepts an offer, shared by all its
 * sessions, forgotten when nobody uses them and nothing is owed. Invariant: at most one account for a voucher key,
 * and none on a channel that is not open and confirmed.
 */
import type { ChannelFacts } from '../channels/channel.js';
import type { RejectCode } from '../channels/message.js';
import { NONE } from '../channels/voucher.js';
import { type Clock, sleep } from '../clock.js';
import { drainPollMs, voucherLateMs } from '../limits.js';
import type { Command } from '../native/records.js';
import { adoptFacts, type ChannelAccount, firstWindow, keyOf, type Prices, unpaid } from './account.js';
import type { Book } from './book.js';
import * as Credit from './credit.js';

/** What the ledger knows of a channel. */
export interface BookedChannel {
  readonly index: number;
  readonly authorized: bigint;
  readonly granted: bigint;
  readonly writtenOff: bigint;
  readonly row: Uint8Array;
  readonly tickRow: Uint8Array | undefined;
}

export interface AccountPorts {
  readonly clock: Clock;
  readonly book: Book;
  /** Confirmed facts of a channel to this payee, undefined when there is none. */
  readonly lookUp: (voucherKey: Uint8Array) => Promise<ChannelFacts | undefined>;
  /** What the ledger knows of a channel, undefined when it is new. */
  readonly booked: (voucherKey: Uint8Array) => Promise<BookedChannel | undefined>;
  /** Whether the payee itself is closing the channel, or about to. */
  readonly isRetired: (voucherKey: Uint8Array) => boolean;
}

export interface AccountEvents {
  /** The last session of a channel ended. */
  onIdle(voucherKey: Uint8Array, authorized: bigint): void;
  /** The chain does not answer. */
  onTrouble(reason: unknown): void;
}

export interface Refusal {
  readonly refusal: RejectCode;
  readonly detail: string;
  /** The same offer may be accepted a little later. */
  readonly mayChange: boolean;
}

export interface Accounts {
  readonly all: readonly ChannelAccount[];
  /** The account of a confirmed, open channel in good standing. A new one has credit for a block or for a piece. */
  open(
    voucherKey: Uint8Array,
    prices: Prices,
    requiresTicks: boolean,
  ): Promise<{ readonly account: ChannelAccount } | Refusal>;
  /** A session of the account ended. */
  leave(account: ChannelAccount): void;
  /** Books what the chain says anew; gives the account that it changes. */
  onFacts(facts: ChannelFacts): Promise<ChannelAccount | undefined>;
  /**
   * Waits until what is granted on these channels, or on all, is paid, but no longer than a voucher may be late.
   * Gives their accounts.
   */
  drain(voucherKeys: readonly Uint8Array[] | undefined): Promise<readonly ChannelAccount[]>;
}

export function createAccounts(
  terms: Credit.CreditTerms,
  ports: AccountPorts,
  events: AccountEvents,
): Accounts {
  const accounts = new Map<string, ChannelAccount>();

  function checkCredit(account: ChannelAccount, piecePrice: bigint): { account: ChannelAccount } | Refusal {
    if (!Credit.isBad(account.credit, terms, piecePrice)) return { account };
    return refusal('unavailable', 'this channel has defaulted');
  }

  async function open(voucherKey: Uint8Array, prices: Prices, requiresTicks: boolean) {
    const piecePrice = prices.piece;
    if (ports.isRetired(voucherKey)) return refusal('channel_closing');
    const active = accounts.get(keyOf(voucherKey));
    if (active && active.sessions.size > 0 && !active.closing) return checkCredit(active, piecePrice);
    let facts: ChannelFacts | undefined;
    try {
      facts = await ports.lookUp(voucherKey);
    } catch (reason) {
      // The node does not answer: that is no fault of the peer, and no reason to stop serving others.
      events.onTrouble(reason);
      return refusal('unknown_channel', 'the chain cannot be asked now', true);
    }
    if (!facts || facts.deposit === 0n) return refusal('unknown_channel', 'not open and confirmed yet', true);
    if (facts.closeAt !== 0) return refusal('channel_closing');
    const [outcome] = await ports.book.commit([factsCommand(facts)]);
    if (outcome!.status !== 'ok') return refusal('unavailable');
    const booked = await ports.booked(voucherKey);
    // Nothing is awaited from here on: two connections that accept together share one account.
    const account =
      accounts.get(keyOf(voucherKey)) ?? make(outcome!.channel!, voucherKey, prices, requiresTicks, booked);
    accounts.set(keyOf(voucherKey), account);
    adoptFacts(account, facts);
    return checkCredit(account, piecePrice);
  }

  function make(
    index: number,
    voucherKey: Uint8Array,
    prices: Prices,
    requiresTicks: boolean,
    booked: BookedChannel | undefined,
  ): ChannelAccount {
    const window = firstWindow(prices, requiresTicks, booked?.authorized ?? 0n);
    return {
      index,
      voucherKey,
      credit: Credit.remembered(terms, prices.piece, booked?.writtenOff ?? 0n, window),
      deposit: 0n,
      authorized: booked?.authorized ?? 0n,
      credited: booked?.authorized ?? 0n,
      granted: booked?.granted ?? 0n,
      grantedIdle: booked?.granted ?? 0n,
      writtenOff: booked?.writtenOff ?? 0n,
      closing: false,
      changes: 0,
      row: (booked?.row ?? NONE).slice(),
      chain: booked?.tickRow?.slice(),
      sessions: new Set(),
      cancelDefault: undefined,
    };
  }

  return {
    get all() {
      return [...accounts.values()];
    },
    open,
    leave(account) {
      if (account.sessions.size > 0) return;
      events.onIdle(account.voucherKey, account.authorized);
      // One that never paid is forgotten: there may be any number of them.
      const worthless = account.authorized === 0n && account.granted === account.writtenOff;
      if (worthless && account.credit.defaulted === 0n) accounts.delete(keyOf(account.voucherKey));
    },
    async onFacts(facts) {
      const account = accounts.get(keyOf(facts.voucherKey));
      await ports.book.commit([factsCommand(facts)]);
      if (account) adoptFacts(account, facts);
      return account;
    },
    async drain(voucherKeys) {
      const wanted = voucherKeys && new Set(voucherKeys.map(keyOf));
      const chosen = [...accounts.values()].filter(
        ({ voucherKey }) => !wanted || wanted.has(keyOf(voucherKey)),
      );
      if (chosen.every(({ sessions }) => sessions.size === 0)) return chosen;
      const endMs = ports.clock.monotonicMs() + voucherLateMs;
      // Before the first look: a grant may be on its way to the disk.
      do await sleep(ports.clock, drainPollMs);
      while (chosen.some(isOwing) && ports.clock.monotonicMs() < endMs);
      return chosen;
    },
  };
}

function isOwing(account: ChannelAccount): boolean {
  return account.sessions.size > 0 && unpaid(account) > 0n;
}

function refusal(code: RejectCode, detail = '', mayChange = false): Refusal {
  return { refusal: code, detail, mayChange };
}

function factsCommand({ voucherKey, payee, deposit, settled, closeAt, block }: ChannelFacts): Command {
  const facts = { voucherKey, payee, deposit, settled, closeAt, block: Number(block) };
  return { kind: 'channel_put', role: 'payee', ...facts };
}
