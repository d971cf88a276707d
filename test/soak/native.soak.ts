/**
 * `npm run soak:native`: the fuzz targets of native/fuzz at length. PIECEWORK_RUNS inputs are decoded (10^8 unless
 * it says otherwise) and a tenth as many vouchers verified, on every level that PIECEWORK_CPU can force; then
 * libFuzzer goes on from its corpus in build/fuzz, under AddressSanitizer; then the tests of the core run with
 * PIECEWORK_CASES cases (a hundredth of the inputs) on every level. PIECEWORK_SEED repeats the draws.
 */
import { afterAll, expect, test } from 'vitest';
import { seedFromEnvironment } from '../support/chance.js';
import * as Fuzz from '../support/fuzz.js';

const RUNS = Number(process.env['PIECEWORK_RUNS'] ?? 100_000_000);
const CASES = process.env['PIECEWORK_CASES'] ?? String(share(RUNS, 100));
const DECODERS = ['records', 'events', 'frames', 'snapshots'] as const;
const seed = seedFromEnvironment();
const totals = { decoded: 0, verified: 0 };

interface Plan {
  readonly target: string;
  readonly count: number;
  readonly cpu?: string;
}

function share(count: number, parts: number): number {
  return Math.ceil(count / parts);
}

function tell(name: string, counts: Fuzz.Counts, what: string): void {
  const rate = Math.round(counts.checked / counts.seconds);
  const { checked, runs, accepted, seconds } = counts;
  console.log(
    `${name}: ${checked} ${what} in ${runs} runs, ${accepted} accepted, ${seconds.toFixed(0)} s, ${rate}/s`,
  );
}

afterAll(() =>
  console.log(`seed ${seed}: ${totals.decoded} inputs decoded, ${totals.verified} vouchers verified`),
);

test('drawn inputs break no rule on any level', async () => {
  console.log(`seed ${seed}`);
  await Fuzz.buildDriver();
  const levels = Fuzz.CPU_LEVELS;
  const plans: Plan[] = [
    ...levels.map((cpu) => ({ target: 'vouchers', count: share(RUNS, 10 * levels.length), cpu })),
    ...levels.map((cpu) => ({ target: 'hashing', count: share(RUNS, 100), cpu })),
    { target: 'journal', count: share(RUNS, 1_000) },
    { target: 'ledger', count: share(RUNS, 100) },
    ...DECODERS.map((target) => ({ target, count: share(RUNS, DECODERS.length) })),
  ];
  await Fuzz.side(plans, async ({ target, count, cpu }) => {
    const counts = await Fuzz.drive(target, count, seed, cpu);
    tell(cpu === undefined ? target : `${target} (${cpu})`, counts, 'checked');
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
    ...DECODERS.map((target) => ({ target, count: share(RUNS, 20) })),
    ...['journal', 'ledger', 'vouchers', 'hashing'].map((target) => ({ target, count: share(RUNS, 10_000) })),
  ];
  await Fuzz.side(plans, async ({ target, count }) => {
    const counts = await Fuzz.learn(program, target, count, (seed % 0x7fff_fffe) + 1);
    tell(`libFuzzer ${target}`, counts, 'inputs');
    expect(counts.runs).toBeGreaterThanOrEqual(count);
    expect(counts.accepted, 'inputs that reached something new').toBeGreaterThan(1);
    if (DECODERS.some((decoder) => decoder === target)) totals.decoded += counts.runs;
  });
});

test.each(Fuzz.CPU_LEVELS)('the tests of the core pass at length on the level %s', async (cpu) => {
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
