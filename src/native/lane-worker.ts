/** The entry of the lane's thread: does one task after the other. */
import { parentPort } from 'node:worker_threads';
import { perform, type Task } from './work.js';

parentPort?.on('message', (task: Task) => parentPort?.postMessage(perform(task)));
