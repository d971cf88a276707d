/** A refused grant and the voucher that would have allowed it, in every order that one turn can bring them in. */
import { expect, test } from 'vitest';
import {
  type ChannelAccount,
  isByBlock,
  type PayeeSession,
  unitOf,
} from '../../../src/accounting/account.js';
import type { Book } from '../../../src/accounting/book.js';
import * as Credit from '../../../src/accounting/credit.js';
import { createGranting } from '../../../src/accounting/granting.js';
import * as Tariff from '../../../src/accounting/tariff.js';
import { type Clock, systemClock } from '../../../src/clock.js';
import { voucherLateMs } from '../../../src/limits.js';
import type { Command, Outcome } from '../../../src/native/records.js';

const terms = { exposureMax: 100n, windowMax: 100n, minStep: 0n };

function makeSession(): PayeeSession {
  const amounts = { granted: 0n, writtenOff: 0n, authorized: 0n };
  const account = {
    ...amounts,
    credit: Credit.initial(10n),
    sessions: new Set(),
    closing: false,
    changes: 0,
  };
  const session = {
    link: { closed: false },
    index: 0,
    account: account as unknown as ChannelAccount,
    offer: { priceMiB: 10n << 20n },
    terms,
    prices: { piece: 10n, block: 10n, full: 20n },
    requiresTicks: false,
    underWay: new Map(),
    grantedBytes: 0n,
    stalled: false,
    choked: false,
  } as unknown as PayeeSession;
  session.account.sessions.add(session);
  return session;
}

test('whoever is told to wait is told to go on afterwards, never before', async () => {
  let late = false;
  for (let hops = 0; hops < 16; hops++) {
    const session = makeSession();
    const heard: string[] = [];
    const asked: Array<(outcomes: Outcome[]) => void> = [];
    const book: Book = {
      commit: () => new Promise((resolve) => asked.push(resolve)),
      screen: () => [],
    };
    const granting = createGranting(
      { book, intake: { join: (_session, work) => work() }, clock: systemClock, isRetired: () => false },
      {
        onResume: () => heard.push('resume'),
        onLate: () => {},
        onDepositExhausted: () => {},
        onFailure: () => {},
      },
    );
    // As far from the answer as the gate is: an async function or two, and a then.
    const gate = async () => granting.admit(session, [{ piece: 7, bytes: 1, lacking: 1 }]);
    void gate().then((admissions) => heard.push(...admissions.map(String)));
    asked[0]!([{ status: 'exceeds_window' } as Outcome]);
    for (let hop = 0; hop < hops; hop++) await Promise.resolve();
    granting.wake(session.account);
    await new Promise((resolve) => setTimeout(resolve, 5));
    // Woken before the answer was made, the ledger is asked again and no answer is out yet.
    if (asked.length === 1) expect(heard, `${hops} hops`).toEqual(['wait', 'resume']);
    else expect(heard, `${hops} hops`).not.toContain('wait');
    late ||= asked.length === 1;
  }
  expect(late).toBe(true);
});

test('asks for no more pieces than the window allows, in one commit, and lets the others wait', async () => {
  for (const [window, asked] of [
    [35n, 3],
    [30n, 3],
    [9n, 1],
  ] as const) {
    const session = makeSession();
    const { account } = session;
    Object.assign(account, {
      granted: 7n,
      writtenOff: 2n,
      authorized: 5n,
      credit: { window, defaulted: 0n },
    });
    const commits: Array<readonly Command[]> = [];
    const ended: string[] = [];
    const book: Book = {
      async commit(commands) {
        commits.push(commands);
        return commands.map(() => ({ ...account, status: 'ok' }) as unknown as Outcome);
      },
      screen: () => [],
    };
    const granting = createGranting(
      { book, intake: { join: (_session, work) => work() }, clock: systemClock, isRetired: () => false },
      {
        onResume: () => {},
        onLate: () => ended.push('late'),
        onDepositExhausted: () => {},
        onFailure: () => {},
      },
    );
    const pieces = [0, 1, 2, 3, 4].map((piece) => ({ piece, bytes: 1, lacking: 1 }));
    const admissions = await granting.admit(session, pieces);
    expect(admissions).toEqual(pieces.map((_, at) => (at < asked ? 'serve' : 'wait')));
    expect(commits.map((commands) => commands.length)).toEqual([asked]);
    expect(session.grantedBytes).toBe(BigInt(asked));
    expect(session.stalled).toBe(true);
    granting.wake(account);
    expect(session.stalled).toBe(false);
  }
});

test('gives up at the end what was granted and never sent, which is no default', async () => {
  const session = makeSession();
  const { account } = session;
  const books = { authorized: 0n, granted: 0n, writtenOff: 0n, deposit: 1_000n };
  const credit = { window: 100n, defaulted: 0n };
  Object.assign(account, { ...books, credit });
  Object.assign(session, { deliveredBytes: 0, forgivenBytes: 0n });
  const closed: Command[] = [];
  const book: Book = {
    async commit(commands) {
      return commands.map((command) => {
        if (command.kind === 'grant') books.granted += 10n * BigInt(command.bytes);
        else if (command.kind === 'write_off') books.writtenOff += command.amount;
        else closed.push(command);
        return { ...books, status: 'ok', channel: 0 } as Outcome;
      });
    },
    screen: () => [],
  };
  const granting = createGranting(
    { book, intake: { join: (_session, work) => work() }, clock: systemClock, isRetired: () => false },
    { onResume: () => {}, onLate: () => {}, onDepositExhausted: () => {}, onFailure: () => {} },
  );
  const pieces = [0, 1, 2, 3].map((piece) => ({ piece, bytes: 1, lacking: 1 }));
  expect(await granting.admit(session, pieces)).toEqual(['serve', 'serve', 'serve', 'serve']);
  granting.sent(session, 0);
  session.deliveredBytes = 1;
  await granting.end(session);
  expect(books).toMatchObject({ granted: 40n, writtenOff: 30n });
  expect(closed).toEqual([{ kind: 'session_close', session: 0, deliveredBytes: 1 }]);
  expect(account.credit).toEqual(credit);
  expect(await granting.admit(session, pieces)).toEqual(['refuse', 'refuse', 'refuse', 'refuse']);
  account.cancelDefault?.();
});

/** Credit by blocks of 16 KiB at 10 each, with room for two; time passes when the test says so. */
function makeByBlock() {
  const session = makeSession();
  const block = 16_384;
  Object.assign(session, {
    ...{
      offer: { priceMiB: 640n },
      requiresTicks: true,
      paysTicks: true,
      prices: { piece: 40n, block: 10n, full: 40n },
    },
    ...{ deliveredBytes: 0, forgivenBytes: 0n },
  });
  Object.assign(session.account, {
    ...{ credit: { window: 20n, defaulted: 0n }, granted: 0n, writtenOff: 0n, authorized: 0n },
  });
  const late: Array<() => void> = [];
  const clock: Clock = {
    ...systemClock,
    monotonicMs: () => 0,
    after: (delayMs, task) => {
      if (delayMs === voucherLateMs) late.push(task);
      return () => {};
    },
  };
  const commands: Command[] = [];
  const book: Book = {
    screen: () => [],
    async commit([command]) {
      commands.push(command!);
      const { account } = session;
      const more = command!.kind === 'grant' ? BigInt(command!.bytes / block) * 10n : 0n;
      const fits = more > 0n && account.granted + more <= 20n;
      const granted = account.granted + (fits ? more : 0n);
      const status = more > 0n && !fits ? 'exceeds_window' : 'ok';
      return [{ status, granted, writtenOff: 0n, authorized: 0n, deposit: 100n } as unknown as Outcome];
    },
  };
  const chokes: PayeeSession[] = [];
  const granting = createGranting(
    { book, intake: { join: (_session, work) => work() }, clock, isRetired: () => false },
    {
      onResume: () => {},
      onLate: (one) => void chokes.push(one),
      onDepositExhausted: () => {},
      onFailure: (reason) => {
        throw reason;
      },
    },
  );
  return { session, granting, commands, chokes, late, block };
}

test('a block of a piece that has not left is not given up because another one of the piece has', async () => {
  const { session, granting, commands, chokes, late, block } = makeByBlock();
  const wanted = [{ piece: 7, bytes: 4 * block, lacking: block }];
  expect(await granting.admit(session, wanted)).toEqual([block]);
  expect(await granting.admit(session, wanted)).toEqual([block]);
  session.deliveredBytes += block;
  granting.sent(session, 7, block);
  expect(await granting.admit(session, wanted)).toEqual(['wait']);
  late.pop()!();
  await new Promise((resolve) => setImmediate(resolve));
  expect(commands.map(({ kind }) => kind)).toEqual(['grant', 'grant', 'grant']);
  expect(chokes).toEqual([]);
  session.deliveredBytes += block;
  granting.sent(session, 7, block);
  late.pop()!();
  // Now all of it was sent, and the payer is late.
  expect(chokes).toEqual([session]);
});

test('where no ticks are taken a piece is granted whole, also on a channel that has a chain', async () => {
  const { session, granting, block } = makeByBlock();
  Object.assign(session, { requiresTicks: false, paysTicks: false });
  Object.assign(session.account, { chain: new Uint8Array(124), credit: { window: 40n, defaulted: 0n } });
  expect(isByBlock(session)).toBe(false);
  // Whoever serves it takes any other answer than to wait for the whole piece.
  expect(await granting.admit(session, [{ piece: 7, bytes: 4 * block, lacking: 4 * block }])).toEqual([
    'wait',
  ]);
  expect(session.grantedBytes).toBe(0n);
});

test('who pays by pieces has room for its step, who has shown a tick needs none', () => {
  const { session } = makeByBlock();
  const stepTerms = { exposureMax: 500n, windowMax: 500n, minStep: 100n };
  Object.assign(session, { requiresTicks: false, paysTicks: false, terms: stepTerms });
  const limitOf = (): bigint => {
    const { price, terms: held } = unitOf(session);
    return Credit.unpaidMax(session.account.credit, held, price);
  };
  // Stalled with less room than a piece of 40, it owes more than the step.
  expect(limitOf()).toBe(140n);
  session.paysTicks = true;
  expect(limitOf()).toBe(20n);
});

/** Credit by blocks at a price that divides into none evenly. */
function makeUneven(window: (prices: { piece: bigint; block: bigint }) => bigint, grantedBytes: bigint) {
  const session = makeSession();
  const priceMiB = 488_281_250_000_007n;
  const price = (bytes: bigint): bigint => Tariff.price(priceMiB, bytes);
  const [piece, block] = [price(65_536n), price(16_384n)];
  Object.assign(session, {
    ...{ offer: { priceMiB }, prices: { piece, block, full: piece }, grantedBytes },
    ...{ requiresTicks: true, paysTicks: true, terms: { ...terms, exposureMax: 10n ** 18n } },
  });
  const granted = price(grantedBytes);
  Object.assign(session.account, {
    ...{
      credit: { window: window({ piece, block }), defaulted: 0n },
      granted,
      writtenOff: 0n,
      authorized: 0n,
    },
  });
  const asked: Command[] = [];
  const book: Book = {
    screen: () => [],
    async commit(commands) {
      asked.push(...commands);
      let bytes = session.grantedBytes;
      await Promise.resolve();
      return commands.map((command) => {
        bytes += BigInt((command as { bytes: number }).bytes);
        return { ...session.account, status: 'ok', granted: price(bytes) } as unknown as Outcome;
      });
    },
  };
  const granting = createGranting(
    { book, intake: { join: (_session, work) => work() }, clock: systemClock, isRetired: () => false },
    { onResume: () => {}, onLate: () => {}, onDepositExhausted: () => {}, onFailure: () => {} },
  );
  const wanted = (...lacking: readonly number[]) =>
    lacking.map((bytes, at) => ({ piece: at, bytes: 65_536, lacking: bytes }));
  return { session, granting, asked, wanted, price };
}

test('rounding keeps back no block that the window covers', async () => {
  const { session, granting, asked, wanted, price } = makeUneven(
    ({ piece, block }) => piece + block,
    32_768n,
  );
  expect(await granting.admit(session, wanted(32_768, 65_536))).toEqual([32_768, 16_384]);
  for (const grant of asked) expect(grant).toMatchObject({ exposureLimit: price(65_536n) + price(16_384n) });
  granting.wake(session.account);
});

test('a short block leaves the rest of the window to the next piece', async () => {
  const { session, granting, wanted } = makeUneven(({ block }) => 2n * block, 0n);
  expect(await granting.admit(session, wanted(10_000, 65_536))).toEqual([10_000, 16_384]);
  granting.wake(session.account);
});

test('what is left of a piece comes before the pieces behind it, also when more can be had meanwhile', async () => {
  const { session, granting, asked, wanted } = makeUneven(({ block }) => 2n * block, 0n);
  const answer = granting.admit(session, wanted(49_152, 65_536));
  // What it owed before is paid while its grant is on the way to the disk.
  const { account } = session;
  Object.assign(account, { authorized: Tariff.price(488_281_250_000_007n, 32_768n) });
  granting.wake(account);
  expect(await answer).toEqual([49_152, 16_384]);
  expect(asked.map((grant) => (grant as { bytes: number }).bytes)).toEqual([32_768, 16_384, 16_384]);
  granting.wake(account);
});

/** Two sessions of a channel that was granted 40 before and was paid nothing of it. */
function makeReturning() {
  const [session, other] = [makeSession(), makeSession()];
  const { account } = session;
  const books = { authorized: 0n, granted: 40n, writtenOff: 0n, deposit: 1_000n };
  Object.assign(account, { ...books, grantedIdle: 40n, credit: { window: 40n, defaulted: 0n } });
  const before = { authorizedBefore: 0n, grantedBefore: 40n, deliveredBytes: 0, forgivenBytes: 0n };
  Object.assign(session, before);
  Object.assign(other, { ...before, account, index: 1 });
  account.sessions.add(other);
  const book: Book = {
    async commit(commands) {
      for (const command of commands) if (command.kind === 'write_off') books.writtenOff += command.amount;
      return commands.map(() => ({ ...books, status: 'ok', channel: 0 }) as Outcome);
    },
    screen: () => [],
  };
  const granting = createGranting(
    { book, intake: { join: (_session, work) => work() }, clock: systemClock, isRetired: () => false },
    { onResume: () => {}, onLate: () => {}, onDepositExhausted: () => {}, onFailure: () => {} },
  );
  return { session, other, account, books, granting };
}

test('what was lost before is given up by the first of several sessions that shows what was signed', async () => {
  const { session, other, account, books, granting } = makeReturning();
  // What the other was granted meanwhile may still be paid.
  Object.assign(account, { granted: 55n });
  books.granted = 55n;
  session.shown = 10n;
  await granting.forgive(session);
  expect(books.writtenOff).toBe(30n);
  expect(account.credit.defaulted).toBe(30n);
  other.shown = 10n;
  await granting.forgive(other);
  expect(books.writtenOff).toBe(30n);
});

test('what a session had lost is given up when its end is noticed after the next one has begun', async () => {
  const { session, other, account, books, granting } = makeReturning();
  Object.assign(account, { grantedIdle: 0n });
  other.shown = 25n;
  await granting.forgive(other);
  expect(books.writtenOff).toBe(0n);
  other.resynced = true;
  await granting.end(session);
  expect(books.writtenOff).toBe(15n);
  expect(account.credit.defaulted).toBe(15n);
});

test('a deposit that does not suffice is told once, and again once it did in between', async () => {
  const session = makeSession();
  const told: string[] = [];
  const answers = ['exceeds_deposit', 'exceeds_deposit', 'ok', 'exceeds_deposit'].values();
  const book: Book = {
    screen: () => [],
    commit: async () => [{ ...session.account, status: answers.next().value } as unknown as Outcome],
  };
  const granting = createGranting(
    { book, intake: { join: (_session, work) => work() }, clock: systemClock, isRetired: () => false },
    {
      onResume: () => {},
      onLate: () => {},
      onDepositExhausted: () => told.push('told'),
      onFailure: () => {},
    },
  );
  for (const [admission, times] of [
    ['wait', 1],
    ['wait', 1],
    ['serve', 1],
    ['wait', 2],
  ] as const) {
    expect(await granting.admit(session, [{ piece: 1, bytes: 1, lacking: 1 }])).toEqual([admission]);
    expect(told.length).toBe(times);
  }
});
