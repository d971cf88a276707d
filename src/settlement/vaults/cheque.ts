/**
 * The BTFS cheque as a value: its digest, signing it, and who signed it (vaults.md 1). Pure. Invariant: what
 * is accepted here, the vault contract accepts; it takes more (64-byte signatures), and go-btfs other things.
 */
import { concat, getBytes, hexlify, recoverAddress, TypedDataEncoder, toBigInt } from 'ethers';
import { type Address, formatAddress } from '../../channels/channel.js';
import { PieceworkError } from '../../errors.js';
import { sameBytes } from '../../units.js';
import type { Account } from '../account.js';

export interface Cheque {
  readonly token: Address;
  readonly vault: Address;
  readonly beneficiary: Address;
  /** Base units of the token since the vault was made. */
  readonly cumulativePayout: bigint;
}

export interface SignedCheque extends Cheque {
  /** 65 bytes: r ‖ s ‖ v. */
  readonly signature: Uint8Array;
}

/** What a digest depends on besides the cheque: the chain, and which token has the plain type. */
export interface ChequeDomain {
  readonly chainId: bigint;
  readonly wbtt: Address;
}

export const SIGNATURE_BYTES = 65;
export const PAYOUT_MAX = (1n << 256n) - 1n;

const ORDER = 0xffff_ffff_ffff_ffff_ffff_ffff_ffff_fffe_baae_dce6_af48_a03b_bfd2_5e8c_d036_4141n;
const FIELDS = [
  { name: 'vault', type: 'address' },
  { name: 'beneficiary', type: 'address' },
  { name: 'cumulativePayout', type: 'uint256' },
];

/** The 32 bytes that are signed. `cumulativePayout` outside uint256 throws a RangeError. */
export function digest(cheque: Cheque, { chainId, wbtt }: ChequeDomain): Uint8Array {
  const { cumulativePayout } = cheque;
  if (cumulativePayout < 0n || cumulativePayout > PAYOUT_MAX)
    throw new RangeError(`${cumulativePayout} is not a uint256`);
  const domain = { name: 'Vault', version: '1.0', chainId };
  const token = hexlify(cheque.token);
  const fields = { vault: hexlify(cheque.vault), beneficiary: hexlify(cheque.beneficiary), cumulativePayout };
  const hash = sameBytes(cheque.token, wbtt)
    ? TypedDataEncoder.hash(domain, { Cheque: FIELDS }, fields)
    : TypedDataEncoder.hash(
        domain,
        { MultiTokenCheque: [{ name: 'token', type: 'address' }, ...FIELDS] },
        { token, ...fields },
      );
  return getBytes(hash);
}

export function sign(cheque: Cheque, domain: ChequeDomain, account: Account): SignedCheque {
  const compact = account.signDigest(digest(cheque, domain));
  const parity = compact[32]! >> 7;
  const signature = getBytes(concat([compact, new Uint8Array([27 + parity])]));
  signature[32]! &= 0x7f;
  return { ...cheque, signature };
}

/**
 * The address that signed it, by the rules of vaults.md 1.
 * @throws PieceworkError CHEQUE_REFUSED for a signature that the contract or go-btfs would not take.
 */
export function signer(cheque: SignedCheque, domain: ChequeDomain): Address {
  const { signature } = cheque;
  if (signature.length !== SIGNATURE_BYTES)
    throw refused(`its signature has ${signature.length} bytes, not 65`);
  const [r, s, v] = [
    toBigInt(signature.subarray(0, 32)),
    toBigInt(signature.subarray(32, 64)),
    signature[64]!,
  ];
  if (v !== 27 && v !== 28) throw refused(`v of its signature is ${v}, not 27 or 28`);
  if (r === 0n || r >= ORDER) throw refused('r of its signature is out of range');
  if (s === 0n || s > ORDER / 2n) throw refused('s of its signature is not in the lower half');
  try {
    return getBytes(recoverAddress(digest(cheque, domain), hexlify(signature)));
  } catch {
    throw refused('its signature belongs to no key');
  }
}

/** Equal in every field, the signature included. */
export function same(a: SignedCheque, b: SignedCheque): boolean {
  const fields = ['token', 'vault', 'beneficiary', 'signature'] as const;
  return a.cumulativePayout === b.cumulativePayout && fields.every((name) => sameBytes(a[name], b[name]));
}

/** A refusal of a cheque; `detail` completes "the cheque is refused: ". */
export function refused(detail: string): PieceworkError {
  return new PieceworkError('CHEQUE_REFUSED', `the cheque is refused: ${detail}`);
}

/** Vault and token of a cheque: what its account is called in maps. */
export function accountName(vault: Address, token: Address): string {
  return `${formatAddress(vault)}/${formatAddress(token)}`;
}
