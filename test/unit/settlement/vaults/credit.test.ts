/** Limits of unsecured credit, and what is known of the chains. */
import { describe, expect, it } from 'vitest';
import { formatAddress, parseAddress } from '../../../../src/channels/channel.js';
import { load } from '../../../../src/config.js';
import { PieceworkError } from '../../../../src/errors.js';
import * as Credit from '../../../../src/settlement/vaults/credit.js';
import { deploymentOn } from '../../../../src/settlement/vaults/deployments.js';

const WBTT = `0x${'11'.repeat(20)}`;
const USDT = `0x${'22'.repeat(20)}`;
const [ANN, BOB] = [`0x${'aa'.repeat(20)}`, `0x${'bb'.repeat(20)}`];
const NONE = { wbtt: undefined, factories: [], logics: [] };

function code(work: () => unknown): string {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof PieceworkError) return thrown.code;
    throw thrown;
  }
  return 'fine';
}

describe('credit', () => {
  const raise = {
    issuer: ANN,
    token: WBTT,
    cumulativePayout: 150n,
    paidOutLeast: 50n,
    paidOutMost: 50n,
    balance: 100n,
  };
  const standing = { others: [], issuerLimit: 100n, limit: 100n };
  const check = (some: Partial<Credit.Raise>, rest: Partial<Credit.Standing> = {}) =>
    code(() => Credit.check({ ...raise, ...some }, { ...standing, ...rest }));

  it('reaches every limit and goes one unit beyond none', () => {
    expect(check({})).toBe('fine');
    expect(check({ cumulativePayout: 151n, balance: 101n })).toBe('CREDIT_LIMIT');
    expect(check({ cumulativePayout: 151n, balance: 101n }, { issuerLimit: 101n })).toBe('CREDIT_LIMIT');
    expect(check({ cumulativePayout: 151n, balance: 101n }, { issuerLimit: 101n, limit: 101n })).toBe('fine');
    expect(check({ balance: 99n })).toBe('CHEQUE_REFUSED');
    expect(check({ cumulativePayout: 50n })).toBe('CHEQUE_REFUSED');
    expect(check({ cumulativePayout: 51n })).toBe('fine');
  });

  it('counts the worse of two blocks', () => {
    expect(check({ paidOutLeast: 49n })).toBe('CHEQUE_REFUSED');
    expect(check({ paidOutMost: 150n })).toBe('CHEQUE_REFUSED');
  });

  it('adds what the issuer owes elsewhere, and what others owe, of the same token alone', () => {
    const debt = (issuer: string, token: string, outstanding: bigint) => ({ issuer, token, outstanding });
    expect(check({}, { others: [debt(ANN, WBTT, 1n)] })).toBe('CREDIT_LIMIT');
    expect(check({}, { others: [debt(ANN, WBTT, 1n)], issuerLimit: 101n, limit: 101n })).toBe('fine');
    expect(check({}, { others: [debt(BOB, WBTT, 1n)], issuerLimit: 100n, limit: 100n })).toBe('CREDIT_LIMIT');
    expect(check({}, { others: [debt(BOB, WBTT, 1n)], limit: 101n })).toBe('fine');
    expect(check({}, { others: [debt(ANN, USDT, 1_000n), debt(BOB, USDT, 1_000n)] })).toBe('fine');
  });

  it('is none without limits', () => {
    const { vaults } = load({ dataDir: '/nonexistent/piecework' }, {});
    expect(vaults.limits).toEqual({ [formatAddress(vaults.deployment!.wbtt)]: '0' });
    expect(check({ cumulativePayout: 51n }, { issuerLimit: 0n })).toBe('CREDIT_LIMIT');
    expect(check({ cumulativePayout: 51n }, { limit: 0n })).toBe('CREDIT_LIMIT');
    expect(Credit.limitOf({}, WBTT)).toBe(0n);
  });

  it('has its limits written per token', () => {
    const parse = (text: string) => Credit.parseLimits(text, parseAddress(WBTT));
    expect(parse('100BTT')).toEqual({ [WBTT]: String(100n * 10n ** 18n) });
    expect(parse(`1wei, ${USDT.toUpperCase().replace('0X', '0x')} = 5wei`)).toEqual({
      [WBTT]: '1',
      [USDT]: '5',
    });
    expect(code(() => parse('100'))).toBe('BAD_AMOUNT');
    expect(code(() => parse('0x12=5wei'))).toBe('BAD_ARGUMENT');
    expect(code(() => parse(''))).toBe('BAD_AMOUNT');
    expect(code(() => Credit.parseLimits('1wei', undefined))).toBe('BAD_ARGUMENT');
    expect(Credit.parseLimits('0wei', undefined)).toEqual({});
  });
});

describe('the known deployments', () => {
  it('are those of BTTC and Donau, and can be added to', () => {
    const bttc = deploymentOn(199n, NONE)!;
    expect(formatAddress(bttc.wbtt)).toBe('0x23181f21dea5936e24163ffaba4ea3b316b57f3c');
    expect(bttc.logics.map(formatAddress)).toEqual(['0x5c67bed46336a59252b73a0fa22b9de1cffb172e']);
    expect(deploymentOn(1029n, { ...NONE, logics: [parseAddress(ANN)] })!.logics.length).toBe(2);
    expect(deploymentOn(31415n, NONE)).toBeUndefined();
    expect(code(() => deploymentOn(31415n, { ...NONE, factories: [parseAddress(ANN)] }))).toBe('BAD_CONFIG');
    expect(code(() => deploymentOn(199n, { ...NONE, wbtt: parseAddress(ANN) }))).toBe('BAD_CONFIG');
  });
});
