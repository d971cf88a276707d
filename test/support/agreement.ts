/**
 * The money side of hostile peers: agreeing to an offer and signing vouchers as a payer, making offers as a
 * payee, with keys of their own. Whether to do so honestly is the test's choice.
 */
import { createHash } from 'node:crypto';
import type { Domain } from '../../src/channels/channel.js';
import { acceptDigest, type Offer, offerDigest, receiptDigest } from '../../src/channels/terms.js';
import { NONE } from '../../src/channels/voucher.js';
import { call } from '../../src/native/binding.js';
import type { Hostile } from './hostile.js';

/** A key that the name alone gives. */
export interface Key {
  readonly secret: Uint8Array;
  readonly address: Uint8Array;
}

export function keyNamed(name: string): Key {
  const secret = new Uint8Array(createHash('sha256').update(`piecework test key ${name}`).digest());
  return { secret, address: call((addon) => addon.addressOf(secret)) };
}

/** A voucher row for a channel of `key` to `payee`. */
export function rowOf(domain: Domain, key: Key, payee: Uint8Array, amount: bigint): Uint8Array {
  const separator = call((addon) => addon.domainSeparator(domain.chainId, domain.hub));
  return call((addon) => addon.signVoucher(separator, key.secret, payee, amount));
}

/** The same row with one bit of its signature flipped. */
export function spoiled(row: Uint8Array, bit = 0): Uint8Array {
  const bytes = row.slice();
  const at = 12 + (bit >> 3);
  bytes[at] = bytes[at]! ^ (1 << (bit & 7));
  return bytes;
}

/** Accepts the next offer with a proof of `key`. Says nothing of what the payee answers. */
export async function accept(
  peer: Hostile,
  key: Key,
  infohash: Uint8Array,
  prepay = 0n,
  prover: Key = key,
): Promise<Offer> {
  const { offer } = await peer.hears('offer');
  const terms = { offerDigest: offerDigest(offer), nonce: offer.nonce, voucherKey: key.address, prepay };
  const connection = { payerPeerId: peer.peerId, payeePeerId: peer.theirPeerId, infohash };
  const digest = acceptDigest(offer.domain, terms, connection);
  const signature = call((addon) => addon.signDigests(prover.secret, digest));
  peer.say({ type: 'accept', accept: terms, signature });
  return offer;
}

/** Opens a session and gets unchoked, as an honest payer would. */
export async function agree(peer: Hostile, key: Key, infohash: Uint8Array, prepay = 0n): Promise<Offer> {
  const offer = await accept(peer, key, infohash, prepay);
  await peer.hears('state');
  peer.send(2);
  await peer.until(() => peer.unchoked, 10_000, 'being unchoked');
  return offer;
}

export interface OfferTerms {
  readonly domain: Domain;
  readonly infohash: Uint8Array;
  readonly priceMiB: bigint;
  readonly challengePeriod: number;
  readonly windowBytes?: bigint;
  readonly minStep?: bigint;
  readonly prepay?: bigint;
}

/** Makes an offer signed by the payee itself. */
export function sayOffer(peer: Hostile, payee: Key, terms: OfferTerms): Offer {
  const nonce = new Uint8Array(16);
  for (let at = 0; at < 16; at++) nonce[at] = Math.floor(Math.random() * 256);
  const offer: Offer = {
    windowBytes: 1n << 26n,
    minStep: 0n,
    prepay: 0n,
    ...terms,
    payee: payee.address,
    expiry: BigInt(Math.floor(Date.now() / 1000)) + 3_600n,
    nonce,
    delegate: payee.address,
    delegation: undefined,
    tickLength: 0,
  };
  const signature = call((addon) => addon.signDigests(payee.secret, offerDigest(offer)));
  peer.say({ type: 'offer', offer, signature });
  return offer;
}

/** Takes the payer's accept as it is and says that nothing is held for its channel yet. */
export async function takeAccept(peer: Hostile, deposit: bigint): Promise<Uint8Array> {
  const { accept: taken } = await peer.hears('accept', 60_000);
  peer.say({ type: 'state', role: 'payee', row: NONE, deposit });
  return taken.voucherKey;
}

/** A receipt signed by `signer` for whatever it claims. */
export function sayReceipt(
  peer: Hostile,
  signer: Key,
  offer: Offer,
  voucherKey: Uint8Array,
  amount: bigint,
): void {
  const receipt = {
    session: new Uint8Array(16),
    infohash: offer.infohash,
    offerDigest: offerDigest(offer),
    bytes: 0n,
    amount,
    head: amount,
    time: BigInt(Math.floor(Date.now() / 1000)),
    payee: offer.payee,
    voucherKey,
  };
  const signature = call((addon) => addon.signDigests(signer.secret, receiptDigest(offer.domain, receipt)));
  peer.say({ type: 'receipt', receipt, signature });
}
