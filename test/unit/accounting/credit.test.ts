/** What a voucher earns. The model in test/property/credit-model shows what follows from it. */
import { expect, it } from 'vitest';
import * as Credit from '../../../src/accounting/credit.js';

const terms = { exposureMax: 1_000n, windowMax: 640n, minStep: 0n };
const PRICE = 10n;
const PRICES = { piece: PRICE, full: PRICE };

it('one voucher for several pieces earns what one for each of them would have', () => {
  let singly = Credit.initial(PRICE);
  for (let pieces = 0n; pieces < 12n; pieces++) {
    expect(Credit.afterVoucher(Credit.initial(PRICE), terms, PRICES, pieces * PRICE)).toEqual(singly);
    singly = Credit.afterVoucher(singly, terms, PRICES, PRICE);
  }
  expect(singly.window).toBe(terms.windowMax);
  expect(Credit.isFull(singly, terms)).toBe(true);
});

it('less than a piece earns nothing, and no payment takes the window past its limit', () => {
  const start = Credit.initial(PRICE);
  expect(Credit.isFull(start, terms)).toBe(false);
  expect(Credit.afterVoucher(start, terms, PRICES, PRICE - 1n)).toEqual(start);
  expect(Credit.afterVoucher(start, terms, PRICES, 2n ** 95n).window).toBe(terms.windowMax);
});

it('what is free has a window of nothing, which is full', () => {
  const free = Credit.afterVoucher(
    Credit.initial(0n),
    { ...terms, windowMax: 0n },
    { piece: 0n, full: 0n },
    0n,
  );
  expect(free.window).toBe(0n);
  expect(Credit.isFull(free, { ...terms, windowMax: 0n })).toBe(true);
});
