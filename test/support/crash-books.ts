/**
 * What a killed process left on its disk, read without touching it: the ledger folder is copied and the copy
 * opened. Everything the harness claims about durability is checked against these books.
 */
import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { formatAddress } from '../../src/channels/channel.js';
import { Ledger } from '../../src/ledger/ledger.js';
import * as Statement from '../../src/ledger/statement.js';
import type { Executor } from '../../src/native/executor.js';
import type { ChannelRecord, SessionRecord } from '../../src/native/records.js';
import type { Metainfo } from '../../src/torrent/metainfo.js';
import * as Storages from '../../src/torrent/storage.js';
import { fromHex } from '../../src/units.js';
import type { Party, World } from './crash-world.js';

export interface Books {
  readonly channels: readonly ChannelRecord[];
  readonly sessions: readonly SessionRecord[];
}

/** A rule of the protocol that did not hold. */
export class Broken extends Error {
  constructor(rule: string) {
    super(rule);
    this.name = 'Broken';
  }
}

export const ledgerFolder = ({ chain }: World, { dataDir }: Party): string =>
  Ledger.folder(dataDir, chain.profile.chainId, chain.hub!);

/** The books in the party's folder as they are now; empty while there are none. */
export async function readBooks(world: World, party: Party, executor: Executor): Promise<Books> {
  const folder = ledgerFolder(world, party);
  const copy = await mkdtemp(join(tmpdir(), 'piecework-books-'));
  try {
    const seed = fromHex((await readFile(join(party.dataDir, 'voucher.seed'), 'utf8')).trim());
    const target = join(copy, 'ledger', basename(folder));
    await mkdir(target, { recursive: true });
    // The segment allocated ahead holds nothing yet.
    await cp(folder, target, { recursive: true, filter: (path) => !path.endsWith('next.pwj') });
    const { profile, hub } = world.chain;
    const place = { dataDir: copy, chainId: profile.chainId, hub: hub!, seed };
    const ledger = await Ledger.open(executor, place);
    try {
      return { channels: await ledger.channels(), sessions: await ledger.sessions() };
    } finally {
      await ledger.close();
    }
  } catch (thrown) {
    // Killed before there was anything to keep.
    if ((thrown as { code?: unknown }).code === 'ENOENT') return { channels: [], sessions: [] };
    throw thrown;
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

/** @throws Broken when the sums of a book do not agree with each other. */
export function checkSums(who: string, { channels, sessions }: Books): void {
  for (const { name, left, right } of Statement.checks(channels, sessions)) {
    if (left !== right) throw new Broken(`${who}: ${name}: ${left} is not ${right}`);
  }
}

/** @throws Broken when the payee does not hold what it acknowledged. */
export function checkPayee(books: Books, acknowledged: ReadonlyMap<string, bigint>): void {
  checkSums('payee', books);
  for (const [voucherKey, amount] of acknowledged) {
    const head = authorized(books, voucherKey);
    if (head < amount)
      throw new Broken(`payee: ${amount} of ${voucherKey} was acknowledged, ${head} is left`);
  }
}

/**
 * @throws Broken when the payer signed for more than it owes, lost what it signed, or paid for bytes that it
 * does not have. `verifiedBytes` of the torrent are on its disk; by ticks up to `ahead` is paid before a piece is whole,
 * and what came last may not be paid yet.
 */
export function checkPayer(
  books: Books,
  infohash: Uint8Array,
  verifiedBytes: number,
  heads: ReadonlyMap<string, bigint>,
  ahead?: bigint,
): void {
  checkSums('payer', books);
  for (const channel of books.channels) {
    const { authorized: signed, due } = channel;
    // Where nothing is prepaid, each signature is for exactly what has arrived.
    const isRight = ahead === undefined ? signed === due : signed <= due + ahead;
    if (!isRight) throw new Broken(`payer: signed ${signed} for ${due}`);
  }
  for (const [voucherKey, head] of heads) {
    const signed = authorized(books, voucherKey);
    if (head > signed) throw new Broken(`payer: sent ${head} of ${voucherKey} and kept ${signed}`);
  }
  const { bytes } = bought(books, infohash);
  if (bytes > verifiedBytes) throw new Broken(`payer: paid ${bytes} bytes and has ${verifiedBytes}`);
}

export function authorized({ channels }: Books, voucherKey: string): bigint {
  return channels.find((channel) => formatAddress(channel.voucherKey) === voucherKey)?.authorized ?? 0n;
}

/** What the sessions of a torrent paid for. */
export function bought({ sessions }: Books, infohash: Uint8Array) {
  const own = sessions.filter((session) => Buffer.compare(session.infohash, infohash) === 0);
  return {
    sessions: own.length,
    bytes: own.reduce((sum, session) => sum + session.bytes, 0),
    pieces: own.reduce((sum, session) => sum + session.pieceCount, 0),
    owed: own.reduce((sum, session) => sum + session.owed, 0n),
  };
}

/** Bytes of the torrent's pieces in a folder whose hashes are right. */
export async function verifiedBytes(torrent: Metainfo, folder: string, executor: Executor): Promise<number> {
  const storage = await Storages.openFolder(torrent, folder);
  try {
    await storage.check(executor);
    let bytes = 0;
    for (let piece = 0; piece < torrent.pieceCount; piece++) {
      if (!storage.has(piece)) continue;
      const last = piece === torrent.pieceCount - 1;
      bytes += last ? torrent.totalBytes - piece * torrent.pieceLength : torrent.pieceLength;
    }
    return bytes;
  } finally {
    await storage.close();
  }
}
