/**
 * The bytes of pw_pay messages (wire.md 2): strict, fixed layouts, bounded. Decoding never throws; a payload
 * that is not exactly a message is named by the reject code it deserves.
 */
import type { Ack, Message, MessageType, RejectCode } from '../channels/message.js';
import { REJECT_CODES } from '../channels/message.js';
import { CHAIN_LENGTH_MAX, TICK_BYTES, TICK_ROW_BYTES } from '../channels/tick.js';
import { ROW_BYTES, readUint96, writeUint96 } from '../channels/voucher.js';
import { payMessageBytesMax, rejectDetailBytesMax } from '../limits.js';
import { shortLived } from '../memory.js';

/** The first byte of every message; another one is refused with `unsupported_version`. */
const PROTOCOL_VERSION = 1;
const BACKEND_HUB = 1;

const TYPES: readonly MessageType[] = [
  'unknown',
  'offer',
  'accept',
  'voucher',
  'ack',
  'state',
  'reject',
  'receipt',
  'bid',
  'tick_voucher',
  'tick',
];
const SIZES = {
  ...{ offer: 346, accept: 162, voucher: 79, ack: 50, state: 91, receipt: 222, bid: 22 },
  ...{ tick_voucher: 126, tick: 36 },
} as const;
const REJECT_BYTES_MIN = 6;

export type Decoded =
  | { readonly ok: true; readonly message: Message }
  | { readonly ok: false; readonly refused: MessageType; readonly code: RejectCode };

/**
 * Decodes one payload. The values share no memory with `bytes`; rows and ticks lie on slabs (`shortLived`): copy them to keep.
 */
export function decode(bytes: Uint8Array): Decoded {
  if (bytes.length < 2 || bytes.length > payMessageBytesMax) return refuse('unknown', 'malformed');
  if (bytes[0] !== PROTOCOL_VERSION) return refuse('unknown', 'unsupported_version');
  const type = TYPES[bytes[1] ?? 0] ?? 'unknown';
  if (type === 'unknown') return refuse('unknown', 'unsupported_type');
  if (type === 'reject' ? bytes.length < REJECT_BYTES_MIN : bytes.length !== SIZES[type])
    return refuse(type, 'malformed');
  const message = readBody(type, new Reader(bytes));
  return message ? { ok: true, message } : refuse(type, 'malformed');
}

const refuse = (refused: MessageType, code: RejectCode): Decoded => ({ ok: false, refused, code });

function readBody(type: Exclude<MessageType, 'unknown'>, from: Reader): Message | undefined {
  switch (type) {
    case 'offer':
      return readOffer(from);
    case 'accept': {
      const accept = {
        offerDigest: from.bytes(32),
        nonce: from.bytes(16),
        voucherKey: from.bytes(20),
        prepay: from.uint96(),
      };
      return { type, accept, signature: from.bytes(64) };
    }
    case 'voucher': {
      const flags = from.uint8();
      return flags > 1 ? undefined : { type, final: flags === 1, row: from.passing(ROW_BYTES) };
    }
    case 'ack':
      return { type, ...readAck(from) };
    case 'state': {
      const role = from.uint8();
      if (role !== 1 && role !== 2) return undefined;
      return {
        type,
        role: role === 1 ? 'payee' : 'payer',
        row: from.bytes(ROW_BYTES),
        deposit: from.uint96(),
      };
    }
    case 'reject':
      return readReject(from);
    case 'receipt': {
      const receipt = {
        session: from.bytes(16),
        infohash: from.bytes(20),
        offerDigest: from.bytes(32),
        bytes: from.uint64(),
        amount: from.uint96(),
        head: from.uint96(),
        time: from.uint64(),
        payee: from.bytes(20),
        voucherKey: from.bytes(20),
      };
      return { type, receipt, signature: from.bytes(64) };
    }
    case 'bid':
      return { type, priceMiB: from.uint96(), validUntil: from.uint64() };
    case 'tick_voucher':
      return { type, row: from.passing(TICK_ROW_BYTES) };
    case 'tick':
      return { type, count: from.uint16(), tick: from.passing(TICK_BYTES) };
  }
}

function readOffer(from: Reader): Message | undefined {
  const chainId = from.uint64();
  if (from.uint8() !== BACKEND_HUB) return undefined;
  const head = {
    domain: { chainId, hub: from.bytes(20) },
    payee: from.bytes(20),
    priceMiB: from.uint96(),
    windowBytes: from.uint64(),
    minStep: from.uint96(),
    prepay: from.uint96(),
    expiry: from.uint64(),
    nonce: from.bytes(16),
    infohash: from.bytes(20),
    challengePeriod: from.uint32(),
    delegate: from.bytes(20),
  };
  const delegation = { expiry: from.uint64(), signature: from.bytes(64) };
  const none = delegation.expiry === 0n && delegation.signature.every((byte) => byte === 0);
  const signature = from.bytes(64);
  const tickLength = from.uint16();
  if (tickLength > CHAIN_LENGTH_MAX) return undefined;
  return {
    type: 'offer',
    offer: { ...head, delegation: none ? undefined : delegation, tickLength },
    signature,
  };
}

function readAck(from: Reader): Ack {
  return {
    authorized: from.uint96(),
    granted: from.uint64(),
    delivered: from.uint64(),
    deposit: from.uint96(),
    windowBytes: from.uint64(),
  };
}

function readReject(from: Reader): Message | undefined {
  const refused = TYPES[from.uint8()] ?? 'unknown';
  const number = from.uint16();
  const length = from.uint8();
  if (length > rejectDetailBytesMax || length !== from.left()) return undefined;
  const code = (Object.keys(REJECT_CODES) as RejectCode[]).find((name) => REJECT_CODES[name] === number);
  const detail = Buffer.from(from.bytes(length)).toString('utf8');
  return code ? { type: 'reject', refused, code, detail } : undefined;
}

/** Encodes one message, on a slab (`shortLived`). Amounts out of range throw a RangeError: that is a bug of the caller. */
export function encode(message: Message): Uint8Array {
  if (message.type === 'reject') return encodeReject(message.refused, message.code, message.detail);
  const to = new Writer(SIZES[message.type], TYPES.indexOf(message.type));
  switch (message.type) {
    case 'offer': {
      const { offer } = message;
      to.uint64(offer.domain.chainId).uint8(BACKEND_HUB).bytes(offer.domain.hub).bytes(offer.payee);
      to.uint96(offer.priceMiB).uint64(offer.windowBytes).uint96(offer.minStep).uint96(offer.prepay);
      to.uint64(offer.expiry).bytes(offer.nonce).bytes(offer.infohash).uint32(offer.challengePeriod);
      to.bytes(offer.delegate).uint64(offer.delegation?.expiry ?? 0n);
      return to
        .bytes(offer.delegation?.signature ?? new Uint8Array(64))
        .bytes(message.signature)
        .uint16(offer.tickLength)
        .done();
    }
    case 'accept': {
      const { accept } = message;
      to.bytes(accept.offerDigest).bytes(accept.nonce).bytes(accept.voucherKey).uint96(accept.prepay);
      return to.bytes(message.signature).done();
    }
    case 'voucher':
      return to
        .uint8(message.final ? 1 : 0)
        .bytes(message.row)
        .done();
    case 'ack':
      to.uint96(message.authorized).uint64(message.granted).uint64(message.delivered);
      return to.uint96(message.deposit).uint64(message.windowBytes).done();
    case 'state':
      return to
        .uint8(message.role === 'payee' ? 1 : 2)
        .bytes(message.row)
        .uint96(message.deposit)
        .done();
    case 'receipt': {
      const { receipt } = message;
      to.bytes(receipt.session).bytes(receipt.infohash).bytes(receipt.offerDigest).uint64(receipt.bytes);
      to.uint96(receipt.amount).uint96(receipt.head).uint64(receipt.time);
      return to.bytes(receipt.payee).bytes(receipt.voucherKey).bytes(message.signature).done();
    }
    case 'bid':
      return to.uint96(message.priceMiB).uint64(message.validUntil).done();
    case 'tick_voucher':
      return to.bytes(message.row).done();
    case 'tick':
      return to.uint16(message.count).bytes(message.tick).done();
  }
}

function encodeReject(refused: MessageType, code: RejectCode, detail: string): Uint8Array {
  let text = Buffer.from(detail, 'utf8');
  if (text.length > rejectDetailBytesMax) text = text.subarray(0, rejectDetailBytesMax);
  const to = new Writer(REJECT_BYTES_MIN + text.length, TYPES.indexOf('reject'));
  return to.uint8(TYPES.indexOf(refused)).uint16(REJECT_CODES[code]).uint8(text.length).bytes(text).done();
}

/** A cursor over a payload whose size has been checked. */
class Reader {
  private at = 2;
  private readonly view: DataView;

  constructor(private readonly source: Uint8Array) {
    this.view = new DataView(source.buffer, source.byteOffset, source.byteLength);
  }

  left(): number {
    return this.source.length - this.at;
  }
  bytes(count: number): Uint8Array {
    this.at += count;
    return this.source.slice(this.at - count, this.at);
  }
  /** Of what comes by the thousand; see `shortLived`. */
  passing(count: number): Uint8Array {
    const bytes = shortLived(count);
    this.at += count;
    bytes.set(this.source.subarray(this.at - count, this.at));
    return bytes;
  }
  uint8(): number {
    return this.view.getUint8(this.at++);
  }
  uint16(): number {
    this.at += 2;
    return this.view.getUint16(this.at - 2);
  }
  uint32(): number {
    this.at += 4;
    return this.view.getUint32(this.at - 4);
  }
  uint64(): bigint {
    this.at += 8;
    return this.view.getBigUint64(this.at - 8);
  }
  uint96(): bigint {
    this.at += 12;
    return readUint96(this.source, this.at - 12);
  }
}

/** A cursor over a payload being written; what is not written stays zero (reserved bytes). */
class Writer {
  private at = 2;
  private readonly target: Uint8Array;
  private readonly view: DataView;

  constructor(size: number, type: number) {
    this.target = shortLived(size).fill(0);
    this.view = new DataView(this.target.buffer, this.target.byteOffset, size);
    this.target[0] = PROTOCOL_VERSION;
    this.target[1] = type;
  }

  bytes(value: Uint8Array): this {
    this.target.set(value, this.at);
    this.at += value.length;
    return this;
  }
  uint8(value: number): this {
    this.view.setUint8(this.at++, value);
    return this;
  }
  uint16(value: number): this {
    this.view.setUint16(this.at, value);
    this.at += 2;
    return this;
  }
  uint32(value: number): this {
    this.view.setUint32(this.at, value);
    this.at += 4;
    return this;
  }
  uint64(value: bigint): this {
    this.view.setBigUint64(this.at, value);
    this.at += 8;
    return this;
  }
  uint96(value: bigint): this {
    writeUint96(this.target, this.at, value);
    this.at += 12;
    return this;
  }
  done(): Uint8Array {
    return this.target;
  }
}
