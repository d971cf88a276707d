/**
 * `npm run soak:contracts`: the long form of the hub's tests. The model checker proves the arithmetic (where z3
 * is installed), every mutant must be killed, the invariants go through 10^6 calls on each form of the hub and
 * every fuzz test through 20,000 cases. PIECEWORK_SEED repeats the draws;
 * PIECEWORK_MUTANTS judges only the mutants of the sources that it names, separated by commas.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { seedFromEnvironment } from '../support/chance.js';
import { type Mutant, readMutants, Stage, tell, type Verdict } from '../support/mutants.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const NOT_INSTALLED = 2;
const STAGES = 2;
const CALLS = 1_000_000;

test('the arithmetic conserves money, by proof', (context) => {
  const { status, stdout, stderr } = runScript('prove-contracts.mjs', []);
  console.log(`${stdout}${stderr}`.trim());
  if (status === NOT_INSTALLED) context.skip('z3 is not installed: nothing was proven');
  expect(status).toBe(0);
});

test('every mutant is killed', async () => {
  const named = process.env['PIECEWORK_MUTANTS']?.split(',');
  const all = readMutants();
  expect(all.length).toBeGreaterThanOrEqual(40);
  const waiting = all.filter(({ source }) => named === undefined || named.includes(source));
  const verdicts: { mutant: Mutant; verdict: Verdict }[] = [];
  const begin = performance.now();
  const work = async (): Promise<void> => {
    const stage = new Stage();
    try {
      if (verdicts.length === 0) expect(await stage.killer(), 'the hub itself').toBeUndefined();
      for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
        const verdict = await stage.judge(mutant);
        verdicts.push({ mutant, verdict });
        console.log(tell(mutant, verdict));
      }
    } finally {
      await stage.close();
    }
  };
  await Promise.all(Array.from({ length: STAGES }, work));
  const others = verdicts.filter(({ verdict }) => verdict.kind !== 'killed');
  const seconds = ((performance.now() - begin) / 1000).toFixed(0);
  console.log(`${verdicts.length} mutants, ${verdicts.length - others.length} killed, ${seconds} s`);
  expect(others.map(({ mutant, verdict }) => tell(mutant, verdict))).toEqual([]);
  expect(verdicts.length).toBeGreaterThan(0);
});

test('invariants and fuzz tests hold over long runs', () => {
  const seed = seedFromEnvironment();
  const begin = performance.now();
  console.log('invariants and fuzz tests: a quarter of an hour without a word');
  const wanted = ['--no-match-contract', 'GasTest', '--fuzz-seed', `0x${seed.toString(16)}`];
  const { status, stdout, stderr } = runScript('forge.mjs', ['test', ...wanted], { FOUNDRY_PROFILE: 'soak' });
  const output = stripVTControlCharacters(`${stdout}${stderr}`);
  const seconds = ((performance.now() - begin) / 1000).toFixed(0);
  console.log(`${output.trim()}\nseed ${seed}, ${seconds} s`);
  expect(status).toBe(0);
  const calls = [...output.matchAll(/^(\w+) hub: (\d+) calls/gm)].map(([, form, count]) => [
    form,
    Number(count),
  ]);
  expect(calls.map(([form]) => form)).toEqual(['native', 'token']);
  for (const [form, count] of calls) expect(count, String(form)).toBeGreaterThanOrEqual(CALLS);
});

function runScript(name: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  return spawnSync(process.execPath, [join(root, 'scripts', name), ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 1 << 26,
  });
}
