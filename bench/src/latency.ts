/**
 * How long a voucher waits for its durable acknowledgement while they come at a steady rate, and how long the event
 * loop is kept from other work meanwhile. A voucher's time begins when it was due, not when this process got round
 * to it, so that no pause hides itself.
 */
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Settings } from './main.js';
import { check } from './measure.js';
import type { Row } from './report.js';
import { checkTill, openTill } from './till.js';

const RATE = 10_000;
const SECONDS = 10;
const CHANNELS = 10_000;

export async function latency({ smoke, folder, say }: Settings): Promise<Row[]> {
  const channels = smoke ? 64 : CHANNELS;
  const till = await openTill(join(folder, 'latency'), channels);
  await checkTill(till);
  const rounds = smoke ? 2 : (RATE * SECONDS) / channels;
  const messages = Array.from({ length: rounds }, (_, at) => till.messages(BigInt(at + 3), 0, channels));
  const all = messages.flat();
  // The first second warms up and is not counted.
  const skipped = smoke ? 0 : RATE;
  globalThis.gc?.();
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const times = new Float64Array(all.length);
  /** The oldest voucher of each channel that is not acknowledged. What is kept here must not be garbage to collect. */
  const open = Int32Array.from({ length: channels }, (_, channel) => channel);
  let left = all.length;
  let finish = (_failure?: unknown): void => undefined;
  const finished = new Promise<void>((resolve, reject) => {
    finish = (failure) => (failure === undefined ? resolve() : reject(failure));
  });
  /** An acknowledgement is one for all vouchers of its channel up to its own; those whose place it took had none. */
  const acknowledged = (nth: number): void => {
    const now = performance.now() - begin;
    const channel = nth % channels;
    for (let done = open[channel]!; done <= nth; done += channels) {
      times[done] = now - (done * 1000) / RATE;
      open[channel] = done + channels;
      left -= 1;
    }
    if (left === 0) finish();
  };
  const take = (nth: number): void => {
    till.take(nth % channels, all[nth]!).then((ack) => ack && acknowledged(nth), finish);
  };
  const begin = performance.now();
  for (let sent = 0; sent < all.length; ) {
    const due = Math.min(all.length, Math.floor(((performance.now() - begin) * RATE) / 1000) + 1);
    if (sent >= skipped) delay.enable();
    for (; sent < due; sent++) take(sent);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await finished;
  delay.disable();
  const seconds = (performance.now() - begin) / 1000;
  const heads = await till.heads();
  check(
    heads.every((head) => head === BigInt(rounds + 2)),
    'a head is not the last voucher',
  );
  await till.close();
  check(
    times.every((time) => time > 0),
    'a voucher was never acknowledged',
  );
  const sorted = times.slice(skipped).sort();
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
  const lag = (share: number): number => delay.percentile(share * 100) / 1e6;
  const rate = Math.round(all.length / seconds);
  say(`bench: latency at ${rate} vouchers/s over ${channels} channels`);
  const row = (id: string, what: string, ours: number, info = false): Row => {
    return { id: `latency.${id}`, what, unit: 'ms', ours, peer: null, ratio: null, info };
  };
  const from = `from due to durably acknowledged, ${rate} vouchers/s over ${channels} channels`;
  return [
    row('p99_ms', `99 of 100 vouchers ${from}; less is better`, at(0.99)),
    row('p50_ms', `half of them`, at(0.5), true),
    row('max_ms', `all of them`, at(1), true),
    row('lag_p999_ms', 'event loop meanwhile, 999 of 1,000 timers of 1 ms; less is better', lag(0.999)),
    row('lag_max_ms', 'all of them', lag(1), true),
  ];
}
