/**
 * Piece hashing: our verb on many pieces in one call against node:crypto, one core, same bytes. Some rows show the
 * path of a processor without AVX-512.
 */
import { hash as digestOf, randomFillSync } from 'node:crypto';
import { type Addon, load, type PieceAlgorithm } from '../../dist/native/binding.js';
import type { Settings } from './main.js';
import { type Contender, check, measure } from './measure.js';
import { withoutAvx512 } from './narrow.js';
import { type Row, rowOf } from './report.js';

interface Case {
  readonly id: string;
  readonly algorithm: PieceAlgorithm;
  readonly count: number;
  readonly size: number;
  readonly info?: boolean;
  /** On the path of a processor without AVX-512. */
  readonly narrow?: boolean;
}

const KIB = 1024;
const MIB = 1024 * KIB;

const CASES: readonly Case[] = [
  { id: 'hash.sha1', algorithm: 'sha1', count: 32, size: 256 * KIB },
  { id: 'hash.sha1.large', algorithm: 'sha1', count: 16, size: 4 * MIB, info: true },
  { id: 'hash.sha1.leaves', algorithm: 'sha1', count: 512, size: 16 * KIB, info: true },
  { id: 'hash.sha1.narrow', algorithm: 'sha1', count: 32, size: 256 * KIB, info: true, narrow: true },
  { id: 'hash.sha256', algorithm: 'sha256', count: 32, size: 256 * KIB },
  { id: 'hash.sha256.large', algorithm: 'sha256', count: 16, size: 4 * MIB, info: true },
  { id: 'hash.sha256.leaves', algorithm: 'sha256', count: 512, size: 16 * KIB, info: true },
  { id: 'hash.sha256.narrow', algorithm: 'sha256', count: 32, size: 256 * KIB, info: true, narrow: true },
  { id: 'hash.one', algorithm: 'sha1', count: 1, size: MIB },
  { id: 'hash.one.sha256', algorithm: 'sha256', count: 1, size: MIB, info: true },
];

export async function hashing({ effort, folder }: Settings): Promise<Row[]> {
  const [usual, narrow] = [load(), withoutAvx512(folder)];
  const pairs = CASES.map((one) => {
    const addon = one.narrow ? narrow : usual;
    const pieces = Array.from({ length: one.count }, () => randomFillSync(new Uint8Array(one.size)));
    compare(addon, one.algorithm, pieces);
    compare(addon, one.algorithm, oddSizes);
    return { ours: native(addon, one.algorithm, pieces), peer: nodeCrypto(one.algorithm, pieces) };
  });
  const measured = await measure(pairs, effort, 'core');
  return CASES.map(({ id, algorithm, count, size, info = false, narrow: without = false }, at) => {
    const pieces = count === 1 ? 'one piece' : `${count} pieces`;
    const length = size >= MIB ? `${size / MIB} MiB` : `${size / KIB} KiB`;
    const path = without ? ', without AVX-512' : '';
    const what = `${algorithm} of ${pieces} of ${length} a call${path}; peer: node:crypto`;
    return rowOf({ id, what, unit: 'MB/s', info }, measured[at]!);
  });
}

/** Sizes around the hashes' block borders, where a batch implementation goes wrong first. */
const oddSizes = [0, 1, 55, 56, 63, 64, 65, 119, 120, 127, 128, 129, 16_383, 16_384, 16_385].map((size) =>
  randomFillSync(new Uint8Array(size)),
);

function compare(addon: Addon, algorithm: PieceAlgorithm, pieces: readonly Uint8Array[]): void {
  const expected = Buffer.concat(pieces.map((piece) => digestOf(algorithm, piece, 'buffer')));
  const digests = Buffer.from(addon.hashPieces(algorithm, pieces));
  check(digests.equals(expected), `${algorithm} of ${pieces.length} pieces differs from node:crypto`);
}

function native(addon: Addon, algorithm: PieceAlgorithm, pieces: readonly Uint8Array[]): Contender {
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
