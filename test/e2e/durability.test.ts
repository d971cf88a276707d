/**
 * A sync comes before every acknowledgement and every voucher that is sent. Killing a process cannot show
 * that, since the system keeps what it wrote; so both processes run under a library that knows what is synced
 * and reads what leaves (test/support/preload/sync-watch.c). About 15 s; the canary's addon takes minutes to
 * build the first time.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { inline } from '../../src/native/executor.js';
import { chance, seedFromEnvironment } from '../support/chance.js';
import { writePayload } from '../support/crash-payload.js';
import { type Side, Stage } from '../support/crash-stage.js';
import { makeWorld } from '../support/crash-world.js';
import { preloadLibrary, skipSyncAddon } from '../support/preload.js';

/** How often each side's process was found to do what the library watches for, by line. */
type Findings = Readonly<Record<Side, (line: string) => number>>;

/** Sells and buys one torrent, watched; with `addon` instead of the one that is shipped. */
async function watch(seed: number, addon?: string): Promise<Findings> {
  const library = await preloadLibrary('sync-watch');
  const world = await makeWorld();
  const executor = inline();
  const log = (side: Side): string => join(world.folder, `${side}.sync`);
  const environment = (side: Side): NodeJS.ProcessEnv => ({
    LD_PRELOAD: library,
    PIECEWORK_SYNC_LOG: log(side),
    // What goes through the ring is seen by no library.
    UV_USE_IO_URING: '0',
    ...(addon === undefined ? {} : { PIECEWORK_ADDON: addon }),
  });
  const stage = new Stage(world, executor, { environment });
  try {
    stage.turnTo('watched');
    writePayload(stage.sources, chance(seed));
    await stage.startPayee();
    stage.spawn('payer');
    await stage.finish();
    await stage.stop('payee');
    const lines = { payee: readLines(log('payee')), payer: readLines(log('payer')) };
    const count = (side: Side) => (line: string) => lines[side].filter((one) => one === line).length;
    return { payee: count('payee'), payer: count('payer') };
  } finally {
    await stage.end();
    await executor.close();
    await world.close();
  }
}

const readLines = (path: string): string[] => readFileSync(path, 'utf8').trim().split('\n');

function tell(name: string, seed: number, { payee, payer }: Findings): void {
  const counts = (count: (line: string) => number): string =>
    ['sync journal', 'ok voucher', 'ok state', 'ok ack', 'bad voucher', 'bad state', 'bad ack']
      .map((line) => `${line} ${count(line)}`)
      .join(', ');
  console.log(`${name}, seed ${seed}\n  payee: ${counts(payee)}\n  payer: ${counts(payer)}`);
}

test('every voucher and acknowledgement that leaves is durable', { timeout: 120_000 }, async () => {
  const seed = seedFromEnvironment();
  const { payee, payer } = await watch(seed);
  tell('synced', seed, { payee, payer });
  for (const side of [payee, payer]) {
    expect(side('bad voucher') + side('bad state') + side('bad ack')).toBe(0);
    expect(side('sync journal')).toBeGreaterThan(20);
  }
  // Nothing would be proved about messages that never left.
  expect(payer('ok voucher')).toBeGreaterThan(10);
  expect(payee('ok ack')).toBeGreaterThan(10);
});

test('an addon that skips the sync is caught', { timeout: 900_000 }, async () => {
  const seed = seedFromEnvironment();
  const { payee, payer } = await watch(seed, await skipSyncAddon());
  tell('skipped', seed, { payee, payer });
  expect(payer('bad voucher')).toBeGreaterThan(10);
  expect(payee('bad ack')).toBeGreaterThan(10);
  expect(payer('ok voucher') + payee('ok ack')).toBe(0);
});
