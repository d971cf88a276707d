import { hexlify } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TOMBSTONE } from '../../../src/channels/channel.js';
import type { Chain } from '../../../src/settlement/chain.js';
import type { DevChain } from '../../../src/settlement/dev-chain.js';
import type { Hub } from '../../../src/settlement/hub.js';
import { gasOf } from '../../../src/settlement/planner.js';
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
let dev: DevChain;
let chain: Chain;
let hub: Hub;

beforeAll(async () => {
  dev = await startChain();
  chain = await connectTo(dev.profile);
  hub = await deployHub(chain, dev.accounts[0]!, PERIOD);
});
afterAll(async () => {
  chain?.close();
  await dev?.stop();
});

const [payer, payee, stranger] = [1, 2, 3];
const account = (index: number) => dev.accounts[index]!;

describe('the life of a channel', () => {
  it('verifies the hub and reads its terms', async () => {
    expect(await hub.verify()).toEqual({ challengePeriod: PERIOD, asset: undefined });
  });

  it('opens, tops up, settles, is closed by its payee, and both take their money', async () => {
    const wallet = voucherWallet(1);
    const key = keyOf(wallet, account(payee));
    const facts = async () => (await hub.readChannels([key]))[0]!;
    expect(await facts()).toMatchObject({ deposit: 0n, settled: 0n, closeAt: 0, owner: new Uint8Array(20) });

    await withSender(chain, account(payer), async (sender) => {
      const opened = await sender.send(hub.open({ ...key, deposit: 100n * BTT }));
      expect(hub.decode(opened)).toEqual([
        { type: 'opened', owner: account(payer).address, ...key, deposit: 100n * BTT },
      ]);
      expect(await facts()).toEqual({
        ...key,
        owner: account(payer).address,
        deposit: 100n * BTT,
        settled: 0n,
        closeAt: 0,
        block: opened.block,
      });
      const raised = await sender.send(hub.topUp(key, 20n * BTT, 100n * BTT));
      expect(hub.decode(raised)).toEqual([{ type: 'topped_up', ...key, deposit: 120n * BTT }]);
      expect((await facts()).deposit).toBe(120n * BTT);
    });

    const head = await row(wallet, hub.domain, key.payee, 30n * BTT);
    await withSender(chain, account(stranger), async (sender) => {
      const settled = await sender.send(hub.settle(key.payee, [head])[0]!);
      expect(hub.decode(settled)).toEqual([{ type: 'settled', payee: key.payee, amount: 30n * BTT }]);
      const again = await sender.send(hub.settle(key.payee, [head])[0]!);
      expect(hub.decode(again)).toEqual([]);
    });
    expect(await hub.credit(key.payee)).toBe(30n * BTT);
    expect((await facts()).settled).toBe(30n * BTT);

    const final = await row(wallet, hub.domain, key.payee, 50n * BTT);
    await withSender(chain, account(payee), async (sender) => {
      const calls = hub.cooperativeClose(key.payee, [{ voucherKey: key.voucherKey, row: final }]);
      expect(calls.length).toBe(1);
      const closed = await sender.send(calls[0]!);
      expect(hub.decode(closed)).toEqual([
        { type: 'settled', payee: key.payee, amount: 20n * BTT },
        { type: 'closed', ...key, settled: 50n * BTT, returned: 70n * BTT },
      ]);
      expect((await facts()).closeAt).toBe(TOMBSTONE);

      const before = await chain.balance(key.payee);
      const taken = await sender.send(hub.withdrawCredit(key.payee, key.payee));
      expect(hub.decode(taken)).toEqual([
        { type: 'credit_withdrawn', owner: key.payee, to: key.payee, amount: 50n * BTT },
      ]);
      expect(await chain.balance(key.payee)).toBe(before + 50n * BTT - taken.cost);
      expect(taken.cost).toBe(taken.gasUsed * taken.gasPrice);
    });
    expect(await hub.credit(account(payer).address)).toBe(70n * BTT);
    expect(await hub.credit(key.payee)).toBe(0n);
  });

  it('is closed by its payer alone after the challenge period, not before', async () => {
    const wallet = voucherWallet(2);
    const key = keyOf(wallet, account(payee));
    await withSender(
      chain,
      account(payer),
      async (sender) => {
        await sender.send(hub.open({ ...key, deposit: 10n * BTT }));
        const early = await failure(sender.send(hub.withdraw(key)));
        expect(early).toMatchObject({ code: 'CHAIN_REJECTED', message: 'reverted: CloseNotRequested' });
        const asked = await sender.send(hub.requestClose(key));
        const { timestamp } = (await chain.block(asked.block))!;
        const closeAt = Number(timestamp) + PERIOD;
        expect(hub.decode(asked)).toEqual([{ type: 'close_requested', ...key, closeAt }]);
        expect((await hub.readChannels([key]))[0]!.closeAt).toBe(closeAt);
        expect((await failure(sender.send(hub.withdraw(key)))).message).toBe('reverted: CloseNotDue');
        await passTime(dev.rpcUrl, PERIOD);
        const done = await sender.send(hub.withdraw(key));
        expect(hub.decode(done)).toEqual([{ type: 'closed', ...key, settled: 0n, returned: 10n * BTT }]);
      },
      undefined,
      { explain: hub.explain },
    );
  });

  it('opens many at once, and credits the deposit of one that exists', async () => {
    const wallets = [10, 11, 12].map(voucherWallet);
    const openings = wallets.map((wallet) => ({ ...keyOf(wallet, account(payee)), deposit: 5n * BTT }));
    const owner = account(4).address;
    await withSender(chain, account(4), async (sender) => {
      await sender.send(hub.open(openings[1]!));
      const [call, ...more] = hub.openMany(openings);
      expect([call!.value, more.length]).toEqual([15n * BTT, 0]);
      const events = hub.decode(await sender.send(call!));
      expect(events.map((event) => event.type === 'opened' && hexlify(event.voucherKey))).toEqual(
        [wallets[0]!, wallets[2]!].map((wallet) => wallet.address.toLowerCase()),
      );
    });
    expect(await hub.credit(owner)).toBe(5n * BTT);
  });

  it('reads channels of several payees in the order asked, all at one block', async () => {
    const keys = [
      keyOf(voucherWallet(10), account(payee)),
      keyOf(voucherWallet(99), account(stranger)),
      keyOf(voucherWallet(2), account(payee)),
      keyOf(voucherWallet(10), account(payee)),
    ];
    const facts = await hub.readChannels(keys);
    expect(facts.map((fact) => fact.deposit)).toEqual([5n * BTT, 0n, 10n * BTT, 5n * BTT]);
    expect(facts.map(({ voucherKey, payee: to }) => ({ voucherKey, payee: to }))).toEqual(keys);
    expect(new Set(facts.map((fact) => fact.block)).size).toBe(1);
    expect(await hub.readChannels([])).toEqual([]);
  });

  it('settles many rows for about the gas that the planner expects', async () => {
    const count = 120;
    const to = account(5);
    const wallets = Array.from({ length: count }, (_, index) => voucherWallet(1_000 + index));
    const openings = wallets.map((wallet) => ({ ...keyOf(wallet, to), deposit: BTT }));
    await withSender(chain, account(payer), async (sender) => {
      const calls = hub.openMany(openings);
      expect(calls.map((call) => call.value)).toEqual([100n * BTT, 20n * BTT]);
      for (const call of calls) await sender.send(call);
    });
    const rows = await Promise.all(wallets.map((wallet) => row(wallet, hub.domain, to.address, BTT / 2n)));
    const garbage = new Uint8Array(76).fill(0xab);
    await withSender(chain, account(stranger), async (sender) => {
      const settled = await sender.send(hub.settle(to.address, rows)[0]!);
      expect(hub.decode(settled)).toEqual([
        { type: 'settled', payee: to.address, amount: (BTT / 2n) * BigInt(count) },
      ]);
      const expected = gasOf(count);
      expect(settled.gasUsed).toBeLessThanOrEqual(expected);
      expect(settled.gasUsed * 100n).toBeGreaterThan(expected * 85n);
      const nothing = await sender.send(hub.settle(to.address, [garbage])[0]!);
      expect(hub.decode(nothing)).toEqual([]);
    });
  });

  it('splits what does not fit into one transaction', () => {
    const rows = Array.from({ length: 2_001 }, () => new Uint8Array(76));
    expect(hub.settle(account(payee).address, rows).map((call) => call.purpose)).toEqual([
      'settle 1000 vouchers',
      'settle 1000 vouchers',
      'settle 1 voucher',
    ]);
    const closings = Array.from({ length: 201 }, (_, index) => ({
      voucherKey: new Uint8Array(20).fill(1 + (index % 250)),
      row: index % 2 === 0 ? new Uint8Array(76) : undefined,
    }));
    expect(hub.cooperativeClose(account(payee).address, closings).length).toBe(2);
    expect(() => hub.settle(account(payee).address, [new Uint8Array(75)])).toThrow(/75 bytes/);
  });

  it('names one intent for one effect and another for another', () => {
    const [a, b] = [1, 2].map((number) => keyOf(voucherWallet(number), account(payee)));
    const intents = [
      hub.open({ ...a!, deposit: 1n }),
      hub.open({ ...b!, deposit: 1n }),
      hub.topUp(a!, 1n, 1n),
      hub.topUp(a!, 1n, 2n),
      hub.requestClose(a!),
      hub.withdraw(a!),
      hub.withdrawCredit(a!.payee, a!.payee),
      hub.withdrawCredit(a!.voucherKey, a!.payee),
    ].map((call) => call.intent);
    expect(new Set(intents).size).toBe(intents.length);
    // One rise from a given deposit at a time, by whatever amount: the first may still land.
    expect(hub.topUp(a!, 2n, 1n).intent).toBe(hub.topUp(a!, 1n, 1n).intent);
    expect(hub.open({ ...a!, deposit: 2n }).intent).toBe(hub.open({ ...a!, deposit: 1n }).intent);
  });
});
