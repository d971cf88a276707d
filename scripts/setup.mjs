// Brings a checkout to a state that runs: packages, native addon, contracts, compiled TypeScript. Each step runs
// only when its inputs changed since it last succeeded. Uses nothing but Node itself, so it works before any
// package is installed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const stampsFile = join(root, 'build', 'stamps.json');
const NODE_MIN = [20, 19];

/** Runs every step that is out of date. Exits with a message that says what to install when something is missing. */
export async function setUp({ quiet = false } = {}) {
  requireNode();
  mkdirSync(join(root, 'build'), { recursive: true });
  await withLock(async () => {
    const stamps = readStamps();
    for (const step of STEPS) runStep(step, stamps, quiet);
  });
}

const STEPS = [
  {
    name: 'packages',
    label: 'installing packages',
    inputs: ['package.json', 'package-lock.json'],
    output: 'node_modules/.package-lock.json',
    run: () => npm(['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error']),
  },
  {
    name: 'addon',
    label: 'building the native addon (about a minute the first time)',
    inputs: ['Cargo.toml', 'Cargo.lock', 'native'],
    output: 'native/piecework.node',
    before: requireRust,
    run: () => node('scripts/build-addon.mjs'),
  },
  {
    name: 'contracts',
    label: 'compiling the contracts',
    inputs: ['contracts/src', 'scripts/compile-contracts.mjs', 'scripts/hub-compiler.mjs'],
    output: 'build/contracts/NativeHub.json',
    run: () => node('scripts/compile-contracts.mjs'),
  },
  {
    name: 'typescript',
    label: 'compiling TypeScript',
    inputs: ['src', 'tsconfig.json', 'package-lock.json'],
    output: 'dist/cli/main.js',
    before: () => rmSync(join(root, 'dist'), { recursive: true, force: true }),
    run: () => node('node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'),
  },
];

function runStep(step, stamps, quiet) {
  const stamp = fingerprint(step.inputs);
  if (stamps[step.name] === stamp && existsSync(join(root, step.output))) return;
  step.before?.();
  if (!quiet) process.stderr.write(`piecework: ${step.label} …`);
  const begin = Date.now();
  const result = step.run();
  if (result.status !== 0) {
    process.stderr.write(`\n${result.stdout ?? ''}${result.stderr ?? ''}\n`);
    fail(`${step.label} failed${result.error ? `: ${result.error.message}` : ''}; the lines above say why.`);
  }
  stamps[step.name] = stamp;
  writeFileSync(stampsFile, `${JSON.stringify(stamps, null, 2)}\n`);
  if (!quiet) process.stderr.write(` ${((Date.now() - begin) / 1000).toFixed(1)} s\n`);
}

function npm(args) {
  const cli = process.env.npm_execpath;
  const options = { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 };
  return cli?.endsWith('.js')
    ? spawnSync(process.execPath, [cli, ...args], options)
    : spawnSync('npm', args, options);
}

function node(script, ...args) {
  return spawnSync(process.execPath, [script, ...args], { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 });
}

/** A digest over the names and bytes of the files at `paths`. */
export function fingerprint(paths) {
  const hash = createHash('sha256').update(process.version);
  for (const path of paths) addToFingerprint(hash, path);
  return hash.digest('hex');
}

function addToFingerprint(hash, path) {
  const full = join(root, path);
  if (!existsSync(full)) return;
  if (statSync(full).isDirectory()) {
    for (const name of readdirSync(full).sort()) {
      if (name !== 'target' && name !== 'node_modules' && !name.endsWith('.node'))
        addToFingerprint(hash, `${path}/${name}`);
    }
  } else if (!GENERATED.has(path)) {
    hash.update(path).update('\0').update(readFileSync(full));
  }
}
const GENERATED = new Set(['native/index.js', 'native/index.d.ts']);

function readStamps() {
  try {
    return JSON.parse(readFileSync(stampsFile, 'utf8'));
  } catch {
    return {};
  }
}

/** One set-up at a time: a second command waits for the first. */
async function withLock(work) {
  const lock = join(root, 'build', 'setup.lock');
  for (;;) {
    try {
      mkdirSync(lock);
      break;
    } catch {
      if (!ownerAlive(lock)) rmSync(lock, { recursive: true, force: true });
      else await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
  writeFileSync(join(lock, 'pid'), String(process.pid));
  const release = () => rmSync(lock, { recursive: true, force: true });
  process.once('exit', release);
  try {
    await work();
  } finally {
    process.off('exit', release);
    release();
  }
}

function ownerAlive(lock) {
  try {
    if (Date.now() - statSync(lock).mtimeMs < 2_000) return true;
    process.kill(Number(readFileSync(join(lock, 'pid'), 'utf8')), 0);
    return true;
  } catch (thrown) {
    return thrown.code === 'EPERM';
  }
}

function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])) return;
  fail(
    `Node ${NODE_MIN.join('.')} or newer is needed, this is ${process.versions.node}. Install it from https://nodejs.org.`,
  );
}

function requireRust() {
  const cargo = spawnSync('cargo', ['--version'], { encoding: 'utf8' });
  if (cargo.status !== 0)
    fail(
      'A Rust toolchain is needed to build the native addon. Install it from https://rustup.rs, then run this again.',
    );
  const minor = Number(/cargo 1\.(\d+)/.exec(cargo.stdout)?.[1] ?? 0);
  if (minor < 89)
    fail(`Rust 1.89 or newer is needed, this is ${cargo.stdout.trim()}. Run: rustup update stable`);
  if (spawnSync('cc', ['--version']).status !== 0) {
    fail(
      'A C compiler is needed to build the native addon. On Debian or Ubuntu: apt-get install build-essential',
    );
  }
}

function fail(message) {
  process.stderr.write(`piecework: ${message}\n`);
  process.exit(1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await setUp();
