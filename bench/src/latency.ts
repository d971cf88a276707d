/** The rows of `latency-child.ts`, which measures how long a voucher waits for its durable acknowledgement. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { COLLECTOR_FLAG } from '../../dist/memory.js';
import type { Found, Order } from './latency-child.js';
import type { Settings } from './main.js';
import type { Row } from './report.js';

export async function latency({ smoke, folder, say, beforeEnd }: Settings): Promise<Row[]> {
  const program = fileURLToPath(new URL('./latency-child.js', import.meta.url));
  const order: Order = { folder: join(folder, 'latency'), smoke };
  const flags = ['--expose-gc', COLLECTOR_FLAG];
  const running = promisify(execFile)(process.execPath, [...flags, program, JSON.stringify(order)]);
  beforeEnd(async () => void running.child.kill());
  const found = JSON.parse((await running).stdout) as Found;
  const { rate, channels } = found;
  say(`bench: latency at ${rate} vouchers/s over ${channels} channels`);
  const row = (id: string, what: string, ours: number, info = false): Row => {
    return { id: `latency.${id}`, what, unit: 'ms', ours, peer: null, ratio: null, info };
  };
  const from = `from due to durably acknowledged, ${rate} vouchers/s over ${channels} channels`;
  return [
    row('p99_ms', `99 of 100 vouchers ${from}; less is better`, found.p99),
    row('p50_ms', `half of them`, found.p50, true),
    row('max_ms', `all of them`, found.max, true),
    row('lag_p999_ms', 'event loop meanwhile, 999 of 1,000 timers of 1 ms; less is better', found.lagP999),
    row('lag_max_ms', 'all of them', found.lagMax, true),
  ];
}
