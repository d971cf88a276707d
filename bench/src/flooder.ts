/**
 * Hostile peers: many connections from many loopback addresses that send vouchers with bad signatures until they are
 * banned, and then come back from another address. Those with a channel of their own go the whole way to the
 * signature check (session, granted piece, plausible amount); the others have no session. They speak just enough
 * BitTorrent by hand, so that they cost the machine less than those they attack.
 */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import type { RejectCode } from '../../dist/channels/message.js';
import { acceptDigest, type Offer, offerDigest } from '../../dist/channels/terms.js';
import * as Voucher from '../../dist/channels/voucher.js';
import { call } from '../../dist/native/binding.js';
import * as Messages from '../../dist/wire/messages.js';
import type { PayerKey } from './keys.js';

export interface Target {
  readonly port: number;
  readonly infohash: string;
}

export interface Counts {
  readonly connections: number;
  /** Those of them that the seeder ended, as it does with whom it bans. */
  readonly ended: number;
  readonly vouchers: number;
  /** Rejects by what they say. */
  readonly rejects: Readonly<Partial<Record<RejectCode, number>>>;
}

export interface Flood {
  counts(): Counts;
  /** Ends all connections; no more are made. */
  stop(): void;
}

/** Vouchers that one connection sends at a time, and how often while it lives: 100 a second. */
const BURST = 10;
const BURST_EVERY_MS = 100;
const MESSAGE_EXTENDED = 20;
const MESSAGE_UNCHOKE = 1;
const MESSAGE_INTERESTED = 2;
const MESSAGE_REQUEST = 6;
const BLOCK_BYTES = 16 * 1024;
/** The id under which we want their payment messages. */
const OUR_ID = 1;

const seen = { addresses: 0 };

/** Keeps `width` hostile connections open at a time. Each key is used once: it is banned with its connection. */
export function start(target: Target, keys: readonly PayerKey[], width: number): Flood {
  const waiting = [...keys];
  const sockets = new Set<Socket>();
  const counts = {
    connections: 0,
    ended: 0,
    vouchers: 0,
    rejects: {} as Partial<Record<RejectCode, number>>,
  };
  const forged = forgery();
  let stopped = false;
  const begin = (): void => {
    if (stopped) return;
    counts.connections++;
    // Every second one has a session to lose, as long as there are channels.
    const key = counts.connections % 2 === 0 ? waiting.pop() : undefined;
    const socket = attack(target, key, forged, counts);
    sockets.add(socket);
    socket.once('close', () => {
      sockets.delete(socket);
      if (!stopped) counts.ended++;
      // Not at once: a refused connection must not make this process spin.
      setTimeout(begin, 5);
    });
  };
  for (let at = 0; at < width; at++) begin();
  return {
    counts: () => counts,
    stop() {
      stopped = true;
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** r and vs of somebody else's real signature: nothing short of recovering the key shows that it is wrong. */
function forgery(): Pick<Voucher.Voucher, 'r' | 'vs'> {
  const signature = call((addon) =>
    addon.signDigests(new Uint8Array(32).fill(3), new Uint8Array(32).fill(4)),
  );
  return { r: signature.slice(0, 32), vs: signature.slice(32) };
}

/** One hostile connection, from its opening to its ban. */
function attack(
  { port, infohash }: Target,
  key: PayerKey | undefined,
  forged: Pick<Voucher.Voucher, 'r' | 'vs'>,
  counts: { vouchers: number; rejects: Partial<Record<RejectCode, number>> },
): Socket {
  const socket = connect({ host: '127.0.0.1', port, localAddress: nextAddress() });
  const peerId = Buffer.concat([Buffer.from('-XX0001-'), randomBytes(12)]);
  let input: Buffer = Buffer.alloc(0);
  let theirId: number | undefined;
  let theirPeerId: Uint8Array | undefined;
  let offer: Offer | undefined;
  let amount = 0n;
  let timer: NodeJS.Timeout | undefined;

  const pay = (bytes: Uint8Array): void => {
    socket.write(frame(MESSAGE_EXTENDED, Buffer.from([theirId!]), bytes));
  };
  const flood = (): void => {
    timer ??= setInterval(() => {
      for (let count = 0; count < BURST; count++) {
        amount += 1n;
        const row = Voucher.encode({ amount, ...forged });
        pay(Messages.encode({ type: 'voucher', final: false, row }));
        counts.vouchers++;
      }
    }, BURST_EVERY_MS);
  };
  const onPayment = (bytes: Uint8Array): void => {
    const decoded = Messages.decode(bytes);
    if (!decoded.ok) return;
    const { message } = decoded;
    if (message.type === 'offer') {
      // A busy seeder puts a session off and offers again.
      offer = message.offer;
      if (!key) return flood();
      const accept = {
        offerDigest: offerDigest(offer),
        nonce: offer.nonce,
        voucherKey: key.voucherKey,
        prepay: 0n,
      };
      const connection = { payerPeerId: peerId, payeePeerId: theirPeerId!, infohash: offer.infohash };
      const digest = acceptDigest(offer.domain, accept, connection);
      const signature = call((addon) => addon.signDigests(key.secret, digest));
      pay(Messages.encode({ type: 'accept', accept, signature }));
      socket.write(frame(MESSAGE_INTERESTED));
    } else if (message.type === 'reject') {
      counts.rejects[message.code] = (counts.rejects[message.code] ?? 0) + 1;
    }
  };
  const onMessage = (type: number, body: Buffer): void => {
    if (type === MESSAGE_UNCHOKE && key) {
      // A piece must be granted before a voucher for it is looked at.
      const request = Buffer.alloc(12);
      request.writeUInt32BE(BLOCK_BYTES, 8);
      socket.write(frame(MESSAGE_REQUEST, request));
      flood();
    } else if (type === MESSAGE_EXTENDED && body[0] === 0) {
      theirId = Number(/6:pw_payi(\d+)e/.exec(body.toString('latin1'))?.[1]);
    } else if (type === MESSAGE_EXTENDED && body[0] === OUR_ID) {
      onPayment(new Uint8Array(body.subarray(1)));
    }
  };
  socket.on('error', () => undefined);
  socket.once('close', () => clearInterval(timer));
  socket.once('connect', () => {
    const reserved = Buffer.from([0, 0, 0, 0, 0, 0x10, 0, 0x04]);
    const start = Buffer.from('\u0013BitTorrent protocol', 'latin1');
    socket.write(Buffer.concat([start, reserved, Buffer.from(infohash, 'hex'), peerId]));
    const handshake = Buffer.from(`d1:md6:pw_payi${OUR_ID}eee`);
    socket.write(frame(MESSAGE_EXTENDED, Buffer.from([0]), handshake));
  });
  socket.on('data', (bytes) => {
    input = input.length === 0 ? bytes : Buffer.concat([input, bytes]);
    if (!theirPeerId) {
      if (input.length < 68) return;
      theirPeerId = new Uint8Array(input.subarray(48, 68));
      input = input.subarray(68);
    }
    while (input.length >= 4 && input.length >= 4 + input.readUInt32BE(0)) {
      const length = input.readUInt32BE(0);
      if (length > 0) onMessage(input[4]!, input.subarray(5, 4 + length));
      input = input.subarray(4 + length);
    }
  });
  return socket;
}

/** All of 127.0.0.0/8 is this machine; 127.0.0.1 stays the honest peer's. */
function nextAddress(): string {
  const number = 1 + seen.addresses++;
  return `127.${1 + ((number >> 16) & 0x7f)}.${(number >> 8) & 0xff}.${number & 0xff}`;
}

function frame(type: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat([Buffer.from([type]), ...parts]);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
}
