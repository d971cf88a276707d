/**
 * Credit by blocks (ticks.md 6), with the product's own rules: a payer that reveals as late as it may and a payee that
 * grants as much as it may never wait for each other, whatever was agreed to and wherever a connection was lost; and
 * what a stranger owes is a block, and what any payer owes never more than it has paid and three blocks.
 */
import { expect, test } from 'vitest';
import * as Credit from '../../src/accounting/credit.js';
import * as Tariff from '../../src/accounting/tariff.js';

const BLOCK_BYTES = 16_384n;

interface Settings {
  readonly priceMiB: bigint;
  readonly blocks: number;
  readonly prepay: bigint;
  readonly exposureMax: bigint;
}

/** Plays three pieces; connections are lost after the numbers of blocks in `losses`. Returns whether all came. */
function play({ priceMiB, blocks, prepay, exposureMax }: Settings, losses: readonly number[]): boolean {
  const block = Tariff.price(priceMiB, BLOCK_BYTES);
  const unit = (priceMiB * BLOCK_BYTES) >> 20n;
  const piece = Tariff.price(priceMiB, BLOCK_BYTES * BigInt(blocks));
  const terms = { exposureMax, windowMax: exposureMax, minStep: 0n };
  let credit = { window: Credit.blockWindow(block, piece, 0n), defaulted: 0n };
  let [paid, due, granted, chainFrom] = [0n, 0n, 0n, 0n];
  let [sent, inPiece, pieces, began] = [0, 0, 0, 0];
  const left = [...losses];
  const priceOf = (count: number): bigint => Tariff.price(priceMiB, BLOCK_BYTES * BigInt(count));
  const reveal = (): void => {
    const received = priceOf(inPiece);
    const payable = due + (received < prepay ? received : prepay);
    if (payable < paid + unit) return;
    const to = chainFrom + ((payable - chainFrom) / unit) * unit;
    credit = Credit.afterTicks(credit, terms, piece, to - paid);
    paid = to;
  };
  while (pieces < 3) {
    if (sent === left[0]) {
      left.shift();
      // What was sent and is not paid is lost, and the window begins again; the payer has lost what it had of the piece.
      const defaulted = credit.defaulted + granted - paid;
      credit = { window: Credit.blockWindow(block, piece, paid), defaulted };
      granted = paid;
      chainFrom = paid > due ? paid : due;
      paid = chainFrom > paid ? chainFrom : paid;
      inPiece = 0;
      began = sent;
    }
    // Each session rounds for itself.
    const cost = priceOf(sent + 1 - began) - priceOf(sent - began);
    if (granted - paid + cost > Credit.unpaidMaxByBlock(credit, terms, block, piece)) return false;
    granted += cost;
    sent++;
    inPiece++;
    if (granted - paid > (paid === 0n ? block : paid + 3n * block)) throw new Error('it owes too much');
    reveal();
    if (inPiece < blocks) continue;
    [due, inPiece, pieces] = [due + piece, 0, pieces + 1];
    reveal();
  }
  return true;
}

test('no piece is left in its middle where the payee lets it be begun', () => {
  let [fetched, refused, stuck] = [0, 0, 0];
  for (const priceMiB of [64n, 1_000_003n, 488_281_250_000_007n]) {
    for (const blocks of [1, 2, 3, 4, 16, 33]) {
      const block = Tariff.price(priceMiB, BLOCK_BYTES);
      const piece = Tariff.price(priceMiB, BLOCK_BYTES * BigInt(blocks));
      for (let ahead = 0; ahead < blocks; ahead++) {
        const prepay = Tariff.price(priceMiB, BLOCK_BYTES * BigInt(ahead));
        for (const exposureMax of [3n * piece, 100n * piece]) {
          for (let lossAt = 0; lossAt <= 3 * blocks; lossAt++) {
            // The second loss comes when the payer is as far ahead again as it can be.
            const isWhole = play({ priceMiB, blocks, prepay, exposureMax }, [lossAt, lossAt + blocks - 1]);
            if (Credit.canFetch(block, piece, prepay)) {
              expect(isWhole, `${blocks} blocks, ${ahead} ahead, lost after ${lossAt}`).toBe(true);
              fetched++;
            } else if (isWhole) refused++;
            else stuck++;
          }
        }
      }
    }
  }
  // Both answers are needed, and some of what is refused could indeed not have been fetched.
  expect(fetched).toBeGreaterThan(1_000);
  expect(stuck).toBeGreaterThan(1_000);
  console.log(`${fetched} fetched, ${stuck} stuck, ${refused} refused without need`);
});
