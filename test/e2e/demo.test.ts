/** `npm start` as a process: it reconciles on given files, and leaves nothing behind when it is interrupted. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
let folder: string;
let scratch: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'piecework-demo-test-'));
  scratch = join(folder, 'scratch');
  mkdirSync(join(folder, 'payload', 'inner'), { recursive: true });
  mkdirSync(scratch);
  writeFileSync(join(folder, 'payload', 'large.bin'), randomBytes(8_000_001));
  writeFileSync(join(folder, 'payload', 'inner', 'small.bin'), randomBytes(7));
  writeFileSync(join(folder, 'payload', 'empty'), '');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function start(...flags: string[]): {
  child: ChildProcess;
  text: () => string;
  ended: Promise<number | null>;
} {
  const child = spawn(process.execPath, [main, 'demo', ...flags, join(folder, 'payload')], {
    env: { ...process.env, TMPDIR: scratch },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  child.stderr.on('data', (chunk) => {
    text += chunk;
  });
  return { child, text: () => text, ended: new Promise((resolve) => child.once('close', resolve)) };
}

/** Every process started below `pid`. */
function descendants(pid: number): number[] {
  const rows = execFileSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((row) => row.trim().split(/\s+/).map(Number));
  const children = rows.filter(([, parent]) => parent === pid).map(([child]) => child!);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

describe('npm start', () => {
  it.each([[], ['--ticks']])(
    'buys, compares, settles once and reconciles to the wei %s',
    async (...flags) => {
      const { text, ended } = start(...flags);
      expect(await ended, text()).toBe(0);
      expect(text()).toContain('Every byte of 7.6 MiB is the same as its source.');
      expect(text()).toMatch(/settled +[0-9.]+ BTT in 1 transaction/);
      expect(text()).toContain('Everything reconciles to the wei.');
      expect(text()).not.toContain('FAIL');
      expect(readdirSync(scratch)).toEqual([]);
    },
  );

  it.each(['SIGINT', 'SIGTERM'] as const)('ends everything it started on %s', async (signal) => {
    const { child, text, ended } = start();
    while (!text().includes('Payee serves')) await new Promise((resolve) => setTimeout(resolve, 20));
    const started = descendants(child.pid!);
    expect(started.length).toBeGreaterThanOrEqual(3);
    child.kill(signal);
    expect(await ended, text()).toBe(130);
    const untilMs = performance.now() + 10_000;
    while (started.some(alive) && performance.now() < untilMs)
      await new Promise((resolve) => setTimeout(resolve, 50));
    expect(started.filter(alive)).toEqual([]);
    expect(readdirSync(scratch)).toEqual([]);
  });
});
