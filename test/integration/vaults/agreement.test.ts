/**
 * Our verdict on cheques against the contract's: what we accept, it accepts; what it accepts beyond that is the
 * 64-byte signature and nothing else. PIECEWORK_SEED repeats a run. About 10 s.
 */
import { getBytes, hexlify } from 'ethers';
import { expect, test } from 'vitest';
import { PieceworkError } from '../../../src/errors.js';
import * as Cheques from '../../../src/settlement/vaults/cheque.js';
import { chance, seedFromEnvironment } from '../../support/chance.js';
import { BTT, issuer, stage } from './support.js';

const on = stage();
const RUNS = Number(process.env['PIECEWORK_CHEQUES'] ?? 1_100);
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const word = (value: bigint): Uint8Array => getBytes(`0x${value.toString(16).padStart(64, '0')}`);

test('what is accepted here is accepted on the chain, and in 65 bytes the other way round', async () => {
  const { vaults, ground } = on;
  const [issuing, earning, stranger] = [1, 2, 3].map((at) => ground.accounts[at]!);
  const its = await issuer(on, issuing!, 10n ** 40n);
  await vaults.mint(vaults.usdt, its.vault, 10n ** 40n);
  const domain = { chainId: ground.domain.chainId, wbtt: vaults.wbtt };
  const seed = seedFromEnvironment();
  const draw = chance(seed);
  const seen = new Map<string, number>();
  const count = (what: string): void => void seen.set(what, (seen.get(what) ?? 0) + 1);

  /** Each changes a good cheque in one way. */
  const mutations: Record<string, (cheque: Cheques.SignedCheque) => Cheques.SignedCheque> = {
    none: (cheque) => cheque,
    'flipped bit': (cheque) => {
      const signature = cheque.signature.slice();
      signature[draw.below(65)]! ^= 1 << draw.below(8);
      return { ...cheque, signature };
    },
    v: (cheque) => {
      const signature = cheque.signature.slice();
      signature[64] = draw.pick([0, 1, 26, 27, 28, 29, 31, 32, 35, 255]);
      return { ...cheque, signature };
    },
    'high s': (cheque) => {
      const signature = cheque.signature.slice();
      signature.set(word(ORDER - BigInt(hexlify(signature.subarray(32, 64)))), 32);
      if (draw.percent(70)) signature[64] = 55 - signature[64]!;
      return { ...cheque, signature };
    },
    'edge of r or s': (cheque) => {
      const signature = cheque.signature.slice();
      const edge = draw.pick([0n, 1n, ORDER / 2n, ORDER / 2n + 1n, ORDER - 1n, ORDER, (1n << 256n) - 1n]);
      signature.set(word(edge), draw.pick([0, 32]));
      return { ...cheque, signature };
    },
    'eip-2098': (cheque) => {
      const signature = cheque.signature.slice(0, 64);
      signature[32]! |= (cheque.signature[64]! - 27) << 7;
      return { ...cheque, signature };
    },
    length: (cheque) => {
      const size = draw.pick([0, 1, 32, 63, 66, 96, 130]);
      const signature = new Uint8Array(size);
      signature.set(cheque.signature.subarray(0, size));
      return { ...cheque, signature };
    },
    payout: (cheque) => ({
      ...cheque,
      cumulativePayout: cheque.cumulativePayout + BigInt(1 + draw.below(9)),
    }),
    'token confusion': (cheque) => ({
      ...cheque,
      token: cheque.token === vaults.wbtt ? vaults.usdt : vaults.wbtt,
    }),
    'wrong chain': (cheque) => Cheques.sign(cheque, { ...domain, chainId: domain.chainId + 1n }, issuing!),
    'wrong signer': (cheque) => Cheques.sign(cheque, domain, stranger!),
    'wrong vault': (cheque) => ({
      ...Cheques.sign({ ...cheque, vault: vaults.factory }, domain, issuing!),
      vault: its.vault,
    }),
    'wrong beneficiary': (cheque) => ({
      ...Cheques.sign({ ...cheque, beneficiary: stranger!.address }, domain, issuing!),
      beneficiary: cheque.beneficiary,
    }),
  };

  function ours(cheque: Cheques.SignedCheque): boolean {
    try {
      return hexlify(Cheques.signer(cheque, domain)) === hexlify(issuing!.address);
    } catch (thrown) {
      if (thrown instanceof PieceworkError && thrown.code === 'CHEQUE_REFUSED') return false;
      throw thrown;
    }
  }

  function theirs(cheque: Cheques.SignedCheque): Promise<string | undefined> {
    const { token, cumulativePayout, signature } = cheque;
    const [from, to] = [earning!.address, its.vault];
    return token === vaults.wbtt
      ? vaults.tryCall(from, to, 'cashChequeBeneficiary', from, cumulativePayout, signature)
      : vaults.tryCall(from, to, 'multiTokenCashChequeBeneficiary', token, from, cumulativePayout, signature);
  }

  const names = Object.keys(mutations);
  for (let run = 0; run < RUNS; run++) {
    const fields = {
      token: draw.pick([vaults.wbtt, vaults.usdt]),
      vault: its.vault,
      beneficiary: earning!.address,
      cumulativePayout: (1n + BigInt(draw.below(2 ** 31))) * BTT,
    };
    const kind = draw.percent(15) ? 'none' : draw.pick(names);
    const cheque = mutations[kind]!(Cheques.sign(fields, domain, issuing!));
    const [here, reason] = [ours(cheque), await theirs(cheque)];
    const there = reason === undefined;
    const what = `seed ${seed}, run ${run}, ${kind}: ${reason}`;
    if (here) expect(there, what).toBe(true);
    if (cheque.signature.length === 65) expect(here, what).toBe(there);
    else if (there) expect(cheque.signature.length, what).toBe(64);
    count(`${kind}: ${here ? 'accepted' : 'refused'} here, ${there ? 'accepted' : 'refused'} there`);
    count(here ? 'accepted' : 'refused');
    for (const part of ["'v' value", "'s' value", 'signature length', 'invalid issuer', 'invalid signature'])
      if (reason?.includes(part)) count(`chain says ${part}`);
  }
  console.log(
    `seed ${seed}: ${RUNS} cheques\n${[...seen]
      .map((one) => one.join(': '))
      .sort()
      .join('\n')}`,
  );
  // Witnesses: every outcome that the contract knows was met.
  expect(seen.get('accepted')).toBeGreaterThan(RUNS / 12);
  expect(seen.get('refused')).toBeGreaterThan(RUNS / 2);
  expect(seen.get('eip-2098: refused here, accepted there')).toBeGreaterThan(RUNS / 50);
  for (const part of ["'v' value", "'s' value", 'signature length', 'invalid issuer', 'invalid signature'])
    expect(seen.get(`chain says ${part}`), part).toBeGreaterThan(0);
});
