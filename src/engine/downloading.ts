/** A fetch request from its text to its end: reads the torrent, opens the folder, prepares the money, runs. */

import { isIP } from 'node:net';
import type { Bans } from '../accounting/bans.js';
import type { Clock } from '../clock.js';
import type { Config } from '../config.js';
import { PieceworkError } from '../errors.js';
import type { Ledger } from '../ledger/ledger.js';
import type { Executor } from '../native/executor.js';
import * as Layout from '../torrent/layout.js';
import * as Metainfo from '../torrent/metainfo.js';
import * as Storages from '../torrent/storage.js';
import type { Session } from '../wire/session.js';
import { settleLeftovers, startBuying } from './buying.js';
import type { ChainBook } from './chain-book.js';
import type { ChainSide } from './chain-side.js';
import { type BuyingEvents, runFetch } from './fetching.js';
import type { Funding } from './funding.js';
import { fetchMetadata } from './metadata.js';
import type { FetchEnd, FetchEvent, FetchRequest } from './operations.js';
import type { Sharing } from './sharing.js';

export interface DownloadOptions {
  readonly ledger: Ledger;
  readonly executor: Executor;
  readonly book: ChainBook;
  readonly funding: Funding;
  readonly sharing: Sharing;
  readonly side: ChainSide;
  readonly session: Session;
  readonly clock: Clock;
  readonly config: Config;
  readonly port: number;
  readonly bans: Bans;
  readonly onEvent: (event: FetchEvent) => void;
  readonly signal: AbortSignal;
  /** Torrents that are seeded or fetched by this engine now; each can be one of them once. */
  readonly busy: {
    has(infohash: string): boolean;
    add(infohash: string): unknown;
    delete(infohash: string): unknown;
  };
}

/** Downloads what is asked for. @throws PieceworkError BAD_ARGUMENT when the torrent is in use here already. */
export async function runDownload(request: FetchRequest, options: DownloadOptions): Promise<FetchEnd> {
  const wanted = readRequest(request);
  const { infohashHex } = wanted.torrent;
  if (options.busy.has(infohashHex)) {
    throw new PieceworkError('BAD_ARGUMENT', 'this torrent is seeded or downloaded by this process already');
  }
  options.busy.add(infohashHex);
  try {
    return await download(request, wanted, options);
  } finally {
    options.busy.delete(infohashHex);
  }
}

async function download(request: FetchRequest, wanted: Wanted, options: DownloadOptions): Promise<FetchEnd> {
  const { ledger, executor, book, funding, side, session, clock, config, onEvent, signal } = options;
  const peers = (request.peers ?? []).map(parsePeer);
  const metainfo =
    wanted.kind === 'metainfo' ? wanted.torrent : await fetchMetadata(wanted.torrent, peers, options);
  const { infohash, name, totalBytes, pieceCount } = metainfo;
  onEvent({ event: 'metadata', infohash: metainfo.infohashHex, name, bytes: totalBytes, pieces: pieceCount });

  const storage = await Storages.openFolder(metainfo, request.folder);
  try {
    await storage.check(executor, undefined, signal);
  } catch (thrown) {
    await storage.close();
    throw thrown;
  }
  onEvent({ event: 'checked', pieces: storage.count() });
  await settleLeftovers(ledger, infohash, storage.has);

  const budget = BigInt(request.budget ?? '0');
  const makeBuying = async (events: BuyingEvents) => {
    const { terms } = await side.ready();
    return startBuying({
      ledger,
      sharing: options.sharing,
      executor,
      book,
      funding,
      domain: side.domain,
      challengePeriod: terms.challengePeriod,
      clock,
      infohash,
      budget,
      priceMiBMax: BigInt(request.priceMiBMax ?? config.buying.priceMiBMax),
      gasMax: BigInt(request.gasMax ?? config.buying.gasMax),
      prepayMax: config.buying.prepayMax,
      payTicksFor: (request.payTicks ?? config.buying.ticks) ? metainfo.pieceLength : undefined,
      mayOpen: side.account !== undefined,
      bytesLeft: () => {
        const last = pieceCount - 1;
        const shortBy = metainfo.pieceLength - Layout.pieceBytes(metainfo, last);
        return totalBytes - storage.count() * metainfo.pieceLength + (storage.has(last) ? shortBy : 0);
      },
      onEvent,
      events,
    });
  };
  return runFetch({
    metainfo,
    storage,
    hasher: executor,
    session,
    clock,
    random: Math.random,
    folder: request.folder,
    budget,
    makeBuying: budget > 0n ? makeBuying : undefined,
    peers,
    port: options.port,
    bans: options.bans,
    onEvent,
    signal,
  });
}

type Wanted =
  | { readonly kind: 'metainfo'; readonly torrent: Metainfo.Metainfo }
  | { readonly kind: 'magnet'; readonly torrent: Metainfo.Magnet };

function readRequest({ torrent, magnet }: FetchRequest): Wanted {
  if (torrent !== undefined) {
    return { kind: 'metainfo', torrent: Metainfo.parse(new Uint8Array(Buffer.from(torrent, 'base64'))) };
  }
  if (magnet !== undefined) return { kind: 'magnet', torrent: Metainfo.parseMagnet(magnet) };
  throw new PieceworkError('BAD_ARGUMENT', 'name a torrent file or a magnet link');
}

function parsePeer(text: string): { address: string; port: number } {
  const match = /^\[?([0-9a-fA-F.:]+?)\]?:(\d{1,5})$/.exec(text);
  const port = Number(match?.[2] ?? 0);
  if (match?.[1] !== undefined && isIP(match[1]) !== 0 && port > 0 && port < 65_536)
    return { address: match[1], port };
  throw new PieceworkError('BAD_ARGUMENT', `"${text}" is not a peer; write it like 192.0.2.1:6881`);
}
