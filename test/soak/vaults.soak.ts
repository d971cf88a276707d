/**
 * `npm run soak:vaults`: a payee killed before, half-way through and after every call on its ledger while it receives
 * cheques. PIECEWORK_CHEQUES sets how many it receives.
 */
import { expect, test } from 'vitest';
import { prepareKills, stage } from '../integration/vaults/support.js';

const on = stage();
const cheques = Number(process.env['PIECEWORK_CHEQUES'] ?? 8);

test('a payee that acknowledges too early is caught', async () => {
  const { kills, held } = await prepareKills(on, 4, true);
  try {
    let caught = 0;
    for (let step = 1; step <= kills.steps && caught === 0; step++)
      if ((await kills.tryAt(step, 'before', held)) !== undefined) caught++;
    expect(caught).toBe(1);
  } finally {
    kills.close();
  }
});

test('no acknowledged cheque is lost at any kill point', async () => {
  const beginMs = performance.now();
  const { kills, held } = await prepareKills(on, cheques);
  console.log(`${cheques} cheques, ${kills.steps} calls, ${kills.steps * 3} points`);
  try {
    for (let step = 1; step <= kills.steps; step++) {
      for (const mode of ['before', 'half', 'after'] as const)
        expect(await kills.tryAt(step, mode, held)).toBeUndefined();
    }
    const seconds = ((performance.now() - beginMs) / 1000).toFixed(1);
    console.log(`${kills.kills} kills, ${kills.acknowledged} cheques acknowledged, none lost, ${seconds} s`);
    expect(kills.kills).toBe(kills.steps * 3);
    expect(kills.acknowledged).toBeGreaterThan(kills.steps);
  } finally {
    kills.close();
  }
});
