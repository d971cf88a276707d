/** What the torrent tests share: temporary folders, reproducible bytes and torrents made of them. */
import { createCipheriv, createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import * as Creation from '../../../src/torrent/creation.js';
import type { Admission, UploadGate, Wanted } from '../../../src/torrent/seeder.js';

/** A folder that is removed when the test ends. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'piecework-test-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Bytes that look random and are the same each time. */
export function bytesOf(seed: string, size: number): Buffer {
  const key = createHash('sha256').update(seed).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
}

/** Writes files of the given sizes and returns the folder. */
export function tree(sizes: Readonly<Record<string, number>>): string {
  const root = folder();
  for (const [path, size] of Object.entries(sizes)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), bytesOf(path, size));
  }
  return root;
}

export const SIZES = {
  'sample/a.bin': 70_000,
  'sample/deep/er/b.bin': 16_384,
  'sample/.hidden': 5,
  'sample/empty': 0,
  'sample/z.bin': 200_001,
};

/** A torrent of several files with a short last piece. */
export async function sample(
  sizes: Readonly<Record<string, number>> = SIZES,
  pieceLength = 32 * 1024,
): Promise<Creation.Creation & { readonly root: string }> {
  const root = tree(sizes);
  return { ...(await Creation.create([join(root, 'sample')], { pieceLength })), root };
}

/**
 * A gate's answer about several pieces from a way to answer about one: at once where each of them is. What comes
 * behind a piece that waits waits too, without being asked about.
 */
export function inOrder(
  pieces: readonly Wanted[],
  admit: (wanted: Wanted) => Admission | Promise<Admission>,
): ReturnType<UploadGate['admit']> {
  const answers: Array<Admission | Promise<Admission>> = [];
  for (const wanted of pieces) answers.push(answers.at(-1) === 'wait' ? 'wait' : admit(wanted));
  const ready = answers.filter((answer) => typeof answer === 'string');
  return ready.length === answers.length ? ready : Promise.all(answers);
}
