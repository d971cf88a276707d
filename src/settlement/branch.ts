/**
 * Which branch of the chain was followed so far: tells a reorganisation from progress and from a node that only
 * lags behind. It remembers the heads it followed, a few hundred of them.
 */
import type { Head } from './answers.js';
import type { Chain } from './chain.js';

/** What a head is to the one followed last. */
export type Standing = 'first' | 'same' | 'lagging' | 'onward' | 'replaced';

/** Heads remembered: more than any reorganisation that is expected here. */
const rememberedMax = 256;

export function createBranch(chain: Pick<Chain, 'block'>) {
  /** Number → hash, oldest first. */
  const seen = new Map<bigint, string>();
  let last: Head | undefined;

  const isCanonical = async (number: bigint, at: Head): Promise<boolean> => {
    const hash = number === at.number ? at.hash : (await chain.block(number))?.hash;
    return hash === seen.get(number);
  };

  return {
    /** The head followed last. */
    get last(): Head | undefined {
      return last;
    },

    async standingOf(at: Head): Promise<Standing> {
      if (!last) return 'first';
      if (last.hash === at.hash) return 'same';
      if (at.parentHash === last.hash) return 'onward';
      if (at.number < last.number) return seen.get(at.number) === at.hash ? 'lagging' : 'replaced';
      return (await isCanonical(last.number, at)) ? 'onward' : 'replaced';
    },

    /** The highest block known to be common to the followed branch and `at`'s; −1 where all that is remembered is gone. */
    async forkOf(at: Head): Promise<bigint> {
      const numbers = [...seen.keys()].filter((number) => number <= at.number);
      let [low, high] = [0, numbers.length];
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (await isCanonical(numbers[middle]!, at)) low = middle + 1;
        else high = middle;
      }
      return low === 0 ? -1n : numbers[low - 1]!;
    },

    /** Takes a head as the one followed last; of what it replaces nothing is remembered. */
    follow(at: Head): void {
      last = at;
      for (const number of [...seen.keys()].reverse()) {
        if (number < at.number) break;
        seen.delete(number);
      }
      seen.set(at.number, at.hash);
      if (seen.size > rememberedMax) seen.delete(seen.keys().next().value!);
    },
  };
}
