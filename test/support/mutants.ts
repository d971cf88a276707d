/**
 * Mutants of the hub: small changes of its sources, each of which some test must notice. One is applied to a
 * copy of contracts/ at a time, compiled as the hub is compiled, and run against the suites, the cheapest first,
 * until one fails. Gas snapshots and code hashes take no part: they would notice any change at all.
 */
import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

const root = fileURLToPath(new URL('../..', import.meta.url));
const SUITES = [
  'NativeHubTest|TokenHubTest|HostileTest|CalldataTest|CodeTest|SlotsTest|TicksTest',
  'SettleTest|SkipMixTest|TicksFuzzTest|TickMixTest|VectorsTest',
  'NativeInvariantTest|TokenInvariantTest',
];

/** How forge names a failed test, a failed invariant (below its sequence of calls) and a run that met too little. */
const FAILED = [/\[FAIL[^\n]*\] (\w+)\(/, /\[FAIL[\s\S]*?^ (invariant_\w+)\(/m, /^(never met: .+)/m];

/** A change of one place in contracts/src/`source`.sol, in one of the files of contracts/mutants/. */
export interface Mutant {
  readonly source: string;
  readonly name: string;
  readonly find: string;
  readonly replace: string;
}

export type Verdict =
  | { readonly kind: 'killed'; readonly by: string; readonly seconds: number }
  | { readonly kind: 'survived' | 'same code'; readonly seconds: number };

/** Every mutant. @throws Error where one does not fit its source exactly once. */
export function readMutants(): readonly Mutant[] {
  const folder = join(root, 'contracts', 'mutants');
  return readdirSync(folder).flatMap((file) => {
    const source = file.slice(0, -'.json'.length);
    const text = sourceOf(source);
    const listed = JSON.parse(readFileSync(join(folder, file), 'utf8')) as Omit<Mutant, 'source'>[];
    return listed.map((mutant) => {
      const places = text.split(mutant.find).length - 1;
      if (places !== 1) throw new Error(`${source}: "${mutant.name}" fits ${places} places`);
      return { source, ...mutant };
    });
  });
}

/** A copy of what forge needs, in which one mutant at a time takes the place of the hub. */
export class Stage {
  readonly #folder = mkdtempSync(join(tmpdir(), 'piecework-mutants-'));
  readonly #compiler = new Worker(join(root, 'scripts', 'hub-compiler.mjs'));

  constructor() {
    const contracts = join(this.#folder, 'contracts');
    // What forge compiled before spares the stage the time; where there is nothing yet it compiles anew.
    const names = ['foundry.toml', 'test', 'src', 'out', 'cache'];
    for (const name of names.filter((one) => existsSync(join(root, 'contracts', one)))) {
      const options = { recursive: true, preserveTimestamps: true };
      cpSync(join(root, 'contracts', name), join(contracts, name), options);
    }
    cpSync(join(root, 'test', 'vectors'), join(this.#folder, 'test', 'vectors'), { recursive: true });
    this.#restore();
  }

  /** Compiles a mutant and runs the suites on it. @throws Error when it does not compile or forge breaks. */
  async judge({ source, name, find, replace }: Mutant): Promise<Verdict> {
    const begin = performance.now();
    const seconds = (): number => (performance.now() - begin) / 1000;
    const mutated = sourceOf(source).replace(find, () => replace);
    // The core is judged in its native form; a test of the other form could only kill more.
    const form = source === 'TokenHub' ? 'TokenHub' : 'NativeHub';
    const answer = await this.#compile({ ...sources(), [`${source}.sol`]: mutated }, form);
    if ('problem' in answer) throw new Error(`${source}: "${name}" does not compile\n${answer.problem}`);
    const artifact = this.#artifact(form);
    try {
      if (answer.bytecode === artifact['bytecode']) return { kind: 'same code', seconds: seconds() };
      writeFileSync(this.#pathOf(form), JSON.stringify({ ...artifact, bytecode: answer.bytecode }));
      const by = (await this.killer()) ?? (source === 'Slots' ? await this.#slotsKiller(mutated) : undefined);
      return by === undefined
        ? { kind: 'survived', seconds: seconds() }
        : { kind: 'killed', by, seconds: seconds() };
    } finally {
      this.#restore();
    }
  }

  /** The first test that fails on what the stage holds, if any does. */
  async killer(): Promise<string | undefined> {
    for (const suites of SUITES) {
      const by = await this.#failed(suites);
      if (by !== undefined) return by;
    }
    return undefined;
  }

  /** The arithmetic is the one source that a suite calls directly, and forge must compile that suite again. */
  async #slotsKiller(mutated: string): Promise<string | undefined> {
    writeFileSync(this.#slots, mutated);
    return this.#failed('SlotsTest');
  }

  async #failed(suites: string): Promise<string | undefined> {
    const { status, output } = await this.test(suites);
    if (status === 0) return undefined;
    const failed = FAILED.map((pattern) => pattern.exec(output)?.[1]).find((found) => found !== undefined);
    if (failed === undefined) throw new Error(`forge broke\n${output}`);
    return failed;
  }

  /** Runs some suites on what the stage holds, with settings of forge from the environment. */
  test(suites: string, settings: Readonly<Record<string, string>> = {}): Promise<Output> {
    // Forge remembers failures and would try them on the next mutant first.
    for (const name of ['fuzz', 'invariant', 'test-failures'])
      rmSync(join(this.#folder, 'contracts', 'cache', name), { recursive: true, force: true });
    const forge = join(root, 'scripts', 'forge.mjs');
    const wanted = ['--match-contract', `^(${suites})$`, '--fail-fast'];
    return run([forge, '--at', this.#folder, 'test', ...wanted], settings);
  }

  async close(): Promise<void> {
    await this.#compiler.terminate();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #slots(): string {
    return join(this.#folder, 'contracts', 'src', 'Slots.sol');
  }

  #restore(): void {
    mkdirSync(join(this.#folder, 'build'), { recursive: true });
    cpSync(join(root, 'build', 'contracts'), join(this.#folder, 'build', 'contracts'), { recursive: true });
    const slots = sourceOf('Slots');
    if (readFileSync(this.#slots, 'utf8') !== slots) writeFileSync(this.#slots, slots);
  }

  #artifact(form: string): Record<string, unknown> {
    return JSON.parse(readFileSync(this.#pathOf(form), 'utf8')) as Record<string, unknown>;
  }

  #pathOf(form: string): string {
    return join(this.#folder, 'build', 'contracts', `${form}.json`);
  }

  #compile(files: Readonly<Record<string, string>>, form: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#compiler.once('message', resolve);
      this.#compiler.once('error', reject);
      this.#compiler.postMessage({ sources: files, form });
    });
  }
}

type Answer = { readonly bytecode: string } | { readonly problem: string };

/** The sources of the hub, by file name. */
function sources(): Record<string, string> {
  const files = readdirSync(join(root, 'contracts', 'src'));
  return Object.fromEntries(files.map((file) => [file, sourceOf(file.slice(0, -'.sol'.length))]));
}

/** A line of the report. */
export function tell({ source, name }: Mutant, verdict: Verdict): string {
  const what = verdict.kind === 'killed' ? `killed by ${verdict.by}` : verdict.kind.toUpperCase();
  return `${source.padEnd(13)} ${name.padEnd(58)} ${what} (${verdict.seconds.toFixed(1)} s)`;
}

function sourceOf(name: string): string {
  return readFileSync(join(root, 'contracts', 'src', `${name}.sol`), 'utf8');
}

interface Output {
  readonly status: number | null;
  readonly output: string;
}

function run(args: readonly string[], settings: Readonly<Record<string, string>>): Promise<Output> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, ...settings };
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.stderr.on('data', (chunk) => {
      output += chunk;
    });
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, output }));
  });
}
