/**
 * The seller's eye on the chain: watches the channels that pay or owe, takes what counts of them into the books
 * before anybody acts on it, and says what a reorganisation took. What was seen is re-read, never guessed.
 */
import { type ChannelFacts, TOMBSTONE } from '../channels/channel.js';
import type { Ledger } from '../ledger/ledger.js';
import { type Change, Watcher } from '../settlement/watcher.js';
import { formatAmount } from '../units.js';
import { channelName, type ReadyChain } from './chain-side.js';

export interface WatchingOptions {
  readonly chain: ReadyChain;
  readonly ledger: Ledger;
  /** Resolves once the facts are in the book. */
  readonly onFacts: (facts: ChannelFacts) => Promise<void>;
  readonly onWarning: (text: string) => void;
}

/** Watches nothing yet: `watchOwed` and `watch` say what, `start` begins. */
export function createWatching({ chain, ledger, onFacts, onWarning }: WatchingOptions): Watcher {
  return new Watcher(
    chain.chain,
    chain.escrow,
    {
      async onFacts(changes) {
        await Promise.all(changes.map(({ facts }) => onFacts(facts)));
        for (const change of changes) await warnOfLoss(ledger, change, onWarning);
      },
      onFailure: (error) => onWarning(`watching the chain: ${error.message}`),
      onUnreachable: (error) => onWarning(`the chain cannot be read: ${error.message}`),
      onReachable: () => onWarning('the chain answers again'),
      onReorg: (gone, _, depth) => {
        const { confirmations } = chain.tiers.at(-1)!;
        const deep = depth >= BigInt(confirmations) ? ', deeper than what counts as final' : '';
        onWarning(`${depth} blocks up to ${gone.number} were replaced${deep}: all channels are read again`);
      },
    },
    { tiers: chain.tiers },
  );
}

/** Watches the payee's channels that hold a voucher above what is settled: a close could lose it. */
export async function watchOwed(watcher: Watcher, ledger: Ledger): Promise<void> {
  for (const channel of await ledger.channels()) {
    const owed =
      channel.role === 'payee' && channel.authorized > channel.settled && channel.closeAt !== TOMBSTONE;
    if (owed) watcher.watch(channel, BigInt(channel.block));
  }
}

/** A deposit that counted and is gone: vouchers above what is left of it are worth nothing now. */
async function warnOfLoss(
  ledger: Ledger,
  { facts, before }: Change,
  onWarning: (text: string) => void,
): Promise<void> {
  if (before === undefined || facts.deposit >= before.deposit) return;
  const channel = await ledger.channel(facts.voucherKey, facts.payee);
  const accepted = channel?.authorized ?? 0n;
  const unbacked = accepted > facts.deposit ? accepted - facts.deposit : 0n;
  const counted = `${formatAmount(facts.deposit)} instead of ${formatAmount(before.deposit)}`;
  const loss = unbacked > 0n ? `; vouchers of ${formatAmount(unbacked)} are not backed now` : '';
  onWarning(`the deposit of ${channelName(facts)} counts ${counted}${loss}`);
}
