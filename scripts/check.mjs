// `npm run check`: formatting, lints and types of all three languages; changes nothing.
import { spawnSync } from 'node:child_process';
import { root, setUp } from './setup.mjs';

await setUp();
const CHECKS = [
  ['biome', process.execPath, ['node_modules/@biomejs/biome/bin/biome', 'check', '.']],
  ['types', process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.check.json']],
  ['rustfmt', 'cargo', ['fmt', '--all', '--check']],
  [
    'clippy',
    'cargo',
    ['clippy', '--release', '--locked', '--workspace', '--all-targets', '--quiet', '--', '-D', 'warnings'],
  ],
];
let failed = 0;
for (const [name, command, args] of CHECKS) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${name}`);
  if (status !== 0) failed++;
}
process.exitCode = failed === 0 ? 0 : 1;
