/**
 * Small secret files of a data folder: 32 random bytes each, readable by their owner alone, written whole or
 * not at all. The voucher seed is the one that money hangs on: whoever has it can sign for every open
 * channel, up to its deposit, and for nothing else.
 */
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { fileErrorCode, PieceworkError } from '../errors.js';
import { fromHex, toHex } from '../units.js';

export const SECRET_BYTES = 32;

/** The secret in `path`, made with `random` if there is none. @throws PieceworkError IO, READ_ONLY, DISK_FULL. */
export function openSecret(path: string, random: (size: number) => Uint8Array): Uint8Array {
  return readSecret(path) ?? makeSecret(path, random);
}

function readSecret(path: string): Uint8Array | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code === 'ENOENT') return undefined;
    throw new PieceworkError(fileErrorCode(thrown) ?? 'IO', `${path}: ${(thrown as Error).message}`, {
      cause: thrown,
    });
  }
  if (!/^[0-9a-f]{64}$/.test(text))
    throw new PieceworkError('IO', `${path} does not hold a secret; restore it from your copy`);
  return fromHex(text);
}

function makeSecret(path: string, random: (size: number) => Uint8Array): Uint8Array {
  const draft = `${path}.${toHex(random(8))}.tmp`;
  writeDurably(draft, `${toHex(random(SECRET_BYTES))}\n`);
  try {
    // A link does not replace: of two processes that start together the first one's secret stays.
    linkSync(draft, path);
    syncFolder(dirname(path));
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code !== 'EEXIST') throw failed(path, thrown);
  } finally {
    unlinkSync(draft);
  }
  return readSecret(path)!;
}

/** Writes a file of mode 0600 so that after a crash there is either the old content or the new. */
export function writeDurably(path: string, text: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const draft = `${path}.${process.pid}.tmp`;
    const file = openSync(draft, 'w', 0o600);
    try {
      writeSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(draft, path);
    syncFolder(dirname(path));
  } catch (thrown) {
    throw failed(path, thrown);
  }
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function failed(path: string, thrown: unknown): PieceworkError {
  return new PieceworkError(fileErrorCode(thrown) ?? 'IO', `${path}: ${(thrown as Error).message}`, {
    cause: thrown,
  });
}
