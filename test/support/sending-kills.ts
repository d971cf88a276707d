/**
 * Kills a sender at every step: the same story is told again and again, each time dying one step later, and a
 * new life goes on from what was durable. A step is a request that was not sent yet, one that arrived and whose
 * answer was lost, and the same of every write to the store. A dead life can do nothing any more.
 */
import { hexlify } from 'ethers';
import { PieceworkError } from '../../src/errors.js';
import { Account } from '../../src/settlement/account.js';
import * as Sender from '../../src/settlement/sender.js';
import type { Call, StoredTransaction, TransactionStore } from '../../src/settlement/transaction.js';
import { chance } from './chance.js';
import { PaperChain, type Weather } from './paper-chain.js';

export interface KillReport {
  readonly stories: number;
  /** Steps at which a story was killed for the first time. */
  readonly points: number;
  /** These, and those of the lives that went on. */
  readonly kills: number;
  /** Lives that were begun after a kill. */
  readonly lives: number;
  /** Kills by what was being done: `store`, `chain`. */
  readonly where: ReadonlyMap<string, number>;
  readonly weather: PaperChain['counts'];
}

const INTENTS = ['settle 1', 'settle 2', 'settle 3'];
const livesMax = 40;

/** What outlives a process. */
interface Disk {
  readonly records: Map<string, string>;
  readonly done: Set<string>;
}

class Killed extends Error {}

/** One process: it passes `steps` points and dies at the one that `dieAt` names. */
class Life {
  steps = 0;
  place = '';
  dead = false;
  readonly #dieAt: number;

  constructor(dieAt: number) {
    this.#dieAt = dieAt;
  }

  pass(place: string): void {
    if (!this.dead && this.steps++ === this.#dieAt) {
      this.dead = true;
      this.place = place;
    }
    if (this.dead) throw new Killed();
  }
}

/** Kills at every step of one story after the other, until there were `points`. @throws Error naming seed and step where the end is wrong. */
export async function killEverywhere(
  seed: number,
  points: number,
  weather: Weather,
  say: (text: string) => void = () => {},
): Promise<KillReport> {
  const total = { stories: 0, points: 0, kills: 0, lives: 0, where: new Map<string, number>() };
  const counts = { reorgs: 0, outsiders: 0, failures: 0, replaced: 0, lost: 0 };
  while (total.points < points) {
    const story = seed + total.stories;
    const { steps } = await tell(story, weather, Number.POSITIVE_INFINITY);
    for (let dieAt = 0; dieAt < steps; dieAt++) {
      const told = await tell(story, weather, dieAt);
      total.kills += told.kills;
      total.lives += told.lives;
      total.where.set(told.place, (total.where.get(told.place) ?? 0) + 1);
      for (const name of Object.keys(counts) as (keyof typeof counts)[]) counts[name] += told.weather[name];
    }
    total.stories++;
    total.points += steps;
    say(`story ${story}: ${steps} steps, ${total.points + steps} points so far`);
  }
  return { ...total, weather: counts };
}

async function tell(seed: number, weather: Weather, dieAt: number) {
  const paper = new PaperChain(seed, weather);
  const disk: Disk = { records: new Map(), done: new Set() };
  const dice = chance(seed ^ dieAt);
  let [kills, lives, steps, place] = [0, 0, 0, ''];
  const at = `seed ${seed}, step ${dieAt}`;
  while (disk.done.size < INTENTS.length || disk.records.size > 0) {
    if (lives++ > livesMax) throw new Error(`${at}: never came to an end`);
    // The first life dies where it is told to; a third of the later ones die somewhere.
    const first = lives === 1;
    const life = new Life(first ? dieAt : dice.percent(33) ? dice.below(80) : Number.POSITIVE_INFINITY);
    await live(life, paper, disk, dice.percent(50));
    if (first) [steps, place] = [life.steps, life.place];
    if (life.dead) kills++;
  }
  paper.goOn();
  const executed = [...paper.executed].sort();
  const wanted = INTENTS.map(dataOf).sort();
  if (String(executed) !== String(wanted)) throw new Error(`${at}: executed ${executed}, wanted ${wanted}`);
  for (const [index, nonce] of paper.nonces.entries()) {
    if (nonce !== index) throw new Error(`${at}: nonce ${nonce} was used in place ${index}`);
  }
  return { kills, lives: lives - 1, steps, place, weather: paper.counts };
}

const key = new Account(new Uint8Array(32).fill(7));

/** What the daemon does: take up what is stored, before or while it sends what is not known to be done. */
async function live(life: Life, paper: PaperChain, disk: Disk, atOnce: boolean): Promise<void> {
  const chain = paper.seenBy(paperClock(), () => life.pass('chain'));
  const sender = await Sender.open(chain, key, storeOn(disk, life), {
    pollMs: 100,
    waitMs: 20_000,
    stuckMs: 300,
  }).catch(unlessKilled);
  if (!sender) return;
  const onConfirmed = async (_: unknown, record: StoredTransaction): Promise<void> => {
    life.pass('store');
    disk.done.add(record.intent);
    life.pass('store');
  };
  try {
    const resumed = sender.resume({ onConfirmed });
    if (!atOnce) await resumed;
    const rest = INTENTS.filter((intent) => !disk.done.has(intent));
    await Promise.all([resumed, ...rest.map((intent) => send(sender, intent, onConfirmed))]);
  } catch (thrown) {
    unlessKilled(thrown);
  } finally {
    life.dead = true;
    await sender.close();
  }
}

async function send(
  sender: Sender.Sender,
  intent: string,
  onConfirmed: NonNullable<Sender.SendOptions['onConfirmed']>,
): Promise<void> {
  const call: Call = { to: key.address, data: dataOf(intent), value: 0n, purpose: intent, intent };
  for (let tries = 0; tries < 12; tries++) {
    try {
      await sender.send(call, { onConfirmed });
      return;
    } catch (thrown) {
      // Overtaken, refused, timed out, unreachable: all of them mean "ask again".
      if (!(thrown instanceof PieceworkError)) throw thrown;
    }
  }
}

function unlessKilled(thrown: unknown): undefined {
  if (thrown instanceof Killed) return undefined;
  throw thrown;
}

const dataOf = (intent: string): string => hexlify(Buffer.from(intent, 'utf8'));

function storeOn(disk: Disk, life: Life): TransactionStore {
  const durable = async <T>(act: () => T): Promise<T> => {
    life.pass('store');
    await new Promise((go) => setImmediate(go));
    const result = act();
    life.pass('store');
    return result;
  };
  return {
    put: (record) => durable(() => void disk.records.set(record.id, JSON.stringify(record))),
    remove: (id) => durable(() => void disk.records.delete(id)),
    list: () =>
      durable(() => [...disk.records.values()].map((text) => JSON.parse(text) as StoredTransaction)),
  };
}

/** Time that passes only by waiting. */
function paperClock() {
  let nowMs = 0;
  const after = (delayMs: number, task: () => void) => {
    const handle = setImmediate(() => {
      nowMs += delayMs;
      task();
    });
    return () => clearImmediate(handle);
  };
  return { monotonicMs: () => nowMs, unixSeconds: () => BigInt(nowMs), after, every: () => () => {} };
}
