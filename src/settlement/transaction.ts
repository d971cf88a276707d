/**
 * Transactions as values: what is asked for (a call), what it would cost (a quote), what is kept until its
 * end is known (a stored transaction) and where. Pure; sending is `sender`'s, keeping the store's owner's.
 */
import type { Address } from '../channels/channel.js';

/** One transaction somebody wants on the chain. */
export interface Call {
  /** Undefined creates a contract. */
  readonly to: Address | undefined;
  /** 0x-prefixed hex. */
  readonly data: string;
  /** Base units that go with it. */
  readonly value: bigint;
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

/** A signed transaction whose end is not known yet. Strings and numbers only, so that it survives JSON. */
export interface StoredTransaction {
  /** 0x-prefixed, 32 bytes; the key of the record. */
  readonly hash: string;
  /** The signed bytes, 0x-prefixed hex. Only these bytes are ever broadcast again. */
  readonly raw: string;
  /** 0x-prefixed lower-case address of the account. */
  readonly from: string;
  readonly nonce: number;
  readonly purpose: string;
  readonly intent: string;
}

/** Where signed transactions are kept. `put` and `remove` resolve once the change is durable. */
export interface TransactionStore {
  put(record: StoredTransaction): Promise<void>;
  remove(hash: string): Promise<void>;
  list(): Promise<readonly StoredTransaction[]>;
}

/** Gas signed for beyond the estimate, for what may shift in the state before the transaction is mined. */
const GAS_MARGIN_PERCENT = 20n;

/** The quote of a call from the node's estimate and a gas price. */
export function quote(call: Call, gas: bigint, gasPrice: bigint): Quote {
  const gasLimit = gas + (gas * GAS_MARGIN_PERCENT) / 100n;
  return { gas, gasLimit, gasPrice, cost: gas * gasPrice, costMax: gasLimit * gasPrice, value: call.value };
}

/** A store that forgets with the process: for single commands whose repetition does no harm. */
export function memoryStore(): TransactionStore {
  const records = new Map<string, StoredTransaction>();
  return {
    async put(record) {
      records.set(record.hash, record);
    },
    async remove(hash) {
      records.delete(hash);
    },
    async list() {
      return [...records.values()];
    },
  };
}
