/**
 * A tower in front of a real chain and real HTTP: what it holds and answers, what it settles and when, and what it
 * leaves alone. About 25 s.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatAddress } from '../../../src/channels/channel.js';
import { type Ground, layGround } from '../../support/ground.js';
import { openByHand, startTower, type TowerParty } from '../../support/towers.js';
import { BTT, startRelay, until } from '../settlement/support.js';

const DEPOSIT = 1_000n * BTT;
let ground: Ground;

beforeAll(async () => {
  ground = await layGround();
});
afterAll(() => ground.stop());

/** Runs `work` with a tower and closes it whatever happens. */
async function withTower(
  options: Omit<Parameters<typeof startTower>[1], 'account'> & { readonly account?: number },
  work: (party: TowerParty) => Promise<void>,
): Promise<void> {
  const party = await startTower(ground, { ...options, account: ground.accounts[options.account ?? 3]! });
  try {
    await work(party);
  } finally {
    await party.close();
  }
}

const credit = (payee: Uint8Array): Promise<bigint> => ground.hub.credit(payee);
const fresh = (byte: number): Uint8Array => new Uint8Array(20).fill(byte);

describe('pushing', () => {
  it('answers every row, and never lets a lower one replace a higher one', async () => {
    await withTower({}, async (party) => {
      const payee = fresh(1);
      const [channel, none] = await openByHand(ground, payee, [DEPOSIT, 0n]);
      const box = party.client('box');
      const high = await channel!.row(500n);
      const flipped = high.slice();
      flipped[44]! ^= 0x80;
      const outOfRange = high.slice();
      outOfRange.fill(0xff, 12, 44);
      const rows = [high, await channel!.row(200n), await none!.row(7n), outOfRange, flipped];
      const { claims, funded } = await box.pushed(payee, rows);
      expect(funded).toBe(true);
      const voucherKey = formatAddress(channel!.voucherKey);
      expect(claims.slice(0, 4)).toEqual([
        { status: 'held', voucherKey, amount: '500' },
        { status: 'held', voucherKey, amount: '500' },
        { status: 'unknown_channel', voucherKey: formatAddress(none!.voucherKey), amount: '0' },
        { status: 'bad_range', amount: '0' },
      ]);
      // The other parity recovers another key, which has no channel.
      expect(claims[4]).toMatchObject({ amount: '0' });
      expect(['unknown_channel', 'bad_signature']).toContain(claims[4]!.status);
      expect((await box.pushed(payee, [await channel!.row(200n)])).claims[0]!.amount).toBe('500');
      expect((await box.pushed(payee, [await channel!.row(501n)])).claims[0]!.amount).toBe('501');
      expect((await box.claims()).map(({ amount, state }) => [amount, state])).toEqual([['501', 'held']]);
      // A row for another payee recovers somebody else.
      const foreign = await box.pushed(fresh(2), [high]);
      expect(foreign.claims[0]).toMatchObject({ status: 'unknown_channel', amount: '0' });
    });
  });

  it('refuses another chain or hub with a code, and holds nothing of it', async () => {
    await withTower({}, async (party) => {
      const payee = fresh(3);
      const [channel] = await openByHand(ground, payee, [DEPOSIT]);
      const box = party.client('box');
      for (const other of [{ chainId: '199' }, { hub: formatAddress(fresh(9)) }]) {
        const response = await box.push(payee, [await channel!.row(5n)], other);
        expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([
          409,
          'TOWER_FOREIGN',
        ]);
      }
      expect(await box.claims()).toEqual([]);
    });
  });

  it('keeps the claims of clients apart: neither seen nor used up by another', async () => {
    await withTower({ clients: ['one', 'two'] }, async (party) => {
      const payee = fresh(4);
      const [channel] = await openByHand(ground, payee, [DEPOSIT]);
      const [one, two] = [party.client('one'), party.client('two')];
      await one.pushed(payee, [await channel!.row(900n)]);
      expect(await two.claims()).toEqual([]);
      const { claims } = await two.pushed(payee, [await channel!.row(100n)]);
      expect(claims[0]).toMatchObject({ status: 'held', amount: '100' });
      expect((await two.claims()).map(({ amount }) => amount)).toEqual(['100']);
      expect((await one.claims()).map(({ amount }) => amount)).toEqual(['900']);
    });
  });
});

describe('a close request', () => {
  it('is answered once, for exactly what the best row is worth, clamped to the deposit', async () => {
    await withTower({ clients: ['one', 'two'] }, async (party) => {
      const payee = fresh(5);
      const [first, second, open] = await openByHand(ground, payee, [DEPOSIT, DEPOSIT, DEPOSIT]);
      const [one, two] = [party.client('one'), party.client('two')];
      await one.pushed(payee, [await first!.row(300n * BTT), await second!.row(5_000n * BTT)]);
      await one.pushed(payee, [await open!.row(50n * BTT)]);
      await two.pushed(payee, [await first!.row(300n * BTT)]);
      await first!.requestClose();
      await second!.requestClose();
      await until(async () => (await credit(payee)) === 300n * BTT + DEPOSIT);
      await until(async () => (await one.claims()).filter(({ state }) => state === 'settled').length === 2);
      expect((await one.claims()).map(({ state }) => state).sort()).toEqual(['held', 'settled', 'settled']);
      expect((await two.claims()).map(({ state }) => state)).toEqual(['settled']);
      // The one that is open stays open, and nothing is settled twice.
      const [facts] = await ground.hub.readChannels([open!]);
      expect(facts!.settled).toBe(0n);
      const { clients } = await party.tower.status();
      // The two have one row in common: while one is settling it the other waits, and then has nothing to do.
      expect(clients.map(({ gasToday }) => gasToday !== '0')).toEqual([true, false]);
      expect(party.events.filter((text) => text.includes(': 0 BTT credited'))).toEqual([]);
      expect(clients.map(({ worth }) => worth)).toEqual([String(50n * BTT), '0']);
    });
  });

  it('waits for the grace, in which the payee settles itself, and then leaves it alone', async () => {
    await withTower({ settings: { towerGrace: 400 } }, async (party) => {
      const payee = fresh(6);
      const [own, late] = await openByHand(ground, payee, [DEPOSIT, DEPOSIT]);
      const box = party.client('box');
      const rows = [await own!.row(100n * BTT), await late!.row(100n * BTT)];
      await box.pushed(payee, rows);
      await own!.requestClose();
      await late!.requestClose();
      await until(async () => (await box.claims()).every(({ closeAt }) => closeAt !== 0));
      expect((await box.claims()).map(({ state }) => state)).toEqual(['held', 'held']);
      for (const call of ground.hub.settle(payee, [rows[0]!])) await ground.transact(call);
      expect(await credit(payee)).toBe(100n * BTT);
      await ground.passTime(401);
      await until(async () => (await credit(payee)) === 200n * BTT);
      await until(async () => (await box.claims()).every(({ state }) => state === 'settled'));
      const bySelf = (text: string): boolean => text.includes('settled 1 claims');
      await until(() => party.events.some(bySelf));
      expect(party.events.find(bySelf)).toContain('100 BTT credited');
    });
  });

  it('is not answered for dust, unless the operator wants it', async () => {
    const payee = fresh(7);
    await withTower({}, async (party) => {
      const [channel] = await openByHand(ground, payee, [DEPOSIT]);
      const box = party.client('box');
      const rows = [await channel!.row(1n)];
      await box.pushed(payee, rows);
      await channel!.requestClose();
      await until(async () => (await box.claims())[0]!.state === 'skipped');
      expect((await box.claims())[0]!.reason).toBe('below_cost');
      expect(await credit(payee)).toBe(0n);
      await withTower({ settings: { towerDust: true }, account: 4 }, async (other) => {
        await other.client('box').pushed(payee, rows);
        await until(async () => (await credit(payee)) === 1n);
      });
      expect((await party.tower.status()).clients[0]!.gasToday).toBe('0');
    });
  });

  it('costs a client no more gas than its day allows, and another client nothing', async () => {
    // A settlement costs about 17 BTT here, and 20 while nobody knows: the day holds one.
    await withTower({ clients: ['one', 'two'], settings: { towerGasPerDay: '30BTT' } }, async (party) => {
      const payee = fresh(8);
      const [first, second, third] = await openByHand(ground, payee, [DEPOSIT, DEPOSIT, DEPOSIT]);
      const [one, two] = [party.client('one'), party.client('two')];
      await one.pushed(payee, [await first!.row(DEPOSIT), await second!.row(DEPOSIT)]);
      await two.pushed(payee, [await third!.row(DEPOSIT)]);
      await first!.requestClose();
      await until(async () => (await credit(payee)) === DEPOSIT);
      await second!.requestClose();
      await until(async () => (await one.claims()).some(({ reason }) => reason === 'gas_budget'));
      expect(await credit(payee)).toBe(DEPOSIT);
      await third!.requestClose();
      await until(async () => (await credit(payee)) === 2n * DEPOSIT);
      for (const { gasToday } of (await party.tower.status()).clients)
        expect(BigInt(gasToday)).toBeLessThanOrEqual(30n * BTT);
    });
  });

  it('is not answered by a tower without gas, which says so, and is answered once it has some', async () => {
    const account = 9;
    const poor = ground.accounts[account]!.address;
    const before = await ground.balance(poor);
    await ground.ask('anvil_setBalance', formatAddress(poor), `0x${(5n * BTT).toString(16)}`);
    await withTower({ account }, async (party) => {
      expect(party.events.some((text) => /^warn: .*send BTT to it/.test(text))).toBe(true);
      const payee = fresh(10);
      const [channel] = await openByHand(ground, payee, [DEPOSIT]);
      const box = party.client('box');
      expect((await box.pushed(payee, [await channel!.row(DEPOSIT)])).funded).toBe(false);
      await channel!.requestClose();
      await until(async () => (await box.claims())[0]!.reason === 'no_funds');
      expect(await credit(payee)).toBe(0n);
      await ground.ask('anvil_setBalance', formatAddress(poor), `0x${before.toString(16)}`);
      await party.close({ keep: true });
      const again = await startTower(ground, { account: ground.accounts[account]!, home: party.home });
      try {
        await until(async () => (await credit(payee)) === DEPOSIT);
        expect((await again.tower.status()).funded).toBe(true);
      } finally {
        await again.close();
      }
    });
  });
});

describe('an outage', () => {
  it('of 80 % of the challenge period is waited out, and the request settled before its deadline', async () => {
    const relay = await startRelay(ground.rpcUrl);
    try {
      await withTower({ settings: { rpc: relay.url } }, async (party) => {
        const payee = fresh(12);
        const [known, unknown] = await openByHand(ground, payee, [DEPOSIT, DEPOSIT]);
        const box = party.client('box');
        await box.pushed(payee, [await known!.row(1n)]);
        relay.fault = () => ({ kind: 'drop' });
        await until(() => party.events.some((text) => text.includes('the chain does not answer')));
        await known!.requestClose();
        // What is known is held meanwhile; what would have to be looked up is not.
        const { claims } = await box.pushed(payee, [await known!.row(70n * BTT), await unknown!.row(5n)]);
        expect(claims.map(({ status }) => status)).toEqual(['held', 'unchecked']);
        await ground.passTime(2_880);
        expect(await credit(payee)).toBe(0n);
        relay.fault = () => undefined;
        await until(async () => (await credit(payee)) === 70n * BTT);
        const [facts] = await ground.hub.readChannels([known!]);
        const block = (await ground.ask('eth_getBlockByNumber', 'latest', false)) as { timestamp: string };
        expect(facts!.closeAt).toBeGreaterThan(Number(block.timestamp));
        const later = await box.pushed(payee, [await unknown!.row(5n)]);
        expect(later.claims[0]!.status).toBe('held');
      });
    } finally {
      await relay.stop();
    }
  });

  it('in the middle of sending leads to one settlement, charged once', async () => {
    const relay = await startRelay(ground.rpcUrl);
    try {
      await withTower({ settings: { rpc: relay.url } }, async (party) => {
        const payee = fresh(13);
        const [channel] = await openByHand(ground, payee, [DEPOSIT]);
        const box = party.client('box');
        await box.pushed(payee, [await channel!.row(70n * BTT)]);
        let dark = false;
        relay.fault = (method) => {
          if (method === 'eth_sendRawTransaction' && !dark) {
            dark = true;
            return { kind: 'lose_answer' };
          }
          return dark && relay.asked.length % 3 > 0 ? { kind: 'drop' } : undefined;
        };
        await channel!.requestClose();
        await until(async () => (await credit(payee)) === 70n * BTT);
        relay.fault = () => undefined;
        // The chain knows of it a little before the tower's own books do.
        await until(async () => {
          const [claim] = await box.claims();
          return claim!.state === 'settled' && typeof claim!.transaction === 'string';
        });
        const sender = formatAddress(ground.accounts[3]!.address);
        const { gasToday } = (await party.tower.status()).clients[0]!;
        const { transaction } = (await box.claims())[0]!;
        const receipt = (await ground.ask('eth_getTransactionReceipt', transaction)) as Record<
          string,
          string
        >;
        expect(receipt['from']).toBe(sender);
        expect(BigInt(gasToday)).toBe(BigInt(receipt['gasUsed']!) * BigInt(receipt['effectiveGasPrice']!));
      });
    } finally {
      await relay.stop();
    }
  });
});

describe('several settlers', () => {
  it('two towers and a third hand at once: the payee is credited once, the others only lose gas', async () => {
    const payee = fresh(11);
    const channels = await openByHand(ground, payee, [DEPOSIT, DEPOSIT, DEPOSIT]);
    const rows = await Promise.all(channels.map((channel) => channel.row(700n * BTT)));
    const accounts = [5, 6];
    const before = await Promise.all(accounts.map((at) => ground.balance(ground.accounts[at]!.address)));
    const settings = { towerGrace: 400 };
    await withTower({ account: accounts[0]!, settings }, async (one) => {
      await withTower({ account: accounts[1]!, settings }, async (two) => {
        const parties = [one, two];
        for (const party of parties) await party.client('box').pushed(payee, rows);
        for (const channel of channels) await channel.requestClose();
        // Nothing of what they send is mined until all three have sent.
        await ground.ask('evm_setAutomine', false);
        await ground.ask('evm_setIntervalMining', 0);
        await ground.passTime(401);
        const box = Promise.all(ground.hub.settle(payee, rows).map((call) => ground.transact(call)));
        await until(async () => {
          const pool = (await ground.ask('txpool_status')) as { pending: string };
          return Number(pool.pending) >= 3;
        });
        await ground.ask('anvil_mine', '0x1');
        await ground.ask('evm_setAutomine', true);
        await ground.ask('anvil_mine', '0x1');
        await box;
        for (const party of parties)
          await until(async () => (await party.client('box').claims()).every((c) => c.state === 'settled'));
        const inVain = (text: string): boolean => text.includes(': 0 BTT credited');
        await until(() => one.events.concat(two.events).some(inVain));
        expect(await credit(payee)).toBe(3n * 700n * BTT);
        for (const [index, at] of accounts.entries()) {
          const spent = before[index]! - (await ground.balance(ground.accounts[at]!.address));
          expect(spent).toBeGreaterThan(0n);
          expect(spent).toBeLessThan(100n * BTT);
        }
      });
    });
  });

  it('one that settled after the confirmed block is left alone, and no gas is spent on it', async () => {
    // From here on blocks come only when they are asked for.
    await ground.ask('evm_setIntervalMining', 0);
    await ground.ask('evm_setAutomine', true);
    await withTower({ settings: { towerGrace: 400, confirmations: 4 } }, async (party) => {
      const payee = fresh(15);
      const [channel] = await openByHand(ground, payee, [DEPOSIT]);
      await ground.ask('anvil_mine', '0x4');
      const row = await channel!.row(100n * BTT);
      await until(async () => (await party.client('box').pushed(payee, [row])).claims[0]!.status === 'held');
      await channel!.requestClose();
      // The grace is over in a block after which the payee settles, and only that block is deep enough to count.
      await ground.passTime(401);
      for (const call of ground.hub.settle(payee, [row])) await ground.transact(call);
      await ground.ask('anvil_mine', '0x2');
      const head = BigInt((await ground.ask('eth_blockNumber')) as string);
      await until(async () => BigInt((await party.tower.status()).block) === head);
      await new Promise((resolve) => setTimeout(resolve, 500));
      await ground.ask('anvil_mine', '0x4');
      await until(async () => (await party.client('box').claims())[0]!.state === 'settled');
      expect((await party.tower.status()).clients[0]!.gasToday).toBe('0');
    });
  });
});
