/**
 * Account keys: the only place that holds one. An account signs what it is given and never gives its key
 * away; neither printing nor serialising it shows the key. Where keys rest on disk is `wallet`'s.
 */
import { createHmac } from 'node:crypto';
import { computeAddress, getBytes, hexlify, SigningKey, Transaction } from 'ethers';
import type { Address } from '../channels/channel.js';

/** The fields of a legacy transaction. `to` is undefined where a contract is created. */
export interface LegacyFields {
  readonly chainId: bigint;
  readonly nonce: number;
  readonly to: Address | undefined;
  readonly data: string;
  readonly value: bigint;
  readonly gasLimit: bigint;
  readonly gasPrice: bigint;
}

/** Bytes ready to broadcast and the hash they will be known by; both 0x-prefixed hex. */
export interface SignedTransaction {
  readonly hash: string;
  readonly raw: string;
}

export class Account {
  readonly address: Address;
  readonly #key: SigningKey;

  /** `privateKey` is 32 bytes, 0 < key < n; anything else throws. */
  constructor(privateKey: Uint8Array) {
    this.#key = new SigningKey(privateKey);
    this.address = getBytes(computeAddress(this.#key));
  }

  /** Signs a legacy transaction (type 0) with EIP-155 replay protection. */
  signTransaction(fields: LegacyFields): SignedTransaction {
    const transaction = Transaction.from({
      type: 0,
      chainId: fields.chainId,
      nonce: fields.nonce,
      to: fields.to === undefined ? null : hexlify(fields.to),
      data: fields.data,
      value: fields.value,
      gasLimit: fields.gasLimit,
      gasPrice: fields.gasPrice,
    });
    transaction.signature = this.#key.sign(transaction.unsignedHash);
    return { hash: transaction.hash!, raw: transaction.serialized };
  }

  /** Signs a 32-byte digest: 64 bytes r ‖ vs (EIP-2098), low s, deterministic (RFC 6979). */
  signDigest(digest: Uint8Array): Uint8Array {
    return getBytes(this.#key.sign(digest).compactSerialized);
  }

  /**
   * 32 secret bytes for one purpose, the same each time, from which the key cannot be computed:
   * HMAC-SHA256 under the key. Seeds what has to be recoverable from the wallet alone.
   */
  deriveSecret(label: string): Uint8Array {
    const hmac = createHmac('sha256', getBytes(this.#key.privateKey));
    return new Uint8Array(hmac.update(`piecework/${label}`, 'utf8').digest());
  }
}
