/**
 * How much unsecured credit may be given (vaults.md 5): the limits as operators write them, and whether one more
 * cheque fits. Pure. Invariant: no limit set means no credit. Amounts in base units of the token concerned.
 */
import { type Address, formatAddress, parseAddress } from '../../channels/channel.js';
import { PieceworkError } from '../../errors.js';
import { parseAmount } from '../../units.js';

/** Token, as 0x-prefixed lower-case hex, → the most of it. What is not named is 0. */
export type Limits = Readonly<Record<string, string>>;

/** What one vault owes of one token. */
export interface Debt {
  /** 0x-prefixed lower-case hex. */
  readonly issuer: string;
  readonly token: string;
  readonly outstanding: bigint;
}

export interface Raise {
  readonly issuer: string;
  readonly token: string;
  /** Of the cheque offered. */
  readonly cumulativePayout: bigint;
  /** What the vault has paid us, the least and the most of what the blocks read say. */
  readonly paidOutLeast: bigint;
  readonly paidOutMost: bigint;
  /** The vault's balance of the token, the least of the blocks read. */
  readonly balance: bigint;
}

/** What everybody else owes, and the limits that are in force. */
export interface Standing {
  /** All other debts: those of this issuer in other vaults, and those of other issuers. */
  readonly others: readonly Debt[];
  readonly issuerLimit: bigint;
  readonly limit: bigint;
}

/** Parses `100BTT,0x…=5wei`. An entry without an address is for WBTT. @throws PieceworkError BAD_AMOUNT, BAD_ARGUMENT. */
export function parseLimits(text: string, wbtt: Address | undefined): Limits {
  const limits: Record<string, string> = {};
  for (const entry of text.split(',')) {
    const [left = '', right] = entry.split('=').map((part) => part.trim());
    const amount = parseAmount(right ?? left);
    const token = right === undefined ? wbtt : parseAddress(left);
    if (token === undefined) {
      if (amount === 0n) continue;
      throw new PieceworkError(
        'BAD_ARGUMENT',
        `"${entry}": the WBTT of this chain is not known; set vaultWbtt, or name the token`,
      );
    }
    limits[formatAddress(token)] = String(amount);
  }
  return limits;
}

export function limitOf(limits: Limits, token: string): bigint {
  return BigInt(limits[token] ?? '0');
}

export function sum(debts: readonly Debt[], of: { token: string; issuer?: string }): bigint {
  return debts
    .filter(({ token, issuer }) => token === of.token && (of.issuer === undefined || issuer === of.issuer))
    .reduce((total, { outstanding }) => total + outstanding, 0n);
}

/**
 * Returns when the cheque may be accepted.
 * @throws PieceworkError CHEQUE_REFUSED when the vault would not pay it now, CREDIT_LIMIT above a limit.
 */
export function check(raise: Raise, standing: Standing): void {
  const { issuer, token, cumulativePayout, paidOutLeast, paidOutMost, balance } = raise;
  const refuse = (detail: string): never => {
    throw new PieceworkError('CHEQUE_REFUSED', `the cheque is refused: ${detail}`);
  };
  if (cumulativePayout <= paidOutMost) refuse(`${paidOutMost} base units of it are paid out already`);
  const outstanding = cumulativePayout - paidOutLeast;
  if (outstanding > balance) refuse(`it needs ${outstanding} base units and the vault holds ${balance}`);
  const fromIssuer = sum(standing.others, { token, issuer }) + outstanding;
  within(fromIssuer, standing.issuerLimit, `unsecured credit to ${issuer}`);
  within(sum(standing.others, { token }) + outstanding, standing.limit, 'unsecured credit to all issuers');
}

function within(amount: bigint, limit: bigint, what: string): void {
  if (amount <= limit) return;
  const detail = `${what} would be ${amount} base units, allowed are ${limit}`;
  throw new PieceworkError('CREDIT_LIMIT', detail);
}
