/** All pieces are hashed once, whatever is missing, in bounded memory, and a failure ends the sweep. */
import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { BATCH_BYTES, DIGEST_BYTES, type Hasher, plainHasher } from '../../../src/torrent/hasher.js';
import { hashAll, type Sweep } from '../../../src/torrent/sweep.js';

const PIECE = BATCH_BYTES / 4;
const LAST = 1000;
const COUNT = 11;
const layout = {
  files: [],
  pieceLength: PIECE,
  totalBytes: PIECE * (COUNT - 1) + LAST,
  pieceCount: COUNT,
};
const sizeOf = (index: number) => (index === COUNT - 1 ? LAST : PIECE);
const digestOf = (index: number) =>
  createHash('sha1')
    .update(new Uint8Array(sizeOf(index)).fill(index + 1))
    .digest('hex');

/** Sweeps with whatever is changed; the digests that came, by piece, and the ends that were reported. */
async function sweep(changed: Partial<Sweep> = {}) {
  const found = new Map<number, string>();
  const ends: number[] = [];
  await hashAll({
    layout,
    hasher: plainHasher,
    async read(index, target) {
      expect(target.length).toBe(sizeOf(index));
      target.fill(index + 1);
      return true;
    },
    hashed(indices, digests, end) {
      ends.push(end);
      for (const [at, index] of indices.entries()) {
        const digest = digests.subarray(at * DIGEST_BYTES, (at + 1) * DIGEST_BYTES);
        found.set(index, Buffer.from(digest).toString('hex'));
      }
    },
    signal: undefined,
    ...changed,
  });
  return { found, ends };
}

it('hashes every piece once, in order', async () => {
  const { found, ends } = await sweep();
  expect(ends).toEqual([4, 8, 11]);
  expect([...found]).toEqual(Array.from({ length: COUNT }, (_, index) => [index, digestOf(index)]));
});

it('hashes pieces that are longer than a batch one by one', async () => {
  const long = { files: [], pieceLength: BATCH_BYTES + 1, totalBytes: BATCH_BYTES + 2, pieceCount: 2 };
  const { ends } = await sweep({ layout: long, read: async () => true });
  expect(ends).toEqual([1, 2]);
});

it('goes on with the memory that comes back, not with what it handed over', async () => {
  // As the pool does: what it is given is moved away.
  const moved = (piece: Uint8Array): Uint8Array =>
    structuredClone(piece, { transfer: [piece.buffer as ArrayBuffer] });
  const moving: Hasher = {
    hashPieces: (algorithm, pieces) => plainHasher.hashPieces(algorithm, pieces.map(moved)),
  };
  const { found } = await sweep({ hasher: moving });
  expect([...found.values()]).toEqual(Array.from({ length: COUNT }, (_, index) => digestOf(index)));
});

it('leaves out what is not there', async () => {
  const missing = new Set([0, 4, 5, 6, 7, 10]);
  const { found, ends } = await sweep({
    async read(index, target) {
      target.fill(missing.has(index) ? 0xee : index + 1);
      return !missing.has(index);
    },
  });
  expect(ends).toEqual([4, 8, 11]);
  const there = [1, 2, 3, 8, 9];
  expect([...found]).toEqual(there.map((index) => [index, digestOf(index)]));
});

it('reads one batch ahead, and into memory that came back', async () => {
  let hashing = 0;
  let read = 0;
  let aheadMax = 0;
  const buffers = new Set<ArrayBufferLike>();
  const slow: Hasher = {
    async hashPieces(algorithm, pieces) {
      hashing += 1;
      expect(hashing).toBe(1);
      const readBefore = read;
      await new Promise((resolve) => setTimeout(resolve, 20));
      aheadMax = Math.max(aheadMax, read - readBefore);
      hashing -= 1;
      return plainHasher.hashPieces(algorithm, pieces);
    },
  };
  const { found } = await sweep({
    hasher: slow,
    async read(index, target) {
      read += 1;
      if (sizeOf(index) === PIECE) buffers.add(target.buffer);
      target.fill(index + 1);
      return true;
    },
  });
  expect([...found.values()]).toEqual(Array.from({ length: COUNT }, (_, index) => digestOf(index)));
  expect(aheadMax).toBe(4);
  expect(buffers.size).toBe(8);
});

it('reads on into the memory of what is not there', async () => {
  const buffers = new Set<ArrayBufferLike>();
  await sweep({
    async read(index, target) {
      if (sizeOf(index) === PIECE) buffers.add(target.buffer);
      return false;
    },
  });
  expect(buffers.size).toBe(1);
});

it('ends with the failure of a read or of the hasher, and when it is aborted', async () => {
  const read = async (index: number) => {
    if (index === 5) throw new Error('unreadable');
    return true;
  };
  await expect(sweep({ read })).rejects.toThrow('unreadable');
  const hashPieces = () => Promise.reject(new Error('no threads'));
  await expect(sweep({ hasher: { hashPieces } })).rejects.toThrow('no threads');
  // It is heard while the next batch is still being read.
  const slow = () => new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 5));
  await expect(sweep({ hasher: { hashPieces }, read: slow })).rejects.toThrow('no threads');
  const stop = new AbortController();
  const hashed = () => stop.abort();
  await expect(sweep({ hashed, signal: stop.signal })).rejects.toMatchObject({ code: 'INTERRUPTED' });
});
