/**
 * A peer that does whatever a test tells it to: BitTorrent by hand on a raw socket, with the payment messages
 * of the product's own codec on top. It obeys no rule by itself.
 */
import { createServer, connect as dialSocket, type Socket } from 'node:net';
import type { Message, RejectCode } from '../../src/channels/message.js';
import * as Messages from '../../src/wire/messages.js';

export const CHOKE = 0;
export const UNCHOKE = 1;
export const INTERESTED = 2;
export const REQUEST = 6;
export const PIECE = 7;
export const HAVE_ALL = 14;
export const REJECT_REQUEST = 16;
const EXTENDED = 20;
const OUR_ID = 3;
const BLOCK = 16_384;

type OfType<Type extends Message['type']> = Extract<Message, { type: Type }>;

export interface HostileOptions {
  readonly infohash: Uint8Array;
  /** Twenty bytes; random where none are given. */
  readonly peerId?: Uint8Array;
  /** Called for every block, with where it belongs. */
  readonly onBlock?: (piece: number, offset: number, bytes: Buffer) => void;
  readonly onRequest?: (piece: number, offset: number, length: number) => void;
  readonly onMessage?: (message: Message) => void;
}

export class Hostile {
  readonly socket: Socket;
  readonly peerId: Uint8Array;
  /** Their peer id, once their handshake came. */
  theirPeerId: Uint8Array = new Uint8Array(20);
  /** Every payment message so far, in order. */
  readonly heard: Message[] = [];
  unchoked = false;
  closed = false;
  /** Payload bytes that arrived. */
  blockBytes = 0;
  /** Requests that were refused by the fast extension's message. */
  refusedRequests = 0;
  readonly #options: HostileOptions;
  #theirId = 0;
  #buffer: Buffer = Buffer.alloc(0);
  #greeted = false;
  #waiters = new Set<() => void>();
  #read = 0;

  constructor(socket: Socket, options: HostileOptions) {
    this.socket = socket;
    this.#options = options;
    this.peerId = options.peerId ?? randomPeerId();
    socket.on('data', (bytes) => this.#take(bytes));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
  }

  /** Sends the handshakes of BEP 3 and BEP 10. */
  greet(): void {
    const reserved = Buffer.from([0, 0, 0, 0, 0, 0x10, 0, 0x04]);
    const name = Buffer.from('\u0013BitTorrent protocol', 'latin1');
    this.socket.write(Buffer.concat([name, reserved, this.#options.infohash, this.peerId]));
    this.send(EXTENDED, Buffer.concat([Buffer.from([0]), Buffer.from(`d1:md6:pw_payi${OUR_ID}eee`)]));
  }

  send(type: number, payload: Uint8Array = Buffer.alloc(0)): void {
    const head = Buffer.alloc(5);
    head.writeUInt32BE(payload.length + 1);
    head[4] = type;
    if (!this.closed) this.socket.write(Buffer.concat([head, payload]));
  }

  /** Sends a payment message. */
  say(message: Message): void {
    this.sayRaw(Messages.encode(message));
  }

  sayRaw(payload: Uint8Array): void {
    this.send(EXTENDED, Buffer.concat([Buffer.from([this.#theirId]), payload]));
  }

  request(piece: number, offset: number, length: number): void {
    this.send(REQUEST, numbers(piece, offset, length));
  }

  /** Asks for all blocks of a piece of `size` bytes, or for the first `blocks` of them. */
  requestPiece(piece: number, size: number, blocks = Number.POSITIVE_INFINITY): void {
    for (let offset = 0, nth = 0; offset < size && nth < blocks; offset += BLOCK, nth++)
      this.request(piece, offset, Math.min(BLOCK, size - offset));
  }

  sendBlock(piece: number, offset: number, bytes: Uint8Array): void {
    this.send(PIECE, Buffer.concat([numbers(piece, offset), bytes]));
  }

  /** The next message of that type that was not waited for before; fails when the connection ends first. */
  async hears<Type extends Message['type']>(type: Type, timeoutMs = 10_000): Promise<OfType<Type>> {
    const met = await this.until(() => this.#find(type), timeoutMs, `a message of type ${type}`);
    return met as OfType<Type>;
  }

  /** The codes of all rejects so far. */
  get rejects(): RejectCode[] {
    return this.heard.flatMap((message) => (message.type === 'reject' ? [message.code] : []));
  }

  /** Waits for something to be true of this peer; looks again at every byte and at its end. */
  async until<Value>(
    look: () => Value | undefined | false,
    timeoutMs = 10_000,
    what = String(look),
  ): Promise<Value> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const found = look();
      if (found !== undefined && found !== false) return found;
      const leftMs = end - performance.now();
      if (leftMs <= 0) throw new Error(`not within ${timeoutMs} ms: ${what} (${this.#state()})`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(wake, Math.min(leftMs, 50));
        const waiters = this.#waiters;
        function wake(): void {
          clearTimeout(timer);
          waiters.delete(wake);
          resolve();
        }
        waiters.add(wake);
      });
    }
  }

  end(): void {
    this.socket.destroy();
  }

  #state(): string {
    const said = this.heard.map((message) => (message.type === 'reject' ? message.code : message.type));
    return `${this.closed ? 'closed' : 'open'}, ${this.blockBytes} bytes, heard ${said.join(' ') || 'nothing'}`;
  }

  #find(type: Message['type']): Message | undefined {
    for (let at = this.#read; at < this.heard.length; at++) {
      if (this.heard[at]!.type !== type) continue;
      this.#read = at + 1;
      return this.heard[at];
    }
    if (this.closed) throw new Error(`the connection ended before a ${type} (${this.#state()})`);
    return undefined;
  }

  #wake(): void {
    for (const wake of [...this.#waiters]) wake();
  }

  #take(bytes: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, bytes]);
    if (!this.#greeted) {
      if (this.#buffer.length < 68) return;
      this.#greeted = true;
      this.theirPeerId = new Uint8Array(this.#buffer.subarray(48, 68));
      this.#buffer = this.#buffer.subarray(68);
    }
    while (this.#buffer.length >= 4) {
      const size = this.#buffer.readUInt32BE();
      if (this.#buffer.length < 4 + size) break;
      const body = this.#buffer.subarray(4, 4 + size);
      this.#buffer = this.#buffer.subarray(4 + size);
      if (size > 0) this.#hear(body[0]!, body.subarray(1));
    }
    this.#wake();
  }

  #hear(type: number, body: Buffer): void {
    if (type === UNCHOKE) this.unchoked = true;
    else if (type === CHOKE) this.unchoked = false;
    else if (type === REJECT_REQUEST) this.refusedRequests++;
    else if (type === PIECE) {
      this.blockBytes += body.length - 8;
      this.#options.onBlock?.(body.readUInt32BE(0), body.readUInt32BE(4), body.subarray(8));
    } else if (type === REQUEST) {
      this.#options.onRequest?.(body.readUInt32BE(0), body.readUInt32BE(4), body.readUInt32BE(8));
    } else if (type === EXTENDED && body[0] === 0) this.#theirId = payId(body.subarray(1));
    else if (type === EXTENDED && body[0] === OUR_ID) {
      const decoded = Messages.decode(new Uint8Array(body.subarray(1)));
      if (!decoded.ok) throw new Error(`the product sent a malformed message: ${decoded.code}`);
      this.heard.push(decoded.message);
      this.#options.onMessage?.(decoded.message);
    }
  }
}

/** Connects to a peer, from any loopback address. */
export async function dial(
  port: number,
  options: HostileOptions & { readonly from?: string },
): Promise<Hostile> {
  const socket = dialSocket({
    host: '127.0.0.1',
    port,
    ...(options.from ? { localAddress: options.from } : {}),
  });
  const peer = new Hostile(socket, options);
  await new Promise<void>((resolve) => {
    socket.once('connect', resolve);
    socket.once('close', () => resolve());
  });
  peer.greet();
  return peer;
}

export interface HostileHost {
  readonly port: number;
  readonly peers: Hostile[];
  close(): Promise<void>;
}

/** Accepts peers on a loopback address; `script` runs for each of them. */
export async function host(
  at: string,
  makeOptions: (peer: () => Hostile) => HostileOptions,
  script: (peer: Hostile) => Promise<void>,
): Promise<HostileHost> {
  const peers: Hostile[] = [];
  const server = createServer((socket) => {
    const peer: Hostile = new Hostile(
      socket,
      makeOptions(() => peer),
    );
    peers.push(peer);
    peer.greet();
    // A script that fails because the other side left is no failure of the test.
    script(peer).catch(() => peer.end());
  });
  await new Promise<void>((resolve) => server.listen(0, at, resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    peers,
    async close() {
      for (const peer of peers) peer.end();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

export function numbers(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [at, value] of values.entries()) bytes.writeUInt32BE(value >>> 0, 4 * at);
  return bytes;
}

function randomPeerId(): Uint8Array {
  const id = Buffer.from('-HO0001-000000000000', 'latin1');
  for (let at = 8; at < 20; at++) id[at] = Math.floor(Math.random() * 256);
  return new Uint8Array(id);
}

function payId(handshake: Buffer): number {
  return Number(/6:pw_payi(\d+)e/.exec(handshake.toString('latin1'))?.[1] ?? 0);
}
