/** A `piecework` command as a process of its own, read through the JSON lines it prints. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ERRORS, type ErrorCode, PieceworkError } from '../errors.js';

export interface Child {
  /** Undefined when it could not be started. */
  readonly pid: number | undefined;
  /** The next event of that name. Rejects when the process ends first. */
  event<Event>(name: string): Promise<Event>;
  /** Every line, until the process closes its output. */
  events<Event>(): AsyncIterableIterator<Event>;
  /** Resolves when it ended well. */
  readonly ended: Promise<void>;
  /** Rejects when it ended although nobody stopped it. */
  readonly failed: Promise<never>;
  /** Asks it to end and waits; ends it for good after ten seconds. */
  stop(): Promise<void>;
}

const STOP_MS = 10_000;

export function startChild(args: readonly string[]): Child {
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let stopping = false;
  let complaint = '';
  let reported: PieceworkError | undefined;
  child.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString('utf8')).slice(-4_000);
  });
  const closed = new Promise<number | null>((resolve) => child.once('close', (status) => resolve(status)));
  const problem = (status: number | null): PieceworkError =>
    reported ??
    new PieceworkError(
      'INTERNAL',
      `piecework ${args[args.indexOf('--log-level') + 2]} ended with ${status}: ${complaint.trim()}`,
    );
  const ended = closed.then((status) => {
    if (status !== 0 && !stopping) throw problem(status);
  });
  ended.catch(() => undefined);
  const failed = closed.then((status) => {
    if (stopping) return new Promise<never>(() => {});
    throw problem(status);
  });
  failed.catch(() => undefined);

  async function* events<Event>(): AsyncGenerator<Event> {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) return;
      const event = JSON.parse(value) as Event & { event?: string; code?: string; detail?: string };
      if (event.event === 'error') {
        const code =
          event.code !== undefined && event.code in ERRORS ? (event.code as ErrorCode) : 'INTERNAL';
        reported = new PieceworkError(code, event.detail);
        throw reported;
      }
      yield event as Awaited<Event>;
    }
  }

  return {
    pid: child.pid,
    ended,
    failed,
    events,
    async event<Event>(name: string): Promise<Event> {
      for (;;) {
        const { value, done } = await lines.next();
        if (done) throw problem(await closed);
        const event = JSON.parse(value) as { event: string; code?: ErrorCode; detail?: string };
        if (event.event === name) return event as unknown as Event;
        if (event.event === 'error') throw new PieceworkError(event.code ?? 'INTERNAL', event.detail);
      }
    },
    async stop() {
      stopping = true;
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      await closed;
      clearTimeout(timer);
    },
  };
}
