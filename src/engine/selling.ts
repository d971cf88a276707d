/**
 * Serving torrents for money: one payee for the engine, one seeder and one set of payment links for each
 * torrent. Everything the payee decides about a link is done to its peer here, and the other way round.
 */
import type { Bans } from '../accounting/bans.js';
import { createIntake } from '../accounting/intake.js';
import { createPayee, type Payee } from '../accounting/payee.js';
import type { ChannelFacts } from '../channels/channel.js';
import type { PayLink } from '../channels/link.js';
import type { Clock } from '../clock.js';
import type { SellingConfig } from '../config.js';
import type { PieceworkError } from '../errors.js';
import type { Ledger } from '../ledger/ledger.js';
import type { Executor } from '../native/executor.js';
import * as Discovery from '../torrent/discovery.js';
import type { Metainfo } from '../torrent/metainfo.js';
import * as Seeders from '../torrent/seeder.js';
import type { Storage } from '../torrent/storage.js';
import * as Metadata from '../wire/metadata.js';
import type { Peer } from '../wire/peer.js';
import type { Session } from '../wire/session.js';
import type { ReadyChain } from './chain-side.js';
import type { Delegate } from './delegating.js';
import { createLinks, type Links } from './links.js';
import { createLookUps } from './look-ups.js';
import { recoverWith, verifierOf } from './verifying.js';
import * as Watching from './watching.js';

export interface SellingOptions {
  readonly config: SellingConfig;
  readonly chain: ReadyChain;
  readonly delegate: Delegate;
  readonly ledger: Ledger;
  readonly executor: Executor;
  readonly session: Session;
  readonly bans: Bans;
  readonly clock: Clock;
  readonly randomBytes: (size: number) => Uint8Array;
  /** Whether a channel is about to be closed by its payee. */
  readonly isRetired: (voucherKey: Uint8Array) => boolean;
  /** The chain said something new about a channel to this payee. */
  readonly onFacts: (facts: ChannelFacts) => void;
  readonly onFailure: (reason: unknown) => void;
  readonly onWarning: (text: string) => void;
}

export interface ServedTorrent {
  readonly metainfo: Metainfo;
  readonly bytesServed: number;
}

export interface Selling {
  readonly payee: Payee;
  readonly payeeAddress: Uint8Array;
  /** Serves a torrent and announces it; `port` is where peers reach us. */
  serve(metainfo: Metainfo, storage: Storage, port: number): Promise<void>;
  readonly torrents: readonly ServedTorrent[];
  onFacts(facts: ChannelFacts): Promise<void>;
  /** Sends what is decided about a link that is no peer of ours to `events`. */
  adopt(link: PayLink, events: ForeignEvents): void;
  release(link: PayLink): Promise<void>;
  close(): Promise<void>;
}

/** What the payee decides about a wire that someone else runs. */
export interface ForeignEvents {
  onStanding(standing: string): void;
  onResume(): void;
}

interface Served {
  readonly metainfo: Metainfo;
  readonly storage: Storage;
  readonly seeder: Seeders.Seeder;
  readonly links: Links;
  readonly discovery: Discovery.Discovery;
  bytesServed: number;
}

export async function startSelling(options: SellingOptions): Promise<Selling> {
  const { config, chain, delegate, ledger, executor, session, clock, bans } = options;
  const served = new Map<string, Served>();
  const lookUp = createLookUps((keys) => watcher.look(keys));
  const leaving = new Set<Promise<void>>();
  const foreign = new Map<number, ForeignEvents>();
  await closeLeftovers(ledger);

  const intake = createIntake(ledger, verifierOf(executor, ledger.domain), clock);
  const watcher = Watching.createWatching({
    chain,
    ledger,
    onFacts: async (facts) => {
      await payee.onFacts(facts);
      options.onFacts(facts);
    },
    onWarning: options.onWarning,
  });
  const payee = createPayee(
    { ...config, windowBytes: BigInt(config.windowBytes) },
    {
      clock,
      domain: chain.escrow.domain,
      payee: delegate.payee,
      challengePeriod: chain.terms.challengePeriod,
      delegate: delegate.address,
      delegation: delegate.delegation,
      book: ledger,
      intake,
      bans,
      sign: delegate.sign,
      recover: recoverWith(executor),
      lookUp: (voucherKey) => lookUp({ voucherKey, payee: delegate.payee }),
      booked: (voucherKey) => ledger.channel(voucherKey, delegate.payee),
      isRetired: options.isRetired,
      randomBytes: options.randomBytes,
    },
    {
      onStanding(link, standing) {
        foreign.get(link.id)?.onStanding(standing);
        const found = locate(link);
        if (!found) return;
        const unpaid = config.freeSlots > 0 ? 'free' : 'none';
        found.torrent.seeder.setStanding(
          found.peer,
          standing === 'paid' ? 'paid' : standing === 'late' ? 'none' : unpaid,
        );
      },
      onResume(link) {
        // An answer "wait" may still be on its way to whoever asked, decided before this: it has to arrive
        // first, or the piece would wait for a wake-up that has already been.
        setImmediate(() => {
          foreign.get(link.id)?.onResume();
          const found = locate(link);
          found?.torrent.seeder.resume(found.peer);
        });
      },
      onActive: (voucherKey) => watcher.watch({ voucherKey, payee: delegate.payee }),
      // A channel that never paid has nothing that could be lost by its close.
      onIdle: (voucherKey, authorized) => {
        if (authorized === 0n) watcher.unwatch({ voucherKey, payee: delegate.payee });
      },
      onFailure: options.onFailure,
      onTrouble: (reason) => options.onWarning(`a peer was not served: ${text(reason)}`),
    },
  );
  await Watching.watchOwed(watcher, ledger);
  watcher.start();

  function locate(link: PayLink): { torrent: Served; peer: Peer } | undefined {
    const torrent = served.get(Buffer.from(link.infohash).toString('hex'));
    const peer = torrent?.links.peerOf(link);
    return torrent && peer ? { torrent, peer } : undefined;
  }

  /** Ends a link's session in the books; closing waits for it. */
  function leave(link: PayLink): void {
    const work = payee.detach(link).catch(options.onFailure);
    leaving.add(work);
    void work.finally(() => leaving.delete(work));
  }

  function makeLinks(metainfo: Metainfo): Links {
    return createLinks(
      {
        onReady: (link) => payee.attach(link, { pieceLength: metainfo.pieceLength, byBlock: true }),
        onMessage: payee.onMessage,
        onInvalid: payee.onInvalid,
        onClosed: leave,
      },
      (fault) => options.onWarning(`a payment handler failed: ${String(fault)}`),
    );
  }

  function gateOf(links: Links): Seeders.UploadGate {
    const linkOf = (peer: Seeders.SeedPeer): PayLink | undefined => links.linkOf(peer as Peer);
    return {
      admit(peer, pieces) {
        const link = linkOf(peer);
        return link ? payee.admit(link, pieces) : [];
      },
      isByPart(peer) {
        const link = linkOf(peer);
        return link !== undefined && payee.isByBlock(link);
      },
      sent(peer, piece, bytes) {
        const link = linkOf(peer);
        if (link) payee.sent(link, piece, bytes);
      },
      // What was never sent is written off when the payee ends the session.
      dropped: () => {},
    };
  }

  function welcome(torrent: Served, peer: Peer): void {
    const { seeder, links, storage, metainfo } = torrent;
    if (bans.isBanned(peer.address)) return peer.destroy('banned');
    links.bind(peer);
    peer.handlers = {
      onInterested: () => seeder.interest(peer),
      onNotInterested: () => seeder.interest(peer),
      onRequest: (index, offset, length) => seeder.request(peer, index, offset, length),
      onCancel: (index, offset, length) => seeder.cancel(peer, index, offset, length),
      onDrain: () => seeder.drained(peer),
      onDelivered: (bytes) => {
        torrent.bytesServed += bytes;
        seeder.delivered(peer, bytes);
        const link = links.linkOf(peer);
        if (link) payee.delivered(link, bytes);
      },
      onClose: () => {
        seeder.leave(peer);
        links.end(peer);
      },
    };
    peer.bitfield(storage.bits, metainfo.pieceCount);
    seeder.join(peer, config.freeSlots > 0 ? 'free' : 'none');
  }

  return {
    payee,
    payeeAddress: delegate.payee,
    async serve(metainfo, storage, port) {
      const links = makeLinks(metainfo);
      const seeder = Seeders.create({
        layout: metainfo,
        storage,
        gate: gateOf(links),
        clock,
        freeSlots: config.freeSlots,
        onError: (error: PieceworkError) => options.onWarning(`reading ${metainfo.name}: ${error.message}`),
      });
      const discovery = Discovery.start({
        infohash: metainfo.infohash,
        peerId: session.peerId,
        announce: metainfo.announce,
        port,
        clock,
        left: () => 0,
        uploaded: () => served.get(metainfo.infohashHex)?.bytesServed ?? 0,
        onPeers: () => {},
        onWarning: options.onWarning,
      });
      const torrent: Served = { metainfo, storage, seeder, links, discovery, bytesServed: 0 };
      served.set(metainfo.infohashHex, torrent);
      session.add({
        infohash: metainfo.infohashHex,
        pieceCount: metainfo.pieceCount,
        extensions: [Metadata.serving(metainfo.infoBytes), links.extension as never],
        onPeer: (peer) => welcome(torrent, peer),
      });
    },
    get torrents() {
      return [...served.values()];
    },
    onFacts: payee.onFacts,
    adopt: (link, events) => void foreign.set(link.id, events),
    async release(link) {
      foreign.delete(link.id);
      await payee.detach(link).catch(options.onFailure);
    },
    async close() {
      await watcher.stop();
      for (const [infohash, { seeder, storage, discovery }] of served) {
        await discovery.stop();
        session.remove(infohash);
        seeder.stop();
        await storage.close();
      }
      await Promise.allSettled(leaving);
      served.clear();
    },
  };
}

/** Sessions that a crash left open are over. */
async function closeLeftovers(ledger: Ledger): Promise<void> {
  const open = (await ledger.sessions()).filter((session) => !session.closed);
  await ledger.commit(
    open.map(
      ({ index, deliveredBytes }) => ({ kind: 'session_close', session: index, deliveredBytes }) as const,
    ),
  );
}

function text(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
