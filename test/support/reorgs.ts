/**
 * Reorganisations of every depth at every step of a channel's life, on a real chain. One round has one depth and
 * a chain of its own, with one channel for each step: it is brought to that step, the step's transaction is sent
 * some blocks before the end, the last blocks are replaced, and life goes on until every step is done. A watcher
 * with a ledger looks on and grants whatever it may; what it says is held against a watcher that starts from
 * scratch and against the hub's own views at each depth.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Transaction } from 'ethers';
import { type ChannelFacts, type ChannelKey, TOMBSTONE } from '../../src/channels/channel.js';
import { PieceworkError } from '../../src/errors.js';
import { Ledger } from '../../src/ledger/ledger.js';
import * as Executors from '../../src/native/executor.js';
import type { Account } from '../../src/settlement/account.js';
import type { Chain } from '../../src/settlement/chain.js';
import type { DevChain } from '../../src/settlement/dev-chain.js';
import * as DevChains from '../../src/settlement/dev-chain.js';
import { Hub } from '../../src/settlement/hub.js';
import { readArtifact } from '../../src/settlement/hub-code.js';
import * as Sender from '../../src/settlement/sender.js';
import { tiersOf } from '../../src/settlement/tiers.js';
import { type Call, rawOf } from '../../src/settlement/transaction.js';
import { Watcher } from '../../src/settlement/watcher.js';
import { sameBytes } from '../../src/units.js';
import {
  ask,
  BTT,
  connectTo,
  deployHub,
  keyOf,
  mine,
  passTime,
  row,
  voucherWallet,
  type WatchedStore,
  watchedStore,
} from '../integration/settlement/support.js';
import { type Chance, chance } from './chance.js';

export const STEPS = [
  'open',
  'top-up',
  'settle sent',
  'settle mined',
  'settle confirmed',
  'request close',
  'cooperative close',
  'withdraw',
  'withdraw credit',
] as const;
export type Step = (typeof STEPS)[number];

export const FULL = 128;
const EARLY = 12;
const EARLY_CREDIT = 4n * BTT;
const DEPOSIT = 10n * BTT;
const RAISE = 2n * BTT;
const HEAD = 3n * BTT;
const PERIOD_SECONDS = 30;
const TIERS = tiersOf(FULL, EARLY, EARLY_CREDIT);
/** One grant is worth 1 BTT. */
const GRANT_BYTES = 1 << 20;

export interface ReorgReport {
  readonly seed: number;
  cells: number;
  looks: number;
  /** Cells whose step was taken out of the chain, and those that had to be asked for again. */
  undone: number;
  repeated: number;
  /** The most that had been granted on a deposit that was gone, in base units, by how deep the blocks went. */
  readonly losses: { belowEarly: bigint; belowFull: bigint; deeper: bigint };
}

export interface ReorgOptions {
  readonly seed: number;
  readonly depths: readonly number[];
  readonly say?: (text: string) => void;
}

/** One round for each depth. @throws Error naming seed and depth where something is wrong. */
export async function reorganise(options: ReorgOptions): Promise<ReorgReport> {
  const losses = { belowEarly: 0n, belowFull: 0n, deeper: 0n };
  const report: ReorgReport = { seed: options.seed, cells: 0, looks: 0, undone: 0, repeated: 0, losses };
  for (const depth of options.depths) {
    try {
      await withRound(options.seed, depth, report);
    } catch (thrown) {
      if (thrown instanceof Error) thrown.message = `seed ${options.seed}, depth ${depth}: ${thrown.message}`;
      throw thrown;
    }
    options.say?.(
      `depth ${depth}: ${report.cells} cells, ${report.undone} undone, ${report.repeated} repeated`,
    );
  }
  return report;
}

async function withRound(seed: number, depth: number, report: ReorgReport): Promise<void> {
  const dev = await DevChains.start({ blockTime: 0, accountCount: 2 + 2 * STEPS.length });
  const near = await connectTo(dev.profile);
  const chain = await connectTo({ ...dev.profile, confirmations: FULL, blockTimeMs: 1 });
  const folder = mkdtempSync(join(tmpdir(), 'piecework-reorgs-'));
  const executor = Executors.inline();
  let round: Round | undefined;
  try {
    const deployed = await deployHub(near, dev.accounts[0]!, PERIOD_SECONDS);
    await mine(dev.rpcUrl, FULL + 1);
    const hub = new Hub(chain, deployed.domain.hub, await readArtifact());
    const { chainId, hub: address } = hub.domain;
    const place = { dataDir: folder, chainId, hub: address, seed: new Uint8Array(32).fill(9) };
    const ledger = await Ledger.open(executor, place);
    round = new Round({ dev, chain, hub, ledger, dice: chance(seed + depth), report, depth });
    await round.run();
    await round.close();
    await ledger.close();
  } finally {
    await round?.close();
    near.close();
    chain.close();
    await dev.stop();
    await executor.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Setting {
  readonly dev: DevChain;
  readonly chain: Chain;
  readonly hub: Hub;
  readonly ledger: Ledger;
  readonly dice: Chance;
  readonly report: ReorgReport;
  readonly depth: number;
}

class Round {
  readonly #at: Setting;
  readonly #cells: readonly Cell[];
  readonly #watcher: Watcher;
  #closed = false;

  constructor(at: Setting) {
    this.#at = at;
    this.#cells = STEPS.map((step, index) => new Cell(at, step, index));
    this.#watcher = this.#watch((facts) => this.#cellOf(facts).take(facts));
  }

  async run(): Promise<void> {
    const { dev, depth, report } = this.#at;
    await this.#all((cell) => cell.open());
    await this.#all((cell) => cell.prepare());
    await passTime(dev.rpcUrl, PERIOD_SECONDS);
    for (const { key } of this.#cells) this.#watcher.watch(key);
    await this.#look();
    await this.#steps();
    const before = this.#cells.map((cell) => cell.facts!);
    await this.#reorganise();
    await this.#look();
    for (const [index, cell] of this.#cells.entries()) {
      cell.countLoss(before[index]!, depth);
      if (!(await cell.isDone())) report.undone++;
    }
    await this.#finish();
    report.cells += this.#cells.length;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const cell of this.#cells) await cell.close();
    await this.#watcher.stop();
  }

  #cellOf({ voucherKey }: ChannelFacts): Cell {
    return this.#cells.find(({ key }) => sameBytes(key.voucherKey, voucherKey))!;
  }

  /** Does something for all channels at once while blocks come until it is confirmed. */
  async #all(work: (cell: Cell) => Promise<void>): Promise<void> {
    let over = false;
    const done = Promise.all(this.#cells.map(work)).finally(() => {
      over = true;
    });
    done.catch(() => undefined);
    while (!over) {
      await new Promise((go) => setTimeout(go, 20));
      await this.#mineAsNeeded();
    }
    await done;
  }

  /** As many blocks as what is sent needs, and no more: the chain keeps the states of some hundreds. */
  async #mineAsNeeded(): Promise<void> {
    const { dev, chain } = this.#at;
    const blocks = (await Promise.all(this.#cells.map((cell) => cell.minedIn()))).flat();
    if (blocks.length === 0) return;
    const mined = blocks.filter((block) => block !== undefined);
    if (mined.length < blocks.length) return void (await mine(dev.rpcUrl));
    const wanted = mined.reduce((a, b) => (a > b ? a : b)) + BigInt(FULL - 1);
    const { number } = await chain.head();
    if (number < wanted) await mine(dev.rpcUrl, Number(wanted - number));
  }

  /** Sends each step its number of blocks before the end. */
  async #steps(): Promise<void> {
    const { dev, dice } = this.#at;
    const first = [...this.#cells].sort((a, b) => b.after - a.after);
    const looks = new Set(first.map((_, index) => index).filter(() => dice.percent(50)));
    for (const [index, cell] of first.entries()) {
      await cell.begin();
      if (looks.has(index)) await this.#look();
      const left = cell.after - (first[index + 1]?.after ?? 0);
      if (left > 0) await mine(dev.rpcUrl, left);
    }
    await this.#look();
  }

  /** Replaces the last blocks; what the steps stood on comes back in the first of the new ones, the steps do not. */
  async #reorganise(): Promise<void> {
    const { dev, chain, depth } = this.#at;
    await ask(dev.rpcUrl, 'evm_setAutomine', false);
    const { number } = await chain.head();
    const gone = await Promise.all(this.#cells.map((cell) => cell.foundation(number - BigInt(depth))));
    const back = gone.flat().sort((a, b) => Number(a.at - b.at));
    await ask(
      dev.rpcUrl,
      'anvil_reorg',
      depth,
      back.map(({ raw }) => [raw, 0]),
    );
  }

  /** Blocks come, and steps that were lost for good are asked for again, until all are done and deep. */
  async #finish(): Promise<void> {
    const { dev } = this.#at;
    await ask(dev.rpcUrl, 'evm_setAutomine', true);
    await this.#all((cell) => cell.finish(() => passTime(dev.rpcUrl, PERIOD_SECONDS)));
    await mine(dev.rpcUrl, FULL);
    await this.#look();
    for (const cell of this.#cells) await cell.replay();
    await mine(dev.rpcUrl);
    for (const cell of this.#cells) await cell.check();
  }

  /** A look of the watcher, held against the hub's views at each depth and against a watcher from scratch. */
  async #look(): Promise<void> {
    const { hub, chain, report } = this.#at;
    report.looks++;
    const head = await chain.head();
    await this.#watcher.poll();
    const keys = this.#cells.map(({ key }) => key);
    const depths = await Promise.all(
      [1, EARLY, FULL].map((count) => chain.block(head.number - BigInt(count - 1))),
    );
    const views = await Promise.all(depths.map((block) => hub.readChannels(keys, block!)));
    const rebuilt = new Map<Cell, ChannelFacts>();
    const other = this.#watch(async (facts) => void rebuilt.set(this.#cellOf(facts), facts));
    for (const key of keys) other.watch(key);
    await other.poll();
    await other.stop();
    // A transaction that was mined meanwhile made another head: all of this was seen at several.
    if ((await chain.head()).hash !== head.hash) return this.#look();
    for (const [index, cell] of this.#cells.entries()) {
      const [newest, early, full] = views.map((read) => read[index]!);
      const earlyPart = early!.deposit < EARLY_CREDIT ? early!.deposit : EARLY_CREDIT;
      const allowed = full!.deposit > earlyPart ? full!.deposit : earlyPart;
      cell.compare([allowed, full!.settled, newest!.closeAt], rebuilt.get(cell)!);
      await cell.grant(allowed);
    }
  }

  #watch(take: (facts: ChannelFacts) => Promise<void>): Watcher {
    const { chain, hub } = this.#at;
    const onFailure = (error: PieceworkError): never => {
      throw error;
    };
    const onFacts = async (changes: readonly { readonly facts: ChannelFacts }[]): Promise<void> => {
      for (const { facts } of changes) await take(facts);
    };
    return new Watcher(chain, hub, { onFacts, onFailure }, { tiers: TIERS, sweepBlocks: 1_000_000 });
  }
}

/** One channel on its way to one step. */
class Cell {
  readonly key: ChannelKey;
  /** Blocks between the step's transaction and the reorganisation. */
  readonly after: number;
  facts: ChannelFacts | undefined;
  readonly #at: Setting;
  readonly #step: Step;
  readonly #index: number;
  readonly #payer: Account;
  readonly #payee: Account;
  readonly #stores = new Map<Account, WatchedStore>();
  readonly #senders = new Map<Account, Sender.Sender>();
  readonly #raws = new Map<string, string>();
  #sent: Promise<PieceworkError | undefined> | undefined;
  #session = 0;
  #granted = 0n;

  constructor(at: Setting, step: Step, index: number) {
    this.#at = at;
    this.#step = step;
    this.#index = index;
    this.#payer = at.dev.accounts[2 + 2 * index]!;
    this.#payee = at.dev.accounts[3 + 2 * index]!;
    this.key = keyOf(voucherWallet(index), this.#payee);
    this.after = this.#blocksAfter();
  }

  async open(): Promise<void> {
    if (this.#step !== 'open')
      await this.#now(this.#payer, this.#at.hub.open({ ...this.key, deposit: DEPOSIT }));
  }

  /** Up to where the step begins. */
  async prepare(): Promise<void> {
    if (this.#step === 'withdraw') await this.#now(this.#payer, this.#at.hub.requestClose(this.key));
    if (this.#step === 'withdraw credit') await this.#now(this.#payee, await this.#settlement());
  }

  #blocksAfter(): number {
    const { depth, dice } = this.#at;
    if (this.#step === 'settle sent') return 0;
    if (this.#step === 'settle confirmed') return FULL + dice.below(4);
    if (this.#step === 'settle mined') return dice.below(FULL - 1);
    // Mostly shallower than the reorganisation goes, so that it takes the step out.
    return dice.percent(80) ? dice.below(depth) : depth + dice.below(4);
  }

  async #call(): Promise<Call> {
    const { hub } = this.#at;
    const row = { voucherKey: this.key.voucherKey, row: undefined };
    switch (this.#step) {
      case 'open':
        return hub.open({ ...this.key, deposit: DEPOSIT });
      case 'top-up':
        return hub.topUp(this.key, RAISE, DEPOSIT);
      case 'request close':
        return hub.requestClose(this.key);
      case 'cooperative close':
        return hub.cooperativeClose(this.#payee.address, [row])[0]!;
      case 'withdraw':
        return hub.withdraw(this.key);
      case 'withdraw credit':
        return hub.withdrawCredit(this.#payee.address, this.#payee.address);
      default:
        return this.#settlement();
    }
  }

  async #settlement(): Promise<Call> {
    const { hub } = this.#at;
    const head = await row(voucherWallet(this.#index), hub.domain, this.#payee.address, HEAD);
    return hub.settle(this.#payee.address, [head])[0]!;
  }

  get #actor(): Account {
    const own = ['open', 'top-up', 'request close', 'withdraw'];
    return own.includes(this.#step) ? this.#payer : this.#payee;
  }

  /** Brings the step onto the chain; resolves with why not where it did not come through. */
  async #do(): Promise<PieceworkError | undefined> {
    const sender = await this.#sender(this.#actor);
    try {
      await sender.send(await this.#call());
      return undefined;
    } catch (thrown) {
      if (thrown instanceof PieceworkError) return thrown;
      throw thrown;
    }
  }

  /** The state the step leads to, as the newest block has it. */
  async isDone(): Promise<boolean> {
    const { hub, chain } = this.#at;
    const step = this.#step;
    const head = await chain.head();
    const [facts] = await hub.readChannels([this.key], head);
    if (step === 'open') return facts!.deposit === DEPOSIT;
    if (step === 'top-up') return facts!.deposit === DEPOSIT + RAISE;
    if (step === 'request close') return facts!.closeAt !== 0;
    if (step === 'withdraw' || step === 'cooperative close') return facts!.closeAt === TOMBSTONE;
    if (step === 'withdraw credit') return (await hub.credit(this.#payee.address, head)) === 0n;
    return facts!.settled === HEAD;
  }

  /** Sends the step and waits until its transaction is mined, or for the one that shall wait, in the pool. */
  async begin(): Promise<void> {
    const { dev, chain } = this.#at;
    const mined = this.#step !== 'settle sent';
    await ask(dev.rpcUrl, 'evm_setAutomine', mined);
    this.#sent = this.#do();
    for (let tries = 0; tries < 5_000; tries++) {
      const hash = [...(this.#stores.get(this.#actor)?.records.values() ?? [])][0]?.id;
      if (hash !== undefined && (mined ? await chain.receipt(hash) : await chain.knows(hash))) break;
      await new Promise((go) => setTimeout(go, 2));
    }
    await ask(dev.rpcUrl, 'evm_setAutomine', true);
  }

  /** Until the step's transaction has ended, and again while the newest block does not show it. */
  async finish(passPeriod: () => Promise<void>): Promise<void> {
    for (let rounds = 0; rounds < 12; rounds++) {
      await this.#sent;
      if (await this.isDone()) return;
      if (rounds > 0) await passPeriod();
      this.#at.report.repeated++;
      this.#sent = this.#do();
    }
    throw new Error(`${this.#step} was never done`);
  }

  /** Everything that was ever signed comes once more, and must change nothing. */
  async replay(): Promise<void> {
    for (const raw of this.#raws.values()) {
      await ask(this.#at.dev.rpcUrl, 'eth_sendRawTransaction', raw).catch(() => undefined);
    }
  }

  /** Done, once, and nothing left over. */
  async check(): Promise<void> {
    const { hub, chain } = this.#at;
    const step = this.#step;
    if (!(await this.isDone())) throw new Error(`${step} was undone`);
    for (const { records } of this.#stores.values()) {
      if (records.size > 0) throw new Error(`${step}: a transaction never ended`);
    }
    const head = await chain.head();
    const [facts] = await hub.readChannels([this.key], head);
    const credit = await hub.credit(this.#payee.address, head);
    const settles = step.startsWith('settle');
    const wanted = [
      step === 'top-up' ? DEPOSIT + RAISE : DEPOSIT,
      settles || step === 'withdraw credit' ? HEAD : 0n,
      settles ? HEAD : 0n,
    ];
    const found = [facts!.deposit, facts!.settled, credit];
    if (String(found) !== String(wanted)) throw new Error(`${step}: deposit, settled, credit are ${found}`);
  }

  /** This cell's transactions in the blocks after that one, but for the step's. */
  async foundation(block: bigint): Promise<readonly { readonly raw: string; readonly at: bigint }[]> {
    const step = await this.#call();
    const found: { readonly raw: string; readonly at: bigint }[] = [];
    for (const [hash, raw] of this.#raws) {
      const { data, value } = Transaction.from(raw);
      if (data === step.data && value === step.value) continue;
      const receipt = await this.#at.chain.receipt(hash);
      if (receipt && receipt.block > block) found.push({ raw, at: receipt.block });
    }
    return found;
  }

  /** What the watcher says, what the chain's views give, and what a watcher from scratch says are the same. */
  compare(expected: readonly unknown[], rebuilt: ChannelFacts): void {
    const said = [this.facts!.deposit, this.facts!.settled, this.facts!.closeAt];
    const scratch = [rebuilt.deposit, rebuilt.settled, rebuilt.closeAt];
    if (String(said) === String(expected) && String(said) === String(scratch)) return;
    throw new Error(
      `${this.#step}, ${this.after} after: said ${said}, the chain ${expected}, from scratch ${scratch}`,
    );
  }

  /** Grants as much as the ledger lets it: never beyond what the tier in force allows. */
  async grant(allowed: bigint): Promise<void> {
    const { ledger } = this.#at;
    const { deposit } = (await ledger.channel(this.key.voucherKey, this.key.payee))!;
    if (deposit !== allowed) throw new Error(`${this.#step}: ${deposit} is booked, ${allowed} allowed`);
    const grant = {
      kind: 'grant',
      session: this.#session,
      bytes: GRANT_BYTES,
      exposureLimit: 100n * BTT,
    } as const;
    while ((await ledger.commit([grant]))[0]!.status === 'ok') {
      this.#granted += BTT;
      if (this.#granted > allowed)
        throw new Error(`${this.#step}: granted ${this.#granted}, allowed ${allowed}`);
    }
  }

  countLoss(before: ChannelFacts, depth: number): void {
    const { losses } = this.#at.report;
    const loss = this.#granted > this.facts!.deposit ? this.#granted - this.facts!.deposit : 0n;
    if (loss > before.deposit) throw new Error(`${loss} granted on a deposit of ${before.deposit}`);
    const name = depth < EARLY ? 'belowEarly' : depth < FULL ? 'belowFull' : 'deeper';
    if (loss > losses[name]) losses[name] = loss;
  }

  /** Books facts, and opens a session with the first of them. */
  async take(facts: ChannelFacts): Promise<void> {
    const { ledger } = this.#at;
    const { voucherKey, payee, deposit, settled, closeAt, block } = facts;
    const put = { voucherKey, payee, deposit, settled, closeAt, block: Number(block) };
    const [outcome] = await ledger.commit([{ kind: 'channel_put', role: 'payee', ...put }]);
    if (outcome!.status !== 'ok') throw new Error(`the book refused the facts: ${outcome!.status}`);
    if (this.facts === undefined) {
      const terms = { infohash: new Uint8Array(20).fill(1), priceMiB: BTT, minimumStep: 0n, prepay: 0n };
      const sessionId = new Uint8Array(16).fill(this.#index + 1);
      const [opened] = await ledger.commit([
        { kind: 'session_open', channel: outcome!.channel!, sessionId, ...terms },
      ]);
      this.#session = opened!.session!;
    }
    this.facts = facts;
  }

  /** The blocks of what is in flight, undefined for what is not mined. */
  async minedIn(): Promise<readonly (bigint | undefined)[]> {
    const ids = [...this.#stores.values()].flatMap(({ records }) => [...records.keys()]);
    return Promise.all(ids.map(async (id) => (await this.#at.chain.receipt(id))?.block));
  }

  async close(): Promise<void> {
    for (const sender of this.#senders.values()) await sender.close();
  }

  async #sender(account: Account): Promise<Sender.Sender> {
    const known = this.#senders.get(account);
    if (known) return known;
    const store = watchedStore();
    store.afterPut = async (record) => {
      for (const variant of record.variants) this.#raws.set(variant.hash, rawOf(record, variant));
    };
    const options = { pollMs: 5, waitMs: 60_000, stuckMs: 60_000 };
    const sender = await Sender.open(this.#at.chain, account, store, options);
    this.#stores.set(account, store);
    this.#senders.set(account, sender);
    return sender;
  }

  /** Sends and waits until it is confirmed; blocks come from elsewhere. */
  async #now(account: Account, call: Call): Promise<void> {
    await (await this.#sender(account)).send(call);
  }
}
