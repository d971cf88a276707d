/**
 * Payee and payer on one torrent: starts them, hears what the payer is told, kills them, and checks what is
 * left on disk after every kill. When and whom to kill is `crash-run`'s choice.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findDaemon } from '../../src/cli/daemon.js';
import type { Operations } from '../../src/engine/operations.js';
import type { Executor } from '../../src/native/executor.js';
import { type Metainfo, parse } from '../../src/torrent/metainfo.js';
import * as Books from './crash-books.js';
import { Broken } from './crash-books.js';
import * as Processes from './crash-process.js';
import type { Party, World } from './crash-world.js';

export type Side = Party['name'];
/** What was going on when a process was killed. */
export type Moment = 'startup' | 'opening' | 'transfer' | 'ending' | 'settling' | 'withdrawing';

/** A price that divides into no piece evenly, so that rounding shows. */
export const PRICE_MIB = 488_281_250_000_007n;
const PRICE = `${PRICE_MIB}wei/MiB`;
const PIECE = '64KiB';
/** The price of a piece less a block, the most that ticks pay ahead. */
const AHEAD = (PRICE_MIB * 3n * 16_384n) >> 20n;
/** Small, so that a voucher is due every few pieces. */
const WINDOW = '1MiB';
const BUDGET = '5BTT';
/** No sockets outside loopback. */
const ENVIRONMENT = { PIECEWORK_HOST: '127.0.0.1' };
/** A restart that takes longer than this to go on has stalled: the default timer is a minute. */
const STALL_MS = 30_000;

export interface StageOptions {
  /** Runs after each kill, before the books are read: where a canary does its damage. */
  readonly sabotage?: (stage: Stage, victims: readonly Side[]) => Promise<void>;
  /** Variables that a side's processes get besides this process's own. */
  readonly environment?: (side: Side) => NodeJS.ProcessEnv;
}

export class Stage {
  readonly world: World;
  readonly executor: Executor;
  readonly kills = new Map<string, number>();
  /** The highest amount each channel's payer was ever told is safe. */
  readonly acknowledged = new Map<string, bigint>();
  acks = 0;
  pieces = 0;
  restarts = 0;
  rebuys = 0;
  slowestMs = 0;
  torrent: Metainfo | undefined;
  readonly #options: StageOptions;
  readonly #processes = new Map<Side, Processes.Process>();
  readonly #waiting = new Set<() => void>();
  #name = '';
  #ticks = false;
  #ticked = false;
  #last: Processes.Line | undefined;
  #recent: readonly Processes.Line[] = [];

  constructor(world: World, executor: Executor, options: StageOptions = {}) {
    this.world = world;
    this.executor = executor;
    this.#options = options;
  }

  get killCount(): number {
    return [...this.kills.values()].reduce((sum, count) => sum + count, 0);
  }

  get sources(): string {
    return join(this.world.folder, 'sources', this.#name);
  }

  get downloads(): string {
    return join(this.world.folder, 'downloads', this.#name);
  }

  get torrentFile(): string {
    return join(this.world.folder, `${this.#name}.torrent`);
  }

  /** The payee's own interface; it must be running. */
  get daemon(): Operations {
    const daemon = findDaemon(this.world.payee.dataDir);
    if (!daemon) throw new Error('the payee is not running');
    return daemon;
  }

  /** Turns to another torrent, paid by ticks or by pieces; nothing may be running. */
  turnTo(name: string, ticks = false): void {
    this.#name = name;
    this.#ticks = ticks;
    this.#ticked ||= ticks;
    this.#last = undefined;
    this.torrent = undefined;
    this.pieces = 0;
  }

  alive(side: Side): boolean {
    return this.#processes.get(side)?.alive === true;
  }

  /** Starts a side without waiting for it. */
  spawn(side: Side): Processes.Process {
    const { payee, payer, port } = this.world;
    const args =
      side === 'payee'
        ? [
            ...payee.flags,
            ...['seed', this.sources, '--name', this.#name, '--piece-length', PIECE],
            ...['--torrent-out', this.torrentFile, '--price', PRICE, '--window', WINDOW],
            ...['--host', '127.0.0.1', '--port', String(port), '--threads', '1'],
            ...(this.#ticks ? ['--ticks', 'require'] : []),
          ]
        : [
            ...payer.flags,
            ...['get', this.torrentFile, '--to', this.downloads, '--budget', BUDGET, '--max-price', PRICE],
            ...['--peer', `127.0.0.1:${port}`, '--threads', '1'],
            ...(this.#ticks ? ['--pay-ticks'] : []),
          ];
    const environment = { ...ENVIRONMENT, ...this.#options.environment?.(side) };
    const process = Processes.start(args, (line) => this.#hear(side, line), environment);
    this.#processes.set(side, process);
    void process.ended.then(() => this.#wake());
    return process;
  }

  /** Starts the payee and waits until it serves; it must still hold what it acknowledged. */
  async startPayee(): Promise<void> {
    const process = this.spawn('payee');
    const acknowledged = new Map(this.acknowledged);
    if (!(await process.until(({ event }) => event === 'seeding'))) await this.#failed('payee', process);
    this.torrent ??= parse(new Uint8Array(await readFile(this.torrentFile)));
    for (const [voucherKey, amount] of acknowledged) {
      const { authorized } = await this.daemon.channel(voucherKey);
      if (BigInt(authorized) < amount) {
        throw new Broken(`payee: restarted with ${authorized} of ${voucherKey}, ${amount} was acknowledged`);
      }
    }
  }

  async start(side: Side): Promise<void> {
    if (side === 'payee') await this.startPayee();
    else this.spawn('payer');
  }

  /** Resolves true once `met`, false when the payer has ended before. @throws Broken when nothing arrives. */
  async reach(met: () => boolean): Promise<boolean> {
    let sinceMs = performance.now();
    let { pieces } = this;
    for (;;) {
      if (met()) return true;
      if (!this.alive('payer')) return met();
      if (this.pieces !== pieces) sinceMs = performance.now();
      pieces = this.pieces;
      if (performance.now() - sinceMs > STALL_MS) throw new Broken(await this.#stalled());
      await Promise.race([new Promise<void>((resolve) => this.#waiting.add(resolve)), sleep(1_000)]);
    }
  }

  /** kill -9; reads and checks the books of whoever died. Returns the sides that were really alive. */
  async kill(moment: Moment, victims: readonly Side[]): Promise<Side[]> {
    const hits = await Promise.all(victims.map((side) => this.#processes.get(side)!.kill()));
    const dead = victims.filter((_, at) => hits[at]);
    for (const side of dead) {
      const name = `${side} ${moment}`;
      this.kills.set(name, (this.kills.get(name) ?? 0) + 1);
    }
    if (dead.length === 0) return dead;
    await this.#options.sabotage?.(this, dead);
    await this.inspect(dead);
    return dead;
  }

  /** Reads what the dead left behind. @throws Broken. */
  async inspect(dead: readonly Side[]): Promise<void> {
    const { world, executor, torrent } = this;
    const acknowledged = new Map(this.acknowledged);
    const heads = new Map<string, bigint>();
    if (dead.includes('payee')) {
      const books = await Books.readBooks(world, world.payee, executor);
      Books.checkPayee(books, acknowledged);
      for (const key of acknowledged.keys()) heads.set(key, Books.authorized(books, key));
    } else if (this.alive('payee') && findDaemon(world.payee.dataDir)) {
      for (const { voucherKey, authorized } of await this.daemon.channels())
        heads.set(voucherKey, BigInt(authorized));
    }
    if (!dead.includes('payer') || !torrent) return;
    const books = await Books.readBooks(world, world.payer, executor);
    const verified = await Books.verifiedBytes(torrent, this.downloads, executor);
    // What was lost of a piece that was paid ahead stays signed for.
    Books.checkPayer(books, torrent.infohash, verified, heads, this.#ticked ? AHEAD : undefined);
  }

  /** Starts the dead again and waits until the download goes on. @throws Broken when it does not. */
  async restart(dead: readonly Side[]): Promise<void> {
    for (const side of dead) await this.start(side);
    this.restarts += dead.length;
    const { pieces } = this;
    const beginMs = performance.now();
    await this.reach(() => this.pieces > pieces);
    this.slowestMs = Math.max(this.slowestMs, performance.now() - beginMs);
  }

  /** Lets the download come to its end, as often as that takes for the payee to acknowledge everything. */
  async finish(): Promise<void> {
    for (let attempt = 0; attempt < 4; attempt++) {
      const process = this.#processes.get('payer')!;
      const { status } = await process.ended;
      if (status !== 0) await this.#failed('payer', process);
      if (this.#last?.['acknowledged'] === true) return;
      if (!this.alive('payee')) await this.startPayee();
      this.spawn('payer');
    }
    throw new Broken('the last voucher was never acknowledged');
  }

  /** A command of the payer, killed after `killAfterMs` if it is given and then run again to its end. */
  async payerCommand(args: readonly string[], killAfterMs: number | undefined): Promise<Processes.Line> {
    const all = [...this.world.payer.flags, ...args];
    if (killAfterMs !== undefined) {
      this.#processes.set('payer', Processes.start(all));
      await sleep(killAfterMs);
      await this.kill('withdrawing', ['payer']);
    }
    const [line] = await Processes.run(all);
    return line ?? {};
  }

  async stop(side: Side): Promise<void> {
    const process = this.#processes.get(side);
    if (!process?.alive) return;
    const { status, signal, complaint } = await process.stop();
    if (status !== 0) throw new Error(`${side} ended with ${signal ?? status}: ${complaint}`);
  }

  async end(): Promise<void> {
    await Promise.all([...this.#processes.values()].map((process) => process.kill()));
  }

  #hear(side: Side, line: Processes.Line): void {
    if (side !== 'payer') return;
    this.#recent = [...this.#recent, line].slice(-8);
    if (line.event === 'ack') {
      this.acks++;
      const key = String(line['voucherKey']);
      const amount = BigInt(String(line['authorized']));
      if (amount > (this.acknowledged.get(key) ?? -1n)) this.acknowledged.set(key, amount);
    }
    if (line.event === 'checked' || line.event === 'progress') this.pieces = Number(line['pieces']);
    if (line.event === 'done') this.#last = line;
    this.#wake();
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }

  /** What there is to say when no piece has come for a long time. */
  async #stalled(): Promise<string> {
    const [last] = (await this.daemon.channels()).slice(-1);
    const { sessions } = await this.daemon.statement();
    const lines = this.#recent.map((line) => JSON.stringify(line)).join('\n');
    const books = JSON.stringify({ channel: last, session: sessions.at(-1) });
    return `stalled: no piece for ${STALL_MS} ms\n${books}\n${lines}`;
  }

  async #failed(side: Side, process: Processes.Process): Promise<never> {
    const { status, signal, complaint } = await process.ended;
    throw new Error(`${side} ended with ${signal ?? status}: ${complaint}`);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
