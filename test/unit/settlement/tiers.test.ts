/** What counts of a deposit by depth: the invariants of settlement.md 2, over every small branch there is. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ChannelFacts, TOMBSTONE } from '../../../src/channels/channel.js';
import { counted, type Tier, tiersOf } from '../../../src/settlement/tiers.js';

const bytes = new Uint8Array(20).fill(1);
const facts = (deposit: bigint, settled = 0n, closeAt = 0): ChannelFacts => ({
  voucherKey: bytes,
  payee: bytes,
  owner: bytes,
  deposit,
  settled,
  closeAt,
  block: 100n,
});

describe('tiers', () => {
  it('has an early one only where it is sooner and worth something', () => {
    const full = { confirmations: 128, depositMax: undefined };
    expect(tiersOf(128, 12, 5n)).toEqual([{ confirmations: 12, depositMax: 5n }, full]);
    expect(tiersOf(128, 128, 5n)).toEqual([full]);
    expect(tiersOf(128, 12, 0n)).toEqual([full]);
    expect(tiersOf(1, 12, 5n)).toEqual([{ confirmations: 1, depositMax: undefined }]);
  });

  const tiers = tiersOf(128, 12, 5n);
  it.each([
    ['nothing that is only in the newest block', facts(9n), [facts(0n), facts(0n)], 0n, 0n],
    ['up to the limit what is early', facts(9n), [facts(9n), facts(0n)], 5n, 5n],
    ['all of what is below the limit', facts(3n), [facts(3n), facts(0n)], 3n, 3n],
    ['all of what is deep', facts(9n), [facts(9n), facts(9n)], 9n, 0n],
    ['a top-up of a deep deposit not at all above the limit', facts(20n), [facts(20n), facts(9n)], 9n, 0n],
    ['a chain that is not long enough as nothing', facts(9n), [facts(9n), undefined], 5n, 5n],
    ['never more than the newest block has', facts(2n), [facts(9n), facts(9n)], 2n, 0n],
  ] as const)('counts %s', (_, newest, deep, deposit, early) => {
    expect(counted(tiers, newest, deep)).toMatchObject({ deposit, early });
  });

  it('takes the close of the newest block, and a settlement only when it is deep', () => {
    const now = (newest: ChannelFacts, ...deep: ChannelFacts[]) => counted(tiers, newest, deep);
    expect(now(facts(9n, 0n, 50), facts(9n), facts(9n)).closeAt).toBe(50);
    expect(now(facts(9n), facts(9n, 0n, 50), facts(9n)).closeAt).toBe(0);
    expect(now(facts(9n, 0n, TOMBSTONE), facts(9n, 0n, 50), facts(9n)).closeAt).toBe(TOMBSTONE);
    expect(now(facts(9n, 4n), facts(9n, 4n), facts(9n, 1n)).settled).toBe(1n);
  });

  it('never counts more than any tier allows, for any views', () => {
    const amount = fc.bigInt(0n, 20n);
    fc.assert(
      fc.property(
        fc.array(amount, { minLength: 4, maxLength: 4 }),
        amount,
        amount,
        (deposits, some, more) => {
          const three: readonly Tier[] = [
            { confirmations: 2, depositMax: some },
            { confirmations: 5, depositMax: some + more },
            { confirmations: 9, depositMax: undefined },
          ];
          const [newest, ...deep] = deposits.map((deposit) => facts(deposit));
          const result = counted(three, newest!, deep);
          const low = (until: number) => deposits.slice(0, until).reduce((a, b) => (a < b ? a : b));
          const allowed = [
            low(4),
            some < low(2) ? some : low(2),
            some + more < low(3) ? some + more : low(3),
          ];
          expect(result.deposit).toBe(allowed.reduce((a, b) => (a > b ? a : b)));
          expect(result.deposit - result.early).toBe(low(4));
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
