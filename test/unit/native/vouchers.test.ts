/** The vectors that Rust and Solidity read too, through the addon's verbs. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { call } from '../../../src/native/binding.js';
import {
  readRecovered,
  statusesOf,
  writeRecoveries,
  writeTicks,
  writeVouchers,
} from '../../../src/native/records.js';
import { fromHex, toHex } from '../../../src/units.js';

interface Claim {
  readonly chainId: string;
  readonly hub: string;
  readonly voucherKey: string;
  readonly payee: string;
  readonly row: string;
}

interface Signed extends Claim {
  readonly privateKey: string;
  readonly amount: string;
  readonly domainSeparator: string;
  readonly digest: string;
}

interface Mutation extends Claim {
  readonly name: string;
  readonly status: string;
}

const read = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../vectors/${name}`, import.meta.url), 'utf8')) as unknown;
const hex = (bytes: Uint8Array) => `0x${toHex(bytes)}`;
const domainOf = ({ chainId, hub }: Claim) =>
  call((addon) => addon.domainSeparator(BigInt(chainId), fromHex(hub)));
const recordOf = ({ voucherKey, payee, row }: Claim) =>
  writeVouchers([{ voucherKey: fromHex(voucherKey), payee: fromHex(payee), row: fromHex(row) }]);

test('every record is reproduced', () => {
  const records = read('voucher.json') as Signed[];
  expect(records.length).toBe(1024);
  for (const record of records) {
    const domain = domainOf(record);
    expect(hex(domain)).toBe(record.domainSeparator);
    const secret = fromHex(record.privateKey);
    expect(hex(call((addon) => addon.addressOf(secret)))).toBe(record.voucherKey);
    const claim = recordOf(record);
    const digest = call((addon) => addon.voucherDigests(domain, claim));
    expect(hex(digest)).toBe(record.digest);
    const row = call((addon) =>
      addon.signVoucher(domain, secret, fromHex(record.payee), BigInt(record.amount)),
    );
    expect(hex(row)).toBe(record.row);
    const signature = call((addon) => addon.signDigests(secret, digest));
    expect(hex(signature)).toBe(hex(row.slice(12)));
    const [recovered] = readRecovered(
      call((addon) => addon.recoverDigests(writeRecoveries([{ digest, signature }]))),
    );
    expect(recovered?.status).toBe('ok');
    expect(hex(recovered?.address ?? secret)).toBe(record.voucherKey);
    expect(statusesOf(call((addon) => addon.verifyVouchers(domain, claim)))).toEqual(['ok']);
  }
});

test('every mutation gets its status', () => {
  const mutations = read('voucher-mutations.json') as Mutation[];
  expect(mutations.length).toBeGreaterThan(1000);
  for (const mutation of mutations) {
    const statuses = statusesOf(
      call((addon) => addon.verifyVouchers(domainOf(mutation), recordOf(mutation))),
    );
    expect(statuses, `${mutation.name}: ${mutation.row}`).toEqual([mutation.status]);
  }
});

test('every tick row gets its status', () => {
  const records = read('ticks.json') as Mutation[];
  expect(records.length).toBeGreaterThan(900);
  for (const record of records) {
    const [voucherKey, payee, row] = [record.voucherKey, record.payee, record.row].map(fromHex);
    const claim = writeTicks([{ voucherKey: voucherKey!, payee: payee!, row: row! }]);
    const statuses = statusesOf(call((addon) => addon.verifyTicks(domainOf(record), claim)));
    expect(statuses, `${record.name}: ${record.row}`).toEqual([record.status]);
  }
});

test('an amount beyond uint96 is not signed', () => {
  const bytes = (size: number) => new Uint8Array(size).fill(1);
  for (const amount of [-1n, 1n << 96n, 1n << 200n]) {
    expect(() => call((addon) => addon.signVoucher(bytes(32), bytes(32), bytes(20), amount))).toThrowError(
      expect.objectContaining({ code: 'BAD_ARGUMENT' }) as Error,
    );
  }
});
