/**
 * How long a voucher waits for its durable acknowledgement while they come at a steady rate, and how long the event
 * loop is kept from other work meanwhile. A voucher's time begins when it was due, not when this process got round
 * to it, so that no pause hides itself.
 *
 * A program of its own, so that its heap holds nothing of other benches: reads one `Order` as JSON from its arguments
 * and writes one `Found` as JSON.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { check } from './measure.js';
import { checkTill, openTill } from './till.js';

export interface Order {
  /** The till's folder. */
  readonly folder: string;
  readonly smoke: boolean;
}

/** Milliseconds, but for the rate. */
export interface Found {
  readonly channels: number;
  /** Vouchers a second. */
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly lagP999: number;
  readonly lagMax: number;
}

const RATE = 10_000;
const SECONDS = 10;
/** Not counted: the engine that compiles JavaScript goes on improving what it runs for so long. */
const SECONDS_BEFORE = 3;
const CHANNELS = 10_000;

async function measure({ smoke, folder }: Order): Promise<Found> {
  const channels = smoke ? 64 : CHANNELS;
  const till = await openTill(folder, channels);
  await checkTill(till);
  const rounds = smoke ? 2 : (RATE * (SECONDS_BEFORE + SECONDS)) / channels;
  const messages = Array.from({ length: rounds }, (_, at) => till.messages(BigInt(at + 3), 0, channels));
  const all = messages.flat();
  const skipped = smoke ? 0 : RATE * SECONDS_BEFORE;
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
  const lagOf = (share: number): number => delay.percentile(share * 100) / 1e6;
  const rate = Math.round(all.length / seconds);
  const lag = { lagP999: lagOf(0.999), lagMax: lagOf(1) };
  return { channels, rate, p50: at(0.5), p99: at(0.99), max: at(1), ...lag };
}

console.log(JSON.stringify(await measure(JSON.parse(process.argv[2] ?? '{}') as Order)));
