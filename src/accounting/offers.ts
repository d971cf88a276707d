/**
 * Judging an offer (wire.md 3): whether it speaks of the hub, torrent and terms that we trust, costs no more than we
 * allow, and is signed by who may sign for its payee. The cheap checks come first.
 */
import type { Domain } from '../channels/channel.js';
import type { RejectCode } from '../channels/message.js';
import { delegationDigest, type Offer } from '../channels/terms.js';
import type { Clock } from '../clock.js';
import { offerGraceSeconds } from '../limits.js';
import { sameBytes } from '../units.js';

export interface OfferPorts {
  readonly clock: Clock;
  readonly domain: Domain;
  readonly challengePeriod: number;
  /** Base units per MiB above which no offer is taken. */
  readonly priceMiBMax: (infohash: Uint8Array) => bigint;
  /** The address that signed, or undefined for a bad signature. */
  readonly recover: (digest: Uint8Array, signature: Uint8Array) => Promise<Uint8Array | undefined>;
}

export interface MadeOffer {
  readonly offer: Offer;
  readonly digest: Uint8Array;
  readonly signature: Uint8Array;
  /** The torrent of the connection it came by. */
  readonly infohash: Uint8Array;
}

/** Why the offer is refused; undefined where it may be taken. */
export async function checkOffer(ports: OfferPorts, made: MadeOffer): Promise<RejectCode | undefined> {
  const { offer, digest, signature, infohash } = made;
  const { domain, recover } = ports;
  if (offer.domain.chainId !== domain.chainId || !sameBytes(offer.domain.hub, domain.hub))
    return 'wrong_escrow';
  if (offer.challengePeriod !== ports.challengePeriod) return 'wrong_escrow';
  if (!sameBytes(offer.infohash, infohash)) return 'bad_nonce';
  const now = ports.clock.unixSeconds();
  if (offer.expiry + offerGraceSeconds < now) return 'expired';
  if (offer.priceMiB > ports.priceMiBMax(infohash)) return 'price_too_high';
  const signer = await recover(digest, signature);
  if (!signer || !sameBytes(signer, offer.delegate)) return 'bad_signature';
  if (sameBytes(offer.delegate, offer.payee)) return undefined;
  if (!offer.delegation || offer.delegation.expiry < now) return 'bad_signature';
  const delegated = delegationDigest(domain, offer.payee, offer.delegate, offer.delegation.expiry);
  const payee = await recover(delegated, offer.delegation.signature);
  return payee && sameBytes(payee, offer.payee) ? undefined : 'bad_signature';
}
