/**
 * The only door to time. Timeouts use the monotonic clock, expiries the wall clock; both are injected, so
 * that tests and simulations run on their own time.
 */
export interface Clock {
  /** Monotonic milliseconds, for measuring and timeouts. */
  monotonicMs(): number;
  /** Seconds since the epoch by the wall clock, for expiries and records. */
  unixSeconds(): bigint;
  /** Runs `task` after `delayMs`; the returned function cancels it. Never keeps the process alive. */
  after(delayMs: number, task: () => void): () => void;
  /** Runs `task` every `periodMs` until cancelled. Never keeps the process alive. */
  every(periodMs: number, task: () => void): () => void;
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  unixSeconds: () => BigInt(Math.floor(Date.now() / 1000)),
  after(delayMs, task) {
    const timer = setTimeout(task, delayMs).unref();
    return () => clearTimeout(timer);
  },
  every(periodMs, task) {
    const timer = setInterval(task, periodMs).unref();
    return () => clearInterval(timer);
  },
};

/** Resolves after `delayMs`, or at once when `signal` is aborted. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const keepAlive = setInterval(() => {}, 1 << 30);
    const finish = (): void => {
      clearInterval(keepAlive);
      cancel();
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const cancel = clock.after(delayMs, finish);
    signal?.addEventListener('abort', finish, { once: true });
  });
}
