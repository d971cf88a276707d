/** A clock on which time passes only when it is told to: to the next task that waits for it. */
import type { Clock } from '../../src/clock.js';

export class Time implements Clock {
  nowMs = 0;
  #tasks: Array<{ readonly atMs: number; readonly run: () => void }> = [];

  monotonicMs(): number {
    return this.nowMs;
  }
  unixSeconds(): bigint {
    return 1_800_000_000n + BigInt(Math.floor(this.nowMs / 1000));
  }
  after(delayMs: number, run: () => void): () => void {
    const task = { atMs: this.nowMs + delayMs, run };
    this.#tasks.push(task);
    return () => {
      this.#tasks = this.#tasks.filter((one) => one !== task);
    };
  }
  every(periodMs: number, run: () => void): () => void {
    let cancel = (): void => {};
    const again = (): void => {
      cancel = this.after(periodMs, () => {
        again();
        run();
      });
    };
    again();
    return () => cancel();
  }
  /** Runs what is due next. */
  pass(): void {
    const [next] = [...this.#tasks].sort((a, b) => a.atMs - b.atMs);
    if (!next) throw new Error('nobody waits for anything');
    this.#tasks = this.#tasks.filter((one) => one !== next);
    this.nowMs = Math.max(this.nowMs, next.atMs);
    next.run();
  }
}
