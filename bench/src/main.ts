/**
 * The bench's program: runs the chosen benches one after the other and reports. `scripts/bench.mjs` builds it,
 * installs the peers and hands over the options as JSON.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { COLLECTOR_FLAG } from '../../dist/memory.js';
import { accepting } from './accept.js';
import { codec } from './codec.js';
import { downloading } from './download.js';
import { flooding } from './flood.js';
import { gas } from './gas.js';
import { hashing } from './hash.js';
import { journal } from './journal.js';
import { latency } from './latency.js';
import * as Machine from './machine.js';
import type { Effort } from './measure.js';
import * as Peers from './peers.js';
import { plain, type Row, table } from './report.js';
import { scaling } from './scale.js';
import { seeding } from './seeding.js';
import { ticks } from './ticks.js';
import { verification } from './verify.js';

interface Options {
  readonly smoke: boolean;
  readonly peers: boolean;
  readonly only: readonly string[];
  readonly json?: string;
  readonly save: boolean;
}

/** What every bench gets. */
export interface Settings {
  readonly effort: Effort;
  /** The smallest sizes that still go through everything: to see that it works, not how fast. */
  readonly smoke: boolean;
  /** Undefined where they are not installed; ethers comes with the product and is always there. */
  readonly peers: Peers.Peers | undefined;
  /** A folder on the disk to measure, removed at the end. */
  readonly folder: string;
  say(line: string): void;
  /** Has work done before an interrupted bench ends: processes must not stay behind. */
  beforeEnd(work: () => Promise<void>): void;
}

const BENCHES: Readonly<Record<string, (settings: Settings) => Promise<Row[]>>> = {
  verify: verification,
  hash: hashing,
  ticks,
  codec,
  journal,
  accept: accepting,
  latency,
  scale: scaling,
  gas,
  seeding,
  download: downloading,
  flood: flooding,
};

const EFFORT: Effort = { rounds: 7, slotMs: 250 };
const EFFORT_SMOKE: Effort = { rounds: 1, slotMs: 5 };
const home = fileURLToPath(new URL('../..', import.meta.url));

async function main(options: Options): Promise<void> {
  const peers = options.peers ? await Peers.load() : undefined;
  mkdirSync(join(home, 'build'), { recursive: true });
  // Not the system's folder for temporary files: that is often memory, where a sync costs nothing.
  const folder = mkdtempSync(join(home, 'build', 'bench-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  const ends: Array<() => Promise<void>> = [];
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(
      signal,
      () => void Promise.allSettled(ends.map((end) => end())).then(() => process.exit(130)),
    );
  }
  const machine = Machine.describe(folder);
  const ethers = Peers.versionOf(new URL('../../node_modules/ethers/package.json', import.meta.url));
  console.log(Machine.text(machine));
  console.log(`peers      ${[`ethers ${ethers}`, ...(peers?.versions ?? [])].join(', ')}`);
  if (!peers)
    console.log('           those of bench/package.json are not used in this run: their columns stay empty');
  const settings: Settings = {
    effort: options.smoke ? EFFORT_SMOKE : EFFORT,
    smoke: options.smoke,
    peers,
    folder,
    say: (line) => console.error(line),
    beforeEnd: (work) => ends.push(work),
  };
  const rows: Row[] = [];
  for (const name of options.only.length > 0 ? options.only : Object.keys(BENCHES)) {
    const begin = performance.now();
    rows.push(...(await BENCHES[name]!(settings)));
    settings.say(`bench: ${name} took ${((performance.now() - begin) / 1000).toFixed(1)} s`);
  }
  console.log(`\n${table(rows, machine.fdatasyncMs)}`);
  if (options.smoke)
    console.log('\nA smoke run shows that the benches work; its figures say nothing about speed.');
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(plain(rows), null, 2)}\n`);
  if (options.save) console.log(`\nkept in ${save({ machine, peers: peers?.versions ?? [], ethers, rows })}`);
}

function save(run: {
  machine: Machine.Machine;
  peers: readonly string[];
  ethers: string;
  rows: readonly Row[];
}): string {
  const results = join(home, 'bench', 'results');
  mkdirSync(results, { recursive: true });
  const name = `${run.machine.date.replace(/[:.]/g, '-')}-${run.machine.commit.split(' ')[0]}.json`;
  writeFileSync(join(results, name), `${JSON.stringify(run, null, 2)}\n`);
  return `bench/results/${name}`;
}

// As the command line does.
setFlagsFromString(COLLECTOR_FLAG);
await main(JSON.parse(process.argv[2] ?? '{}') as Options);
