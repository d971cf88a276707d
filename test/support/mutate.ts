/** Turns good bytes into bytes that a decoder may find hard: repeatable by the chance that is handed in. */
import type { Chance } from './chance.js';

const EDGES = [0, 1, 0x30, 0x39, 0x64, 0x65, 0x69, 0x6c, 0x7f, 0x80, 0xfe, 0xff];

/** One of `good`, changed up to four times, in at most `bytesMax` bytes. Sometimes it stays as it is. */
export function mutated(good: readonly Uint8Array[], chance: Chance, bytesMax: number): Uint8Array {
  let bytes: Buffer = Buffer.from(chance.pick(good));
  for (let left = chance.below(5); left > 0; left--) bytes = mutateOnce(bytes, good, chance);
  return new Uint8Array(bytes.subarray(0, bytesMax));
}

function mutateOnce(bytes: Buffer, good: readonly Uint8Array[], chance: Chance): Buffer {
  const at = chance.below(bytes.length + 1);
  const before = bytes.subarray(0, at);
  const behind = bytes.subarray(Math.min(bytes.length, at + 1 + chance.below(8)));
  switch (chance.below(7)) {
    case 0:
      return Buffer.concat([before, Buffer.from([chance.pick(EDGES)]), bytes.subarray(at + 1)]);
    case 1:
      return Buffer.concat([before, chance.bytes(1), bytes.subarray(at + 1)]);
    case 2:
      return Buffer.concat([before, chance.bytes(1 + chance.below(8)), bytes.subarray(at)]);
    case 3:
      return Buffer.concat([before, Buffer.alloc(4, chance.pick([0, 0xff])), bytes.subarray(at + 4)]);
    case 4:
      return Buffer.concat([before, behind]);
    case 5:
      return Buffer.from(before);
    default: {
      const other = chance.pick(good);
      return Buffer.concat([before, other.subarray(chance.below(other.length + 1))]);
    }
  }
}
