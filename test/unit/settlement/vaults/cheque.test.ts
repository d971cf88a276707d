/** Cheques as values: the published vector, ethers as an oracle, and every signature form the contract refuses. */
import { getBytes, hexlify, TypedDataEncoder, Wallet } from 'ethers';
import { describe, expect, it } from 'vitest';
import type { PieceworkError } from '../../../../src/errors.js';
import { Account } from '../../../../src/settlement/account.js';
import * as Cheques from '../../../../src/settlement/vaults/cheque.js';
import { chance } from '../../../support/chance.js';

const KEY = getBytes('0x634fb5a872396d9693e5c9f9d7233cfa93f395c093371017ff44aa9ae6564cdd');
const WBTT = getBytes('0x23181F21DEa5936e24163FFABa4Ea3B316B57f3C');
const USDT = getBytes('0xdB28719F7f938507dBfe4f0eAe55668903D34a15');
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const account = new Account(KEY);
const vector = {
  token: WBTT,
  vault: getBytes('0xfa02D396842E6e1D319E8E3D4D870338F791AA25'),
  beneficiary: getBytes('0x98E6C644aFeB94BBfB9FF60EB26fc9D83BBEcA79'),
  cumulativePayout: 500n,
};

describe('a cheque', () => {
  it('is signed like go-btfs signs it, byte for byte', () => {
    const { signature } = Cheques.sign(vector, { chainId: 1n, wbtt: WBTT }, account);
    expect(hexlify(signature)).toBe(
      '0x3305964770f9b66463d58b61e7de9bf2b784098fc715338083946aabf69c7dec' +
        '0cae8345705d4bf2e556482bd27f11ceb0e5ae1eb191a907cde7aee3989a3ad51c',
    );
  });

  it('has the published domains and types', () => {
    const separator = (chainId: bigint) =>
      TypedDataEncoder.hashDomain({ name: 'Vault', version: '1.0', chainId });
    expect(separator(199n)).toBe('0x23a6d3b97556c2d2de8a23dcc7e8a1778519946dd1f4c6e3a8eae8fdc8497b41');
    expect(separator(1029n)).toBe('0xd611f1f54a918b666d2b588303a80e2c5ea3fe56dccfd97ab051f4a0a1defedd');
  });

  it('is signed as ethers signs the typed data, plain for WBTT and with its token for others', async () => {
    const wallet = new Wallet(hexlify(KEY));
    const draw = chance(7);
    const fields = [
      { name: 'vault', type: 'address' },
      { name: 'beneficiary', type: 'address' },
      { name: 'cumulativePayout', type: 'uint256' },
    ];
    const digests = new Set<string>();
    for (let run = 0; run < 40; run++) {
      const chainId = run % 3 === 0 ? 199n : 1029n;
      const payout = run === 0 ? Cheques.PAYOUT_MAX : BigInt(draw.below(1 << 30)) << BigInt(run * 5);
      const token = run % 2 === 0 ? WBTT : USDT;
      const cheque = { ...vector, token, cumulativePayout: payout };
      const domain = { name: 'Vault', version: '1.0', chainId };
      const message = {
        token: hexlify(token),
        vault: hexlify(vector.vault),
        beneficiary: hexlify(vector.beneficiary),
        cumulativePayout: payout,
      };
      const types =
        token === WBTT
          ? { Cheque: fields }
          : { MultiTokenCheque: [{ name: 'token', type: 'address' }, ...fields] };
      const expected = await wallet.signTypedData(domain, types, message);
      const signed = Cheques.sign(cheque, { chainId, wbtt: WBTT }, account);
      expect(hexlify(signed.signature)).toBe(expected);
      expect(Cheques.signer(signed, { chainId, wbtt: WBTT })).toEqual(account.address);
      digests.add(hexlify(Cheques.digest(cheque, { chainId, wbtt: WBTT })));
    }
    expect(digests.size).toBe(40);
  });

  it('is refused in every form of signature but the one', () => {
    const domain = { chainId: 199n, wbtt: WBTT };
    const signed = Cheques.sign(vector, domain, account);
    /** In whose words: a library behind it that refuses too is not the check that is meant. */
    const reason = (signature: Uint8Array): string => {
      try {
        Cheques.signer({ ...signed, signature }, domain);
        return 'accepted';
      } catch (thrown) {
        expect((thrown as PieceworkError).code).toBe('CHEQUE_REFUSED');
        return (thrown as PieceworkError).message;
      }
    };
    const change = (at: number, value: number): Uint8Array => {
      const bytes = signed.signature.slice();
      bytes[at] = value;
      return bytes;
    };
    const put = (at: number, value: bigint): Uint8Array => {
      const bytes = signed.signature.slice();
      bytes.set(getBytes(`0x${value.toString(16).padStart(64, '0')}`), at);
      return bytes;
    };
    const s = BigInt(hexlify(signed.signature.subarray(32, 64)));
    const v = signed.signature[64]!;
    expect(reason(signed.signature)).toBe('accepted');
    for (let value = 0; value < 256; value++) {
      const said = reason(change(64, value));
      if (value === 27 || value === 28) expect(said).not.toContain('v of its signature');
      else expect(said).toContain(`v of its signature is ${value}, not`);
    }
    const high = put(32, ORDER - s);
    high[64] = 55 - v;
    const wrong: ReadonlyArray<readonly [string, Uint8Array]> = [
      ['not in the lower half', high],
      ['not in the lower half', put(32, ORDER - s)],
      ['not in the lower half', put(32, ORDER / 2n + 1n)],
      ['not in the lower half', put(32, 0n)],
      ['not in the lower half', put(32, ORDER)],
      ['r of its signature is out of range', put(0, 0n)],
      ['r of its signature is out of range', put(0, ORDER)],
      ['r of its signature is out of range', put(0, (1n << 256n) - 1n)],
      ['belongs to no key', put(0, 5n)],
      ['has 64 bytes', account.signDigest(Cheques.digest(vector, domain))],
      ['has 0 bytes', new Uint8Array(0)],
      ['has 66 bytes', new Uint8Array([...signed.signature, 0])],
    ];
    for (const [said, signature] of wrong) expect(reason(signature)).toContain(said);
    expect(reason(put(32, ORDER / 2n))).not.toContain('lower half');
  });
});
