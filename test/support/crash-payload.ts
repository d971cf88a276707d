/** The files that are sold in crash tests, and the comparison of what was bought with them. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KIB } from '../../src/units.js';
import type { Chance } from './chance.js';
import { Broken } from './crash-books.js';

/** Several files, an empty one among them, whose borders and end fall inside pieces. */
export function writePayload(folder: string, chance: Chance): void {
  mkdirSync(join(folder, 'more'), { recursive: true });
  const sizes = [chance.below(3_000) * KIB + chance.below(KIB), 0, 64 * KIB - 1, 5_000 * KIB];
  const names = ['first.bin', 'empty.bin', 'more/small.bin', 'more/large.bin', 'rest.bin'];
  const rest = 12_000 * KIB - (sizes[0] ?? 0) - chance.below(60 * KIB);
  for (const [at, name] of names.entries())
    writeFileSync(join(folder, name), chance.bytes(sizes[at] ?? rest));
}

/** @throws Broken when a copy differs. */
export function requireSameFiles(sources: string, copies: string): void {
  const entries = readdirSync(sources, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((one) => one.isFile())) {
    const path = join(entry.parentPath, entry.name).slice(sources.length);
    const [source, copy] = [readFileSync(join(sources, path)), readFileSync(join(copies, path))];
    if (!source.equals(copy)) throw new Broken(`${path} differs from its source`);
  }
}
