/** Compares downloads with their sources, byte for byte, without holding either in memory. */
import { createReadStream, type Dirent, readdirSync, statSync } from 'node:fs';
import { basename, join, relative } from 'node:path';

/**
 * The first file among `sources` whose copy differs or is missing, or undefined when all are the same. The
 * copy of a single source stands at `copies` itself, those of several beneath it by their names.
 */
export async function firstDifference(
  sources: readonly string[],
  copies: string,
): Promise<string | undefined> {
  for (const source of sources) {
    const copy = sources.length === 1 ? copies : join(copies, basename(source));
    const files = statSync(source).isFile() ? [source] : filesUnder(source);
    for (const file of files) {
      if (!(await isSame(file, join(copy, relative(source, file))))) return file;
    }
  }
  return undefined;
}

function filesUnder(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true }) as Dirent[];
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function isSame(one: string, two: string): Promise<boolean> {
  try {
    if (statSync(one).size !== statSync(two).size) return false;
  } catch {
    return false;
  }
  const options = { highWaterMark: 1 << 20 };
  const other = createReadStream(two, options)[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(one, options)) {
    let part = chunk as Buffer;
    while (part.length > 0) {
      if (rest.length === 0) rest = ((await other.next()).value as Buffer | undefined) ?? Buffer.alloc(0);
      if (rest.length === 0) return false;
      const size = Math.min(part.length, rest.length);
      if (part.compare(rest, 0, size, 0, size) !== 0) return false;
      part = part.subarray(size);
      rest = rest.subarray(size);
    }
  }
  return true;
}
