/**
 * Reading what a node answers: JSON-RPC quantities and data, blocks and receipts, checked field by field.
 * A node that answers something else is treated as one that does not answer. Pure.
 */
import { getBytes, hexlify } from 'ethers';
import type { Address } from '../channels/channel.js';
import { PieceworkError } from '../errors.js';

/** A block header, as far as it matters here. */
export interface Head {
  readonly number: bigint;
  /** 0x-prefixed, 32 bytes. */
  readonly hash: string;
  readonly parentHash: string;
  /** Unix seconds by the chain's clock. */
  readonly timestamp: bigint;
}

/** What a block can hold and asks for. */
export interface Capacity {
  readonly gasLimit: bigint;
  /** Base units per unit of gas; undefined where the chain has no base fee. */
  readonly baseFee: bigint | undefined;
}

export interface Log {
  readonly address: Address;
  readonly topics: readonly string[];
  readonly data: string;
}

/** A log found by searching, with the block that holds it. */
export interface FoundLog extends Log {
  readonly block: bigint;
}

/** A mined transaction. */
export interface Receipt {
  readonly hash: string;
  readonly block: bigint;
  readonly blockHash: string;
  /** False when it was mined and yet failed; then only its gas was spent. */
  readonly ok: boolean;
  readonly gasUsed: bigint;
  /** Base units per unit of gas; undefined where the node does not say. */
  readonly gasPrice: bigint | undefined;
  readonly contractAddress: Address | undefined;
  readonly logs: readonly Log[];
}

type ReceiptField =
  | 'transactionHash'
  | 'blockNumber'
  | 'blockHash'
  | 'status'
  | 'gasUsed'
  | 'effectiveGasPrice'
  | 'contractAddress'
  | 'logs';

/** A JSON-RPC quantity, as in `0x1a`. */
export function quantity(value: unknown, name: string): bigint {
  if (typeof value === 'string' && /^0x[0-9a-fA-F]{1,64}$/.test(value)) return BigInt(value);
  throw strange(name);
}

export function data(value: unknown, name: string): string {
  if (typeof value === 'string' && /^0x([0-9a-fA-F]{2})*$/.test(value)) return value.toLowerCase();
  throw strange(name);
}

export function hash(value: unknown, name: string): string {
  const text = data(value, name);
  if (text.length !== 66) throw strange(name);
  return text;
}

/** A block header, or undefined where the node knows no such block. */
export function head(value: unknown): Head | undefined {
  if (value === null) return undefined;
  const block = shape<'number' | 'hash' | 'parentHash' | 'timestamp'>(value, 'a block');
  return {
    number: quantity(block.number, 'a block number'),
    hash: hash(block.hash, 'a block hash'),
    parentHash: hash(block.parentHash, 'a parent hash'),
    timestamp: quantity(block.timestamp, 'a block time'),
  };
}

/** What the header of a block says of its capacity. */
export function capacity(value: unknown): Capacity {
  const { gasLimit, baseFeePerGas: fee } = shape<'gasLimit' | 'baseFeePerGas'>(value, 'a block');
  return {
    gasLimit: quantity(gasLimit, 'a gas limit'),
    baseFee: fee === undefined || fee === null ? undefined : quantity(fee, 'a base fee'),
  };
}

/** A receipt, or undefined where the transaction is not mined. */
export function receipt(value: unknown): Receipt | undefined {
  if (value === null) return undefined;
  const receipt = shape<ReceiptField>(value, 'a receipt');
  if (receipt.blockHash === null || receipt.blockNumber === null) return undefined;
  const { effectiveGasPrice: price, contractAddress: created, logs } = receipt;
  if (!Array.isArray(logs)) throw strange('the logs of a receipt');
  return {
    hash: hash(receipt.transactionHash, 'a transaction hash'),
    block: quantity(receipt.blockNumber, 'a block number'),
    blockHash: hash(receipt.blockHash, 'a block hash'),
    ok: quantity(receipt.status, 'a status') === 1n,
    gasUsed: quantity(receipt.gasUsed, 'gas used'),
    gasPrice: price === undefined || price === null ? undefined : quantity(price, 'a gas price'),
    contractAddress: created === undefined || created === null ? undefined : address(created),
    logs: logs.map(log),
  };
}

/** @throws PieceworkError CHAIN_UNREACHABLE for undefined. */
export function must<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new PieceworkError('CHAIN_UNREACHABLE', `the node does not have ${name}`);
  return value;
}

/** Blocks between two heads. */
export function distance(a: Head, b: Head): bigint {
  return a.number > b.number ? a.number - b.number : b.number - a.number;
}

/** All that a head says, as one string. */
export function fingerprint({ number, hash, parentHash, timestamp }: Head): string {
  return `${number} ${hash} ${parentHash} ${timestamp}`;
}

/** All that a receipt says, as one string. */
export function text(receipt: Receipt | undefined): string {
  return JSON.stringify(receipt, (_, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value instanceof Uint8Array ? hexlify(value) : value,
  );
}

/** The logs a search found. Those of blocks that do not count yet are left out. */
export function foundLogs(value: unknown): readonly FoundLog[] {
  if (!Array.isArray(value)) throw strange('a list of logs');
  return value.flatMap((one: unknown) => {
    const { blockNumber } = shape<'blockNumber'>(one, 'a log');
    return blockNumber === null ? [] : [{ ...log(one), block: quantity(blockNumber, 'a block number') }];
  });
}

function log(value: unknown): Log {
  const log = shape<'address' | 'topics' | 'data'>(value, 'a log');
  const topics = log.topics;
  if (!Array.isArray(topics)) throw strange('the topics of a log');
  return {
    address: address(log.address),
    topics: topics.map((topic) => hash(topic, 'a topic')),
    data: data(log.data, 'the data of a log'),
  };
}

function address(value: unknown): Address {
  const text = data(value, 'an address');
  if (text.length !== 42) throw strange('an address');
  return getBytes(text);
}

function shape<Field extends string>(
  value: unknown,
  name: string,
): Readonly<Partial<Record<Field, unknown>>> {
  if (typeof value !== 'object' || value === null) throw strange(name);
  return value as Readonly<Partial<Record<Field, unknown>>>;
}

function strange(name: string): PieceworkError {
  return new PieceworkError('CHAIN_UNREACHABLE', `the node's answer does not hold ${name}`);
}
