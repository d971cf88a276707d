/**
 * A `piecework` command as a process of its own that can be killed at any moment. What it printed before it
 * died is heard in full: its pipe is read to the end before `ended` resolves.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** A JSON line; the fields of each event are those of the command. */
export interface Line {
  readonly event?: string;
  readonly [field: string]: unknown;
}

export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly complaint: string;
}

export interface Process {
  readonly pid: number;
  /** Resolves when it is gone and everything it printed was heard. */
  readonly ended: Promise<Ended>;
  readonly alive: boolean;
  /** Resolves with the first line that matches, also one of the past; undefined when it ends without one. */
  until(match: (line: Line) => boolean): Promise<Line | undefined>;
  /** kill -9. Resolves once it is gone; false when it was gone already. */
  kill(): Promise<boolean>;
  /** Asks it to end and waits. */
  stop(): Promise<Ended>;
}

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export function start(
  args: readonly string[],
  onLine: (line: Line) => void = () => {},
  environment: NodeJS.ProcessEnv = {},
): Process {
  const env = { ...process.env, PIECEWORK_SETTLE: 'manual', ...environment };
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env });
  running.add(child);
  const lines: Line[] = [];
  const waiting = new Set<(line: Line) => void>();
  let complaint = '';
  let over = false;
  child.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString('utf8')).slice(-8_000);
  });
  createInterface({ input: child.stdout }).on('line', (text) => {
    let line: Line;
    try {
      line = JSON.parse(text) as Line;
    } catch {
      // A killed process may leave half a line.
      complaint += `\n[not JSON] ${text.slice(0, 200)}`;
      return;
    }
    if (line.event === 'error') complaint += `\n${text}`;
    lines.push(line);
    onLine(line);
    for (const wake of waiting) wake(line);
  });
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (status, signal) => {
      over = true;
      running.delete(child);
      resolve({ status, signal, complaint });
    });
  });
  return {
    pid: child.pid!,
    ended,
    get alive() {
      return !over && child.exitCode === null && child.signalCode === null;
    },
    async until(match) {
      const known = lines.find(match);
      if (known) return known;
      let wake: (line: Line) => void = () => {};
      const found = new Promise<Line>((resolve) => {
        wake = (line) => match(line) && resolve(line);
        waiting.add(wake);
      });
      const line = await Promise.race([found, ended.then(() => lines.find(match))]);
      waiting.delete(wake);
      return line;
    },
    async kill() {
      const hit = child.exitCode === null && child.signalCode === null && child.kill('SIGKILL');
      const { signal } = await ended;
      return hit && signal === 'SIGKILL';
    },
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
      const how = await ended;
      clearTimeout(timer);
      return how;
    },
  };
}

/** Runs a command to its end and gives its lines. @throws Error with what it complained of. */
export async function run(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Line[]> {
  const lines: Line[] = [];
  const { status, signal, complaint } = await start(args, (line) => lines.push(line), environment).ended;
  if (status !== 0) throw new Error(`${commandOf(args)} ended with ${signal ?? status}: ${complaint}`);
  return lines;
}

/** The command among the flags, for messages. */
function commandOf(args: readonly string[]): string {
  const at = args.findIndex((arg, index) => !arg.startsWith('--') && !args[index - 1]?.startsWith('--'));
  return args.slice(at, at + 2).join(' ');
}
