/**
 * The built command line as child processes: run to its end, or kept running and heard line by line. Every
 * process that is still there when the tests end is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { formatAddress } from '../../src/channels/channel.js';
import * as Tools from '../../src/engine/tools.js';
import { ERRORS, type ErrorCode } from '../../src/errors.js';
import type { Ground } from './ground.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export type Line = Readonly<Record<string, unknown>>;

export interface Ran {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Lines of standard output that are JSON objects. */
  readonly lines: readonly Line[];
}

export interface Running {
  readonly pid: number;
  readonly ended: Promise<Ran>;
  /** The first line, past or to come, that matches. Rejects when the process ends first. */
  until(match: (line: Line) => boolean, timeoutMs?: number): Promise<Line>;
  kill(signal: NodeJS.Signals): void;
  /** SIGTERM, and SIGKILL after ten seconds. */
  stop(): Promise<Ran>;
}

const children = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

export function start(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Running {
  const env = { ...process.env, NO_COLOR: '1', PIECEWORK_SETTLE: 'manual', ...environment };
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env });
  children.add(child);
  const lines: Line[] = [];
  const looks = new Set<() => void>();
  const look = (): void => {
    for (const each of [...looks]) each();
  };
  let stdout = '';
  let stderr = '';
  let over = false;
  child.stderr.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString('utf8')).slice(-64_000);
  });
  createInterface({ input: child.stdout }).on('line', (text) => {
    stdout += `${text}\n`;
    const line = objectOf(text);
    if (!line) return;
    lines.push(line);
    look();
  });
  const ended = new Promise<Ran>((resolve) => {
    child.once('close', (status, signal) => {
      children.delete(child);
      over = true;
      resolve({ status, signal, stdout, stderr, lines });
      look();
    });
  });
  return {
    pid: child.pid!,
    ended,
    until: (match, timeoutMs = 30_000) =>
      new Promise((resolve, reject) => {
        let seen = 0;
        const timer = setTimeout(
          () => finish(() => reject(new Error(`not within ${timeoutMs} ms\n${stdout}${stderr}`))),
          timeoutMs,
        );
        const finish = (settle: () => void): void => {
          clearTimeout(timer);
          looks.delete(each);
          settle();
        };
        const each = (): void => {
          for (; seen < lines.length; seen++) {
            const line = lines[seen]!;
            if (match(line)) return finish(() => resolve(line));
          }
          if (over) finish(() => reject(new Error(`it ended first\n${stdout}${stderr}`)));
        };
        looks.add(each);
        each();
      }),
    kill: (signal) => void child.kill(signal),
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
      const ran = await ended;
      clearTimeout(timer);
      return ran;
    },
  };
}

/** Runs a command to its end; kills it when it takes too long. */
export async function run(
  args: readonly string[],
  options: { readonly timeoutMs?: number; readonly environment?: NodeJS.ProcessEnv } = {},
): Promise<Ran> {
  const running = start(args, options.environment);
  const timer = setTimeout(() => running.kill('SIGKILL'), options.timeoutMs ?? 40_000);
  const ran = await running.ended;
  clearTimeout(timer);
  return ran;
}

/** The only JSON value a command printed. */
export async function ask<Value>(args: readonly string[]): Promise<Value> {
  const ran = await run(['--json', ...args]);
  if (ran.status !== 0)
    throw new Error(`${args.join(' ')} ended with ${ran.status}\n${ran.stdout}${ran.stderr}`);
  return JSON.parse(ran.stdout) as Value;
}

/** What differs from how a command has to end when it fails; empty when nothing does. */
export function wrongEnd(ran: Ran, code: ErrorCode, asJson: boolean): string[] {
  const { exit, advice } = ERRORS[code];
  const wrong: string[] = [];
  const expect = (holds: boolean, what: string): void => {
    if (!holds) wrong.push(`${what}\n${ran.stdout.slice(-600)}${ran.stderr.slice(-2_000)}`);
  };
  expect(ran.status === exit, `exit status ${ran.status ?? ran.signal} instead of ${exit}`);
  if (asJson) {
    const last = ran.lines.at(-1) ?? {};
    expect(last['event'] === 'error' && last['code'] === code, `no error event of ${code}`);
    expect(last['advice'] === advice, `other advice than "${advice}"`);
    expect(String(last['detail'] ?? '').length > 0, 'no detail');
  } else {
    expect(ran.stderr.includes(`piecework: ${code}: `), `standard error does not name ${code}`);
    expect(ran.stderr.includes(advice), `standard error does not say "${advice}"`);
    expect(!ran.stdout.includes(code), 'the error is on standard output');
  }
  expect(!/\n\s+at .+:\d+:\d+/.test(ran.stderr), 'a stack trace');
  return wrong;
}

export interface Home {
  readonly dataDir: string;
  readonly passwordFile: string;
  readonly walletPath: string;
  readonly address: Uint8Array;
  /** Flags that name data folder, password and chain. */
  readonly flags: readonly string[];
}

export const PASSWORD = 'a good password';

/** A data folder with a funded wallet that opens fast. */
export async function settle(ground: Ground, dataDir: string, funds: bigint): Promise<Home> {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const walletPath = join(dataDir, 'wallet.json');
  const passwordFile = join(dataDir, 'password');
  writeFileSync(passwordFile, `${PASSWORD}\n`, { mode: 0o600 });
  const { address } = await Tools.createWallet(walletPath, PASSWORD, { scryptN: 1_024 });
  if (funds > 0n) await ground.fund(address, funds);
  const flags = [
    ...['--data-dir', dataDir, '--password-file', passwordFile, '--log-level', 'warn'],
    ...chainFlags(ground),
  ];
  return { dataDir, passwordFile, walletPath, address, flags };
}

export function chainFlags(ground: Ground): string[] {
  return ['--chain', 'local', '--rpc', ground.rpcUrl, '--hub', formatAddress(ground.domain.hub)];
}

function objectOf(text: string): Line | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Line) : undefined;
  } catch {
    return undefined;
  }
}
