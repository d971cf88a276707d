/** `piecework chain`: deploying either form of the hub, and the probe, as people meet them. About 15 s. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hexlify } from 'ethers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formatAddress } from '../../src/channels/channel.js';
import { BTT } from '../../src/units.js';
import { ask, type Home, run, settle, wrongEnd } from '../support/cli.js';
import { temporary } from '../support/engines.js';
import { type Ground, layGround } from '../support/ground.js';
import { deployToken } from '../support/token.js';

const place = temporary();
let ground: Ground;
let home: Home;

beforeAll(async () => {
  ground = await layGround();
  home = await settle(ground, join(place.path, 'home'), 100_000n * BTT);
});
afterAll(async () => {
  await ground?.stop();
  place.remove();
});

function profileFile(changes: object): string {
  const path = join(place.path, `profile-${Object.keys(changes).join('-')}.json`);
  const profile = {
    ...{ name: 'mine', chainId: '31415', genesisHash: null, rpcUrls: [ground.rpcUrl], confirmations: 1 },
    ...{ blockTimeMs: 2000, challengePeriodMin: 1, coin: 'BTT', gasPriceFloor: '300000000000000' },
    ...{ asset: null, hub: formatAddress(ground.domain.hub), hubCodeHash: null },
  };
  writeFileSync(path, JSON.stringify({ ...profile, ...changes }));
  return path;
}
const probeWith = (changes: object, ...more: string[]) =>
  run(['chain', 'probe', '--data-dir', home.dataDir, '--chain', profileFile(changes), ...more]);

test('the probe says what the chain can do, as a table and as JSON', async () => {
  const shown = await run(['chain', 'probe', ...home.flags]);
  expect(shown.status).toBe(0);
  expect(shown.stdout).toContain('local, chain 31415: as its profile says');
  expect(shown.stdout).toMatch(/PUSH0 +no/);
  expect(shown.stdout).toMatch(/type 2 +no/);
  expect(shown.stdout).toMatch(/settling +330 BTT for 100 vouchers/);
  const found = (await ask(['chain', 'probe', ...home.flags])) as Record<string, unknown>;
  expect(found).toMatchObject({ chainId: '31415', push0: false, agreement: 1, blockGasLimit: '20000000' });
  expect(found['hub']).toBe(formatAddress(ground.domain.hub));
});

test('the probe refuses what is not as the profile says, with the code that says why', async () => {
  const hash = `0x${'ab'.repeat(32)}`;
  expect((await probeWith({})).status).toBe(0);
  expect(wrongEnd(await probeWith({ chainId: '199' }), 'CHAIN_WRONG_ID', false)).toEqual([]);
  expect(wrongEnd(await probeWith({ genesisHash: hash }), 'CHAIN_WRONG_ID', false)).toEqual([]);
  expect(wrongEnd(await probeWith({ hubCodeHash: hash }), 'HUB_MISMATCH', false)).toEqual([]);
  const missing = await probeWith({ hub: `0x${'12'.repeat(20)}` });
  expect(wrongEnd(missing, 'HUB_MISSING', false)).toEqual([]);
  const confirmations = await probeWith({ confirmations: 0 });
  expect(wrongEnd(confirmations, 'BAD_CONFIG', false)).toEqual([]);
  expect(confirmations.stderr).toContain('confirmations must be');
});

test('where gas is not paid in BTT there is no price until one is set', async () => {
  const none = await probeWith({ coin: 'ETH' });
  expect(none.stdout).toContain('no price: set --gas-rate');
  const priced = await probeWith({ coin: 'ETH' }, '--gas-rate', '0.5');
  expect(priced.stdout).toMatch(/settling +165 BTT/);
});

test('a deployment tells its address before it is sent, and checks the code after', async () => {
  const native = await run(['chain', 'deploy', '--max-gas', '2000BTT', ...home.flags]);
  expect(native.status).toBe(0);
  const [, will] = /The hub will be (0x[0-9a-f]{40})/.exec(native.stdout)!;
  expect(native.stdout).toContain(`Hub ${will}, its code checked`);

  const token = await deployToken(ground.rpcUrl, ground.accounts[0]!.address, 300_000_000_000_000n);
  const asset = hexlify(token.address);
  const deploy = ['chain', 'deploy', '--asset', asset, '--max-gas', '2000BTT', ...home.flags];
  const made = (await ask(deploy)) as Record<string, string>;
  expect(made).toMatchObject({ asset, hub: expect.stringMatching(/^0x/) });
  const pinned = { hub: made['hub'], hubCodeHash: made['codeHash'], asset };
  const probed = await probeWith(pinned);
  expect(probed.stdout).toContain(`escrows      ${asset}`);
  expect(wrongEnd(await probeWith({ hub: made['hub'] }), 'HUB_MISMATCH', false)).toEqual([]);
});
