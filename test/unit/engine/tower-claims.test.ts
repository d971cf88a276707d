/** Claims in a real ledger: the highest row stays, in memory and on the disk, whatever comes at the same time. */
import { expect, test } from 'vitest';
import { encode, NONE } from '../../../src/channels/voucher.js';
import { Claims } from '../../../src/engine/towers/claims.js';
import { Ledger } from '../../../src/ledger/ledger.js';
import { inline } from '../../../src/native/executor.js';
import { temporary } from '../../support/engines.js';

test('of rows that are held at the same time the highest is kept, and it is there after opening again', async () => {
  const { path, remove } = temporary();
  const executor = inline();
  const place = { dataDir: path, chainId: 31415n, hub: new Uint8Array(20).fill(1), seed: new Uint8Array(32) };
  const key = { voucherKey: new Uint8Array(20).fill(2), payee: new Uint8Array(20).fill(3) };
  const none = { owner: key.payee, deposit: 100n, settled: 0n, closeAt: 0, block: 1n };
  const facts = { ...key, ...none };
  const row = (amount: bigint) => encode({ amount, r: NONE.slice(12, 44), vs: NONE.slice(44) });
  const amounts = (claims: Claims) => [...claims.of('box')].map(({ amount }) => amount);
  try {
    const ledger = await Ledger.open(executor, place);
    const claims = await Claims.open(ledger);
    await Promise.all(
      [50n, 90n, 20n, 70n].map((amount) => claims.hold('box', [{ key, facts, row: row(amount) }])),
    );
    expect(amounts(claims)).toEqual([90n]);
    await claims.hold('other', [{ key, facts, row: row(10n) }]);
    await ledger.close();
    const again = await Ledger.open(executor, place);
    const reopened = await Claims.open(again);
    expect(amounts(reopened)).toEqual([90n]);
    // Removing one client leaves the other's claim on the same channel.
    expect(await reopened.keepOnly(['other'])).toEqual([]);
    expect(amounts(reopened)).toEqual([]);
    expect((await reopened.keepOnly([])).length).toBe(1);
    await again.close();
  } finally {
    await executor.close();
    remove();
  }
});
