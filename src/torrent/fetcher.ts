/**
 * Downloads one torrent from many peers. Each piece is asked of exactly one peer as a whole, so that a piece
 * has one payee and one culprit; each peer is kept busy by a pipeline that grows with its speed. Whether a
 * piece may be asked of a peer, and what it costs, is asked of the till.
 *
 * Invariant: every reservation that the till granted ends in exactly one `received` or one `abandoned`.
 */
import type { Clock } from '../clock.js';
import { from, type PieceworkError } from '../errors.js';
import { pieceBufferBytesMax } from '../limits.js';
import type { Hasher } from './hasher.js';
import * as Layout from './layout.js';
import * as Picker from './picker.js';
import type { FetchPeer, Source } from './source.js';
import * as Sources from './source.js';
import type { Storage, Stored } from './storage.js';
import * as Verifier from './verifier.js';

export type { FetchPeer } from './source.js';

export type Reservation = 'ok' | 'wait' | 'stop';

export interface Till {
  /** Asked before the first request of a piece. After 'wait' or 'stop', call `resume`. */
  reserve(peer: FetchPeer, piece: number, bytes: number): Reservation | Promise<Reservation>;
  /** A block of a reserved piece has come. */
  arrived?(peer: FetchPeer, piece: number, bytes: number): void;
  /** The piece is verified and written. A rejection ends the download. */
  received(peer: FetchPeer, piece: number, bytes: number): Promise<void>;
  /** The reserved piece will not come from this peer. */
  abandoned(peer: FetchPeer, piece: number): void;
}

export interface FetcherOptions {
  readonly torrent: Stored;
  readonly storage: Pick<Storage, 'has' | 'writePiece' | 'count' | 'complete' | 'sync'>;
  readonly hasher: Hasher;
  readonly till: Till;
  readonly clock: Clock;
  /** A number from 0 to 1, without 1. */
  readonly random: () => number;
  /** Lower goes first; undefined means not now. */
  readonly rank?: (peer: FetchPeer) => number | undefined;
  /** A peer alone supplied a piece that failed its hash. It is closed after this. */
  readonly onBadPiece?: (peer: FetchPeer, piece: number) => void;
  readonly onPiece?: (piece: number, peer: FetchPeer) => void;
  readonly bufferBytesMax?: number;
  readonly timeouts?: Partial<Sources.Timeouts>;
}

export interface FetchProgress {
  readonly pieces: number;
  readonly pieceCount: number;
  /** Verified bytes of the torrent that are there. */
  readonly bytes: number;
  readonly totalBytes: number;
  /** Payload bytes that arrived in this run, wanted or not. */
  readonly arrivedBytes: number;
  readonly piecesUnderway: number;
  readonly badPieces: number;
  readonly peers: number;
}

export interface Fetcher {
  /** Fulfilled when all is there and synced, or after `stop`; rejected when the disk or the till fails. */
  readonly done: Promise<'complete' | 'stopped'>;
  join(peer: FetchPeer): void;
  leave(peer: FetchPeer): void;
  /** The peer's pieces changed: one, or many when `index` is undefined. */
  pieces(peer: FetchPeer, index: number | undefined): void;
  choked(peer: FetchPeer): void;
  unchoked(peer: FetchPeer): void;
  /** `bytes` are copied. */
  block(peer: FetchPeer, index: number, offset: number, bytes: Uint8Array): void;
  rejected(peer: FetchPeer, index: number, offset: number, length: number): void;
  /** The till may answer differently now, for one peer or for all. */
  resume(peer?: FetchPeer): void;
  progress(): FetchProgress;
  /** Payload bytes a second from this peer, over the last second. */
  rateOf(peer: FetchPeer): number;
  stop(): Promise<void>;
}

const TICK_MS = 250;

export function create(options: FetcherOptions): Fetcher {
  const { torrent, storage, till, clock } = options;
  const timeouts = { ...Sources.TIMEOUTS, ...options.timeouts };
  const bufferMax = options.bufferBytesMax ?? pieceBufferBytesMax;
  const sources = new Map<number, Source>();
  const picker = Picker.create(torrent.pieceCount, storage.has, options.random);
  /** Memory of written pieces, for the next ones: never more than was in use at a time. */
  const spare: Uint8Array[] = [];
  let bufferBytes = 0;
  let arrivedBytes = 0;
  let badPieces = 0;
  let bytesThere = 0;
  let state: 'running' | 'ended' = 'running';
  for (let index = 0; index < torrent.pieceCount; index++) {
    if (storage.has(index)) bytesThere += Layout.pieceBytes(torrent, index);
  }
  let settle: { resolve(how: 'complete' | 'stopped'): void; reject(error: PieceworkError): void };
  const done = new Promise<'complete' | 'stopped'>((resolve, reject) => {
    settle = { resolve, reject };
  });
  // Whoever waits for it hears of a failure; nobody has to.
  done.catch(() => {});

  const sizeOf = (piece: number): number => Layout.pieceBytes(torrent, piece);
  const memoryFor = (piece: number): Uint8Array | undefined =>
    sizeOf(piece) === torrent.pieceLength ? spare.pop() : undefined;
  const mayStart = (piece: number): boolean => bufferBytes === 0 || bufferBytes + sizeOf(piece) <= bufferMax;
  const rankOf = (source: Source): number | undefined => (options.rank ? options.rank(source.peer) : 0);

  /** Keeps the source's pipeline full: first the pieces it has begun, then new ones. */
  const fill = (source: Source): void => {
    while (state === 'running' && source.hasRoom()) {
      if (source.askNext()) continue;
      if (!source.mayTake(clock.monotonicMs()) || rankOf(source) === undefined) return;
      const piece = picker.take(source.peer.id, (index) => mayStart(index) && !source.refuses(index));
      if (piece === undefined) return;
      reserve(source, piece);
    }
  };
  const fillAll = (): void => {
    const ranked = [...sources.values()].map((source) => ({
      source,
      rank: rankOf(source) ?? Number.POSITIVE_INFINITY,
    }));
    for (const { source } of ranked.sort((a, b) => a.rank - b.rank)) fill(source);
  };
  const reserve = (source: Source, piece: number) => {
    bufferBytes += sizeOf(piece);
    source.reserving(piece, sizeOf(piece));
    const refused = (thrown: unknown): void => {
      reserved(source, piece, 'stop');
      fail(from(thrown));
    };
    try {
      const answer = till.reserve(source.peer, piece, sizeOf(piece));
      if (typeof answer === 'string') return reserved(source, piece, answer);
      answer.then((reservation) => {
        reserved(source, piece, reservation);
        if (reservation === 'ok') fill(source);
      }, refused);
    } catch (thrown) {
      refused(thrown);
    }
  };
  const reserved = (source: Source, piece: number, reservation: Reservation) => {
    source.reserved(piece);
    if (reservation === 'ok' && state === 'running' && sources.get(source.peer.id) === source) {
      return source.begin(piece, sizeOf(piece), clock.monotonicMs(), memoryFor(piece));
    }
    giveBack(piece);
    if (reservation === 'ok') till.abandoned(source.peer, piece);
    else source.pause();
  };
  const giveBack = (piece: number): void => {
    bufferBytes -= sizeOf(piece);
    picker.release(piece);
  };
  const abandon = (source: Source, pieces: readonly number[]): void => {
    for (const piece of pieces) {
      if (!source.abandon(piece)) continue;
      giveBack(piece);
      till.abandoned(source.peer, piece);
    }
    if (pieces.length > 0 && state === 'running') fillAll();
  };

  const verifier = Verifier.create<Source>(torrent, storage, options.hasher, {
    free(memory) {
      if (memory.length === torrent.pieceLength && state === 'running') spare.push(memory);
    },
    async written(piece, bytes, { peer }) {
      bufferBytes -= bytes;
      bytesThere += bytes;
      picker.finish(piece);
      for (const other of sources.values()) {
        if (!other.peer.has(piece)) other.peer.have(piece);
        interest(other);
      }
      options.onPiece?.(piece, peer);
      await till.received(peer, piece, bytes);
      if (storage.complete()) void complete();
      else fillAll();
    },
    bad(piece, _bytes, { peer }) {
      badPieces++;
      giveBack(piece);
      till.abandoned(peer, piece);
      options.onBadPiece?.(peer, piece);
      peer.destroy(`piece ${piece} failed its hash`);
      fillAll();
    },
    failed(piece, bytes, { peer }, error) {
      // A piece that is written but not paid is not given up: the till has it or has said why not.
      if (!storage.has(piece)) {
        bufferBytes -= bytes;
        picker.release(piece);
        till.abandoned(peer, piece);
      }
      fail(error);
    },
  });
  const interest = ({ peer }: Source): void => {
    if (picker.hasWanted(peer.id)) peer.interested();
    else peer.notInterested();
  };
  const end = (): void => {
    state = 'ended';
    spare.length = 0;
    stopTick();
    for (const source of sources.values()) abandon(source, source.pieces());
  };
  const complete = async (): Promise<void> => {
    if (state === 'ended') return;
    end();
    try {
      await verifier.idle();
      await storage.sync();
      settle.resolve('complete');
    } catch (thrown) {
      settle.reject(from(thrown, 'IO'));
    }
  };
  const fail = (error: PieceworkError): void => {
    if (state === 'running') end();
    settle.reject(error);
  };
  const tick = (): void => {
    const nowMs = clock.monotonicMs();
    for (const source of sources.values()) abandon(source, source.overdue(nowMs));
    const idle = [...sources.values()].some(
      (source) => source.idles(nowMs) && picker.hasWanted(source.peer.id),
    );
    // Nothing is left to begin: what is stuck with a slow peer goes to one that has nothing to do.
    if (idle && picker.freeCount() === 0) {
      for (const source of sources.values()) abandon(source, source.stuck(nowMs));
    }
    fillAll();
  };
  const stopTick = clock.every(TICK_MS, tick);
  if (storage.complete()) void complete();

  return {
    done,
    join(peer) {
      if (state !== 'running' || sources.has(peer.id)) return;
      sources.set(peer.id, Sources.create(peer, timeouts, clock.monotonicMs()));
      this.pieces(peer, undefined);
    },
    leave(peer) {
      const source = sources.get(peer.id);
      if (!source) return;
      sources.delete(peer.id);
      picker.forget(peer.id);
      abandon(source, source.pieces());
    },
    pieces(peer, index) {
      const source = sources.get(peer.id);
      if (!source) return;
      if (index === undefined) picker.learn(peer.id, (at) => peer.has(at));
      else picker.learnOne(peer.id, index);
      interest(source);
      fill(source);
    },
    choked(peer) {
      sources.get(peer.id)?.choked(clock.monotonicMs());
    },
    unchoked(peer) {
      const source = sources.get(peer.id);
      if (source) fill(source);
    },
    block(peer, index, offset, bytes) {
      arrivedBytes += bytes.length;
      const source = sources.get(peer.id);
      if (!source) return;
      const taken = source.block(index, offset, bytes, clock.monotonicMs());
      if (taken !== false) till.arrived?.(peer, index, bytes.length);
      if (typeof taken !== 'boolean') verifier.add(index, taken, source);
      fill(source);
    },
    rejected(peer, index, offset) {
      const source = sources.get(peer.id);
      if (!source) return;
      // A peer that refuses while it does not choke will not serve the piece: somebody else may.
      if (source.rejected(index, offset, clock.monotonicMs())) abandon(source, [index]);
    },
    resume(peer) {
      for (const source of sources.values()) if (!peer || source.peer.id === peer.id) source.unpause();
      fillAll();
    },
    progress: () => ({
      pieces: storage.count(),
      pieceCount: torrent.pieceCount,
      bytes: bytesThere,
      totalBytes: torrent.totalBytes,
      arrivedBytes,
      piecesUnderway: [...sources.values()].reduce((sum, source) => sum + source.pieces().length, 0),
      badPieces,
      peers: sources.size,
    }),
    rateOf: (peer) => sources.get(peer.id)?.rate(clock.monotonicMs()) ?? 0,
    async stop() {
      if (state === 'running') end();
      await verifier.idle();
      settle.resolve('stopped');
    },
  };
}
