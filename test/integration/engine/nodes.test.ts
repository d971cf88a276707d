/** An engine with two chain nodes, one of which lies: what it credits, whom it names, what it counts. */
import { Wallet } from 'ethers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEngine, type Engine, type EngineEvent } from '../../../src/engine.js';
import { BTT } from '../../../src/units.js';
import { configOn, temporary } from '../../support/engines.js';
import { type FaultyNode, startFaultyNode } from '../../support/faulty-node.js';
import { type Ground, layGround } from '../../support/ground.js';

let ground: Ground;
let liar: FaultyNode;
let engine: Engine;
const place = temporary();
const events: EngineEvent[] = [];

beforeAll(async () => {
  ground = await layGround();
  liar = await startFaultyNode(ground.rpcUrl, { seed: 1, other: ground.rpcUrl });
  const config = configOn(ground, place.path, { rpc: `${liar.url}/key-that-is-secret,${ground.rpcUrl}` });
  const [, account] = ground.accounts;
  engine = await createEngine({
    ...{ config, account: account!, buy: true, executor: 'inline' },
    onEvent: (event) => events.push(event),
  });
});
afterAll(async () => {
  await engine?.close();
  await liar?.stop();
  await ground?.stop();
  place.remove();
});

test('a lie about a deposit is not booked; the nodes are named without their keys, and counted', async () => {
  const payee = Wallet.createRandom().address;
  const opened = await engine.open({ payee, deposit: String(20n * BTT) });
  expect(opened.deposit).toBe(String(20n * BTT));
  expect((await engine.status()).nodeAlarms).toEqual({
    silent: 0,
    wrong_chain: 0,
    stale: 0,
    contradiction: 0,
  });

  await liar.become('lying_balance');
  // Reads the channel first, then asks for its close, which one node hides.
  const shown = await engine.closeChannel({ voucherKey: opened.voucherKey });
  expect(shown.phase).toBe('closing');
  expect(shown.deposit).toBe(String(20n * BTT));
  expect((await engine.status()).nodeAlarms.contradiction).toBeGreaterThan(0);
  const warnings = events.map((event) => JSON.stringify(event)).filter((text) => text.includes(liar.url));
  expect(warnings.length).toBe(1);
  expect(JSON.stringify(events)).not.toContain('key-that-is-secret');
});
