/**
 * Voucher verification per second on one core: our batch verb against what a TypeScript developer would use.
 * Ours and most peers start from the message and the claimed signer; the strongest peer is spared the digest and gets
 * the public key, which no voucher carries, so it checks less than the hub's rule asks.
 */
import { call, load } from '../../dist/native/binding.js';
import { writeVouchers } from '../../dist/native/records.js';
import type { Settings } from './main.js';
import { type Contender, check, measure, type Pair } from './measure.js';
import type { Peers } from './peers.js';
import { type Row, rowOf } from './report.js';
import { ethersWays, mppx, secp256k1, viemWays } from './verify-peers.js';
import * as Vouchers from './vouchers.js';

type Sample = Vouchers.Sample;

const BATCH = 1_024;
const BATCH_SMOKE = 64;
/** Calls between two looks at the clock, where a call is short. */
const CALLS = 64;

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
  const measured = await measure(cases, effort, 'core');
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
    const [alone] = call((addon) => addon.verifyVouchers(Vouchers.domain(), writeVouchers([claim])));
    check(alone === expected, `mutation ${at % 10} has status ${alone} alone and not ${expected}`);
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
      id: 'verify.secp256k1.16',
      what: 'ours 16 vouchers a call; peer: ecdsaVerify of a ready digest by a known public key',
      ours: batches(samples, 16),
      peer: secp?.verify,
    },
    {
      id: 'verify.secp256k1.1',
      what: 'ours one voucher a call; peer: the same',
      ours: batches(samples, 1),
      peer: secp?.verify,
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

function batches(samples: readonly Sample[], size: number): Contender {
  const addon = load();
  const domain = Vouchers.domain();
  const stride = writeVouchers([samples[0]!.claim]).length;
  const rows = writeVouchers(samples.map(({ claim }) => claim));
  const parts = Array.from({ length: samples.length / size }, (_, at) =>
    rows.subarray(at * size * stride, (at + 1) * size * stride),
  );
  const calls = Math.min(parts.length, CALLS);
  let at = 0;
  return {
    run() {
      for (let call = 0; call < calls; call++) {
        const statuses = addon.verifyVouchers(domain, parts[at]!);
        if (statuses[size - 1] !== 0) throw new Error('a good voucher was refused');
        at = (at + 1) % parts.length;
      }
      return calls * size;
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
