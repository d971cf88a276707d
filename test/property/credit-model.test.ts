/**
 * Exhaustive model check of granting and paying (wire.md 4 and 5) for small settings: every order of
 * requests, grants, deliveries, vouchers and one lost connection, over two connections of one channel. The
 * decisions are the product's own (accounting/credit); the ledger's sums are restated here in a line each.
 */
import { describe, expect, it } from 'vitest';
import * as Credit from '../../src/accounting/credit.js';

interface Setting {
  readonly price: bigint;
  readonly step: bigint;
  readonly exposure: bigint;
  readonly windowMax: bigint;
  readonly deposit: bigint;
  readonly pieces: number;
  readonly depth: number;
  readonly losses: number;
}

interface Connection {
  todo: number;
  asked: number;
  flight: number;
  alive: boolean;
  /** Vouchers on their way: amount and whether final. */
  mail: Array<[bigint, boolean]>;
}

interface State {
  granted: bigint;
  writtenOff: bigint;
  head: bigint;
  credit: Credit.Credit;
  due: bigint;
  sent: bigint;
  acked: bigint;
  losses: number;
  defaults: number;
  connections: Connection[];
}

type Rule = (credit: Credit.Credit, terms: Credit.CreditTerms, price: bigint) => bigint;

const unpaid = (s: State): bigint =>
  s.granted - s.writtenOff > s.head ? s.granted - s.writtenOff - s.head : 0n;
const outstanding = (s: State): number => s.connections.reduce((sum, c) => sum + c.asked + c.flight, 0);

function start(setting: Setting): State {
  const connection = (): Connection => ({ todo: setting.pieces, asked: 0, flight: 0, alive: true, mail: [] });
  return {
    granted: 0n,
    writtenOff: 0n,
    head: 0n,
    credit: Credit.initial(setting.price),
    due: 0n,
    sent: 0n,
    acked: 0n,
    losses: 0,
    defaults: 0,
    connections: [connection(), connection()],
  };
}

function cloned(state: State): State {
  return { ...state, connections: state.connections.map((c) => ({ ...c, mail: [...c.mail] })) };
}

function nameOf(s: State): string {
  let name = `${s.granted} ${s.writtenOff} ${s.head} ${s.credit.window} ${s.credit.defaulted} ${s.due} ${s.sent} ${s.acked} ${s.losses}`;
  for (const c of s.connections) name += `|${c.todo} ${c.asked} ${c.flight} ${c.alive} ${c.mail.join(';')}`;
  return name;
}

/** Every state that one honest action can lead to. */
function successors(state: State, setting: Setting, rule: Rule): State[] {
  const terms = termsOf(setting);
  const next: State[] = [];
  const step = (change: (s: State, c: Connection) => void, index: number): void => {
    const copy = cloned(state);
    change(copy, copy.connections[index]!);
    next.push(copy);
  };
  const { price, deposit } = setting;
  const bad = Credit.isBad(state.credit, terms, setting.price);
  state.connections.forEach((c, index) => {
    if (!c.alive) {
      step((s, own) => {
        own.alive = true;
        if (s.due > s.acked) mail(s, own, false);
      }, index);
      return;
    }
    const reserved = BigInt(outstanding(state)) * price;
    if (c.todo > 0 && c.asked + c.flight < setting.depth && state.due + reserved + price <= deposit) {
      step((_, own) => {
        own.todo--;
        own.asked++;
      }, index);
    }
    const owed = unpaid(state) + price;
    if (
      c.asked > 0 &&
      !bad &&
      owed <= rule(state.credit, terms, price) &&
      state.granted - state.writtenOff + price <= deposit
    ) {
      step((s, own) => {
        own.asked--;
        own.flight++;
        s.granted += price;
      }, index);
    }
    if (c.flight > 0) step((s, own) => deliver(s, own, setting), index);
    if (c.mail.length > 0) step((s, own) => receive(s, own, setting), index);
    const wantsMore =
      state.due + reserved + price <= deposit && state.connections.some((other) => other.todo > 0);
    if (outstanding(state) === 0 && !wantsMore && state.due > state.sent)
      step((s, own) => mail(s, own, true), index);
    if (state.losses < setting.losses) {
      step((s, own) => lose(s, own, true, setting), index);
      if (c.flight > 0) step((s, own) => lose(s, own, false, setting), index);
    }
  });
  return next;
}

function mail(s: State, c: Connection, final: boolean): void {
  s.sent = s.due;
  c.mail.push([s.due, final]);
}

function deliver(s: State, c: Connection, setting: Setting): void {
  c.flight--;
  s.due += setting.price;
  const step = s.due - s.sent;
  if (step >= setting.step || outstanding(s) === 0) mail(s, c, false);
}

function receive(s: State, c: Connection, setting: Setting): void {
  const [amount, final] = c.mail.shift()!;
  if (amount > s.head) {
    const below = amount - s.head < setting.step && !final && amount < s.granted - s.writtenOff;
    if (below) {
      s.sent = s.acked;
      if (s.due - s.sent >= setting.step) mail(s, c, false);
      return;
    }
    if (amount > s.granted || amount > setting.deposit) throw new Error('an honest voucher was refused');
    const paid = amount - s.head;
    s.head = amount;
    if (s.writtenOff > s.granted - s.head) s.writtenOff = s.granted - s.head;
    s.credit = Credit.afterVoucher(
      s.credit,
      termsOf(setting),
      { piece: setting.price, full: setting.price },
      paid,
    );
  }
  s.acked = s.head;
}

/** The connection breaks: pieces on their way never arrive; the payee knows it only of those it never sent. */
function lose(s: State, c: Connection, neverSent: boolean, setting: Setting): void {
  s.losses++;
  if (neverSent) s.writtenOff += min(BigInt(c.flight) * setting.price, unpaid(s));
  c.todo += c.asked + c.flight;
  c.asked = 0;
  c.flight = 0;
  c.alive = false;
  c.mail = [];
  s.sent = s.acked;
  const other = s.connections.find((one) => one.alive);
  if (other && s.due > s.acked) mail(s, other, false);
}

const min = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const termsOf = (setting: Setting): Credit.CreditTerms => ({
  exposureMax: setting.exposure,
  windowMax: setting.windowMax,
  minStep: setting.step,
});

interface Report {
  states: number;
  finished: number;
  defaults: number;
  stuck: string | undefined;
}

function explore(setting: Setting, rule: Rule): Report {
  const terms = termsOf(setting);
  const seen = new Set<string>();
  const todo = [start(setting)];
  const report: Report = { states: 0, finished: 0, defaults: 0, stuck: undefined };
  while (todo.length > 0) {
    const state = todo.pop()!;
    const name = nameOf(state);
    if (seen.has(name)) continue;
    seen.add(name);
    report.states++;
    if (unpaid(state) > setting.exposure) return { ...report, stuck: `exposure exceeded: ${name}` };
    if (state.head > setting.deposit || state.sent > state.due)
      return { ...report, stuck: `overpaid: ${name}` };
    const next = successors(state, setting, rule);
    const honest = next.filter((s) => s.losses === state.losses);
    todo.push(...next);
    if (honest.length > 0) continue;
    const covered = state.due + setting.price <= setting.deposit;
    const complete = state.connections.every((c) => c.todo + c.asked + c.flight === 0) || !covered;
    if (complete && state.head === state.due && outstanding(state) === 0) {
      report.finished++;
    } else if (state.losses > 0 && unpaid(state) > 0n && !Credit.isBad(state.credit, terms, setting.price)) {
      // Nothing moves after a loss: a minute later the payee gives up what is lost.
      const amount = unpaid(state);
      const credit = Credit.afterDefault(state.credit, setting.price, amount);
      todo.push({
        ...cloned(state),
        writtenOff: state.writtenOff + amount,
        credit,
        defaults: state.defaults + 1,
      });
      report.defaults++;
    } else if (
      !(state.losses > 0 && Credit.isBad(state.credit, terms, setting.price)) &&
      !(state.losses > 0 && !covered)
    ) {
      return { ...report, stuck: name };
    }
  }
  return report;
}

function* settings(losses: number): Generator<Setting> {
  for (const price of [1n, 2n, 3n]) {
    for (const step of [0n, 1n, 2n, 5n]) {
      for (const slack of [0n, 3n]) {
        for (const windowMax of [1n, 9n]) {
          for (const deposit of [100n, 5n]) {
            for (const [pieces, depth] of [
              [2, 1],
              [2, 2],
              [3, 3],
            ] as const) {
              if (losses > 0 && pieces > 2) continue;
              yield {
                price,
                step,
                exposure: step + price + slack,
                windowMax,
                deposit,
                pieces,
                depth,
                losses,
              };
            }
          }
        }
      }
    }
  }
}

function check(
  losses: number,
  rule: Rule,
): { settings: number; states: number; finished: number; defaults: number; stuck: string[] } {
  const total = { settings: 0, states: 0, finished: 0, defaults: 0, stuck: [] as string[] };
  for (const setting of settings(losses)) {
    const report = explore(setting, rule);
    total.settings++;
    total.states += report.states;
    total.finished += report.finished;
    total.defaults += report.defaults;
    if (report.stuck) total.stuck.push(report.stuck);
  }
  return total;
}

describe('granting and paying, exhaustively', () => {
  it('never deadlocks and never exceeds the exposure while connections hold', () => {
    const total = check(0, Credit.unpaidMax);
    console.log(`model check: ${total.settings} settings, ${total.states} states, ${total.finished} ends`);
    expect(total.stuck).toEqual([]);
    expect(total.defaults).toBe(0);
    expect(total.finished).toBeGreaterThan(total.settings - 1);
  });

  it('recovers from a lost connection at any point, by a bounded default at worst', () => {
    const total = check(1, Credit.unpaidMax);
    console.log(
      `with a loss: ${total.settings} settings, ${total.states} states, ${total.defaults} defaults`,
    );
    expect(total.stuck).toEqual([]);
    expect(total.defaults).toBeGreaterThan(0);
  });

  it('catches the rule without the minimum step as a deadlock (canary)', () => {
    const naive: Rule = (credit, terms) =>
      min(terms.exposureMax, credit.window > terms.minStep ? credit.window : terms.minStep);
    expect(check(0, naive).stuck.length).toBeGreaterThan(0);
  });
});
