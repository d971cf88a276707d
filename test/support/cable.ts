/**
 * A connection between a seeder and a fetcher in one process: what each side says arrives in order, one message at a time,
 * until the cable is cut; what is under way then is lost.
 */
import type { PayLink } from '../../src/channels/link.js';
import { blockBytesMax, blockHeadBytes } from '../../src/limits.js';
import type * as Fetchers from '../../src/torrent/fetcher.js';
import type * as Seeders from '../../src/torrent/seeder.js';
import type { Chance } from './chance.js';

/** Both ends of a connection, and what is under way between them. */
export class Cable {
  readonly #ways: Readonly<Record<'payee' | 'payer', Array<() => void>>> = { payee: [], payer: [] };
  closed = false;
  readonly #onCut: () => void;

  constructor(onCut: () => void) {
    this.#onCut = onCut;
  }
  get empty(): boolean {
    return this.#ways.payee.length + this.#ways.payer.length === 0;
  }
  put(to: 'payee' | 'payer', deliver: () => void): void {
    if (!this.closed) this.#ways[to].push(deliver);
  }
  deliver(draw: Chance): void {
    this.#way(draw).shift()?.();
  }
  /** All that is under way to one end, in one turn. */
  deliverAll(draw: Chance): void {
    const way = this.#way(draw);
    for (let count = way.length; count > 0 && !this.closed; count--) way.shift()?.();
  }
  cut(): void {
    if (this.closed) return;
    this.closed = true;
    this.#onCut();
  }
  #way(draw: Chance): Array<() => void> {
    const { payee, payer } = this.#ways;
    return payee.length === 0 || (payer.length > 0 && draw.percent(50)) ? payer : payee;
  }
}

/** The payee's end of a connection. */
export class SellerEnd implements Seeders.SeedPeer {
  readonly id = ids++;
  readonly fast = true;
  peerInterested = true;
  link: PayLink | undefined;
  buyer: BuyerEnd | undefined;
  readonly #cable: Cable;
  readonly #fetcher: Fetchers.Fetcher;
  readonly #left: (bytes: number) => void;

  constructor(cable: Cable, fetcher: Fetchers.Fetcher, left: (bytes: number) => void) {
    [this.#cable, this.#fetcher, this.#left] = [cable, fetcher, left];
  }
  choke(): void {
    this.#say((buyer) => {
      buyer.peerChoking = true;
      this.#fetcher.choked(buyer);
    });
  }
  unchoke(): void {
    this.#say((buyer) => {
      buyer.peerChoking = false;
      this.#fetcher.unchoked(buyer);
    });
  }
  sendRoom(): number {
    return Number.POSITIVE_INFINITY;
  }
  sendBlock(index: number, offset: number, bytes: Uint8Array): void {
    const copy = bytes.slice();
    setImmediate(() => this.#cable.closed || this.#left(copy.length));
    this.#say((buyer) => this.#fetcher.block(buyer, index, offset, copy));
  }
  sendBlocks(index: number, offset: number, frames: Uint8Array): void {
    const step = blockHeadBytes + blockBytesMax;
    for (let at = 0, from = offset; at < frames.length; at += step, from += blockBytesMax)
      this.sendBlock(index, from, frames.subarray(at + blockHeadBytes, at + step));
  }
  rejectRequest(index: number, offset: number, length: number): void {
    this.#say((buyer) => this.#fetcher.rejected(buyer, index, offset, length));
  }
  destroy(): void {
    this.#cable.cut();
  }
  #say(deliver: (buyer: BuyerEnd) => void): void {
    this.#cable.put('payer', () => deliver(this.buyer!));
  }
}

/** The payer's end of a connection. */
export class BuyerEnd implements Fetchers.FetchPeer {
  readonly id = ids++;
  readonly fast = true;
  readonly reqq = 2_000;
  peerChoking = true;
  link: PayLink | undefined;
  readonly #cable: Cable;
  readonly #seeder: Seeders.Seeder;
  readonly #seller: SellerEnd;

  constructor(cable: Cable, seeder: Seeders.Seeder, seller: SellerEnd) {
    [this.#cable, this.#seeder, this.#seller] = [cable, seeder, seller];
  }
  has(): boolean {
    return true;
  }
  interested(): void {}
  notInterested(): void {}
  have(): void {}
  request(index: number, offset: number, length: number): void {
    this.#cable.put('payee', () => this.#seeder.request(this.#seller, index, offset, length));
  }
  cancel(index: number, offset: number, length: number): void {
    this.#cable.put('payee', () => this.#seeder.cancel(this.#seller, index, offset, length));
  }
  destroy(): void {
    this.#cable.cut();
  }
}

let ids = 1;

export function isAt(peer: Seeders.SeedPeer): peer is SellerEnd {
  return (peer as SellerEnd).link?.closed === false;
}
