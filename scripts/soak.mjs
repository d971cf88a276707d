// `npm run soak:<name>`: the long forms of tests, every test/soak/<name>*.soak.ts. Environment: PIECEWORK_SEED repeats a
// plan; what else a soak takes stands at its head.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root, setUp } from './setup.mjs';

const [name, ...rest] = process.argv.slice(2);
const folder = join(root, 'test', 'soak');
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.soak.ts'))
  .map((file) => file.slice(0, -'.soak.ts'.length));
const chosen = names.filter((each) => each === name || each.startsWith(`${name}-`));
if (chosen.length === 0) {
  process.stderr.write(`Name one of: ${names.join(', ')}\n`);
  process.exit(2);
}
await setUp();
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
const args = [
  vitest,
  'run',
  '--config',
  join(folder, 'vitest.config.ts'),
  ...chosen.map((each) => `test/soak/${each}.soak.ts`),
  ...rest,
];
const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
process.exitCode = status ?? 1;
