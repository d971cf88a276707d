/**
 * Whole downloads between a real payee and a real payer in one process, by pieces and by ticks, at prices, piece lengths
 * and limits drawn at random, from deposits that hold no more than a download puts into them, with connections cut and
 * sides killed behind any message: everything comes, is paid, and nobody waits for a default; and by ticks a stranger owes
 * a block, and no payer more than it has paid and two blocks.
 * The seed is printed; PIECEWORK_SEED repeats it, PIECEWORK_TRADES plays more. About 10 s.
 */
import { expect, test } from 'vitest';
import * as Credit from '../../src/accounting/credit.js';
import * as Tariff from '../../src/accounting/tariff.js';
import { spareFor } from '../../src/engine/buying.js';
import { type Chance, chance, seedFromEnvironment } from '../support/chance.js';
import { type TradeEnd, type TradeTerms, trade } from '../support/trade.js';

const BLOCK = 16_384;
const TRADES = Number(process.env['PIECEWORK_TRADES'] ?? 200);
const TIMEOUT_MS = Math.max(120_000, TRADES * 300);
const LOSSES_MAX = 9;

function termsOf(draw: Chance, losses: number): TradeTerms {
  const pieceLength = draw.pick([BLOCK / 2, BLOCK, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK, 5 * BLOCK]);
  const pieces = 2 + draw.below(8);
  const priceMiB = draw.pick([64n, 100n, 1_000_003n, 488_281_250_000_007n]);
  const price = (bytes: number): bigint => Tariff.price(priceMiB, BigInt(bytes));
  const minStep = draw.pick([0n, 0n, price(2 * pieceLength), price(1.625 * pieceLength)]);
  const least = minStep + price(pieceLength) + price(BLOCK);
  const ticks = draw.pick(['off', 'offer', 'require', 'require'] as const);
  // A step and a prepay together: wire.md 4 says when a payer waits.
  const isPrepaid = minStep === 0n || ticks === 'require';
  const payTicks = ticks === 'require' || draw.percent(60);
  const prepays = isPrepaid ? [0n, price(pieceLength), price(3 * pieceLength)] : [0n];
  const prepayMax = draw.pick(prepays);
  const totalBytes = (pieces - 1) * pieceLength + 1 + draw.below(pieceLength);
  const payee = {
    priceMiB,
    windowBytes: BigInt(draw.pick([pieceLength, 4 * pieceLength, 1 << 20])),
    minStep,
    prepay: draw.pick(prepays),
    // What is lost counts against the limit for good.
    exposureMax: losses === 0 ? least : 200n * least,
    ticks,
  };
  const block = price(Math.min(pieceLength, BLOCK));
  const byTicks =
    ticks === 'off' ? 0n : Credit.prepayByTicks({ ...payee, windowMax: 0n }, block, price(pieceLength));
  const offer = { priceMiB, prepay: byTicks > payee.prepay ? byTicks : payee.prepay };
  const buying = { payTicksFor: payTicks ? pieceLength : undefined, prepayMax };
  const cost = price(totalBytes);
  const deposit = cost + spareFor(offer, buying, cost, 100n * cost);
  return { pieceLength, totalBytes, payee, payTicks, prepayMax, deposit };
}

function check({ payee, pieceLength, payTicks, prepayMax }: TradeTerms, end: TradeEnd): void {
  const price = (bytes: number): bigint => Tariff.price(payee.priceMiB, BigInt(bytes));
  expect(end.accepted).toBeLessThanOrEqual(end.authorized);
  // All is paid but what is no step and no tick, and nothing beyond what may be ahead.
  const tick = payTicks && payee.ticks !== 'off' ? price(Math.min(BLOCK, pieceLength)) : 0n;
  expect(end.due - end.accepted).toBeLessThanOrEqual(payee.minStep > tick ? payee.minStep : tick);
  const ahead = payTicks && price(pieceLength) > prepayMax ? price(pieceLength) : prepayMax;
  expect(end.authorized - end.due).toBeLessThanOrEqual(ahead);
  if (payee.ticks !== 'require') return;
  const block = price(Math.min(BLOCK, pieceLength));
  // Where a block is worth less than a base unit, pieces are paid.
  const hasTicks = payee.priceMiB * BigInt(Math.min(BLOCK, pieceLength)) >= 1n << 20n;
  if (hasTicks) expect(end.paidBeyond).toBeLessThanOrEqual(BigInt(end.losses) + 1n);
  expect(end.strangerOwed).toBeLessThanOrEqual(block);
  expect(end.owedBeyond).toBeLessThanOrEqual(2n * block);
}

test(
  `${TRADES} downloads end whatever is lost on the way`,
  async () => {
    const seed = seedFromEnvironment();
    console.log(`seed ${seed}`);
    let [lost, byTicks] = [0, 0];
    for (let nth = 0; nth < TRADES; nth++) {
      const draw = chance(seed + nth);
      const losses = draw.below(LOSSES_MAX + 1);
      const terms = termsOf(draw, losses);
      try {
        const end = await trade(terms, draw, losses, 1 + draw.below(30));
        check(terms, end);
        lost += end.losses;
        if (terms.payTicks && terms.payee.ticks !== 'off') byTicks += end.losses;
      } catch (reason) {
        const text = JSON.stringify(terms, (_key, value) =>
          typeof value === 'bigint' ? String(value) : value,
        );
        throw new Error(`seed ${seed + nth}, ${text}: ${(reason as Error).message}`, { cause: reason });
      }
    }
    console.log(`${lost} losses, ${byTicks} of them while ticks paid`);
    expect(lost).toBeGreaterThan(TRADES);
    expect(byTicks).toBeGreaterThan(TRADES / 4);
  },
  TIMEOUT_MS,
);
