/**
 * How things are put to a node: the parameters of JSON-RPC calls, and the questions that show which chain a
 * node serves. Pure.
 */
import { hexlify, toQuantity } from 'ethers';
import type { Address } from '../channels/channel.js';
import { PieceworkError } from '../errors.js';
import * as Answers from './answers.js';
import type { Profile } from './profile.js';
import { accepted } from './refusal.js';
import type { Question } from './rpc.js';

/** What a node is asked to try out without a transaction. */
export interface Trial {
  readonly from?: Address;
  /** Undefined creates a contract. */
  readonly to: Address | undefined;
  /** 0x-prefixed hex. */
  readonly data: string;
  readonly value?: bigint;
}

/** Where in the chain to read: at a block, or in the newest state. */
export type At = Answers.Head | 'latest';

/** What a node of the profile's chain answers. `check` throws CHAIN_WRONG_ID. */
export function questions(profile: Profile): readonly Question[] {
  const wrong = (detail: string): PieceworkError => new PieceworkError('CHAIN_WRONG_ID', detail);
  const chainId: Question = {
    method: 'eth_chainId',
    params: [],
    check(answer, node) {
      const id = Answers.quantity(accepted(answer), 'a chain id');
      if (id === profile.chainId) return;
      throw wrong(`${node} serves chain ${id}, not ${profile.name} (${profile.chainId})`);
    },
  };
  if (profile.genesisHash === undefined) return [chainId];
  const genesis: Question = {
    method: 'eth_getBlockByNumber',
    params: ['0x0', false],
    check(answer, node) {
      const block = Answers.must(Answers.head(accepted(answer)), 'the first block');
      if (block.hash === profile.genesisHash) return;
      throw wrong(`${node} has chain id ${profile.chainId} but another first block than ${profile.name}`);
    },
  };
  return [chainId, genesis];
}

/** A block is named by hash (EIP-1898), so that all that is read at it belongs together. */
export function place(at: At): unknown {
  return at === 'latest' ? at : { blockHash: at.hash, requireCanonical: true };
}

export function fields(trial: Trial): Record<string, string> {
  return {
    ...(trial.from === undefined ? {} : { from: hexlify(trial.from) }),
    ...(trial.to === undefined ? {} : { to: hexlify(trial.to) }),
    data: trial.data,
    ...(trial.value === undefined ? {} : { value: toQuantity(trial.value) }),
  };
}
