/** kill -9 of payee and payer: a short form of `npm run soak:crash`, about 40 s. PIECEWORK_SEED repeats a plan. */
import { expect, test } from 'vitest';
import { seedFromEnvironment } from '../support/chance.js';
import { crash, tell } from '../support/crash-run.js';

test('ten kills lose nothing that was acknowledged and pay nothing twice', { timeout: 300_000 }, async () => {
  const report = await crash({
    seed: seedFromEnvironment(),
    kills: 10,
    killsPerTransfer: 7,
    say: console.log,
  });
  console.log(tell(report));
  expect(report.kills).toBeGreaterThanOrEqual(10);
});
