/**
 * `npm run soak:crash`: at least 200 kills of payee and payer during downloads, and the witnesses that the
 * kills met something. PIECEWORK_SEED and PIECEWORK_KILLS choose another run.
 * Every second torrent is paid by ticks.
 */
import { expect, test } from 'vitest';
import { seedFromEnvironment } from '../support/chance.js';
import { tell } from '../support/crash-report.js';
import { crash } from '../support/crash-run.js';

const kills = Number(process.env['PIECEWORK_KILLS'] ?? 200);

test(`${kills} kills lose nothing that was acknowledged and pay nothing twice`, async () => {
  const report = await crash({
    seed: seedFromEnvironment(),
    kills,
    killsPerTransfer: 10,
    say: console.log,
  });
  console.log(tell(report));
  const killed = (name: string): number => report.killsBy.get(name) ?? 0;
  expect(report.kills).toBeGreaterThanOrEqual(kills);
  // A run whose kills all missed the transfer would prove nothing.
  expect(killed('payee transfer')).toBeGreaterThan(kills / 10);
  expect(killed('payer transfer')).toBeGreaterThan(kills / 10);
  for (const moment of ['payee startup', 'payee settling', 'payer opening'])
    expect(killed(moment), moment).toBeGreaterThan(0);
  expect(report.settled).toBeGreaterThan(0n);
});
