// Builds the native addon to native/piecework.node. With `--skip-sync OUTPUT`: the canary build that does not sync
// its journal, for the test that must catch it.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const napi = join(root, 'node_modules', '@napi-rs', 'cli', 'dist', 'cli.js');
const args = ['build', '--release', '--cwd', 'native'];
const [flag, output] = process.argv.slice(2);
if (flag === '--skip-sync') {
  const folder = resolve(output);
  mkdirSync(folder, { recursive: true });
  args.push(
    '--features',
    'skip-sync',
    '--output-dir',
    folder,
    '--target-dir',
    join(root, 'target', 'skip-sync'),
  );
}
const { status } = spawnSync(process.execPath, [napi, ...args, '--', '--locked'], {
  cwd: root,
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
