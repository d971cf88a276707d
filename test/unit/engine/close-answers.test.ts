/** When a close request is answered, on a clock that passes only when told to. */
import { beforeEach, describe, expect, it } from 'vitest';
import { type ChannelFacts, formatAddress, TOMBSTONE } from '../../../src/channels/channel.js';
import type { Clock } from '../../../src/clock.js';
import { type CloseAnswers, createCloseAnswers } from '../../../src/engine/close-answers.js';
import type { SettleReport } from '../../../src/engine/operations.js';
import { PieceworkError } from '../../../src/errors.js';

const PERIOD = 86_400;
const HOUR = 3_600_000;

let nowMs: number;
let tasks: { atMs: number; task: () => void }[];
let warnings: string[];
let calls: { atMs: number; keys: readonly string[] }[];
let settle: (keys: readonly string[]) => Promise<SettleReport>;
let answers: CloseAnswers;

const clock: Clock = {
  monotonicMs: () => nowMs,
  unixSeconds: () => BigInt(nowMs) / 1_000n,
  after(delayMs, task) {
    const entry = { atMs: nowMs + delayMs, task };
    tasks.push(entry);
    return () => {
      tasks = tasks.filter((one) => one !== entry);
    };
  },
  every: () => () => {},
};

/** Lets time pass, task by task. */
async function pass(ms: number): Promise<void> {
  const untilMs = nowMs + ms;
  for (;;) {
    await new Promise((go) => setImmediate(go));
    const next = tasks.filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
    if (!next) break;
    tasks = tasks.filter((one) => one !== next);
    nowMs = Math.max(nowMs, next.atMs);
    next.task();
  }
  nowMs = untilMs;
}

const report = (skipped: SettleReport['skipped'] = []): SettleReport => ({
  vouchers: 1,
  closed: 0,
  skipped,
  expectedFee: '0',
  rows: [],
  expectedTransactions: 0,
  expectedGas: '0',
  transactions: [],
  settled: '0',
  returned: '0',
});

function facts(number: number, closeAt: number): ChannelFacts {
  const bytes = new Uint8Array(20).fill(number);
  return { voucherKey: bytes, payee: bytes, owner: bytes, deposit: 9n, settled: 0n, closeAt, block: 1n };
}
const name = (number: number) => formatAddress(new Uint8Array(20).fill(number));
const closeAt = () => Math.floor(nowMs / 1_000) + PERIOD;

beforeEach(() => {
  [nowMs, tasks, warnings, calls] = [1_000_000, [], [], []];
  settle = async () => report();
  answers = createCloseAnswers({
    clock,
    challengePeriod: PERIOD,
    settle: (keys) => {
      calls.push({ atMs: nowMs, keys });
      return settle(keys);
    },
    onWarning: (text) => warnings.push(text),
  });
});

describe('a close request', () => {
  it('is answered at once, and looked at again until the channel is closed', async () => {
    answers.see(facts(1, closeAt()));
    await pass(1_000);
    expect(calls.map(({ keys }) => keys)).toEqual([[name(1)]]);
    expect(warnings.length).toBe(1);
    await pass(24 * HOUR);
    expect(calls.length).toBe(9);
    answers.see(facts(1, TOMBSTONE));
    await pass(24 * HOUR);
    expect(calls.length).toBe(9);
    expect(warnings.length).toBe(1);
  });

  it('that is taken back is not answered any more, and one that comes again is', async () => {
    answers.see(facts(1, closeAt()));
    answers.see(facts(1, 0));
    await pass(HOUR);
    expect(calls).toEqual([]);
    answers.see(facts(1, closeAt()));
    await pass(1_000);
    expect(calls.length).toBe(1);
  });

  it('told twice is answered once; several that come together are answered together', async () => {
    const at = closeAt();
    for (const one of [1, 2, 1, 3]) answers.see(facts(one, at));
    await pass(1_000);
    expect(calls.map(({ keys }) => keys)).toEqual([[name(1), name(2), name(3)]]);
  });

  it('does not wait for the answer to another', async () => {
    settle = () => new Promise(() => {});
    answers.see(facts(1, closeAt()));
    await pass(1_000);
    answers.see(facts(2, closeAt()));
    await pass(1_000);
    expect(calls.map(({ keys }) => keys)).toEqual([[name(1)], [name(2)]]);
  });

  it('is answered within a quarter of the period whatever fails in a tenth of it, without a word too many', async () => {
    const seenMs = nowMs;
    settle = async () => {
      if (nowMs < seenMs + (PERIOD * 1_000) / 10) throw new PieceworkError('CHAIN_UNREACHABLE', 'no node');
      return report();
    };
    answers.see(facts(1, closeAt()));
    await pass((PERIOD * 1_000) / 4);
    const last = calls.at(-1)!;
    expect(last.atMs).toBeGreaterThanOrEqual(seenMs + (PERIOD * 1_000) / 10);
    expect(last.atMs).toBeLessThan(seenMs + (PERIOD * 1_000) / 4);
    expect(warnings.length).toBe(2);
  });

  it('is answered before the end after an outage of 80 % of the period', async () => {
    const at = closeAt();
    const outageMs = PERIOD * 1_000 * 0.8;
    const seenMs = nowMs;
    let answeredMs: number | undefined;
    settle = async () => {
      if (nowMs < seenMs + outageMs) throw new PieceworkError('CHAIN_UNREACHABLE', 'no node');
      answeredMs ??= nowMs;
      return report();
    };
    answers.see(facts(1, at));
    await pass(PERIOD * 1_000);
    expect(answeredMs! - (seenMs + outageMs)).toBeLessThanOrEqual(10_000);
    expect(answeredMs! / 1_000).toBeLessThan(at);
  });

  it('of dust is said once and looked at now and then: gas may get cheaper', async () => {
    settle = async () => report([{ voucherKey: name(1), reason: 'below_cost' }]);
    answers.see(facts(1, closeAt()));
    await pass(12 * HOUR + 1_000);
    expect(calls.length).toBe(5);
    expect(warnings.filter((text) => text.includes('below_cost')).length).toBe(1);
  });

  it('is only told without a wallet', async () => {
    const poor = createCloseAnswers({
      clock,
      challengePeriod: PERIOD,
      settle: undefined,
      onWarning: (text) => warnings.push(text),
    });
    poor.see(facts(1, closeAt()));
    await pass(HOUR);
    expect(warnings).toEqual([expect.stringContaining('piecework settle')]);
  });

  it('is left alone once stopped', async () => {
    answers.see(facts(1, closeAt()));
    answers.stop();
    await pass(HOUR);
    expect(calls).toEqual([]);
  });
});
