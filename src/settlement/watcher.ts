/**
 * Watches channels on the chain: reads them again at every new confirmed block and reports what changed.
 * It decides nothing. A change counts as reported once its handler has returned, so a crash or a failed
 * handler repeats it rather than losing it. Invariants: facts reported together are of one block; a
 * reorganisation of confirmed blocks makes every channel be read again; an outage is waited out.
 */
import { type ChannelFacts, type ChannelKey, channelId } from '../channels/channel.js';
import { sleep } from '../clock.js';
import { from as fromThrown, PieceworkError } from '../errors.js';
import * as limits from '../limits.js';
import { sameBytes, toHex } from '../units.js';
import type { Head } from './answers.js';
import type { Chain } from './chain.js';
import type { EscrowBackend } from './escrow.js';

export interface Change {
  readonly facts: ChannelFacts;
  /** As reported last, or undefined the first time. */
  readonly before: ChannelFacts | undefined;
}

export interface WatcherHandlers {
  /** Channels that changed since they were reported last. Awaited; a rejection ends the watcher. */
  readonly onFacts: (changes: readonly Change[], at: Head) => Promise<void> | void;
  /** The watcher cannot go on: the handler failed, or the chain or the escrow is not what it was. */
  readonly onFailure: (error: PieceworkError) => void;
  /** The confirmed chain reached this block and every watched channel is known as of it. */
  readonly onBlock?: (at: Head) => void;
  /** A block that counted as confirmed is gone. */
  readonly onReorg?: (gone: Head, at: Head) => void;
  readonly onUnreachable?: (error: PieceworkError) => void;
  readonly onReachable?: () => void;
}

export interface WatcherOptions {
  readonly pollMs?: number;
  /** The longest wait between tries while the chain does not answer. */
  readonly backoffMsMax?: number;
}

interface Watched {
  readonly key: ChannelKey;
  known: ChannelFacts | undefined;
}

const backoffMsMax = 10_000;
const watchedMax = 100_000;
/** Confirmed blocks remembered to tell a reorganisation from a node that lags behind. */
const rememberedMax = 256;
/** Refusals in a row after which a node counts as not answering: it may just have dropped the block asked for. */
const refusalsMax = 3;

export class Watcher {
  readonly #chain: Pick<Chain, 'confirmed' | 'block' | 'clock'>;
  readonly #escrow: Pick<EscrowBackend, 'readChannels'>;
  readonly #handlers: WatcherHandlers;
  readonly #options: Required<WatcherOptions>;
  readonly #watched = new Map<string, Watched>();
  readonly #seen = new Map<bigint, string>();
  readonly #stopping = new AbortController();
  #last: Head | undefined;
  #fresh = true;
  #polling: Promise<unknown> = Promise.resolve();
  #loop: Promise<void> | undefined;
  #wake = new AbortController();
  #failures = 0;
  #reachable = true;

  constructor(
    chain: Pick<Chain, 'confirmed' | 'block' | 'clock'>,
    escrow: Pick<EscrowBackend, 'readChannels'>,
    handlers: WatcherHandlers,
    options: WatcherOptions = {},
  ) {
    this.#chain = chain;
    this.#escrow = escrow;
    this.#handlers = handlers;
    this.#options = { pollMs: limits.chainPollMs, backoffMsMax, ...options };
  }

  /** Channels watched now. */
  get size(): number {
    return this.#watched.size;
  }

  /**
   * Watches a channel; `known` is what the caller has of it, so that only a difference is reported.
   * @throws PieceworkError QUEUE_FULL.
   */
  watch(key: ChannelKey, known?: ChannelFacts): void {
    const id = toHex(channelId(key));
    if (this.#watched.has(id)) return;
    if (this.#watched.size >= watchedMax) {
      throw new PieceworkError('QUEUE_FULL', `${watchedMax} channels are watched already`);
    }
    this.#watched.set(id, { key: { voucherKey: key.voucherKey, payee: key.payee }, known });
    this.#fresh = true;
    this.#wake.abort();
  }

  unwatch(key: ChannelKey): void {
    this.#watched.delete(toHex(channelId(key)));
  }

  /** Begins polling; does nothing when it has begun. */
  start(): void {
    this.#loop ??= this.#run();
  }

  /** Ends polling; no handler runs once it has resolved. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#wake.abort();
    await Promise.allSettled([this.#loop, this.#polling]);
  }

  /** Looks at the chain now. @throws PieceworkError what the chain, the escrow or a handler throws. */
  poll(): Promise<void> {
    const run = this.#polling.then(() => this.#poll());
    this.#polling = run.catch(() => undefined);
    return run;
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      try {
        await this.poll();
        this.#answered();
      } catch (thrown) {
        const error = fromThrown(thrown);
        if (this.#stopping.signal.aborted) return;
        if (error.code !== 'CHAIN_UNREACHABLE' && error.code !== 'CHAIN_REJECTED') {
          this.#handlers.onFailure(error);
          return;
        }
        this.#refused(error);
      }
      this.#wake = new AbortController();
      if (this.#stopping.signal.aborted) return;
      if (!this.#fresh || this.#failures > 0)
        await sleep(this.#chain.clock, this.#waitMs(), this.#wake.signal);
    }
  }

  async #poll(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    const at = await this.#chain.confirmed();
    const gone = await this.#vanished(at);
    if (gone === 'lagging') return;
    if (gone) {
      this.#seen.clear();
      this.#handlers.onReorg?.(gone, at);
    }
    if (!gone && !this.#fresh && this.#last?.hash === at.hash) return;
    this.#fresh = false;
    try {
      await this.#read(at);
    } catch (thrown) {
      this.#fresh = true;
      throw thrown;
    }
    this.#remember(at);
    this.#handlers.onBlock?.(at);
  }

  async #read(at: Head): Promise<void> {
    const watched = [...this.#watched.values()];
    const facts = await this.#escrow.readChannels(
      watched.map(({ key }) => key),
      at,
    );
    const changes = watched.flatMap(({ known }, index) => {
      const now = facts[index]!;
      return known && same(known, now) ? [] : [{ facts: now, before: known }];
    });
    if (this.#stopping.signal.aborted) return;
    if (changes.length > 0) await this.#handlers.onFacts(changes, at);
    for (const [index, entry] of watched.entries()) entry.known = facts[index]!;
  }

  /** The block last reported where it is gone, `lagging` where the node is only behind, else undefined. */
  async #vanished(at: Head): Promise<Head | 'lagging' | undefined> {
    const last = this.#last;
    if (!last || last.hash === at.hash) return undefined;
    if (at.parentHash === last.hash) return undefined;
    if (at.number < last.number) return this.#seen.get(at.number) === at.hash ? 'lagging' : last;
    const now = at.number === last.number ? at : await this.#chain.block(last.number);
    return now?.hash === last.hash ? undefined : last;
  }

  #remember(at: Head): void {
    this.#last = at;
    this.#seen.set(at.number, at.hash);
    if (this.#seen.size <= rememberedMax) return;
    const oldest = this.#seen.keys().next().value;
    if (oldest !== undefined) this.#seen.delete(oldest);
  }

  #answered(): void {
    this.#failures = 0;
    if (this.#reachable) return;
    this.#reachable = true;
    this.#handlers.onReachable?.();
  }

  #refused(error: PieceworkError): void {
    this.#failures++;
    if (!this.#reachable) return;
    if (error.code === 'CHAIN_REJECTED' && this.#failures < refusalsMax) return;
    this.#reachable = false;
    this.#handlers.onUnreachable?.(error);
  }

  #waitMs(): number {
    const doubled = this.#options.pollMs * 2 ** Math.min(this.#failures, 20);
    return this.#failures === 0 ? this.#options.pollMs : Math.min(doubled, this.#options.backoffMsMax);
  }
}

function same(a: ChannelFacts, b: ChannelFacts): boolean {
  return (
    a.deposit === b.deposit &&
    a.settled === b.settled &&
    a.closeAt === b.closeAt &&
    sameBytes(a.owner, b.owner)
  );
}
