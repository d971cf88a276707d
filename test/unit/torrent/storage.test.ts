import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { mkdir, readdir, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as Creation from '../../../src/torrent/creation.js';
import * as Files from '../../../src/torrent/files.js';
import { plainHasher } from '../../../src/torrent/hasher.js';
import { pieceBytes } from '../../../src/torrent/layout.js';
import * as Storage from '../../../src/torrent/storage.js';
import { MIB } from '../../../src/units.js';
import { bytesOf, folder, SIZES, sample } from './support.js';

describe('storage of sources', () => {
  it('reads any block across files, and the short last piece', async () => {
    const { metainfo, sources, root } = await sample();
    const storage = await Storage.openSources(metainfo, sources);
    const whole = Buffer.concat(metainfo.files.map(({ path }) => readFileSync(join(root, path))));
    for (let index = 0; index < metainfo.pieceCount; index++) {
      const from = index * metainfo.pieceLength;
      const size = pieceBytes(metainfo, index);
      expect(Buffer.compare(await storage.readPiece(index), whole.subarray(from, from + size))).toBe(0);
      const block = await storage.readBlock(index, 7, size - 11);
      expect(Buffer.compare(block, whole.subarray(from + 7, from + size - 4))).toBe(0);
    }
    expect(pieceBytes(metainfo, metainfo.pieceCount - 1)).toBe(whole.length % metainfo.pieceLength);
    await storage.check(plainHasher);
    expect(storage.complete()).toBe(true);
    await storage.close();
  });

  it('refuses blocks outside the torrent', async () => {
    const { metainfo, sources } = await sample();
    const storage = await Storage.openSources(metainfo, sources);
    const last = metainfo.pieceCount - 1;
    for (const [index, offset, length] of [
      [-1, 0, 1],
      [last + 1, 0, 1],
      [last, pieceBytes(metainfo, last), 1],
      [0, -1, 2],
      [0, 0, 32_769],
    ] as const) {
      await expect(storage.readBlock(index, offset, length)).rejects.toMatchObject({ code: 'INTERNAL' });
    }
    await expect(storage.writePiece(0, new Uint8Array(metainfo.pieceLength))).rejects.toMatchObject({
      code: 'READ_ONLY',
    });
    await storage.close();
  });

  it('notices sources that changed before and after opening', async () => {
    const { metainfo, sources, root } = await sample();
    const storage = await Storage.openSources(metainfo, sources);
    const path = join(root, 'sample/z.bin');
    truncateSync(path, 100_000);
    await expect(storage.readPiece(metainfo.pieceCount - 1)).rejects.toMatchObject({
      code: 'SOURCE_CHANGED',
    });
    await expect(Storage.openSources(metainfo, sources)).rejects.toMatchObject({ code: 'SOURCE_CHANGED' });
    renameSync(path, `${path}.old`);
    await expect(Storage.openSources(metainfo, sources)).rejects.toMatchObject({ code: 'SOURCE_CHANGED' });
    await storage.close();
  });

  it('finds exactly the pieces whose bytes changed', async () => {
    const { metainfo, sources, root } = await sample();
    const bytes = readFileSync(join(root, 'sample/a.bin'));
    bytes[40_000]! ^= 1;
    writeFileSync(join(root, 'sample/a.bin'), bytes);
    const storage = await Storage.openSources(metainfo, sources);
    const seen: number[] = [];
    await storage.check(plainHasher, ({ piecesChecked }) => seen.push(piecesChecked));
    expect(storage.has(1)).toBe(false);
    expect(storage.count()).toBe(metainfo.pieceCount - 1);
    expect(seen.at(-1)).toBe(metainfo.pieceCount);
    await storage.close();
  });
});

describe('storage of downloads', () => {
  it('writes pieces in any order to the same files, makes empty ones and finds them again', async () => {
    const { metainfo, sources, root } = await sample();
    const source = await Storage.openSources(metainfo, sources);
    const target = folder();
    const storage = await Storage.openFolder(metainfo, join(target, 'new/folder'));
    for (let index = metainfo.pieceCount - 1; index >= 0; index--)
      await storage.writePiece(index, await source.readPiece(index));
    expect(storage.complete()).toBe(true);
    await storage.sync();
    for (const path of Object.keys(SIZES)) {
      expect(
        Buffer.compare(readFileSync(join(target, 'new/folder', path)), readFileSync(join(root, path))),
      ).toBe(0);
    }
    await storage.close();
    const again = await Storage.openFolder(metainfo, join(target, 'new/folder'));
    expect(again.count()).toBe(0);
    await again.check(plainHasher);
    expect(again.complete()).toBe(true);
    await again.close();
    await source.close();
  });

  it('resumes with what is there', async () => {
    const { metainfo, sources } = await sample();
    const source = await Storage.openSources(metainfo, sources);
    const target = folder();
    const first = await Storage.openFolder(metainfo, target);
    for (const index of [0, 3, 5]) await first.writePiece(index, await source.readPiece(index));
    await first.close();
    const second = await Storage.openFolder(metainfo, target);
    await second.check(plainHasher);
    expect([...Array(metainfo.pieceCount).keys()].filter((index) => second.has(index))).toEqual([0, 3, 5]);
    expect(Buffer.compare(await second.readPiece(3), await source.readPiece(3))).toBe(0);
    await second.close();
    await source.close();
  });

  it('never follows a link: not as the file, not as a folder, not as a loop', async () => {
    const { metainfo, sources } = await sample();
    const source = await Storage.openSources(metainfo, sources);
    const outside = folder();
    writeFileSync(join(outside, 'victim'), 'untouched');
    const places = [
      ['sample', ''],
      ['sample/deep', ''],
      ['sample/deep/er', ''],
      ['sample/a.bin', 'victim'],
      ['sample/empty', 'victim'],
      ['sample/a.bin', 'not-there-yet'],
      ['sample/empty', 'not-there-yet'],
    ] as const;
    for (const [place, aim] of places) {
      const target = folder();
      mkdirSync(join(target, place, '..'), { recursive: true });
      symlinkSync(join(outside, aim), join(target, place));
      const storage = await Storage.openFolder(metainfo, target);
      const writes = [...Array(metainfo.pieceCount).keys()].map(async (index) =>
        storage.writePiece(index, await source.readPiece(index)),
      );
      const results = await Promise.allSettled(writes);
      expect(
        results.some(({ status }) => status === 'rejected'),
        place,
      ).toBe(true);
      for (const result of results)
        if (result.status === 'rejected') expect(result.reason.code).toBe('TORRENT_UNSAFE');
      await storage.close();
    }
    expect(await readdir(outside)).toEqual(['victim']);
    expect(readFileSync(join(outside, 'victim'), 'utf8')).toBe('untouched');
    await source.close();
  });

  it('writes nothing outside when a folder turns into a link while it works', async () => {
    const outside = folder();
    const target = folder();
    const paths = Array.from({ length: 200 }, (_, at) => join(target, 'a', `${at}`));
    const files = Files.create({ paths, root: target });
    let racing = true;
    const race = (async () => {
      while (racing) {
        await rename(join(target, 'a'), join(target, 'b')).catch(() => {});
        await symlink(outside, join(target, 'a')).catch(() => {});
        await rm(join(target, 'a'), { force: true }).catch(() => {});
        await rename(join(target, 'b'), join(target, 'a')).catch(() => {});
        await mkdir(join(target, 'a')).catch(() => {});
      }
    })();
    for (let at = 0; at < paths.length; at++)
      await files.write(at, 0, Buffer.from('payload')).catch(() => {});
    racing = false;
    await race;
    await files.close().catch(() => {});
    // The race may make an empty file outside, but no byte of the payload gets there.
    for (const name of await readdir(outside)) expect(statSync(join(outside, name)).size).toBe(0);
  });

  it('refuses a longer file in the way, and a folder or a pipe where a file must be', async () => {
    const { metainfo, sources } = await sample();
    const source = await Storage.openSources(metainfo, sources);
    const target = folder();
    mkdirSync(join(target, 'sample'));
    writeFileSync(join(target, 'sample/.hidden'), bytesOf('x', 6));
    await expect(Storage.openFolder(metainfo, target)).rejects.toMatchObject({ code: 'SOURCE_CHANGED' });
    const other = folder();
    mkdirSync(join(other, 'sample/a.bin'), { recursive: true });
    const storage = await Storage.openFolder(metainfo, other);
    await expect(storage.writePiece(0, await source.readPiece(0))).rejects.toMatchObject({
      code: expect.stringMatching(/IO|UNSAFE/),
    });
    expect(storage.has(0)).toBe(false);
    await storage.close();
    await source.close();
  });

  it('keeps virtual padding off the disk', async () => {
    const zeros = { pieceLength: 16_384, pieceCount: 2, totalBytes: 16_400, pieceHashes: new Uint8Array(40) };
    const files = [
      { path: 'p/a', offset: 0, bytes: 10, pad: false },
      { path: 'p/.pad/16374', offset: 10, bytes: 16_374, pad: true },
      { path: 'p/b', offset: 16_384, bytes: 16, pad: false },
    ];
    const target = folder();
    const storage = await Storage.openFolder({ ...zeros, files }, target);
    await storage.writePiece(0, Buffer.concat([bytesOf('a', 10), Buffer.alloc(16_374)]));
    await storage.writePiece(1, bytesOf('b', 16));
    expect(
      Buffer.compare(await storage.readPiece(0), Buffer.concat([bytesOf('a', 10), Buffer.alloc(16_374)])),
    ).toBe(0);
    expect(existsSync(join(target, 'p/.pad'))).toBe(false);
    expect(statSync(join(target, 'p/a')).size).toBe(10);
    await storage.close();
  });

  it('checks padding as zeros, whatever was in that memory before', async () => {
    const pieceLength = 8 * MIB;
    const pieces = Array.from({ length: 6 }, () => Buffer.alloc(pieceLength, 0xff));
    pieces[5]!.fill(0, 10);
    const pieceHashes = Buffer.concat(pieces.map((piece) => createHash('sha1').update(piece).digest()));
    const files = [
      { path: 'p/a', offset: 0, bytes: 5 * pieceLength + 10, pad: false },
      { path: 'p/.pad', offset: 5 * pieceLength + 10, bytes: pieceLength - 10, pad: true },
    ];
    const target = folder();
    mkdirSync(join(target, 'p'));
    writeFileSync(join(target, 'p/a'), Buffer.concat(pieces).subarray(0, files[0]!.bytes));
    const layout = { files, pieceLength, pieceCount: 6, totalBytes: 6 * pieceLength, pieceHashes };
    const storage = await Storage.openFolder(layout, target);
    await storage.check(plainHasher);
    expect(storage.complete()).toBe(true);
    await storage.close();
  });

  it('keeps at most its number of files open, and loses nothing by closing them', async () => {
    const target = folder();
    const paths = Array.from({ length: 40 }, (_, at) => join(target, `${at}`));
    const files = Files.create({ paths, root: target, openMax: 4 });
    const openHere = async (): Promise<number> => {
      const links = await readdir('/proc/self/fd');
      return links.filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).startsWith(target);
        } catch {
          return false;
        }
      }).length;
    };
    await Promise.all(paths.map((_path, at) => files.write(at, 3, Buffer.from(`${at}`))));
    expect(await openHere()).toBeLessThanOrEqual(4);
    for (let at = 0; at < paths.length; at++) {
      const target = new Uint8Array(8);
      expect(await files.read(at, 0, target)).toBe(3 + `${at}`.length);
    }
    expect(await openHere()).toBeLessThanOrEqual(4);
    await files.sync();
    await files.close();
    expect(await openHere()).toBe(0);
  });

  it('names a read-only and a full disk', async () => {
    // A file of /dev/full cannot be opened as payload (it is no regular file), so the code is what is tested.
    const { from } = await import('../../../src/errors.js');
    expect(from(Object.assign(new Error('x'), { code: 'ENOSPC' }), 'IO').code).toBe('DISK_FULL');
    expect(from(Object.assign(new Error('x'), { code: 'EROFS' }), 'IO').code).toBe('READ_ONLY');
  });

  it('opens a single file below the folder', async () => {
    const root = folder();
    writeFileSync(join(root, 'one.bin'), bytesOf('one', 40_000));
    const { metainfo } = await Creation.create([join(root, 'one.bin')]);
    expect(Storage.sourcesIn(metainfo, root)).toEqual([join(root, 'one.bin')]);
    const storage = await Storage.openSources(metainfo, Storage.sourcesIn(metainfo, root));
    await storage.check(plainHasher);
    expect(storage.complete()).toBe(true);
    await storage.close();
  });
});
