/**
 * One connection from its first byte to its close: the encrypted or plain handshake, the guard, and the way
 * of each parsed message to the peer's handlers. Caps, timers and listening are the session's.
 *
 * Invariant: whatever the stranger sends, and whatever a handler throws, ends at most this connection.
 */
import type { Socket } from 'node:net';
import Wire, { type WireExtensionConstructor } from 'bittorrent-protocol';
import type { Clock } from '../clock.js';
import { requestsPerPeerMax, sendQueueBytesMax } from '../limits.js';
import { toHex } from '../units.js';
import { VERSION } from '../version.js';
import * as Framing from './framing.js';
import type { CloseReason } from './guard.js';
import * as Guard from './guard.js';
import * as Outlets from './outlet.js';
import type { Peer } from './peer.js';
import * as Peers from './peer.js';

export const CLIENT_NAME = `Piecework ${VERSION}`;

/** A torrent that connections may be for. */
export interface SessionTorrent {
  /** Lower-case hex, 40 digits. */
  readonly infohash: string;
  /** Undefined while the metadata is not known; may be set later. */
  pieceCount: number | undefined;
  /** BEP 10 extensions, constructed once a connection, in this order. */
  readonly extensions: readonly WireExtensionConstructor[];
  /** The peer id shown for this torrent instead of the session's. */
  readonly peerId?: Uint8Array;
  /**
   * A connection is through its handshake: set `peer.handlers` here, and announce pieces. The extensions are
   * constructed but have not seen the handshake. A throw closes the connection.
   */
  onPeer(peer: Peer): void;
}

/** What a connection asks of its session. */
export interface Host {
  readonly clock: Clock;
  readonly peerId: Uint8Array;
  nextId(): number;
  torrent(infohash: string): SessionTorrent | undefined;
  /** The infohash that an encrypted handshake means, or undefined. */
  infohashOf(requestHash: string): string | undefined;
  /** Why this peer may not join the torrent, or undefined when it may. */
  refusal(torrent: SessionTorrent, theirPeerId: Uint8Array, address: string): CloseReason | undefined;
  onClose(connection: Connection, reason: CloseReason, detail: string): void;
}

export interface Remote {
  readonly direction: 'incoming' | 'outgoing';
  readonly address: string;
  readonly port: number;
  /** For outgoing connections: what was dialled, and how. */
  readonly dialled?: {
    readonly torrent: SessionTorrent;
    readonly encrypt: boolean;
    onPeer(peer: Peer): void;
  };
}

export interface Connection {
  readonly remote: Remote;
  readonly openedMs: number;
  /** Undefined until the handshake is complete. */
  peer(): Peer | undefined;
  torrent(): SessionTorrent | undefined;
  /** When the last byte came. */
  receivedMs(): number;
  keepAlive(): void;
  /** Ends the connection; the first reason counts. */
  close(reason: CloseReason, detail: string): void;
}

/** Control messages may wait beyond the blocks' bound by this much before no more is read from a peer. */
const CONTROL_SLACK_BYTES = 256 * 1024;

/** Takes a socket over. Outgoing ones may still be connecting. */
export function open(socket: Socket, remote: Remote, host: Host): Connection {
  const { direction, address, port, dialled } = remote;
  // 1 understands encrypted handshakes and has a plain way back; 0 understands plain ones only.
  const encrypts = direction === 'incoming' || dialled?.encrypt === true;
  const wire = new Wire(direction === 'incoming' ? 'tcpIncoming' : 'tcpOutgoing', encrypts ? 1 : 0);
  const endWire = wire.end.bind(wire);
  const openedMs = host.clock.monotonicMs();
  let receivedMs = openedMs;
  let torrent = dialled?.torrent;
  let connected: Peers.Connected | undefined;
  let closed = false;

  const close = (reason: CloseReason, detail: string): void => {
    if (closed) return;
    connected?.flush();
    if (closed) return;
    closed = true;
    // The parser would go on with what it has, byte by byte.
    wire._parse(Number.MAX_VALUE, () => {});
    socket.destroy();
    endWire();
    wire.resume();
    host.onClose(connection, reason, detail);
    const peer = connected?.peer;
    if (peer) swallow(() => peer.handlers.onClose?.(reason, detail));
  };
  const guarded = (task: () => void): void => {
    try {
      task();
    } catch (thrown) {
      close('handler_threw', Guard.text(thrown));
    }
  };
  const connection: Connection = {
    remote,
    openedMs,
    peer: () => connected?.peer,
    torrent: () => torrent,
    receivedMs: () => receivedMs,
    keepAlive: () => wire.keepAlive(),
    close,
  };
  const outlet = Outlets.attach(wire, socket);
  const guard: Guard.Guarded = { pieceCount: () => torrent?.pieceCount, close };
  Guard.protect(wire, guard);
  // The library ends the wire itself when it does not like what it reads; the socket must go with it.
  wire.end = () => close(connected ? 'protocol' : 'not_bittorrent', '');
  wire.destroy = wire.end;

  const localPeerId = (): Uint8Array => torrent?.peerId ?? host.peerId;
  const greet = (chosen: SessionTorrent): void => {
    torrent = chosen;
    Object.assign(wire.extendedHandshake, { v: CLIENT_NAME, reqq: requestsPerPeerMax });
    for (const extension of chosen.extensions) wire.use(extension);
    Guard.protectExtensions(wire, guard);
    wire.handshake(chosen.infohash, toHex(localPeerId()), { fast: true, dht: false });
  };
  const onHandshake = (infohash: string) => {
    if (connected) return close('protocol', 'a second handshake');
    const chosen = dialled ? dialled.torrent : host.torrent(infohash);
    if (chosen?.infohash !== infohash) return close('unknown_torrent', '');
    const refusal = host.refusal(chosen, wire.peerIdBuffer ?? new Uint8Array(), address);
    if (refusal) return close(refusal, '');
    if (direction === 'incoming') greet(chosen);
    if (closed) return;
    const id = host.nextId();
    const link = { id, direction, address, port, infohash, localPeerId: localPeerId(), wire, outlet };
    connected = Peers.create({ ...link, closed: () => closed, close, guarded });
    route(wire, connected, close);
    chosen.onPeer(connected.peer);
    if (!closed) dialled?.onPeer(connected.peer);
  };

  wire.on('handshake', onHandshake);
  wire.on('crypto-infohash', (hash) => {
    const infohash = host.infohashOf(hash);
    if (infohash === undefined) return close('unknown_torrent', '');
    wire.setInfoHash(infohash);
  });
  if (dialled?.encrypt) wire.on('crypto-handshake', () => greet(dialled.torrent));

  socket.setNoDelay(true);
  socket.on('data', (bytes) => {
    if (closed) return;
    receivedMs = host.clock.monotonicMs();
    // Straight into the parser: what throws in there is then caught here.
    guarded(() => {
      // What came with the end of the handshake is the library's: it is in the middle of it.
      if (connected && connected.peer.encryption !== 'rc4') Framing.feed(wire, bytes, () => closed);
      else wire._write(bytes, () => {});
    });
    if (!closed && outlet.queued() > sendQueueBytesMax + CONTROL_SLACK_BYTES) socket.pause();
  });
  socket.on('drain', () => {
    socket.resume();
    connected?.flush();
  });
  socket.on('error', (error) => close('remote', error.message));
  socket.on('end', () => close('remote', ''));
  socket.on('close', () => close('remote', ''));
  if (dialled) {
    socket.once('connect', () => {
      guarded(() =>
        dialled.encrypt ? wire.startEncryption(dialled.torrent.infohash) : greet(dialled.torrent),
      );
    });
  }
  return connection;
}

/** Sends what the Wire parsed to the peer's handlers, past the Wire's own queues. */
function route(wire: Wire, connected: Peers.Connected, close: Guard.Guarded['close']): void {
  const { peer } = connected;
  const on = (event: string, handle: (detail: unknown) => void): void => {
    const listener = (detail?: unknown): void => {
      if (!peer.closed) handle(detail);
    };
    wire.on(event, listener);
  };
  wire._onRequest = (index, offset, length) => {
    if (peer.handlers.onRequest) peer.handlers.onRequest(index >>> 0, offset >>> 0, length >>> 0);
    else peer.rejectRequest(index, offset, length);
  };
  wire._onCancel = (index, offset, length) =>
    peer.handlers.onCancel?.(index >>> 0, offset >>> 0, length >>> 0);
  wire._onPiece = (index, offset, bytes) => peer.handlers.onBlock?.(index >>> 0, offset >>> 0, bytes);
  wire._onReject = (index, offset, length) => {
    if (!wire.hasFast) return close('protocol', 'a reject without the fast extension');
    peer.handlers.onReject?.(index >>> 0, offset >>> 0, length >>> 0);
  };
  on('interested', () => peer.handlers.onInterested?.());
  on('uninterested', () => peer.handlers.onNotInterested?.());
  on('choke', () => peer.handlers.onChoke?.());
  on('unchoke', () => peer.handlers.onUnchoke?.());
  on('bitfield', () => peer.handlers.onPieces?.(undefined));
  on('have-all', () => peer.handlers.onPieces?.(undefined));
  on('have', (index) => peer.handlers.onPieces?.(index as number));
  on('extended', (name) => {
    if (name === 'handshake') connected.extendedHandshake();
  });
}

/** The connection is gone already: there is nothing left that a throw could end. */
function swallow(task: () => void): void {
  try {
    task();
  } catch (thrown) {
    process.emitWarning(`a close handler threw: ${Guard.text(thrown)}`);
  }
}
