/** Builds and runs the fuzz targets of native/fuzz: drawn from a seed, or by libFuzzer under AddressSanitizer. */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { call } from '../../src/native/binding.js';

export const root = fileURLToPath(new URL('../../', import.meta.url));
/** What PIECEWORK_CPU can name, in rising order. */
const CPU_LEVELS = ['scalar', 'avx2', 'avx512'];

const DRIVER = join(root, 'target', 'fuzz', 'piecework-fuzz');
/** What libFuzzer learns from: coverage of edges and comparisons. */
const COVERED = [
  '-Cpasses=sancov-module',
  '-Cllvm-args=-sanitizer-coverage-level=4',
  '-Cllvm-args=-sanitizer-coverage-inline-8bit-counters',
  '-Cllvm-args=-sanitizer-coverage-pc-table',
  '-Cllvm-args=-sanitizer-coverage-trace-compares',
];

export interface Counts {
  /** Inputs, vouchers, pieces or commands that were checked. */
  readonly checked: number;
  readonly runs: number;
  /** Accepted by the core; of libFuzzer, inputs that its corpus holds. */
  readonly accepted: number;
  readonly seconds: number;
}

interface Ended {
  readonly status: number;
  readonly output: string;
}

/** The levels that this machine can run: a name above them lowers nothing, and its runs would be those of another. */
export function cpuLevels(): string[] {
  const best = call((addon) => addon.cpuFeatures()[0]!);
  return CPU_LEVELS.slice(0, CPU_LEVELS.indexOf(best) + 1);
}

/** Runs a command to its end. Its output is kept, and shown only when it fails. */
export function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env: { ...process.env, ...env } });
    let output = '';
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-1_000_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', reject);
    child.on('close', (status) => {
      if (status === 0) return resolve({ status, output });
      reject(new Error(`${command} ${args.join(' ')} ended with ${status}:\n${output.slice(-8_000)}`));
    });
  });
}

/** Runs tasks side by side, one for each core. One that fails is told at once; the others go on before it is thrown. */
export async function side<Task>(tasks: readonly Task[], work: (task: Task) => Promise<void>): Promise<void> {
  const waiting = [...tasks];
  const failures: unknown[] = [];
  const lane = async (): Promise<void> => {
    for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) {
      try {
        await work(task);
      } catch (thrown) {
        console.error(thrown instanceof Error ? thrown.message : thrown);
        failures.push(thrown);
      }
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, lane));
  if (failures.length > 0) throw failures[0];
}

/** Builds the driver with overflow checks and assertions. */
export async function buildDriver(): Promise<void> {
  await run('cargo', ['build', '--profile', 'fuzz', '--locked', '-p', 'piecework-fuzz']);
}

/** Draws inputs from `seed` until `count` things were checked. */
export async function drive(target: string, count: number, seed: number, cpu?: string): Promise<Counts> {
  const beginMs = performance.now();
  const { output } = await run(
    DRIVER,
    [target, String(count), String(seed)],
    cpu === undefined ? {} : { PIECEWORK_CPU: cpu },
  );
  const told = /seed \d+, (\d+) \w+ in (\d+) runs, (\d+) accepted/.exec(output);
  if (told === null) throw new Error(`${target} did not say what it did:\n${output}`);
  const [checked, runs, accepted] = told.slice(1).map(Number) as [number, number, number];
  return { checked, runs, accepted, seconds: (performance.now() - beginMs) / 1000 };
}

/** Builds libFuzzer's form; gives the path of the program. Needs a C++ compiler, for libFuzzer itself. */
export async function buildLibFuzzer(): Promise<string> {
  const { output } = await run('rustc', ['-vV']);
  const host = /^host: (.*)$/m.exec(output)?.[1] ?? '';
  const folder = join(root, 'target', 'libfuzzer');
  // The sanitizer's runtime comes with the stable toolchain; only its flag and those of single packages are not
  // stable yet.
  const env = { RUSTC_BOOTSTRAP: '1', RUSTFLAGS: '-Zsanitizer=address' };
  // AddressSanitizer is for all Rust code, coverage for ours alone: comparisons inside a checksum teach nothing.
  const covered = ['piecework-core', 'piecework-fuzz'].flatMap((name) => [
    '--config',
    `profile.fuzz.package.${name}.rustflags=${JSON.stringify(COVERED)}`,
  ]);
  const where = ['--target', host, '--target-dir', folder];
  const what = ['-p', 'piecework-fuzz', '--features', 'libfuzzer', '--bin', 'piecework-libfuzzer'];
  const how = ['--profile', 'fuzz', '--locked', '-Zprofile-rustflags', ...covered];
  await run('cargo', ['build', ...how, ...where, ...what], env);
  return join(folder, host, 'fuzz', 'piecework-libfuzzer');
}

/** Lets libFuzzer run a target `runs` times. Its corpus is kept in build/fuzz and grows from run to run. */
export async function learn(program: string, target: string, runs: number, seed: number): Promise<Counts> {
  const corpus = join(root, 'build', 'fuzz', target);
  mkdirSync(corpus, { recursive: true });
  await run(DRIVER, [target, corpus]);
  const limits = ['-timeout=60', '-rss_limit_mb=2048', '-malloc_limit_mb=64', '-detect_leaks=0'];
  const args = [`-runs=${runs}`, `-seed=${seed}`, '-max_len=1024', '-print_final_stats=1', ...limits];
  const prefix = `-artifact_prefix=${join(root, 'build', 'fuzz', `crash-${target}-`)}`;
  const beginMs = performance.now();
  const { output } = await run(program, [...args, prefix, corpus], { PIECEWORK_TARGET: target });
  const executed = Number(/stat::number_of_executed_units: (\d+)/.exec(output)?.[1]);
  const kept = Number(/corp: (\d+)\//.exec(output.slice(output.lastIndexOf('corp: ')))?.[1]);
  return {
    checked: executed,
    runs: executed,
    accepted: kept,
    seconds: (performance.now() - beginMs) / 1000,
  };
}
