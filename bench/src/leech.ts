/**
 * A downloader that is no bottleneck: one connection, written by hand, that takes every block of a torrent in order,
 * compares each byte with the source in memory and keeps nothing. Given a key it pays like any payer: one voucher a
 * piece, as soon as the piece is whole; they are signed before the first request, or the payer's signatures would slow
 * the seeder down. It says the same to every seeder, so that seeders can be compared by it.
 *
 * A program of its own, so that it can have a core of its own: reads one `Order` as JSON from its arguments and
 * writes one `Catch` as JSON.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { pathToFileURL } from 'node:url';
import * as Tariff from '../../dist/accounting/tariff.js';
import { acceptDigest, type Offer, offerDigest } from '../../dist/channels/terms.js';
import { NONE } from '../../dist/channels/voucher.js';
import { call } from '../../dist/native/binding.js';
import * as Messages from '../../dist/wire/messages.js';
import { processorSeconds } from './cores.js';
import { check } from './measure.js';

export interface Order {
  readonly port: number;
  /** Lower-case hex. */
  readonly infohash: string;
  readonly pieceLength: number;
  /** The seeded file: what every byte is compared with. */
  readonly source: string;
  /** The seeder's process, whose processor time is counted. */
  readonly pid: number;
  /** Who pays, in hex; without it nothing is paid. */
  readonly payer?: { readonly voucherKey: string; readonly secret: string };
}

export interface Catch {
  /** From the first request to the last byte. */
  readonly seconds: number;
  /** What the seeder's threads ran in that time; undefined where the system does not tell. */
  readonly seederSeconds: number | undefined;
  readonly bytes: number;
  /** Vouchers sent, and the amount that the seeder has acknowledged and signed a receipt for, in base units. */
  readonly vouchers: number;
  readonly paid: string;
}

const BLOCK_BYTES = 16 * 1024;
/** Blocks asked for at a time: no more than either seeder lets wait, 2,048 and 2,000. */
const DEPTH = 1984;
const READ_BYTES = 2 ** 20;
const CHOKE = 0;
const UNCHOKE = 1;
const INTERESTED = 2;
const REQUEST = 6;
const PIECE = 7;
const REJECT = 16;
const EXTENDED = 20;
const OUR_ID = 1;
const HANDSHAKE_BYTES = 68;
const PIECE_HEAD_BYTES = 13;
const FRAME_BYTES_MAX = 2 ** 20;

/** Downloads everything once. Rejects on a wrong byte, a refused request or a payment that does not add up. */
export function leech(order: Order): Promise<Catch> {
  const { infohash, pieceLength, payer, pid } = order;
  const source = readFileSync(order.source);
  const blocks = Math.ceil(source.length / BLOCK_BYTES);
  const there = new Uint8Array(blocks);
  const pieces = Math.ceil(source.length / pieceLength);
  const missing = Array.from({ length: pieces }, (_, piece) =>
    Math.min(pieceLength, source.length - piece * pieceLength),
  );
  const peerId = Buffer.concat([Buffer.from('-XX0001-'), randomBytes(12)]);
  let asked = 0;
  let arrived = 0;
  let bytes = 0;
  let theirPeerId: Uint8Array | undefined;
  let theirId: number | undefined;
  let purse: readonly Payment[] = [];
  let showed = false;
  let vouchers = 0;
  let owed = 0n;
  let paid = 0n;
  let beginMs = 0;
  let endMs = 0;
  let seederBegan: number | undefined;
  let seederSeconds: number | undefined;

  return new Promise((resolve, reject) => {
    const incoming = Buffer.allocUnsafe(READ_BYTES);
    const guarded = (task: () => void): void => {
      try {
        task();
      } catch (thrown) {
        socket.destroy(thrown as Error);
      }
    };
    const socket = connect({
      host: '127.0.0.1',
      port: order.port,
      onread: {
        buffer: incoming,
        callback(count) {
          guarded(() => read(count));
          return true;
        },
      },
    });
    socket.setNoDelay(true);
    socket.once('error', reject);
    socket.once('close', () => reject(new Error(`the seeder ended a download after ${bytes} bytes`)));
    socket.once('connect', () => {
      const reserved = Buffer.from([0, 0, 0, 0, 0, 0x10, 0, 0x04]);
      const start = Buffer.from('\u0013BitTorrent protocol', 'latin1');
      socket.write(Buffer.concat([start, reserved, Buffer.from(infohash, 'hex'), peerId]));
      const extensions = payer ? `6:pw_payi${OUR_ID}e` : '';
      socket.write(frame(EXTENDED, Buffer.from([0]), Buffer.from(`d1:md${extensions}ee`)));
      if (!payer) socket.write(frame(INTERESTED));
    });

    /** Asks for whole pieces, each in one write, as long as a whole one fits. */
    const ask = (): void => {
      const perPiece = pieceLength / BLOCK_BYTES;
      while (asked < blocks && asked - arrived + perPiece <= DEPTH) {
        const count = Math.min(perPiece, blocks - asked);
        const requests = Buffer.allocUnsafe(17 * count);
        for (let at = 0; at < count; at++, asked++) {
          const start = asked * BLOCK_BYTES;
          requests.writeUInt32BE(13, at * 17);
          requests[at * 17 + 4] = REQUEST;
          requests.writeUInt32BE(Math.floor(start / pieceLength), at * 17 + 5);
          requests.writeUInt32BE(start % pieceLength, at * 17 + 9);
          requests.writeUInt32BE(Math.min(BLOCK_BYTES, source.length - start), at * 17 + 13);
        }
        socket.write(requests);
      }
    };
    const pay = (message: Parameters<typeof Messages.encode>[0]): void => {
      socket.write(frame(EXTENDED, Buffer.from([theirId!]), Messages.encode(message)));
    };
    const payForOne = (): void => {
      if (!payer) return;
      const payment = purse[vouchers++]!;
      owed = payment.amount;
      socket.write(payment.frame);
    };
    const onBlock = (start: number, length: number): void => {
      const block = start / BLOCK_BYTES;
      check(length === Math.min(BLOCK_BYTES, source.length - start), 'a block of a wrong size');
      check(there[block] === 0 && block < asked, 'a block that was not asked for');
      there[block] = 1;
      arrived++;
      bytes += length;
      const piece = Math.floor(start / pieceLength);
      missing[piece]! -= length;
      if (arrived === blocks) {
        endMs = performance.now();
        const now = processorSeconds(pid);
        if (now !== undefined && seederBegan !== undefined) seederSeconds = now - seederBegan;
      }
      if (missing[piece] === 0) payForOne();
      ask();
      if (arrived === blocks && !payer) finish();
    };
    const finish = (): void => {
      socket.removeAllListeners('close');
      socket.destroy();
      resolve({ seconds: (endMs - beginMs) / 1000, seederSeconds, bytes, vouchers, paid: String(paid) });
    };
    const onPayment = (body: Uint8Array): void => {
      const decoded = Messages.decode(body);
      check(decoded.ok, 'a payment message that is none');
      const { message } = decoded;
      if (message.type === 'offer') accept(message.offer);
      else if (message.type === 'ack') {
        if (!showed) {
          showed = true;
          pay({ type: 'state', role: 'payer', row: NONE, deposit: 0n });
          socket.write(frame(INTERESTED));
        }
        check(message.authorized >= paid && message.authorized <= owed, 'an acknowledged amount is wrong');
        paid = message.authorized;
      } else if (message.type === 'receipt') {
        const { receipt } = message;
        // One for the state before the first piece says nothing.
        if (arrived < blocks) return;
        const right = receipt.amount === owed && receipt.bytes === BigInt(source.length) && paid === owed;
        check(right, `a receipt over ${receipt.amount} for ${receipt.bytes} bytes instead of ${owed}`);
        finish();
      } else if (message.type === 'reject') {
        check(false, `the seeder rejected a ${message.refused}: ${message.code} ${message.detail}`);
      }
    };
    const accept = (offer: Offer): void => {
      if (!payer) return;
      purse = sign(offer, Buffer.from(payer.secret, 'hex'), theirId!, source.length, pieceLength);
      const voucherKey = new Uint8Array(Buffer.from(payer.voucherKey, 'hex'));
      const agreed = { offerDigest: offerDigest(offer), nonce: offer.nonce, voucherKey, prepay: 0n };
      const connection = { payerPeerId: peerId, payeePeerId: theirPeerId!, infohash: offer.infohash };
      const digest = acceptDigest(offer.domain, agreed, connection);
      const signature = call((addon) => addon.signDigests(Buffer.from(payer.secret, 'hex'), digest));
      pay({ type: 'accept', accept: agreed, signature });
    };
    const onMessage = (type: number, body: Buffer): void => {
      if (type === UNCHOKE && beginMs === 0) {
        beginMs = performance.now();
        seederBegan = processorSeconds(pid);
        ask();
      } else if (type === REJECT || (type === CHOKE && asked > 0)) {
        check(false, `the seeder refused after ${bytes} bytes (message ${type})`);
      } else if (type === EXTENDED && body[0] === 0) {
        theirId = Number(/6:pw_payi(\d+)e/.exec(body.toString('latin1'))?.[1]);
      } else if (type === EXTENDED && body[0] === OUR_ID) {
        onPayment(new Uint8Array(body.subarray(1)));
      }
    };

    // Of the frame under way: its beginning, and of a block's payload where it lies and how much is still to come.
    const head = Buffer.alloc(FRAME_BYTES_MAX);
    let filled = 0;
    let start = 0;
    let length = 0;
    let left = 0;
    const read = (count: number): void => {
      for (let at = 0; at < count; ) {
        if (left > 0) {
          const take = Math.min(left, count - at);
          const from = start + length - left;
          check(source.compare(incoming, at, at + take, from, from + take) === 0, 'bytes differ');
          at += take;
          left -= take;
          if (left === 0) onBlock(start, length);
          continue;
        }
        const take = Math.min(wanted() - filled, count - at);
        incoming.copy(head, filled, at, at + take);
        filled += take;
        at += take;
        if (filled === wanted()) onHead();
      }
    };
    /** Bytes of the frame that are collected before it is looked at again. */
    const wanted = (): number => {
      if (!theirPeerId) return HANDSHAKE_BYTES;
      if (filled < 5) return filled < 4 ? 4 : head.readUInt32BE(0) === 0 ? 4 : 5;
      if (head[4] === PIECE) return PIECE_HEAD_BYTES;
      return 4 + head.readUInt32BE(0);
    };
    const onHead = (): void => {
      if (!theirPeerId) {
        theirPeerId = new Uint8Array(head.subarray(48, HANDSHAKE_BYTES));
        filled = 0;
        return;
      }
      const size = head.readUInt32BE(0);
      check(size + 4 <= FRAME_BYTES_MAX, 'a frame that is too large');
      // Five bytes show what a frame is: there may be more to collect.
      if (filled < wanted()) return;
      filled = 0;
      if (size === 0) return;
      if (head[4] !== PIECE) return onMessage(head[4]!, head.subarray(5, 4 + size));
      start = head.readUInt32BE(5) * pieceLength + head.readUInt32BE(9);
      length = size + 4 - PIECE_HEAD_BYTES;
      left = length;
    };
  });
}

/** A voucher as it goes over the wire. */
interface Payment {
  readonly amount: bigint;
  readonly frame: Buffer;
}

/** The vouchers for one piece, for two and so on. */
function sign(
  offer: Offer,
  secret: Uint8Array,
  theirId: number,
  bytes: number,
  pieceLength: number,
): Payment[] {
  check(bytes % pieceLength === 0, 'a last piece that is shorter');
  const { chainId, hub } = offer.domain;
  const domain = call((addon) => addon.domainSeparator(chainId, hub));
  return Array.from({ length: bytes / pieceLength }, (_, pieces) => {
    const whole = (pieces + 1) * pieceLength;
    const amount = Tariff.price(offer.priceMiB, BigInt(whole));
    const row = call((addon) => addon.signVoucher(domain, secret, offer.payee, amount));
    const message = Messages.encode({ type: 'voucher', final: whole === bytes, row });
    return { amount, frame: frame(EXTENDED, Buffer.from([theirId]), message) };
  });
}

function frame(type: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat([Buffer.from([type]), ...parts]);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  console.log(JSON.stringify(await leech(JSON.parse(process.argv[2] ?? '{}') as Order)));
}
