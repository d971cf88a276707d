/** A tower that is killed while rows are pushed to it holds whatever it acknowledged. About 10 s; the long form is `soak:towers`. */
import { expect, test } from 'vitest';
import { seedFromEnvironment } from '../support/chance.js';
import { killTowers } from '../support/tower-kill.js';

test('two kills lose nothing that a tower acknowledged, and all of it is settled', async () => {
  const seed = seedFromEnvironment();
  const { lost, acknowledged, credited, owed } = await killTowers(seed, 2);
  expect(lost, `seed ${seed}`).toEqual([]);
  expect(acknowledged).toBeGreaterThan(0);
  // A row that was durable and whose answer was lost counts for the payee all the same.
  expect(credited).toBeGreaterThanOrEqual(owed);
}, 120_000);
