/**
 * Joins the wire and torrent rooms the way the engine does, for tests: a seeder and a fetcher of one torrent
 * over a session.
 */
import { randomBytes } from 'node:crypto';
import { onTestFinished } from 'vitest';
import { systemClock } from '../../../src/clock.js';
import * as Fetcher from '../../../src/torrent/fetcher.js';
import { plainHasher } from '../../../src/torrent/hasher.js';
import type { Metainfo } from '../../../src/torrent/metainfo.js';
import * as Seeder from '../../../src/torrent/seeder.js';
import * as Storage from '../../../src/torrent/storage.js';
import * as Session from '../../../src/wire/session.js';
import { inOrder } from './support.js';

export interface GateLog {
  readonly admitted: number[];
  readonly sent: number[];
  readonly dropped: Seeder.Dropped[];
}

export interface Seed {
  readonly session: Session.Session;
  readonly seeder: Seeder.Seeder;
  readonly log: GateLog;
  readonly peers: Session.Peer[];
  readonly closes: string[];
  readonly errors: string[];
  readonly port: number;
  readonly storage: Storage.Storage;
  /** Payload bytes that left, by the session's own count. */
  deliveredBytes: number;
}

export interface SeedOptions {
  readonly metainfo: Metainfo;
  readonly sources: readonly string[];
  readonly freeSlots?: number;
  readonly rotationMs?: number;
  readonly standing?: Seeder.Standing;
  readonly admit?: (
    peer: Seeder.SeedPeer,
    piece: number,
    bytes: number,
  ) => Seeder.Admission | Promise<Seeder.Admission>;
  readonly host?: string;
  readonly extensions?: Session.SessionTorrent['extensions'];
  readonly corrupt?: (index: number, bytes: Uint8Array) => void;
  readonly maxima?: Session.SessionOptions['maxima'];
}

export async function seed(options: SeedOptions): Promise<Seed> {
  const { metainfo } = options;
  const storage = await Storage.openSources(metainfo, options.sources);
  storage.trust();
  const log: GateLog = { admitted: [], sent: [], dropped: [] };
  const closes: string[] = [];
  const errors: string[] = [];
  const peers: Session.Peer[] = [];
  const session = Session.open({
    clock: systemClock,
    peerId: Session.makePeerId(randomBytes),
    maxima: { peersPerAddress: 100, ...options.maxima },
    onRefused: (reason, detail) => closes.push(`refused: ${reason} ${detail}`),
  });
  const seeder = Seeder.create({
    layout: metainfo,
    storage: {
      has: storage.has,
      async readInto(index, offset, parts) {
        await storage.readInto(index, offset, parts);
        for (const part of parts) options.corrupt?.(index, part);
      },
    },
    clock: systemClock,
    freeSlots: options.freeSlots ?? 4,
    ...(options.rotationMs === undefined ? {} : { rotationMs: options.rotationMs }),
    onError: (error) => errors.push(error.code),
    gate: {
      admit(peer, pieces) {
        return inOrder(pieces, ({ piece, bytes }) => {
          log.admitted.push(piece);
          return options.admit?.(peer, piece, bytes) ?? 'serve';
        });
      },
      sent: (_peer, piece) => log.sent.push(piece),
      dropped: (_peer, grants) => log.dropped.push(...grants),
    },
  });
  const result: Seed = { session, seeder, log, peers, closes, errors, port: 0, storage, deliveredBytes: 0 };
  session.add({
    infohash: metainfo.infohashHex,
    pieceCount: metainfo.pieceCount,
    extensions: options.extensions ?? [],
    onPeer(peer) {
      peers.push(peer);
      peer.handlers = {
        onInterested: () => seeder.interest(peer),
        onNotInterested: () => seeder.interest(peer),
        onRequest: (...request) => seeder.request(peer, ...request),
        onCancel: (...request) => seeder.cancel(peer, ...request),
        onDrain: () => seeder.drained(peer),
        onDelivered(bytes) {
          result.deliveredBytes += bytes;
          seeder.delivered(peer, bytes);
        },
        onClose(reason, detail) {
          closes.push(`${reason}: ${detail}`);
          seeder.leave(peer);
        },
      };
      peer.bitfield(storage.bits, metainfo.pieceCount);
      seeder.join(peer, options.standing);
    },
  });
  const { port } = await session.listen({ host: options.host ?? '127.0.0.1', port: 0 });
  onTestFinished(async () => {
    seeder.stop();
    await session.close();
    await storage.close();
  });
  return Object.assign(result, { port });
}

export interface TillLog {
  readonly reserved: { peer: number; piece: number }[];
  readonly received: { peer: number; piece: number; bytes: number }[];
  readonly abandoned: { peer: number; piece: number }[];
}

export interface Fetch {
  readonly session: Session.Session;
  readonly fetcher: Fetcher.Fetcher;
  readonly storage: Storage.Storage;
  readonly log: TillLog;
  readonly bad: { peer: number; piece: number }[];
  readonly closes: string[];
  dial(port: number, address?: string): Promise<Session.Peer>;
}

export interface FetchOptions {
  readonly metainfo: Metainfo;
  readonly folder: string;
  readonly reserve?: Fetcher.Till['reserve'];
  readonly received?: Fetcher.Till['received'];
  readonly timeouts?: Fetcher.FetcherOptions['timeouts'];
  readonly rank?: Fetcher.FetcherOptions['rank'];
  readonly bufferBytesMax?: number;
  readonly storage?: Storage.Storage;
  readonly encrypt?: boolean;
}

export async function fetching(options: FetchOptions): Promise<Fetch> {
  const { metainfo } = options;
  const storage = options.storage ?? (await Storage.openFolder(metainfo, options.folder));
  const log: TillLog = { reserved: [], received: [], abandoned: [] };
  const bad: Fetch['bad'] = [];
  const closes: string[] = [];
  const session = Session.open({
    clock: systemClock,
    peerId: Session.makePeerId(randomBytes),
    maxima: { peersPerAddress: 100 },
  });
  const fetcher = Fetcher.create({
    torrent: metainfo,
    storage,
    hasher: plainHasher,
    clock: systemClock,
    random: Math.random,
    ...(options.rank ? { rank: options.rank } : {}),
    ...(options.bufferBytesMax === undefined ? {} : { bufferBytesMax: options.bufferBytesMax }),
    ...(options.timeouts ? { timeouts: options.timeouts } : {}),
    onBadPiece: (peer, piece) => bad.push({ peer: peer.id, piece }),
    till: {
      reserve(peer, piece, bytes) {
        const note = (reservation: Fetcher.Reservation): Fetcher.Reservation => {
          if (reservation === 'ok') log.reserved.push({ peer: peer.id, piece });
          return reservation;
        };
        const answer = options.reserve?.(peer, piece, bytes) ?? 'ok';
        return typeof answer === 'string' ? note(answer) : answer.then(note);
      },
      async received(peer, piece, bytes) {
        await options.received?.(peer, piece, bytes);
        log.received.push({ peer: peer.id, piece, bytes });
      },
      abandoned: (peer, piece) => log.abandoned.push({ peer: peer.id, piece }),
    },
  });
  session.add({
    infohash: metainfo.infohashHex,
    pieceCount: metainfo.pieceCount,
    extensions: [],
    onPeer(peer) {
      peer.handlers = {
        onChoke: () => fetcher.choked(peer),
        onUnchoke: () => fetcher.unchoked(peer),
        onPieces: (index) => fetcher.pieces(peer, index),
        onBlock: (...block) => fetcher.block(peer, ...block),
        onReject: (...request) => fetcher.rejected(peer, ...request),
        onClose(reason, detail) {
          closes.push(`${reason}: ${detail}`);
          fetcher.leave(peer);
        },
      };
      peer.bitfield(storage.bits, metainfo.pieceCount);
      fetcher.join(peer);
    },
  });
  onTestFinished(async () => {
    await fetcher.stop();
    await session.close();
    await storage.close();
  });
  const dial = (port: number, address = '127.0.0.1'): Promise<Session.Peer> =>
    session.dial({ address, port, infohash: metainfo.infohashHex, encrypt: options.encrypt ?? false });
  return { session, fetcher, storage, log, bad, closes, dial };
}
