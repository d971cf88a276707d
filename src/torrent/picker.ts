/**
 * Which piece to ask a peer for next: the rarest that it has, and among equals the next in order from a random
 * start. It knows who has what and what is taken; it asks nobody.
 */

export interface Picker {
  /** A peer's pieces became known or changed as a whole. */
  learn(peer: number, has: (index: number) => boolean): void;
  learnOne(peer: number, index: number): void;
  forget(peer: number): void;
  /** Whether the peer has a piece that is still wanted, taken or not. */
  hasWanted(peer: number): boolean;
  /** Takes the best piece that the peer has, that is wanted and that `allowed` lets pass. */
  take(peer: number, allowed: (index: number) => boolean): number | undefined;
  /** Gives a taken piece back. */
  release(index: number): void;
  /** The piece is there: nobody wants it any more. */
  finish(index: number): void;
  /** Pieces that are wanted and not taken. */
  freeCount(): number;
}

interface Holder {
  readonly bits: Uint8Array;
  /** Place in the order before which nothing is left for this peer. */
  cursor: number;
  /** Wanted pieces that the peer has. */
  wanted: number;
}

const WANTED = 0;
const TAKEN = 1;
const DONE = 2;
/** The order by rarity is made anew at most once in this many changes, plus once a piece. */
const CHANGES_PER_SORT = 64;

/** `random` gives a number from 0 to 1, without 1. */
export function create(pieceCount: number, has: (index: number) => boolean, random: () => number): Picker {
  const states = new Uint8Array(pieceCount);
  const availability = new Uint16Array(pieceCount);
  const holders = new Map<number, Holder>();
  const start = Math.floor(random() * pieceCount);
  let order = new Uint32Array(0);
  let changes = CHANGES_PER_SORT;
  let free = 0;
  for (let index = 0; index < pieceCount; index++) {
    states[index] = has(index) ? DONE : WANTED;
    if (states[index] === WANTED) free++;
  }

  const sort = (): void => {
    changes = 0;
    // Counting sort: stable, so that equals stay in their order from the start on.
    const places = new Uint32Array(holders.size + 2);
    const rank = (index: number): number => Math.min(availability[index] ?? 0, holders.size);
    for (let index = 0; index < pieceCount; index++) {
      const above = rank(index) + 1;
      places[above] = (places[above] ?? 0) + 1;
    }
    for (let at = 1; at < places.length; at++) places[at] = (places[at] ?? 0) + (places[at - 1] ?? 0);
    order = new Uint32Array(pieceCount);
    for (let step = 0; step < pieceCount; step++) {
      const index = (start + step) % pieceCount;
      const place = places[rank(index)] ?? 0;
      order[place] = index;
      places[rank(index)] = place + 1;
    }
    for (const holder of holders.values()) holder.cursor = 0;
  };
  const hold = (holder: Holder, index: number): void => {
    if (holder.bits[index] === 1) return;
    holder.bits[index] = 1;
    availability[index] = (availability[index] ?? 0) + 1;
    if (states[index] !== DONE) holder.wanted++;
    holder.cursor = 0;
    changes++;
  };
  const forget = (peer: number): void => {
    const holder = holders.get(peer);
    if (!holder) return;
    holders.delete(peer);
    changes += CHANGES_PER_SORT;
    for (let index = 0; index < pieceCount; index++) {
      if (holder.bits[index] === 1) availability[index] = (availability[index] ?? 1) - 1;
    }
  };
  const holderOf = (peer: number): Holder => {
    const holder = holders.get(peer) ?? { bits: new Uint8Array(pieceCount), cursor: 0, wanted: 0 };
    holders.set(peer, holder);
    return holder;
  };

  return {
    learn(peer, theirs) {
      forget(peer);
      const holder = holderOf(peer);
      for (let index = 0; index < pieceCount; index++) if (theirs(index)) hold(holder, index);
      changes += CHANGES_PER_SORT;
    },
    learnOne(peer, index) {
      if (index < pieceCount) hold(holderOf(peer), index);
    },
    forget,
    hasWanted: (peer) => (holders.get(peer)?.wanted ?? 0) > 0,
    take(peer, allowed) {
      const holder = holders.get(peer);
      if (!holder || free === 0) return undefined;
      if (changes >= CHANGES_PER_SORT) sort();
      let passed = true;
      for (let at = holder.cursor; at < pieceCount; at++) {
        const index = order[at] ?? 0;
        const candidate = states[index] === WANTED && holder.bits[index] === 1;
        if (candidate && allowed(index)) {
          if (passed) holder.cursor = at + 1;
          states[index] = TAKEN;
          free--;
          return index;
        }
        // A piece that is only not allowed now must be met again.
        if (candidate && passed) {
          holder.cursor = at;
          passed = false;
        }
      }
      if (passed) holder.cursor = pieceCount;
      return undefined;
    },
    release(index) {
      if (states[index] !== TAKEN) return;
      states[index] = WANTED;
      free++;
      for (const holder of holders.values()) holder.cursor = 0;
    },
    finish(index) {
      if (states[index] === DONE) return;
      if (states[index] === WANTED) free--;
      states[index] = DONE;
      for (const holder of holders.values()) if (holder.bits[index] === 1) holder.wanted--;
    },
    freeCount: () => free,
  };
}
