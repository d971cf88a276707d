/**
 * Threads that do tasks, each one at a time. Tasks are begun in the order in which they were asked for, so that a
 * single thread is an ordered lane. What is under way is kept with its thread and what waits in one queue: a table that
 * tasks enter and leave would, once it is old, keep those behind it from being collected as garbage soon.
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

interface Thread {
  readonly worker: Worker;
  job: Job | undefined;
  fault: Error | undefined;
}

export class Threads {
  readonly #path: string;
  readonly #countMax: number;
  readonly #waiting: Job[] = [];
  #threads: Thread[] = [];
  #isClosed = false;

  /** Up to `countMax` threads that run the module at `path`. One is started at once, others when they are needed. */
  constructor(path: string, countMax: number) {
    this.#path = path;
    this.#countMax = countMax;
    this.#start();
  }

  /** Does a task; buffers in `transfer` are handed over. Rejects when they cannot be, or when the thread dies. */
  run(task: Task, transfer: readonly ArrayBuffer[]): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ task, transfer, resolve, reject });
      this.#give();
    });
  }

  /** Ends the threads; what they still do is lost. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  /** Hands the task that waits longest to a thread, if there is one for it. */
  #give(): void {
    if (this.#waiting.length === 0) return;
    const idle = this.#threads.find(({ job }) => job === undefined);
    const thread = idle ?? (this.#threads.length < this.#countMax ? this.#start() : undefined);
    if (!thread) return;
    const job = this.#waiting.shift()!;
    thread.job = job;
    try {
      thread.worker.ref();
      thread.worker.postMessage(job.task, job.transfer);
    } catch (thrown) {
      this.#finish(thread, (done) => done.reject(thrown));
    }
  }

  /** Answers the task of a thread and gives it the next one. */
  #finish(thread: Thread, answer: (job: Job) => void): void {
    const { job } = thread;
    thread.job = undefined;
    // A thread without a task does not keep the process alive.
    thread.worker.unref();
    if (job) answer(job);
    this.#give();
  }

  #start(): Thread {
    const worker = new Worker(this.#path, { execArgv: [] });
    const thread: Thread = { worker, job: undefined, fault: undefined };
    this.#threads.push(thread);
    worker.unref();
    worker.on('message', (reply: Reply) => this.#finish(thread, (job) => job.resolve(reply)));
    worker.on('messageerror', (fault) => this.#finish(thread, (job) => job.reject(fault)));
    worker.on('error', (fault) => {
      thread.fault = fault;
    });
    worker.on('exit', () => {
      this.#threads = this.#threads.filter((one) => one !== thread);
      thread.job?.reject(new PieceworkError('INTERNAL', 'a thread died', { cause: thread.fault }));
      if (!this.#isClosed) this.#give();
    });
    return thread;
  }
}
