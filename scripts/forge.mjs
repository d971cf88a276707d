// Runs forge on contracts/ with the compiler of node_modules: `node scripts/forge.mjs test [options]`.
// Needs no network. Passes its arguments on, and ends as forge ends. Before a test it compiles the hub to
// build/contracts, because the tests deploy that artifact; after one it tells what the invariants met and
// fails where anything was never met. `--at FOLDER` before the command works on FOLDER/contracts, with the hub
// that FOLDER/build/contracts holds.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as Witnesses from './witnesses.mjs';

const scripts = dirname(fileURLToPath(import.meta.url));
const root = join(scripts, '..');

/** The real binary of this platform, so that a signal reaches forge; else the launcher of the package. */
function forgeBinary() {
  const name = process.platform === 'win32' ? 'forge.exe' : 'forge';
  const cpu = process.arch === 'x64' ? 'amd64' : process.arch;
  try {
    const manifest = createRequire(import.meta.url).resolve(
      `@foundry-rs/forge-${process.platform}-${cpu}/package.json`,
    );
    const binary = join(dirname(manifest), 'bin', name);
    if (existsSync(binary)) return binary;
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND' && error.code !== 'ERR_PACKAGE_PATH_NOT_EXPORTED') throw error;
  }
  return join(root, 'node_modules', '.bin', name);
}

const words = process.argv.slice(2);
const elsewhere = words[0] === '--at' ? words.splice(0, 2)[1] : undefined;
const [command = 'test', ...args] = words;
const contracts = join(elsewhere ?? root, 'contracts');
if (command === 'test' && elsewhere === undefined) {
  const compiled = spawnSync(process.execPath, [join(scripts, 'compile-contracts.mjs')], {
    stdio: 'inherit',
  });
  if (compiled.status !== 0) process.exit(compiled.status ?? 1);
}
if (command === 'test') Witnesses.clear(contracts);
const usesSolc = ['test', 'build', 'snapshot', 'coverage', 'inspect'].includes(command);
const forge = spawn(
  forgeBinary(),
  [command, '--root', contracts, ...(usesSolc ? ['--use', join(scripts, 'solc-wrapper')] : []), ...args],
  {
    cwd: contracts,
    stdio: 'inherit',
    env: { FOUNDRY_OFFLINE: 'true', FOUNDRY_DISABLE_NIGHTLY_WARNING: '1', ...process.env },
  },
);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => forge.kill(signal));
forge.on('error', (error) => {
  process.stderr.write(`forge: ${error.message}\n`);
  process.exit(1);
});
forge.on('exit', (code, signal) => {
  const status = code ?? (signal === null ? 1 : 128);
  process.exit(status === 0 && command === 'test' && !witnessed() ? 1 : status);
});

function witnessed() {
  const verdicts = Witnesses.read(contracts).map(Witnesses.judge);
  for (const { text, missed } of verdicts) {
    process.stdout.write(`${text}\n`);
    if (missed.length > 0) process.stdout.write(`never met: ${missed.join(', ')}\n`);
  }
  return verdicts.every(({ missed }) => missed.length === 0);
}
