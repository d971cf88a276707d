/** The journal killed at system calls: a short form of `npm run soak:journal`, about 10 s. */
import { expect, test } from 'vitest';
import { chance, seedFromEnvironment } from '../support/chance.js';
import { MODES, prepare } from '../support/journal-kill.js';

const POINTS = 16;

test('no acknowledged batch is lost, wherever the process is killed', { timeout: 120_000 }, async () => {
  const seed = seedFromEnvironment();
  const draws = chance(seed);
  const kills = await prepare(seed, 60);
  try {
    for (let point = 0; point < POINTS; point++) {
      const step = 1 + draws.below(kills.steps);
      expect(await kills.tryAt(step, draws.pick(MODES)), `seed ${seed}, step ${step}`).toBeUndefined();
    }
    console.log(
      `seed ${seed}: ${POINTS} of ${kills.steps * MODES.length} points, ${kills.kills} kills, ${kills.acknowledged} batches acknowledged`,
    );
    expect(kills.kills).toBeGreaterThanOrEqual(POINTS);
    expect(kills.acknowledged).toBeGreaterThan(POINTS);
  } finally {
    kills.close();
  }
});

test('a ledger that acknowledges before it commits is caught', { timeout: 120_000 }, async () => {
  const seed = seedFromEnvironment();
  const draws = chance(seed);
  const kills = await prepare(seed, 30, 'early');
  try {
    let caught: string | undefined;
    for (let point = 0; point < 20 && !caught; point++) {
      caught = await kills.tryAt(1 + draws.below(kills.steps), 'before');
    }
    console.log(`seed ${seed}: ${caught}`);
    expect(caught).toMatch(/acknowledged/);
  } finally {
    kills.close();
  }
});
