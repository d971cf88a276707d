/**
 * Timing two ways of doing the same thing against each other. The sides of a pair take turns in short slots
 * (A B, B A, A B, …) and each turn gives one ratio, so that whatever else the machine does hits both sides. What is
 * reported is the median with the whole range. A runner that measures one task after the other, as benchmark
 * libraries do, cannot do this.
 */

/** One side of a pair. */
export interface Contender {
  /** Untimed: makes the input of the next `run`. */
  prepare?(): void;
  /** Does some of the work and says how many units it did. */
  run(): number | Promise<number>;
}

/** Two sides; without a peer only our own side is timed. */
export interface Pair {
  readonly ours: Contender;
  readonly peer: Contender | undefined;
}

export interface Effort {
  /** Turns of each pair. */
  readonly rounds: number;
  /** Each side runs at least this long in a turn. */
  readonly slotMs: number;
}

/** Units per second of both sides and how many times better ours is. */
export interface Measured {
  readonly ours: number;
  readonly peer: number | null;
  readonly ratio: number | null;
  /** The smallest and largest ratio of a turn; of our own figure where there is no peer. */
  readonly range: readonly [number, number];
}

/**
 * What a second is. `core`: one that this process ran, all its threads together, so that work is counted per core
 * and other programs take nothing away. `wall`: one of the clock, where waiting for the disk is part of the work.
 */
export type Second = 'core' | 'wall';

const NOW_MS: Readonly<Record<Second, () => number>> = {
  core: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
  wall: () => performance.now(),
};

/** Measures all pairs, interleaved turn by turn. Results are in the order of `pairs`. */
export async function measure(pairs: readonly Pair[], effort: Effort, second: Second): Promise<Measured[]> {
  const rate = (contender: Contender, slotMs: number) => rateOf(contender, slotMs, NOW_MS[second]);
  for (const { ours, peer } of pairs) {
    // Code that runs for the first time is compiled while it is timed; let that happen outside the turns.
    await rate(ours, effort.slotMs / 4);
    if (peer) await rate(peer, effort.slotMs / 4);
  }
  const turns: Array<Array<{ ours: number; peer: number | undefined }>> = pairs.map(() => []);
  for (let round = 0; round < effort.rounds; round++) {
    for (const [at, { ours, peer }] of pairs.entries()) {
      // Who goes first alternates: the second one finds a warmer processor and the first one's garbage.
      const early = round % 2 === 1 && peer ? await rate(peer, effort.slotMs) : undefined;
      const own = await rate(ours, effort.slotMs);
      const other = early ?? (peer ? await rate(peer, effort.slotMs) : undefined);
      turns[at]!.push({ ours: own, peer: other });
    }
  }
  return turns.map(summarise);
}

/** The middle value; the mean of the two middle ones where the count is even. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + sorted[(sorted.length >> 1) - 1]!) / 2;
}

/** The smallest and the largest value. */
export function rangeOf(values: readonly number[]): readonly [number, number] {
  return [Math.min(...values), Math.max(...values)];
}

/** What turns of a pair come to. Ratios are taken within a turn, not between the medians. */
export function summarise(turns: ReadonlyArray<{ ours: number; peer: number | undefined }>): Measured {
  const own = turns.map(({ ours }) => ours);
  const peers = turns.flatMap(({ peer }) => (peer === undefined ? [] : [peer]));
  if (peers.length < turns.length) {
    return { ours: median(own), peer: null, ratio: null, range: rangeOf(own) };
  }
  const ratios = turns.map(({ ours }, at) => ours / peers[at]!);
  return { ours: median(own), peer: median(peers), ratio: median(ratios), range: rangeOf(ratios) };
}

/** Units per second over one slot. */
async function rateOf(contender: Contender, slotMs: number, nowMs: () => number): Promise<number> {
  globalThis.gc?.();
  let units = 0;
  let spentMs = 0;
  do {
    contender.prepare?.();
    const begin = nowMs();
    const result = contender.run();
    // Waiting for a value that is there already would cost a turn of the queue.
    units += typeof result === 'number' ? result : await result;
    spentMs += nowMs() - begin;
  } while (spentMs < slotMs);
  return (units * 1000) / spentMs;
}

/** Stops the bench when a result is not what a plain implementation says. */
export function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`wrong result, so nothing is timed: ${what}`);
}
