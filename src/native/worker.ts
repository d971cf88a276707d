/** The entry of a thread: does tasks, and gives the buffers of pieces back instead of copying them. */
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { type HashedPieces, perform, type Reply, type Task, transferable } from './work.js';

export function run(task: Task): unknown {
  const reply: Reply = perform(task);
  if (task.verb !== 'hashPieces' || 'failed' in reply) return reply;
  const { pieces } = reply.value as HashedPieces;
  // Only the pieces travel: the digests were allocated by the addon and are copied.
  return move({ [transferableSymbol]: transferable(pieces), [valueSymbol]: reply });
}
