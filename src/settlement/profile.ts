/**
 * What is known of each chain before it is asked: ids, default nodes, how deep a block must lie before it
 * counts, and the lowest gas price its nodes relay. Data only. Every chain here is a Berlin EVM, so all
 * transactions are legacy ones with EIP-155 replay protection.
 */
import type { Address } from '../channels/channel.js';
import { PieceworkError } from '../errors.js';

export interface Profile {
  readonly name: string;
  /** EIP-155. */
  readonly chainId: bigint;
  /** Nodes asked in turn: the first that answers stays in use until it fails. */
  readonly rpcUrls: readonly string[];
  /** Blocks, the one that holds a fact included, after which the fact counts. At least 1. */
  readonly confirmations: number;
  /** Base units per unit of gas below which nodes of this chain do not relay. */
  readonly gasPriceFloor: bigint;
  readonly blockTimeMs: number;
  /**
   * The shortest challenge period, in seconds, of a hub that is trusted here: a close request must be seen
   * at the confirmed block and answered with time to spare.
   */
  readonly challengePeriodMin: number;
  /** Hash of block 0, compared on connecting where it is known. */
  readonly genesisHash: string | undefined;
  /** The hub deployed on this chain; undefined where none is known. */
  readonly hub: Address | undefined;
}

/** A chain on one's own machine, as `dev-chain` starts it. */
export const local: Profile = {
  name: 'local',
  chainId: 31415n,
  rpcUrls: ['http://127.0.0.1:8545'],
  confirmations: 1,
  gasPriceFloor: 300_000_000_000_000n,
  blockTimeMs: 2_000,
  challengePeriodMin: 1,
  genesisHash: undefined,
  hub: undefined,
};

/**
 * BitTorrent Chain. Block producers change every 64 blocks and may then replace what the last one built, so
 * a fact counts after two such sprints. Floor: the launch scripts' minimum; the node is asked for its own.
 */
export const bttc: Profile = {
  name: 'bttc',
  chainId: 199n,
  rpcUrls: ['https://rpc.bt.io', 'https://rpc.bittorrentchain.io', 'https://bttc.trongrid.io'],
  confirmations: 128,
  gasPriceFloor: 300_000_000_000_000n,
  blockTimeMs: 2_000,
  challengePeriodMin: 3_600,
  genesisHash: '0x021eb3b7c4161d91f6f92632ebe6e28aa440dd23e3016c086d0fad4b119fcdc1',
  hub: undefined,
};

/** Donau, the test network of BitTorrent Chain. */
export const donau: Profile = {
  name: 'donau',
  chainId: 1029n,
  rpcUrls: ['https://pre-rpc.bt.io'],
  confirmations: 128,
  gasPriceFloor: 9_000_000_000_000_000n,
  blockTimeMs: 2_000,
  challengePeriodMin: 600,
  genesisHash: '0x9b0a7d8dcbdef00594103f1addbe206daa55f2e422ace24419b7680b3fb34cf5',
  hub: undefined,
};

export const PROFILES: readonly Profile[] = [local, bttc, donau];

/** The profile of that name. @throws PieceworkError BAD_CONFIG where there is none. */
export function named(name: string): Profile {
  const found = PROFILES.find((profile) => profile.name === name);
  if (found) return found;
  const names = PROFILES.map((profile) => profile.name).join(', ');
  throw new PieceworkError('BAD_CONFIG', `there is no chain "${name}"; choose one of ${names}`);
}
