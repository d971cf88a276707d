/**
 * The signed structures of a session (wire.md 2): offer, accept, delegation and receipt, and their EIP-712
 * digests. Pure: signing and recovering is done natively on these digests.
 */
import { concat, getBytes, hexlify, keccak256, TypedDataEncoder } from 'ethers';
import type { Address, Domain } from './channel.js';

/** A payee's price and conditions for one torrent on one connection. */
export interface Offer {
  readonly domain: Domain;
  readonly payee: Address;
  /** Base units per MiB. */
  readonly priceMiB: bigint;
  readonly windowBytes: bigint;
  /** The least by which a voucher must exceed the head, in base units. */
  readonly minStep: bigint;
  /** Base units the payee asks to be paid ahead. */
  readonly prepay: bigint;
  /** Unix seconds by the payee's clock. */
  readonly expiry: bigint;
  /** 16 bytes, fresh for every offer. */
  readonly nonce: Uint8Array;
  readonly infohash: Uint8Array;
  /** Seconds between a payer's close request and its withdrawal, as the hub has it. */
  readonly challengePeriod: number;
  readonly delegate: Address;
  readonly delegation: Delegation | undefined;
  /** The longest chain of ticks the payee takes; 0 for none. */
  readonly tickLength: number;
}

/** The payee's word that `delegate` may sign offers and receipts for it until `expiry`. */
export interface Delegation {
  readonly expiry: bigint;
  /** r ‖ vs, by the payee's key. */
  readonly signature: Uint8Array;
}

/** A payer's agreement to an offer; signed by the voucher key. */
export interface Accept {
  readonly offerDigest: Uint8Array;
  readonly nonce: Uint8Array;
  readonly voucherKey: Address;
  /** Base units the payer agrees to pay ahead. */
  readonly prepay: bigint;
}

/** What binds an accept to one connection. */
export interface Connection {
  readonly payerPeerId: Uint8Array;
  readonly payeePeerId: Uint8Array;
  readonly infohash: Uint8Array;
}

/** A payee's signed statement of one session. */
export interface Receipt {
  readonly session: Uint8Array;
  readonly infohash: Uint8Array;
  readonly offerDigest: Uint8Array;
  readonly bytes: bigint;
  readonly amount: bigint;
  readonly head: bigint;
  readonly time: bigint;
  readonly payee: Address;
  readonly voucherKey: Address;
}

const OFFER = TypedDataEncoder.from({
  Offer: [
    { name: 'payee', type: 'address' },
    { name: 'priceMiB', type: 'uint96' },
    { name: 'windowBytes', type: 'uint64' },
    { name: 'minStep', type: 'uint96' },
    { name: 'prepay', type: 'uint96' },
    { name: 'expiry', type: 'uint64' },
    { name: 'nonce', type: 'bytes16' },
    { name: 'infohash', type: 'bytes20' },
    { name: 'challengePeriod', type: 'uint32' },
    { name: 'delegate', type: 'address' },
    { name: 'tickLength', type: 'uint16' },
  ],
});
const ACCEPT = TypedDataEncoder.from({
  Accept: [
    { name: 'offer', type: 'bytes32' },
    { name: 'nonce', type: 'bytes16' },
    { name: 'voucherKey', type: 'address' },
    { name: 'prepay', type: 'uint96' },
    { name: 'payerPeerId', type: 'bytes20' },
    { name: 'payeePeerId', type: 'bytes20' },
    { name: 'infohash', type: 'bytes20' },
  ],
});
const DELEGATION = TypedDataEncoder.from({
  Delegation: [
    { name: 'payee', type: 'address' },
    { name: 'delegate', type: 'address' },
    { name: 'expiry', type: 'uint64' },
  ],
});
const RECEIPT = TypedDataEncoder.from({
  Receipt: [
    { name: 'session', type: 'bytes16' },
    { name: 'infohash', type: 'bytes20' },
    { name: 'offer', type: 'bytes32' },
    { name: 'bytes', type: 'uint64' },
    { name: 'amount', type: 'uint96' },
    { name: 'head', type: 'uint96' },
    { name: 'time', type: 'uint64' },
    { name: 'payee', type: 'address' },
    { name: 'voucherKey', type: 'address' },
  ],
});

export function offerDigest(offer: Offer): Uint8Array {
  return digest(offer.domain, OFFER, {
    payee: hexlify(offer.payee),
    priceMiB: offer.priceMiB,
    windowBytes: offer.windowBytes,
    minStep: offer.minStep,
    prepay: offer.prepay,
    expiry: offer.expiry,
    nonce: offer.nonce,
    infohash: offer.infohash,
    challengePeriod: offer.challengePeriod,
    delegate: hexlify(offer.delegate),
    tickLength: offer.tickLength,
  });
}

export function acceptDigest(domain: Domain, accept: Accept, connection: Connection): Uint8Array {
  return digest(domain, ACCEPT, {
    offer: accept.offerDigest,
    nonce: accept.nonce,
    voucherKey: hexlify(accept.voucherKey),
    prepay: accept.prepay,
    ...connection,
  });
}

export function delegationDigest(
  domain: Domain,
  payee: Address,
  delegate: Address,
  expiry: bigint,
): Uint8Array {
  return digest(domain, DELEGATION, { payee: hexlify(payee), delegate: hexlify(delegate), expiry });
}

export function receiptDigest(domain: Domain, receipt: Receipt): Uint8Array {
  return digest(domain, RECEIPT, {
    ...receipt,
    offer: receipt.offerDigest,
    payee: hexlify(receipt.payee),
    voucherKey: hexlify(receipt.voucherKey),
  });
}

/** The session's id: the first 16 bytes of the accept's digest. */
export function sessionId(acceptDigestBytes: Uint8Array): Uint8Array {
  return acceptDigestBytes.slice(0, 16);
}

/** Domains do not change while an engine runs, and hashing one costs as much as hashing a message. */
const separators = new WeakMap<Domain, string>();

function separatorOf(domain: Domain): string {
  const known = separators.get(domain);
  if (known !== undefined) return known;
  const separator = TypedDataEncoder.hashDomain({
    name: 'Piecework',
    version: '1',
    chainId: domain.chainId,
    verifyingContract: hexlify(domain.hub),
  });
  separators.set(domain, separator);
  return separator;
}

function digest(domain: Domain, encoder: TypedDataEncoder, value: Record<string, unknown>): Uint8Array {
  return getBytes(keccak256(concat(['0x1901', separatorOf(domain), encoder.hash(value)])));
}
