/**
 * What a node refuses and why, in words: the contract's own where its revert can be read, else Solidity's,
 * else the node's. Pure.
 */
import { AbiCoder, dataLength, dataSlice } from 'ethers';
import { PieceworkError } from '../errors.js';
import type { Answer } from './rpc.js';

/** Says in words what the bytes of a revert mean, or undefined. */
export type Explain = (revertData: string) => string | undefined;

const ERROR_SELECTOR = '0x08c379a0';
const PANIC_SELECTOR = '0x4e487b71';

/** The result of an answer. @throws PieceworkError CHAIN_REJECTED when it is a refusal. */
export function accepted(answer: Answer, explain?: Explain): unknown {
  if (answer.ok) return answer.result;
  throw new PieceworkError('CHAIN_REJECTED', refusal(answer, explain));
}

type Refusal = Extract<Answer, { readonly ok: false }>;

/** The contract's own words where they can be read, else the node's. */
export function refusal(answer: Refusal, explain?: Explain): string {
  if (answer.data === undefined || dataLength(answer.data) < 4) return answer.message;
  // What the language says first: a contract's decoder knows Error and Panic by name alone, not by what they say.
  const own = builtIn(answer.data) ?? explain?.(answer.data);
  return own === undefined ? `${answer.message} (${dataSlice(answer.data, 0, 4)})` : `reverted: ${own}`;
}

/** Solidity's Error(string) and Panic(uint256). */
function builtIn(revertData: string): string | undefined {
  const selector = dataSlice(revertData, 0, 4);
  const body = dataSlice(revertData, 4);
  try {
    if (selector === ERROR_SELECTOR) return String(AbiCoder.defaultAbiCoder().decode(['string'], body)[0]);
    if (selector === PANIC_SELECTOR) {
      return `panic ${AbiCoder.defaultAbiCoder().decode(['uint256'], body)[0]}`;
    }
  } catch {
    return undefined;
  }
  return undefined;
}
