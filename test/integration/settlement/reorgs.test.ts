/** A sample of the matrix of reorganisations; `npm run soak:settlement` goes through all of it. */
import { expect, it } from 'vitest';
import { BTT } from '../../../src/units.js';
import { chance, seedFromEnvironment } from '../../support/chance.js';
import { reorganise, STEPS } from '../../support/reorgs.js';

it('reorganisations of every kind of depth leave what a watcher from scratch sees, and each effect once', async () => {
  const seed = seedFromEnvironment() % 1_000_000;
  const dice = chance(seed);
  const depths = [1 + dice.below(11), 12 + dice.below(116), 128 + dice.below(73), 200];
  const report = await reorganise({ seed, depths });
  console.log(report);
  expect(report.cells).toBe(depths.length * STEPS.length);
  expect(report.undone).toBeGreaterThan(report.cells / 3);
  // Only what lay deeper than anybody waits has to be asked for again; just below that it is rare.
  expect(report.repeated).toBeGreaterThan(0);
  expect(report.losses.belowEarly).toBe(0n);
  expect(report.losses.belowFull).toBeLessThanOrEqual(4n * BTT);
  expect(report.losses.deeper).toBeLessThanOrEqual(12n * BTT);
}, 180_000);
