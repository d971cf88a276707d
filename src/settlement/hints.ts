/**
 * Which channels the escrow's logs ask to read again, and when: at the block of a log, and again each time that
 * block reaches the depth of a tier. Logs are hints: one too many costs a read, one too few is made up for by
 * the watcher's sweeps. Cost: one query of logs for each new head, and an entry for each log of the last
 * tier's depth.
 */
import { channelId } from '../channels/channel.js';
import { PieceworkError } from '../errors.js';
import { hintBlocksMax } from '../limits.js';
import { toHex } from '../units.js';
import type { Head } from './answers.js';
import type { EscrowBackend, LoggedEvent } from './escrow.js';
import type { Tier } from './tiers.js';

export interface Due {
  /** Ids of channels. */
  readonly channels: ReadonlySet<string>;
  /** Payees for whom a batch was settled: which rows it raised is not in the log. */
  readonly payees: ReadonlySet<string>;
}

export function createHints(escrow: Pick<EscrowBackend, 'events'>, tiers: readonly Tier[]) {
  const depths = [...new Set([1n, ...tiers.map(({ confirmations }) => BigInt(confirmations))])];
  const deepest = depths.reduce((a, b) => (a > b ? a : b));
  let recent: LoggedEvent[] = [];

  return {
    /**
     * Takes the logs after `last` up to `at` in, or where that is too many or `last` is undefined those that a
     * tier may still wait for. False where they do not tell all that happened: then everything has to be read.
     */
    async take(last: Head | undefined, at: Head): Promise<boolean> {
      const window = at.number >= deepest ? at.number - deepest + 1n : 0n;
      const next = last && at.number - last.number <= hintBlocksMax ? last.number + 1n : undefined;
      const first = next ?? window;
      recent = next === undefined ? [] : recent.filter(({ block }) => block < next);
      try {
        for (let from = first; from <= at.number; from += hintBlocksMax) {
          const to = from + hintBlocksMax - 1n;
          recent.push(...(await escrow.events(from, to < at.number ? to : at.number)));
        }
        return next !== undefined;
      } catch (thrown) {
        // A node may refuse to search its logs and answer everything else.
        if (thrown instanceof PieceworkError && thrown.code === 'CHAIN_REJECTED') return false;
        throw thrown;
      }
    },

    /** What came to a depth that counts after `last` and up to `at`. */
    due(last: Head, at: Head): Due {
      const [channels, payees] = [new Set<string>(), new Set<string>()];
      for (const { block, event } of recent) {
        const crosses = depths.some((depth) => {
          const reached = block + depth - 1n;
          return reached > last.number && reached <= at.number;
        });
        if (!crosses) continue;
        if (event.type === 'settled') payees.add(toHex(event.payee));
        else if (event.type !== 'credit_withdrawn') channels.add(toHex(channelId(event)));
      }
      return { channels, payees };
    },

    /** Drops what is too deep to ask for another read. */
    forget(head: bigint): void {
      recent = recent.filter(({ block }) => block + deepest - 1n > head);
    },
  };
}
