/**
 * How each peer verifies a voucher: its best documented way, with everything prepared that its user could prepare.
 * A contender goes round the samples, so that nothing is verified twice in a row.
 */
import {
  concat,
  getBytes,
  hexlify,
  keccak256,
  recoverAddress,
  TypedDataEncoder,
  verifyTypedData,
} from 'ethers';
import { call } from '../../dist/native/binding.js';
import { type Contender, check } from './measure.js';
import type { Peers } from './peers.js';
import * as Vouchers from './vouchers.js';

type Sample = Vouchers.Sample;

/** Vouchers between two looks at the clock: some peers take milliseconds for each. */
const SLOW_STEP = 4;
const FAST_STEP = 64;
/** Signing for mppx's format is slow in preparation; its own work does not depend on how many there are. */
const MPPX_COUNT = 64;

export function ethersWays(samples: readonly Sample[]): { typed: Contender; digest: Contender } {
  const types = Vouchers.VOUCHER_TYPES;
  const encoder = TypedDataEncoder.from(types);
  const separator = TypedDataEncoder.hashDomain(Vouchers.TYPED_DOMAIN);
  return {
    typed: round(samples, SLOW_STEP, ({ typed, signatureHex, signer }) => {
      const found = verifyTypedData(Vouchers.TYPED_DOMAIN, types, typed.message, signatureHex);
      return found.toLowerCase() === signer;
    }),
    digest: round(samples, SLOW_STEP, ({ typed, signatureHex, signer }) => {
      const digest = keccak256(concat(['0x1901', separator, encoder.hash(typed.message)]));
      return recoverAddress(digest, signatureHex).toLowerCase() === signer;
    }),
  };
}

export function viemWays(
  samples: readonly Sample[],
  { viem }: Peers,
): { typed: Contender; recover: Contender } {
  let [first, second] = [0, 0];
  const next = (at: number): number => (at + 1) % samples.length;
  return {
    typed: {
      async run() {
        const { typed, signer, signatureHex } = samples[first]!;
        first = next(first);
        const good = await viem.verifyTypedData({ ...typed, address: signer, signature: signatureHex });
        if (!good) throw new Error('viem refused a good voucher');
        return 1;
      },
    },
    recover: {
      async run() {
        const { digestHex, signer, signatureHex } = samples[second]!;
        second = next(second);
        const found = await viem.recoverAddress({ hash: digestHex, signature: signatureHex });
        if (found.toLowerCase() !== signer) throw new Error('viem recovered another signer');
        return 1;
      },
    },
  };
}

export function secp256k1(
  samples: readonly Sample[],
  { secp256k1: library }: Peers,
): { verify: Contender; digest: Contender; recover: Contender } {
  // Uncompressed keys: reading a compressed one costs a square root.
  const publicKeys = samples.map(({ secret }) => library.publicKeyCreate(secret, false));
  const typeHash = keccak256(Buffer.from('Voucher(address payee,uint256 cumulativeAmount)'));
  const struct = Buffer.concat([getBytes(typeHash), Buffer.alloc(64)]);
  struct.set(Vouchers.PAYEE, 44);
  const message = Buffer.concat([Buffer.from([0x19, 1]), Vouchers.domain(), Buffer.alloc(32)]);
  const digestOf = ({ claim }: Sample): Uint8Array => {
    struct.set(claim.row.subarray(0, 12), 84);
    message.set(getBytes(keccak256(struct)), 34);
    return getBytes(keccak256(message));
  };
  check(hexlify(digestOf(samples[1]!)) === samples[1]!.digestHex, 'the digest made by hand differs');
  const wrong = samples[1]!.signature;
  check(!library.ecdsaVerify(wrong, samples[0]!.digest, publicKeys[0]!), 'secp256k1 accepts anything');
  return {
    verify: round(samples, FAST_STEP, ({ signature, digest }, at) =>
      library.ecdsaVerify(signature, digest, publicKeys[at]!),
    ),
    digest: round(samples, FAST_STEP, (sample, at) =>
      library.ecdsaVerify(sample.signature, digestOf(sample), publicKeys[at]!),
    ),
    recover: round(samples, FAST_STEP, ({ signature, parity, digest }, at) => {
      const found = library.ecdsaRecover(signature, parity, digest, false);
      return Buffer.compare(found, publicKeys[at]!) === 0;
    }),
  };
}

/**
 * Vouchers of mppx's own format, signed by our signer over ethers' digest; its rule is its own. With `heads` the
 * amounts of good ones are kept there.
 */
export function mppx(
  samples: readonly Sample[],
  { mppx: library }: Peers,
  heads?: Map<string, bigint>,
): Contender {
  const chainId = Number(Vouchers.CHAIN_ID);
  const domain = { name: 'TIP20 Channel Reserve', version: '1', chainId, verifyingContract: library.escrow };
  const types = {
    Voucher: [
      { name: 'channelId', type: 'bytes32' },
      { name: 'cumulativeAmount', type: 'uint96' },
    ],
  };
  const vouchers = samples.slice(0, MPPX_COUNT).map(({ secret, amount, signer }) => {
    const channelId = keccak256(signer) as `0x${string}`;
    const digest = TypedDataEncoder.hash(domain, types, { channelId, cumulativeAmount: amount });
    const signed = call((addon) => addon.signDigests(secret, getBytes(digest)));
    const parity = signed[32]! >> 7;
    signed[32]! &= 0x7f;
    const signature = `${hexlify(signed)}${parity === 1 ? '1c' : '1b'}` as `0x${string}`;
    return { channelId, cumulativeAmount: amount, signature, signer };
  });
  const verify = (voucher: (typeof vouchers)[number], signer: `0x${string}`): boolean => {
    const isGood = library.verifyVoucher(library.escrow, chainId, voucher, signer);
    if (isGood) heads?.set(voucher.channelId, voucher.cumulativeAmount);
    return isGood;
  };
  check(!verify(vouchers[0]!, samples[1]!.signer), 'mppx accepts any signer');
  return round(samples.slice(0, MPPX_COUNT), 1, (_, at) => verify(vouchers[at]!, vouchers[at]!.signer));
}

/** Goes round the samples, `step` at a time. */
function round(
  samples: readonly Sample[],
  step: number,
  one: (sample: Sample, at: number) => boolean,
): Contender {
  let at = 0;
  check(one(samples[0]!, 0), 'a peer refuses a good voucher');
  return {
    run() {
      let good = 0;
      for (let count = 0; count < step; count++) {
        if (one(samples[at]!, at)) good++;
        at = (at + 1) % samples.length;
      }
      if (good !== step) throw new Error('a peer refused a good voucher');
      return step;
    },
  };
}
