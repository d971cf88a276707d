/** The lane by itself, with workers that answer as the test wants: what the executor cannot provoke. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { PieceworkError } from '../../../src/errors.js';
import { Lane } from '../../../src/native/lane.js';
import type { Task } from '../../../src/native/work.js';

const root = mkdtempSync(join(tmpdir(), 'piecework-lane-'));
const path = join(root, 'worker.mjs');
writeFileSync(
  path,
  `import { parentPort } from 'node:worker_threads';
let nth = 0;
parentPort.on('message', ({ values: [what, size] }) => {
  if (what === 'die') process.exit(3);
  if (what === 'throw') throw new Error('thrown in the thread');
  nth += 1;
  parentPort.postMessage({ value: { what, nth, size: size?.length } });
});`,
);
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Echo {
  readonly what: unknown;
  readonly nth: number;
  readonly size: number | undefined;
}

const taskOf = (...values: unknown[]) => ({ verb: 'checkTicks', values }) as unknown as Task;
const ask = async (lane: Lane, what: unknown) =>
  ((await lane.run(taskOf(what), [])) as { readonly value: Echo }).value;
const codeOf = (thrown: unknown) => (thrown instanceof PieceworkError ? thrown.code : String(thrown));

test('one thread answers in the order it was asked in', async () => {
  const lane = new Lane(path);
  const echoes = await Promise.all(Array.from({ length: 50 }, (_, at) => ask(lane, at)));
  expect(echoes.map(({ what }) => what)).toEqual(Array.from({ length: 50 }, (_, at) => at));
  expect(echoes.map(({ nth }) => nth)).toEqual(Array.from({ length: 50 }, (_, at) => at + 1));
  await lane.close();
});

test.each(['die', 'throw'])('a thread that dies takes only its own task along: %s', async (end) => {
  const lane = new Lane(path);
  await ask(lane, 'before');
  const lost = lane.run(taskOf(end), []).then(() => 'nothing failed', codeOf);
  const after = [ask(lane, 'a'), ask(lane, 'b')];
  expect(await lost).toBe('INTERNAL');
  expect((await Promise.all(after)).map(({ what }) => what)).toEqual(['a', 'b']);
  await lane.close();
});

test('what cannot be cloned is refused, and the next task is done', async () => {
  const lane = new Lane(path);
  const bytes = new Uint8Array(9);
  const first = lane.run(taskOf('first', bytes), [bytes.buffer]);
  const bad = lane.run(taskOf(codeOf), []).then(() => 'nothing failed', codeOf);
  const next = ask(lane, 'next');
  expect(await first).toMatchObject({ value: { what: 'first', size: 9 } });
  expect(bytes.length, 'the buffer was handed over').toBe(0);
  expect(await bad).toContain('DataCloneError');
  expect((await next).what).toBe('next');
  await lane.close();
});
