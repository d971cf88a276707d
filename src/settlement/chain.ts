/**
 * The door to the chain: one connection to one chain, asked in the chain's own terms. It knows no contract
 * and holds no key. Invariants: no node is used before it has shown the profile's chain id and genesis; a
 * failure to reach the chain is CHAIN_UNREACHABLE, a refusal by it CHAIN_REJECTED.
 */
import { AbiCoder, dataLength, dataSlice, hexlify, toQuantity } from 'ethers';
import type { Address } from '../channels/channel.js';
import { type Clock, systemClock } from '../clock.js';
import { PieceworkError } from '../errors.js';
import * as limits from '../limits.js';
import * as Answers from './answers.js';
import type { Profile } from './profile.js';
import { type Answer, type Question, Rpc } from './rpc.js';

export interface ChainOptions {
  /** Nodes to use instead of the profile's. */
  readonly rpcUrls?: readonly string[];
  readonly clock?: Clock;
  readonly timeoutMs?: number;
  readonly retriesMax?: number;
  /** Wait before the first further try of a request; doubles with each. */
  readonly retryMs?: number;
}

/** What a node is asked to try out without a transaction. */
export interface Trial {
  readonly from?: Address;
  /** Undefined creates a contract. */
  readonly to: Address | undefined;
  /** 0x-prefixed hex. */
  readonly data: string;
  readonly value?: bigint;
}

/** Says in words what the bytes of a revert mean, or undefined. */
export type Explain = (revertData: string) => string | undefined;

/** Where in the chain to read: at a block, or in the newest state. */
export type At = Answers.Head | 'latest';

/** What became of bytes handed to the node. */
export type Broadcast = { readonly accepted: true } | { readonly accepted: false; readonly reason: string };

const RETRY_MS = 200;
const ERROR_SELECTOR = '0x08c379a0';
const PANIC_SELECTOR = '0x4e487b71';

/**
 * Connects and checks that the node serves the profile's chain.
 * @throws PieceworkError CHAIN_UNREACHABLE, CHAIN_WRONG_ID, BAD_CONFIG.
 */
export async function connect(profile: Profile, options: ChainOptions = {}): Promise<Chain> {
  const chain = new Chain(profile, options);
  try {
    await chain.head();
    return chain;
  } catch (thrown) {
    chain.close();
    throw thrown;
  }
}

export class Chain {
  readonly profile: Profile;
  readonly clock: Clock;
  readonly #rpc: Rpc;
  readonly #closing = new AbortController();

  /** Use `connect`, which also checks that there is a chain. */
  constructor(profile: Profile, options: ChainOptions = {}) {
    this.profile = profile;
    this.clock = options.clock ?? systemClock;
    this.#rpc = new Rpc(options.rpcUrls ?? profile.rpcUrls, {
      clock: this.clock,
      timeoutMs: options.timeoutMs ?? limits.rpcTimeoutMs,
      retriesMax: options.retriesMax ?? limits.rpcRetriesMax,
      retryMs: options.retryMs ?? RETRY_MS,
      signal: this.#closing.signal,
      questions: questions(profile),
    });
  }

  /** Scheme and host of the node in use, for people. */
  get node(): string {
    return this.#rpc.node;
  }

  /** Ends every call under way and refuses further ones with INTERRUPTED. */
  close(): void {
    this.#closing.abort();
  }

  /** The newest block. */
  async head(): Promise<Answers.Head> {
    return must(await this.#block('latest'), 'the newest block');
  }

  /** The canonical block of that number, or undefined where the chain has not got so far. */
  block(number: bigint): Promise<Answers.Head | undefined> {
    return this.#block(toQuantity(number));
  }

  /** The newest block that counts: it has the profile's number of confirmations. */
  async confirmed(): Promise<Answers.Head> {
    const head = await this.head();
    const back = BigInt(this.profile.confirmations - 1);
    if (back === 0n) return head;
    const number = head.number > back ? head.number - back : 0n;
    return must(await this.block(number), `block ${number}`);
  }

  /** Base units per unit of gas: what the node asks, at least the profile's floor. */
  async gasPrice(): Promise<bigint> {
    const asked = Answers.quantity(await this.#ask('eth_gasPrice', []), 'a gas price');
    const { gasPriceFloor } = this.profile;
    if (asked < gasPriceFloor) return gasPriceFloor;
    return asked;
  }

  /** Base units of the chain's own coin. */
  async balance(address: Address, at: At = 'latest'): Promise<bigint> {
    return Answers.quantity(await this.#ask('eth_getBalance', [hexlify(address), place(at)]), 'a balance');
  }

  /** Transactions of the account that are mined, or with `pending` also those that wait at the node. */
  async nonce(address: Address, state: 'latest' | 'pending'): Promise<number> {
    const count = await this.#ask('eth_getTransactionCount', [hexlify(address), state]);
    return Number(Answers.quantity(count, 'a nonce'));
  }

  /** Runtime code, 0x-prefixed; `0x` where there is none. */
  async code(address: Address, at: At = 'latest'): Promise<string> {
    return Answers.data(await this.#ask('eth_getCode', [hexlify(address), place(at)]), 'code');
  }

  /** Runs a view and returns its bytes. @throws PieceworkError CHAIN_REJECTED when it reverts. */
  async call(trial: Trial, at: At = 'latest', explain?: Explain): Promise<string> {
    const answer = await this.#rpc.call('eth_call', [fields(trial), place(at)]);
    return Answers.data(accepted(answer, explain), 'the result of a call');
  }

  /** Gas the node expects. @throws PieceworkError CHAIN_REJECTED when the transaction would revert. */
  async estimateGas(trial: Trial, explain?: Explain): Promise<bigint> {
    const answer = await this.#rpc.call('eth_estimateGas', [fields(trial), 'latest']);
    return Answers.quantity(accepted(answer, explain), 'a gas estimate');
  }

  /**
   * Why a transaction of that block failed, as far as running it again on top of the block tells: having
   * failed it changed nothing itself, and what it failed for is mostly still there.
   */
  async failure(trial: Trial, block: bigint, explain?: Explain): Promise<string | undefined> {
    const answer = await this.#rpc.call('eth_call', [fields(trial), toQuantity(block)]);
    return answer.ok ? undefined : refusal(answer, explain);
  }

  /** The receipt of a mined transaction, else undefined. */
  async receipt(hash: string): Promise<Answers.Receipt | undefined> {
    return Answers.receipt(await this.#ask('eth_getTransactionReceipt', [hash]));
  }

  /** True when the node has the transaction, mined or waiting. */
  async knows(hash: string): Promise<boolean> {
    return (await this.#ask('eth_getTransactionByHash', [hash])) !== null;
  }

  /** Hands signed bytes to one node, once: a refusal is its answer to them. Bytes it has count as accepted. */
  async broadcast(raw: string): Promise<Broadcast> {
    const answer = await this.#rpc.call('eth_sendRawTransaction', [raw], 0);
    if (answer.ok || /already (known|imported)|known transaction/i.test(answer.message)) {
      return { accepted: true };
    }
    return { accepted: false, reason: answer.message };
  }

  async #block(name: string): Promise<Answers.Head | undefined> {
    return Answers.head(await this.#ask('eth_getBlockByNumber', [name, false]));
  }

  async #ask(method: string, params: readonly unknown[]): Promise<unknown> {
    return accepted(await this.#rpc.call(method, params));
  }
}

function questions(profile: Profile): readonly Question[] {
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
      const block = must(Answers.head(accepted(answer)), 'the first block');
      if (block.hash === profile.genesisHash) return;
      throw wrong(`${node} has chain id ${profile.chainId} but another first block than ${profile.name}`);
    },
  };
  return [chainId, genesis];
}

/** A block is named by hash (EIP-1898), so that all that is read at it belongs together. */
function place(at: At): unknown {
  return at === 'latest' ? at : { blockHash: at.hash, requireCanonical: true };
}

function fields(trial: Trial): Record<string, string> {
  return {
    ...(trial.from === undefined ? {} : { from: hexlify(trial.from) }),
    ...(trial.to === undefined ? {} : { to: hexlify(trial.to) }),
    data: trial.data,
    ...(trial.value === undefined ? {} : { value: toQuantity(trial.value) }),
  };
}

function accepted(answer: Answer, explain?: Explain): unknown {
  if (answer.ok) return answer.result;
  throw new PieceworkError('CHAIN_REJECTED', refusal(answer, explain));
}

type Refusal = Extract<Answer, { readonly ok: false }>;

/** The contract's own words where they can be read, else the node's. */
function refusal(answer: Refusal, explain?: Explain): string {
  if (answer.data === undefined || dataLength(answer.data) < 4) return answer.message;
  const own = explain?.(answer.data) ?? builtIn(answer.data);
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

function must<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new PieceworkError('CHAIN_UNREACHABLE', `the node does not have ${name}`);
  return value;
}
