/** Piece hashing: our verb on many pieces in one call against node:crypto, one core, same bytes. */
import { hash as digestOf, randomFillSync } from 'node:crypto';
import { load, type PieceAlgorithm } from '../../dist/native/binding.js';
import type { Settings } from './main.js';
import { type Contender, check, measure } from './measure.js';
import { type Row, rowOf } from './report.js';

interface Case {
  readonly id: string;
  readonly algorithm: PieceAlgorithm;
  readonly count: number;
  readonly size: number;
  readonly info?: boolean;
}

const KIB = 1024;
const MIB = 1024 * KIB;

const CASES: readonly Case[] = [
  { id: 'hash.sha1', algorithm: 'sha1', count: 32, size: 256 * KIB },
  { id: 'hash.sha1.one', algorithm: 'sha1', count: 1, size: MIB, info: true },
  { id: 'hash.sha256', algorithm: 'sha256', count: 32, size: 256 * KIB },
  { id: 'hash.sha256.one', algorithm: 'sha256', count: 1, size: MIB, info: true },
  { id: 'hash.sha256.leaves', algorithm: 'sha256', count: 512, size: 16 * KIB, info: true },
];

export async function hashing({ effort }: Settings): Promise<Row[]> {
  const pairs = CASES.map((one) => {
    const pieces = Array.from({ length: one.count }, () => randomFillSync(new Uint8Array(one.size)));
    compare(one.algorithm, pieces);
    compare(one.algorithm, oddSizes);
    return { ours: native(one.algorithm, pieces), peer: nodeCrypto(one.algorithm, pieces) };
  });
  const measured = await measure(pairs, effort, 'core');
  return CASES.map(({ id, algorithm, count, size, info = false }, at) => {
    const pieces = count === 1 ? 'one piece' : `${count} pieces`;
    const length = size >= MIB ? `${size / MIB} MiB` : `${size / KIB} KiB`;
    const what = `${algorithm} of ${pieces} of ${length} a call; peer: node:crypto`;
    return rowOf({ id, what, unit: 'MB/s', info }, measured[at]!);
  });
}

/** Sizes around the hashes' block borders, where a batch implementation goes wrong first. */
const oddSizes = [0, 1, 55, 56, 63, 64, 65, 119, 120, 127, 128, 129, 16_383, 16_384, 16_385].map((size) =>
  randomFillSync(new Uint8Array(size)),
);

function compare(algorithm: PieceAlgorithm, pieces: readonly Uint8Array[]): void {
  const expected = Buffer.concat(pieces.map((piece) => digestOf(algorithm, piece, 'buffer')));
  const digests = Buffer.from(load().hashPieces(algorithm, pieces));
  check(digests.equals(expected), `${algorithm} of ${pieces.length} pieces differs from node:crypto`);
}

function native(algorithm: PieceAlgorithm, pieces: readonly Uint8Array[]): Contender {
  const addon = load();
  const megabytes = sizeOf(pieces);
  return {
    run() {
      addon.hashPieces(algorithm, pieces);
      return megabytes;
    },
  };
}

/** `crypto.hash` makes no object per digest, so it is the faster of Node's two ways. */
function nodeCrypto(algorithm: PieceAlgorithm, pieces: readonly Uint8Array[]): Contender {
  const megabytes = sizeOf(pieces);
  return {
    run() {
      for (const piece of pieces) digestOf(algorithm, piece, 'buffer');
      return megabytes;
    },
  };
}

/** Millions of bytes. */
function sizeOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0) / 1e6;
}
