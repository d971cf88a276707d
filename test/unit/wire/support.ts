/** What the wire tests share: raw sockets that speak just enough BitTorrent, and a session around a torrent. */
import { connect, type Socket } from 'node:net';
import { systemClock } from '../../../src/clock.js';
import * as Session from '../../../src/wire/session.js';

export const INFOHASH = 'ab'.repeat(20);

export function peerIdOf(letter: string): Uint8Array {
  return Session.makePeerId((size) => new Uint8Array(size).fill(letter.charCodeAt(0)));
}

/** Waits until `condition` holds; rejects with its text after two seconds. */
export async function until(condition: () => boolean, timeoutMs = 4_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${timeoutMs} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export interface Bench {
  readonly session: Session.Session;
  readonly torrent: Session.SessionTorrent;
  readonly peers: Session.Peer[];
  readonly closes: { peer: Session.Peer; reason: Session.CloseReason; detail: string }[];
  readonly refusals: { reason: Session.CloseReason; detail: string }[];
  readonly port: number;
}

export interface BenchOptions {
  readonly letter?: string;
  readonly pieceCount?: number;
  readonly extensions?: Session.SessionTorrent['extensions'];
  readonly maxima?: Session.SessionOptions['maxima'];
  readonly handlers?: (peer: Session.Peer) => Session.PeerHandlers;
}

/** A session that listens on loopback with one torrent of 16 pieces. */
export async function bench(options: BenchOptions = {}): Promise<Bench> {
  const peers: Session.Peer[] = [];
  const closes: Bench['closes'] = [];
  const refusals: Bench['refusals'] = [];
  const session = Session.open({
    clock: systemClock,
    peerId: peerIdOf(options.letter ?? 's'),
    maxima: options.maxima ?? {},
    onRefused: (reason, detail) => refusals.push({ reason, detail }),
  });
  const torrent: Session.SessionTorrent = {
    infohash: INFOHASH,
    pieceCount: options.pieceCount ?? 16,
    extensions: options.extensions ?? [],
    onPeer(peer) {
      peers.push(peer);
      const handlers = options.handlers?.(peer) ?? {};
      peer.handlers = {
        ...handlers,
        onClose(reason, detail) {
          closes.push({ peer, reason, detail });
          handlers.onClose?.(reason, detail);
        },
      };
    },
  };
  session.add(torrent);
  const { port } = await session.listen({ host: '127.0.0.1', port: 0 });
  return { session, torrent, peers, closes, refusals, port };
}

export interface Raw {
  readonly socket: Socket;
  received: Buffer;
  closed: boolean;
  send(...parts: (Uint8Array | number[])[]): void;
}

/** A plain socket to `port` that keeps what it gets. */
export async function raw(port: number): Promise<Raw> {
  const socket = connect({ host: '127.0.0.1', port });
  const state: Raw = {
    socket,
    received: Buffer.alloc(0),
    closed: false,
    send(...parts) {
      socket.write(Buffer.concat(parts.map((part) => Buffer.from(part))));
    },
  };
  socket.on('data', (bytes) => {
    state.received = Buffer.concat([state.received, bytes]);
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    state.closed = true;
  });
  await new Promise((resolve) => socket.once('connect', resolve));
  return state;
}

/** The 68 bytes that open a plain connection, with the extension protocol and the fast extension on. */
export function handshake(infohash = INFOHASH, letter = 'r'): Buffer {
  const reserved = Buffer.from([0, 0, 0, 0, 0, 0x10, 0, 0x04]);
  const start = Buffer.from('\u0013BitTorrent protocol', 'latin1');
  return Buffer.concat([start, reserved, Buffer.from(infohash, 'hex'), peerIdOf(letter)]);
}

/** One message with its length in front. */
export function message(type: number, ...parts: (Uint8Array | number[])[]): Buffer {
  const body = Buffer.concat([Buffer.from([type]), ...parts.map((part) => Buffer.from(part))]);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [at, value] of values.entries()) bytes.writeUInt32BE(value >>> 0, 4 * at);
  return bytes;
}

/** A raw connection that is through its handshake. */
export async function greeted(at: Bench, letter = 'r'): Promise<Raw> {
  const peer = await raw(at.port);
  const before = at.peers.length;
  peer.send(handshake(INFOHASH, letter));
  await until(() => at.peers.length > before);
  return peer;
}
