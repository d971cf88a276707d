/**
 * kill -9, again and again: downloads torrent after torrent while payee and payer are killed at random
 * moments, until enough kills are counted; then everything is settled, closed and withdrawn, and books and
 * chain must agree to the wei. The seed chooses torrents, victims and delays; what a delay meets is the
 * machine's business, so a seed repeats the plan and not the microsecond.
 */
import { join } from 'node:path';
import { formatAddress } from '../../src/channels/channel.js';
import { inline } from '../../src/native/executor.js';
import { type Chance, chance } from './chance.js';
import * as Books from './crash-books.js';
import { Broken } from './crash-books.js';
import { requireSameFiles, writePayload } from './crash-payload.js';
import * as Processes from './crash-process.js';
import type { CrashReport } from './crash-report.js';
import { type Moment, PRICE_MIB, type Side, Stage, type StageOptions, sleep } from './crash-stage.js';
import { makeWorld, type Spent, spentBy, type World } from './crash-world.js';

export interface CrashOptions extends StageOptions {
  readonly seed: number;
  readonly kills: number;
  /** Kills during the transfer of one torrent. */
  readonly killsPerTransfer: number;
  readonly say?: (text: string) => void;
}

/** Acknowledgements between two kills of a transfer, at most; about four pieces come on each. */
const ACKS_BETWEEN = 12;
const JITTER_MS = 6;
const STARTUP_MS = 1_400;
const CHAIN_MS = 1_500;
const SENDING_MS = 60;

export async function crash(options: CrashOptions): Promise<CrashReport> {
  const world = await makeWorld();
  const executor = inline();
  const stage = new Stage(world, executor, options);
  const run = new Run(stage, options);
  try {
    return await run.toEnd();
  } catch (thrown) {
    const place = `seed ${options.seed}, round ${run.rounds}, kill ${stage.killCount}`;
    if (thrown instanceof Error) thrown.message = `${place}: ${thrown.message}`;
    throw thrown;
  } finally {
    await stage.end();
    await executor.close();
    await world.close();
  }
}

class Run {
  rounds = 0;
  readonly #stage: Stage;
  readonly #options: CrashOptions;
  readonly #chance: Chance;
  readonly #beginMs = performance.now();
  #bytes = 0;
  #sessions = 0;
  #closes = 0;
  #bag: Array<readonly Side[]> = [];

  constructor(stage: Stage, options: CrashOptions) {
    this.#stage = stage;
    this.#options = options;
    this.#chance = chance(options.seed);
  }

  async toEnd(): Promise<CrashReport> {
    const stage = this.#stage;
    while (stage.killCount < this.#options.kills) await this.#round();
    if (!stage.alive('payee')) await stage.startPayee();
    await this.#close();
    await stage.stop('payee');
    const { spent, settled } = await this.#reconcile();
    return {
      seed: this.#options.seed,
      kills: stage.killCount,
      killsBy: stage.kills,
      rounds: this.rounds,
      restarts: stage.restarts,
      acks: stage.acks,
      bytes: this.#bytes,
      sessions: this.#sessions,
      slowestRestartMs: stage.slowestMs,
      spent,
      settled,
      durationMs: performance.now() - this.#beginMs,
    };
  }

  async #round(): Promise<void> {
    const stage = this.#stage;
    this.rounds++;
    // Every second torrent is paid by ticks.
    stage.turnTo(`round-${this.rounds}`, this.rounds % 2 === 0);
    writePayload(stage.sources, this.#chance);
    await this.#startPayee();
    await this.#opening();
    for (let kills = 0; kills < this.#options.killsPerTransfer; kills++) {
      if (!(await this.#transfer())) break;
    }
    await this.#ending();
    await stage.finish();
    await this.#verify();
    // Some channels are closed, some serve the next torrent too, topped up.
    if (this.rounds === 1 || this.#chance.percent(60)) await this.#close();
    await stage.stop('payee');
    const counts = [...stage.kills].map(([name, count]) => `${name} ${count}`).sort();
    this.#options.say?.(`round ${this.rounds}: ${stage.killCount} kills (${counts.join(', ')})`);
  }

  /** The payee may be killed while it starts, more than once. */
  async #startPayee(): Promise<void> {
    for (let kills = 0; kills < 2 && this.#chance.percent(40); kills++) await this.#startAndKill('payee');
    await this.#stage.startPayee();
  }

  async #startAndKill(side: Side): Promise<void> {
    this.#stage.spawn(side);
    await sleep(this.#chance.below(STARTUP_MS));
    await this.#stage.kill('startup', [side]);
  }

  /** Starts the payer, which may be killed while it opens its channel or puts more into it. */
  async #opening(): Promise<void> {
    const stage = this.#stage;
    const payer = stage.spawn('payer');
    const { acks } = stage;
    if (this.#chance.percent(60)) {
      if (this.#chance.percent(50)) await sleep(this.#chance.below(STARTUP_MS + CHAIN_MS));
      else {
        // It has said what the gas costs, or needs no transaction: what follows is signed, sent and recorded.
        await payer.until(({ event }) => event === 'gas' || event === 'ack');
        await sleep(this.#chance.below(SENDING_MS));
      }
      if (stage.acks === acks) {
        const dead = await stage.kill('opening', ['payer']);
        for (const side of dead) await stage.start(side);
      }
    }
    await stage.reach(() => stage.acks > acks);
  }

  /** Kills in the middle of a transfer and waits until it goes on; false when it is over. */
  async #transfer(): Promise<boolean> {
    const stage = this.#stage;
    const wanted = stage.acks + this.#chance.below(ACKS_BETWEEN);
    if (!(await stage.reach(() => stage.acks >= wanted))) return false;
    await sleep(this.#chance.below(JITTER_MS));
    if (!stage.alive('payer')) return false;
    const dead = await stage.kill('transfer', this.#victims());
    if (this.#chance.percent(15)) await this.#startAndKill(this.#chance.pick(dead));
    await stage.restart(dead);
    return true;
  }

  /** Drawn without putting back, so that few kills are enough to hit both sides. */
  #victims(): readonly Side[] {
    if (this.#bag.length === 0) this.#bag = [['payee'], ['payer'], ['payee'], ['payer'], ['payee', 'payer']];
    return this.#bag.splice(this.#chance.below(this.#bag.length), 1)[0]!;
  }

  async #ending(): Promise<void> {
    const stage = this.#stage;
    if (!this.#chance.percent(60)) return;
    const last = stage.torrent!.pieceCount - 10;
    if (!(await stage.reach(() => stage.pieces >= last))) return;
    await sleep(this.#chance.below(150));
    const dead = await stage.kill('ending', [this.#chance.pick<Side>(['payee', 'payer'])]);
    for (const side of dead) await stage.start(side);
  }

  /** Everything is here, paid once, and acknowledged. */
  async #verify(): Promise<void> {
    const stage = this.#stage;
    const { world, executor } = stage;
    const torrent = stage.torrent!;
    requireSameFiles(stage.sources, join(stage.downloads, torrent.name));
    const payer = await Books.readBooks(world, world.payer, executor);
    const payee = await Books.readBooks(world, world.payee, executor);
    Books.checkPayer(payer, torrent.infohash, torrent.totalBytes, new Map());
    Books.checkPayee(payee, stage.acknowledged);
    const { pieces, bytes, owed, sessions } = Books.bought(payer, torrent.infohash);
    if (pieces !== torrent.pieceCount || bytes !== torrent.totalBytes) {
      throw new Broken(
        `payer: paid ${pieces} pieces (${bytes} bytes) of ${torrent.pieceCount} (${torrent.totalBytes})`,
      );
    }
    const price = (PRICE_MIB * BigInt(bytes) + (1n << 20n) - 1n) >> 20n;
    // Each session rounds its price up once.
    if (owed < price || owed > price + BigInt(sessions - 1)) {
      throw new Broken(`payer: owes ${owed} for what costs ${price}, in ${sessions} sessions`);
    }
    requireSameHeads(payer, payee);
    this.#bytes += bytes;
    this.#sessions += sessions;
  }

  /** Settles and closes all channels and withdraws, with kills on both sides. */
  async #close(): Promise<void> {
    const stage = this.#stage;
    this.#closes++;
    await this.#atPayee('settling', () => stage.daemon.settle({ close: true }));
    await this.#atPayee('withdrawing', () => stage.daemon.withdraw({}));
    const killAfterMs = this.#onChain() ? this.#chance.below(STARTUP_MS + CHAIN_MS) : undefined;
    await stage.payerCommand(['withdraw'], killAfterMs);
  }

  /** Whether to kill during this operation on the chain: always in the first round of them. */
  #onChain(): boolean {
    return this.#closes === 1 || this.#chance.percent(60);
  }

  /** An operation of the payee that goes on the chain; it may be killed in the middle and is asked again. */
  async #atPayee(moment: Moment, ask: () => Promise<unknown>): Promise<void> {
    const stage = this.#stage;
    if (this.#onChain()) {
      const asked = ask().catch(() => undefined);
      await Promise.race([
        asked,
        this.#chance.percent(50) ? sleep(this.#chance.below(CHAIN_MS)) : this.#mined(),
      ]);
      await stage.kill(moment, ['payee']);
      await asked;
      await this.#startPayee();
    }
    await ask();
  }

  /** Shortly after a transaction of the payee was mined, and mostly before it knows. */
  async #mined(): Promise<void> {
    const { world } = this.#stage;
    const before = await world.nonce(world.payee.address);
    const untilMs = performance.now() + 2 * CHAIN_MS;
    while ((await world.nonce(world.payee.address)) === before && performance.now() < untilMs)
      await sleep(10);
    await sleep(this.#chance.below(100));
  }

  async #reconcile(): Promise<{ spent: Map<Side, Spent>; settled: bigint }> {
    const { world, executor } = this.#stage;
    for (const party of [world.payer, world.payee]) await Processes.run([...party.flags, 'statement']);
    const payer = await Books.readBooks(world, world.payer, executor);
    const payee = await Books.readBooks(world, world.payee, executor);
    requireSameHeads(payer, payee);
    const sum = (amounts: readonly bigint[]): bigint => amounts.reduce((total, amount) => total + amount, 0n);
    const settled = sum(payee.channels.map((channel) => channel.settled));
    requireEqual('settled = authorised', settled, sum(payee.channels.map(({ authorized }) => authorized)));
    requireEqual('signed = settled', sum(payer.channels.map(({ authorized }) => authorized)), settled);
    const spent = await spentBy(world, [world.payee, world.payer]);
    await requireBalances(world, spent, settled);
    for (const [side, { failed, idle, deposits }] of spent) {
      if (failed + idle > 0)
        throw new Broken(`${side}: ${failed} transactions failed, ${idle} changed nothing`);
      // Each torrent is paid for from one deposit, however often its download was broken off.
      if (deposits > this.rounds)
        throw new Broken(`${side}: ${deposits} deposits for ${this.rounds} torrents`);
    }
    return { spent, settled };
  }
}

async function requireBalances(world: World, spent: Map<Side, Spent>, settled: bigint): Promise<void> {
  const { payee, payer, chain } = world;
  const gained = (await world.balance(payee.address)) - payee.before;
  const lost = payer.before - (await world.balance(payer.address));
  requireEqual('payee gained = settled − its gas', gained, settled - spent.get('payee')!.fees);
  requireEqual('payer lost = settled + its gas', lost, settled + spent.get('payer')!.fees);
  requireEqual('the hub keeps nothing', await world.balance(chain.hub!), 0n);
}

function requireSameHeads(payer: Books.Books, payee: Books.Books): void {
  for (const channel of payer.channels) {
    const name = formatAddress(channel.voucherKey);
    requireEqual(`signed = accepted of ${name}`, channel.authorized, Books.authorized(payee, name));
  }
}

function requireEqual(rule: string, left: bigint, right: bigint): void {
  if (left !== right) throw new Broken(`${rule}: ${left} is not ${right}`);
}
