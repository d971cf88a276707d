/** A sample of the fault matrix, and its canary. The whole of it is `npm run soak:settlement`. About 30 s. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { chance, seedFromEnvironment } from '../../support/chance.js';
import {
  ALL_CASES,
  type Case,
  type Matrix,
  type Result,
  startMatrix,
  summary,
} from '../../support/fault-matrix.js';
import { FAULTS } from '../../support/faulty-node.js';
import { STEPS } from '../../support/lifecycle.js';

const draw = chance(seedFromEnvironment());
let matrix: Matrix;

beforeAll(async () => {
  matrix = await startMatrix(draw);
});
afterAll(() => matrix?.stop());

/** Each fault and each step at least twice, once with a good node and once without. */
function sample(): readonly Case[] {
  const shift = draw.below(STEPS.length);
  return FAULTS.flatMap((fault, index) =>
    (['one_of_two', 'only'] as const).map((place, half) => {
      const step = STEPS[(index + shift + half * 5) % STEPS.length]!;
      return ALL_CASES.find((one) => one.fault === fault && one.step === step && one.place === place)!;
    }),
  );
}

it('loses nothing, doubles nothing and credits nothing that is not there', { timeout: 120_000 }, async () => {
  const results: Result[] = [];
  for (const one of sample()) results.push(await matrix.run(one));
  console.log(`fault matrix, seed ${draw.seed}: ${summary(results)}`);
  expect(results.length).toBe(2 * FAULTS.length);
  expect(results.filter(({ wrong }) => wrong.length > 0)).toEqual([]);
  expect(results.filter(({ hits }) => hits > 0).length).toBeGreaterThan(FAULTS.length);
});

it('notices a box that believes any node', async () => {
  const lie = { fault: 'lying_balance', step: 'accept_credit', place: 'one_of_two' } as const;
  // Which of the two is asked first is drawn.
  const wrong: string[] = [];
  for (let tries = 0; tries < 20 && wrong.length === 0; tries++) {
    wrong.push(...(await matrix.run(lie, 1)).wrong);
  }
  expect(wrong.join()).toContain('booked as deposit');
});
