/**
 * The ordered lane: one thread that does tasks one at a time, in the order in which they were asked for. Every grant and
 * voucher goes through it, so it keeps nothing by the way but a queue (ADR 11).
 */
import { Worker } from 'node:worker_threads';
import { PieceworkError } from '../errors.js';
import type { Reply, Task } from './work.js';

interface Job {
  readonly task: Task;
  readonly transfer: readonly ArrayBuffer[];
  readonly resolve: (reply: Reply) => void;
  readonly reject: (reason: unknown) => void;
}

export class Lane {
  readonly #path: string;
  readonly #waiting: Job[] = [];
  #worker: Worker;
  #job: Job | undefined;
  #isClosed = false;

  /** Starts a thread that runs the module at `path`; a new one takes the place of one that dies. */
  constructor(path: string) {
    this.#path = path;
    this.#worker = this.#start();
  }

  /** Does a task; buffers in `transfer` are handed over. Rejects when they cannot be, or when the thread dies. */
  run(task: Task, transfer: readonly ArrayBuffer[]): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ task, transfer, resolve, reject });
      this.#give();
    });
  }

  /** Ends the thread; what it still does is lost. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#worker.terminate();
  }

  /** Hands the task that waits longest to the thread, if it is idle. */
  #give(): void {
    if (this.#job) return;
    const job = this.#waiting.shift();
    if (!job) return;
    this.#job = job;
    try {
      this.#worker.ref();
      this.#worker.postMessage(job.task, job.transfer);
    } catch (thrown) {
      this.#finish(({ reject }) => reject(thrown));
    }
  }

  /** Answers the task under way and gives the next one. */
  #finish(answer: (job: Job) => void): void {
    const job = this.#job;
    this.#job = undefined;
    // A thread without a task does not keep the process alive.
    this.#worker.unref();
    if (job) answer(job);
    this.#give();
  }

  #start(): Worker {
    const worker = new Worker(this.#path, { execArgv: [] });
    let fault: Error | undefined;
    worker.unref();
    worker.on('message', (reply: Reply) => this.#finish(({ resolve }) => resolve(reply)));
    worker.on('messageerror', (thrown) => this.#finish(({ reject }) => reject(thrown)));
    worker.on('error', (thrown) => {
      fault = thrown;
    });
    worker.on('exit', () => {
      if (!this.#isClosed) this.#worker = this.#start();
      const died = new PieceworkError('INTERNAL', 'the thread of the lane died', { cause: fault });
      this.#finish(({ reject }) => reject(died));
    });
    return worker;
  }
}
