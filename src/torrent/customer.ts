/**
 * A peer as the seeder sees it: its standing, its queue and what it was granted. State only; the seeder and
 * the gatekeeper change it.
 */
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
  readonly bytes: number;
  /** Bytes handed to the connection, and bytes that left this process. */
  sent: number;
  delivered: number;
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
  /** The grant of each block that has not left yet, undefined for unpaid ones, in order. */
  readonly onTheWay: (Grant | undefined)[];
  readonly asking: Set<number>;
  readonly waiting: Set<number>;
  /** Refused requests in a row; a peer that does not listen is closed. */
  refusals: number;
  scheduled: boolean;
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
    asking: new Set(),
    waiting: new Set(),
    refusals: 0,
    scheduled: false,
  };
}

/** Whether a queued request may be sent as far as money goes: unpaid, or within a grant. */
export function servable(customer: Customer, { index, length }: Request): boolean {
  if (customer.standing !== 'paid') return true;
  const grant = customer.open.get(index);
  return grant !== undefined && grant.sent + length <= grant.bytes;
}

/** Takes every queued request for a piece out of the queue. */
export function takeOut(customer: Customer, piece: number): readonly Request[] {
  const taken = customer.queue.filter(({ index }) => index === piece);
  customer.queue = customer.queue.filter(({ index }) => index !== piece);
  return taken;
}
