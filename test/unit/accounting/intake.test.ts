/** Which vouchers are looked at together, and when. */
import { expect, it } from 'vitest';
import type { Book } from '../../../src/accounting/book.js';
import { createIntake, type Submission } from '../../../src/accounting/intake.js';
import { encode } from '../../../src/channels/voucher.js';
import { type Clock, systemClock } from '../../../src/clock.js';
import { voucherPatienceMs } from '../../../src/limits.js';
import type { Outcome, Status } from '../../../src/native/records.js';

const voucher = (session: number, amount: bigint): Submission => ({
  session,
  voucherKey: new Uint8Array(20),
  payee: new Uint8Array(20),
  kind: 'voucher',
  row: encode({ amount, r: new Uint8Array(32), vs: new Uint8Array(32) }),
  claim: amount,
  final: false,
});

/**
 * An intake whose batches are recorded by the amounts in them, and whose time the test lets pass. Signatures are good
 * but in the first batches that `faults` names: a status, or what the pool fails with.
 */
function bench(faults: string[] = []) {
  const batches: bigint[][] = [];
  const commits: string[] = [];
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
    commit: async (commands) => {
      commits.push('commit');
      return commands.map(() => ({ status: 'ok' }) as Outcome);
    },
  };
  const intake = createIntake(
    book,
    {
      async vouchers(claims) {
        batches.push(claims.map(({ row }) => new DataView(row.buffer).getBigUint64(4)));
        const fault = faults.shift() ?? 'ok';
        if (fault.includes(' ')) throw new Error(fault);
        return claims.map(() => fault as Status);
      },
      ticks: async (claims) => claims.map(() => 'bad_signature'),
    },
    clock,
  );
  const pass = (): void => {
    for (const timer of timers.splice(0)) timer.run?.();
  };
  return { intake, batches, commits, timers, pass };
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

it('answers for what was put in the place of a voucher, and keeps the higher one', async () => {
  const { intake, batches, pass } = bench();
  expect(intake.replace(voucher(1, 5n))).toBe(false);
  const first = intake.submit(voucher(1, 5n), false);
  const better = { ...voucher(1, 7n), final: true };
  expect(intake.replace(better, false)).toBe(true);
  expect(intake.replace(voucher(1, 6n), false)).toBe(true);
  expect(intake.replace(voucher(2, 9n), false)).toBe(false);
  pass();
  expect(await first).toMatchObject({ status: 'ok', submission: better });
  expect(batches).toEqual([[7n]]);
  const urgent = intake.submit(voucher(1, 8n), false);
  expect(intake.replace(voucher(1, 9n))).toBe(true);
  expect((await urgent).submission).toEqual(voucher(1, 9n));
});

it('commits joined work right behind the vouchers of its session, and at once where none waits', async () => {
  const { intake, commits } = bench();
  const work = async () => void commits.push('work');
  await intake.join(1, work);
  expect(commits).toEqual(['work']);
  const patient = intake.submit(voucher(1, 5n), false);
  await intake.join(2, work);
  expect(commits).toEqual(['work', 'work']);
  await intake.join(1, work);
  expect(commits.slice(2)).toEqual(['commit', 'work']);
  expect((await patient).status).toBe('ok');
});

it('runs joined work whatever becomes of the vouchers', async () => {
  const { intake, commits } = bench(['bad_signature', 'the pool failed']);
  for (let round = 0; round < 2; round++) {
    const refused = intake.submit(voucher(1, 5n), false).catch((reason: Error) => reason.message);
    await intake.join(1, async () => void commits.push('work'));
    expect(await refused).toEqual(
      round === 0 ? { status: 'bad_signature', submission: voucher(1, 5n) } : 'the pool failed',
    );
  }
  expect(commits).toEqual(['work', 'work']);
});

it('has tick vouchers verified apart, and ticks by the ledger alone', async () => {
  const { intake, batches } = bench();
  const row = new Uint8Array(124);
  const verdicts = await Promise.all([
    intake.submit({ ...voucher(1, 5n), kind: 'tick_voucher', row }),
    intake.submit(voucher(2, 6n)),
    intake.submit({ ...voucher(3, 7n), kind: 'tick', row }),
  ]);
  expect(verdicts.map(({ status }) => status)).toEqual(['bad_signature', 'ok', 'ok']);
  expect(batches).toEqual([[6n]]);
});
