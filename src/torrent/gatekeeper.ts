/**
 * Between the seeder and the gate: asks for what a paying peer requests, for several pieces at a time, counts what of
 * each grant was sent and delivered, and reports the end of each. It sends nothing itself.
 *
 * Invariant: what the gate admits of a piece ends in exactly one `sent` or one entry of `dropped`.
 */
import { from, type PieceworkError } from '../errors.js';
import type { Customer, Grant, Request, SeedPeer } from './customer.js';
import * as Customers from './customer.js';
import * as Layout from './layout.js';

/** Whether a piece may be sent: 'serve' all of it, a number so many more bytes of it. */
export type Admission = 'serve' | number | 'wait' | 'refuse';

/** A piece of `bytes` that a peer asks for; `lacking` are requested and were not admitted before. */
export interface Wanted {
  readonly piece: number;
  readonly bytes: number;
  readonly lacking: number;
}

/** A piece that a peer was granted and did not get in full. `delivered` bytes of it left this process. */
export interface Dropped {
  readonly piece: number;
  readonly bytes: number;
  readonly delivered: number;
}

export interface UploadGate {
  /**
   * Asked about pieces of which a paid peer requested what was not admitted, in that order; answers for each of them.
   * After a 'wait', call `resume`.
   */
  admit(peer: SeedPeer, pieces: readonly Wanted[]): readonly Admission[] | Promise<readonly Admission[]>;
  /** Whether pieces are admitted in parts: then one question at a time is open, so that blocks come in their order. */
  isByPart?(peer: SeedPeer): boolean;
  /** Every byte that was admitted of a piece has left this process. */
  sent(peer: SeedPeer, piece: number, bytes: number): void;
  /** The peer is gone: these grants were never sent in full. */
  dropped(peer: SeedPeer, grants: readonly Dropped[]): void;
}

export interface Gatekeeper {
  /** Asks for what is queued and not granted, in the order of the requests. */
  ask(customer: Customer): void;
  /**
   * Notes a request that was queued now. Its piece is asked for together with others, in time: when they are twice as
   * many as the granted ones that are still being sent.
   */
  askFor(customer: Customer, request: Request): void;
  /** Nothing of what is queued may be sent: it is asked for now. */
  starved(customer: Customer): void;
  /** Counts blocks of a piece as sent; `release` runs when they have left. Call before they are handed on. */
  spend(customer: Customer, piece: number, bytes: number, release: (() => void) | undefined): void;
  /** Counts the oldest sent bytes as delivered. */
  delivered(customer: Customer, bytes: number): void;
  /** The customer is gone. */
  drop(customer: Customer): void;
}

export interface GatekeeperOptions {
  readonly layout: Layout.Layout;
  readonly gate: UploadGate;
  readonly isHere: (customer: Customer) => boolean;
  /** A grant arrived: there may be something to send. */
  readonly onGrant: (customer: Customer) => void;
  readonly refuse: (customer: Customer, request: Request) => void;
  readonly onError: (error: PieceworkError) => void;
}

/** Pieces that wait to be asked for, for each one that is sent while the gate thinks: one answer for many costs less. */
const WANTED_SHARE = 2;

export function create(options: GatekeeperOptions): Gatekeeper {
  const { layout, gate } = options;

  const askForPieces = (customer: Customer, pieces: readonly Wanted[]) => {
    const settle = (admissions: readonly Admission[]): void => {
      for (const { piece } of pieces) customer.asking.delete(piece);
      for (let at = 0; at < pieces.length; at++) settled(customer, pieces[at]!, admissions[at] ?? 'refuse');
      askInTime(customer);
    };
    const fail = (thrown: unknown): void => {
      settle([]);
      options.onError(from(thrown));
    };
    for (const { piece } of pieces) customer.asking.add(piece);
    let answer: ReturnType<UploadGate['admit']>;
    try {
      answer = gate.admit(customer.peer, pieces);
    } catch (thrown) {
      return fail(thrown);
    }
    if (answer instanceof Promise) answer.then(settle, fail);
    else settle(answer);
  };
  /** A part is added to what is open of the piece; what a whole grant leaves of an older one is reported at the end. */
  const admitted = (customer: Customer, piece: number, bytes: number, isPart: boolean): void => {
    if (!options.isHere(customer)) return gate.dropped(customer.peer, [{ piece, bytes, delivered: 0 }]);
    const open = customer.open.get(piece);
    if (open && isPart) {
      open.bytes += bytes;
    } else {
      const grant: Grant = { piece, bytes, sent: 0, delivered: 0 };
      customer.open.set(piece, grant);
      customer.grants.add(grant);
    }
    options.onGrant(customer);
  };
  const settled = (customer: Customer, { piece, bytes }: Wanted, admission: Admission) => {
    const here = options.isHere(customer);
    if (typeof admission === 'number') {
      admitted(customer, piece, admission, true);
    } else if (admission === 'serve') {
      admitted(customer, piece, bytes, false);
    } else if (here && admission === 'wait') {
      customer.waiting.add(piece);
    } else if (here) {
      for (const request of Customers.takeOut(customer, piece)) options.refuse(customer, request);
    }
  };
  const isAsked = ({ asking, waiting }: Customer, piece: number): boolean =>
    asking.has(piece) || waiting.has(piece);
  const isByPart = ({ peer }: Customer): boolean => gate.isByPart?.(peer) ?? false;
  const wholes = ({ wanted }: Customer): Wanted[] =>
    Array.from(wanted, (piece) => {
      const bytes = Layout.pieceBytes(layout, piece);
      return { piece, bytes, lacking: bytes };
    });
  const parts = (customer: Customer): Wanted[] =>
    Array.from(Customers.lacking(customer), ([piece, lacking]) => {
      return { piece, bytes: Layout.pieceBytes(layout, piece), lacking };
    });
  /** Asks for what was noted. Pieces are asked for in order: behind one that waits, others need not try. */
  const ask = (customer: Customer): void => {
    const { wanted, waiting, asking } = customer;
    if (customer.standing !== 'paid' || customer.choked || waiting.size > 0) return;
    const byPart = isByPart(customer);
    if (byPart && asking.size > 0) return;
    const pieces = byPart ? parts(customer) : wholes(customer);
    wanted.clear();
    if (pieces.length > 0) askForPieces(customer, pieces);
  };
  /** The same after a look through the whole queue: what was noted may have been asked for and used up. */
  const askAnew = (customer: Customer): void => {
    if (isByPart(customer)) return ask(customer);
    customer.wanted.clear();
    for (const request of customer.queue) {
      if (isAsked(customer, request.index) || Customers.servable(customer, request)) continue;
      customer.wanted.add(request.index);
    }
    ask(customer);
  };
  const askSoon = (customer: Customer): void => {
    if (customer.askingSoon) return;
    customer.askingSoon = true;
    queueMicrotask(() => {
      customer.askingSoon = false;
      if (options.isHere(customer)) ask(customer);
    });
  };
  const askInTime = (customer: Customer): void => {
    const { wanted, open, asking, waiting } = customer;
    if (wanted.size < open.size * WANTED_SHARE || asking.size > 0 || waiting.size > 0) return;
    if (wanted.size > 0) askSoon(customer);
  };

  return {
    ask: askAnew,
    askFor(customer, request) {
      // The blocks of a piece are asked for one after the other: the first of them speaks for all.
      if (request.index === customer.noted || customer.standing !== 'paid') return;
      customer.noted = request.index;
      if (isAsked(customer, request.index) || Customers.servable(customer, request)) return;
      customer.wanted.add(request.index);
      askInTime(customer);
    },
    starved(customer) {
      if (customer.asking.size > 0 || customer.waiting.size > 0 || customer.askingSoon) return;
      askAnew(customer);
    },
    spend(customer, piece, bytes, release) {
      const grant = customer.standing === 'paid' ? customer.open.get(piece) : undefined;
      customer.onTheWay.push({ grant, left: bytes, release });
      if (!grant) return;
      grant.sent += bytes;
      if (grant.sent < grant.bytes) return;
      customer.open.delete(piece);
      askInTime(customer);
    },
    delivered(customer, bytes) {
      const sent = customer.onTheWay[0];
      if (!sent) return;
      sent.left -= bytes;
      if (sent.left <= 0) {
        customer.onTheWay.shift();
        sent.release?.();
      }
      const { grant } = sent;
      if (!grant) return;
      grant.delivered += bytes;
      if (grant.delivered < grant.bytes) return;
      customer.grants.delete(grant);
      gate.sent(customer.peer, grant.piece, grant.bytes);
    },
    drop(customer) {
      const dropped = [...customer.grants].map(({ piece, bytes, delivered }) => ({
        piece,
        bytes,
        delivered,
      }));
      if (dropped.length > 0) gate.dropped(customer.peer, dropped);
    },
  };
}
