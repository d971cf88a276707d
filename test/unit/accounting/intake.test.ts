/** Which vouchers are looked at together, and when. */
import { expect, it } from 'vitest';
import type { Book } from '../../../src/accounting/book.js';
import { createIntake, type Submission } from '../../../src/accounting/intake.js';
import { encode } from '../../../src/channels/voucher.js';
import { type Clock, systemClock } from '../../../src/clock.js';
import { voucherPatienceMs } from '../../../src/limits.js';
import type { Outcome } from '../../../src/native/records.js';

const voucher = (session: number, amount: bigint): Submission => ({
  session,
  voucherKey: new Uint8Array(20),
  payee: new Uint8Array(20),
  claim: amount,
  evidence: {
    kind: 'voucher',
    row: encode({ amount, r: new Uint8Array(32), vs: new Uint8Array(32) }),
    final: false,
  },
});

/** An intake whose batches are recorded by the amounts in them, and whose time the test lets pass. */
function bench() {
  const batches: bigint[][] = [];
  const timers: Array<{ ms: number; run: (() => void) | undefined }> = [];
  const clock: Clock = {
    ...systemClock,
    after(ms, run) {
      const timer: (typeof timers)[number] = { ms, run };
      timers.push(timer);
      return () => {
        timer.run = undefined;
      };
    },
  };
  const book: Book = {
    screen: (commands) => commands.map(() => 'ok'),
    commit: async (commands) => commands.map(() => ({ status: 'ok' }) as Outcome),
  };
  const intake = createIntake(
    book,
    {
      async vouchers(claims) {
        batches.push(claims.map(({ row }) => new DataView(row.buffer).getBigUint64(4)));
        return claims.map(() => 'ok');
      },
      ticks: async (claims) => claims.map(() => 'bad_signature'),
    },
    clock,
  );
  const pass = (): void => {
    for (const timer of timers.splice(0)) timer.run?.();
  };
  return { intake, batches, timers, pass };
}

it('looks at an urgent voucher at once', async () => {
  const { intake, batches } = bench();
  expect((await intake.submit(voucher(1, 5n))).status).toBe('ok');
  expect(batches).toEqual([[5n]]);
});

it('lets the others wait a little for better ones, and answers those that were replaced', async () => {
  const { intake, batches, timers, pass } = bench();
  const first = intake.submit(voucher(1, 5n), false);
  const second = intake.submit(voucher(1, 6n), false);
  expect((await first).status).toBe('superseded');
  await new Promise(setImmediate);
  expect(batches).toEqual([]);
  expect(timers.map(({ ms }) => ms)).toEqual([voucherPatienceMs]);
  pass();
  expect((await second).status).toBe('ok');
  expect(batches).toEqual([[6n]]);
});

it('takes along what waits when one is urgent, or when told to hurry', async () => {
  const { intake, batches, pass } = bench();
  const patient = intake.submit(voucher(1, 5n), false);
  await intake.submit(voucher(2, 9n));
  expect((await patient).status).toBe('ok');
  expect(batches).toEqual([[5n, 9n]]);
  pass();
  const late = intake.submit(voucher(1, 7n), false);
  intake.hurry();
  expect((await late).status).toBe('ok');
  intake.hurry();
  expect(batches).toEqual([[5n, 9n], [7n]]);
});

it('forgets nobody who came during a batch', async () => {
  const { intake, batches, pass } = bench();
  const first = intake.submit(voucher(1, 5n));
  await Promise.resolve();
  await Promise.resolve();
  const patient = intake.submit(voucher(2, 6n), false);
  expect((await first).status).toBe('ok');
  await new Promise(setImmediate);
  pass();
  expect((await patient).status).toBe('ok');
  expect(batches.flat()).toEqual([5n, 6n]);
});

it('has tick vouchers verified apart, and ticks by the ledger alone', async () => {
  const { intake, batches } = bench();
  const tickVoucher = { kind: 'tick_voucher', row: new Uint8Array(124) } as const;
  const tick = { kind: 'tick', count: 1, tick: new Uint8Array(32) } as const;
  const verdicts = await Promise.all([
    intake.submit({ ...voucher(1, 5n), evidence: tickVoucher }),
    intake.submit(voucher(2, 6n)),
    intake.submit({ ...voucher(3, 7n), evidence: tick }),
  ]);
  expect(verdicts.map(({ status }) => status)).toEqual(['bad_signature', 'ok', 'ok']);
  expect(batches).toEqual([[6n]]);
});
