/**
 * Torrents of one seller fetched at a time by one payer: they are paid from one channel, which is good
 * for all of them, or from one each where ticks pay.
 */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formatAddress } from '../../../src/channels/channel.js';
import { PIECE_BYTES, startPayee, startPayer } from '../../support/engines.js';
import { type Ground, layGround } from '../../support/ground.js';

const BYTES = 512 * PIECE_BYTES;
const SETTINGS = { price: '5000BTT/GiB', exposure: '1000BTT' };
const MONEY = { budget: String(10n ** 22n), priceMiBMax: String(10n ** 21n), gasMax: String(10n ** 21n) };
let ground: Ground;

beforeAll(async () => {
  ground = await layGround();
});
afterAll(() => ground.stop());

test('what one torrent will need of a channel is not promised to another', async () => {
  const [account, buyer] = [ground.accounts[1]!, ground.accounts[2]!];
  const payee = await startPayee(ground, { account, settings: SETTINGS, bytes: BYTES });
  const payer = await startPayer(ground, { account: buyer, settings: { maxPrice: SETTINGS.price } });
  try {
    const second = join(payee.home, 'second.bin');
    writeFileSync(second, randomBytes(BYTES));
    const other = await payee.engine.seed({ paths: [second], announce: [], pieceLength: PIECE_BYTES });
    const fetch = (torrent: string) => payer.fetch({ torrent, peers: [`127.0.0.1:${payee.port}`], ...MONEY });
    // A channel that is there already is good for each of them, and not for both.
    const price = (bytes: number): bigint => (5_000n * 10n ** 18n * BigInt(bytes)) >> 30n;
    const deposit = price(BYTES) + price(BYTES) / 10n;
    await payer.engine.open({ payee: formatAddress(payee.payee), deposit: String(deposit) });
    const ends = await Promise.all([fetch(payee.torrent), fetch(other.torrent)]);
    expect(ends.map(({ acknowledged }) => acknowledged)).toEqual([true, true]);
    const [channel, ...more] = await payee.engine.channels();
    expect(more).toEqual([]);
    expect(BigInt(channel!.authorized)).toBeGreaterThanOrEqual(2n * price(BYTES));
    expect(BigInt(channel!.deposit)).toBeLessThan(3n * price(BYTES));
  } finally {
    await payer.close();
    await payee.close();
  }
});

test('torrents that are paid by ticks at a time have a channel each, and none waits for another', async () => {
  const [account, buyer] = [ground.accounts[3]!, ground.accounts[4]!];
  // A window of a piece: what is ahead on eight torrents would fill it.
  const [pieceBytes, window] = [16 * PIECE_BYTES, '1MiB'];
  const settings = { ...SETTINGS, ticks: 'require', window };
  const bytes = 4 * pieceBytes;
  const payee = await startPayee(ground, { account, settings, bytes, pieceBytes });
  const payer = await startPayer(ground, { account: buyer, settings: { maxPrice: SETTINGS.price } });
  try {
    const torrents = [payee.torrent];
    for (let nth = 1; nth < 8; nth++) {
      const path = join(payee.home, `${nth}.bin`);
      writeFileSync(path, randomBytes(bytes));
      const seeding = await payee.engine.seed({ paths: [path], announce: [], pieceLength: pieceBytes });
      torrents.push(seeding.torrent);
    }
    // All begin at once.
    await payer.engine.open({ payee: formatAddress(payee.payee), deposit: String(10n ** 21n) });
    const peers = [`127.0.0.1:${payee.port}`];
    const ends = await Promise.all(
      torrents.map((torrent) => payer.fetch({ torrent, peers, payTicks: true, ...MONEY })),
    );
    expect(ends.every(({ acknowledged }) => acknowledged)).toBe(true);
    const channels = await payee.engine.channels();
    expect(channels.length).toBeGreaterThan(1);
    for (const { writtenOff, granted, authorized } of channels) {
      expect(writtenOff).toBe('0');
      expect(granted).toBe(authorized);
    }
  } finally {
    await payer.close();
    await payee.close();
  }
});
