import { keccak256 } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ChainConfig } from '../../../src/config.js';
import * as Tools from '../../../src/engine/tools.js';
import * as DevChains from '../../../src/settlement/dev-chain.js';
import * as GasRate from '../../../src/settlement/gas-rate.js';
import { probe } from '../../../src/settlement/probe.js';
import { ask, connectTo, failure, mine, type Relay, startRelay } from './support.js';

let berlin: DevChains.DevChain;
let cancun: DevChains.DevChain;
let relay: Relay;

beforeAll(async () => {
  [berlin, cancun] = await Promise.all([
    DevChains.start({ blockTime: 0 }),
    DevChains.start({ blockTime: 0, hardfork: 'cancun' }),
  ]);
  relay = await startRelay(berlin.rpcUrl);
});
afterAll(async () => {
  await relay?.stop();
  await Promise.all([berlin?.stop(), cancun?.stop()]);
});

const configOf = ({ profile, rpcUrl }: DevChains.DevChain, more: Partial<ChainConfig> = {}): ChainConfig => ({
  ...{ profile, rpcUrls: [rpcUrl], confirmations: 1, hub: undefined },
  ...more,
});

async function probed(dev: DevChains.DevChain) {
  const chain = await connectTo(dev.profile);
  try {
    return await probe(chain);
  } finally {
    chain.close();
  }
}

describe('probing', () => {
  it('tells Berlin from Cancun by running their opcodes', async () => {
    expect(await probed(berlin)).toMatchObject({
      ...{ push0: false, baseFee: false, transientStorage: false, typeTwo: false },
      ...{ blockGasLimit: 20_000_000n, gasPrice: berlin.profile.gasPriceFloor },
      client: expect.stringContaining('anvil'),
    });
    expect(await probed(cancun)).toMatchObject({
      ...{ push0: true, baseFee: true, transientStorage: true, typeTwo: true },
    });
  });

  it('measures the block time, and does not where there is nothing to measure', async () => {
    const fresh = await DevChains.start({ blockTime: 0 });
    expect((await probed(fresh)).blockTimeMs).toBeUndefined();
    await ask(fresh.rpcUrl, 'anvil_setBlockTimestampInterval', 3);
    await mine(fresh.rpcUrl, 300);
    expect((await probed(fresh)).blockTimeMs).toBe(3_000);
    await fresh.stop();
  });

  it('says that it cannot tell where a node runs no code without a contract', async () => {
    relay.fault = (method) =>
      method === 'eth_call'
        ? { kind: 'answer', body: { error: { code: -32601, message: 'no' } } }
        : undefined;
    const chain = await connectTo(berlin.profile, { rpcUrls: [relay.url] });
    expect(await probe(chain)).toMatchObject({ push0: undefined, baseFee: undefined, typeTwo: false });
    chain.close();
    relay.fault = () => undefined;
  });
});

describe('the probe of a configured chain', () => {
  it('holds the hub against the profile, and prices settling', async () => {
    const { hub } = await Tools.deployHub(configOf(berlin), berlin.accounts[0]!, 600, undefined);
    const gasRate = GasRate.rateOf(berlin.profile, undefined);
    const found = await Tools.probeChain(configOf(berlin, { hub, gasRate }));
    const code = (await ask(berlin.rpcUrl, 'eth_getCode', found.hub, 'latest')) as string;
    expect(found).toMatchObject({ hubCodeHash: keccak256(code), challengePeriod: 600, alarms: [] });
    // 60,000 and 100 times 10,400 gas at 3e14.
    expect(found.settleCost).toBe('330000000000000000000');
    const foreign = { ...berlin.profile, coin: 'ETH' };
    const dear = GasRate.rateOf(foreign, '2.5');
    expect((await Tools.probeChain(configOf(berlin, { gasRate: dear }))).settleCost).toBe(
      '825000000000000000000',
    );
    expect((await Tools.probeChain(configOf(berlin, { profile: foreign }))).settleCost).toBeUndefined();
  });

  it('refuses another id, another first block, another hub', async () => {
    const { hub } = await Tools.deployHub(configOf(berlin), berlin.accounts[0]!, 600, undefined);
    const refused = (profile: object, more: Partial<ChainConfig> = {}): Promise<{ code: string }> =>
      failure(Tools.probeChain(configOf(berlin, { profile: { ...berlin.profile, ...profile }, ...more })));
    const hash = `0x${'ab'.repeat(32)}`;
    expect((await refused({ chainId: 199n })).code).toBe('CHAIN_WRONG_ID');
    expect((await refused({ genesisHash: hash })).code).toBe('CHAIN_WRONG_ID');
    expect((await refused({ hub, hubCodeHash: hash }, { hub })).code).toBe('HUB_MISMATCH');
    expect((await refused({}, { hub: new Uint8Array(20).fill(7) })).code).toBe('HUB_MISSING');
  });

  it('names the nodes, and what is wrong with one', async () => {
    relay.fault = () => ({ kind: 'status', status: 503 });
    const rpcUrls = [berlin.rpcUrl, relay.url];
    const found = await Tools.probeChain(configOf(berlin, { rpcUrls }));
    expect(found.agreement).toBe(2);
    expect(found.nodes).toEqual([
      { node: berlin.rpcUrl, inUse: true },
      { node: relay.url, inUse: false },
    ]);
    expect(found.alarms.length).toBe(1);
    expect(found.alarms[0]).toMatch(`${relay.url} does not answer`);
    relay.fault = () => undefined;
  });
});

describe('deploying', () => {
  it('refuses a challenge period below what the profile asks', async () => {
    const profile = { ...berlin.profile, challengePeriodMin: 3_600 };
    const work = Tools.deployHub(configOf(berlin, { profile }), berlin.accounts[0]!, 600, undefined);
    expect(await failure(work)).toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});
