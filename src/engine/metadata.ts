/** Turns a magnet link into a torrent: meets peers that have it and fetches its info dictionary (BEP 9). */
import type { Clock } from '../clock.js';
import { PieceworkError } from '../errors.js';
import * as Discovery from '../torrent/discovery.js';
import * as Metainfo from '../torrent/metainfo.js';
import * as Metadata from '../wire/metadata.js';
import type { Session } from '../wire/session.js';

export interface MetadataOptions {
  readonly session: Session;
  readonly clock: Clock;
  readonly port: number;
  readonly signal: AbortSignal;
}

interface Address {
  readonly address: string;
  readonly port: number;
}

/** @throws PieceworkError NO_PEERS after a time, INTERRUPTED, TORRENT_*. */
export async function fetchMetadata(
  magnet: Metainfo.Magnet,
  peers: readonly Address[],
  { session, clock, port, signal }: MetadataOptions,
): Promise<Metainfo.Metainfo> {
  const collection = Metadata.collect(magnet.infohash, clock);
  const dial = ({ address, port }: Address): void =>
    void session.dial({ address, port, infohash: magnet.infohashHex }).catch(() => undefined);
  const interrupted = new Promise<never>((_, reject) => {
    const stop = (): void => reject(new PieceworkError('INTERRUPTED'));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
  });
  interrupted.catch(() => undefined);
  session.add({
    infohash: magnet.infohashHex,
    pieceCount: undefined,
    extensions: [collection.extension],
    onPeer: () => {},
  });
  const discovery = Discovery.start({
    infohash: magnet.infohash,
    peerId: session.peerId,
    announce: magnet.announce,
    port,
    clock,
    left: () => 1,
    onPeers: (found) => found.forEach(dial),
  });
  try {
    for (const peer of [...peers, ...magnet.peers]) dial(peer);
    const infoBytes = await Promise.race([collection.done, interrupted]);
    return Metainfo.fromInfo(infoBytes, magnet.announce);
  } finally {
    collection.stop();
    session.remove(magnet.infohashHex);
    await discovery.stop();
  }
}
