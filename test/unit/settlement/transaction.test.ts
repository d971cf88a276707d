/** Stored transactions: the same bytes come back, prices only rise, and the largest record fits into a note. */
import { hexlify, Transaction } from 'ethers';
import { describe, expect, it } from 'vitest';
import { ROW_BYTES } from '../../../src/channels/voucher.js';
import { gasRaisePermille, settleRowsMax, variantsMax } from '../../../src/limits.js';
import { Account } from '../../../src/settlement/account.js';
import { abi } from '../../../src/settlement/hub-abi.js';
import {
  fieldsOf,
  newest,
  raisedPrice,
  rawOf,
  type StoredTransaction,
  variantOf,
} from '../../../src/settlement/transaction.js';

const NOTE_BYTES_MAX = 128 * 1024;
const account = new Account(new Uint8Array(32).fill(3));

function record(data: string, to: string | null = hexlify(account.address)): StoredTransaction {
  return {
    id: '0x',
    chainId: '199',
    from: hexlify(account.address),
    nonce: 1_000_000,
    to,
    data: Buffer.from(data.slice(2), 'hex').toString('base64'),
    value: '0',
    gasLimit: '12500000',
    purpose: 'settle 1000 vouchers',
    intent: `settle 0x${'ab'.repeat(32)} at ${'cd'.repeat(20)}`,
    since: 4_000_000_000,
    gasCeiling: String(10n ** 28n),
    variants: [],
  };
}

function signed(base: StoredTransaction, gasPrice: bigint): { record: StoredTransaction; raw: string } {
  const { raw, hash } = account.signTransaction(fieldsOf(base, gasPrice));
  return { record: { ...base, variants: [...base.variants, variantOf({ raw, hash }, gasPrice)] }, raw };
}

describe('a stored transaction', () => {
  it.each([
    ['a call', hexlify(account.address)],
    ['a creation', null],
  ])('gives the very bytes that were signed: %s', (_, to) => {
    for (const price of [1n, 300_000_000_000_000n, 10n ** 24n]) {
      const { record: stored, raw } = signed(record('0x1234', to), price);
      const back = JSON.parse(JSON.stringify(stored)) as StoredTransaction;
      expect(rawOf(back, newest(back))).toBe(raw);
      expect(Transaction.from(raw).hash).toBe(newest(back).hash);
    }
  });

  it('fits into a note with a full batch and as many variants as there may be', () => {
    const rows = new Uint8Array(settleRowsMax * ROW_BYTES).fill(0xff);
    const { record: first } = signed(
      record(abi.encodeFunctionData('settle', [hexlify(account.address), rows])),
      1n,
    );
    let price = 9n * 10n ** 15n;
    const variants = Array.from({ length: variantsMax }, () => {
      price += (price * BigInt(gasRaisePermille)) / 1_000n;
      return { ...first.variants[0]!, gasPrice: String(price) };
    });
    const stored = { ...first, variants };
    expect(Buffer.byteLength(JSON.stringify(stored))).toBeLessThan(NOTE_BYTES_MAX);
  });

  it('becomes dearer by at least the step, by the market where that is more, and never by less', () => {
    const { record: stored } = signed(record('0x'), 1_001n);
    expect(raisedPrice(stored, 0n, 125)).toBe(1_127n);
    expect(raisedPrice(stored, 5_000n, 125)).toBe(5_000n);
    expect(raisedPrice(stored, 1_126n, 125)).toBe(1_127n);
  });
});
