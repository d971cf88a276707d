/**
 * Open payload files: at most so many at a time, opened when first needed, never through a symbolic link and,
 * for downloads, never outside their folder. Storage decides what to read and write; nobody else comes here.
 *
 * A file that is closed to make room has been synced before, so that one later sync covers everything.
 */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readlink, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { from, PieceworkError } from '../errors.js';
import { openFilesMax } from '../limits.js';

export interface Files {
  /** Reads into `target`; returns the bytes there were. */
  read(index: number, offset: number, target: Uint8Array): Promise<number>;
  /** The same into several targets, one after the other; fewer bytes than they hold need not mean the file's end. */
  readParts(index: number, offset: number, targets: readonly Uint8Array[]): Promise<number>;
  write(index: number, offset: number, bytes: Uint8Array): Promise<void>;
  /** Creates an empty file where there is none. */
  touch(index: number): Promise<void>;
  /** Makes everything written so far durable. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface FilesOptions {
  /** The real path of each file, by index. */
  readonly paths: readonly string[];
  /** Where writing is allowed; undefined opens everything for reading only. */
  readonly root: string | undefined;
  readonly openMax?: number;
}

interface OpenFile {
  readonly handle: Promise<Opened>;
  readonly create: boolean;
  users: number;
  dirty: boolean;
}

interface Opened {
  readonly handle: FileHandle;
  readonly writable: boolean;
}

const { O_RDONLY, O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;

export function create(options: FilesOptions): Files {
  const { paths, root, openMax = openFilesMax } = options;
  // Insertion order is the order of last use.
  const opened = new Map<number, OpenFile>();
  const madeFolders = new Set<string>();

  const use = async <Result>(
    index: number,
    forWriting: boolean,
    task: (handle: FileHandle, file: OpenFile) => Promise<Result>,
  ): Promise<Result> => {
    const path = paths[index] ?? '';
    let file = opened.get(index);
    if (file) opened.delete(index);
    else
      file = {
        handle: openChecked(path, forWriting, root, madeFolders),
        create: forWriting,
        users: 0,
        dirty: false,
      };
    opened.set(index, file);
    file.users++;
    try {
      const { handle, writable } = await file.handle;
      if (forWriting && !writable) throw new PieceworkError('READ_ONLY', `${path} cannot be written`);
      return await task(handle, file);
    } catch (thrown) {
      const notOpen = await failed(file.handle);
      if (notOpen && opened.get(index) === file) opened.delete(index);
      // A reader found nothing there: that does not keep a writer from making it.
      if (notOpen && forWriting && !file.create) return await use(index, forWriting, task);
      throw from(thrown, 'IO');
    } finally {
      file.users--;
      await shrink();
    }
  };

  const release = async (file: OpenFile): Promise<void> => {
    const { handle } = await file.handle;
    if (file.dirty) await handle.datasync();
    await handle.close();
  };
  const shrink = async (): Promise<void> => {
    for (const [index, file] of opened) {
      if (opened.size <= openMax) return;
      if (file.users > 0) continue;
      opened.delete(index);
      await release(file);
    }
  };

  return {
    read: (index, offset, target) =>
      use(index, false, async (handle) => {
        let done = 0;
        while (done < target.length) {
          const { bytesRead } = await handle.read(target, done, target.length - done, offset + done);
          if (bytesRead === 0) break;
          done += bytesRead;
        }
        return done;
      }),
    readParts: (index, offset, targets) =>
      use(index, false, async (handle) => (await handle.readv(targets, offset)).bytesRead),
    write: (index, offset, bytes) =>
      use(index, true, async (handle, file) => {
        file.dirty = true;
        for (let done = 0; done < bytes.length; ) {
          const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, offset + done);
          done += bytesWritten;
        }
      }),
    touch: (index) => use(index, true, async () => {}),
    async sync() {
      for (const file of [...opened.values()]) {
        if (!file.dirty) continue;
        file.dirty = false;
        file.users++;
        try {
          await (await file.handle).handle.datasync();
        } catch (thrown) {
          throw from(thrown, 'IO');
        } finally {
          file.users--;
        }
      }
    },
    async close() {
      try {
        for (const [index, file] of [...opened]) {
          while (file.users > 0) await new Promise((resolve) => setImmediate(resolve));
          if (opened.delete(index)) await release(file);
        }
      } catch (thrown) {
        throw from(thrown, 'IO');
      }
    },
  };
}

const failed = (handle: Promise<Opened>): Promise<boolean> =>
  handle.then(
    () => false,
    () => true,
  );

/** Download files are opened for both ways at once, because what is read back was often just written. */
async function openChecked(
  path: string,
  create: boolean,
  root: string | undefined,
  madeFolders: Set<string>,
): Promise<Opened> {
  if (root === undefined) return { handle: await openFile(path, O_RDONLY), writable: false };
  await checkFolders(root, dirname(path), create, madeFolders);
  try {
    const handle = await openFile(path, create ? O_RDWR | O_CREAT : O_RDWR);
    if (!(await movedAway(handle, path))) return { handle, writable: true };
    await handle.close();
    throw inTheWay(path, 'not where it should be');
  } catch (thrown) {
    if (create || !['EROFS', 'EACCES', 'EPERM'].includes(codeOf(thrown))) throw thrown;
    return { handle: await openFile(path, O_RDONLY), writable: false };
  }
}

async function openFile(path: string, flags: number): Promise<FileHandle> {
  const handle = await open(path, flags | O_NOFOLLOW | O_NONBLOCK, 0o644).catch((thrown: unknown) => {
    throw codeOf(thrown) === 'ELOOP' ? inTheWay(path, 'a symbolic link') : thrown;
  });
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw inTheWay(path, 'not a regular file');
}

const codeOf = (thrown: unknown): string => String((thrown as { code?: unknown } | null)?.code);

/** A folder may have been exchanged for a link between the check and the opening: ask the kernel what is open. */
async function movedAway(handle: FileHandle, path: string): Promise<boolean> {
  if (process.platform !== 'linux') return (await realpath(path)) !== path;
  return (await readlink(`/proc/self/fd/${handle.fd}`)) !== path;
}

/** Walks from `root` to `folder`; each step must be a real folder. Missing ones are made when writing. */
async function checkFolders(root: string, folder: string, create: boolean, made: Set<string>): Promise<void> {
  if (made.has(folder)) return;
  let at = root;
  for (const component of folder.slice(root.length).split('/')) {
    if (component === '') continue;
    at = join(at, component);
    let found = await statOf(at);
    if (!found && create) {
      await mkdir(at).catch((thrown: unknown) => {
        if (codeOf(thrown) !== 'EEXIST') throw thrown;
      });
      found = await statOf(at);
    }
    if (found && !found.isDirectory()) throw inTheWay(at, 'not a folder');
  }
  if (create) made.add(folder);
}

/** What lies at `path` itself, or undefined where nothing does. */
export async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (thrown) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(thrown))) return undefined;
    throw from(thrown, 'IO');
  }
}

const inTheWay = (path: string, what: string): PieceworkError =>
  new PieceworkError('TORRENT_UNSAFE', `${path} is in the way: ${what}`);
