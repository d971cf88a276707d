/**
 * A sender that dies at any step leaves exactly one effect of what was wanted, in fair weather and in foul:
 * reorganisations within the confirmations, lost pools, failing requests, a rising price, another program on
 * the same key. The long form is `npm run soak:settlement`.
 */
import { expect, test } from 'vitest';
import { seedFromEnvironment } from '../support/chance.js';
import { calm, storm } from '../support/paper-chain.js';
import { killEverywhere } from '../support/sending-kills.js';

const KILLS = 1_000;

test(`${KILLS} kills, one at every step of sending: each intent lands once`, async () => {
  const seed = seedFromEnvironment() % 1_000_000;
  const fair = await killEverywhere(seed, 1, calm);
  const foul = await killEverywhere(seed, KILLS, storm);
  const { weather } = foul;
  console.log(`seed ${seed}: ${fair.points} + ${foul.points} points`, foul.kills, foul.where, weather);
  expect(fair.points + foul.points).toBeGreaterThanOrEqual(KILLS);
  expect(foul.where.get('store')).toBeGreaterThan(10);
  expect(foul.where.get('chain')).toBeGreaterThan(100);
  for (const [name, count] of Object.entries(weather)) expect(count, name).toBeGreaterThan(0);
}, 300_000);
