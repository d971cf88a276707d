/**
 * Voucher verification per second on one core: our batch verb against what a TypeScript developer would use.
 * Ours and most peers start from the message and the claimed signer; the strongest peer is spared the digest and gets
 * the public key, which no voucher carries, so it checks less than the hub's rule asks.
 */
import { concat, getBytes, hexlify, keccak256, recoverAddress, TypedDataEncoder, verifyTypedData } from 'ethers';
import { call, load } from '../../dist/native/binding.js';
import { writeVouchers } from '../../dist/native/records.js';
import type { Settings } from './main.js';
import { type Contender, check, measure, type Pair } from './measure.js';
import type { Peers } from './peers.js';
import { type Row, rowOf } from './report.js';
import * as Vouchers from './vouchers.js';

type Sample = Vouchers.Sample;

const BATCH = 1_024;
const BATCH_SMOKE = 64;
/** Vouchers between two looks at the clock: some peers take milliseconds for each. */
const SLOW_STEP = 4;
const FAST_STEP = 64;

interface Case extends Pair {
  readonly id: string;
  readonly what: string;
  readonly info?: boolean;
}

export async function verification({ effort, smoke, peers }: Settings): Promise<Row[]> {
  const samples = Vouchers.makeSamples(smoke ? BATCH_SMOKE : BATCH);
  Vouchers.checkSamples(samples.slice(0, 8));
  checkStatuses(samples);
  const cases = casesOf(samples, peers);
  const measured = await measure(cases, effort);
  return cases.map(({ id, what, info = false }, at) =>
    rowOf({ id, what, unit: 'vouchers/s', info }, measured[at]!),
  );
}

/** Our statuses against ethers and plain integers, on good rows and on every kind of bad one. */
function checkStatuses(samples: readonly Sample[]): void {
  const claims = samples.slice(0, 6).flatMap(Vouchers.mutations);
  const statuses = call((addon) => addon.verifyVouchers(Vouchers.domain(), writeVouchers(claims)));
  claims.forEach((claim, at) => {
    const expected = Vouchers.plainStatus(claim);
    check(statuses[at] === expected, `mutation ${at % 10} has status ${statuses[at]} and not ${expected}`);
  });
  const good = call((addon) =>
    addon.verifyVouchers(Vouchers.domain(), writeVouchers(samples.map(({ claim }) => claim))),
  );
  check(good.length === samples.length && good.every((status) => status === 0), 'a good voucher is refused');
}

function casesOf(samples: readonly Sample[], peers: Peers | undefined): Case[] {
  const ours = batches(samples, samples.length);
  const size = `batches of ${samples.length}, distinct payers`;
  const secp = peers && secp256k1(samples, peers);
  const viem = peers && viemWays(samples, peers);
  const eth = ethersWays(samples);
  const title = (peer: string): string => `${size}; peer: ${peer}`;
  return [
    { id: 'verify.ethers', what: title('ethers verifyTypedData'), ours, peer: eth.typed },
    {
      id: 'verify.ethers.digest',
      what: 'peer: ethers, domain and type hashes kept, recoverAddress',
      ours,
      peer: eth.digest,
      info: true,
    },
    { id: 'verify.viem', what: title('viem verifyTypedData'), ours, peer: viem?.typed },
    {
      id: 'verify.viem.recover',
      what: 'peer: viem recoverAddress of a ready digest',
      ours,
      peer: viem?.recover,
      info: true,
    },
    {
      id: 'verify.secp256k1',
      what: title('secp256k1 ecdsaVerify of a ready digest by a known public key'),
      ours,
      peer: secp?.verify,
    },
    {
      id: 'verify.secp256k1.digest',
      what: 'peer: the same with the digest, by ethers keccak256',
      ours,
      peer: secp?.digest,
      info: true,
    },
    {
      id: 'verify.secp256k1.recover',
      what: 'peer: ecdsaRecover of a ready digest, which checks the parity as the hub does',
      ours,
      peer: secp?.recover,
      info: true,
    },
    {
      id: 'verify.secp256k1.one',
      what: 'ours one voucher a call; peer: ecdsaVerify of a ready digest by a known public key',
      ours: batches(samples, 1),
      peer: secp?.verify,
      info: true,
    },
    {
      id: 'verify.secp256k1.packed',
      what: 'ours with packing of objects into records; peer: the same',
      ours: packing(samples),
      peer: secp?.verify,
      info: true,
    },
    {
      id: 'verify.mppx',
      what: title('mppx Session.Precompile.Voucher.verifyVoucher'),
      ours,
      peer: peers && mppx(samples, peers),
    },
  ];
}

/** Goes round the samples, `step` at a time. */
function round(samples: readonly Sample[], step: number, one: (sample: Sample, at: number) => boolean): Contender {
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

function batches(samples: readonly Sample[], size: number): Contender {
  const addon = load();
  const domain = Vouchers.domain();
  const stride = writeVouchers([samples[0]!.claim]).length;
  const rows = writeVouchers(samples.map(({ claim }) => claim));
  let at = 0;
  return {
    run() {
      const part = rows.subarray(at * stride, (at + size) * stride);
      at = (at + size) % samples.length;
      if (addon.verifyVouchers(domain, part)[size - 1] !== 0) throw new Error('a good voucher was refused');
      return size;
    },
  };
}

function packing(samples: readonly Sample[]): Contender {
  const addon = load();
  const domain = Vouchers.domain();
  const claims = samples.map(({ claim }) => claim);
  return {
    run() {
      addon.verifyVouchers(domain, writeVouchers(claims));
      return claims.length;
    },
  };
}

function ethersWays(samples: readonly Sample[]): { typed: Contender; digest: Contender } {
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

function viemWays(samples: readonly Sample[], { viem }: Peers): { typed: Contender; recover: Contender } {
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

function secp256k1(
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

/** Vouchers of mppx's own format, signed by our signer over ethers' digest; its rule is its own. */
function mppx(samples: readonly Sample[], { mppx: library }: Peers): Contender {
  const chainId = Number(Vouchers.CHAIN_ID);
  const domain = { name: 'TIP20 Channel Reserve', version: '1', chainId, verifyingContract: library.escrow };
  const types = {
    Voucher: [
      { name: 'channelId', type: 'bytes32' },
      { name: 'cumulativeAmount', type: 'uint96' },
    ],
  };
  const vouchers = samples.slice(0, BATCH_SMOKE).map(({ secret, amount, signer }) => {
    const channelId = keccak256(signer) as `0x${string}`;
    const digest = TypedDataEncoder.hash(domain, types, { channelId, cumulativeAmount: amount });
    const signed = call((addon) => addon.signDigests(secret, getBytes(digest)));
    const parity = signed[32]! >> 7;
    signed[32]! &= 0x7f;
    const signature = `${hexlify(signed)}${parity === 1 ? '1c' : '1b'}` as `0x${string}`;
    return { channelId, cumulativeAmount: amount, signature, signer };
  });
  const verify = (voucher: (typeof vouchers)[number], signer: `0x${string}`): boolean =>
    library.verifyVoucher(library.escrow, chainId, voucher, signer);
  check(!verify(vouchers[0]!, samples[1]!.signer), 'mppx accepts any signer');
  return round(samples.slice(0, BATCH_SMOKE), 1, (_, at) => verify(vouchers[at]!, vouchers[at]!.signer));
}
