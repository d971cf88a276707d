/** Makes or reads a torrent of files on disk and gives it to the seller. */
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PieceworkError } from '../errors.js';
import type { Executor } from '../native/executor.js';
import * as Creation from '../torrent/creation.js';
import * as Metainfo from '../torrent/metainfo.js';
import * as Storages from '../torrent/storage.js';
import type { SeedRequest, SeedView } from './operations.js';
import type { Selling } from './selling.js';

/** @throws PieceworkError NOT_FOUND, TORRENT_*, SOURCE_CHANGED. */
export async function seedTorrent(
  request: SeedRequest,
  selling: Selling,
  hasher: Executor,
  port: number,
  busy: Pick<Set<string>, 'has' | 'add' | 'delete'>,
): Promise<SeedView> {
  const { metainfo, torrentBytes, storage } =
    request.torrent === undefined ? await fresh(request, hasher) : await existing(request, hasher);
  if (busy.has(metainfo.infohashHex)) {
    await storage.close();
    throw new PieceworkError('BAD_ARGUMENT', 'this torrent is seeded or downloaded by this process already');
  }
  busy.add(metainfo.infohashHex);
  try {
    await selling.serve(metainfo, storage, port);
  } catch (thrown) {
    busy.delete(metainfo.infohashHex);
    await storage.close();
    throw thrown;
  }
  return {
    infohash: metainfo.infohashHex,
    name: metainfo.name,
    bytes: metainfo.totalBytes,
    pieces: metainfo.pieceCount,
    pieceLength: metainfo.pieceLength,
    magnet: Metainfo.toMagnet(metainfo),
    torrent: Buffer.from(torrentBytes).toString('base64'),
  };
}

async function fresh(request: SeedRequest, hasher: Executor) {
  const { paths, announce, name, pieceLength } = request;
  const options = {
    announce,
    hasher,
    ...(name === undefined ? {} : { name }),
    ...(pieceLength === undefined ? {} : { pieceLength }),
  };
  const { metainfo, torrentBytes, sources } = await Creation.create(paths, options);
  const storage = await Storages.openSources(metainfo, sources);
  // What was hashed a moment ago to make the torrent need not be hashed again.
  storage.trust();
  return { metainfo, torrentBytes, storage };
}

/** Where a torrent's files are: named one by one, or in a folder, or that folder is the torrent's own. */
async function sourcesOf(metainfo: Metainfo.Metainfo, paths: readonly string[]): Promise<readonly string[]> {
  const [folder] = paths;
  if (folder === undefined) throw new PieceworkError('BAD_ARGUMENT', 'name the folder that holds the files');
  const isFile = async (path: string): Promise<boolean> =>
    stat(path).then(
      (found) => found.isFile(),
      () => false,
    );
  const count = metainfo.files.filter(({ pad }) => !pad).length;
  const named = await Promise.all(paths.map(isFile));
  if (paths.length === count && named.every(Boolean)) {
    let next = 0;
    return metainfo.files.map(({ pad }) => (pad ? '' : paths[next++]!));
  }
  const inside = Storages.sourcesIn(metainfo, folder);
  const beside = Storages.sourcesIn(metainfo, dirname(folder));
  const first = metainfo.files.findIndex(({ pad }) => !pad);
  return !(await isFile(inside[first] ?? '')) && (await isFile(beside[first] ?? '')) ? beside : inside;
}

async function existing(request: SeedRequest, hasher: Executor) {
  const torrentBytes = new Uint8Array(Buffer.from(request.torrent!, 'base64'));
  const metainfo = Metainfo.parse(torrentBytes);
  const storage = await Storages.openSources(metainfo, await sourcesOf(metainfo, request.paths));
  await storage.check(hasher);
  if (!storage.complete()) {
    await storage.close();
    throw new PieceworkError(
      'SOURCE_CHANGED',
      `${storage.count()} of ${metainfo.pieceCount} pieces are right`,
    );
  }
  return { metainfo, torrentBytes, storage };
}
