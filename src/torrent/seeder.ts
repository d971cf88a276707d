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
import type { PieceworkError } from '../errors.js';
import { blockBytesMax, requestBytesMax, requestsPerPeerMax } from '../limits.js';
import type { Customer, Request, SeedPeer } from './customer.js';
import * as Customers from './customer.js';
import type { UploadGate } from './gatekeeper.js';
import * as Gatekeeper from './gatekeeper.js';
import * as Layout from './layout.js';
import * as ReadAhead from './read-ahead.js';
import type { Standing } from './slots.js';
import * as Slots from './slots.js';
import type { Storage } from './storage.js';

export type { SeedPeer } from './customer.js';
export type { Admission, Dropped, UploadGate, Wanted } from './gatekeeper.js';
export type { Standing } from './slots.js';

export interface SeederOptions {
  readonly layout: Layout.Layout;
  readonly storage: Pick<Storage, 'has' | 'readInto'>;
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
  /** Blocks left this process, in the order they were sent. */
  delivered(peer: SeedPeer, bytes: number): void;
  /** Requests that wait for this peer. */
  queued(peer: SeedPeer): number;
  unchoked(peer: SeedPeer): boolean;
  stop(): void;
}

const ROTATION_MS = 30_000;
/** Bytes one peer gets before it is the next one's turn. */
const TURN_BYTES = 32 * blockBytesMax;
/** What is asked for so many requests later is read already. */
const AHEAD_REQUESTS = 64;
const REFUSALS_MAX = 4 * requestsPerPeerMax;

export function create(options: SeederOptions): Seeder {
  const { layout, storage, clock } = options;
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
    for (let sent = 0; sent < TURN_BYTES; ) {
      const at = customer.queue.findIndex((request) => Customers.servable(customer, request));
      const request = customer.queue[at];
      // Nothing to send now: a gate, a drain, a read or a request will schedule this peer again.
      if (!request && customer.queue.length > 0) gatekeeper.starved(customer);
      if (!request || customer.choked) return false;
      const pieceBytes = Layout.pieceBytes(layout, request.index);
      const run = Customers.runAt(customer, at, pieceBytes, Math.min(customer.peer.sendRoom(), TURN_BYTES));
      if (run.count === 0) return false;
      const bytes = send(customer, at, request, run);
      if (bytes === 0) {
        load(customer, request);
        return false;
      }
      sent += bytes;
      const next = customer.queue[Math.min(at + AHEAD_REQUESTS, customer.queue.length - 1)];
      if (next) readAhead.prefetch(next.index, next.offset);
    }
    return true;
  };
  /** Sends what is in memory of a run that begins with a queued request; returns its bytes, 0 when nothing is. */
  const send = (
    customer: Customer,
    at: number,
    { index, offset, length }: Request,
    run: ReturnType<typeof Customers.runAt>,
  ): number => {
    const loan = run.whole ? readAhead.lend(index, offset, run.bytes) : undefined;
    const copy = run.whole ? undefined : readAhead.copy(index, offset, length);
    const bytes = loan?.bytes ?? copy?.length ?? 0;
    if (bytes === 0) return 0;
    customer.queue.splice(at, loan ? Math.ceil(bytes / blockBytesMax) : 1);
    customer.refusals = 0;
    gatekeeper.spend(customer, index, bytes, loan?.release);
    if (loan) customer.peer.sendBlocks(index, offset, loan.frames);
    else if (copy) customer.peer.sendBlock(index, offset, copy);
    return bytes;
  };
  const load = (customer: Customer, request: Request): void => {
    readAhead.load(request.index, request.offset, request.length).then(
      () => schedule(customer),
      (error: PieceworkError) => {
        for (const each of Customers.takeOut(customer, request.index)) refuse(customer, each);
        options.onError(error);
        schedule(customer);
      },
    );
  };

  const gatekeeper = Gatekeeper.create({
    layout,
    gate: options.gate,
    isHere: (customer) => customers.get(customer.peer.id) === customer,
    onGrant: schedule,
    refuse,
    onError: options.onError,
  });

  const setChoked = (customer: Customer, choked: boolean) => {
    if (customer.choked === choked) return;
    customer.choked = choked;
    customer.turnedMs = clock.monotonicMs();
    if (!choked) return customer.peer.unchoke();
    customer.peer.choke();
    const { queue } = customer;
    customer.queue = [];
    customer.waiting.clear();
    customer.wanted.clear();
    customer.noted = -1;
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
      if (stopped || customers.has(peer.id)) return;
      customers.set(peer.id, Customers.create(peer, standing, clock.monotonicMs()));
      arrange(false);
    },
    leave(peer) {
      const customer = of(peer);
      if (!customer) return;
      customers.delete(peer.id);
      gatekeeper.drop(customer);
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
      gatekeeper.ask(customer);
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
      gatekeeper.askFor(customer, request);
      schedule(customer);
    },
    cancel(peer, index, offset, length) {
      const customer = of(peer);
      const at = customer?.queue.findIndex(
        (request) => request.index === index && request.offset === offset && request.length === length,
      );
      if (!customer || at === undefined || at < 0) return;
      customer.queue.splice(at, 1);
      if (!customer.queue.some((request) => request.index === index)) Customers.forget(customer, index);
      // BEP 6: a cancelled request is answered, by the block or by a reject.
      peer.rejectRequest(index, offset, length);
    },
    drained(peer) {
      const customer = of(peer);
      if (customer) schedule(customer);
    },
    delivered(peer, bytes) {
      const customer = of(peer);
      if (customer) gatekeeper.delivered(customer, bytes);
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
