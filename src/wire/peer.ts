/**
 * One connection after its handshake, as the engine and the torrent rooms see it. It owns what is sent and
 * how much of that has really left the process; the session owns its opening, its timeouts and its caps.
 *
 * Everything outgoing goes straight to the socket, never through the Wire's own readable queue, so that
 * `sendRoom` and `bytesLeft` can be exact. Requests are not kept here: the seeder has the one queue.
 */
import type Wire from 'bittorrent-protocol';
import type { WireExtension } from 'bittorrent-protocol';
import { blockBytesMax, blockHeadBytes, sendQueueBytesMax } from '../limits.js';
import type { CloseReason } from './guard.js';
import type { Outlet } from './outlet.js';
import * as Outlets from './outlet.js';

/** What the engine wants to hear of one peer. A throw in any of them closes that peer alone. */
export interface PeerHandlers {
  onInterested?(): void;
  onNotInterested?(): void;
  onChoke?(): void;
  onUnchoke?(): void;
  /** The pieces that the peer has changed; `index` names the one that was added, undefined means many. */
  onPieces?(index: number | undefined): void;
  onRequest?(index: number, offset: number, length: number): void;
  onCancel?(index: number, offset: number, length: number): void;
  /** A block arrived. `bytes` is a view that is only valid during the call: copy to keep. */
  onBlock?(index: number, offset: number, bytes: Uint8Array): void;
  onReject?(index: number, offset: number, length: number): void;
  /** There is room to send again, after `sendRoom()` had become small. */
  onDrain?(): void;
  /** A block or a run of them, `bytes` of payload beginning at `offset`, left this process for the kernel. In the order of `sendBlock`. */
  onDelivered?(bytes: number, index: number, offset: number): void;
  /** The extended handshake of the peer arrived: `reqq`, `client` and `supports` are final. */
  onExtended?(): void;
  /** Called once, last. */
  onClose?(reason: CloseReason, detail: string): void;
}

export interface Peer {
  /** Unique in this process. */
  readonly id: number;
  readonly direction: 'incoming' | 'outgoing';
  readonly address: string;
  readonly port: number;
  /** Lower-case hex. */
  readonly infohash: string;
  readonly peerId: Uint8Array;
  readonly localPeerId: Uint8Array;
  /** Whether both sides speak the fast extension (BEP 6). */
  readonly fast: boolean;
  readonly encryption: 'plain' | 'handshake' | 'rc4';
  /** Requests that the peer lets wait, from its extended handshake; 250 until it says otherwise. */
  readonly reqq: number;
  /** What the peer calls itself, printable and bounded; empty when it says nothing. */
  readonly client: string;
  readonly amChoking: boolean;
  readonly amInterested: boolean;
  readonly peerChoking: boolean;
  readonly peerInterested: boolean;
  readonly closed: boolean;
  /** Set once by whoever accepts the peer. */
  handlers: PeerHandlers;

  has(index: number): boolean;
  supports(extension: string): boolean;
  /** The extension's instance on this connection. */
  extension(name: string): WireExtension | undefined;
  /** Sends an extension's message; false when the peer does not list the extension. */
  extended(name: string, payload: Uint8Array): boolean;
  choke(): void;
  unchoke(): void;
  interested(): void;
  notInterested(): void;
  have(index: number): void;
  /** Announces what this side has. Uses have-all and have-none where the peer understands them. */
  bitfield(bits: Uint8Array, pieceCount: number): void;
  request(index: number, offset: number, length: number): void;
  cancel(index: number, offset: number, length: number): void;
  sendBlock(index: number, offset: number, bytes: Uint8Array): void;
  /**
   * Sends blocks of a piece that follow each other, all of 16 KiB but perhaps the last. `frames` has room for a head
   * (`blockHeadBytes`) in front of each; heads are written there, and nothing may change until the blocks have left.
   */
  sendBlocks(index: number, offset: number, frames: Uint8Array): void;
  /** Refuses a request; does nothing when the peer does not speak the fast extension. */
  rejectRequest(index: number, offset: number, length: number): void;
  /** Bytes that may be queued for this peer before the queue is full. */
  sendRoom(): number;
  /** Payload and protocol bytes that left this process for the kernel. */
  bytesLeft(): number;
  destroy(detail: string): void;
}

const REQQ_DEFAULT = 250;
const REQQ_MAX = 4096;
const CLIENT_CHARACTERS_MAX = 64;
const REQUEST = 6;
const CANCEL = 8;
const PIECE = 7;
const FRAME_BYTES = blockHeadBytes + blockBytesMax;

/** What of a peer the session itself needs. */
export interface Connected {
  readonly peer: Peer;
  /** Reads the peer's extended handshake. */
  extendedHandshake(): void;
  /** Blocks that left since the last call are reported. */
  flush(): void;
}

/** What a peer needs of its connection. */
export interface Link {
  readonly id: number;
  readonly direction: 'incoming' | 'outgoing';
  readonly address: string;
  readonly port: number;
  readonly infohash: string;
  readonly localPeerId: Uint8Array;
  readonly wire: Wire;
  readonly outlet: Outlet;
  closed(): boolean;
  close(reason: CloseReason, detail: string): void;
  /** Runs a handler; a throw closes this connection. */
  guarded(task: () => void): void;
}

/** Makes the peer of a connection whose handshake is complete. */
export function create(link: Link): Connected {
  const { wire, outlet } = link;
  const queue = Outlets.deliveryQueue();
  let wantsDrain = false;
  let reqq = REQQ_DEFAULT;
  let client = '';

  const sendRoom = (): number => {
    const room = Math.max(0, sendQueueBytesMax - outlet.queued());
    if (room < sendQueueBytesMax / 2) wantsDrain = true;
    return room;
  };
  const flush = (): void => {
    queue.take(outlet.left(), (bytes, index, offset) => {
      link.guarded(() => peer.handlers.onDelivered?.(bytes, index, offset));
    });
    if (!wantsDrain || link.closed() || outlet.queued() > sendQueueBytesMax / 2) return;
    wantsDrain = false;
    link.guarded(() => peer.handlers.onDrain?.());
  };

  const peer: Peer = {
    id: link.id,
    direction: link.direction,
    address: link.address,
    port: link.port,
    infohash: link.infohash,
    peerId: wire.peerIdBuffer?.slice() ?? new Uint8Array(20),
    localPeerId: link.localPeerId,
    fast: wire.hasFast,
    encryption: wire._encryptionMethod === 2 ? 'rc4' : wire._encryptionMethod === 1 ? 'handshake' : 'plain',
    handlers: {},
    get reqq() {
      return reqq;
    },
    get client() {
      return client;
    },
    get amChoking() {
      return wire.amChoking;
    },
    get amInterested() {
      return wire.amInterested;
    },
    get peerChoking() {
      return wire.peerChoking;
    },
    get peerInterested() {
      return wire.peerInterested;
    },
    get closed() {
      return link.closed();
    },
    has: (index) => wire.peerPieces.get(index),
    supports: (extension) => (wire.peerExtendedMapping[extension] ?? 0) > 0,
    extension: (name) => wire._ext[name],
    extended(name, payload) {
      if (link.closed() || !peer.supports(name)) return false;
      wire.extended(name, payload);
      return true;
    },
    choke: () => wire.choke(),
    unchoke: () => wire.unchoke(),
    interested: () => wire.interested(),
    notInterested: () => wire.uninterested(),
    have: (index) => wire.have(index),
    bitfield: (bits, pieceCount) => announce(wire, bits, pieceCount),
    request: (index, offset, length) => wire._message(REQUEST, [index, offset, length], null),
    cancel: (index, offset, length) => wire._message(CANCEL, [index, offset, length], null),
    sendBlock(index, offset, bytes) {
      if (link.closed()) return;
      const head = Buffer.allocUnsafe(blockHeadBytes);
      writeHead(head, 0, index, offset, bytes.length);
      outlet.send(head);
      outlet.send(bytes, flush);
      queue.add(outlet.written(), bytes.length, index, offset);
    },
    sendBlocks(index, offset, frames) {
      if (link.closed()) return;
      let payload = 0;
      for (let at = 0; at < frames.length; at += FRAME_BYTES) {
        const length = Math.min(blockBytesMax, frames.length - at - blockHeadBytes);
        writeHead(frames, at, index, offset + payload, length);
        payload += length;
      }
      outlet.send(frames, flush);
      queue.add(outlet.written(), payload, index, offset);
    },
    rejectRequest(index, offset, length) {
      if (wire.hasFast && !link.closed()) wire.reject(index, offset, length);
    },
    sendRoom,
    bytesLeft: outlet.left,
    destroy: (detail) => link.close('local', detail),
  };
  return {
    peer,
    flush,
    extendedHandshake() {
      const { reqq: announced, v } = wire.peerExtendedHandshake;
      if (typeof announced === 'number' && announced >= 1) reqq = Math.min(Math.floor(announced), REQQ_MAX);
      if (ArrayBuffer.isView(v)) client = printable(v as Uint8Array);
      link.guarded(() => peer.handlers.onExtended?.());
    },
  };
}

/** A PIECE message's head in front of `length` bytes of a block. */
function writeHead(target: Uint8Array, at: number, index: number, offset: number, length: number): void {
  const view = new DataView(target.buffer, target.byteOffset + at, blockHeadBytes);
  view.setUint32(0, blockHeadBytes - 4 + length);
  view.setUint8(4, PIECE);
  view.setUint32(5, index);
  view.setUint32(9, offset);
}

function announce(wire: Wire, bits: Uint8Array, pieceCount: number): void {
  let count = 0;
  for (let index = 0; index < pieceCount; index++)
    if (((bits[index >> 3] ?? 0) >> (7 - (index & 7))) & 1) count++;
  if (wire.hasFast && count === pieceCount) wire.haveAll();
  else if (count > 0) wire._message(5, [], bits.slice());
  else if (wire.hasFast) wire.haveNone();
}

function printable(bytes: Uint8Array): string {
  const decoded = new TextDecoder().decode(bytes.subarray(0, 4 * CLIENT_CHARACTERS_MAX));
  return decoded.replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, '').slice(0, CLIENT_CHARACTERS_MAX);
}
