/** What is lent out is what was read, and its memory is not used again before it came back. */
import { expect, it } from 'vitest';
import { blockBytesMax, blockHeadBytes } from '../../../src/limits.js';
import type * as Layout from '../../../src/torrent/layout.js';
import * as ReadAhead from '../../../src/torrent/read-ahead.js';

const BLOCKS = 4;
const PIECE = BLOCKS * blockBytesMax;
const layout: Layout.Layout = { pieceLength: PIECE, pieceCount: 9, totalBytes: 8 * PIECE + 100, files: [] };
const valueAt = (index: number, offset: number): number => (index * 31 + Math.floor(offset / 1000)) & 0xff;

function bench() {
  const targets = new Set<ArrayBufferLike>();
  const ahead = ReadAhead.create(
    {
      async readInto(index, offset, parts) {
        let at = offset;
        for (const part of parts) {
          targets.add(part.buffer);
          for (let byte = 0; byte < part.length; byte++) part[byte] = valueAt(index, at++);
        }
      },
    },
    layout,
  );
  return { ahead, targets };
}

/** The blocks' own bytes, without the room in front of each. */
function payload(frames: Uint8Array): Buffer {
  const blocks: Uint8Array[] = [];
  for (let at = 0; at < frames.length; at += blockHeadBytes + blockBytesMax)
    blocks.push(frames.subarray(at + blockHeadBytes, at + blockHeadBytes + blockBytesMax));
  return Buffer.concat(blocks);
}

const expected = (index: number, offset: number, length: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, at) => valueAt(index, offset + at)));

it('lends any run of blocks, and copies any part, as it was read', async () => {
  const { ahead } = bench();
  expect(ahead.lend(2, 0, PIECE)).toBeUndefined();
  await ahead.load(2, 0, 1);
  for (let from = 0; from < BLOCKS; from++) {
    for (let to = from + 1; to <= BLOCKS; to++) {
      const [offset, length] = [from * blockBytesMax, (to - from) * blockBytesMax];
      const loan = ahead.lend(2, offset, length)!;
      expect(loan.bytes).toBe(length);
      expect(payload(loan.frames).equals(expected(2, offset, length))).toBe(true);
    }
  }
  for (const [offset, length] of [
    [5, 7],
    [blockBytesMax - 3, 6],
    [1, PIECE - 2],
  ] as const)
    expect(Buffer.from(ahead.copy(2, offset, length)!).equals(expected(2, offset, length))).toBe(true);
  await ahead.load(8, 0, 1);
  const last = ahead.lend(8, 0, 100)!;
  expect(last.bytes).toBe(100);
  expect(payload(last.frames).equals(expected(8, 0, 100))).toBe(true);
});

it('uses memory again once all of a stretch was lent and came back, and never before', async () => {
  const { ahead, targets } = bench();
  await ahead.load(0, 0, 1);
  const half = ahead.lend(0, 0, PIECE / 2)!;
  half.release();
  expect(ahead.copy(0, 0, 1), 'half is still to be lent').toBeDefined();
  const rest = ahead.lend(0, PIECE / 2, PIECE / 2)!;
  const held = payload(rest.frames);
  for (const index of [1, 2, 3]) {
    await ahead.load(index, 0, 1);
    ahead.lend(index, 0, PIECE)!.release();
    expect(ahead.lend(index, 0, PIECE), 'given out').toBeUndefined();
  }
  expect(payload(rest.frames).equals(held)).toBe(true);
  expect(targets.size).toBe(2);
});
