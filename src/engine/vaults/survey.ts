/**
 * Looking at one trusted vault at one block, and what follows from it: the book learns what the vault holds and has
 * paid, and the issuer is frozen where the code, or money that our cheques count on, is not what it was
 * (vaults.md 7). Invariant: what a vault says of itself is believed only while its code is the pinned one.
 */
import { formatAddress, parseAddress } from '../../channels/channel.js';
import type { Head } from '../../settlement/answers.js';
import { difference, type VaultFunds, type VaultReader } from '../../settlement/vaults/vault.js';
import { outstanding, type VaultAccount, type VaultBook, type VaultTrust } from './book.js';

export interface Survey {
  readonly at: Head;
  /** What differs from the pins. */
  readonly changed: string | undefined;
  /** By token, as 0x-prefixed lower-case hex. */
  readonly funds: ReadonlyMap<string, VaultFunds>;
}

/** Says what is wrong with a vault; called once for each new reason. */
export type OnAlarm = (text: string) => void;

/** Reads the code of a vault and its funds in those tokens that have an account, and in `tokens`. */
export async function survey(
  reader: VaultReader,
  book: VaultBook,
  trust: VaultTrust,
  at: Head,
  tokens: readonly string[] = [],
): Promise<Survey> {
  const vault = parseAddress(trust.vault);
  const beneficiary = parseAddress(trust.beneficiary);
  const wanted = new Set([...book.accountsOf(vault).map(({ token }) => formatAddress(token)), ...tokens]);
  const changed = difference(trust.pins, await reader.code(vault, at));
  const read = [...wanted].map(async (name): Promise<[string, VaultFunds]> => {
    const token = parseAddress(name);
    if (changed === undefined) return [name, await reader.funds(vault, token, beneficiary, at)];
    // Other code may say anything about what it paid: what it said before stands.
    const known = book.account(vault, token)?.funds ?? { paidOut: 0n, totalPaidOut: 0n };
    return [name, { ...known, block: at.number, balance: await reader.balance(vault, token, at) }];
  });
  return { at, changed, funds: new Map(await Promise.all(read)) };
}

/** Puts a survey of the newest block into the book. Returns why the issuer is frozen, if it is. */
export async function record(
  book: VaultBook,
  trust: VaultTrust,
  found: Survey,
  onAlarm: OnAlarm,
): Promise<string | undefined> {
  const reasons: string[] = [];
  if (found.changed !== undefined) reasons.push(`upgraded: ${found.changed}`);
  for (const account of book.accountsOf(parseAddress(trust.vault))) {
    const funds = found.funds.get(formatAddress(account.token));
    // A node that lags behind tells nothing new.
    if (!funds || funds.block < account.funds.block) continue;
    const reason = trouble(account, funds);
    if (reason !== undefined) reasons.push(reason);
    await book.putFunds(account, funds);
  }
  if (reasons[0] !== undefined) await freeze(book, trust, reasons[0], onAlarm);
  return book.frozen(trust.pins.issuer);
}

/** Ends credit to the issuer of this vault until it is trusted again. */
export async function freeze(
  book: VaultBook,
  trust: VaultTrust,
  reason: string,
  onAlarm: OnAlarm,
): Promise<void> {
  const now = book.trust(parseAddress(trust.vault)) ?? trust;
  if (now.frozen !== undefined && kind(now.frozen) === kind(reason)) return;
  await book.putTrust({ ...now, frozen: reason });
  onAlarm(`vault ${trust.vault} of ${trust.pins.issuer} is frozen: ${reason}`);
}

/** What is wrong with the money behind our cheques, after it was `account.funds` before. */
function trouble(account: VaultAccount, now: VaultFunds): string | undefined {
  const before = account.funds;
  const owed = outstanding({ rungs: account.rungs, funds: now });
  if (owed === 0n) return undefined;
  const token = formatAddress(account.token);
  if (now.balance < owed) return `short: it owes ${owed} of ${token} and holds ${now.balance}`;
  const taken = before.balance - now.balance - (now.totalPaidOut - before.totalPaidOut);
  return taken > 0n ? `withdrawal: its issuer took ${taken} of ${token}` : undefined;
}

function kind(reason: string): string {
  return reason.slice(0, reason.indexOf(':'));
}
