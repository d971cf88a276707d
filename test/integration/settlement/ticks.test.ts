/** Ticks redeemed at the deployed hub on a chain of Berlin rules, signed by ethers from the page's own words. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as Tick from '../../../src/channels/tick.js';
import type { Chain } from '../../../src/settlement/chain.js';
import type { DevChain } from '../../../src/settlement/dev-chain.js';
import type { Hub } from '../../../src/settlement/hub.js';
import { tickGasOf } from '../../../src/settlement/planner.js';
import type { Sender } from '../../../src/settlement/sender.js';
import {
  BTT,
  connectTo,
  deployHub,
  failure,
  keyOf,
  row,
  startChain,
  tickRow,
  voucherWallet,
  withSender,
} from './support.js';

const CHAIN = { amount: 10n * BTT, unit: BTT / 100n, length: 200 };
const [payer, payee, stranger] = [1, 2, 3];
let dev: DevChain;
let chain: Chain;
let hub: Hub;

beforeAll(async () => {
  dev = await startChain();
  chain = await connectTo(dev.profile);
  hub = await deployHub(chain, dev.accounts[0]!, 600);
});
afterAll(async () => {
  chain?.close();
  await dev?.stop();
});

const account = (index: number) => dev.accounts[index]!;
const key = (number: number) => keyOf(voucherWallet(number), account(payee));
const signed = (number: number, count: number, voucher = CHAIN) =>
  tickRow(voucherWallet(number), hub.domain, account(payee).address, voucher, count);
const settledOf = async (number: number) => (await hub.readChannels([key(number)]))[0]!.settled;

async function open(numbers: readonly number[], deposit: bigint): Promise<void> {
  await withSender(chain, account(payer), async (sender) => {
    const openings = numbers.map((number) => ({ ...key(number), deposit }));
    for (const call of hub.openMany(openings)) await sender.send(call);
  });
}

/** Settles tick rows as a stranger; what the one transaction did, and its gas. */
async function redeem(...rows: Uint8Array[]) {
  return withSender(chain, account(stranger), async (sender) => {
    const calls = hub.settleTicks(account(payee).address, rows);
    expect(calls.length).toBe(1);
    const receipt = await sender.send(calls[0]!);
    return { events: hub.decode(receipt), gas: receipt.gasUsed };
  });
}

describe('ticks at the hub', () => {
  it('capture what they claim above what is settled, to the unit, beside plain rows', async () => {
    await open([1], 100n * BTT);
    const gained = (amount: bigint) => [{ type: 'settled', payee: account(payee).address, amount }];
    const tick = await signed(1, 50);
    expect(Tick.claimOf(tick)).toBe(CHAIN.amount + 50n * CHAIN.unit);
    expect((await redeem(tick)).events).toEqual(gained(10_500n * (BTT / 1_000n)));

    // Stale, foreign, out of range, and of a channel that there is not.
    const foreign = await tickRow(voucherWallet(1), hub.domain, account(stranger).address, CHAIN, 60);
    const long = await signed(1, 60, { ...CHAIN, length: 1_025 });
    const other = await signed(2, 60);
    const worthless = [tick, await signed(1, 49), await signed(1, 0), foreign, long, other];
    expect((await redeem(...worthless)).events).toEqual([]);
    expect(await settledOf(1)).toBe(10_500n * (BTT / 1_000n));

    // A plain voucher above, then a tick of a chain above that: each gains exactly the difference.
    const plain = await row(voucherWallet(1), hub.domain, account(payee).address, 11n * BTT);
    await withSender(chain, account(stranger), async (sender) => {
      const settled = await sender.send(hub.settle(account(payee).address, [plain])[0]!);
      expect(hub.decode(settled)).toEqual(gained(BTT / 2n));
    });
    expect((await redeem(await signed(1, 100))).events).toEqual([]);
    const better = await signed(1, 150);
    expect((await redeem(...worthless, better, tick)).events).toEqual(gained(BTT / 2n));
    const next = await signed(1, 7, { ...CHAIN, amount: 11_500n * (BTT / 1_000n) });
    expect((await redeem(next)).events).toEqual(gained(7n * CHAIN.unit));
    expect(await settledOf(1)).toBe(11_570n * (BTT / 1_000n));
    expect(await hub.credit(account(payee).address)).toBe(11_570n * (BTT / 1_000n));
  });

  it('cost about the gas that the planner expects, however long their chains', async () => {
    const numbers = Array.from({ length: 160 }, (_, index) => 100 + index);
    await open(numbers, 100n * BTT);
    // Amounts as they come, without the zero bytes of round ones; 16 KiB at 3 BTT a GiB.
    const voucher = { amount: 10_123_456_789_012_345_678n, unit: 45_776_367_187_501n, length: 200 };
    const counts = [1, 7, 64, 199];
    for (const [index, count] of counts.entries()) {
      const some = numbers.slice(40 * index, 40 * index + 40);
      const rows = await Promise.all(some.map((number) => signed(number, count, voucher)));
      const { gas } = await redeem(...rows);
      const expected = tickGasOf(rows.map(Tick.countOf));
      expect(gas, `count ${count}`).toBeLessThanOrEqual(expected);
      expect(gas * 100n, `count ${count}`).toBeGreaterThan(expected * 85n);
      expect(await settledOf(some.at(-1)!)).toBe(Tick.claimOf(rows.at(-1)!));
    }
    const [longest] = numbers;
    const rest = { amount: 50n * BTT, unit: 1n, length: 1_024 };
    const { gas } = await redeem(await signed(longest!, 1_024, rest));
    expect(gas).toBeLessThanOrEqual(tickGasOf([1_024]));
    expect(gas * 100n).toBeGreaterThan(tickGasOf([1_024]) * 85n);
  });

  it('are refused with a reason when they are no rows', async () => {
    const [plain] = hub.settle(account(payee).address, [new Uint8Array(76)]);
    const [ticks] = hub.settleTicks(account(payee).address, [await signed(1, 1)]);
    const data = `${ticks!.data.slice(0, 10)}${plain!.data.slice(10)}`;
    const task = (sender: Sender) => sender.send({ ...ticks!, data, intent: 'half a row' });
    const sent = withSender(chain, account(stranger), task, undefined, { explain: hub.explain });
    expect((await failure(sent)).message).toBe('reverted: BadTickRows');
  });
});
