/**
 * Sends transactions of one account: the only owner of its nonces in this process. A signed transaction is
 * stored durably before it is broadcast and stays stored until its end is known and has been told, so that
 * a crash at any point leaves either nothing or bytes to broadcast again. One that is stuck is signed again
 * with the same nonce and a higher price, and stored with all that was signed before (settlement.md 1).
 * Invariants: one sender per chain and account; at most one transaction per intent may still land; nothing is
 * signed above the gas ceiling or beyond the balance. How a transaction's end is recognised is `follow`'s.
 */
import { formatAddress } from '../channels/channel.js';
import { from as fromThrown, PieceworkError } from '../errors.js';
import * as limits from '../limits.js';
import { formatAmount } from '../units.js';
import type { Account } from './account.js';
import type { Explain } from './chain.js';
import * as Follow from './follow.js';
import type { Call, Quote, StoredTransaction, TransactionStore } from './transaction.js';
import * as Transactions from './transaction.js';

export interface SenderOptions {
  /** How long a transaction may stay unmined before TX_TIMEOUT. */
  readonly waitMs?: number;
  readonly pollMs?: number;
  /** How long a variant may wait before a dearer one with its nonce is signed. */
  readonly stuckMs?: number;
  /** How much dearer each variant is than the last, in thousandths; nodes refuse less than 100. */
  readonly raisePermille?: number;
  /** Names the contract's own errors. */
  readonly explain?: Explain;
  readonly listener?: SenderListener;
}

/** Hears of every transaction, whoever sent it and also those found in the store. */
export interface SenderListener {
  onProgress(record: StoredTransaction, progress: Progress): void;
  /** Runs like `SendOptions.onConfirmed`, after it. */
  onConfirmed(receipt: Follow.Confirmed, record: StoredTransaction): Promise<void>;
  /** It can have no effect any more; runs before its record is removed. */
  onFailed(record: StoredTransaction): Promise<void>;
}

export interface SendOptions {
  /** The most, in base units, that the gas may cost: of the first signing and of every dearer one. */
  readonly gasCeiling?: bigint;
  readonly progress?: (progress: Progress) => void;
  /**
   * Runs once the transaction is confirmed and before its record is removed: what must not be lost is made
   * durable here. After a crash in between it runs again, from `resume` or from the next `send`.
   */
  readonly onConfirmed?: (receipt: Follow.Confirmed, record: StoredTransaction) => Promise<void>;
}

export type Progress =
  | { readonly step: 'signed'; readonly hash: string; readonly quote: Quote }
  | { readonly step: 'resumed'; readonly hash: string }
  /** Signed again with the same nonce at a higher price; `hash` is the new variant's. */
  | { readonly step: 'replaced'; readonly hash: string; readonly gasPrice: bigint }
  | Follow.Progress;

/** The end of a transaction found in the store. */
export type Outcome =
  | { readonly record: StoredTransaction; readonly receipt: Follow.Confirmed }
  | { readonly record: StoredTransaction; readonly error: PieceworkError };

/** Nodes of BTTC keep 16 waiting transactions of an account; half of that leaves room for other programs. */
const inFlightMax = 8;

const owned = new Set<string>();

/**
 * Opens the sender of an account and reads what it has under way.
 * @throws PieceworkError INTERNAL when this process has one already for that chain and account.
 */
export async function open(
  chain: Follow.SendingChain,
  account: Account,
  store: TransactionStore,
  options: SenderOptions = {},
): Promise<Sender> {
  const name = `${chain.profile.chainId}/${formatAddress(account.address)}`;
  if (owned.has(name)) throw new PieceworkError('INTERNAL', `a second sender was opened for ${name}`);
  owned.add(name);
  try {
    const from = formatAddress(account.address);
    const records = (await store.list()).filter((record) => record.from === from);
    return new Sender(chain, account, store, options, records, () => owned.delete(name));
  } catch (thrown) {
    owned.delete(name);
    throw thrown;
  }
}

export class Sender {
  readonly chain: Follow.SendingChain;
  readonly account: Account;
  readonly #store: TransactionStore;
  readonly #options: SenderOptions;
  readonly #pending = new Map<string, StoredTransaction>();
  readonly #running = new Map<string, Promise<Follow.Confirmed>>();
  readonly #closing = new AbortController();
  readonly #release: () => void;
  #signing: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;

  /** Use `open`. */
  constructor(
    chain: Follow.SendingChain,
    account: Account,
    store: TransactionStore,
    options: SenderOptions,
    records: readonly StoredTransaction[],
    release: () => void,
  ) {
    this.chain = chain;
    this.account = account;
    this.#store = store;
    this.#options = options;
    this.#release = release;
    for (const record of records) this.#pending.set(record.id, record);
  }

  /** Transactions in flight: signed, and their end not known yet. Lowest nonce first. */
  get pending(): readonly StoredTransaction[] {
    return [...this.#pending.values()].sort((a, b) => a.nonce - b.nonce);
  }

  /**
   * What a call would cost now; nothing is spent.
   * @throws PieceworkError CHAIN_REJECTED when it would revert, INSUFFICIENT_FUNDS when the account does not
   * hold even the value, CHAIN_UNREACHABLE.
   */
  async quote(call: Call): Promise<Quote> {
    return (await this.#measure(call)).quote;
  }

  /**
   * Brings a call onto the chain and resolves with its receipt once that is confirmed. A stored transaction
   * with the same intent is followed instead of signing another, up to the gas ceiling of this call; a send
   * of the same intent that is under way is joined, and then only the first one's options count.
   * @throws PieceworkError GAS_CEILING, INSUFFICIENT_FUNDS, CHAIN_REJECTED before anything is signed or when
   * the node refuses the bytes; TX_FAILED when it was mined in vain or another took its nonce; TX_TIMEOUT,
   * CHAIN_UNREACHABLE, INTERRUPTED while it stays stored; QUEUE_FULL; what the store throws.
   */
  send(call: Call, options: SendOptions = {}): Promise<Follow.Confirmed> {
    return this.#once(call.intent, async () => {
      const stored = this.pending.find((record) => record.intent === call.intent);
      if (stored) options.progress?.({ step: 'resumed', hash: Transactions.newest(stored).hash });
      const record = stored ?? (await this.#exclusively(() => this.#sign(call, options)));
      this.#pushBelow(record.nonce);
      return this.#finish(record, options);
    });
  }

  /**
   * Follows every stored transaction to its end and broadcasts the same bytes again where the node does not
   * have them. The outcomes come together, once each transaction has ended or timed out.
   */
  async resume(options: Pick<SendOptions, 'onConfirmed' | 'progress'> = {}): Promise<readonly Outcome[]> {
    const runs = this.pending.map((record) => {
      const run = this.#once(record.intent, () => this.#finish(record, options));
      return run.then(
        (receipt): Outcome => ({ record, receipt }),
        (thrown: unknown): Outcome => ({ record, error: fromThrown(thrown) }),
      );
    });
    return Promise.all(runs);
  }

  /**
   * Follows what is in flight again and again, whether anybody waits for it or not. Resolves once nothing is.
   * @throws PieceworkError INTERRUPTED once closed, what the store throws.
   */
  async followAll(): Promise<void> {
    while (this.#pending.size > 0) {
      for (const outcome of await this.resume()) {
        if (!('error' in outcome)) continue;
        const { code } = outcome.error;
        if (code !== 'TX_TIMEOUT' && code !== 'TX_FAILED') throw outcome.error;
      }
    }
  }

  /** Stops following; stored transactions stay stored. The account is free for another sender. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled([this.#signing, ...this.#running.values()]);
    this.#release();
  }

  /** Follows what has to be mined before this nonce: left alone it might be stuck, and this one behind it. */
  #pushBelow(nonce: number): void {
    for (const record of this.pending) {
      if (record.nonce >= nonce || this.#running.has(record.intent)) continue;
      this.#once(record.intent, () => this.#finish(record, {})).catch(() => undefined);
    }
  }

  /** Runs `task` unless one with that intent runs already: then joins it. */
  #once(intent: string, task: () => Promise<Follow.Confirmed>): Promise<Follow.Confirmed> {
    const running = this.#running.get(intent);
    if (running) return running;
    const run = task().finally(() => this.#running.delete(intent));
    this.#running.set(intent, run);
    return run;
  }

  /** One at a time: the nonce read by one is used before the next reads. */
  #exclusively<T>(task: () => Promise<T>): Promise<T> {
    const run = this.#signing.then(task, task);
    this.#signing = run.catch(() => undefined);
    return run;
  }

  async #measure(call: Call): Promise<{ readonly quote: Quote; readonly balance: bigint }> {
    const from = this.account.address;
    const balance = await this.chain.balance(from);
    if (balance < call.value) throw insufficient(call, call.value, balance);
    const trial = { from, to: call.to, data: call.data, value: call.value };
    const [gas, gasPrice] = await Promise.all([
      this.chain.estimateGas(trial, this.#options.explain),
      this.chain.gasPrice(),
    ]);
    return { quote: Transactions.quote(call, gas, gasPrice), balance };
  }

  async #sign(call: Call, options: SendOptions): Promise<StoredTransaction> {
    if (this.#closing.signal.aborted) throw new PieceworkError('INTERRUPTED', `${call.purpose}: not sent`);
    if (this.#pending.size >= inFlightMax) {
      throw new PieceworkError('QUEUE_FULL', `${inFlightMax} transactions of this account are under way`);
    }
    const { quote, balance } = await this.#measure(call);
    if (options.gasCeiling !== undefined && quote.costMax > options.gasCeiling) {
      const [most, ceiling] = [formatAmount(quote.costMax), formatAmount(options.gasCeiling)];
      throw new PieceworkError(
        'GAS_CEILING',
        `${call.purpose}: gas may cost ${most}, allowed are ${ceiling}`,
      );
    }
    const needed = quote.costMax + quote.value;
    if (balance < needed) throw insufficient(call, needed, balance);
    const nonce = await this.#nextNonce();
    const { chainId } = this.chain.profile;
    const { to, data, value } = call;
    const { gasLimit, gasPrice } = quote;
    const signed = this.account.signTransaction({ chainId, nonce, to, data, value, gasLimit, gasPrice });
    const record: StoredTransaction = {
      id: signed.hash,
      chainId: String(chainId),
      from: formatAddress(this.account.address),
      nonce,
      to: to === undefined ? null : formatAddress(to),
      data: Buffer.from(data.slice(2), 'hex').toString('base64'),
      value: String(value),
      gasLimit: String(gasLimit),
      purpose: call.purpose,
      intent: call.intent,
      since: Number(this.chain.clock.unixSeconds()),
      gasCeiling: options.gasCeiling === undefined ? null : String(options.gasCeiling),
      variants: [Transactions.variantOf(signed, gasPrice)],
    };
    await this.#keep(record);
    this.#tell(record, options, { step: 'signed', hash: record.id, quote });
    await this.#broadcast(record, signed.raw);
    return record;
  }

  /**
   * Signs a dearer variant and stores it beside the others, unless the ceiling or the balance forbids it: then
   * the record stays as it is and the cheaper one goes on waiting.
   */
  async #replace(record: StoredTransaction, options: SendOptions): Promise<StoredTransaction> {
    const market = await this.chain.gasPrice();
    const permille = this.#options.raisePermille ?? limits.gasRaisePermille;
    const gasPrice = Transactions.raisedPrice(record, market, permille);
    const costMax = gasPrice * BigInt(record.gasLimit);
    const ceiling =
      options.gasCeiling ?? (record.gasCeiling === null ? undefined : BigInt(record.gasCeiling));
    if (ceiling !== undefined && costMax > ceiling) return record;
    if (record.variants.length >= limits.variantsMax) return record;
    if ((await this.chain.balance(this.account.address)) < costMax + BigInt(record.value)) return record;
    const signed = this.account.signTransaction(Transactions.fieldsOf(record, gasPrice));
    const dearer = { ...record, variants: [...record.variants, Transactions.variantOf(signed, gasPrice)] };
    await this.#keep(dearer);
    this.#tell(record, options, { step: 'replaced', hash: signed.hash, gasPrice });
    return dearer;
  }

  /** Counts what waits at the node and what is stored here; either may know more than the other. */
  async #nextNonce(): Promise<number> {
    const waiting = await this.chain.nonce(this.account.address, 'pending');
    return this.pending.reduce((next, record) => Math.max(next, record.nonce + 1), waiting);
  }

  /** The first broadcast of fresh bytes. Bytes that a node refuses here exist nowhere else: their record goes. */
  async #broadcast(record: StoredTransaction, raw: string): Promise<void> {
    const answer = await this.chain.broadcast(raw).catch(unlessUnreachable);
    // Unreachable: they may have arrived all the same, so following decides.
    if (answer === undefined || answer.accepted) return;
    await this.#forget(record, true);
    const code = /insufficient funds/i.test(answer.reason) ? 'INSUFFICIENT_FUNDS' : 'CHAIN_REJECTED';
    throw new PieceworkError(code, `${record.purpose}: ${answer.reason}`);
  }

  async #finish(record: StoredTransaction, options: SendOptions): Promise<Follow.Confirmed> {
    try {
      const confirmed = await Follow.follow(this.chain, record, {
        waitMs: this.#options.waitMs ?? limits.transactionWaitMs,
        pollMs: this.#options.pollMs ?? limits.chainPollMs,
        stuckMs: this.#options.stuckMs ?? limits.transactionStuckMs,
        replace: (stuck) => this.#replace(stuck, options),
        signal: this.#closing.signal,
        explain: this.#options.explain,
        progress: (progress) => this.#tell(record, options, progress),
      });
      const stored = this.#pending.get(record.id) ?? record;
      await options.onConfirmed?.(confirmed, stored);
      await this.#options.listener?.onConfirmed(confirmed, stored);
      await this.#forget(record);
      return confirmed;
    } catch (thrown) {
      if (thrown instanceof PieceworkError && thrown.code === 'TX_FAILED') await this.#forget(record, true);
      throw thrown;
    }
  }

  #tell(record: StoredTransaction, options: SendOptions, progress: Progress): void {
    options.progress?.(progress);
    this.#options.listener?.onProgress(record, progress);
  }

  async #keep(record: StoredTransaction): Promise<void> {
    await this.#store.put(record);
    this.#pending.set(record.id, record);
  }

  async #forget(record: StoredTransaction, inVain = false): Promise<void> {
    if (inVain) await this.#options.listener?.onFailed(record);
    await this.#store.remove(record.id);
    this.#pending.delete(record.id);
  }
}

function unlessUnreachable(thrown: unknown): undefined {
  if (thrown instanceof PieceworkError && thrown.code === 'CHAIN_UNREACHABLE') return undefined;
  throw thrown;
}

function insufficient(call: Call, needed: bigint, balance: bigint): PieceworkError {
  const detail = `${call.purpose}: needs ${formatAmount(needed)}, the account holds ${formatAmount(balance)}`;
  return new PieceworkError('INSUFFICIENT_FUNDS', detail);
}
