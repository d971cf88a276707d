/**
 * What is accepted off chain is credited on chain, to the wei, and what is refused changes nothing: ten thousand
 * rows, most of them mutated, judged by the native module and then given to the deployed hub on a Berlin chain;
 * every tenth is judged by ethers too. One row a channel and batch, so that each row is held to account alone.
 * The seed is printed and can be named with PIECEWORK_SEED. About 25 s.
 */
import { concat, getBytes, hexlify, recoverAddress, TypedDataEncoder, toBeHex } from 'ethers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { call } from '../../src/native/binding.js';
import { type Status, statusesOf, writeVouchers } from '../../src/native/records.js';
import { type Key, keyNamed, rowOf } from '../support/agreement.js';
import { type Chance, chance, seedFromEnvironment } from '../support/chance.js';
import { type Ground, layGround } from '../support/ground.js';

const N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const HALF = (N - 1n) / 2n;
const TOP = 1n << 255n;
const CHANNELS = 100;
const BATCHES = 100;
const STEP = 1_000n;

let ground: Ground;

beforeAll(async () => {
  ground = await layGround();
});
afterAll(() => ground?.stop());

interface Parts {
  readonly amount: bigint;
  readonly r: bigint;
  readonly s: bigint;
  readonly odd: boolean;
}

const int = (bytes: Uint8Array): bigint => BigInt(hexlify(bytes));
const partsOf = (row: Uint8Array): Parts => {
  const vs = int(row.slice(44));
  return { amount: int(row.slice(0, 12)), r: int(row.slice(12, 44)), s: vs & (TOP - 1n), odd: vs >= TOP };
};
const join = ({ amount, r, s, odd }: Parts): Uint8Array =>
  getBytes(concat([toBeHex(amount, 12), toBeHex(r, 32), toBeHex((s & (TOP - 1n)) | (odd ? TOP : 0n), 32)]));

interface Case {
  readonly row: Uint8Array;
  readonly kind: string;
}

type Mutation = (
  good: Uint8Array,
  draw: Chance,
  of: { key: Key; amount: bigint; payee: Uint8Array },
) => Uint8Array;

/** Every way of being wrong, and two of being right. Each keeps the size of a row. */
const MUTATIONS: Readonly<Record<string, Mutation>> = {
  unchanged: (good) => good,
  'signed again': (_good, _draw, { key, amount, payee }) => rowOf(ground.domain, key, payee, amount),
  // Mostly above 2^255, which a row cannot say: what remains is another number.
  'high s': (good) => join({ ...partsOf(good), s: N - partsOf(good).s }),
  'high s, parity flipped': (good) => {
    const parts = partsOf(good);
    return join({ ...parts, s: N - parts.s, odd: !parts.odd });
  },
  'parity flipped': (good) => join({ ...partsOf(good), odd: !partsOf(good).odd }),
  'r zero': (good) => join({ ...partsOf(good), r: 0n }),
  'r is n': (good) => join({ ...partsOf(good), r: N }),
  'r above n': (good, draw) => join({ ...partsOf(good), r: N + 1n + BigInt(draw.below(1_000)) }),
  'r plus n': (good) => join({ ...partsOf(good), r: (partsOf(good).r + N) & ((1n << 256n) - 1n) }),
  's zero': (good) => join({ ...partsOf(good), s: 0n }),
  's half': (good) => join({ ...partsOf(good), s: HALF }),
  's half plus one': (good) => join({ ...partsOf(good), s: HALF + 1n }),
  's largest': (good) => join({ ...partsOf(good), s: TOP - 1n }),
  'r and s exchanged': (good) => join({ ...partsOf(good), r: partsOf(good).s, s: partsOf(good).r }),
  'all zero signature': (good) => join({ ...partsOf(good), r: 0n, s: 0n, odd: false }),
  'random signature': (good, draw) => getBytes(concat([good.slice(0, 12), draw.bytes(64)])),
  'other chain': (_good, draw, { key, amount, payee }) =>
    rowOf(
      { ...ground.domain, chainId: ground.domain.chainId + BigInt(1 + draw.below(1_000_000)) },
      key,
      payee,
      amount,
    ),
  'other hub': (_good, draw, { key, amount, payee }) =>
    rowOf({ ...ground.domain, hub: new Uint8Array(draw.bytes(20)) }, key, payee, amount),
  'other payee': (_good, draw, { key, amount }) =>
    rowOf(ground.domain, key, new Uint8Array(draw.bytes(20)), amount),
  'other key': (_good, draw, { amount, payee }) =>
    rowOf(ground.domain, keyNamed(`nobody ${draw.below(1e9)}`), payee, amount),
  'amount raised': (good, draw) =>
    join({ ...partsOf(good), amount: partsOf(good).amount + 1n + BigInt(draw.below(100)) }),
  'a bit flipped': (good, draw) => flipped(good, draw, 1),
  'some bits flipped': (good, draw) => flipped(good, draw, 2 + draw.below(20)),
};
const KINDS = Object.keys(MUTATIONS);

function flipped(row: Uint8Array, draw: Chance, count: number): Uint8Array {
  const bytes = row.slice();
  // Each bit once: the second flip of a bit would undo the first.
  const bits = new Set<number>();
  while (bits.size < count) bits.add(draw.below(bytes.length * 8));
  for (const bit of bits) bytes[bit >> 3] = bytes[bit >> 3]! ^ (1 << (bit & 7));
  return bytes;
}

/** The rule of voucher.md 4 by ethers and plain numbers alone. */
function judgedByEthers(row: Uint8Array, key: Key, payee: Uint8Array): Status {
  const { amount, r, s, odd } = partsOf(row);
  if (r === 0n || r >= N || s === 0n || s > HALF) return 'bad_range';
  const { chainId, hub } = ground.domain;
  const domain = { name: 'Piecework', version: '1', chainId, verifyingContract: hexlify(hub) };
  const types = {
    Voucher: [
      { name: 'payee', type: 'address' },
      { name: 'cumulativeAmount', type: 'uint256' },
    ],
  };
  const digest = TypedDataEncoder.hash(domain, types, { payee: hexlify(payee), cumulativeAmount: amount });
  try {
    const signature = { r: toBeHex(r, 32), s: toBeHex(s, 32), yParity: odd ? (1 as const) : (0 as const) };
    return recoverAddress(digest, signature).toLowerCase() === hexlify(key.address) ? 'ok' : 'bad_signature';
  } catch {
    return 'bad_signature';
  }
}

/** The row with the other parity: a verifier that knows the public key and looks at r and s alone takes both. */
const otherParity = (row: Uint8Array): Uint8Array => join({ ...partsOf(row), odd: !partsOf(row).odd });

test('ten thousand rows: accepted off chain is credited on chain, refused is not', async () => {
  const seed = seedFromEnvironment();
  const draw = chance(seed);
  const payee = ground.accounts[1]!.address;
  const keys = Array.from({ length: CHANNELS }, (_, nth) => keyNamed(`agreement ${seed} ${nth}`));
  const channels = keys.map(({ address }) => ({ voucherKey: address, payee }));
  const deposit = STEP * BigInt(BATCHES + 1);
  await ground.open(channels.map((channel) => ({ ...channel, deposit })));
  const separator = call((addon) => addon.domainSeparator(ground.domain.chainId, ground.domain.hub));
  const judge = (rows: readonly Uint8Array[]): Status[] => {
    const claims = rows.map((row, at) => ({ voucherKey: keys[at]!.address, payee, row }));
    return statusesOf(call((addon) => addon.verifyVouchers(separator, writeVouchers(claims))));
  };

  const settled = new Array<bigint>(CHANNELS).fill(0n);
  const counts = { accepted: 0, refused: 0, byEthers: 0, laxlyAccepted: 0 };
  const statuses = new Map<string, Set<Status>>(KINDS.map((kind) => [kind, new Set()]));
  let credit = 0n;
  for (let batch = 1; batch <= BATCHES; batch++) {
    const cases: Case[] = keys.map((key, at) => {
      // Above all that the channel had before, so that an accepted row always raises it.
      const amount = STEP * BigInt(batch) + BigInt(draw.below(Number(STEP)));
      const kind = KINDS[(batch * CHANNELS + at) % KINDS.length]!;
      const good = rowOf(ground.domain, key, payee, amount);
      return { kind, row: MUTATIONS[kind]!(good, draw, { key, amount, payee }) };
    });
    const rows = cases.map(({ row }) => row);
    const native = judge(rows);
    const turned = judge(rows.map(otherParity));
    const [transaction, ...others] = ground.hub.settle(payee, rows);
    expect(others).toEqual([]);
    await ground.transact(transaction!);
    const facts = await ground.hub.readChannels(channels);
    for (const [at, { kind, row }] of cases.entries()) {
      const where = `seed ${seed}, batch ${batch}, channel ${at}, ${kind}: ${hexlify(row)}`;
      const accepted = native[at] === 'ok';
      const now = facts[at]!.settled;
      expect(now, where).toBe(accepted ? partsOf(row).amount : settled[at]);
      credit += now - settled[at]!;
      settled[at] = now;
      statuses.get(kind)!.add(native[at]!);
      if (accepted) counts.accepted++;
      else counts.refused++;
      if (turned[at] === 'ok' && !accepted) counts.laxlyAccepted++;
      if (draw.below(10) > 0) continue;
      expect(judgedByEthers(row, keys[at]!, payee), where).toBe(native[at]);
      counts.byEthers++;
    }
    expect(await ground.hub.credit(payee)).toBe(credit);
  }
  const { accepted, refused, byEthers, laxlyAccepted } = counts;
  console.log(
    `agreement: seed ${seed}, ${accepted + refused} rows, ${accepted} accepted and credited, ${refused} refused and ` +
      `not, ${byEthers} judged by ethers too; a verifier without parity would take ${laxlyAccepted} of them`,
  );
  expect(accepted + refused).toBe(CHANNELS * BATCHES);
  expect(accepted).toBeGreaterThan(500);
  expect(refused).toBeGreaterThan(8_000);
  expect(byEthers).toBeGreaterThan(700);
  for (const kind of KINDS) {
    const expected = kind === 'unchanged' || kind === 'signed again';
    expect([kind, statuses.get(kind)!.has('ok')]).toEqual([kind, expected]);
  }
  // The canary: what does not look at the parity promises what the hub does not pay.
  expect(laxlyAccepted).toBeGreaterThan(300);
}, 120_000);

test('an accepted voucher above the deposit is credited up to it', async () => {
  const payee = ground.accounts[2]!.address;
  const key = keyNamed('beyond the deposit');
  await ground.open([{ voucherKey: key.address, payee, deposit: 5_000n }]);
  const [transaction] = ground.hub.settle(payee, [rowOf(ground.domain, key, payee, 9_000n)]);
  await ground.transact(transaction!);
  const [facts] = await ground.hub.readChannels([{ voucherKey: key.address, payee }]);
  expect([facts!.settled, await ground.hub.credit(payee)]).toEqual([5_000n, 5_000n]);
});
