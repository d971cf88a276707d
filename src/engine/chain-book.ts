/**
 * Channels of the book as the chain sees them: reads facts and puts them into the book. What is re-read comes from
 * the contract's own views alone; who opens or tops up a channel may also put what its agreed receipt says.
 */
import { type ChannelFacts, formatAddress, parseAddress, TOMBSTONE } from '../channels/channel.js';
import { PieceworkError } from '../errors.js';
import type { Ledger } from '../ledger/ledger.js';
import type { ChannelRecord, Command } from '../native/records.js';
import { sameBytes, toHex } from '../units.js';
import type { ChainSide } from './chain-side.js';

export interface ChainBookOptions {
  readonly side: ChainSide;
  readonly ledger: Ledger;
  /** Told of facts after they are in the book. */
  readonly onFacts: (facts: ChannelFacts) => Promise<void>;
}

/** A channel of the book with the payer that the chain names. */
export type KnownChannel = ChannelRecord & { readonly owner: Uint8Array };

export interface ChainBook {
  /** Puts facts into the book. */
  put(facts: ChannelFacts, role: 'payer' | 'payee', keyIndex: number): Promise<void>;
  /** Re-reads channels from the chain into the book. Costs one view call for each 500 channels or so. */
  refresh(channels: readonly ChannelRecord[]): Promise<KnownChannel[]>;
  /** The channel of a voucher key. @throws PieceworkError NOT_FOUND. */
  find(voucherKey: string): Promise<ChannelRecord>;
}

export function createChainBook({ side, ledger, onFacts }: ChainBookOptions): ChainBook {
  async function put(facts: ChannelFacts, role: 'payer' | 'payee', keyIndex: number): Promise<void> {
    const { voucherKey, payee, deposit, settled, closeAt, block } = facts;
    const fields = { voucherKey, payee, deposit, settled, closeAt, block: Number(block), keyIndex };
    const command: Command = { kind: 'channel_put', role, ...fields };
    const [outcome] = await ledger.commit([command]);
    if (outcome!.status !== 'ok')
      throw new PieceworkError('INTERNAL', `the ledger refused a channel: ${outcome!.status}`);
    if (role === 'payee') await onFacts(facts);
  }

  /** A channel of our key that someone else opened first is not ours to use: it counts as closed. */
  function withoutForeign(facts: ChannelFacts, { role }: ChannelRecord): ChannelFacts {
    const foreign = side.account && facts.deposit > 0n && !sameBytes(facts.owner, side.account.address);
    return role === 'payer' && foreign ? { ...facts, closeAt: TOMBSTONE } : facts;
  }

  return {
    put,
    async refresh(channels) {
      if (channels.length === 0) return [];
      const { readFacts } = await side.ready();
      const facts = await readFacts(channels);
      // Together, so that they share a sync; what is as it was is no news to anyone.
      await Promise.all(
        channels.map(async (channel, at) => {
          const now = withoutForeign(facts[at]!, channel);
          if (!isSame(channel, now)) await put(now, channel.role, channel.keyIndex);
        }),
      );
      return Promise.all(
        channels.map(async ({ voucherKey, payee }, at) => {
          const channel = (await ledger.channel(voucherKey, payee))!;
          return { ...channel, owner: facts[at]!.owner };
        }),
      );
    },
    async find(voucherKey) {
      const key = parseAddress(voucherKey);
      const found = (await ledger.channels()).find((channel) => toHex(channel.voucherKey) === toHex(key));
      if (!found) throw new PieceworkError('NOT_FOUND', `no channel with voucher key ${formatAddress(key)}`);
      return found;
    },
  };
}

function isSame(known: ChannelRecord, { deposit, settled, closeAt }: ChannelFacts): boolean {
  return known.deposit === deposit && known.settled === settled && known.closeAt === closeAt;
}
