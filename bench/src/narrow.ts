/** The addon on the path of a processor without AVX-512, beside the usual one in the same process. */
import { copyFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Addon } from '../../dist/native/binding.js';

let narrow: Addon | undefined;

/**
 * An addon decides on its path once, so another path needs another copy of it, loaded with PIECEWORK_CPU set. The
 * copy is made in `folder`, once.
 */
export function withoutAvx512(folder: string): Addon {
  narrow ??= loadCopy(join(folder, 'narrow.node'));
  return narrow;
}

function loadCopy(copy: string): Addon {
  const usual = fileURLToPath(new URL('../../native/piecework.node', import.meta.url));
  copyFileSync(process.env['PIECEWORK_ADDON'] ?? usual, copy);
  const before = process.env['PIECEWORK_CPU'];
  process.env['PIECEWORK_CPU'] = 'avx2';
  try {
    const addon = createRequire(import.meta.url)(copy) as Addon;
    // The first call decides.
    addon.hashPieces('sha1', []);
    return addon;
  } finally {
    if (before === undefined) delete process.env['PIECEWORK_CPU'];
    else process.env['PIECEWORK_CPU'] = before;
  }
}
