/** The JSON of go-btfs: exact beyond 2^53, strict in everything else. */
import { getBytes } from 'ethers';
import { describe, expect, it } from 'vitest';
import { PieceworkError } from '../../../../src/errors.js';
import { vaultChequeBytesMax } from '../../../../src/limits.js';
import { PAYOUT_MAX, type SignedCheque } from '../../../../src/settlement/vaults/cheque.js';
import * as ChequeJson from '../../../../src/settlement/vaults/cheque-json.js';
import { chance } from '../../../support/chance.js';

const cheque: SignedCheque = {
  token: getBytes('0x23181f21dea5936e24163ffaba4ea3b316b57f3c'),
  vault: getBytes('0xfa02d396842e6e1d319e8e3d4d870338f791aa25'),
  beneficiary: getBytes('0x98e6c644afeb94bbfb9ff60eb26fc9d83bbeca79'),
  cumulativePayout: 66743231000000000001n,
  signature: getBytes(
    '0x3305964770f9b66463d58b61e7de9bf2b784098fc715338083946aabf69c7dec0cae8345705d4bf2e556482bd27f11ceb0e5ae1eb191a907cde7aee3989a3ad51c',
  ),
};
const TEXT =
  '{"Token":"0x23181f21dea5936e24163ffaba4ea3b316b57f3c","Vault":"0xfa02d396842e6e1d319e8e3d4d870338f791aa25",' +
  '"Beneficiary":"0x98e6c644afeb94bbfb9ff60eb26fc9d83bbeca79","CumulativePayout":66743231000000000001,' +
  '"Signature":"MwWWR3D5tmRj1Yth596b8reECY/HFTOAg5Rqq/acfewMroNFcF1L8uVWSCvSfxHOsOWuHrGRqQfN567jmJo61Rw="}';

function verdict(text: string): string {
  try {
    ChequeJson.read(text);
    return 'read';
  } catch (thrown) {
    if (thrown instanceof PieceworkError && thrown.code === 'CHEQUE_REFUSED') return 'refused';
    throw thrown;
  }
}

describe('the JSON of a cheque', () => {
  it('is what go writes, and reads back the same', () => {
    expect(ChequeJson.write(cheque)).toBe(TEXT);
    expect(ChequeJson.read(TEXT)).toEqual(cheque);
  });

  it('keeps every digit of any payout', () => {
    const draw = chance(3);
    const payouts = [0n, 1n, 2n ** 53n + 1n, 2n ** 64n, 2n ** 64n + 1n, 2n ** 128n - 1n, PAYOUT_MAX];
    for (let run = 0; run < 300; run++)
      payouts.push((BigInt(draw.below(2 ** 31)) << BigInt(draw.below(220))) + 1n);
    for (const cumulativePayout of payouts) {
      const text = ChequeJson.write({ ...cheque, cumulativePayout });
      expect(text).toContain(`"CumulativePayout":${cumulativePayout},`);
      expect(ChequeJson.read(text)).toEqual({ ...cheque, cumulativePayout });
    }
    // What would have come of it with JSON.parse.
    expect(BigInt((JSON.parse(TEXT) as { CumulativePayout: number }).CumulativePayout)).not.toBe(
      cheque.cumulativePayout,
    );
  });

  it('may have its fields in another order, space between tokens, and capital digits', () => {
    const fields = TEXT.slice(1, -1).split(',"');
    const turned = fields.map((field, at) => (at === 0 ? field : `"${field}`)).reverse();
    expect(ChequeJson.read(` {\n${turned.join(' ,\t')}\r\n} `)).toEqual(cheque);
    expect(ChequeJson.read(TEXT.replace('23181f21dea5', '23181F21DEa5'))).toEqual(cheque);
  });

  it('is refused in every other form', () => {
    const wrong: Record<string, string> = {
      nothing: '',
      'not an object': '[]',
      'an empty object': '{}',
      'cut off': TEXT.slice(0, -1),
      'followed by something': `${TEXT}x`,
      'two of them': TEXT + TEXT,
      'a field twice': TEXT.replace('{', '{"CumulativePayout":1,'),
      'a field too many': TEXT.replace('{', '{"Nonce":1,'),
      'a field missing': TEXT.replace(/"CumulativePayout":\d+,/, ''),
      'a field in lower case': TEXT.replace('"Token"', '"token"'),
      'an escape in a name': TEXT.replace('"Token"', '"\\u0054oken"'),
      'a comma at the end': TEXT.replace('}', ',}'),
      'a payout as text': TEXT.replace(/:(\d+),/, ':"$1",'),
      'a payout with a leading zero': TEXT.replace(/:(\d+),/, ':0$1,'),
      'a payout with a sign': TEXT.replace(/:(\d+),/, ':-$1,'),
      'a payout with a plus': TEXT.replace(/:(\d+),/, ':+$1,'),
      'a payout with a fraction': TEXT.replace(/:(\d+),/, ':$1.0,'),
      'a payout with an exponent': TEXT.replace(/:(\d+),/, ':$1e3,'),
      'a payout of 2^256': TEXT.replace(/:(\d+),/, `:${PAYOUT_MAX + 1n},`),
      'a payout of 79 digits': TEXT.replace(/:(\d+),/, `:1${'0'.repeat(78)},`),
      'a payout of null': TEXT.replace(/:(\d+),/, ':null,'),
      'an address without 0x': TEXT.replace('"0x98', '"98'),
      'a short address': TEXT.replace('"0x98', '"0x8'),
      'a signature in hex': TEXT.replace(/"Signature":"[^"]+"/, `"Signature":"${'ab'.repeat(65)}"`),
      'a signature of 64 bytes': TEXT.replace(
        /"Signature":"[^"]+"/,
        `"Signature":"${Buffer.alloc(64).toString('base64')}"`,
      ),
      'a signature of 66 bytes': TEXT.replace(
        /"Signature":"[^"]+"/,
        `"Signature":"${Buffer.alloc(66).toString('base64')}"`,
      ),
      'base64 without padding': TEXT.replace('Rw="', 'Rw"'),
      'base64 of the web form': TEXT.replace('/acfew', '_acfew'),
      'another text of the same bytes': (() => {
        const signature = Buffer.alloc(65, 7).toString('base64');
        const spare = `${signature.slice(0, 86)}${signature[86] === 'c' ? 'd' : 'c'}=`;
        expect(Buffer.from(spare, 'base64').length).toBe(65);
        return TEXT.replace(/"Signature":"[^"]+"/, `"Signature":"${spare}"`);
      })(),
      'too long': `${TEXT}${' '.repeat(vaultChequeBytesMax)}`,
      'too long in bytes': TEXT.replace('{', `{${'\u00a0'.repeat(vaultChequeBytesMax / 2)}`),
      'another kind of space': TEXT.replace('{', '{\u00a0'),
      'a byte order mark': `\ufeff${TEXT}`,
    };
    for (const [name, text] of Object.entries(wrong)) {
      expect(text, name).not.toBe(TEXT);
      expect(verdict(text), name).toBe('refused');
    }
  });

  it('is never read in two ways: what is read and written again is read the same', () => {
    const draw = chance(11);
    let survived = 0;
    for (let run = 0; run < 20_000; run++) {
      const at = draw.below(TEXT.length);
      const byte = String.fromCharCode(32 + draw.below(95));
      const text = TEXT.slice(0, at) + byte + TEXT.slice(at + draw.below(3));
      if (verdict(text) === 'refused') continue;
      survived++;
      const read = ChequeJson.read(text);
      expect(ChequeJson.read(ChequeJson.write(read))).toEqual(read);
    }
    expect(survived).toBeGreaterThan(100);
    expect(survived).toBeLessThan(19_000);
  });
});
