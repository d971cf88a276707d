/**
 * What a seller that runs does by itself when a payer asks to close: it settles before the challenge period is
 * over, also when it was not running at the time of the request.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAddress } from '../../../src/channels/channel.js';
import { type PayerParty, PIECE_BYTES, startPayee, startPayer } from '../../support/engines.js';
import { type Ground, layGround } from '../../support/ground.js';
import { startRelay } from '../settlement/support.js';

const PERIOD = 3_600;
const PRICE = '50000BTT/GiB';
let ground: Ground;

beforeAll(async () => {
  ground = await layGround(PERIOD);
});
afterAll(() => ground.stop());

async function until(done: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 20_000;
  while (!(await done())) {
    if (performance.now() > endMs) throw new Error('it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function buy(payer: PayerParty, torrent: string, port: number): Promise<bigint> {
  const settings = {
    budget: String(10n ** 21n),
    priceMiBMax: String(10n ** 21n),
    gasMax: String(10n ** 21n),
  };
  const end = await payer.fetch({ torrent, peers: [`127.0.0.1:${port}`], ...settings });
  expect(end.acknowledged).toBe(true);
  return BigInt(end.spent);
}

describe('a close request', () => {
  it('is answered with a settlement by the seller that sees it', async () => {
    const settings = { price: PRICE, exposure: '1000BTT' };
    const payee = await startPayee(ground, {
      account: ground.accounts[1]!,
      settings,
      bytes: 8 * PIECE_BYTES,
    });
    const payer = await startPayer(ground, { account: ground.accounts[2]!, settings: { maxPrice: PRICE } });
    try {
      const spent = await buy(payer, payee.torrent, payee.port);
      expect(spent).toBeGreaterThan(0n);
      const { voucherKey } = (await payer.engine.channels())[0]!;
      await payer.engine.closeChannel({ voucherKey });
      await until(async () => (await payee.channel()).settled === String(spent));
      expect(payee.events.some(({ text }) => text.includes('asked to close'))).toBe(true);
      const { phase, claimable } = await payee.channel();
      expect([phase, claimable]).toEqual(['closing', '0']);
    } finally {
      await Promise.all([payer.close(), payee.close()]);
    }
  });

  it('is answered after a restart by a seller that was away when it came', async () => {
    const settings = { price: PRICE, exposure: '1000BTT' };
    const account = ground.accounts[3]!;
    const first = await startPayee(ground, { account, settings, bytes: 8 * PIECE_BYTES });
    const payer = await startPayer(ground, { account: ground.accounts[4]!, settings: { maxPrice: PRICE } });
    let spent = 0n;
    try {
      spent = await buy(payer, first.torrent, first.port);
      await first.engine.close();
      const { voucherKey } = (await payer.engine.channels())[0]!;
      await payer.engine.closeChannel({ voucherKey });
    } finally {
      await payer.close();
    }
    const second = await startPayee(ground, { account, settings, home: first.home });
    try {
      await until(async () => (await second.channel()).settled === String(spent));
    } finally {
      await second.close();
      await first.close();
    }
  });

  it('is answered before its end by a seller that was cut off for 80 % of the challenge period', async () => {
    const relay = await startRelay(ground.rpcUrl);
    const account = ground.accounts[5]!;
    const settings = { price: PRICE, exposure: '1000BTT', rpc: relay.url };
    const payee = await startPayee(ground, { account, settings, bytes: 8 * PIECE_BYTES });
    const payer = await startPayer(ground, { account: ground.accounts[6]!, settings: { maxPrice: PRICE } });
    try {
      const spent = await buy(payer, payee.torrent, payee.port);
      relay.fault = () => ({ kind: 'drop' });
      const { voucherKey } = (await payer.engine.channels())[0]!;
      const { closeAt } = await payer.engine.closeChannel({ voucherKey });
      await until(async () => payee.events.some(({ text }) => text.includes('cannot be read')));
      await ground.passTime(PERIOD * 0.8);
      expect((await payee.channel()).settled).toBe('0');
      relay.fault = () => undefined;
      await until(async () => (await payee.channel()).settled === String(spent));
      const head = (await ground.ask('eth_getBlockByNumber', 'latest', false)) as { timestamp: string };
      expect(Number(head.timestamp)).toBeLessThan(closeAt!);
    } finally {
      await Promise.all([payer.close(), payee.close()]);
      await relay.stop();
    }
  });
});

describe('a close by the payee itself, in the middle of a download', () => {
  it('loses nothing that was accepted: what is granted is paid before, and nothing more is granted', async () => {
    const settings = { price: PRICE, exposure: '1000BTT' };
    const payee = await startPayee(ground, {
      account: ground.accounts[5]!,
      settings,
      bytes: 512 * PIECE_BYTES,
    });
    const payer = await startPayer(ground, { account: ground.accounts[6]!, settings: { maxPrice: PRICE } });
    const stop = new AbortController();
    try {
      const money = {
        budget: String(10n ** 21n * 4n),
        priceMiBMax: String(10n ** 21n),
        gasMax: String(10n ** 21n),
      };
      const fetching = payer
        .fetch({ torrent: payee.torrent, peers: [`127.0.0.1:${payee.port}`], ...money }, stop.signal)
        .catch((thrown: unknown) => thrown);
      await until(async () => {
        const [channel] = await payee.engine.channels();
        return channel !== undefined && channel.pieces > 20;
      });
      const report = await payee.engine.settle({ close: true });
      const [closed] = await payee.engine.channels();
      stop.abort();
      await fetching;
      expect(closed!.phase).toBe('closed');
      expect(closed!.pieces).toBeLessThan(512);
      expect([closed!.lost, closed!.settled]).toEqual(['0', closed!.authorized]);
      expect(report.settled).toBe(closed!.authorized);
      // Also later: nothing is accepted on a channel that is closed.
      const { lost, authorized } = await payee.channel(parseAddress(closed!.voucherKey));
      expect([lost, authorized]).toEqual(['0', closed!.authorized]);
    } finally {
      stop.abort();
      await Promise.all([payer.close(), payee.close()]);
    }
  });
});
