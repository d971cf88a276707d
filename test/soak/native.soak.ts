/**
 * `npm run soak:native`: the fuzz targets of native/fuzz at length. PIECEWORK_RUNS inputs are decoded (10^8 unless
 * it says otherwise) and a tenth as many vouchers verified, on every level of instructions that the machine has; then
 * libFuzzer goes on from its corpus in build/fuzz, under AddressSanitizer; then the tests of the core run with
 * PIECEWORK_CASES cases (a hundredth of the inputs) on every level. PIECEWORK_SEED repeats the draws.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { seedFromEnvironment } from '../support/chance.js';
import { temporary } from '../support/engines.js';
import * as Fuzz from '../support/fuzz.js';

const RUNS = Number(process.env['PIECEWORK_RUNS'] ?? 100_000_000);
const CASES = process.env['PIECEWORK_CASES'] ?? String(share(RUNS, 100));
const DECODERS = ['records', 'events', 'frames', 'snapshots'] as const;
const seed = seedFromEnvironment();
const levels = Fuzz.cpuLevels();
const totals = { decoded: 0, verified: 0 };

interface Plan {
  readonly target: string;
  readonly count: number;
  readonly cpu?: string;
}

function share(count: number, parts: number): number {
  return Math.ceil(count / parts);
}

function tell(name: string, counts: Fuzz.Counts, kept = 'accepted'): void {
  const { checked, runs, accepted, seconds } = counts;
  const rate = Math.round(checked / seconds);
  const took = `${seconds.toFixed(0)} s, ${rate}/s`;
  console.log(`${name}: ${checked} checked in ${runs} runs, ${accepted} ${kept}, ${took}`);
}

afterAll(() => {
  const verified = `${totals.verified} vouchers verified on ${levels.join(', ')}`;
  console.log(`seed ${seed}: ${totals.decoded} inputs decoded, ${verified}`);
});

test('drawn inputs break no rule on any level', async () => {
  console.log(`seed ${seed}`);
  await Fuzz.buildDriver();
  const plans: Plan[] = [
    ...DECODERS.map((target) => ({ target, count: share(RUNS, DECODERS.length) })),
    { target: 'journal', count: share(RUNS, 1_000) },
    { target: 'ledger', count: share(RUNS, 100) },
    ...levels.map((cpu) => ({ target: 'hashing', count: share(RUNS, 100), cpu })),
    ...levels.map((cpu) => ({ target: 'vouchers', count: share(RUNS, 10 * levels.length), cpu })),
  ];
  await Fuzz.side(plans, async ({ target, count, cpu }) => {
    const counts = await Fuzz.drive(target, count, seed, cpu);
    tell(cpu === undefined ? target : `${target} (${cpu})`, counts);
    expect(counts.accepted).toBeGreaterThan(0);
    expect(counts.checked).toBeGreaterThanOrEqual(count);
    if (target === 'vouchers') totals.verified += counts.checked;
    if (DECODERS.some((decoder) => decoder === target)) totals.decoded += counts.checked;
  });
  expect(totals.decoded).toBeGreaterThanOrEqual(RUNS);
  expect(totals.verified).toBeGreaterThanOrEqual(RUNS / 10);
});

test('libFuzzer finds nothing under AddressSanitizer', async () => {
  const program = await Fuzz.buildLibFuzzer();
  const plans: Plan[] = [
    ...DECODERS.map((target) => ({ target, count: share(RUNS, 100) })),
    ...['journal', 'ledger', 'vouchers', 'hashing'].map((target) => ({ target, count: share(RUNS, 10_000) })),
  ];
  await Fuzz.side(plans, async ({ target, count }) => {
    const counts = await Fuzz.learn(program, target, count, (seed % 0x7fff_fffe) + 1);
    tell(`libFuzzer ${target}`, counts, 'in the corpus');
    expect(counts.runs).toBeGreaterThanOrEqual(count);
    expect(counts.accepted, 'inputs that reached something new').toBeGreaterThan(1);
    if (DECODERS.some((decoder) => decoder === target)) totals.decoded += counts.runs;
  });
});

test('the commands of the guide do what it says', async () => {
  const place = temporary();
  try {
    const guide = readFileSync(new URL('../../docs/guide/testing.md', import.meta.url), 'utf8');
    const commands = [...guide.matchAll(/^cargo (.+)$/gm)].map(([, text]) => text!.split(' '));
    expect(commands.length).toBe(2);
    const input = join(place.path, 'input');
    writeFileSync(input, Buffer.from([3]));
    for (const args of commands) {
      const here = args.map((word) => (word.startsWith('crash-') ? input : word));
      const { output } = await Fuzz.run('cargo', here);
      expect(output).toMatch(/^journal: (seed 7, \d+ folders|Seen \{ checked: 1, accepted: 1 \})/m);
    }
  } finally {
    place.remove();
  }
});

test.each(levels)('the tests of the core pass at length on the level %s', async (cpu) => {
  const beginMs = performance.now();
  const env = { PIECEWORK_CPU: cpu, PIECEWORK_CASES: CASES, PIECEWORK_SEED: String(seed) };
  const args = ['test', '--release', '--locked', '-p', 'piecework-core', '-p', 'piecework-fuzz'];
  const { output } = await Fuzz.run('cargo', args, env);
  const passed = [...output.matchAll(/test result: ok\. (\d+) passed/g)].map(([, count]) => Number(count));
  const count = passed.reduce((sum, each) => sum + each, 0);
  console.log(
    `${cpu}: ${count} tests, ${CASES} cases, ${((performance.now() - beginMs) / 1000).toFixed(0)} s`,
  );
  expect(count).toBeGreaterThan(0);
});
