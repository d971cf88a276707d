/**
 * Things that have to be compiled before a test can use them: libraries preloaded into a process, and the
 * addon that does not sync its journal. Each is built once and kept in build/ until its source changes.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const sources = join(root, 'test', 'support', 'preload');

/** The library made of `<name>.c`. Needs `cc`, as building the addon does. */
export async function preloadLibrary(name: 'sync-watch' | 'kill-at'): Promise<string> {
  const source = join(sources, `${name}.c`);
  const library = join(root, 'build', 'preload', `${name}.so`);
  await once(library, digest([source]), () =>
    run('cc', ['-O2', '-Wall', '-shared', '-fPIC', '-o', library, source, '-ldl', '-lpthread']),
  );
  return library;
}

/** The addon built with the feature `skip-sync`. The first build takes minutes. */
export async function skipSyncAddon(): Promise<string> {
  const folder = join(root, 'build', 'skip-sync');
  const addon = join(folder, 'piecework.node');
  const inputs = ['Cargo.toml', 'Cargo.lock', 'native', 'scripts/build-addon.mjs'];
  await once(addon, digest(inputs.map((path) => join(root, path))), () =>
    run(process.execPath, [join(root, 'scripts', 'build-addon.mjs'), '--skip-sync', folder]),
  );
  return addon;
}

/** Makes `output` unless it was made from the same inputs before. */
async function once(output: string, inputs: string, make: () => Promise<void>): Promise<void> {
  const stamp = `${output}.stamp`;
  if (existsSync(output) && existsSync(stamp) && readFileSync(stamp, 'utf8') === inputs) return;
  mkdirSync(join(output, '..'), { recursive: true });
  await make();
  writeFileSync(stamp, inputs);
}

function digest(paths: readonly string[]): string {
  const hash = createHash('sha256').update(process.version);
  const add = (path: string): void => {
    if (path.endsWith('.node') || GENERATED.test(path)) return;
    let names: string[] | undefined;
    try {
      names = readdirSync(path).sort();
    } catch {
      hash.update(path).update(readFileSync(path));
    }
    for (const name of names ?? []) add(join(path, name));
  };
  for (const path of paths) add(path);
  return hash.digest('hex');
}
/** What building writes next to its sources. */
const GENERATED = /native\/(index\.(js|d\.ts)|target)$/;

/** Without blocking this process: a test runner that hears nothing from it for a minute gives it up. */
function run(command: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output = (output + chunk.toString('utf8')).slice(-8_000);
      });
    }
    child.on('error', reject);
    child.on('close', (status) => {
      if (status === 0) resolve();
      else reject(new Error(`${command} ${args[0]} ended with ${status}: ${output}`));
    });
  });
}
