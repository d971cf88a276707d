/**
 * The engine's way to the chain: one connection, one verified hub, one sender per account, opened when first
 * needed. Signed transactions rest in the ledger until their end is known.
 */
import {
  type Address,
  type ChannelFacts,
  type ChannelKey,
  type Domain,
  formatAddress,
} from '../channels/channel.js';
import type { ChainConfig } from '../config.js';
import { PieceworkError } from '../errors.js';
import type { Ledger } from '../ledger/ledger.js';
import { noteSpaces } from '../ledger/spaces.js';
import type { Account } from '../settlement/account.js';
import * as Chains from '../settlement/chain.js';
import type { EscrowBackend, EscrowEvent, EscrowTerms } from '../settlement/escrow.js';
import type { Confirmed } from '../settlement/follow.js';
import * as GasRate from '../settlement/gas-rate.js';
import { Hub } from '../settlement/hub.js';
import * as HubCode from '../settlement/hub-code.js';
import { createReader } from '../settlement/reading.js';
import * as Senders from '../settlement/sender.js';
import type { Tier } from '../settlement/tiers.js';
import {
  type Call,
  pullingGas,
  type Quote,
  quote as quoteOf,
  type StoredTransaction,
  type TransactionStore,
} from '../settlement/transaction.js';
import { fromHex } from '../units.js';
import type { TransactionView } from './operations.js';

/** Hears of every transaction of the account, whoever asked for it and also after a restart. */
export interface TransactionListener {
  /** The sender is open: what is under way is known, and nothing is followed yet. */
  onOpen(isUnderWay: (intent: string) => boolean): Promise<void>;
  onProgress(intent: string, progress: Senders.Progress): void;
  /** Runs before the transaction is forgotten, and again after a crash in between. */
  onConfirmed(intent: string, confirmed: Confirmed, events: readonly EscrowEvent[]): Promise<void>;
  /** It can have no effect any more. */
  onFailed(intent: string): Promise<void>;
}

export interface ChainSide {
  readonly domain: Domain;
  readonly account: Account | undefined;
  /** To be called before the first `ready`. */
  listen(listener: TransactionListener): void;
  /** What was found wrong with nodes so far, by kind. */
  readonly alarms: Chains.Chain['alarms'];
  /** Connects, checks chain and hub. @throws PieceworkError CHAIN_*, HUB_*. */
  ready(): Promise<ReadyChain>;
  /** Waits for no transaction any more: those under way stay stored. Reading goes on. */
  stopSending(): Promise<void>;
  close(): Promise<void>;
}

export interface ReadyChain {
  readonly chain: Chains.Chain;
  readonly escrow: EscrowBackend;
  readonly terms: EscrowTerms;
  /** From which depth on deposits count, and how much of them. */
  readonly tiers: readonly Tier[];
  /** What counts of channels now. */
  readFacts(keys: readonly ChannelKey[]): Promise<readonly ChannelFacts[]>;
  /** @throws PieceworkError WALLET_MISSING without an account. */
  quote(call: Call): Promise<Quote>;
  /** What that much of the coin that pays gas is worth in base units of BTT; undefined without a rate. */
  inBtt(gasWei: bigint): bigint | undefined;
  /** Waits until every transaction under way has ended or timed out; how is for the listener. */
  finishStored(): Promise<void>;
  /** Whether a transaction for the same effect is stored and may still land. */
  isUnderWay(call: Pick<Call, 'intent'>): boolean;
  /** Sends and waits; `gasMax` is the most the gas may cost. */
  send(call: Call, gasMax: bigint | undefined, onSigned?: (quote: Quote) => void): Promise<Confirmed>;
}

export function openChainSide(
  config: ChainConfig,
  hub: Address,
  account: Account | undefined,
  ledger: Ledger,
  tiers: readonly Tier[],
  onWarning: (text: string) => void,
): ChainSide {
  let opening: Promise<ReadyChain> | undefined;
  let chain: Chains.Chain | undefined;
  let sender: Senders.Sender | undefined;
  let listener: TransactionListener | undefined;
  let following = false;
  const profile = { ...config.profile, rpcUrls: config.rpcUrls, confirmations: config.confirmations };

  async function open(): Promise<ReadyChain> {
    chain = await Chains.connect(profile, {
      agreement: config.agreement,
      onAlarm: ({ node, detail }) => onWarning(`the node ${node} ${detail}`),
    });
    const known = (key: ChannelKey) => ledger.channel(key.voucherKey, key.payee);
    const escrow = new Hub(chain, hub, await HubCode.artifactFor(profile.asset), { known });
    const terms = await escrow.verify();
    if (account) {
      sender = await Senders.open(chain, account, transactionStore(ledger), {
        explain: (data) => escrow.explain(data),
        ...(listener ? { listener: senderListener(escrow, listener) } : {}),
      });
      await listener?.onOpen(isUnderWay);
      followStored();
    }
    const rate = config.gasRate ?? GasRate.rateOf(profile, undefined);
    return readyChain(chain, escrow, terms, tiers, rate, () => sender, followStored);
  }

  /** What an earlier run left, and what nobody waits for any more, is pushed until its end is known. */
  function followStored(): void {
    if (following || !sender) return;
    following = true;
    const over = (): void => {
      following = false;
    };
    sender.followAll().then(over, over);
  }

  const isUnderWay = (wanted: string): boolean =>
    sender?.pending.some(({ intent }) => intent === wanted) ?? false;

  return {
    domain: { chainId: profile.chainId, hub },
    account,
    listen(heard) {
      listener = heard;
    },
    get alarms() {
      return chain?.alarms ?? { silent: 0, wrong_chain: 0, stale: 0, contradiction: 0 };
    },
    ready() {
      opening ??= open().catch((thrown) => {
        opening = undefined;
        chain?.close();
        throw thrown;
      });
      return opening;
    },
    async stopSending() {
      await sender?.close();
    },
    async close() {
      await opening?.catch(() => undefined);
      await sender?.close();
      chain?.close();
    },
  };
}

function readyChain(
  chain: Chains.Chain,
  escrow: EscrowBackend,
  terms: EscrowTerms,
  tiers: readonly Tier[],
  rate: GasRate.GasRate | undefined,
  senderOf: () => Senders.Sender | undefined,
  followStored: () => void,
): ReadyChain {
  const needSender = (): Senders.Sender => {
    const sender = senderOf();
    if (!sender) throw new PieceworkError('WALLET_MISSING', 'this needs a wallet: it sends a transaction');
    return sender;
  };
  let pulling: Promise<unknown> = Promise.resolve();

  async function allow(call: Call, gasMax: bigint | undefined): Promise<void> {
    const approval = await escrow.approval(needSender().account.address, call);
    if (!approval) return;
    await needSender().send(approval, GasRate.gasCeiling(rate, gasMax));
  }

  async function send(call: Call, gasMax: bigint | undefined, onSigned?: (quote: Quote) => void) {
    try {
      return await needSender().send(call, {
        ...GasRate.gasCeiling(rate, gasMax),
        progress: (step) => step.step === 'signed' && onSigned?.(step.quote),
      });
    } catch (thrown) {
      if (thrown instanceof PieceworkError && thrown.code === 'TX_TIMEOUT') followStored();
      throw thrown;
    }
  }

  const read = createReader(chain, escrow, tiers);
  return {
    chain,
    escrow,
    terms,
    async quote(call) {
      const approval = await escrow.approval(needSender().account.address, call);
      if (!approval) return needSender().quote(call);
      // Nobody can try out a call whose allowance is still missing.
      const allowing = await needSender().quote(approval);
      return quoteOf(call, allowing.gas + pullingGas(call), allowing.gasPrice);
    },
    tiers,
    readFacts: async (keys) => read(keys, await chain.head()),
    inBtt: (gasWei) => GasRate.voucherCost(rate, gasWei),
    async finishStored() {
      await senderOf()?.resume();
    },
    isUnderWay: (call) => senderOf()?.pending.some(({ intent }) => intent === call.intent) ?? false,
    send(call, gasMax, onSigned) {
      if (call.pulls === undefined) return send(call, gasMax, onSigned);
      // One at a time: an allowance is exact, and a second one would replace it.
      const run = pulling.then(async () => {
        await allow(call, gasMax);
        return send(call, gasMax, onSigned);
      });
      pulling = run.catch(() => undefined);
      return run;
    },
  };
}

function senderListener(escrow: EscrowBackend, listener: TransactionListener): Senders.SenderListener {
  return {
    onProgress: (record, progress) => listener.onProgress(record.intent, progress),
    onConfirmed: (confirmed, record) =>
      listener.onConfirmed(record.intent, confirmed, escrow.decode(confirmed)),
    onFailed: (record) => listener.onFailed(record.intent),
  };
}

/** Signed transactions as notes of the ledger, keyed by the hash of their first variant. */
function transactionStore(ledger: Ledger): TransactionStore {
  return {
    put: (record) => ledger.putNote(noteSpaces.transactions, fromHex(record.id), record),
    remove: (id) => ledger.removeNote(noteSpaces.transactions, fromHex(id)),
    list: () => ledger.notes<StoredTransaction>(noteSpaces.transactions),
  };
}

export function transactionView(confirmed: Confirmed): TransactionView {
  return {
    hash: confirmed.hash,
    gas: String(confirmed.gasUsed),
    gasPrice: String(confirmed.gasPrice),
    fee: String(confirmed.cost),
  };
}

/** The key of a channel in messages to people. */
export function channelName(key: ChannelKey): string {
  return `${formatAddress(key.voucherKey)} → ${formatAddress(key.payee)}`;
}
