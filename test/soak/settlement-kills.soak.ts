/**
 * `npm run soak:settlement`: a sender that dies at 20,000 steps on a paper chain, and settling processes that
 * are killed at every request, several times over. PIECEWORK_SEED repeats the paper, PIECEWORK_KILLS changes
 * the number of steps.
 */
import { expect, test } from 'vitest';
import { seedFromEnvironment } from '../support/chance.js';
import { storm } from '../support/paper-chain.js';
import { killProcesses } from '../support/process-kills.js';
import { killEverywhere } from '../support/sending-kills.js';

const points = Number(process.env['PIECEWORK_KILLS'] ?? 20_000);
/** Requests of one settlement, more or less. */
const REQUESTS = 16;
const RUNS = 6;

test(`${points} steps of sending, killed at each of them`, async () => {
  const seed = seedFromEnvironment() % 1_000_000;
  const report = await killEverywhere(seed, points, storm);
  console.log(`seed ${seed}:`, report);
  expect(report.points).toBeGreaterThanOrEqual(points);
});

test('processes killed at every request of a settlement', async () => {
  const steps = Array.from({ length: REQUESTS }, (_, index) => index + 1);
  const run = steps.flatMap((count) => [false, true].map((late) => ({ count, late })));
  const { kills, at } = await killProcesses(Array.from({ length: RUNS }, () => run).flat());
  console.log(`${kills} kills`, at);
  expect(at.get('eth_sendRawTransaction')).toBe(2 * RUNS);
  expect(kills).toBeGreaterThan(RUNS * 20);
});
