/**
 * What is accepted off chain is credited on chain: ten thousand mutated vouchers, judged by the native module
 * and then given to a real hub on a Berlin chain, one row per channel and batch, so that each row's effect is
 * seen alone. The converse is counted too: a row that was refused here moved nothing there.
 */
import { expect, test } from 'vitest';
import type { ChannelKey } from '../../src/channels/channel.js';
import { amountOf, ROW_BYTES } from '../../src/channels/voucher.js';
import { call, load } from '../../src/native/binding.js';
import { statusesOf, writeVouchers } from '../../src/native/records.js';
import * as Chains from '../../src/settlement/chain.js';
import { Hub } from '../../src/settlement/hub.js';
import * as HubCode from '../../src/settlement/hub-code.js';
import * as Senders from '../../src/settlement/sender.js';
import { memoryStore } from '../../src/settlement/transaction.js';
import { type Chance, chance, seedFromEnvironment } from '../support/chance.js';
import { layGround } from '../support/ground.js';

const CHANNELS = 500;
const BATCHES = 20;
const N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const PARITY = 1n << 255n;
const SEED = new Uint8Array(32).fill(7);

interface Signing {
  readonly domain: Uint8Array;
  readonly otherChain: Uint8Array;
  readonly otherHub: Uint8Array;
  readonly payee: Uint8Array;
  readonly otherPayee: Uint8Array;
}

const secretOf = (index: number): Uint8Array =>
  call((addon) => addon.deriveVoucherSecret(SEED, BigInt(index)));
const sign = (domain: Uint8Array, key: number, payee: Uint8Array, amount: bigint): Uint8Array =>
  call((addon) => addon.signVoucher(domain, secretOf(key), payee, amount));

function read(row: Uint8Array, at: number): bigint {
  return BigInt(`0x${Buffer.from(row.subarray(at, at + 32)).toString('hex')}`);
}

function withWord(row: Uint8Array, at: number, value: bigint): Uint8Array {
  const changed = row.slice();
  changed.set(Buffer.from(value.toString(16).padStart(64, '0'), 'hex'), at);
  return changed;
}

const R = 12;
const VS = 44;
const sOf = (row: Uint8Array): bigint => read(row, VS) & (PARITY - 1n);
const flipped = (row: Uint8Array): Uint8Array => withWord(row, VS, read(row, VS) ^ PARITY);
/** The other signature of the same digest: n − s with the other parity, which is high and must be refused. */
const high = (row: Uint8Array): Uint8Array =>
  withWord(flipped(row), VS, (read(flipped(row), VS) & PARITY) | (N - sOf(row)));
const edge = (row: Uint8Array, at: number, value: bigint): Uint8Array =>
  withWord(row, at, at === VS ? (read(row, VS) & PARITY) | value : value);

type Mutation = (key: number, amount: bigint, signing: Signing, random: Chance) => Uint8Array;
const good: Mutation = (key, amount, { domain, payee }) => sign(domain, key, payee, amount);
const MUTATIONS: Record<string, Mutation> = {
  'left as it is': good,
  'one flipped bit': (...of) => {
    const row = good(...of).slice();
    const bit = of[3].below(ROW_BYTES * 8);
    row[bit >> 3]! ^= 1 << (bit & 7);
    return row;
  },
  'one flipped bit of the amount': (...of) => {
    const row = good(...of).slice();
    row[4 + of[3].below(8)]! ^= 1 << of[3].below(8);
    return row;
  },
  'flipped parity': (...of) => flipped(good(...of)),
  'high s': (...of) => high(good(...of)),
  'r zero': (...of) => edge(good(...of), R, 0n),
  'r = n': (...of) => edge(good(...of), R, N),
  'r above n': (...of) => edge(good(...of), R, N + 1n + BigInt(of[3].below(1_000))),
  's zero': (...of) => edge(good(...of), VS, 0n),
  's = n/2': (...of) => edge(good(...of), VS, N / 2n),
  's above n/2': (...of) => edge(good(...of), VS, N / 2n + 1n),
  's = n': (...of) => edge(good(...of), VS, N & (PARITY - 1n)),
  'other chain': (key, amount, { otherChain, payee }) => sign(otherChain, key, payee, amount),
  'other hub': (key, amount, { otherHub, payee }) => sign(otherHub, key, payee, amount),
  'other payee': (key, amount, { domain, otherPayee }) => sign(domain, key, otherPayee, amount),
  'key without a channel': (key, amount, { domain, payee }) => sign(domain, key + 100_000, payee, amount),
  'all zero': () => new Uint8Array(ROW_BYTES),
};
const NAMES = Object.keys(MUTATIONS);

test('ten thousand mutated vouchers: accepted off chain is credited on chain, refused moves nothing', async () => {
  const seed = seedFromEnvironment();
  const random = chance(seed);
  const ground = await layGround();
  const profile = { ...ground.chain.profile, rpcUrls: ground.chain.rpcUrls, confirmations: 1 };
  const chain = await Chains.connect(profile);
  const sender = await Senders.open(chain, ground.accounts[5]!, memoryStore());
  try {
    const { domain } = ground;
    const payee = ground.accounts[6]!.address;
    const hub = new Hub(chain, domain.hub, await HubCode.readArtifact());
    const separator = (chainId: bigint, at: Uint8Array): Uint8Array =>
      call((addon) => addon.domainSeparator(chainId, at));
    const signing: Signing = {
      domain: separator(domain.chainId, domain.hub),
      otherChain: separator(domain.chainId + 1n, domain.hub),
      otherHub: separator(domain.chainId, payee),
      payee,
      otherPayee: ground.accounts[7]!.address,
    };
    const addresses = call((addon) => addon.deriveVoucherKeys(SEED, 0n, CHANNELS));
    const keys: ChannelKey[] = Array.from({ length: CHANNELS }, (_, at) => ({
      voucherKey: addresses.slice(at * 20, at * 20 + 20),
      payee,
    }));
    await ground.open(keys.map((key) => ({ ...key, deposit: 1_000_000n })));

    const settled = keys.map(() => 0n);
    const counts = { accepted: 0, refused: 0 };
    const seen = new Set<string>();
    for (let batch = 0; batch < BATCHES; batch++) {
      const names = keys.map((_, at) => NAMES[(at + batch) % NAMES.length]!);
      const rows = keys.map((_, at) =>
        MUTATIONS[names[at]!]!(at, BigInt((batch + 1) * 1_000 + random.below(1_000)), signing, random),
      );
      const claims = rows.map((row, at) => ({ ...keys[at]!, row }));
      const statuses = statusesOf(load().verifyVouchers(signing.domain, writeVouchers(claims)));
      for (const action of hub.settle(payee, rows)) await sender.send(action);
      const facts = await hub.readChannels(keys, await chain.head());
      facts.forEach((fact, at) => {
        const name = names[at]!;
        if (statuses[at] === 'ok') {
          counts.accepted++;
          expect(fact.settled, `seed ${seed}, ${name}, accepted and not credited`).toBe(amountOf(rows[at]!));
        } else {
          counts.refused++;
          expect(fact.settled, `seed ${seed}, ${name}, refused and credited`).toBe(settled[at]!);
        }
        seen.add(`${name}: ${statuses[at]}`);
        settled[at] = fact.settled;
      });
    }
    console.log(
      `seed ${seed}: ${counts.accepted} accepted and credited, ${counts.refused} refused and without effect`,
    );
    expect(counts.accepted + counts.refused).toBe(CHANNELS * BATCHES);
    expect(counts.accepted).toBeGreaterThan(500);
    expect(counts.refused).toBeGreaterThan(8_000);
    for (const name of NAMES) expect([...seen].some((one) => one.startsWith(`${name}: `))).toBe(true);
    for (const refused of ['high s', 'flipped parity', 'other chain', 'other hub', 'other payee']) {
      expect(seen.has(`${refused}: ok`)).toBe(false);
    }
  } finally {
    await sender.close();
    chain.close();
    await ground.stop();
  }
}, 120_000);
