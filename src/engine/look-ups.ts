/**
 * Asking the chain about channels that peers name. Anyone can make up voucher keys, so questions are gathered
 * into one read at a time, a bounded number may wait, and what does not fit is answered as unknown.
 */
import type { ChannelFacts, ChannelKey } from '../channels/channel.js';
import { lookUpsMax } from '../limits.js';

interface Question {
  readonly key: ChannelKey;
  readonly resolve: (facts: ChannelFacts | undefined) => void;
  readonly reject: (reason: unknown) => void;
}

/** Cost: one read of the chain for all questions that came while the one before it was under way. */
export function createLookUps(read: (keys: readonly ChannelKey[]) => Promise<readonly ChannelFacts[]>) {
  let waiting: Question[] = [];
  let busy = false;

  async function drain(): Promise<void> {
    busy = true;
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      try {
        const facts = await read(batch.map(({ key }) => key));
        for (const [at, { resolve }] of batch.entries()) resolve(facts[at]);
      } catch (reason) {
        for (const { reject } of batch) reject(reason);
      }
    }
    busy = false;
  }

  return (key: ChannelKey): Promise<ChannelFacts | undefined> => {
    if (waiting.length >= lookUpsMax) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      waiting.push({ key, resolve, reject });
      if (!busy) void drain();
    });
  };
}
