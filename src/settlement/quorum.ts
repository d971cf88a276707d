/**
 * Several nodes of one chain: whom to ask, and whom to believe. Any one node may be asked for what harms
 * nobody when it is wrong; what would raise credit is asked of all, and counts when enough of them say the
 * same. A node that fails, lags or is contradicted by enough others raises an alarm and is set aside for a
 * while; it is never asked for ever in vain and never forgotten. Invariant: fewer than `need` nodes that say
 * the same are never an agreement, however many are set aside. What is asked is `chain`'s.
 */
import { type Clock, sleep } from '../clock.js';
import { PieceworkError } from '../errors.js';
import * as limits from '../limits.js';
import type { Answer, Attempt, Failed, Rpc } from './rpc.js';

/** What is wrong with a node. */
export type AlarmKind =
  /** It does not answer. */
  | 'silent'
  /** It serves another chain. */
  | 'wrong_chain'
  /** Its newest block is far from the others'. */
  | 'stale'
  /** It says of the chain what the others do not say. */
  | 'contradiction';

export interface Alarm {
  /** Scheme and host. */
  readonly node: string;
  readonly kind: AlarmKind;
  /** For people. */
  readonly detail: string;
}

/** What one node says. */
export interface Vote<T> {
  readonly node: Rpc;
  readonly value: T;
}

/** What the nodes say, and what enough of them agree on. */
export interface Ballot<T> {
  readonly votes: readonly Vote<T>[];
  readonly agreed: T | undefined;
}

export interface QuorumOptions {
  readonly clock: Clock;
  /** Nodes that must say the same. At least 1, at most the number of nodes. */
  readonly need: number;
  /** Further tries of a request after the first. */
  readonly retriesMax: number;
  /** Wait before the first further try; doubles with each. */
  readonly retryMs: number;
  readonly asideMs: number;
  /** Ends all calls when aborted. */
  readonly signal: AbortSignal;
  readonly onAlarm: (alarm: Alarm) => void;
}

interface Standing {
  /** Not asked before this time while others are there. */
  asideUntilMs: number;
  /** Times in a row that it was set aside. */
  strikes: number;
  readonly toldMs: Map<AlarmKind, number>;
}

export class Quorum {
  readonly need: number;
  readonly #nodes: readonly Rpc[];
  readonly #options: QuorumOptions;
  readonly #standings = new Map<Rpc, Standing>();
  readonly #counts = { silent: 0, wrong_chain: 0, stale: 0, contradiction: 0 };
  #current = 0;
  /** Whether any node was ever admitted: from then on another chain is an outage, not a wrong setting. */
  #connected = false;

  constructor(nodes: readonly Rpc[], options: QuorumOptions) {
    if (nodes.length === 0) throw new PieceworkError('BAD_CONFIG', 'no node is configured for the chain');
    if (options.need < 1 || options.need > nodes.length) {
      const detail = `agreement must be a whole number from 1 to ${nodes.length}, the nodes configured`;
      throw new PieceworkError('BAD_CONFIG', detail);
    }
    this.#nodes = nodes;
    this.#options = options;
    this.need = options.need;
    for (const node of nodes) {
      this.#standings.set(node, { asideUntilMs: 0, strikes: 0, toldMs: new Map() });
    }
  }

  /** The node that single questions go to. */
  get node(): Rpc {
    const inUse = this.#inUse();
    const preferred = this.#nodes[this.#current]!;
    return inUse.includes(preferred) ? preferred : inUse[0]!;
  }

  /** Alarms raised so far. */
  get alarms(): Readonly<Record<AlarmKind, number>> {
    return { ...this.#counts };
  }

  /** Every node, and whether it is asked now. */
  get nodes(): ReadonlyArray<{ readonly node: string; readonly inUse: boolean }> {
    const inUse = this.#inUse();
    return this.#nodes.map((node) => ({ node: node.shown, inUse: inUse.includes(node) }));
  }

  /** Makes every node show again that it serves the right chain. */
  doubt(): void {
    for (const node of this.#nodes) node.doubt();
  }

  /**
   * Asks one node. Each further try, at most `retries` or else the configured number, goes to the next.
   * @throws PieceworkError CHAIN_UNREACHABLE when no try was answered, CHAIN_WRONG_ID while none ever was,
   * INTERRUPTED once aborted.
   */
  async call(method: string, params: readonly unknown[], retries?: number): Promise<Answer> {
    const retriesMax = retries ?? this.#options.retriesMax;
    for (let tries = 0; ; tries++) {
      this.#notAborted();
      const { node } = this;
      const attempt = await node.attempt(method, params);
      if ('done' in attempt) return this.#answered(node, attempt.done);
      this.#failed(node, method, attempt);
      this.#current = (this.#nodes.indexOf(node) + 1) % this.#nodes.length;
      const hopeless = !attempt.again && this.#nodes.length === 1;
      if (hopeless || tries >= retriesMax) throw this.#silence([{ node, attempt }], method);
      await this.#pause(tries, attempt);
    }
  }

  /**
   * Asks every node in use, each up to `retries` or else the configured number of further times, and gives
   * the answers, at least one. Does not wait long for the slow ones once
   * enough have answered for an agreement.
   * @throws PieceworkError as `call` does.
   */
  async poll(method: string, params: readonly unknown[], retries?: number): Promise<readonly Vote<Answer>[]> {
    this.#notAborted();
    const retriesMax = retries ?? this.#options.retriesMax;
    const votes: Vote<Answer>[] = [];
    const failures: { node: Rpc; attempt: Failed }[] = [];
    const asked = this.#inUse();
    const enough = new AbortController();
    const runs = asked.map(async (node) => {
      const attempt = await this.#persist(node, method, params, retriesMax, () => votes.length > 0);
      if (enough.signal.aborted) {
        // Too late to count, but not too late to be set aside for never answering.
        if (!('done' in attempt)) this.#failed(node, method, attempt);
        return;
      }
      if ('done' in attempt) votes.push({ node, value: this.#answered(node, attempt.done) });
      else failures.push({ node, attempt });
      if (votes.length >= this.need) patience.abort();
    });
    const patience = new AbortController();
    const late = new Promise<void>((resolve) => {
      patience.signal.addEventListener('abort', () => {
        void sleep(this.#options.clock, limits.nodePatienceMs, enough.signal).then(resolve);
      });
    });
    await Promise.race([Promise.all(runs), late]);
    enough.abort();
    this.#notAborted();
    for (const { node, attempt } of failures) this.#failed(node, method, attempt);
    if (votes.length === 0) throw this.#silence(failures, method);
    // In the order of the settings, so that the same answers give the same result.
    return votes.sort((a, b) => this.#nodes.indexOf(a.node) - this.#nodes.indexOf(b.node));
  }

  /**
   * Counts votes. Nodes that say what `need` others contradict raise an alarm and are set aside; where no
   * answer has enough votes nobody knows who is wrong, so all that differ raise one and stay in use.
   * `about` names the question for people; undefined where differing is no fault.
   */
  tally<T>(votes: readonly Vote<T>[], key: (value: T) => string, about: string | undefined): Ballot<T> {
    const groups = new Map<string, Vote<T>[]>();
    for (const vote of votes) {
      const name = key(vote.value);
      groups.set(name, [...(groups.get(name) ?? []), vote]);
    }
    const largest = [...groups.values()].sort((a, b) => b.length - a.length)[0];
    const agreed = largest !== undefined && largest.length >= this.need ? largest : undefined;
    if (about !== undefined && groups.size > 1) {
      // One of them may have moved to another chain.
      if (agreed === undefined) this.doubt();
      for (const { node } of votes) {
        if (agreed?.some((vote) => vote.node === node)) continue;
        const others = agreed ? `${agreed.length} others agree on it` : 'no two agree on it';
        this.report(node, 'contradiction', `contradicts the other nodes on ${about}; ${others}`);
        if (agreed) this.#setAside(node);
      }
    }
    return { votes, agreed: agreed?.[0]?.value };
  }

  /** Raises an alarm about a node. */
  report(node: Rpc, kind: AlarmKind, detail: string): void {
    this.#counts[kind]++;
    const { toldMs } = this.#standings.get(node)!;
    const nowMs = this.#options.clock.monotonicMs();
    const before = toldMs.get(kind);
    if (before !== undefined && nowMs - before < limits.alarmRepeatMs) return;
    toldMs.set(kind, nowMs);
    this.#options.onAlarm({ node: node.shown, kind, detail });
  }

  /** A node far from the others is set aside when the others are enough without it. */
  stale(node: Rpc, detail: string, aside: boolean): void {
    this.report(node, 'stale', detail);
    if (aside) this.#setAside(node);
  }

  /** The nodes not set aside, or all where none is left. */
  #inUse(): readonly Rpc[] {
    const nowMs = this.#options.clock.monotonicMs();
    const fit = this.#nodes.filter((node) => this.#standings.get(node)!.asideUntilMs <= nowMs);
    return fit.length > 0 ? fit : this.#nodes;
  }

  /** Tries one node again and again; a slow one only once where others have answered. */
  async #persist(
    node: Rpc,
    method: string,
    params: readonly unknown[],
    retriesMax: number,
    answered: () => boolean,
  ): Promise<Attempt> {
    for (let tries = 0; ; tries++) {
      const attempt = await node.attempt(method, params);
      if ('done' in attempt || !attempt.again || tries >= retriesMax) return attempt;
      if ((attempt.late && answered()) || this.#options.signal.aborted) return attempt;
      await this.#pause(tries, attempt);
    }
  }

  #pause(tries: number, { afterMs }: Failed): Promise<void> {
    const { clock, retryMs, signal } = this.#options;
    return sleep(clock, Math.max(retryMs * 2 ** tries, afterMs ?? 0), signal);
  }

  #answered(node: Rpc, answer: Answer): Answer {
    this.#connected = true;
    const standing = this.#standings.get(node)!;
    if (standing.asideUntilMs <= this.#options.clock.monotonicMs()) standing.strikes = 0;
    return answer;
  }

  #failed(node: Rpc, method: string, { failed, refused }: Failed): void {
    if (this.#options.signal.aborted || this.#nodes.length === 1) return this.#count(refused);
    const wrong = refused?.code === 'CHAIN_WRONG_ID';
    this.report(
      node,
      wrong ? 'wrong_chain' : 'silent',
      wrong ? failed : `does not answer ${method}: ${failed}`,
    );
    this.#setAside(node);
  }

  /** The only node is told of by the error itself; its alarms are still counted. */
  #count(refused: PieceworkError | undefined): void {
    if (!this.#options.signal.aborted)
      this.#counts[refused?.code === 'CHAIN_WRONG_ID' ? 'wrong_chain' : 'silent']++;
  }

  #setAside(node: Rpc): void {
    const standing = this.#standings.get(node)!;
    if (standing.asideUntilMs > this.#options.clock.monotonicMs()) return;
    const ms = Math.min(this.#options.asideMs * 2 ** Math.min(standing.strikes, 20), limits.nodeAsideMsMax);
    standing.asideUntilMs = this.#options.clock.monotonicMs() + ms;
    standing.strikes++;
    node.doubt();
  }

  #silence(failures: readonly { node: Rpc; attempt: Failed }[], method: string): PieceworkError {
    const wrong = failures.find(({ attempt }) => attempt.refused?.code === 'CHAIN_WRONG_ID');
    if (wrong && !this.#connected) return wrong.attempt.refused!;
    const { node, attempt } = wrong ?? failures[0]!;
    const detail = attempt.refused
      ? attempt.failed
      : `${node.shown} does not answer ${method}: ${attempt.failed}`;
    return new PieceworkError('CHAIN_UNREACHABLE', detail);
  }

  #notAborted(): void {
    if (!this.#options.signal.aborted) return;
    throw new PieceworkError('INTERRUPTED', 'the connection to the chain is closed');
  }
}

/** Reads each answer. One that cannot be read or is a refusal drops out; where all do, the first one's error. */
export function read<T>(votes: readonly Vote<Answer>[], reader: (value: Answer) => T): readonly Vote<T>[] {
  const found: Vote<T>[] = [];
  let trouble: unknown;
  for (const { node, value } of votes) {
    try {
      found.push({ node, value: reader(value) });
    } catch (thrown) {
      trouble ??= thrown;
    }
  }
  if (found.length === 0) throw trouble;
  return found;
}

/** The greatest value that `need` of them reach; of fewer the least. */
export function common(values: readonly bigint[], need: number): bigint {
  const greatestFirst = [...values].sort((a, b) => (a < b ? 1 : a > b ? -1 : 0));
  return greatestFirst[Math.min(need, values.length) - 1]!;
}
