/**
 * Watches channels on the chain, block by block, and reports what counts of them (tiers.ts) when it changes.
 * It decides nothing. The escrow's logs say which channels to read again; the truth is the view at a block
 * hash. A change counts as reported once its handler has returned, so a crash or a failed handler repeats it.
 *
 * Invariants: facts reported together are of one head; readings never overtake each other; after a
 * reorganisation, a gap, and every so many blocks all channels are read again whatever the logs say, so what
 * is reported is what a watcher that starts now would report; an outage is waited out.
 */
import { type ChannelKey, channelId } from '../channels/channel.js';
import { sleep } from '../clock.js';
import { from as fromThrown, PieceworkError } from '../errors.js';
import * as limits from '../limits.js';
import { toHex } from '../units.js';
import type { Head } from './answers.js';
import { createBranch } from './branch.js';
import type { Chain } from './chain.js';
import type { EscrowBackend } from './escrow.js';
import { createHints } from './hints.js';
import { createReader, type Reader } from './reading.js';
import type { Counted, Tier } from './tiers.js';

export interface Change {
  readonly facts: Counted;
  /** As reported last, or undefined the first time. */
  readonly before: Counted | undefined;
}

export interface WatcherHandlers {
  /** Channels that changed since they were reported last; all of them after a reorganisation. Awaited; a
   * rejection ends the watcher. */
  readonly onFacts: (changes: readonly Change[], at: Head) => Promise<void> | void;
  /** The watcher cannot go on: a handler failed. */
  readonly onFailure: (error: PieceworkError) => void;
  /** The chain reached this block and every watched channel is known as of it. */
  readonly onBlock?: (at: Head) => void;
  /** Blocks that were reported are gone, `gone` the newest of them and at most `depth` of them. */
  readonly onReorg?: (gone: Head, at: Head, depth: bigint) => void;
  /** The chain or the escrow cannot be read, or is not what it was; it is tried again. Told once for each code. */
  readonly onUnreachable?: (error: PieceworkError) => void;
  readonly onReachable?: () => void;
}

export interface WatcherOptions {
  /** Shallowest first. */
  readonly tiers: readonly Tier[];
  readonly pollMs?: number;
  /** The longest wait between tries while the chain does not answer. */
  readonly backoffMsMax?: number;
  /** Blocks after which all channels are read again although no log asked for it. */
  readonly sweepBlocks?: number;
}

interface Watched {
  readonly key: ChannelKey;
  known: Counted | undefined;
}

const backoffMsMax = 10_000;
const watchedMax = 100_000;
/** Refusals in a row after which a node counts as not answering: it may just have dropped the block asked for. */
const refusalsMax = 3;

export class Watcher {
  readonly #chain: Pick<Chain, 'head' | 'block' | 'clock'>;
  readonly #handlers: WatcherHandlers;
  readonly #options: Required<WatcherOptions>;
  readonly #read: Reader;
  readonly #branch: ReturnType<typeof createBranch>;
  readonly #hints: ReturnType<typeof createHints>;
  readonly #watched = new Map<string, Watched>();
  /** Watched and never read since. */
  readonly #unread = new Set<string>();
  readonly #stopping = new AbortController();
  /** The head of the last sweep. */
  #sweptAt: bigint | undefined;
  /** Facts of this block were told or are booked: until the chain is there again, everything is told at every look. */
  #repeatTo: bigint | undefined;
  #lane: Promise<unknown> = Promise.resolve();
  #loop: Promise<void> | undefined;
  #wake = new AbortController();
  #failures = 0;
  /** What the chain was last said to fail with. */
  #trouble: string | undefined;
  /** What the handler failed with. */
  #broken: PieceworkError | undefined;

  constructor(
    chain: Pick<Chain, 'head' | 'block' | 'clock'>,
    escrow: Pick<EscrowBackend, 'readChannels' | 'events'>,
    handlers: WatcherHandlers,
    options: WatcherOptions,
  ) {
    this.#chain = chain;
    this.#handlers = handlers;
    this.#options = { pollMs: limits.chainPollMs, backoffMsMax, sweepBlocks: limits.sweepBlocks, ...options };
    this.#read = createReader(chain, escrow, options.tiers);
    this.#branch = createBranch(chain);
    this.#hints = createHints(escrow, options.tiers);
  }

  /** Channels watched now. */
  get size(): number {
    return this.#watched.size;
  }

  /**
   * Watches a channel; it is reported when it is first read, and from then on when it changes. `bookedAt` is the
   * block of what the caller knows of it. @throws PieceworkError QUEUE_FULL.
   */
  watch(key: ChannelKey, bookedAt = 0n): void {
    const id = toHex(channelId(key));
    if (this.#watched.has(id)) return;
    if (this.#watched.size >= watchedMax) {
      throw new PieceworkError('QUEUE_FULL', `${watchedMax} channels are watched already`);
    }
    this.#watched.set(id, { key: { voucherKey: key.voucherKey, payee: key.payee }, known: undefined });
    this.#unread.add(id);
    this.#repeatUntil(bookedAt);
    this.#wake.abort();
  }

  unwatch(key: ChannelKey): void {
    const id = toHex(channelId(key));
    this.#watched.delete(id);
    this.#unread.delete(id);
  }

  /** Begins polling; does nothing when it has begun. */
  start(): void {
    this.#loop ??= this.#run();
  }

  /** Ends polling; no handler runs once it has resolved. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#wake.abort();
    await Promise.allSettled([this.#loop, this.#lane]);
  }

  /** Looks at the chain now. @throws PieceworkError what the chain, the escrow or a handler throws. */
  poll(): Promise<void> {
    return this.#inLane(() => this.#poll());
  }

  /** Reads channels now, watched or not, in turn with what is reported. @throws PieceworkError CHAIN_*, HUB_MISMATCH. */
  look(keys: readonly ChannelKey[]): Promise<readonly Counted[]> {
    return this.#inLane(async () => this.#read(keys, await this.#chain.head()));
  }

  #inLane<T>(task: () => Promise<T>): Promise<T> {
    const run = this.#lane.then(task);
    this.#lane = run.catch(() => undefined);
    return run;
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      try {
        await this.poll();
        this.#answered();
      } catch (thrown) {
        if (this.#stopping.signal.aborted) return;
        if (this.#broken) return this.#handlers.onFailure(this.#broken);
        this.#refused(fromThrown(thrown));
      }
      this.#wake = new AbortController();
      if (this.#stopping.signal.aborted) return;
      if (this.#unread.size === 0 || this.#failures > 0)
        await sleep(this.#chain.clock, this.#waitMs(), this.#wake.signal);
    }
  }

  async #poll(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    const at = await this.#chain.head();
    const { last } = this.#branch;
    const standing = await this.#branch.standingOf(at);
    if (standing === 'lagging') return;
    if (standing === 'same' && this.#unread.size === 0) return;
    const replaced = standing === 'replaced';
    if (replaced) {
      this.#repeatUntil(last!.number);
      this.#handlers.onReorg?.(last!, at, last!.number - (await this.#branch.forkOf(at)));
    }
    const all = await this.#sweepIsDue(at, replaced);
    await this.#readAndReport(all ? [...this.#watched.keys()] : this.#due(at), at);
    if (all) this.#sweptAt = at.number;
    if (this.#repeatTo !== undefined && at.number >= this.#repeatTo) this.#repeatTo = undefined;
    this.#hints.forget(at.number);
    this.#branch.follow(at);
    this.#handlers.onBlock?.(at);
  }

  /** Takes in the logs of the new blocks. Whether everything has to be read whatever they say. */
  async #sweepIsDue(at: Head, replaced: boolean): Promise<boolean> {
    const { last } = this.#branch;
    const complete = await this.#hints.take(replaced ? undefined : last, at);
    if (!complete || this.#sweptAt === undefined || this.#repeatTo !== undefined) return true;
    return at.number - this.#sweptAt >= BigInt(this.#options.sweepBlocks);
  }

  #repeatUntil(block: bigint): void {
    if (this.#repeatTo === undefined || block > this.#repeatTo) this.#repeatTo = block;
  }

  #due(at: Head): readonly string[] {
    const due = this.#hints.due(this.#branch.last!, at);
    const ids = [...this.#watched].filter(
      ([id, { key }]) => this.#unread.has(id) || due.channels.has(id) || due.payees.has(toHex(key.payee)),
    );
    return ids.map(([id]) => id);
  }

  async #readAndReport(ids: readonly string[], at: Head): Promise<void> {
    const entries = ids.map((id) => this.#watched.get(id)!);
    const facts = await this.#read(
      entries.map(({ key }) => key),
      at,
    );
    const repeats = this.#repeatTo !== undefined;
    const changes = entries.flatMap(({ known }, index) => {
      const now = facts[index]!;
      return known && !repeats && same(known, now) ? [] : [{ facts: now, before: known }];
    });
    if (this.#stopping.signal.aborted) return;
    if (changes.length > 0) await this.#report(changes, at);
    for (const [index, entry] of entries.entries()) entry.known = facts[index]!;
    for (const id of ids) this.#unread.delete(id);
  }

  async #report(changes: readonly Change[], at: Head): Promise<void> {
    this.#broken = undefined;
    try {
      await this.#handlers.onFacts(changes, at);
    } catch (thrown) {
      this.#broken = fromThrown(thrown);
      throw thrown;
    }
  }

  #answered(): void {
    this.#failures = 0;
    if (this.#trouble === undefined) return;
    this.#trouble = undefined;
    this.#handlers.onReachable?.();
  }

  /** Whatever a node answers, looking on is all that helps: what it says may be of this node or this moment. */
  #refused(error: PieceworkError): void {
    this.#failures++;
    if (this.#trouble === error.code) return;
    if (error.code === 'CHAIN_REJECTED' && this.#failures < refusalsMax) return;
    this.#trouble = error.code;
    this.#handlers.onUnreachable?.(error);
  }

  #waitMs(): number {
    const doubled = this.#options.pollMs * 2 ** Math.min(this.#failures, 20);
    return this.#failures === 0 ? this.#options.pollMs : Math.min(doubled, this.#options.backoffMsMax);
  }
}

function same(a: Counted, b: Counted): boolean {
  return a.deposit === b.deposit && a.early === b.early && a.settled === b.settled && a.closeAt === b.closeAt;
}
