/** What evidence earns when the ledger answers later than the next one comes. */
import { expect, test } from 'vitest';
import type { ChannelAccount, PayeeSession } from '../../../src/accounting/account.js';
import type { Intake, Submission, Verdict } from '../../../src/accounting/intake.js';
import { createTaking } from '../../../src/accounting/taking.js';
import type { Message } from '../../../src/channels/message.js';
import * as Tick from '../../../src/channels/tick.js';
import { systemClock } from '../../../src/clock.js';
import { voucherBurstMax } from '../../../src/limits.js';
import type { Outcome } from '../../../src/native/records.js';

const UNIT = 10n;

/** A chain row of `UNIT` a tick over `amount`, with one of its ticks; nothing is signed. */
function rowOf(count: number, amount = 0n, mark = 1): Uint8Array {
  const [r, vs, tick] = [
    new Uint8Array(32).fill(mark),
    new Uint8Array(32).fill(mark),
    new Uint8Array(32).fill(count),
  ];
  return Tick.encode({ amount, unit: UNIT, length: 100, count, tick, r, vs });
}

/** A payee's counter whose intake answers when the test says so. */
function makeStand() {
  const submitted: Array<{ submission: Submission; answer: (verdict: Omit<Verdict, 'submission'>) => void }> =
    [];
  const intake = {
    replace: () => false,
    submit: (submission: Submission) =>
      new Promise<Verdict>((resolve) => {
        submitted.push({ submission, answer: (verdict) => resolve({ ...verdict, submission }) });
      }),
  } as unknown as Intake;
  const account = {
    credit: { window: UNIT, defaulted: 0n },
    authorized: 0n,
    credited: 0n,
    granted: 0n,
    writtenOff: 0n,
    deposit: 10_000n,
    sessions: new Set(),
    chain: undefined,
  } as unknown as ChannelAccount;
  const heard: Message[] = [];
  const link = { send: (message: Message) => void heard.push(message) } as unknown as PayeeSession['link'];
  const session = {
    link,
    index: 0,
    account,
    terms: { exposureMax: 10_000n, windowMax: 10_000n, minStep: 0n },
    prices: { piece: 1_000n, block: UNIT, full: 1_000n },
    offer: { priceMiB: 1n << 20n },
    requiresTicks: true,
    paysTicks: true,
    resynced: true,
    grantedBytes: 0n,
    deliveredBytes: 0,
  } as unknown as PayeeSession;
  const ports = { clock: systemClock, intake, payee: new Uint8Array(20) } as never;
  const refusals: string[] = [];
  const granting = { forgive: async () => {}, wake: () => {} };
  const taking = createTaking(
    ports,
    granting,
    (_link, refused, code) => void refusals.push(`${refused} ${code}`),
  );
  const counterOf = () => ({
    ...{ link, session, tokens: voucherBurstMax, refilledMs: systemClock.monotonicMs() },
    chain: undefined as Uint8Array | undefined,
  });
  const ok = (authorized: bigint): Omit<Verdict, 'submission'> => ({
    status: 'ok',
    outcome: { status: 'ok', authorized, granted: 0n, writtenOff: 0n, deposit: 10_000n } as Outcome,
  });
  return { taking, counterOf, account, submitted, refusals, heard, ok };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('what came while another was under way earns what it pays, not what both pay', async () => {
  const { taking, counterOf, account, submitted, ok } = makeStand();
  const counter = counterOf();
  void taking.tickVoucher(counter, rowOf(0));
  submitted[0]!.answer(ok(0n));
  await settled();
  // Each is on its way before the one in front of it is booked.
  for (let count = 1; count <= 5; count++) void taking.tick(counter, count, new Uint8Array(32).fill(count));
  for (let count = 1; count <= 5; count++) {
    submitted[count]!.answer(ok(BigInt(count) * UNIT));
    await settled();
  }
  expect(account.authorized).toBe(5n * UNIT);
  // Two blocks more than it has paid.
  expect(account.credit.window).toBe(2n * UNIT + 5n * UNIT);
});

test('a session pays by ticks once its payer has shown one, whatever its channel is paid by elsewhere', () => {
  const { taking, counterOf, account } = makeStand();
  const counter = counterOf();
  counter.session.paysTicks = false;
  account.chain = rowOf(0);
  void taking.voucher(counter, new Uint8Array(76).fill(1), false);
  expect(counter.session.paysTicks).toBe(false);
  void taking.tickVoucher(counter, rowOf(0));
  expect(counter.session.paysTicks).toBe(true);
});

test('what a grant has brought along already still earns its credit', async () => {
  const { taking, counterOf, account, submitted, ok } = makeStand();
  const counter = counterOf();
  void taking.tickVoucher(counter, rowOf(3));
  // The grant was decided behind the voucher, and its answer came first.
  account.authorized = 3n * UNIT;
  submitted[0]!.answer(ok(3n * UNIT));
  await settled();
  expect(account.credit.window).toBe(2n * UNIT + 3n * UNIT);
});

test('a tick that another connection has taken the chain from is shown with its voucher, and refused by nobody', async () => {
  for (const status of ['unknown_piece', 'bad_signature'] as const) {
    const { taking, counterOf, account, submitted, refusals, ok } = makeStand();
    const counter = counterOf();
    void taking.tickVoucher(counter, rowOf(0));
    submitted[0]!.answer(ok(0n));
    await settled();
    void taking.tick(counter, 1, new Uint8Array(32).fill(1));
    expect(submitted[1]!.submission.kind).toBe('tick');
    // A voucher of a second connection was booked in front of it.
    account.chain = status === 'unknown_piece' ? undefined : rowOf(0, 5n * UNIT, 2);
    submitted[1]!.answer({ status });
    await settled();
    expect(submitted[2]!.submission).toMatchObject({ kind: 'tick_voucher', row: rowOf(1) });
    submitted[2]!.answer({ status: 'not_increasing' });
    await settled();
    expect(refusals).toEqual([]);
  }
});

test('a tick that does not lead to the current chain is refused at once', async () => {
  const { taking, counterOf, submitted, refusals, ok } = makeStand();
  const counter = counterOf();
  void taking.tickVoucher(counter, rowOf(0));
  submitted[0]!.answer(ok(0n));
  await settled();
  void taking.tick(counter, 1, new Uint8Array(32));
  submitted[1]!.answer({ status: 'bad_signature' });
  await settled();
  expect(submitted).toHaveLength(2);
  expect(refusals).toEqual(['tick bad_signature']);
});
