/**
 * `npm run soak:towers`: a tower killed 100 times while rows are pushed to it. PIECEWORK_SEED and PIECEWORK_KILLS
 * choose another run.
 */
import { expect, test } from 'vitest';
import { seedFromEnvironment } from '../support/chance.js';
import { killTowers } from '../support/tower-kill.js';

const kills = Number(process.env['PIECEWORK_KILLS'] ?? 100);

test(`${kills} kills lose nothing that a tower acknowledged`, async () => {
  const seed = seedFromEnvironment();
  const report = await killTowers(seed, kills);
  const { acknowledged, interrupted, credited, owed, lost } = report;
  console.log(`seed ${seed}: ${kills} kills, ${interrupted} in a push, ${acknowledged} rows acknowledged`);
  console.log(`${credited} credited, ${owed} acknowledged, ${lost.length} lost`);
  expect(lost).toEqual([]);
  expect(acknowledged).toBeGreaterThan(kills);
  expect(interrupted).toBeGreaterThan(kills / 10);
  expect(credited).toBeGreaterThanOrEqual(owed);
});
