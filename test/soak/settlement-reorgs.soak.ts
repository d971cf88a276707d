/**
 * `npm run soak:settlement`: reorganisations of depth 1 to 200 at every step of a channel's life. PIECEWORK_SEED
 * repeats a run, PIECEWORK_DEPTHS (like 185-200) takes some of the depths.
 */
import { expect, test } from 'vitest';
import { BTT } from '../../src/units.js';
import { seedFromEnvironment } from '../support/chance.js';
import { reorganise, STEPS } from '../support/reorgs.js';

const [first, last] = (process.env['PIECEWORK_DEPTHS'] ?? '1-200').split('-').map(Number) as [number, number];

test(`reorganisations of depth ${first} to ${last} lose nothing and double nothing`, async () => {
  const depths = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  const report = await reorganise({ seed: seedFromEnvironment() % 1_000_000, depths, say: console.log });
  console.log(report);
  expect(report.cells).toBe(depths.length * STEPS.length);
  expect(report.undone).toBeGreaterThan(report.cells / 3);
  // Only what lay deeper than anybody waits has to be asked for again.
  if (last >= 160) expect(report.repeated).toBeGreaterThan(0);
  // What a reorganisation took from under a granted deposit: never more than the tier of its depth had allowed.
  expect(report.losses.belowEarly).toBe(0n);
  expect(report.losses.belowFull).toBeLessThanOrEqual(4n * BTT);
  expect(report.losses.deeper).toBeLessThanOrEqual(12n * BTT);
});
