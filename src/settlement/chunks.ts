import { tickGasMax, tickRowsMax } from '../limits.js';
import { hubTickGas, rowGasOf } from './planner.js';

/** Items in parts of at most `size`, in order. Costs O(items). */
export function chunks<Item>(items: readonly Item[], size: number): readonly (readonly Item[])[] {
  const parts: Item[][] = [];
  for (let at = 0; at < items.length; at += size) parts.push(items.slice(at, at + size));
  return parts;
}

/** What is settled with tick rows, in order, as much together as one transaction may carry; `stepsOf` gives a row's count. */
export function tickChunks<Item>(
  items: readonly Item[],
  stepsOf: (item: Item) => number,
): readonly (readonly Item[])[] {
  const parts: Item[][] = [];
  let gas = 0n;
  for (const item of items) {
    const more = rowGasOf({ steps: stepsOf(item) }, hubTickGas);
    const last = parts.at(-1);
    if (last && last.length < tickRowsMax && gas + more <= tickGasMax) {
      last.push(item);
      gas += more;
    } else {
      parts.push([item]);
      gas = hubTickGas.batch + more;
    }
  }
  return parts;
}
