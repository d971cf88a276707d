/**
 * `npm run soak:journal`: the journal killed before, half-way through and after every single system call that
 * it makes, and once more while it recovers. PIECEWORK_BATCHES sets how many batches it commits.
 */
import { expect, test } from 'vitest';
import { seedFromEnvironment } from '../support/chance.js';
import { MODES, prepare } from '../support/journal-kill.js';

const batches = Number(process.env['PIECEWORK_BATCHES'] ?? 100);
const TELL_EVERY = 50;

test('no acknowledged batch is lost at any kill point', async () => {
  const seed = seedFromEnvironment();
  const beginMs = performance.now();
  const kills = await prepare(seed, batches);
  console.log(`seed ${seed}: ${batches} batches, ${kills.steps} calls, ${kills.steps * MODES.length} points`);
  try {
    for (let step = 1; step <= kills.steps; step++) {
      for (const mode of MODES) expect(await kills.tryAt(step, mode), `seed ${seed}`).toBeUndefined();
      if (step % TELL_EVERY === 0) console.log(`step ${step}: ${kills.kills} kills`);
    }
    const seconds = ((performance.now() - beginMs) / 1000).toFixed(1);
    console.log(`${kills.kills} kills, ${kills.acknowledged} batches acknowledged, none lost, ${seconds} s`);
    expect(kills.kills).toBeGreaterThanOrEqual(kills.steps * MODES.length);
    expect(kills.acknowledged).toBeGreaterThan(batches * kills.steps);
  } finally {
    kills.close();
  }
});
