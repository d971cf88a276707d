/**
 * The whole fault matrix: 12 faults of a node × 10 steps of a channel's life × a good node beside it or none.
 * PIECEWORK_ROUNDS repeats it with other draws (1).
 */
import { expect, it } from 'vitest';
import { chance, seedFromEnvironment } from '../support/chance.js';
import { ALL_CASES, type Result, startMatrix, summary } from '../support/fault-matrix.js';
import { FAULTS } from '../support/faulty-node.js';
import { STEPS } from '../support/lifecycle.js';

it('loses nothing, doubles nothing and credits nothing that is not there', async () => {
  const draw = chance(seedFromEnvironment());
  const rounds = Number(process.env['PIECEWORK_ROUNDS'] ?? 1);
  const matrix = await startMatrix(draw);
  const results: Result[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      for (const one of ALL_CASES) {
        const result = await matrix.run(one);
        results.push(result);
        if (result.wrong.length > 0) console.log(JSON.stringify(result));
      }
    }
  } finally {
    await matrix.stop();
  }
  console.log(`fault matrix, seed ${draw.seed}: ${summary(results)}`);
  for (const fault of FAULTS) {
    const own = results.filter((result) => result.fault === fault);
    console.log(`  ${fault.padEnd(18)} ${summary(own)}`);
    expect(
      own.some(({ hits }) => hits > 0),
      `${fault} touched nothing`,
    ).toBe(true);
  }
  expect(results.length).toBe(rounds * FAULTS.length * STEPS.length * 2);
  expect(results.filter(({ wrong }) => wrong.length > 0)).toEqual([]);
});
