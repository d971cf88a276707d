/**
 * A peer as the seeder sees it: its standing, its queue and what it was granted. State only; the seeder and
 * the gatekeeper change it.
 */
import { blockBytesMax, blockHeadBytes } from '../limits.js';
import type { Standing } from './slots.js';

/** What the seeder needs of a connection; the wire room's Peer has it. */
export interface SeedPeer {
  readonly id: number;
  readonly fast: boolean;
  readonly peerInterested: boolean;
  choke(): void;
  unchoke(): void;
  sendRoom(): number;
  sendBlock(index: number, offset: number, bytes: Uint8Array): void;
  /** Sends blocks of 16 KiB and perhaps a shorter last one; `frames` has room for a head in front of each. */
  sendBlocks(index: number, offset: number, frames: Uint8Array): void;
  rejectRequest(index: number, offset: number, length: number): void;
  destroy(detail: string): void;
}

export interface Request {
  readonly index: number;
  readonly offset: number;
  readonly length: number;
}

export interface Grant {
  readonly piece: number;
  bytes: number;
  /** Bytes handed to the connection, and bytes that left this process. */
  sent: number;
  delivered: number;
}

/** Blocks that were handed to the connection together. */
export interface Sent {
  /** Undefined for unpaid ones. */
  readonly grant: Grant | undefined;
  /** Bytes of them that have not left. */
  left: number;
  /** Their memory is not needed any more. */
  readonly release: (() => void) | undefined;
}

export interface Customer {
  readonly peer: SeedPeer;
  standing: Standing;
  choked: boolean;
  /** Monotonic time of the last change between choked and unchoked, for the rotation. */
  turnedMs: number;
  queue: Request[];
  /** By piece: grants that have bytes left to send. */
  readonly open: Map<number, Grant>;
  /** Every grant that is not delivered yet. */
  readonly grants: Set<Grant>;
  /** What was sent and has not left yet, in order. */
  readonly onTheWay: Sent[];
  /** Pieces with queued requests that the gate is to be asked for, and those it is asked for now. */
  readonly wanted: Set<number>;
  readonly asking: Set<number>;
  readonly waiting: Set<number>;
  /** The piece of the request that was noted last, -1 when the next one has to be looked at. */
  noted: number;
  /** Refused requests in a row; a peer that does not listen is closed. */
  refusals: number;
  scheduled: boolean;
  /** The gate will be asked at the end of this turn. */
  askingSoon: boolean;
}

export function create(peer: SeedPeer, standing: Standing, nowMs: number): Customer {
  return {
    peer,
    standing,
    choked: true,
    turnedMs: nowMs,
    queue: [],
    open: new Map(),
    grants: new Set(),
    onTheWay: [],
    wanted: new Set(),
    asking: new Set(),
    waiting: new Set(),
    noted: -1,
    refusals: 0,
    scheduled: false,
    askingSoon: false,
  };
}

/** Whether a queued request may be sent as far as money goes: unpaid, or within a grant. */
export function servable(customer: Customer, { index, length }: Request): boolean {
  if (customer.standing !== 'paid') return true;
  const grant = customer.open.get(index);
  return grant !== undefined && grant.sent + length <= grant.bytes;
}

/** By piece, in the order of the requests: bytes that are queued beyond what is granted and not sent. Costs O(queue). */
export function lacking({ queue, open }: Customer): Map<number, number> {
  const lacks = new Map<number, number>();
  for (const { index, length } of queue) {
    const grant = open.get(index);
    const before = lacks.get(index) ?? (grant ? grant.sent - grant.bytes : 0);
    lacks.set(index, before + length);
  }
  for (const [piece, bytes] of lacks) if (bytes <= 0) lacks.delete(piece);
  return lacks;
}

/**
 * The blocks in a row that begin with the queued request `at`, as many as follow each other in the queue, may be
 * sent as far as money goes and take no more than `room` bytes of a connection. A request that is not for a block of
 * 16 KiB, or for the last one of its piece, stands alone.
 */
export function runAt(
  { queue, standing, open }: Customer,
  at: number,
  pieceBytes: number,
  room: number,
): { readonly count: number; readonly bytes: number; readonly whole: boolean } {
  const first = queue[at];
  if (!first || first.length + blockHeadBytes > room) return { count: 0, bytes: 0, whole: false };
  const { index, offset, length } = first;
  const isBlock = (request: Request): boolean =>
    request.offset % blockBytesMax === 0 &&
    request.length === Math.min(blockBytesMax, pieceBytes - request.offset);
  if (!isBlock(first)) return { count: 1, bytes: length, whole: false };
  const grant = open.get(index);
  const owed = standing === 'paid' && grant ? grant.bytes - grant.sent : Number.POSITIVE_INFINITY;
  let count = 1;
  let bytes = length;
  for (let next = queue[at + 1]; next; next = queue[at + count]) {
    const follows = next.index === index && next.offset === offset + bytes && isBlock(next);
    const fits = bytes + next.length + (count + 1) * blockHeadBytes <= room && bytes + next.length <= owed;
    if (!follows || !fits) break;
    count++;
    bytes += next.length;
  }
  return { count, bytes, whole: true };
}

/** Takes every queued request for a piece out of the queue. */
export function takeOut(customer: Customer, piece: number): readonly Request[] {
  const taken = customer.queue.filter(({ index }) => index === piece);
  customer.queue = customer.queue.filter(({ index }) => index !== piece);
  forget(customer, piece);
  return taken;
}

/** A piece has no requests in the queue any more: it is not to be asked for. */
export function forget(customer: Customer, piece: number): void {
  customer.wanted.delete(piece);
  customer.noted = -1;
}
