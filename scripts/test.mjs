// `npm test`: every suite (TypeScript, Rust, Solidity), one closing line. With arguments: only the TypeScript
// tests whose path contains one of them.
import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { root, setUp } from './setup.mjs';

const filters = process.argv.slice(2);
await setUp();

const totals = { passed: 0, failed: 0, skipped: 0 };
if (filters.length === 0) {
  await rust();
  await solidity();
}
await typescript();
const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : '';
console.log(`\n${totals.passed} passed, ${totals.failed} failed${skipped}`);
process.exitCode = totals.failed > 0 || totals.passed === 0 ? 1 : 0;

async function rust() {
  console.log('— Rust: piecework-core, and its fuzz targets in short');
  const { status, output } = await run('cargo', [
    'test',
    '--release',
    '--locked',
    '-p',
    'piecework-core',
    '-p',
    'piecework-fuzz',
    '--quiet',
  ]);
  count(output, /test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/g, status);
}

async function solidity() {
  console.log('— Solidity: the hub');
  const { status, output } = await run(process.execPath, ['scripts/forge.mjs', 'test']);
  const plain = stripVTControlCharacters(output);
  const summary = /(\d+) tests passed, (\d+) failed, (\d+) skipped/g;
  count(plain, summary, status);
}

async function typescript() {
  console.log('— TypeScript');
  const report = join(root, 'build', 'vitest.json');
  rmSync(report, { force: true });
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const { status } = await run(process.execPath, [vitest, 'run', ...reporters, ...filters]);
  try {
    const result = JSON.parse(readFileSync(report, 'utf8'));
    totals.passed += result.numPassedTests;
    totals.failed += result.numFailedTests;
    totals.skipped += result.numPendingTests + result.numTodoTests;
    if (status !== 0 && result.numFailedTests === 0) totals.failed++;
  } catch {
    totals.failed++;
  }
}

function count(output, pattern, status) {
  let failed = 0;
  for (const [, passedText, failedText, skippedText] of output.matchAll(pattern)) {
    totals.passed += Number(passedText);
    failed += Number(failedText);
    totals.skipped += Number(skippedText);
  }
  // A suite that ended badly without naming a failed test counts as one.
  totals.failed += status !== 0 && failed === 0 ? 1 : failed;
}

/** Runs a command with its output both shown and kept. */
function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const [stream, to] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      stream.on('data', (chunk) => {
        output += chunk;
        to.write(chunk);
      });
    }
    child.on('error', (reason) => resolve({ status: 1, output: String(reason) }));
    child.on('close', (status) => resolve({ status, output }));
  });
}
