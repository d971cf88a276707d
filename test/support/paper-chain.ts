/**
 * A node and its chain on paper: blocks, a pool that replaces by price, reorganisations, and requests that fail
 * before or after they arrive. Everything that happens is drawn from one seed and the requests so far, so a run
 * repeats; a thousand lives of a sender take seconds on it. What it knows of a transaction is nonce, price and
 * data; executing one is writing its data down.
 */
import { hexlify, Transaction } from 'ethers';
import { PieceworkError } from '../../src/errors.js';
import type { Receipt } from '../../src/settlement/answers.js';
import type { SendingChain } from '../../src/settlement/follow.js';
import { named } from '../../src/settlement/profile.js';
import { type Chance, chance } from './chance.js';

interface Paper {
  readonly hash: string;
  readonly nonce: number;
  readonly gasPrice: bigint;
  readonly data: string;
  /** Sent by another program that uses the same key. */
  readonly outside: boolean;
  /** The one of ours whose place it took: other nodes still have it, and a reorganisation may bring it back. */
  readonly displaced?: Paper | undefined;
}

interface Block {
  readonly number: bigint;
  readonly hash: string;
  readonly parentHash: string;
  readonly papers: readonly Paper[];
}

export interface Weather {
  /** In a hundred requests: those after which a block comes, the pool is lost, the chain is reorganised … */
  readonly mine: number;
  readonly lose: number;
  readonly reorg: number;
  /** … the price that miners ask rises, another program uses the key … */
  readonly dearer: number;
  readonly outsider: number;
  /** … and those that fail, half of them after they arrived. */
  readonly fail: number;
}

export const calm: Weather = { mine: 25, lose: 0, reorg: 0, dearer: 0, outsider: 0, fail: 0 };
export const storm: Weather = { mine: 20, lose: 4, reorg: 6, dearer: 4, outsider: 6, fail: 6 };

const local = named('local');
const FLOOR = local.gasPriceFloor;
const PRICE_MAX = FLOOR * 3n;
const GAS = 21_000n;

export class PaperChain {
  readonly confirmations: number;
  readonly counts = { reorgs: 0, outsiders: 0, failures: 0, replaced: 0, lost: 0 };
  readonly #chance: Chance;
  readonly #weather: Weather;
  #blocks: Block[] = [{ number: 0n, hash: hashOf(0), parentHash: hashOf(0), papers: [] }];
  #pool = new Map<number, Paper>();
  #asked = FLOOR;
  #minted = 0;

  constructor(seed: number, weather: Weather, confirmations = 3) {
    this.#chance = chance(seed);
    this.#weather = weather;
    this.confirmations = confirmations;
  }

  /** What was executed, in order. */
  get executed(): readonly string[] {
    return this.#blocks.flatMap(({ papers }) =>
      papers.filter(({ outside }) => !outside).map(({ data }) => data),
    );
  }

  /** Nonces in the order in which they were used. */
  get nonces(): readonly number[] {
    return this.#blocks.flatMap(({ papers }) => papers.map(({ nonce }) => nonce));
  }

  /** The chain as one life of a process sees it: `pass` stands at every request, before and after it arrives. */
  seenBy(clock: SendingChain['clock'], pass: () => void): SendingChain {
    const ask = async <T>(answer: () => T): Promise<T> => {
      pass();
      await new Promise((go) => setImmediate(go));
      const fails = this.#chance.percent(this.#weather.fail);
      const late = this.#chance.percent(50);
      if (fails && !late) throw this.#unreachable();
      const result = answer();
      this.#weatherNow();
      pass();
      if (fails) throw this.#unreachable();
      return result;
    };
    const head = () => this.#headOf(this.#blocks.at(-1)!);
    return {
      profile: { ...local, confirmations: this.confirmations, blockTimeMs: 1_000 },
      clock,
      head: () => ask(head),
      block: (number) =>
        ask(() => {
          const found = this.#blocks[Number(number)];
          return found && this.#headOf(found);
        }),
      balance: () => ask(() => 10n ** 30n),
      nonce: (_, state) => ask(() => (state === 'latest' ? this.#used() : this.#next())),
      estimateGas: () => ask(() => GAS),
      gasPrice: () => ask(() => this.#asked),
      receipt: (hash) => ask(() => this.#receipt(hash)),
      knows: (hash) => ask(() => this.#receipt(hash) !== undefined || this.#waits(hash)),
      broadcast: (raw) => ask(() => this.#take(raw)),
      failure: () => ask(() => undefined),
    };
  }

  /** Blocks without any weather, so that whatever may still land does. */
  goOn(): void {
    this.#asked = 0n;
    for (let count = 0; count < 5; count++) this.#mine();
  }

  #unreachable(): PieceworkError {
    this.counts.failures++;
    return new PieceworkError('CHAIN_UNREACHABLE', 'the request failed');
  }

  #headOf({ number, hash, parentHash }: Block) {
    return { number, hash, parentHash, timestamp: number };
  }

  #used(): number {
    return this.#blocks.reduce((count, { papers }) => count + papers.length, 0);
  }

  #next(): number {
    let next = this.#used();
    while (this.#pool.has(next)) next++;
    return next;
  }

  #waits(hash: string): boolean {
    return [...this.#pool.values()].some((paper) => paper.hash === hash);
  }

  #receipt(hash: string): Receipt | undefined {
    for (const block of this.#blocks) {
      const paper = block.papers.find((one) => one.hash === hash);
      if (!paper) continue;
      const { number, hash: blockHash } = block;
      const { gasPrice } = paper;
      return {
        hash,
        block: number,
        blockHash,
        ok: true,
        gasUsed: GAS,
        gasPrice,
        contractAddress: undefined,
        logs: [],
      };
    }
    return undefined;
  }

  #take(raw: string) {
    const { hash, nonce, gasPrice, data } = Transaction.from(raw);
    return this.#admit({ hash: hash!, nonce, gasPrice: gasPrice!, data, outside: false });
  }

  /** As nodes do: no used nonce, and a replacement pays a tenth more. */
  #admit(paper: Paper): { accepted: true } | { accepted: false; reason: string } {
    if (paper.nonce < this.#used()) return { accepted: false, reason: 'nonce too low' };
    const waiting = this.#pool.get(paper.nonce);
    if (waiting && waiting.hash !== paper.hash) {
      if (paper.gasPrice * 10n < waiting.gasPrice * 11n) {
        return { accepted: false, reason: 'replacement transaction underpriced' };
      }
      this.counts.replaced++;
    }
    this.#pool.set(paper.nonce, paper);
    return { accepted: true };
  }

  #weatherNow(): void {
    const { mine, lose, reorg, dearer, outsider } = this.#weather;
    if (this.#chance.percent(dearer))
      this.#asked = this.#asked >= PRICE_MAX ? FLOOR : (this.#asked * 4n) / 3n;
    if (this.#chance.percent(outsider)) this.#meddle();
    if (this.#chance.percent(lose)) this.#lose();
    if (this.#chance.percent(reorg)) this.#reorganise(1 + this.#chance.below(this.confirmations - 1));
    if (this.#chance.percent(mine)) this.#mine();
  }

  #meddle(): void {
    const nonce = this.#used();
    const displaced = this.#pool.get(nonce);
    const gasPrice = ((this.#pool.get(nonce)?.gasPrice ?? this.#asked) * 6n) / 5n;
    this.counts.outsiders++;
    this.#admit({
      hash: hashOf(1_000_000 + this.#minted++),
      nonce,
      gasPrice,
      data: '0x',
      outside: true,
      displaced,
    });
  }

  #lose(): void {
    for (const [nonce, paper] of this.#pool) {
      if (paper.outside || !this.#chance.percent(50)) continue;
      this.#pool.delete(nonce);
      this.counts.lost++;
    }
  }

  #mine(): void {
    const papers: Paper[] = [];
    for (let nonce = this.#used(); ; nonce++) {
      const paper = this.#pool.get(nonce);
      if (!paper || paper.gasPrice < this.#asked) break;
      papers.push(paper);
      this.#pool.delete(nonce);
    }
    const parent = this.#blocks.at(-1)!;
    const block = {
      number: parent.number + 1n,
      hash: hashOf(++this.#minted),
      parentHash: parent.hash,
      papers,
    };
    this.#blocks.push(block);
  }

  /** The last blocks are replaced by others; what they held waits again, or is lost. */
  #reorganise(depth: number): void {
    if (this.#blocks.length <= depth + 1) return;
    this.counts.reorgs++;
    const gone = this.#blocks.splice(-depth);
    for (const paper of gone.flatMap(({ papers }) => papers)) {
      const stays = this.#chance.percent(60) || (paper.outside && !paper.displaced);
      if (stays) this.#pool.set(paper.nonce, paper);
      else if (paper.displaced) this.#pool.set(paper.nonce, paper.displaced);
    }
    for (let count = 0; count < depth; count++) this.#mine();
  }
}

function hashOf(number: number): string {
  return hexlify(Buffer.from(number.toString(16).padStart(64, '0'), 'hex'));
}
