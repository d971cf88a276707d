/** When a payer that was turned away asks again. The book says yes to everything; the payee is played by the test. */
import { expect, test } from 'vitest';
import { createPayer } from '../../../src/accounting/payer.js';
import type { PayLink } from '../../../src/channels/link.js';
import type { Message } from '../../../src/channels/message.js';
import type { Offer } from '../../../src/channels/terms.js';
import { NONE } from '../../../src/channels/voucher.js';
import { systemClock } from '../../../src/clock.js';
import type { Outcome } from '../../../src/native/records.js';

const ADDRESS = new Uint8Array(20).fill(5);
const DOMAIN = { chainId: 199n, hub: new Uint8Array(20).fill(0xaa) };
const PIECE = 65_536;
const OFFER: Offer = {
  domain: DOMAIN,
  payee: ADDRESS,
  priceMiB: 16n,
  windowBytes: 1n << 20n,
  minStep: 0n,
  prepay: 0n,
  expiry: 1n << 40n,
  nonce: new Uint8Array(16),
  infohash: new Uint8Array(20),
  challengePeriod: 600,
  delegate: ADDRESS,
  delegation: undefined,
  tickLength: 0,
};

/** A payer whose payee has shown that it holds nothing: it may buy. */
async function makeBuyer() {
  const standings: string[] = [];
  let due = 0n;
  const payer = createPayer(
    {
      clock: systemClock,
      domain: DOMAIN,
      challengePeriod: OFFER.challengePeriod,
      priceMiBMax: () => OFFER.priceMiB,
      recover: async () => ADDRESS,
      book: {
        screen: () => [],
        commit: async (commands) =>
          commands.map(({ kind }) => {
            if (kind === 'pay') due += 1n;
            return { status: 'ok', session: 0, channel: 0, due } as unknown as Outcome;
          }),
      },
      heads: new Map(),
      prepayMax: 0n,
      payTicksFor: undefined,
      signAs: () => new Uint8Array(64),
      channelFor: async () => ({
        index: 0,
        voucherKey: ADDRESS,
        authorized: 0n,
        due: 0n,
        row: NONE,
        tickRow: undefined,
      }),
    },
    {
      onStanding: (_link, standing) => standings.push(standing),
      onAck: () => {},
      onReceipt: () => {},
      onFailure: (reason) => standings.push(String(reason)),
      onTrouble: (reason) => standings.push(String(reason)),
    },
  );
  const link: PayLink = {
    id: 1,
    address: '127.0.0.1',
    infohash: OFFER.infohash,
    peerId: new Uint8Array(20).fill(1),
    localPeerId: new Uint8Array(20).fill(2),
    closed: false,
    send: () => {},
    close: (reason) => standings.push(reason),
  };
  const hears = async (message: Message): Promise<void> => {
    payer.onMessage(link, message);
    await new Promise(setImmediate);
  };
  payer.attach(link);
  await hears({ type: 'offer', offer: OFFER, signature: new Uint8Array(64) });
  await hears({ type: 'state', role: 'payee', row: NONE, deposit: 4n });
  expect(standings).toEqual(['ready']);
  const turnAway = (): Promise<void> =>
    hears({ type: 'reject', refused: 'voucher', code: 'deposit_exhausted', detail: '' });
  return { payer, link, standings, hears, turnAway };
}

test('who was turned away for the deposit asks again once all that it had asked for has come', async () => {
  const { payer, link, standings, turnAway } = await makeBuyer();
  for (const piece of [0, 1, 2]) expect(await payer.reserve(link, piece, PIECE)).toBe('ok');
  await payer.received(link, 0, PIECE);
  await turnAway();
  expect(standings).toEqual(['ready', 'exhausted']);
  expect(await payer.reserve(link, 3, PIECE)).toBe('stop');
  // One of them may have been granted before; both cannot.
  await payer.received(link, 1, PIECE);
  expect(payer.standingOf(link)).toBe('exhausted');
  await payer.received(link, 2, PIECE);
  expect(standings).toEqual(['ready', 'exhausted', 'ready']);
  expect(await payer.reserve(link, 3, PIECE)).toBe('ok');
  await turnAway();
  expect(payer.standingOf(link)).toBe('exhausted');
});

test('a piece that was given up instead of coming proves nothing', async () => {
  const { payer, link, standings, turnAway } = await makeBuyer();
  for (const piece of [0, 1]) expect(await payer.reserve(link, piece, PIECE)).toBe('ok');
  await turnAway();
  await payer.abandoned(link, 1);
  await payer.received(link, 0, PIECE);
  expect(standings).toEqual(['ready', 'exhausted']);
});

test('who is refused for another reason meanwhile does not ask again', async () => {
  const { payer, link, hears, turnAway } = await makeBuyer();
  expect(await payer.reserve(link, 0, PIECE)).toBe('ok');
  await turnAway();
  await hears({ type: 'reject', refused: 'voucher', code: 'banned', detail: '' });
  await payer.received(link, 0, PIECE);
  expect(payer.standingOf(link)).toBe('refused');
});
