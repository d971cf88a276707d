/**
 * One peer as a source of pieces: what it was asked for, how fast it answers, how deep its pipeline is and
 * when patience ends. It asks and counts; which pieces it gets is the fetcher's choice.
 */
import { blockBytesMax, pieceTimeoutMs } from '../limits.js';
import * as Assembly from './assembly.js';

/** What the fetcher needs of a connection; the wire room's Peer has it. */
export interface FetchPeer {
  readonly id: number;
  readonly fast: boolean;
  readonly peerChoking: boolean;
  /** Requests the peer lets wait. */
  readonly reqq: number;
  has(index: number): boolean;
  interested(): void;
  notInterested(): void;
  have(index: number): void;
  request(index: number, offset: number, length: number): void;
  cancel(index: number, offset: number, length: number): void;
  destroy(detail: string): void;
}

export interface Timeouts {
  /** Without a block for this long, what was asked of a peer goes to others. */
  readonly pieceMs: number;
  /** The same, when another peer has nothing to do and nothing else is left. */
  readonly stuckMs: number;
  /** A piece that a peer refused is not asked of it again for this long. */
  readonly refusalMs: number;
}

export const TIMEOUTS: Timeouts = { pieceMs: pieceTimeoutMs, stuckMs: 5_000, refusalMs: 10_000 };

export interface Source {
  readonly peer: FetchPeer;
  /** Whether more may be asked of the peer now. */
  hasRoom(): boolean;
  /** Asks for the next block of a piece that was begun; false when there is none. */
  askNext(): boolean;
  /** Whether a new piece may be begun. */
  mayTake(nowMs: number): boolean;
  refuses(piece: number): boolean;
  /** A reservation for the piece is under way, and no longer. */
  reserving(piece: number, bytes: number): void;
  reserved(piece: number): void;
  /** Begins a piece, in `memory` where there is some of its size. */
  begin(piece: number, bytes: number, nowMs: number, memory?: Uint8Array): void;
  /** Takes a block in: false when nobody waits for it, the piece's bytes when it is whole. */
  block(piece: number, offset: number, bytes: Uint8Array, nowMs: number): Uint8Array | boolean;
  /** Notes a reject; true when the peer does not want to serve the piece. */
  rejected(piece: number, offset: number, nowMs: number): boolean;
  choked(nowMs: number): void;
  /** Forgets a piece and takes its requests back; false when it was not under way. */
  abandon(piece: number): boolean;
  pieces(): number[];
  /** Pieces that patience has ended for. */
  overdue(nowMs: number): number[];
  stuck(nowMs: number): number[];
  idles(nowMs: number): boolean;
  pause(): void;
  unpause(): void;
  rate(nowMs: number): number;
}

const PIPELINE_MIN = 16;
const PIPELINE_MAX = 1024;
/** The pipeline holds what the peer sends in this time. */
const PIPELINE_SECONDS = 2;
/** A piece may take this much longer for each byte, in milliseconds: 8 KiB a second is the least. */
const PATIENCE_MS_PER_BYTE = 1000 / 8192;
/** Blocks that nobody asked for; answers that crossed a cancel are among them. */
const STRAYS_MAX = 4096;
const RATE_WINDOW_MS = 1_000;

export function create(peer: FetchPeer, timeouts: Timeouts, startMs: number): Source {
  const assemblies = new Map<number, { readonly assembly: Assembly.Assembly; readonly beganMs: number }>();
  /** Blocks of each piece whose reservation is under way. */
  const reservations = new Map<number, number>();
  const refusedUntil = new Map<number, number>();
  let asked = 0;
  let strays = 0;
  let paused = false;
  let heardMs = startMs;
  let chokedMs = startMs;
  let coolUntilMs = 0;
  let clockMs = startMs;
  const speed = { windowMs: startMs, bytes: 0, rate: 0 };

  const measure = (nowMs: number, bytes: number): void => {
    clockMs = nowMs;
    speed.bytes += bytes;
    const elapsedMs = nowMs - speed.windowMs;
    if (elapsedMs < RATE_WINDOW_MS / 4) return;
    const rate = (speed.bytes * 1000) / elapsedMs;
    // Growth counts at once, so that a fast peer is not held back; decline is smoothed.
    speed.rate = Math.max(rate, speed.rate * 0.75 + rate * 0.25);
    speed.bytes = 0;
    speed.windowMs = nowMs;
  };
  const depth = (): number => {
    const wanted = PIPELINE_MIN + Math.ceil((speed.rate * PIPELINE_SECONDS) / blockBytesMax);
    return Math.max(1, Math.min(wanted, peer.reqq, PIPELINE_MAX));
  };
  /** Blocks that reservations under way will ask for: they count, or everything would be reserved at once. */
  const promised = (): number => [...reservations.values()].reduce((sum, blocks) => sum + blocks, 0);

  return {
    peer,
    hasRoom: () => !peer.peerChoking && asked < depth(),
    askNext() {
      for (const { assembly } of assemblies.values()) {
        const block = assembly.next();
        if (!block) continue;
        if (asked === 0) heardMs = clockMs;
        asked++;
        peer.request(assembly.piece, block.offset, block.length);
        return true;
      }
      return false;
    },
    mayTake(nowMs) {
      clockMs = nowMs;
      return !paused && nowMs >= coolUntilMs && asked + promised() < depth();
    },
    refuses: (piece) => (refusedUntil.get(piece) ?? 0) > clockMs,
    reserving: (piece, bytes) => void reservations.set(piece, Math.ceil(bytes / blockBytesMax)),
    reserved: (piece) => void reservations.delete(piece),
    begin(piece, bytes, nowMs, memory) {
      clockMs = nowMs;
      assemblies.set(piece, { assembly: Assembly.create(piece, bytes, memory), beganMs: nowMs });
    },
    block(piece, offset, bytes, nowMs) {
      measure(nowMs, bytes.length);
      const assembly = assemblies.get(piece)?.assembly;
      const before = assembly?.asked() ?? 0;
      const how = assembly?.put(offset, bytes) ?? 'late';
      if (how === 'wrong') peer.destroy(`a block that is none: ${piece}:${offset}+${bytes.length}`);
      if (how !== 'taken' || !assembly) {
        if (++strays > STRAYS_MAX) peer.destroy('blocks that nobody asked for');
        return false;
      }
      heardMs = nowMs;
      asked -= before - assembly.asked();
      if (assembly.missing() > 0) return true;
      assemblies.delete(piece);
      return assembly.bytes;
    },
    rejected(piece, offset, nowMs) {
      const assembly = assemblies.get(piece)?.assembly;
      if (!assembly?.unask(offset)) return false;
      asked--;
      if (peer.peerChoking) return false;
      refusedUntil.set(piece, nowMs + timeouts.refusalMs);
      return true;
    },
    choked(nowMs) {
      chokedMs = nowMs;
      // Without the fast extension a choke drops what was asked; with it each request is answered.
      if (peer.fast) return;
      for (const { assembly } of assemblies.values()) assembly.unaskAll();
      asked = 0;
    },
    abandon(piece) {
      const assembly = assemblies.get(piece)?.assembly;
      if (!assembly) return false;
      assemblies.delete(piece);
      for (const { offset, length } of assembly.askedBlocks()) peer.cancel(piece, offset, length);
      asked -= assembly.asked();
      return true;
    },
    pieces: () => [...assemblies.keys()],
    overdue(nowMs) {
      measure(nowMs, 0);
      for (const [piece, untilMs] of refusedUntil) if (untilMs <= nowMs) refusedUntil.delete(piece);
      const silent = peer.peerChoking ? nowMs - chokedMs : asked > 0 ? nowMs - heardMs : 0;
      if (assemblies.size > 0 && silent >= timeouts.pieceMs) {
        coolUntilMs = nowMs + timeouts.pieceMs;
        return [...assemblies.keys()];
      }
      const late = [...assemblies].filter(([, { assembly, beganMs }]) => {
        return nowMs - beganMs > timeouts.pieceMs + assembly.bytes.length * PATIENCE_MS_PER_BYTE;
      });
      return late.map(([piece]) => piece);
    },
    stuck: (nowMs) => (nowMs - heardMs >= timeouts.stuckMs ? [...assemblies.keys()] : []),
    idles: (nowMs) => !peer.peerChoking && !paused && assemblies.size === 0 && nowMs >= coolUntilMs,
    pause() {
      paused = true;
    },
    unpause() {
      paused = false;
    },
    rate(nowMs) {
      measure(nowMs, 0);
      return speed.rate;
    },
  };
}
