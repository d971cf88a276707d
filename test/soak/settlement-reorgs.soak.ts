/**
 * `npm run soak:settlement`: reorganisations of depth 1 to 200 at every step of a channel's life. PIECEWORK_SEED
 * repeats a run, PIECEWORK_DEPTHS goes no deeper.
 */
import { expect, test } from 'vitest';
import { BTT } from '../../src/units.js';
import { seedFromEnvironment } from '../support/chance.js';
import { reorganise, STEPS } from '../support/reorgs.js';

const deepest = Number(process.env['PIECEWORK_DEPTHS'] ?? 200);

test(`reorganisations of depth 1 to ${deepest} lose nothing and double nothing`, async () => {
  const depths = Array.from({ length: deepest }, (_, index) => index + 1);
  const report = await reorganise({ seed: seedFromEnvironment() % 1_000_000, depths, say: console.log });
  console.log(report);
  expect(report.cells).toBe(deepest * STEPS.length);
  expect(report.undone).toBeGreaterThan(report.cells / 3);
  // What a reorganisation took from under a granted deposit: never more than the tier of its depth had allowed.
  expect(report.losses.belowEarly).toBe(0n);
  expect(report.losses.belowFull).toBeLessThanOrEqual(4n * BTT);
  expect(report.losses.deeper).toBeLessThanOrEqual(12n * BTT);
});
