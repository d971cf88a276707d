import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { concat, getBytes, hexlify, Interface, type InterfaceAbi, TypedDataEncoder } from 'ethers';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Address } from '../../../src/channels/channel.js';
import type { Chain } from '../../../src/settlement/chain.js';
import { deploy, deployment } from '../../../src/settlement/deploy.js';
import type { DevChain } from '../../../src/settlement/dev-chain.js';
import { Hub } from '../../../src/settlement/hub.js';
import { abi } from '../../../src/settlement/hub-abi.js';
import { type Artifact, artifactPath, difference, readArtifact } from '../../../src/settlement/hub-code.js';
import { ask, connectTo, deployHub, failure, mine, startChain, withSender } from './support.js';

const PERIOD = 600;
let dev: DevChain;
let chain: Chain;
let artifact: Artifact;
let hub: Hub;
let code: Uint8Array;

beforeAll(async () => {
  dev = await startChain();
  chain = await connectTo(dev.profile);
  artifact = await readArtifact();
  hub = await deployHub(chain, dev.accounts[0]!, PERIOD);
  code = getBytes(await chain.code(hub.domain.hub));
});
afterAll(async () => {
  chain?.close();
  await dev?.stop();
});

/** A copy of the hub's code, changed, at an address of its own. */
let place = 0;
async function planted(change: (code: Uint8Array) => void): Promise<Hub> {
  const changed = code.slice();
  change(changed);
  return at(changed);
}
async function at(bytes: Uint8Array): Promise<Hub> {
  const address = new Uint8Array(20).fill(0xb0 + place);
  await ask(dev.rpcUrl, 'anvil_setCode', hexlify(address), hexlify(bytes));
  await mine(dev.rpcUrl);
  return new Hub(chain, address, artifact);
}
beforeEach(() => {
  place++;
});

const identity = () => ({
  chainId: chain.profile.chainId,
  domainSeparator: getBytes(
    TypedDataEncoder.hashDomain({
      name: 'Piecework',
      version: '1',
      chainId: chain.profile.chainId,
      verifyingContract: hexlify(hub.domain.hub),
    }),
  ),
});
const write = (bytes: Uint8Array, start: number, value: bigint) =>
  bytes.set(getBytes(`0x${value.toString(16).padStart(64, '0')}`), start);

describe('deploying', () => {
  it('creates a hub that verifies, and tells what it cost', async () => {
    const account = dev.accounts[5]!;
    const before = await chain.balance(account.address);
    const done = await withSender(chain, account, (sender) => deploy(chain, sender, artifact, 86_400));
    expect(done.cost).toBe(before - (await chain.balance(account.address)));
    expect(done.gas * dev.profile.gasPriceFloor).toBe(done.cost);
    expect(await new Hub(chain, done.hub, artifact).verify()).toEqual({
      challengePeriod: 86_400,
      asset: undefined,
    });
  });

  it.each([0, -1, 1.5, 31_536_001, Number.NaN])('refuses a challenge period of %d', (period) => {
    expect(() => deployment(artifact, period)).toThrowError(
      expect.objectContaining({ code: 'BAD_ARGUMENT' }),
    );
  });
});

describe('verifying', () => {
  it('finds no hub where there is no code', async () => {
    const error = await failure(new Hub(chain, new Uint8Array(20).fill(1), artifact).verify());
    expect(error).toMatchObject({ code: 'HUB_MISSING', message: expect.stringContaining('0x0101') });
  });

  it('finds no hub that is not confirmed yet', async () => {
    const fresh = await deployHub(chain, dev.accounts[0]!, PERIOD);
    const deep = await connectTo({ ...dev.profile, confirmations: 3 });
    const seen = new Hub(deep, fresh.domain.hub, artifact);
    expect((await failure(seen.verify())).code).toBe('HUB_MISSING');
    await mine(dev.rpcUrl, 2);
    expect((await seen.verify()).challengePeriod).toBe(PERIOD);
    deep.close();
  });

  it.each([
    ['in its middle', 0.5],
    ['at its end', 1],
  ])('refuses another byte %s', async (_, share) => {
    const place = Math.floor((code.length - 1) * share);
    const error = await failure((await planted((bytes) => bytes.set([code[place]! ^ 1], place))).verify());
    expect(error).toMatchObject({
      code: 'HUB_MISMATCH',
      message: expect.stringContaining('its code is another'),
    });
  });

  it('refuses code of another size', async () => {
    for (const bytes of [code.slice(0, -1), getBytes(concat([code, '0x00']))]) {
      expect((await failure((await at(bytes)).verify())).message).toMatch(/its code has \d+ bytes/);
      place++;
    }
  });

  it('refuses code that shows one challenge period and applies another', async () => {
    const places = artifact.immutables.challengePeriod;
    expect(places.length).toBe(2);
    for (const { start } of places) {
      const error = await failure((await planted((bytes) => write(bytes, start, 1n))).verify());
      expect(error).toMatchObject({ code: 'HUB_MISMATCH', message: expect.stringContaining('disagrees') });
      place++;
    }
  });

  it('refuses a domain that is not its own', async () => {
    const copy = await planted(() => undefined);
    const error = await failure(copy.verify());
    expect(error).toMatchObject({ code: 'HUB_MISMATCH', message: expect.stringContaining('another domain') });
  });

  it('refuses a challenge period below what the chain needs', async () => {
    const strict = await connectTo({ ...dev.profile, challengePeriodMin: PERIOD + 1 });
    const error = await failure(new Hub(strict, hub.domain.hub, artifact).verify());
    expect(error).toMatchObject({ code: 'HUB_MISMATCH', message: expect.stringContaining('at least 601 s') });
    strict.close();
  });

  it('does not take the answers of another contract for channels', async () => {
    // Returns nothing at all for any call: STOP.
    const empty = await at(new Uint8Array([0]));
    const key = { voucherKey: new Uint8Array(20).fill(1), payee: new Uint8Array(20).fill(2) };
    expect((await failure(empty.readChannels([key]))).code).toBe('HUB_MISMATCH');
    expect((await failure(empty.credit(key.payee))).code).toBe('HUB_MISMATCH');
    // Returns one empty array for any call.
    place++;
    const short = await at(getBytes('0x602060005260406000f3'));
    expect((await failure(short.readChannels([key]))).code).toBe('HUB_MISMATCH');
  });
});

describe('the artifact', () => {
  it('speaks the ABI that this version speaks', async () => {
    const built = new Interface(
      (JSON.parse(await readFile(artifactPath, 'utf8')) as { abi: InterfaceAbi }).abi,
    );
    const lines = (face: Interface): string[] =>
      face.fragments.map((fragment) =>
        fragment.format('minimal').replaceAll('tuple', '').replace(' pure ', ' view '),
      );
    expect(abi.fragments.length).toBeGreaterThan(30);
    expect(lines(built)).toEqual(expect.arrayContaining(lines(abi)));
  });

  it('accepts the code it deploys and refuses every flipped byte of it', () => {
    expect(difference(code, artifact, identity())).toBeUndefined();
    expect(difference(new Uint8Array(), artifact, identity())).toContain('0 bytes');
    const changed = code.slice();
    for (let index = 0; index < code.length; index++) {
      changed[index]! ^= 1;
      if (difference(changed, artifact, identity()) === undefined) expect.fail(`byte ${index}`);
      changed[index]! ^= 1;
    }
  });

  it('refuses wrong constants, and takes a challenge period of the deployer’s choice', () => {
    const places = Object.entries(artifact.immutables).flatMap(([name, some]) =>
      some.map(({ start }) => ({ name, start })),
    );
    expect(places.length).toBe(4);
    for (const { name, start } of places) {
      const changed = code.slice();
      write(changed, start, 1029n);
      const reason = { challengePeriod: 'disagrees', _deployChainId: 'another chain' }[name];
      expect(difference(changed, artifact, identity()), name).toContain(reason ?? 'another domain');
    }
    const longer = code.slice();
    for (const { start } of artifact.immutables.challengePeriod) write(longer, start, 1029n);
    expect(difference(longer, artifact, identity())).toBeUndefined();
    expect(difference(code, artifact, { ...identity(), chainId: 199n })).toContain('another chain');
    expect(difference(code, artifact, { ...identity(), domainSeparator: new Uint8Array(32) })).toContain(
      'another domain',
    );
  });

  it('is missing, or is something else', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'piecework-artifact-'));
    const path = join(folder, 'Hub.json');
    expect((await failure(readArtifact(path))).code).toBe('BAD_CONFIG');
    for (const text of [
      '',
      '{}',
      '{"bytecode":"0x00","deployedBytecode":"0xzz","immutableReferences":{}}',
      '{"bytecode":"0x00","deployedBytecode":"0x00","immutableReferences":{"1":[]}}',
      '{"bytecode":"0x00","deployedBytecode":"0x00","immutableReferences":{"challengePeriod":[{"start":0,"length":32}],"_deployChainId":[{"start":0,"length":32}],"_deploySeparator":[]}}',
    ]) {
      await writeFile(path, text);
      expect((await failure(readArtifact(path))).code).toBe('BAD_CONFIG');
    }
    await rm(folder, { recursive: true });
  });
});

describe('receipts', () => {
  it('hold events of the hub only when the hub sent them', async () => {
    const account = dev.accounts[6]!;
    const call = hub.open({ voucherKey: new Uint8Array(20).fill(3), payee: account.address, deposit: 1n });
    const confirmed = await withSender(chain, account, (sender) => sender.send(call));
    expect(hub.decode(confirmed).length).toBe(1);
    const other: Address = new Uint8Array(20).fill(4);
    expect(new Hub(chain, other, artifact).decode(confirmed)).toEqual([]);
    expect(hub.decode({ ...confirmed, ok: false })).toEqual([]);
    const strange = { ...confirmed.logs[0]!, topics: [`0x${'11'.repeat(32)}`] };
    expect(hub.decode({ ...confirmed, logs: [strange, { ...strange, topics: [] }] })).toEqual([]);
  });
});
