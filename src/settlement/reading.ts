/**
 * Reads channels at a head and at the depths that the tiers ask for, all on one branch, and gives what counts
 * of them. Cost: one header for each tier deeper than the head, and a call of the escrow's view for each depth
 * and thousand channels.
 */
import type { ChannelKey } from '../channels/channel.js';
import { PieceworkError } from '../errors.js';
import type { Head } from './answers.js';
import type { Chain } from './chain.js';
import type { EscrowBackend } from './escrow.js';
import { type Counted, counted, type Tier } from './tiers.js';

export type Reader = (keys: readonly ChannelKey[], at: Head) => Promise<readonly Counted[]>;

/** @throws PieceworkError CHAIN_UNREACHABLE also when the head was replaced while it was read. */
export function createReader(
  chain: Pick<Chain, 'block'>,
  escrow: Pick<EscrowBackend, 'readChannels'>,
  tiers: readonly Tier[],
): Reader {
  async function ancestors(at: Head): Promise<readonly (Head | undefined)[]> {
    const found: (Head | undefined)[] = [];
    for (const { confirmations } of tiers) {
      const back = BigInt(confirmations - 1);
      found.push(back === 0n ? at : back > at.number ? undefined : await chain.block(at.number - back));
    }
    // Blocks are asked for by number: they are this head's ancestors if it is still canonical after them.
    const still = found.some((block) => block !== at) ? await chain.block(at.number) : at;
    if (still?.hash === at.hash) return found;
    throw new PieceworkError('CHAIN_UNREACHABLE', `block ${at.number} was replaced while it was read`);
  }

  return async (keys, at) => {
    if (keys.length === 0) return [];
    const blocks = await ancestors(at);
    const newest = await escrow.readChannels(keys, at);
    const deep = await Promise.all(
      blocks.map((block) => (block === at ? newest : block && escrow.readChannels(keys, block))),
    );
    return newest.map((facts, index) =>
      counted(
        tiers,
        facts,
        deep.map((read) => read?.[index]),
      ),
    );
  };
}
