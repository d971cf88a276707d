/**
 * The channel: an escrow from one voucher key to one payee at one hub. Vocabulary only; what is durable is
 * the ledger's, what is true on chain the settlement's.
 */
import { getBytes, keccak256 } from 'ethers';
import { PieceworkError } from '../errors.js';
import { fromHex, toHex } from '../units.js';

/** 20 bytes. */
export type Address = Uint8Array;

/** Where vouchers are worth something: EIP-155 chain id and hub address. */
export interface Domain {
  readonly chainId: bigint;
  readonly hub: Address;
}

/** What names a channel within a domain. */
export interface ChannelKey {
  readonly voucherKey: Address;
  readonly payee: Address;
}

/** closeAt of a channel that is closed for ever (hub.md 1). */
export const TOMBSTONE = 0xffffffff;

/** What the chain says of a channel, read at one block. Amounts in base units. */
export interface ChannelFacts extends ChannelKey {
  readonly owner: Address;
  readonly deposit: bigint;
  readonly settled: bigint;
  /** 0 open, TOMBSTONE closed, else the unix second from which the payer may withdraw. */
  readonly closeAt: number;
  readonly block: bigint;
}

/** keccak256(voucherKey ‖ payee): the channel's id and its slot in the hub. */
export function channelId(key: ChannelKey): Uint8Array {
  const packed = new Uint8Array(40);
  packed.set(key.voucherKey, 0);
  packed.set(key.payee, 20);
  return getBytes(keccak256(packed));
}

/** Parses an address with or without 0x; checksums are not enforced, the zero address is refused. */
export function parseAddress(text: string): Address {
  const bytes = /^(0x)?[0-9a-fA-F]{40}$/.test(text) ? fromHex(text) : undefined;
  if (!bytes || bytes.every((byte) => byte === 0)) {
    throw new PieceworkError('BAD_ARGUMENT', `"${text}" is not an address`);
  }
  return bytes;
}

/** 0x-prefixed lower-case hex. */
export function formatAddress(address: Address): string {
  return `0x${toHex(address)}`;
}
