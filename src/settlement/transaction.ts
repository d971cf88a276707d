/**
 * Transactions as values: what is asked for (a call), what it would cost (a quote), what is kept until its
 * end is known (a stored transaction with all its variants, settlement.md 1) and where. Pure; sending is
 * `sender`'s, keeping the store's owner's.
 */
import { getBytes, hexlify, Transaction } from 'ethers';
import type { Address } from '../channels/channel.js';
import type { LegacyFields, SignedTransaction } from './account.js';

/** One transaction somebody wants on the chain. */
export interface Call {
  /** Undefined creates a contract. */
  readonly to: Address | undefined;
  /** 0x-prefixed hex. */
  readonly data: string;
  /** Base units that go with it. */
  readonly value: bigint;
  /** Base units of an ERC-20 that the contract pulls from the sender, who has to allow it before. */
  readonly pulls?: bigint;
  /** A few words for people: `settle 12 vouchers`. */
  readonly purpose: string;
  /**
   * Names the effect that is wanted. While a stored transaction with this intent may still land, no second
   * one is signed for it.
   */
  readonly intent: string;
}

/** What a call would cost now. Amounts in base units. */
export interface Quote {
  /** Gas the node expects it to use. */
  readonly gas: bigint;
  /** Gas it may use at most: what is signed. */
  readonly gasLimit: bigint;
  /** Base units per unit of gas. */
  readonly gasPrice: bigint;
  /** gas × gasPrice. */
  readonly cost: bigint;
  /** gasLimit × gasPrice: what the ceiling and the balance are held against. */
  readonly costMax: bigint;
  readonly value: bigint;
}

/** One signing of a stored transaction: all of them differ only in the gas price. */
export interface Variant {
  /** 0x-prefixed, 32 bytes. */
  readonly hash: string;
  /** Base units per unit of gas, in decimal digits. */
  readonly gasPrice: string;
  /** 65 bytes r ‖ s ‖ v, 0x-prefixed hex: with the fields of the transaction it gives the very same bytes again. */
  readonly signature: string;
}

/**
 * A transaction whose end is not known yet, with everything that was ever signed for its nonce and intent.
 * At most one variant can land, because they share the nonce. Strings and numbers only, so that it survives
 * JSON; the call data stand there once, so that a thousand vouchers fit into one record.
 */
export interface StoredTransaction {
  /** The hash of the first variant; the key of the record for as long as it is stored. */
  readonly id: string;
  readonly chainId: string;
  /** 0x-prefixed lower-case address of the account. */
  readonly from: string;
  readonly nonce: number;
  /** 0x-prefixed; null creates a contract. */
  readonly to: string | null;
  /** Base64. */
  readonly data: string;
  /** Base units, in decimal digits. */
  readonly value: string;
  readonly gasLimit: string;
  readonly purpose: string;
  readonly intent: string;
  /** The unix second at which it was first signed. */
  readonly since: number;
  /** The most that its gas may cost, in base units; null where the caller named none. */
  readonly gasCeiling: string | null;
  /** Oldest first, each dearer than the one before; never empty. */
  readonly variants: readonly Variant[];
}

/** Where signed transactions are kept. `put` and `remove` resolve once the change is durable. */
export interface TransactionStore {
  /** Stores a record in place of the one with the same id, all of it or nothing. */
  put(record: StoredTransaction): Promise<void>;
  remove(id: string): Promise<void>;
  list(): Promise<readonly StoredTransaction[]>;
}

/** The fields a record is signed over, with one gas price. */
export function fieldsOf(record: StoredTransaction, gasPrice: bigint): LegacyFields {
  return {
    chainId: BigInt(record.chainId),
    nonce: record.nonce,
    to: record.to === null ? undefined : getBytes(record.to),
    data: hexlify(Buffer.from(record.data, 'base64')),
    value: BigInt(record.value),
    gasLimit: BigInt(record.gasLimit),
    gasPrice,
  };
}

/** The bytes of a variant, as they were signed: only these are ever broadcast for it. */
export function rawOf(record: StoredTransaction, variant: Variant): string {
  const { to, ...fields } = fieldsOf(record, BigInt(variant.gasPrice));
  const target = to === undefined ? null : hexlify(to);
  return Transaction.from({ type: 0, ...fields, to: target, signature: variant.signature }).serialized;
}

/** The variant that is broadcast: the dearest one. */
export function newest(record: StoredTransaction): Variant {
  return record.variants.at(-1)!;
}

export function variantOf(signed: SignedTransaction, gasPrice: bigint): Variant {
  const { signature } = Transaction.from(signed.raw);
  return { hash: signed.hash, gasPrice: String(gasPrice), signature: signature!.serialized };
}

/**
 * The gas price of the next variant: the market's, and at least `permille` more than the last one, because
 * nodes refuse a smaller rise. It never falls. Base units per unit of gas.
 */
export function raisedPrice(record: StoredTransaction, market: bigint, permille: number): bigint {
  const last = BigInt(newest(record).gasPrice);
  const least = last + (last * BigInt(permille) + 999n) / 1_000n;
  return market > least ? market : least;
}

/** Gas signed for beyond the estimate, for what may shift in the state before the transaction is mined. */
const GAS_MARGIN_PERCENT = 20n;

/** The quote of a call from the node's estimate and a gas price. */
export function quote(call: Call, gas: bigint, gasPrice: bigint): Quote {
  const gasLimit = gas + (gas * GAS_MARGIN_PERCENT) / 100n;
  return { gas, gasLimit, gasPrice, cost: gas * gasPrice, costMax: gasLimit * gasPrice, value: call.value };
}

/** What a pulling call may use before it can be tried out: a token's two movements and a slot for each row. */
export function pullingGas({ data }: Call): bigint {
  const wordBytes = 32;
  const words = BigInt(Math.ceil(data.length / 2 / wordBytes));
  return 150_000n + (words * 30_000n) / 3n;
}

/** A store that forgets with the process: for single commands whose repetition does no harm. */
export function memoryStore(): TransactionStore {
  const records = new Map<string, StoredTransaction>();
  return {
    async put(record) {
      records.set(record.id, record);
    },
    async remove(id) {
      records.delete(id);
    },
    async list() {
      return [...records.values()];
    },
  };
}
