/**
 * The only door to peer sockets: listens, dials, keeps the caps and timeouts, and hands each connection that
 * is through its handshake to its torrent as a Peer. What messages mean for pieces or money is others' business.
 *
 * Invariants: a connection counts against the caps from its first byte to its close; one timer serves all
 * connections and runs only while there are any.
 */
import { createHash } from 'node:crypto';
import { connect, createServer, type Socket } from 'node:net';
import { networkOf } from '../channels/link.js';
import type { Clock } from '../clock.js';
import { from, PieceworkError } from '../errors.js';
import {
  handshakeTimeoutMs,
  idleTimeoutMs,
  keepAlivePeriodMs,
  peersMax,
  peersPerAddressMax,
  peersPerTorrentMax,
} from '../limits.js';
import type { Connection, Remote, SessionTorrent } from './connection.js';
import * as Connections from './connection.js';
import type { CloseReason } from './guard.js';
import type { Peer } from './peer.js';

export type { SessionTorrent } from './connection.js';
export type { CloseReason } from './guard.js';
export type { Peer, PeerHandlers } from './peer.js';

export const PEER_ID_PREFIX = '-PW0100-';

export interface SessionOptions {
  readonly clock: Clock;
  /** 20 bytes; see `makePeerId`. */
  readonly peerId: Uint8Array;
  readonly maxima?: Partial<Maxima>;
  /** Hears of connections that ended before they became peers, for counting. */
  readonly onRefused?: (reason: CloseReason, detail: string) => void;
  /** Asked for each incoming connection before anything is read: false refuses it, for bans. */
  readonly admits?: (address: string) => boolean;
}

export interface Maxima {
  readonly peers: number;
  readonly peersPerAddress: number;
  readonly peersPerTorrent: number;
  /** Incoming connections that have not finished their handshake. */
  readonly halfOpen: number;
  readonly handshakeTimeoutMs: number;
  readonly idleTimeoutMs: number;
}

export interface Listener {
  readonly port: number;
  /** Stops listening; connections stay. */
  close(): Promise<void>;
}

export interface DialOptions {
  readonly address: string;
  readonly port: number;
  readonly infohash: string;
  /** Starts with an encrypted handshake (MSE) instead of a plain one. */
  readonly encrypt?: boolean;
}

export interface Session {
  readonly peerId: Uint8Array;
  add(torrent: SessionTorrent): void;
  /** Closes the torrent's connections and refuses new ones. */
  remove(infohash: string): void;
  /** Throws LISTEN_FAILED. */
  listen(options: { host: string; port: number }): Promise<Listener>;
  /** Connects to a peer; resolves once the handshake is complete and the torrent has it. Throws NO_PEERS. */
  dial(options: DialOptions): Promise<Peer>;
  /** Peers of one torrent, or of all. */
  peers(infohash?: string): readonly Peer[];
  /** Connections that have not finished their handshake. */
  halfOpenCount(): number;
  close(): Promise<void>;
}

/** A peer id with this program's prefix and twelve bytes of the given randomness. */
export function makePeerId(random: (size: number) => Uint8Array): Uint8Array {
  return new Uint8Array(Buffer.concat([Buffer.from(PEER_ID_PREFIX, 'latin1'), random(12)]));
}

const SWEEP_PERIOD_MS = 1_000;

const MAXIMA: Maxima = {
  peers: peersMax,
  peersPerAddress: peersPerAddressMax,
  peersPerTorrent: peersPerTorrentMax,
  halfOpen: Math.floor(peersMax / 4),
  handshakeTimeoutMs,
  idleTimeoutMs,
};

/** Opens a session without listening yet. */
export function open(options: SessionOptions): Session {
  const { clock, peerId, onRefused } = options;
  const maxima: Maxima = { ...MAXIMA, ...options.maxima };
  const torrents = new Map<string, SessionTorrent>();
  const byRequestHash = new Map<string, string>();
  // In the order of their opening.
  const connections = new Map<Connection, { sentBytes: number; sentMs: number }>();
  const perAddress = new Map<string, number>();
  const listeners = new Set<Listener>();
  const dials = new Map<Connection, (error: PieceworkError) => void>();
  let stopSweep: (() => void) | undefined;
  let ids = 0;
  let shut = false;

  const peersOf = (infohash?: string): Peer[] => {
    const peers = [...connections.keys()].flatMap((connection) => connection.peer() ?? []);
    return infohash === undefined ? peers : peers.filter((peer) => peer.infohash === infohash);
  };
  const halfOpen = (): Connection[] => [...connections.keys()].filter((connection) => !connection.peer());

  /** Names the cap that one more connection of this address would break, if any. */
  const capReached = (address: string): string | undefined => {
    if ((perAddress.get(networkOf(address)) ?? 0) >= maxima.peersPerAddress)
      return 'connections of one address';
    return connections.size >= maxima.peers ? 'connections' : undefined;
  };

  const sweep = (): void => {
    const nowMs = clock.monotonicMs();
    for (const [connection, sent] of connections) {
      const peer = connection.peer();
      if (!peer) {
        if (nowMs - connection.openedMs >= maxima.handshakeTimeoutMs)
          connection.close('handshake_timeout', '');
        continue;
      }
      if (nowMs - connection.receivedMs() >= maxima.idleTimeoutMs) connection.close('idle', '');
      const left = peer.bytesLeft();
      if (left !== sent.sentBytes) Object.assign(sent, { sentBytes: left, sentMs: nowMs });
      else if (nowMs - sent.sentMs >= keepAlivePeriodMs) connection.keepAlive();
    }
  };

  const host: Connections.Host = {
    clock,
    peerId,
    nextId: () => ++ids,
    torrent: (infohash) => torrents.get(infohash),
    infohashOf: (hash) => byRequestHash.get(hash),
    refusal(torrent, theirs, address) {
      if (Buffer.compare(theirs, torrent.peerId ?? peerId) === 0) return 'self';
      const others = peersOf(torrent.infohash);
      if (others.length >= maxima.peersPerTorrent) return 'too_many';
      const twin = others.some(
        (other) => other.address === address && Buffer.compare(other.peerId, theirs) === 0,
      );
      return twin ? 'duplicate' : undefined;
    },
    onClose(connection, reason, detail) {
      const { address, port } = connection.remote;
      connections.delete(connection);
      uncount(perAddress, networkOf(address));
      if (connections.size === 0) {
        stopSweep?.();
        stopSweep = undefined;
      }
      if (!connection.peer()) onRefused?.(reason, detail);
      dials.get(connection)?.(
        new PieceworkError('NO_PEERS', `${address}:${port}: ${reason} ${detail}`.trim()),
      );
      dials.delete(connection);
    },
  };
  const take = (socket: Socket, remote: Remote): Connection => {
    const connection = Connections.open(socket, remote, host);
    connections.set(connection, { sentBytes: 0, sentMs: connection.openedMs });
    perAddress.set(networkOf(remote.address), (perAddress.get(networkOf(remote.address)) ?? 0) + 1);
    stopSweep ??= clock.every(SWEEP_PERIOD_MS, sweep);
    return connection;
  };
  const accept = (socket: Socket): void => {
    const { remoteAddress: address, remotePort: port } = socket;
    const cap = address === undefined ? 'gone' : capReached(address);
    if (
      shut ||
      address === undefined ||
      port === undefined ||
      cap !== undefined ||
      options.admits?.(address) === false
    ) {
      socket.destroy();
      onRefused?.('too_many', cap ?? 'refused');
      return;
    }
    const waiting = halfOpen().filter(({ remote }) => remote.direction === 'incoming');
    // Newcomers go before those who have had time and said nothing.
    if (waiting.length >= maxima.halfOpen) waiting[0]?.close('too_many', 'half-open connections');
    take(socket, { direction: 'incoming', address, port });
  };

  return {
    peerId,
    add(torrent) {
      torrents.set(torrent.infohash, torrent);
      byRequestHash.set(requestHash(torrent.infohash), torrent.infohash);
    },
    remove(infohash) {
      torrents.delete(infohash);
      byRequestHash.delete(requestHash(infohash));
      for (const connection of [...connections.keys()]) {
        if (connection.torrent()?.infohash === infohash) connection.close('shutdown', 'torrent removed');
      }
    },
    async listen({ host: hostname, port }) {
      const server = createServer(accept);
      await new Promise<void>((resolve, reject) => {
        server.once('error', (error) =>
          reject(new PieceworkError('LISTEN_FAILED', error.message, { cause: error })),
        );
        server.listen(port, hostname, resolve);
      });
      server.on('error', (error) => onRefused?.('local', error.message));
      const bound = server.address();
      const listener: Listener = {
        port: typeof bound === 'object' && bound !== null ? bound.port : port,
        async close() {
          listeners.delete(listener);
          // Without connections to wait for: those are closed by the session, not by the listener.
          server.close();
        },
      };
      listeners.add(listener);
      return listener;
    },
    dial({ address, port, infohash, encrypt = false }) {
      return new Promise((resolve, reject) => {
        const torrent = torrents.get(infohash);
        if (shut || !torrent)
          return reject(new PieceworkError('NOT_FOUND', `no torrent ${infohash} in this session`));
        const cap = capReached(address);
        if (cap !== undefined) return reject(new PieceworkError('NO_PEERS', `too many ${cap}`));
        try {
          const dialled = { torrent, encrypt, onPeer: resolve };
          const socket = connect({ host: address, port });
          dials.set(take(socket, { direction: 'outgoing', address, port, dialled }), reject);
        } catch (thrown) {
          reject(from(thrown, 'NO_PEERS'));
        }
      });
    },
    peers: peersOf,
    halfOpenCount: () => halfOpen().length,
    async close() {
      shut = true;
      for (const listener of [...listeners]) await listener.close();
      for (const connection of [...connections.keys()]) connection.close('shutdown', '');
    },
  };
}

/** What an encrypted handshake names a torrent by. */
function requestHash(infohash: string): string {
  return createHash('sha1').update('req2').update(Buffer.from(infohash, 'hex')).digest('hex');
}

function uncount(counts: Map<string, number>, key: string): void {
  const count = (counts.get(key) ?? 1) - 1;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}
