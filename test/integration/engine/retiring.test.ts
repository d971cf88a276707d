/**
 * A payee that closes channels in the middle of a download, where the close does not end at once: nothing is
 * accepted that the close would take with it, as long as its transaction may still land.
 */
import { toQuantity } from 'ethers';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { formatAddress } from '../../../src/channels/channel.js';
import type { Account } from '../../../src/settlement/account.js';
import {
  type PayeeParty,
  type PayerParty,
  PIECE_BYTES,
  startPayee,
  startPayer,
} from '../../support/engines.js';
import { type Ground, layGround } from '../../support/ground.js';

vi.mock('../../../src/limits.js', async (original) => ({
  ...(await original<object>()),
  transactionWaitMs: 1_500,
}));

const PIECES = 256;
const SETTINGS = { price: '50000BTT/GiB', exposure: '1000BTT' };
const MONEY = { budget: String(10n ** 22n), priceMiBMax: String(10n ** 21n), gasMax: String(10n ** 21n) };
let ground: Ground;

beforeAll(async () => {
  ground = await layGround();
});
afterAll(() => ground.stop());

async function until(done: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 30_000;
  while (!(await done())) {
    if (performance.now() > endMs) throw new Error('it did not happen in time');
    await pause(50);
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const codeOf = (thrown: unknown): string => (thrown as { code: string }).code;

async function mining(on: boolean): Promise<void> {
  await ground.ask('evm_setAutomine', on);
  if (on) await ground.ask('anvil_mine', '0x2');
  else await ground.ask('evm_setIntervalMining', 0);
}

/** A download in its middle, and a chain on which nothing lands any more. */
async function midway(
  work: (
    payee: PayeeParty,
    payer: PayerParty,
    fetching: { stop(): void; readonly end: Promise<unknown> },
  ) => Promise<void>,
) {
  const [account, buyer] = [ground.accounts[1]!, ground.accounts[2]!];
  const payee = await startPayee(ground, { account, settings: SETTINGS, bytes: PIECES * PIECE_BYTES });
  const payer = await startPayer(ground, { account: buyer, settings: { maxPrice: SETTINGS.price } });
  const stop = new AbortController();
  try {
    const request = { torrent: payee.torrent, peers: [`127.0.0.1:${payee.port}`], ...MONEY };
    const end = payer.fetch(request, stop.signal).catch(codeOf);
    await until(async () => ((await payee.engine.channels())[0]?.pieces ?? 0) > 20);
    await mining(false);
    await work(payee, payer, { stop: () => stop.abort(), end });
  } finally {
    await mining(true);
    stop.abort();
    await Promise.all([payer.close(), payee.close()]);
  }
}

describe('a close whose transaction is not mined in time', () => {
  it('keeps its channel retired until it lands, and takes nothing with it', () =>
    midway(async (payee) => {
      expect(await payee.engine.settle({ close: true }).catch(codeOf)).toBe('TX_TIMEOUT');
      const before = await payee.channel();
      expect(before.pieces).toBeLessThan(PIECES);
      await pause(1_000);
      expect(await payee.channel()).toMatchObject({ pieces: before.pieces, authorized: before.authorized });
      await mining(true);
      await until(async () => (await payee.engine.settlements())[0]?.state === 'final');
      await payee.engine.settle({ dryRun: true });
      const { phase, lost, settled, pieces } = await payee.channel();
      expect([phase, lost, settled, pieces]).toEqual(['closed', '0', before.authorized, before.pieces]);
    }));

  it('keeps it retired over a restart', () =>
    midway(async (payee, payer, first) => {
      first.stop();
      await first.end;
      const closing = payee.engine.settle({ close: true }).catch(codeOf);
      await until(async () => (await payee.engine.settlements()).length > 0);
      const { authorized } = await payee.channel();
      await payee.engine.close();
      expect(await closing).toBe('INTERRUPTED');
      const again = await startPayee(ground, {
        account: ground.accounts[1]!,
        settings: SETTINGS,
        home: payee.home,
      });
      try {
        const request = { torrent: payee.torrent, peers: [`127.0.0.1:${again.port}`], ...MONEY };
        const stop = new AbortController();
        const fetching = payer.fetch(request, stop.signal).catch(codeOf);
        await pause(1_500);
        expect((await again.channel()).authorized).toBe(authorized);
        stop.abort();
        await fetching;
        await mining(true);
        await until(async () => (await again.engine.settlements())[0]?.state === 'final');
        await again.engine.settle({ dryRun: true });
        const { phase, lost, settled } = await again.channel();
        expect([phase, lost, settled]).toEqual(['closed', '0', authorized]);
      } finally {
        await again.close();
      }
    }));
});

describe('a close that comes to nothing', () => {
  it('gives its channel back, and the download goes on to its end', () =>
    midway(async (payee, _payer, fetching) => {
      const account: Account = ground.accounts[1]!;
      const from = formatAddress(account.address);
      expect(await payee.engine.settle({ close: true }).catch(codeOf)).toBe('TX_TIMEOUT');
      const { pieces } = await payee.channel();
      // Another transaction of the same wallet takes the nonce.
      await ground.ask('anvil_dropAllTransactions');
      const nonce = await ground.ask('eth_getTransactionCount', from, 'latest');
      const gasPrice = toQuantity(10n ** 18n / 10n ** 3n);
      await ground.ask('eth_sendTransaction', { from, to: from, value: '0x0', nonce, gasPrice });
      await mining(true);
      await until(async () => {
        await ground.ask('anvil_mine', '0x1');
        return (await payee.channel()).pieces > pieces;
      });
      expect(await fetching.end).toMatchObject({ acknowledged: true });
      expect(await payee.channel()).toMatchObject({ phase: 'open', pieces: PIECES, lost: '0' });
    }));
});
