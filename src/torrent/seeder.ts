/**
 * Serves one torrent to many peers: checks requests, keeps each peer's queue, decides who is unchoked, and
 * sends blocks as fast as each peer takes them, in turn. Whether a paying peer may have a piece is asked of
 * the gate, once a piece; money itself is unknown here.
 *
 * Invariants: no block of a piece leaves for a paying peer before the gate said serve for that piece and
 * peer; no more bytes than the piece has leave on one such grant; every grant ends in exactly one `sent` or
 * one entry of `dropped`.
 */
import type { Clock } from '../clock.js';
import { PieceworkError } from '../errors.js';
import { requestBytesMax, requestsPerPeerMax } from '../limits.js';
import * as Layout from './layout.js';
import * as ReadAhead from './read-ahead.js';
import type { Standing } from './slots.js';
import * as Slots from './slots.js';
import type { Storage } from './storage.js';

export type { Standing } from './slots.js';

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

export type Admission = 'serve' | 'wait' | 'refuse';

/** A piece that a peer was granted and did not get in full. `delivered` bytes of it left this process. */
export interface Dropped {
  readonly piece: number;
  readonly bytes: number;
  readonly delivered: number;
}

export interface UploadGate {
  /** Asked when the first block of a piece is requested by a paid peer. After 'wait', call `resume`. */
  admit(peer: SeedPeer, piece: number, bytes: number): Admission | Promise<Admission>;
  /** Every byte of a granted piece has left this process. */
  sent(peer: SeedPeer, piece: number, bytes: number): void;
  /** The peer is gone: these grants were never sent in full. */
  dropped(peer: SeedPeer, grants: readonly Dropped[]): void;
}

export interface SeederOptions {
  readonly layout: Layout.Layout;
  readonly storage: Pick<Storage, 'has' | 'readBlock'>;
  readonly gate: UploadGate;
  readonly clock: Clock;
  /** Unpaid peers that are served at a time; 0 serves nobody unpaid. */
  readonly freeSlots: number;
  readonly rotationMs?: number;
  /** Reading failed; the requests in question were refused. */
  readonly onError: (error: PieceworkError) => void;
}

export interface Seeder {
  join(peer: SeedPeer, standing?: Standing): void;
  leave(peer: SeedPeer): void;
  setStanding(peer: SeedPeer, standing: Standing): void;
  /** Something changed for this peer: waiting pieces are asked for again. */
  resume(peer: SeedPeer): void;
  setFreeSlots(count: number): void;
  /** The peer's interest changed. */
  interest(peer: SeedPeer): void;
  request(peer: SeedPeer, index: number, offset: number, length: number): void;
  cancel(peer: SeedPeer, index: number, offset: number, length: number): void;
  /** The peer's send queue has room again. */
  drained(peer: SeedPeer): void;
  /** A block left this process, in the order they were sent. */
  delivered(peer: SeedPeer, bytes: number): void;
  /** Requests that wait for this peer. */
  queued(peer: SeedPeer): number;
  unchoked(peer: SeedPeer): boolean;
  stop(): void;
}

interface Request {
  readonly index: number;
  readonly offset: number;
  readonly length: number;
}

interface Grant {
  readonly piece: number;
  readonly bytes: number;
  /** Bytes handed to the connection, and bytes that left this process. */
  sent: number;
  delivered: number;
}

interface Customer {
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

const ROTATION_MS = 30_000;
/** Blocks one peer gets before it is the next one's turn. */
const TURN_BLOCKS = 8;
const BLOCK_OVERHEAD_BYTES = 13;
const REFUSALS_MAX = 4 * requestsPerPeerMax;

export function create(options: SeederOptions): Seeder {
  const { layout, storage, gate, clock } = options;
  const customers = new Map<number, Customer>();
  const ready: Customer[] = [];
  const readAhead = ReadAhead.create(storage, layout);
  let freeSlots = options.freeSlots;
  let pumping = false;
  let stopped = false;

  const refuse = (customer: Customer, { index, offset, length }: Request): void => {
    customer.peer.rejectRequest(index, offset, length);
    if (++customer.refusals > REFUSALS_MAX) customer.peer.destroy('too many requests that were refused');
  };
  const schedule = (customer: Customer): void => {
    if (customer.scheduled || customer.choked || customer.queue.length === 0) return;
    customer.scheduled = true;
    ready.push(customer);
    if (pumping) return;
    pumping = true;
    setImmediate(pump);
  };
  /** Gives each ready peer its turn; lets the event loop breathe after each round. */
  const pump = (): void => {
    for (let turns = ready.length; turns > 0; turns--) {
      const customer = ready.shift();
      if (!customer) break;
      customer.scheduled = false;
      if (customers.get(customer.peer.id) === customer && serve(customer)) schedule(customer);
    }
    if (ready.length > 0) setImmediate(pump);
    else pumping = false;
  };

  /** Sends up to a turn's blocks; true when more could be sent at once. */
  const serve = (customer: Customer): boolean => {
    for (let blocks = 0; blocks < TURN_BLOCKS; blocks++) {
      const at = customer.queue.findIndex((request) => servable(customer, request));
      const request = customer.queue[at];
      // Nothing to send now: a gate, a drain, a read or a request will schedule this peer again.
      if (!request || customer.choked) return false;
      if (customer.peer.sendRoom() < request.length + BLOCK_OVERHEAD_BYTES) return false;
      const bytes = readAhead.take(request.index, request.offset, request.length);
      if (!bytes) {
        load(customer, request);
        return false;
      }
      customer.queue.splice(at, 1);
      send(customer, request, bytes);
      const next = customer.queue[Math.min(at + TURN_BLOCKS, customer.queue.length - 1)];
      if (next) readAhead.prefetch(next.index, next.offset);
    }
    return true;
  };
  const servable = (customer: Customer, { index, length }: Request): boolean => {
    if (customer.standing !== 'paid') return true;
    const grant = customer.open.get(index);
    return grant !== undefined && grant.sent + length <= grant.bytes;
  };
  const send = (customer: Customer, { index, offset, length }: Request, bytes: Uint8Array): void => {
    const grant = customer.standing === 'paid' ? customer.open.get(index) : undefined;
    if (grant) {
      grant.sent += length;
      if (grant.sent === grant.bytes) {
        customer.open.delete(index);
        // The same piece may be wanted again: that takes a new grant.
        ask(customer);
      }
    }
    customer.refusals = 0;
    customer.onTheWay.push(grant);
    customer.peer.sendBlock(index, offset, bytes);
  };
  const load = (customer: Customer, request: Request): void => {
    readAhead.load(request.index, request.offset, request.length).then(
      () => schedule(customer),
      (error: PieceworkError) => {
        const bad = customer.queue.filter(({ index }) => index === request.index);
        customer.queue = customer.queue.filter(({ index }) => index !== request.index);
        for (const each of bad) refuse(customer, each);
        options.onError(error);
        schedule(customer);
      },
    );
  };

  /** Asks the gate for the pieces of waiting requests that have no grant, in the order of the requests. */
  const ask = (customer: Customer): void => {
    if (customer.standing !== 'paid' || customer.choked) return;
    for (const request of customer.queue) {
      if (customer.waiting.size > 0) return;
      if (servable(customer, request) || customer.asking.has(request.index)) continue;
      askFor(customer, request.index);
    }
  };
  const askFor = (customer: Customer, piece: number) => {
    const bytes = Layout.pieceBytes(layout, piece);
    customer.asking.add(piece);
    const settle = (admission: Admission): void => {
      customer.asking.delete(piece);
      settleAdmission(customer, piece, bytes, admission);
    };
    const answer = gate.admit(customer.peer, piece, bytes);
    if (typeof answer === 'string') return settle(answer);
    answer.then(settle, (thrown: unknown) => {
      settle('refuse');
      options.onError(
        thrown instanceof PieceworkError ? thrown : new PieceworkError('INTERNAL', String(thrown)),
      );
    });
  };
  const settleAdmission = (customer: Customer, piece: number, bytes: number, admission: Admission) => {
    const here = customers.get(customer.peer.id) === customer;
    if (admission === 'serve') {
      // What is left of an older grant for this piece stays undelivered and is reported when the peer goes.
      const grant: Grant = { piece, bytes, sent: 0, delivered: 0 };
      if (!here) return gate.dropped(customer.peer, [{ piece, bytes, delivered: 0 }]);
      customer.open.set(piece, grant);
      customer.grants.add(grant);
      schedule(customer);
    } else if (here && admission === 'wait') {
      customer.waiting.add(piece);
    } else if (here) {
      const refused = customer.queue.filter(({ index }) => index === piece);
      customer.queue = customer.queue.filter(({ index }) => index !== piece);
      for (const request of refused) refuse(customer, request);
    }
  };

  const setChoked = (customer: Customer, choked: boolean) => {
    if (customer.choked === choked) return;
    customer.choked = choked;
    customer.turnedMs = clock.monotonicMs();
    if (!choked) return customer.peer.unchoke();
    customer.peer.choke();
    const { queue } = customer;
    customer.queue = [];
    customer.waiting.clear();
    for (const { index, offset, length } of queue) customer.peer.rejectRequest(index, offset, length);
  };
  /** Unchokes who pays and who has a free slot, chokes the others. With `rotate`, one slot changes hands. */
  const arrange = (rotate: boolean): void => {
    const { choke, unchoke } = Slots.arrange([...customers.values()], freeSlots, rotate);
    for (const customer of choke) setChoked(customer, true);
    for (const customer of unchoke) setChoked(customer, false);
  };
  const stopRotation = clock.every(options.rotationMs ?? ROTATION_MS, () => {
    if (customers.size > 0) arrange(true);
    readAhead.forget();
  });

  /** Whether the request is one that this torrent and this peer's queue allow; closes or refuses otherwise. */
  const acceptable = (customer: Customer, request: Request): boolean => {
    const { index, offset, length } = request;
    const inside = index < layout.pieceCount && offset + length <= Layout.pieceBytes(layout, index);
    if (!inside || length === 0 || length > requestBytesMax) {
      customer.peer.destroy(`a request outside the torrent: ${index}:${offset}+${length}`);
      return false;
    }
    if (!customer.choked && storage.has(index) && customer.queue.length < requestsPerPeerMax) return true;
    refuse(customer, request);
    return false;
  };
  const of = (peer: SeedPeer): Customer | undefined => customers.get(peer.id);

  return {
    join(peer, standing = 'free') {
      const open = { queue: [], open: new Map(), grants: new Set<Grant>(), onTheWay: [] };
      const waits = { asking: new Set<number>(), waiting: new Set<number>(), refusals: 0, scheduled: false };
      if (stopped || customers.has(peer.id)) return;
      customers.set(peer.id, {
        peer,
        standing,
        choked: true,
        turnedMs: clock.monotonicMs(),
        ...open,
        ...waits,
      });
      arrange(false);
    },
    leave(peer) {
      const customer = of(peer);
      if (!customer) return;
      customers.delete(peer.id);
      const dropped = [...customer.grants].map(({ piece, bytes, delivered }) => ({
        piece,
        bytes,
        delivered,
      }));
      if (dropped.length > 0) gate.dropped(peer, dropped);
      arrange(false);
    },
    setStanding(peer, standing) {
      const customer = of(peer);
      if (!customer || customer.standing === standing) return;
      // What was asked for under the old standing is not served under the new one.
      setChoked(customer, true);
      customer.standing = standing;
      arrange(false);
    },
    resume(peer) {
      const customer = of(peer);
      if (!customer) return;
      customer.waiting.clear();
      ask(customer);
    },
    setFreeSlots(count) {
      freeSlots = count;
      arrange(false);
    },
    interest(peer) {
      if (of(peer)) arrange(false);
    },
    request(peer, index, offset, length) {
      const customer = of(peer);
      const request = { index, offset, length };
      if (!customer || !acceptable(customer, request)) return;
      customer.queue.push(request);
      const settled = servable(customer, request) || customer.asking.has(index) || customer.waiting.size > 0;
      if (!settled) askFor(customer, index);
      schedule(customer);
    },
    cancel(peer, index, offset, length) {
      const customer = of(peer);
      const at = customer?.queue.findIndex(
        (request) => request.index === index && request.offset === offset && request.length === length,
      );
      if (!customer || at === undefined || at < 0) return;
      customer.queue.splice(at, 1);
      // BEP 6: a cancelled request is answered, by the block or by a reject.
      peer.rejectRequest(index, offset, length);
    },
    drained(peer) {
      const customer = of(peer);
      if (customer) schedule(customer);
    },
    delivered(peer, bytes) {
      const customer = of(peer);
      const grant = customer?.onTheWay.shift();
      if (!customer || !grant) return;
      grant.delivered += bytes;
      if (grant.delivered < grant.bytes) return;
      customer.grants.delete(grant);
      gate.sent(peer, grant.piece, grant.bytes);
    },
    queued: (peer) => of(peer)?.queue.length ?? 0,
    unchoked: (peer) => of(peer)?.choked === false,
    stop() {
      stopped = true;
      stopRotation();
      for (const { peer } of [...customers.values()]) this.leave(peer);
      readAhead.forget();
    },
  };
}
