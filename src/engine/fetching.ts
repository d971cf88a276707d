/**
 * One download from start to end: its peers, its money if it has a budget, its progress, and how it ends. It
 * joins fetcher, payer and session; each decides for itself.
 */
import type { Bans } from '../accounting/bans.js';
import type { Standing } from '../accounting/payer.js';
import { formatAddress } from '../channels/channel.js';
import type { PayLink } from '../channels/link.js';
import type { Ack, RejectCode } from '../channels/message.js';
import { type Clock, sleep } from '../clock.js';
import { type ErrorCode, from, PieceworkError } from '../errors.js';
import { fetchHopelessMs, fetchIdleMs, finishTimeoutMs, pieceTimeoutMs, stalledPauseMs } from '../limits.js';
import * as Discovery from '../torrent/discovery.js';
import * as Fetchers from '../torrent/fetcher.js';
import type { Hasher } from '../torrent/hasher.js';
import type { Metainfo } from '../torrent/metainfo.js';
import type { Storage } from '../torrent/storage.js';
import { NAME } from '../wire/extension.js';
import * as Metadata from '../wire/metadata.js';
import type { Peer } from '../wire/peer.js';
import type { Session } from '../wire/session.js';
import type { Buying } from './buying.js';
import { createDialling, type Dialling } from './dialling.js';
import { createLinks, type Links } from './links.js';
import type { FetchEnd, FetchEvent } from './operations.js';

export interface FetchingOptions {
  readonly metainfo: Metainfo;
  readonly storage: Storage;
  readonly hasher: Hasher;
  readonly session: Session;
  readonly clock: Clock;
  readonly random: () => number;
  readonly folder: string;
  readonly budget: bigint;
  /** Undefined downloads for free only. */
  readonly makeBuying: ((events: BuyingEvents) => Promise<Buying>) | undefined;
  readonly peers: ReadonlyArray<{ readonly address: string; readonly port: number }>;
  readonly port: number;
  readonly bans: Bans;
  readonly onEvent: (event: FetchEvent) => void;
  readonly signal: AbortSignal | undefined;
}

export interface BuyingEvents {
  onStanding(link: PayLink, standing: Standing, code?: RejectCode): void;
  onAck(link: PayLink, ack: Ack, voucherKey: Uint8Array): void;
  onReceipt(link: PayLink, receipt: { session: Uint8Array; bytes: bigint; amount: bigint }): void;
  onFailure(reason: unknown): void;
  onTrouble(reason: unknown): void;
}

const PROGRESS_MS = 100;
const WAKE_MS = 1_000;
const RATE_SECONDS = 2;
/** A peer that has not said within this time what it speaks is taken for one that asks nothing. */
const SILENT_MS = 2_000;

export async function runFetch(options: FetchingOptions): Promise<FetchEnd> {
  const run = new Fetching(options);
  try {
    return await run.toEnd();
  } finally {
    await run.close();
  }
}

class Fetching {
  readonly #options: FetchingOptions;
  readonly #peers = new Map<number, Peer>();
  readonly #joinedMs = new Map<number, number>();
  /** When each peer last delivered a piece, or joined. */
  readonly #deliveredMs = new Map<number, number>();
  readonly #leaving = new Set<Promise<void>>();
  readonly #dialling: Dialling;
  readonly #fetcher: Fetchers.Fetcher;
  #buying: Buying | undefined;
  #links: Links | undefined;
  #discovery: Discovery.Discovery | undefined;
  #fail: (reason: unknown) => void = () => {};
  readonly #failed: Promise<never>;
  readonly #stops: Array<() => void> = [];
  #spent = 0n;
  #lastRefusal: RejectCode | undefined;
  #trouble: PieceworkError | undefined;
  #wokenMs = 0;
  #advancedMs: number;
  #piecesSeen = 0;
  #hopelessMs: number | undefined;
  #rates: Array<{ ms: number; bytes: number }> = [];

  constructor(options: FetchingOptions) {
    this.#options = options;
    this.#advancedMs = options.clock.monotonicMs();
    this.#failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.#failed.catch(() => undefined);
    const { metainfo, storage, hasher, clock, random, session, bans } = options;
    this.#dialling = createDialling({
      clock,
      bans,
      connected: () => [...this.#peers.values()],
      dial: (target) => session.dial({ ...target, infohash: metainfo.infohashHex }),
    });
    this.#fetcher = Fetchers.create({
      torrent: metainfo,
      storage,
      hasher,
      clock,
      random,
      till: {
        reserve: (peer, piece, bytes) => this.#reserve(peer as Peer, piece, bytes),
        arrived: (peer, piece, bytes) => this.#arrived(peer as Peer, piece, bytes),
        received: (peer, piece, bytes) => this.#received(peer as Peer, piece, bytes),
        abandoned: (peer, piece) => this.#abandoned(peer as Peer, piece),
      },
      rank: (peer) => this.#rank(peer as Peer),
      onBadPiece: (peer, piece) => this.#ban(peer as Peer, `sent a bad piece ${piece}`),
    });
  }

  async toEnd(): Promise<FetchEnd> {
    const { makeBuying, signal, storage } = this.#options;
    if (makeBuying) await this.#startBuying(makeBuying);
    const aborted = new Promise<never>((_, reject) => {
      const stop = (): void => reject(new PieceworkError('INTERRUPTED'));
      if (signal?.aborted) stop();
      signal?.addEventListener('abort', stop, { once: true });
    });
    aborted.catch(() => undefined);
    this.#start();
    try {
      if (!storage.complete()) await Promise.race([this.#fetcher.done, aborted, this.#failed]);
      else if (this.#buying) await Promise.race([this.#waitForSellers(this.#buying), aborted, this.#failed]);
    } catch (thrown) {
      await this.#finish();
      throw thrown;
    }
    const acknowledged = await this.#finish();
    if (this.#buying) this.#spent = await this.#buying.spent();
    this.#report();
    return this.#end(acknowledged);
  }

  async close(): Promise<void> {
    for (const stop of this.#stops) stop();
    await this.#fetcher.stop();
    await this.#discovery?.stop();
    this.#options.session.remove(this.#options.metainfo.infohashHex);
    await Promise.allSettled(this.#leaving);
    await this.#options.storage.close();
  }

  /** Ends a link's session in the books; closing waits for it. */
  #leave(link: PayLink): void {
    const work = this.#buying!.detach(link).catch(this.#fail);
    this.#leaving.add(work);
    void work.finally(() => this.#leaving.delete(work));
  }

  async #startBuying(make: NonNullable<FetchingOptions['makeBuying']>): Promise<void> {
    this.#buying = await make({
      onStanding: (link, standing, code) => this.#onStanding(link, standing, code),
      onAck: (_link, { authorized }, voucherKey) =>
        this.#options.onEvent({
          event: 'ack',
          voucherKey: formatAddress(voucherKey),
          authorized: String(authorized),
        }),
      onReceipt: (_link, { session, bytes, amount }) =>
        this.#options.onEvent({
          event: 'receipt',
          session: Buffer.from(session).toString('hex'),
          bytes: String(bytes),
          amount: String(amount),
        }),
      onFailure: (reason) => this.#fail(reason),
      onTrouble: (reason) => this.#onTrouble(reason),
    });
    const { payer } = this.#buying;
    this.#links = createLinks(
      {
        onReady: (link) => payer.attach(link),
        onMessage: (link, message) => payer.onMessage(link, message),
        onInvalid: (link, refused, code) => {
          if (refused !== 'reject') link.send({ type: 'reject', refused, code, detail: '' });
        },
        onClosed: (link) => {
          this.#leave(link);
        },
      },
      (fault) => this.#onTrouble(fault),
    );
    this.#spent = await this.#buying.spent();
  }

  #start(): void {
    const { session, metainfo, clock, port, peers, storage } = this.#options;
    const extensions = [Metadata.serving(metainfo.infoBytes)];
    if (this.#links) extensions.push(this.#links.extension as never);
    session.add({
      infohash: metainfo.infohashHex,
      pieceCount: metainfo.pieceCount,
      extensions,
      onPeer: (peer) => this.#welcome(peer),
    });
    for (const peer of peers) this.#dialling.learn(peer);
    this.#discovery = Discovery.start({
      infohash: metainfo.infohash,
      peerId: session.peerId,
      announce: metainfo.announce,
      port,
      clock,
      left: () => metainfo.totalBytes - this.#fetcher.progress().bytes,
      downloaded: () => this.#fetcher.progress().arrivedBytes,
      onPeers: (found) => {
        for (const peer of found) this.#dialling.learn(peer);
      },
      onWarning: (text) => this.#options.onEvent({ event: 'warning', text }),
    });
    this.#stops.push(() => this.#dialling.stop());
    this.#stops.push(clock.every(PROGRESS_MS, () => this.#tick()));
    if (!storage.complete()) this.#report();
  }

  #welcome(peer: Peer): void {
    const { storage, metainfo, clock } = this.#options;
    const fetcher = this.#fetcher;
    if (this.#dialling.isUnwanted(peer.address)) return peer.destroy('banned or stalled before');
    this.#peers.set(peer.id, peer);
    this.#joinedMs.set(peer.id, clock.monotonicMs());
    this.#deliveredMs.set(peer.id, clock.monotonicMs());
    this.#links?.bind(peer);
    peer.handlers = {
      onPieces: (index) => fetcher.pieces(peer, index),
      onChoke: () => fetcher.choked(peer),
      onUnchoke: () => fetcher.unchoked(peer),
      onBlock: (index, offset, bytes) => fetcher.block(peer, index, offset, bytes),
      onReject: (index, offset, length) => fetcher.rejected(peer, index, offset, length),
      onExtended: () => fetcher.resume(peer),
      onClose: () => {
        this.#peers.delete(peer.id);
        this.#joinedMs.delete(peer.id);
        this.#deliveredMs.delete(peer.id);
        fetcher.leave(peer);
        this.#links?.end(peer);
      },
    };
    peer.bitfield(storage.bits, metainfo.pieceCount);
    fetcher.join(peer);
  }

  /** The seller behind a peer: a link that may cost money, nothing, or not known yet. */
  #seller(peer: Peer): PayLink | 'free' | 'unknown' {
    if (!this.#buying) return 'free';
    const link = this.#links?.linkOf(peer);
    if (peer.supports(NAME) && link) {
      return this.#buying.payer.standingOf(link) === 'refused' ? 'free' : link;
    }
    const silentMs = this.#options.clock.monotonicMs() - (this.#joinedMs.get(peer.id) ?? 0);
    return peer.client !== '' || silentMs > SILENT_MS ? 'free' : 'unknown';
  }

  #rank(peer: Peer): number | undefined {
    const seller = this.#seller(peer);
    if (seller === 'free') return -1;
    if (seller === 'unknown' || this.#buying?.payer.standingOf(seller) !== 'ready') return undefined;
    // Among sellers the cheapest goes first.
    return Number(this.#buying.payer.offerOf(seller)?.priceMiB ?? 0n);
  }

  #reserve(peer: Peer, piece: number, bytes: number): Fetchers.Reservation | Promise<Fetchers.Reservation> {
    const seller = this.#seller(peer);
    if (seller === 'free') return 'ok';
    return seller === 'unknown' ? 'wait' : this.#buying!.payer.reserve(seller, piece, bytes);
  }

  #arrived(peer: Peer, piece: number, bytes: number): void {
    const link = this.#links?.linkOf(peer);
    if (link) this.#buying?.payer.arrived(link, piece, bytes);
  }

  async #received(peer: Peer, piece: number, bytes: number): Promise<void> {
    if (!peer.closed) this.#deliveredMs.set(peer.id, this.#options.clock.monotonicMs());
    const link = this.#links?.linkOf(peer);
    if (!link || !this.#buying) return;
    await this.#buying.payer.received(link, piece, bytes);
  }

  #abandoned(peer: Peer, piece: number): void {
    const link = this.#links?.linkOf(peer);
    if (!link || !this.#buying) return;
    void this.#buying.payer.abandoned(link, piece).catch(this.#fail);
    this.#dropStalled(peer, link);
  }

  /**
   * A seller that lets a piece wait until patience ends is left, and for a while alone: while it is here, the
   * money that is promised to it is missing for others.
   */
  #dropStalled(peer: Peer, link: PayLink): void {
    const { clock, onEvent } = this.#options;
    const nowMs = clock.monotonicMs();
    const silentMs = nowMs - (this.#deliveredMs.get(peer.id) ?? nowMs);
    if (peer.closed || silentMs < pieceTimeoutMs || this.#buying?.payer.standingOf(link) !== 'ready') return;
    this.#dialling.pause(peer.address, stalledPauseMs);
    onEvent({ event: 'warning', text: `${peer.address} sells and does not deliver; it is left for a while` });
    peer.destroy('stalled');
  }

  /** Ends a peer that cheated, and refuses its address for an hour. */
  #ban(peer: Peer, why: string): void {
    const { bans, onEvent } = this.#options;
    bans.ban(peer.address);
    onEvent({ event: 'warning', text: `${peer.address} ${why}; it is banned` });
    peer.destroy(why);
  }

  /** A seller cannot be paid, or a connection failed: it is said, and told as the reason if nobody else is left. */
  #onTrouble(reason: unknown): void {
    const error = from(reason);
    if (error.message !== this.#trouble?.message)
      this.#options.onEvent({ event: 'warning', text: error.message });
    this.#trouble = error;
  }

  #onStanding(link: PayLink, standing: Standing, code?: RejectCode): void {
    if (standing === 'refused' || standing === 'exhausted') this.#lastRefusal = code;
    const peer = this.#links?.peerOf(link);
    if (!peer) return;
    if (standing === 'refused' && code === 'rate_limited') this.#ban(peer, 'floods with offers');
    else this.#fetcher.resume(peer);
  }

  #tick(): void {
    const { clock, storage } = this.#options;
    const nowMs = clock.monotonicMs();
    const { pieces } = this.#fetcher.progress();
    if (pieces !== this.#piecesSeen || this.#buying?.busy) this.#advancedMs = nowMs;
    this.#piecesSeen = pieces;
    if (storage.complete()) return;
    void this.#buying?.spent().then((spent) => {
      this.#spent = spent;
    }, this.#fail);
    this.#report();
    // Whoever waits is asked again now and then, whatever it waits for.
    if (nowMs - this.#wokenMs > WAKE_MS) {
      this.#wokenMs = nowMs;
      this.#fetcher.resume();
    }
    const idleMs = nowMs - this.#advancedMs;
    const hopeless = this.#hopeless();
    // Money that comes back, or a seller that comes, needs a moment to change anything.
    this.#hopelessMs = hopeless && (this.#hopelessMs ?? nowMs);
    const hopelessForMs = nowMs - (this.#hopelessMs ?? nowMs);
    if (hopeless && Math.min(idleMs, hopelessForMs) > fetchHopelessMs) this.#fail(hopeless);
    else if (idleMs > fetchIdleMs) this.#fail(new PieceworkError('NO_PEERS'));
  }

  /** Why waiting will not help: every peer here wants more money than there is or is allowed, or refuses. */
  #hopeless(): PieceworkError | undefined {
    const peers = [...this.#peers.values()];
    // A seller that is leaving frees money, and one that a channel is being chosen for may get some.
    if (!this.#buying || this.#buying.busy || this.#leaving.size > 0 || peers.length === 0) return undefined;
    if (peers.some((peer) => !peer.peerChoking && this.#rank(peer) === -1)) return undefined;
    const standings = peers.map((peer) => {
      const link = this.#links?.linkOf(peer);
      return link && this.#buying!.payer.standingOf(link);
    });
    if (standings.some((standing) => standing === 'ready' || standing === 'waiting')) return undefined;
    if (standings.includes('exhausted')) {
      if (this.#lastRefusal === undefined && this.#trouble) return this.#trouble;
      const code: ErrorCode =
        this.#lastRefusal === 'deposit_exhausted' ? 'DEPOSIT_EXHAUSTED' : 'BUDGET_EXHAUSTED';
      return new PieceworkError(code);
    }
    if (this.#lastRefusal === 'price_too_high') return new PieceworkError('PRICE_TOO_HIGH');
    const refused = standings.every((standing) => standing === 'refused') && this.#lastRefusal;
    return refused
      ? new PieceworkError('NO_PEERS', `every seller here refuses to sell: ${refused}`)
      : undefined;
  }

  #report(): void {
    const { budget, clock, onEvent } = this.#options;
    const progress = this.#fetcher.progress();
    const nowMs = clock.monotonicMs();
    this.#rates.push({ ms: nowMs, bytes: progress.arrivedBytes });
    while (this.#rates.length > 2 && nowMs - this.#rates[0]!.ms > RATE_SECONDS * 1000) this.#rates.shift();
    const [first] = this.#rates;
    const spanMs = Math.max(1, nowMs - first!.ms);
    onEvent({
      event: 'progress',
      pieces: progress.pieces,
      piecesTotal: progress.pieceCount,
      bytes: progress.bytes,
      bytesTotal: progress.totalBytes,
      bytesPerSecond: Math.round(((progress.arrivedBytes - first!.bytes) * 1000) / spanMs),
      peers: this.#peers.size,
      spent: String(this.#spent),
      budget: String(budget),
    });
  }

  /** Everything was here before, but a payee may not have its last voucher: waits for it to come by. */
  async #waitForSellers(buying: Buying): Promise<void> {
    const { clock } = this.#options;
    const untilMs = clock.monotonicMs() + finishTimeoutMs;
    while (clock.monotonicMs() < untilMs && !(await buying.acknowledged())) await sleep(clock, 50);
  }

  #openLinks(): PayLink[] {
    return [...this.#peers.values()].flatMap((peer) => {
      const link = this.#links?.linkOf(peer);
      return link && !link.closed ? [link] : [];
    });
  }

  /** Sends the last vouchers; true when every payee acknowledged them. */
  async #finish(): Promise<boolean> {
    if (!this.#buying) return true;
    const { payer } = this.#buying;
    await Promise.all(this.#openLinks().map((link) => payer.finish(link, finishTimeoutMs)));
    return this.#buying.acknowledged();
  }

  async #end(acknowledged: boolean): Promise<FetchEnd> {
    const bought = await this.#buying?.bought();
    return {
      event: 'done',
      folder: this.#options.folder,
      bytes: this.#options.metainfo.totalBytes,
      piecesBought: bought?.pieces ?? 0,
      bytesBought: bought?.bytes ?? 0,
      spent: String(bought?.owed ?? 0n),
      vouchers: bought?.vouchers ?? 0,
      acknowledged,
    };
  }
}
