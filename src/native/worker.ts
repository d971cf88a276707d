/** The entry of a thread: does tasks, and gives the buffers of pieces back instead of copying them. */
import { parentPort } from 'node:worker_threads';
import { type HashedPieces, perform, type Reply, type Task, transferable } from './work.js';

parentPort?.on('message', (task: Task) => {
  const reply: Reply = perform(task);
  parentPort?.postMessage(reply, transferable(piecesOf(task, reply)));
});

/** The pieces that travel back with a reply. Digests do not: the addon allocated them, so they are copied. */
function piecesOf({ verb }: Task, reply: Reply): Uint8Array[] {
  return verb === 'hashPieces' && 'value' in reply ? (reply.value as HashedPieces).pieces : [];
}
