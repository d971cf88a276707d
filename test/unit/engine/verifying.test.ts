/** Whose vouchers are checked on the event loop, and how many: everything else goes to the wide pool. */
import { readFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { recoverWith, verifierOf } from '../../../src/engine/verifying.js';
import { call } from '../../../src/native/binding.js';
import { type Executor, inline } from '../../../src/native/executor.js';
import { fromHex } from '../../../src/units.js';

interface Signed {
  readonly chainId: string;
  readonly hub: string;
  readonly voucherKey: string;
  readonly payee: string;
  readonly row: string;
}

const signed = JSON.parse(
  readFileSync(new URL('../../vectors/voucher.json', import.meta.url), 'utf8'),
) as Signed[];
const { chainId, hub } = signed[0]!;
const domain = call((addon) => addon.domainSeparator(BigInt(chainId), fromHex(hub)));
const ofHub = signed.filter((claim) => claim.chainId === chainId && claim.hub === hub);
const executor = inline();
afterAll(() => executor.close());

const secret = new Uint8Array(32).fill(7);
const digest = new Uint8Array(32).fill(9);
const SIGNED_DIGEST = {
  digest,
  signature: call((addon) => addon.signDigests(secret, digest)),
  address: call((addon) => addon.addressOf(secret)),
};

/** Checks the first `count` vectors and says how many batches went to the pool. */
async function check(count: number, hasLanes: boolean, unproven: number[] = [], forged: number[] = []) {
  let handedOver = 0;
  const counting: Executor = {
    ...executor,
    verifyVouchers(...values) {
      handedOver += 1;
      return executor.verifyVouchers(...values);
    },
  };
  const claims = Array.from({ length: count }, (_, at) => {
    const { voucherKey, payee, row } = ofHub[at % ofHub.length]!;
    const bytes = fromHex(row);
    if (forged.includes(at)) bytes[15]! ^= 1;
    return {
      voucherKey: fromHex(voucherKey),
      payee: fromHex(payee),
      row: bytes,
      ...(unproven.includes(at) ? {} : { proven: true }),
    };
  });
  const statuses = await verifierOf(counting, domain, hasLanes).vouchers(claims);
  expect(statuses.length).toBe(count);
  const bad = statuses.flatMap((status, at) => (status === 'ok' ? [] : [at]));
  expect(bad).toEqual(forged);
  return handedOver;
}

test.each([
  { hasLanes: true, atOnce: 16 },
  { hasLanes: false, atOnce: 1 },
])('lanes $hasLanes: up to $atOnce of who has paid stay on the event loop', async ({ hasLanes, atOnce }) => {
  expect(await check(1, hasLanes)).toBe(0);
  expect(await check(atOnce, hasLanes)).toBe(0);
  expect(await check(atOnce + 1, hasLanes)).toBe(1);
});

test('one stranger sends the whole batch to the pool', async () => {
  expect(await check(1, true, [0])).toBe(1);
  expect(await check(16, true, [15])).toBe(1);
});

test('a forged voucher is named on either road', async () => {
  expect(await check(16, true, [], [3])).toBe(0);
  expect(await check(16, true, [1], [3])).toBe(1);
  expect(await check(40, true, [], [0, 39])).toBe(1);
});

test('who signed is told, and nobody where the signature is none', async () => {
  const recover = recoverWith(executor);
  const { digest, signature, address } = SIGNED_DIGEST;
  expect(await recover(digest, signature)).toEqual(address);
  expect(await recover(digest, new Uint8Array(64))).toBeUndefined();
});
