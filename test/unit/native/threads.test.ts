/** Threads by themselves, with workers that answer as the test wants: what the executor cannot provoke. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { PieceworkError } from '../../../src/errors.js';
import { Threads } from '../../../src/native/threads.js';
import type { Task } from '../../../src/native/work.js';

const root = mkdtempSync(join(tmpdir(), 'piecework-threads-'));
const path = join(root, 'worker.mjs');
writeFileSync(
  path,
  `import { parentPort, threadId } from 'node:worker_threads';
let nth = 0;
parentPort.on('message', ({ values: [what, size] }) => {
  if (what === 'die') process.exit(3);
  if (what === 'throw') throw new Error('thrown in the thread');
  nth += 1;
  parentPort.postMessage({ value: { what, nth, threadId, size: size?.length } });
});`,
);
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Echo {
  readonly what: unknown;
  readonly nth: number;
  readonly threadId: number;
  readonly size: number | undefined;
}

const taskOf = (...values: unknown[]) => ({ verb: 'checkTicks', values }) as unknown as Task;
const ask = async (threads: Threads, what: unknown) =>
  ((await threads.run(taskOf(what), [])) as { readonly value: Echo }).value;
const codeOf = (thrown: unknown) => (thrown instanceof PieceworkError ? thrown.code : String(thrown));

test('one thread answers in the order it was asked in', async () => {
  const threads = new Threads(path, 1);
  const echoes = await Promise.all(Array.from({ length: 50 }, (_, at) => ask(threads, at)));
  expect(echoes.map(({ what }) => what)).toEqual(Array.from({ length: 50 }, (_, at) => at));
  expect(echoes.map(({ nth }) => nth)).toEqual(Array.from({ length: 50 }, (_, at) => at + 1));
  await threads.close();
});

test('no more threads than allowed, and no more than there are tasks', async () => {
  const threads = new Threads(path, 3);
  const alone = [await ask(threads, 0), await ask(threads, 1)];
  expect(new Set(alone.map(({ threadId }) => threadId)).size).toBe(1);
  const many = await Promise.all(Array.from({ length: 60 }, (_, at) => ask(threads, at)));
  expect(new Set(many.map(({ threadId }) => threadId)).size).toBe(3);
  await threads.close();
});

test.each(['die', 'throw'])('a thread that dies takes only its own task along: %s', async (end) => {
  const threads = new Threads(path, 1);
  await ask(threads, 'before');
  const lost = threads.run(taskOf(end), []).then(() => 'nothing failed', codeOf);
  const after = [ask(threads, 'a'), ask(threads, 'b')];
  expect(await lost).toBe('INTERNAL');
  expect((await Promise.all(after)).map(({ what }) => what)).toEqual(['a', 'b']);
  await threads.close();
});

test('what cannot be cloned is refused, and the next task is done', async () => {
  const threads = new Threads(path, 1);
  const bytes = new Uint8Array(9);
  const first = threads.run(taskOf('first', bytes), [bytes.buffer]);
  const bad = threads.run(taskOf(codeOf), []).then(() => 'nothing failed', codeOf);
  const next = ask(threads, 'next');
  expect(await first).toMatchObject({ value: { what: 'first', size: 9 } });
  expect(bytes.length, 'the buffer was handed over').toBe(0);
  expect(await bad).toContain('DataCloneError');
  expect((await next).what).toBe('next');
  await threads.close();
});
