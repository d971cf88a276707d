/**
 * What gas costs in BTT. Where the chain's coin is BTT that is one to one; elsewhere the operator says how
 * many BTT one coin is worth, and without that nothing can be weighed against a voucher. Exact: a rate is a
 * fraction of two integers, a cost is rounded up. Pure.
 */
import { PieceworkError } from '../errors.js';
import type { Profile } from './profile.js';

/** BTT for one coin of gas. Both count in units of 10^-18, so it also is base units per base unit. */
export interface GasRate {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

const OWN_COIN = 'BTT';
const par: GasRate = { numerator: 1n, denominator: 1n };

/** Reads a decimal such as `1900000000` or `0.25`. @throws PieceworkError BAD_CONFIG. */
export function parse(text: string): GasRate {
  const match = /^(\d{1,30})(?:\.(\d{1,18}))?$/.exec(text.trim());
  const [, whole = '', fraction = ''] = match ?? [];
  const numerator = BigInt(`0${whole}${fraction}`);
  if (match && numerator > 0n) return { numerator, denominator: 10n ** BigInt(fraction.length) };
  throw new PieceworkError(
    'BAD_CONFIG',
    `gasRate must be how many BTT one coin of gas is worth, as in 1900000000 or 0.25, not "${text}"`,
  );
}

/**
 * The rate that holds on a chain: par where gas is paid in BTT, else what the operator set, else undefined.
 * @throws PieceworkError BAD_CONFIG for a rate where gas is paid in BTT.
 */
export function rateOf(
  profile: Pick<Profile, 'coin' | 'name'>,
  set: string | undefined,
): GasRate | undefined {
  if (profile.coin !== OWN_COIN) return set === undefined ? undefined : parse(set);
  if (set === undefined) return par;
  throw new PieceworkError('BAD_CONFIG', `gasRate: on ${profile.name} gas is paid in BTT itself`);
}

/** What `gasWei` base units of the coin cost in base units of BTT, rounded up; undefined without a rate. */
export function voucherCost(rate: GasRate | undefined, gasWei: bigint): bigint | undefined {
  if (rate === undefined) return undefined;
  return (gasWei * rate.numerator + rate.denominator - 1n) / rate.denominator;
}

/**
 * What a transaction's gas may cost, in base units of the coin and rounded down, when it may cost `amount` of
 * BTT; no ceiling for undefined. @throws PieceworkError BAD_CONFIG without a rate.
 */
export function gasCeiling(rate: GasRate | undefined, amount: bigint | undefined): { gasCeiling?: bigint } {
  if (amount === undefined) return {};
  if (rate !== undefined) return { gasCeiling: (amount * rate.denominator) / rate.numerator };
  const detail = 'gas is not paid in BTT here: say with --gas-rate how many BTT one coin of gas is worth';
  throw new PieceworkError('BAD_CONFIG', detail);
}
