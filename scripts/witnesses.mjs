// What the invariant runs met: each run leaves a line of counts in contracts/cache/witnesses/<form>.csv, and a
// run of the suite in which something was never met proves nothing about it, so it fails.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Forgets what earlier runs met. `contracts` is the folder that forge works in. */
export function clear(contracts) {
  const folder = join(contracts, 'cache', 'witnesses');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
}

/** Adds up the runs of each form. No forms where the invariants were not run. */
export function read(contracts) {
  const folder = join(contracts, 'cache', 'witnesses');
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((file) => file.endsWith('.csv'))
    .map((file) => {
      const [head, ...lines] = readFileSync(join(folder, file), 'utf8').trim().split('\n');
      // Forge ends a campaign by running its last sequence once more.
      const runs = lines.filter((line, index) => line !== lines[index - 1]);
      const [, ...names] = head.split(',');
      const sums = runs.map((line) => line.split(',').map(Number));
      const totals = [0, ...names].map((_, column) => sums.reduce((sum, run) => sum + run[column], 0));
      const [calls, ...counts] = totals;
      if (sums.some((run) => run.length !== names.length + 1)) throw new Error(`${file} is torn`);
      const met = Object.fromEntries(names.map((name, index) => [name, counts[index]]));
      return { form: file.slice(0, -'.csv'.length), runs: runs.length, calls, met };
    });
}

/** One line for people, and the names of what was never met. */
export function judge({ form, runs, calls, met }) {
  const missed = Object.keys(met).filter((name) => met[name] === 0);
  const all = Object.entries(met).map(([name, count]) => `${name} ${count}`);
  return { missed, text: `${form} hub: ${calls} calls in ${runs} runs; ${all.join(', ')}` };
}
