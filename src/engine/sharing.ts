/**
 * What the downloads of one ledger share: the heads of its channels, turns in choosing a channel to a payee, and what each
 * torrent will still need of the channel that it is paid from, so that none counts on the same money as another.
 */
import type { Heads } from '../accounting/head.js';
import type { PayLink } from '../channels/link.js';
import { toHex } from '../units.js';

/** What a torrent takes from a channel by one connection. */
export interface Claim {
  readonly channel: number;
  readonly infohash: Uint8Array;
  readonly byTicks: boolean;
  /** Base units that it will still need and has not reserved. */
  needed(): Promise<bigint>;
}

export interface Sharing {
  readonly heads: Heads;
  claim(link: PayLink, claim: Claim): void;
  release(link: PayLink): void;
  /** What other torrents will still need of a channel, in base units. Costs a read of the sessions for each connection that pays from it. */
  claimedByOthers(channel: number, infohash: Uint8Array): Promise<bigint>;
  /**
   * Whether another torrent is paid from a channel, and one of the two by ticks: what is ahead on one is not what the other
   * owes, so that they could wait for each other.
   */
  isTaken(channel: number, infohash: Uint8Array, byTicks: boolean): boolean;
  /** Runs what chooses a channel to a payee, behind all that were asked to before. */
  inTurn<Result>(payee: Uint8Array, choose: () => Promise<Result>): Promise<Result>;
}

export function createSharing(): Sharing {
  const claims = new Map<PayLink, Claim>();
  const turns = new Map<string, Promise<unknown>>();
  return {
    heads: new Map(),
    claim: (link, claim) => void claims.set(link, claim),
    release: (link) => void claims.delete(link),
    async claimedByOthers(channel, infohash) {
      const own = toHex(infohash);
      // A torrent that has several connections to the payee needs its bytes once.
      const needs = new Map<string, bigint>();
      for (const claim of claims.values()) {
        const torrent = toHex(claim.infohash);
        if (claim.channel !== channel || torrent === own) continue;
        const need = await claim.needed();
        if (need > (needs.get(torrent) ?? 0n)) needs.set(torrent, need);
      }
      return [...needs.values()].reduce((sum, need) => sum + need, 0n);
    },
    isTaken(channel, infohash, byTicks) {
      const own = toHex(infohash);
      for (const claim of claims.values()) {
        const isOther = claim.channel === channel && toHex(claim.infohash) !== own;
        if (isOther && (byTicks || claim.byTicks)) return true;
      }
      return false;
    },
    inTurn(payee, choose) {
      const key = toHex(payee);
      const turn = (turns.get(key) ?? Promise.resolve()).then(choose);
      const over = turn.then(
        () => {},
        () => {},
      );
      turns.set(key, over);
      void over.then(() => turns.get(key) === over && turns.delete(key));
      return turn;
    },
  };
}
