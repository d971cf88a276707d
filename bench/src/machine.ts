/** What a figure depends on besides the code: processor, Node, disk, and what else the machine was doing. */
import { execFileSync } from 'node:child_process';
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { load } from '../../dist/native/binding.js';
import { median } from './measure.js';

export interface Machine {
  readonly commit: string;
  readonly date: string;
  readonly processor: string;
  readonly cores: number;
  /** Features that the addon found and uses. */
  readonly features: readonly string[];
  readonly memoryGiB: number;
  readonly node: string;
  readonly platform: string;
  /** Processes that wanted to run in the minute before; close to 0 on a quiet machine. */
  readonly load: number;
  /** Median time of a 4 KiB overwrite with fdatasync in the folder the benches write to. */
  readonly fdatasyncMs: number;
}

export function describe(folder: string): Machine {
  return {
    commit: commit(),
    date: new Date().toISOString(),
    processor: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    features: load().cpuFeatures(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    load: loadavg()[0] ?? 0,
    fdatasyncMs: fdatasyncMs(folder),
  };
}

export function text(machine: Machine): string {
  return [
    `processor  ${machine.processor}, ${machine.cores} cores, features in use: ${machine.features.join(' ') || 'none'}`,
    `system     ${machine.platform}, ${machine.memoryGiB} GiB, Node ${machine.node}, load ${machine.load.toFixed(1)}`,
    `disk       one fdatasync takes ${machine.fdatasyncMs.toFixed(2)} ms (median)`,
    `commit     ${machine.commit}`,
  ].join('\n');
}

function fdatasyncMs(folder: string): number {
  const path = join(folder, 'fdatasync');
  const file = openSync(path, 'w');
  try {
    const block = Buffer.alloc(4096, 1);
    // The first write allocates; the others find their place.
    writeSync(file, block, 0, block.length, 0);
    fdatasyncSync(file);
    const times = Array.from({ length: 51 }, () => {
      const begin = performance.now();
      writeSync(file, block, 0, block.length, 0);
      fdatasyncSync(file);
      return performance.now() - begin;
    });
    return median(times);
  } finally {
    closeSync(file);
    rmSync(path);
  }
}

function commit(): string {
  const cwd = fileURLToPath(new URL('../..', import.meta.url));
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  // A run that was kept before this one changes nothing.
  const changes = (): string => git('status', '--porcelain', '--', '.', ':!bench/results');
  try {
    return git('rev-parse', '--short=12', 'HEAD') + (changes() === '' ? '' : ' with changes');
  } catch {
    return 'unknown';
  }
}
