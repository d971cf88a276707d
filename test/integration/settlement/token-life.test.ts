/** The hub that escrows an ERC-20: the same life as the other form's, on a Berlin chain with a token. */
import { readFile } from 'node:fs/promises';
import { hexlify, Interface, type InterfaceAbi, keccak256 } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Address, formatAddress, TOMBSTONE } from '../../../src/channels/channel.js';
import { load } from '../../../src/config.js';
import { createEngine } from '../../../src/engine.js';
import type { Chain } from '../../../src/settlement/chain.js';
import { deploy, predicted } from '../../../src/settlement/deploy.js';
import type { DevChain } from '../../../src/settlement/dev-chain.js';
import { Hub } from '../../../src/settlement/hub.js';
import { abi, tokenAbi } from '../../../src/settlement/hub-abi.js';
import { artifactFor, tokenArtifactPath } from '../../../src/settlement/hub-code.js';
import type { Profile } from '../../../src/settlement/profile.js';
import type { Sender } from '../../../src/settlement/sender.js';
import { type Call, pullingGas } from '../../../src/settlement/transaction.js';
import { temporary } from '../../support/engines.js';
import { deployToken, type Token } from '../../support/token.js';
import {
  BTT,
  connectTo,
  deployHub,
  failure,
  keyOf,
  passTime,
  row,
  startChain,
  voucherWallet,
  withSender,
} from './support.js';

const PERIOD = 600;
const [payer, payee, other] = [1, 2, 3];
let dev: DevChain;
let profile: Profile;
let chain: Chain;
let token: Token;
let hub: Hub;
const account = (index: number) => dev.accounts[index]!;

beforeAll(async () => {
  dev = await startChain();
  token = await deployToken(dev.rpcUrl, account(0).address, dev.profile.gasPriceFloor);
  profile = { ...dev.profile, asset: token.address };
  chain = await connectTo(profile);
  const told: Address[] = [];
  await withSender(chain, account(0), async (sender) => {
    const artifact = await artifactFor(profile.asset);
    const nonce = await chain.nonce(account(0).address, 'pending');
    const made = await deploy(chain, sender, artifact, PERIOD, {
      onPredicted: (address) => told.push(address),
    });
    expect(told.map(formatAddress)).toEqual([formatAddress(made.hub)]);
    expect(formatAddress(predicted(account(0).address, nonce))).toBe(formatAddress(made.hub));
    expect(made.terms).toEqual({ challengePeriod: PERIOD, asset: token.address });
    expect(made.codeHash).toBe(keccak256(await chain.code(made.hub)));
    hub = new Hub(chain, made.hub, artifact);
  });
  await token.mint(account(payer).address, 1_000n * BTT);
});
afterAll(async () => {
  chain?.close();
  await dev?.stop();
});

/** Sends the allowance first where one is needed, as the engine does. */
async function pay(sender: Sender, call: Call) {
  const approval = await hub.approval(sender.account.address, call);
  if (approval) await sender.send(approval);
  const confirmed = await sender.send(call);
  if (call.pulls !== undefined) expect(confirmed.gasUsed).toBeLessThan(pullingGas(call));
  return { approval, confirmed, events: hub.decode(confirmed) };
}

describe('the token form', () => {
  it('is verified with its asset, and not taken for another', async () => {
    expect(await hub.verify()).toEqual({ challengePeriod: PERIOD, asset: token.address });
    const elsewhere = await connectTo({ ...profile, asset: account(5).address });
    const wrong = new Hub(elsewhere, hub.domain.hub, await artifactFor(profile.asset));
    expect(await failure(wrong.verify())).toMatchObject({
      code: 'HUB_MISMATCH',
      message: expect.stringContaining('another asset'),
    });
    elsewhere.close();
    const native = await connectTo(dev.profile);
    const asNative = new Hub(native, hub.domain.hub, await artifactFor(undefined));
    expect((await failure(asNative.verify())).code).toBe('HUB_MISMATCH');
    const plain = await deployHub(native, account(0), PERIOD);
    const asToken = new Hub(chain, plain.domain.hub, await artifactFor(profile.asset));
    expect((await failure(asToken.verify())).code).toBe('HUB_MISMATCH');
    native.close();
  });

  it('is the one whose code hash the profile pins, or refused', async () => {
    const codeHash = keccak256(await chain.code(hub.domain.hub));
    for (const [hubCodeHash, passes] of [
      [codeHash, true],
      [`0x${'ab'.repeat(32)}`, false],
    ] as const) {
      const pinned = await connectTo({ ...profile, hub: hub.domain.hub, hubCodeHash });
      const seen = new Hub(pinned, hub.domain.hub, await artifactFor(profile.asset));
      if (passes) await seen.verify();
      else expect((await failure(seen.verify())).message).toContain('the hash of its code');
      pinned.close();
    }
  });

  it('speaks the ABI that this version speaks', async () => {
    const built = JSON.parse(await readFile(tokenArtifactPath, 'utf8')) as { abi: InterfaceAbi };
    const lines = (face: Interface): string[] =>
      face.fragments.map((fragment) =>
        fragment.format('minimal').replaceAll('tuple', '').replace(' pure ', ' view '),
      );
    expect(lines(new Interface(built.abi))).toEqual(expect.arrayContaining(lines(tokenAbi)));
    expect(tokenAbi.getFunction('open')!.selector).not.toBe(abi.getFunction('open')!.selector);
  });

  it('lives a life: allowed, opened, topped up, settled, closed, withdrawn', async () => {
    const wallet = voucherWallet(1);
    const key = keyOf(wallet, account(payee));
    const owner = account(payer).address;
    await withSender(chain, account(payer), async (sender) => {
      const call = hub.open({ ...key, deposit: 100n * BTT });
      expect([call.value, call.pulls]).toEqual([0n, 100n * BTT]);
      // Without an allowance the chain refuses it before anything is spent.
      expect((await failure(sender.send(call))).code).toBe('CHAIN_REJECTED');
      const opened = await pay(sender, call);
      expect(opened.approval!.to).toEqual(token.address);
      expect(opened.events).toEqual([{ type: 'opened', owner, ...key, deposit: 100n * BTT }]);
      // The allowance was for that amount and is used up.
      expect(await token.allowance(owner, hub.domain.hub)).toBe(0n);
      const raised = await pay(sender, hub.topUp(key, 20n * BTT, 100n * BTT));
      expect(raised.events).toEqual([{ type: 'topped_up', ...key, deposit: 120n * BTT }]);
    });
    expect(await token.balance(hub.domain.hub)).toBe(120n * BTT);
    expect((await hub.readChannels([key]))[0]).toMatchObject({ deposit: 120n * BTT, owner });

    const head = await row(wallet, hub.domain, key.payee, 30n * BTT);
    const final = await row(wallet, hub.domain, key.payee, 50n * BTT);
    await withSender(chain, account(other), async (sender) => {
      const { events } = await pay(sender, hub.settle(key.payee, [head])[0]!);
      expect(events).toEqual([{ type: 'settled', payee: key.payee, amount: 30n * BTT }]);
    });
    await withSender(chain, account(payee), async (sender) => {
      const [close] = hub.cooperativeClose(key.payee, [{ voucherKey: key.voucherKey, row: final }]);
      const { events } = await pay(sender, close!);
      expect(events.at(-1)).toEqual({ type: 'closed', ...key, settled: 50n * BTT, returned: 70n * BTT });
      await pay(sender, hub.withdrawCredit(key.payee, key.payee));
    });
    expect(await token.balance(key.payee)).toBe(50n * BTT);
    await withSender(chain, account(payer), (sender) => pay(sender, hub.withdrawCredit(owner, owner)));
    expect(await token.balance(owner)).toBe(950n * BTT);
    expect((await hub.readChannels([key]))[0]!.closeAt).toBe(TOMBSTONE);
  });

  it('opens many with one allowance, and gives a deposit back after the challenge period', async () => {
    const wallets = [20, 21, 22].map(voucherWallet);
    const openings = wallets.map((wallet) => ({ ...keyOf(wallet, account(payee)), deposit: 5n * BTT }));
    await withSender(chain, account(payer), async (sender) => {
      const [call] = hub.openMany(openings);
      expect(call!.pulls).toBe(15n * BTT);
      expect((await pay(sender, call!)).events.length).toBe(3);
      await pay(sender, hub.requestClose(openings[0]!));
      await passTime(dev.rpcUrl, PERIOD);
      await pay(sender, hub.withdraw(openings[0]!));
    });
    expect(await hub.credit(account(payer).address)).toBe(5n * BTT);
  });

  it('asks for no allowance that is there, and refuses what the account does not hold', async () => {
    const key = keyOf(voucherWallet(30), account(payee));
    const owner = account(payer).address;
    await withSender(chain, account(payer), async (sender) => {
      const call = hub.open({ ...key, deposit: BTT });
      await sender.send((await hub.approval(owner, call))!);
      expect(await hub.approval(owner, call)).toBeUndefined();
      expect(await hub.approval(owner, hub.requestClose(key))).toBeUndefined();
    });
    const dear = hub.open({ ...key, deposit: 10_000n * BTT });
    expect((await failure(hub.approval(owner, dear))).code).toBe('INSUFFICIENT_FUNDS');
  });
});

describe('an engine on the token form', () => {
  it('allows, opens, tops up and closes by itself, within its gas ceiling', async () => {
    const folder = temporary();
    const config = load(
      {
        ...{ dataDir: folder.path, chain: 'local', rpc: dev.rpcUrl, host: '127.0.0.1', port: 0, threads: 1 },
        ...{ hub: formatAddress(hub.domain.hub), asset: formatAddress(token.address) },
      },
      {},
    );
    await token.mint(account(6).address, 50n * BTT);
    const engine = await createEngine({ config, account: account(6), buy: true, executor: 'inline' });
    try {
      const to = hexlify(account(payee).address);
      const cheap = engine.open({ payee: to, deposit: String(20n * BTT), gasMax: '1' });
      expect((await failure(cheap)).code).toBe('GAS_CEILING');
      // Two at once: each allowance is used before the next is given.
      const opened = await Promise.all([
        engine.open({ payee: to, deposit: String(20n * BTT) }),
        engine.open({ payee: hexlify(account(other).address), deposit: String(10n * BTT) }),
      ]);
      expect(opened.map(({ deposit }) => deposit)).toEqual([String(20n * BTT), String(10n * BTT)]);
      const [{ voucherKey }] = opened as [{ voucherKey: string }, unknown];
      const raised = await engine.topUp({ voucherKey, amount: String(5n * BTT) });
      expect(raised.deposit).toBe(String(25n * BTT));
      const tooMuch = engine.topUp({ voucherKey, amount: String(500n * BTT) });
      expect((await failure(tooMuch)).code).toBe('INSUFFICIENT_FUNDS');
      expect((await engine.closeChannel({ voucherKey })).phase).toBe('closing');
      expect(await token.balance(account(6).address)).toBe(15n * BTT);
    } finally {
      await engine.close();
      folder.remove();
    }
  });
});
