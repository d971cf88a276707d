/**
 * The door to the chain: one connection to one chain, asked in the chain's own terms. It knows no contract
 * and holds no key. Invariants: no node is used before it has shown the profile's chain id and genesis; a
 * failure to reach the chain is CHAIN_UNREACHABLE, a refusal by it CHAIN_REJECTED; a receipt, a used nonce
 * and what is read at a block are facts only when enough nodes say the same (ADR 8).
 */
import { hexlify, toQuantity } from 'ethers';
import type { Address } from '../channels/channel.js';
import { type Clock, systemClock } from '../clock.js';
import { PieceworkError } from '../errors.js';
import * as limits from '../limits.js';
import * as Answers from './answers.js';
import type { Profile } from './profile.js';
import { type Alarm, type AlarmKind, type Ballot, common, Quorum, read, type Vote } from './quorum.js';
import { accepted, type Explain, refusal } from './refusal.js';
import { type At, fields, place, questions, type Trial } from './requests.js';
import { Rpc } from './rpc.js';

export type { Explain } from './refusal.js';
export type { At, Trial } from './requests.js';

export interface ChainOptions {
  /** Nodes to use instead of the profile's. */
  readonly rpcUrls?: readonly string[];
  readonly clock?: Clock;
  readonly timeoutMs?: number;
  readonly retriesMax?: number;
  /** Wait before the first further try of a request; doubles with each. */
  readonly retryMs?: number;
  /** Nodes that must say the same; by default two, or one where there is only one. */
  readonly agreement?: number | undefined;
  /** How long a node that failed or was contradicted is first set aside. */
  readonly asideMs?: number;
  /** Something is wrong with a node; the others go on. */
  readonly onAlarm?: (alarm: Alarm) => void;
}

/** What became of bytes handed to the node. */
export type Broadcast = { readonly accepted: true } | { readonly accepted: false; readonly reason: string };

const RETRY_MS = 200;
/** Blocks remembered as agreed: a few sprints of reading at each. */
const vouchedMax = 512;

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
  readonly #nodes: Quorum;
  readonly #closing = new AbortController();
  /** Blocks that enough nodes named alike, by hash. */
  readonly #vouched = new Map<string, string>();
  /** Nonces that enough nodes last agreed to be used, by address. */
  readonly #used = new Map<string, bigint>();
  #newest = 0n;

  /** Use `connect`, which also checks that there is a chain. */
  constructor(profile: Profile, options: ChainOptions = {}) {
    this.profile = profile;
    this.clock = options.clock ?? systemClock;
    const { clock } = this;
    const { signal } = this.#closing;
    const timeoutMs = options.timeoutMs ?? limits.rpcTimeoutMs;
    const urls = options.rpcUrls ?? profile.rpcUrls;
    const asked = questions(profile);
    const nodes = urls.map((url) => new Rpc(url, { clock, timeoutMs, signal, questions: asked }));
    this.#nodes = new Quorum(nodes, {
      clock,
      signal,
      need: options.agreement ?? Math.min(2, nodes.length),
      retriesMax: options.retriesMax ?? limits.rpcRetriesMax,
      retryMs: options.retryMs ?? RETRY_MS,
      asideMs: options.asideMs ?? limits.nodeAsideMs,
      onAlarm: options.onAlarm ?? (() => undefined),
    });
  }

  /** Scheme and host of the node in use, for people. */
  get node(): string {
    return this.#nodes.node.shown;
  }

  /** Every node, and whether it is asked now. */
  get nodes(): ReadonlyArray<{ readonly node: string; readonly inUse: boolean }> {
    return this.#nodes.nodes;
  }

  /** Nodes that must say the same of what raises credit. */
  get agreement(): number {
    return this.#nodes.need;
  }

  /** Alarms about nodes so far. */
  get alarms(): Readonly<Record<AlarmKind, number>> {
    return this.#nodes.alarms;
  }

  /** Ends every call under way and refuses further ones with INTERRUPTED. */
  close(): void {
    this.#closing.abort();
  }

  /** Makes every node show again that it serves this chain. @throws PieceworkError CHAIN_UNREACHABLE. */
  async recheck(): Promise<void> {
    this.#nodes.doubt();
    await this.#nodes.poll('eth_chainId', []);
  }

  /**
   * The newest block that enough nodes have reached. Where too few are near each other it is the newest of
   * all: what was closed there is believed, what was deposited is not, for lack of agreement.
   */
  async head(): Promise<Answers.Head> {
    const heads = Answers.must(await this.#heads('latest'), 'the newest block');
    const newestFirst = [...heads].sort((a, b) => Number(b.value.number - a.value.number));
    const reached = newestFirst[Math.min(this.#nodes.need, heads.length) - 1]!;
    const near = heads.filter(
      ({ value }) => Answers.distance(value, reached.value) <= limits.headLagBlocksMax,
    );
    const agreed = near.length >= this.#nodes.need;
    for (const { node, value } of heads) {
      const from = agreed ? reached.value : newestFirst[0]!.value;
      if (Answers.distance(value, from) <= limits.headLagBlocksMax) continue;
      const blocks = `${Answers.distance(value, from)} blocks ${value.number < from.number ? 'behind' : 'ahead of'}`;
      // One of them may have moved to another chain.
      if (!agreed) this.#nodes.doubt();
      this.#nodes.stale(node, `is at block ${value.number}, ${blocks} the others`, agreed);
    }
    const head = agreed ? reached.value : newestFirst[0]!.value;
    this.#newest = head.number;
    return head;
  }

  /** The canonical block of that number by most nodes, or undefined where none has got so far. */
  async block(number: bigint): Promise<Answers.Head | undefined> {
    const heads = await this.#heads(toQuantity(number));
    if (heads === undefined) return undefined;
    return (await this.#elect(number, heads)) ?? heads[0]!.value;
  }

  /** Gas that the newest block may hold, and its base fee where the chain has one. */
  async capacity(): Promise<Answers.Capacity> {
    const answer = await this.#nodes.call('eth_getBlockByNumber', ['latest', false]);
    return Answers.capacity(accepted(answer));
  }

  /** Name and version of the program that answers, where it says. */
  async client(): Promise<string | undefined> {
    const answer = await this.#nodes.call('web3_clientVersion', []);
    return answer.ok && typeof answer.result === 'string' ? answer.result.slice(0, 100) : undefined;
  }

  /** Whether enough nodes name that block at its number alike, time and parent included. */
  async vouches(at: Answers.Head): Promise<boolean> {
    const known = this.#vouched.get(at.hash);
    if (known !== undefined) return known === Answers.fingerprint(at);
    const heads = await this.#heads(toQuantity(at.number));
    const elected = heads && (await this.#elect(at.number, heads));
    return elected !== undefined && Answers.fingerprint(elected) === Answers.fingerprint(at);
  }

  /** The newest block that counts: it has the profile's number of confirmations. */
  async confirmed(): Promise<Answers.Head> {
    const head = await this.head();
    const back = BigInt(this.profile.confirmations - 1);
    if (back === 0n) return head;
    const number = head.number > back ? head.number - back : 0n;
    return Answers.must(await this.block(number), `block ${number}`);
  }

  /** Base units per unit of gas: what enough nodes ask, at least the profile's floor. */
  async gasPrice(): Promise<bigint> {
    const asked = await this.#common('eth_gasPrice', [], 'a gas price');
    const { gasPriceFloor } = this.profile;
    if (asked < gasPriceFloor) return gasPriceFloor;
    return asked;
  }

  /**
   * Base units of the chain's own coin: at a block what enough nodes see, in the newest state the most that any
   * sees, because a node that lags must not keep a funded account from sending. The chain checks it anyway.
   */
  async balance(address: Address, at: At = 'latest'): Promise<bigint> {
    const votes = await this.#quantities('eth_getBalance', [hexlify(address), place(at)], 'a balance');
    return common(votes, at === 'latest' ? 1 : this.#nodes.need);
  }

  /**
   * Transactions of the account that are mined, or with `pending` also those that wait at the node. A nonce
   * counts as used by a mined transaction only when enough nodes say so.
   */
  async nonce(address: Address, state: 'latest' | 'pending'): Promise<number> {
    const of = hexlify(address);
    const votes = await this.#quantities('eth_getTransactionCount', [of, state], 'a nonce');
    const count = common(votes, this.#nodes.need);
    if (state === 'pending') return Number(count);
    if (votes.length >= this.#nodes.need) this.#used.set(of, count);
    return Number(this.#used.get(of) ?? 0n);
  }

  /** Runtime code, 0x-prefixed; `0x` where there is none. Who is asked: as `call`. */
  async code(address: Address, at: At = 'latest'): Promise<string> {
    if (at !== 'latest') return this.#must(await this.codes(address, at), at);
    return Answers.data(accepted(await this.#nodes.call('eth_getCode', [hexlify(address), at])), 'code');
  }

  /** The 32 bytes of a storage slot, 0x-prefixed. Who is asked: as `call`. */
  async storage(address: Address, slot: string, at: At = 'latest'): Promise<string> {
    const [method, name] = ['eth_getStorageAt', 'a storage slot'] as const;
    const params = [hexlify(address), slot, place(at)];
    if (at === 'latest') return Answers.hash(accepted(await this.#nodes.call(method, params)), name);
    const ballot = await this.#ballot(method, params, at, `${name} of ${hexlify(address)}`);
    return Answers.hash(this.#must(ballot, at), name);
  }

  /** What each node says is the runtime code at a block. */
  codes(address: Address, at: Answers.Head): Promise<Ballot<string>> {
    return this.#ballot('eth_getCode', [hexlify(address), place(at)], at, `the code of ${hexlify(address)}`);
  }

  /**
   * Runs a view and returns its bytes: at a block what enough nodes say, in the newest state what one says.
   * @throws PieceworkError CHAIN_REJECTED when it reverts, CHAIN_UNREACHABLE when too few agree.
   */
  async call(trial: Trial, at: At = 'latest', explain?: Explain): Promise<string> {
    if (at === 'latest') {
      const answer = await this.#nodes.call('eth_call', [fields(trial), at]);
      return Answers.data(accepted(answer, explain), 'the result of a call');
    }
    return this.#must(await this.views(trial, at, explain), at);
  }

  /**
   * What each node says a view returns at a block; agreed only when that block is. For callers that can make
   * something of answers that differ.
   * @throws PieceworkError CHAIN_REJECTED when it reverts everywhere.
   */
  views(trial: Trial, at: Answers.Head, explain?: Explain): Promise<Ballot<string>> {
    return this.#ballot('eth_call', [fields(trial), place(at)], at, 'the state of a contract', explain);
  }

  /** What each node that cannot say what a view returned at a block says it returns now. */
  async newest(trial: Trial): Promise<readonly string[]> {
    const votes = await this.#nodes.poll('eth_call', [fields(trial), 'latest']);
    return votes.flatMap(({ value }) =>
      value.ok ? [Answers.data(value.result, 'the result of a call')] : [],
    );
  }

  /** Gas the node expects. @throws PieceworkError CHAIN_REJECTED when the transaction would revert. */
  async estimateGas(trial: Trial, explain?: Explain): Promise<bigint> {
    const answer = await this.#nodes.call('eth_estimateGas', [fields(trial), 'latest']);
    return Answers.quantity(accepted(answer, explain), 'a gas estimate');
  }

  /**
   * Why a transaction of that block failed, as far as running it again on top of the block tells: having
   * failed it changed nothing itself, and what it failed for is mostly still there.
   */
  async failure(trial: Trial, block: bigint, explain?: Explain): Promise<string | undefined> {
    const answer = await this.#nodes.call('eth_call', [fields(trial), toQuantity(block)]);
    return answer.ok ? undefined : refusal(answer, explain);
  }

  /**
   * The receipt of a mined transaction, undefined where no node has one.
   * @throws PieceworkError CHAIN_UNREACHABLE while some have one and too few have the same.
   */
  async receipt(hash: string): Promise<Answers.Receipt | undefined> {
    const votes = await this.#nodes.poll('eth_getTransactionReceipt', [hash]);
    const found = read(votes, (value) => ({ receipt: Answers.receipt(accepted(value)) }));
    const having = found.filter(({ value }) => value.receipt !== undefined);
    if (having.length === 0) return undefined;
    // In another block it may lie on the other side of a reorganisation.
    const blocks = new Set(having.map(({ value }) => value.receipt?.blockHash));
    const fault = blocks.size === 1 || having.every(({ value }) => this.#isDeep(value.receipt!.block));
    const about = fault ? `the receipt of ${hash}` : undefined;
    const { agreed } = this.#nodes.tally(having, ({ receipt }) => Answers.text(receipt), about);
    if (agreed) return agreed.receipt;
    const said = `${having.length} of ${found.length} nodes have one, ${this.#nodes.need} must have the same`;
    throw new PieceworkError('CHAIN_UNREACHABLE', `no agreement on the receipt of ${hash}: ${said}`);
  }

  /**
   * What a contract logged in the canonical blocks `from` to `to`, both included, by any node: a log that several
   * have comes as often. Hints only.
   */
  async logs(address: Address, from: bigint, to: bigint): Promise<readonly Answers.FoundLog[]> {
    const filter = { address: hexlify(address), fromBlock: toQuantity(from), toBlock: toQuantity(to) };
    const votes = await this.#nodes.poll('eth_getLogs', [filter]);
    return read(votes, (value) => Answers.foundLogs(accepted(value))).flatMap(({ value }) => value);
  }

  /** True when every node that answers has the transaction, mined or waiting. */
  async knows(hash: string): Promise<boolean> {
    const votes = await this.#nodes.poll('eth_getTransactionByHash', [hash]);
    return votes.every(({ value }) => accepted(value) !== null);
  }

  /**
   * Hands signed bytes to every node, once: they are refused when no node takes them, with the first one's
   * reason. Bytes that a node has count as accepted.
   */
  async broadcast(raw: string): Promise<Broadcast> {
    const votes = await this.#nodes.poll('eth_sendRawTransaction', [raw], 0);
    let reason: string | undefined;
    for (const { value } of votes) {
      if (value.ok || /already (known|imported)|known transaction/i.test(value.message)) {
        return { accepted: true };
      }
      reason ??= value.message;
    }
    return { accepted: false, reason: reason! };
  }

  /** Each node's block of that name; undefined where none has it. */
  async #heads(name: string): Promise<readonly Vote<Answers.Head>[] | undefined> {
    const votes = await this.#nodes.poll('eth_getBlockByNumber', [name, false]);
    const heads = read(votes, (value) => ({ head: Answers.head(accepted(value)) }));
    const found = heads.flatMap(({ node, value }) => (value.head ? [{ node, value: value.head }] : []));
    return found.length > 0 ? found : undefined;
  }

  /** The block that enough nodes name alike. Below the confirmed depth, differing is a fault. */
  async #elect(number: bigint, heads: readonly Vote<Answers.Head>[]): Promise<Answers.Head | undefined> {
    const about = this.#isDeep(number) ? `block ${number}` : undefined;
    const { agreed } = this.#nodes.tally(heads, Answers.fingerprint, about);
    if (agreed === undefined) return undefined;
    this.#vouched.set(agreed.hash, Answers.fingerprint(agreed));
    const oldest = this.#vouched.keys().next().value;
    if (this.#vouched.size > vouchedMax && oldest !== undefined) this.#vouched.delete(oldest);
    return agreed;
  }

  async #ballot(
    method: string,
    params: readonly unknown[],
    at: Answers.Head,
    about: string,
    explain?: Explain,
  ): Promise<Ballot<string>> {
    const answers = await this.#nodes.poll(method, params);
    const votes = read(answers, (value) => Answers.data(accepted(value, explain), 'the result of a call'));
    const where = `${about} at block ${at.number} (${at.hash})`;
    const ballot = this.#nodes.tally(votes, (value) => value, where);
    if (ballot.agreed === undefined || this.#nodes.need === 1 || (await this.vouches(at))) return ballot;
    return { votes, agreed: undefined };
  }

  /** The greatest quantity that enough nodes reach; of fewer nodes the least. */
  async #common(method: string, params: readonly unknown[], name: string): Promise<bigint> {
    return common(await this.#quantities(method, params, name), this.#nodes.need);
  }

  async #quantities(method: string, params: readonly unknown[], name: string): Promise<readonly bigint[]> {
    const votes = await this.#nodes.poll(method, params);
    return read(votes, (value) => Answers.quantity(accepted(value), name)).map(({ value }) => value);
  }

  #must({ agreed, votes }: Ballot<string>, at: Answers.Head): string {
    if (agreed !== undefined) return agreed;
    const said = `${votes.length} answered, ${this.#nodes.need} must say the same`;
    throw new PieceworkError('CHAIN_UNREACHABLE', `the nodes do not agree at block ${at.number}: ${said}`);
  }

  /** Whether a block lies so deep that it may not differ between nodes. */
  #isDeep(number: bigint): boolean {
    return this.#newest - number + 1n >= BigInt(this.profile.confirmations);
  }
}
