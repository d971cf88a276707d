/**
 * One piece on its way from one peer: which blocks are wanted, asked for and there. Pure bookkeeping over one
 * buffer; who is asked, and what happens when it is whole, is the fetcher's.
 */
import { blockBytesMax } from '../limits.js';

export interface Assembly {
  readonly piece: number;
  readonly bytes: Uint8Array;
  /** Blocks that are not there yet. */
  missing(): number;
  /** Blocks that are asked for and not there. */
  asked(): number;
  /** The next block to ask for, now marked as asked; undefined when all are asked for. */
  next(): Block | undefined;
  /** Takes a block in: 'taken', 'late' when it was there already, or 'wrong' when it is no block of this piece. */
  put(offset: number, block: Uint8Array): 'taken' | 'late' | 'wrong';
  /** The block will not come: it may be asked for again. Returns whether it had been asked for. */
  unask(offset: number): boolean;
  unaskAll(): void;
  /** Every block that is asked for. */
  askedBlocks(): Block[];
}

export interface Block {
  readonly offset: number;
  readonly length: number;
}

const WANTED = 0;
const ASKED = 1;
const THERE = 2;

/** A piece in `bytes`; what they held before does not matter. */
export function create(
  piece: number,
  pieceBytes: number,
  bytes: Uint8Array = new Uint8Array(pieceBytes),
): Assembly {
  const states = new Uint8Array(Math.ceil(pieceBytes / blockBytesMax));
  let missing = states.length;
  let asked = 0;
  let cursor = 0;

  const blockAt = (at: number): Block => ({
    offset: at * blockBytesMax,
    length: Math.min(blockBytesMax, pieceBytes - at * blockBytesMax),
  });
  const unaskAt = (at: number): boolean => {
    if (states[at] !== ASKED) return false;
    states[at] = WANTED;
    asked--;
    cursor = Math.min(cursor, at);
    return true;
  };
  return {
    piece,
    bytes,
    missing: () => missing,
    asked: () => asked,
    next() {
      while (cursor < states.length && states[cursor] !== WANTED) cursor++;
      if (cursor >= states.length) return undefined;
      states[cursor] = ASKED;
      asked++;
      return blockAt(cursor);
    },
    put(offset, block) {
      const at = offset / blockBytesMax;
      if (!Number.isInteger(at) || at >= states.length || blockAt(at).length !== block.length) return 'wrong';
      if (states[at] === THERE) return 'late';
      if (states[at] === ASKED) asked--;
      states[at] = THERE;
      missing--;
      bytes.set(block, offset);
      return 'taken';
    },
    unask: (offset) => unaskAt(offset / blockBytesMax),
    unaskAll() {
      for (let at = 0; at < states.length; at++) unaskAt(at);
    },
    askedBlocks: () => [...states.keys()].filter((at) => states[at] === ASKED).map(blockAt),
  };
}
