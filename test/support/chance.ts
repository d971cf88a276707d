/** Repeatable randomness for harnesses: the same seed gives the same draws. */

export interface Chance {
  readonly seed: number;
  /** A whole number from 0 to `bound` − 1. */
  below(bound: number): number;
  /** Whether something that happens `percent` times in a hundred happens now. */
  percent(percent: number): boolean;
  pick<Item>(items: readonly Item[]): Item;
  bytes(size: number): Buffer;
}

/** The seed that PIECEWORK_SEED names, else a fresh one. Print it: it repeats the run. */
export function seedFromEnvironment(): number {
  const named = process.env['PIECEWORK_SEED'];
  return named === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(named) >>> 0;
}

/** mulberry32 */
export function chance(seed: number): Chance {
  let at = seed >>> 0;
  const next = (): number => {
    at = (at + 0x6d2b79f5) >>> 0;
    let z = Math.imul(at ^ (at >>> 15), at | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return (z ^ (z >>> 14)) >>> 0;
  };
  const below = (bound: number): number => next() % bound;
  return {
    seed,
    below,
    percent: (percent) => below(100) < percent,
    pick: (items) => items[below(items.length)]!,
    bytes(size) {
      const bytes = Buffer.alloc(Math.ceil(size / 4) * 4);
      for (let offset = 0; offset < size; offset += 4) bytes.writeUInt32LE(next(), offset);
      return bytes.subarray(0, size);
    },
  };
}
