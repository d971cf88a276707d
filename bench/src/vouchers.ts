/**
 * Signed vouchers of distinct payers for the benches, in every form that a peer takes them in. Made with our own
 * signer and held against ethers, which knows nothing of it.
 */
import {
  computeAddress,
  getBytes,
  hexlify,
  recoverAddress,
  Signature,
  TypedDataEncoder,
  toBeHex,
} from 'ethers';
import { call } from '../../dist/native/binding.js';
import type { VoucherClaim } from '../../dist/native/records.js';
import { check } from './measure.js';
import type { TypedData } from './peers.js';

type Hex = `0x${string}`;

export const CHAIN_ID = 199n;
export const HUB = new Uint8Array(20).fill(0xa1);
export const PAYEE = new Uint8Array(20).fill(0xb2);
export const SEED = new Uint8Array(32).fill(7);

const TYPES = {
  Voucher: [
    { name: 'payee', type: 'address' },
    { name: 'cumulativeAmount', type: 'uint256' },
  ],
};

export const TYPED_DOMAIN = {
  name: 'Piecework',
  version: '1',
  chainId: Number(CHAIN_ID),
  verifyingContract: hexlify(HUB) as Hex,
};

export interface Sample {
  readonly claim: VoucherClaim;
  readonly secret: Uint8Array;
  readonly amount: bigint;
  /** The signer's address, lower case. */
  readonly signer: Hex;
  readonly digest: Uint8Array;
  readonly digestHex: Hex;
  /** r ‖ s, 64 bytes. */
  readonly signature: Uint8Array;
  readonly parity: 0 | 1;
  /** r ‖ s ‖ v, 65 bytes: what wallets hand out. */
  readonly signatureHex: Hex;
  readonly typed: TypedData;
}

export const domain = (): Uint8Array => call((addon) => addon.domainSeparator(CHAIN_ID, HUB));

/** Vouchers of `count` distinct payers. */
export function makeSamples(count: number): Sample[] {
  const keys = call((addon) => addon.deriveVoucherKeys(SEED, 0n, count));
  const separator = domain();
  return Array.from({ length: count }, (_, index) => {
    const voucherKey = keys.slice(index * 20, index * 20 + 20);
    const secret = call((addon) => addon.deriveVoucherSecret(SEED, BigInt(index)));
    const amount = 10n ** 18n + BigInt(index);
    const row = call((addon) => addon.signVoucher(separator, secret, PAYEE, amount));
    return sample({ voucherKey, payee: PAYEE, row }, secret, amount);
  });
}

function sample(claim: VoucherClaim, secret: Uint8Array, amount: bigint): Sample {
  const { row } = claim;
  const message = { payee: hexlify(PAYEE), cumulativeAmount: amount };
  const digestHex = TypedDataEncoder.hash(TYPED_DOMAIN, TYPES, message) as Hex;
  const parsed = Signature.from(hexlify(row.subarray(12)));
  return {
    claim,
    secret,
    amount,
    signer: hexlify(claim.voucherKey) as Hex,
    digest: getBytes(digestHex),
    digestHex,
    signature: getBytes(parsed.r + parsed.s.slice(2)),
    parity: parsed.yParity,
    signatureHex: parsed.serialized as Hex,
    typed: { domain: TYPED_DOMAIN, types: TYPES, primaryType: 'Voucher', message },
  };
}

const N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const PARITY = 1n << 255n;

/** The status of a row by voucher.md 4, from ethers' recovery and plain integers. */
export function plainStatus({ voucherKey, payee, row }: VoucherClaim): 0 | 1 | 2 {
  const integer = (from: number, to: number): bigint => BigInt(hexlify(row.subarray(from, to)));
  const [amount, r, vs] = [integer(0, 12), integer(12, 44), integer(44, 76)];
  const s = vs & (PARITY - 1n);
  if (r === 0n || r >= N || s === 0n || s > (N - 1n) / 2n) return 1;
  const message = { payee: hexlify(payee), cumulativeAmount: amount };
  try {
    const digest = TypedDataEncoder.hash(TYPED_DOMAIN, TYPES, message);
    const yParity = (vs & PARITY) === 0n ? 0 : 1;
    const signer = recoverAddress(digest, { r: toBeHex(r, 32), s: toBeHex(s, 32), yParity });
    return signer.toLowerCase() === hexlify(voucherKey) ? 0 : 2;
  } catch {
    return 2;
  }
}

/** Every way in which a row goes wrong that an acceptance rule names, and the unchanged one. */
export function mutations({ claim }: Sample): VoucherClaim[] {
  const { row } = claim;
  const vs = BigInt(hexlify(row.subarray(44)));
  const s = vs & (PARITY - 1n);
  const changed = (at: number, value: bigint, size: number): VoucherClaim => {
    const copy = row.slice();
    copy.set(getBytes(toBeHex(value, size)), at);
    return { ...claim, row: copy };
  };
  return [
    claim,
    changed(44, vs ^ PARITY, 32),
    changed(44, (vs - s) | (N - s), 32),
    changed(44, vs - s, 32),
    changed(12, 0n, 32),
    changed(12, N, 32),
    changed(12, 5n, 32),
    changed(0, 1n, 12),
    { ...claim, voucherKey: new Uint8Array(20).fill(9) },
    { ...claim, payee: new Uint8Array(20).fill(9) },
  ];
}

/** Compares our signer's keys and digests with ethers'; slow, so on a few. */
export function checkSamples(samples: readonly Sample[]): void {
  for (const { secret, signer, digestHex, signatureHex } of samples) {
    check(computeAddress(hexlify(secret)).toLowerCase() === signer, 'a voucher key is not its secret’s');
    check(recoverAddress(digestHex, signatureHex).toLowerCase() === signer, 'a signature is not its key’s');
  }
}

export { TYPES as VOUCHER_TYPES };
