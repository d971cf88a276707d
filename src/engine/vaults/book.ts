/**
 * What is durable about vaults (vaults.md 9): which are trusted and what is pinned of them, the cheques we hold,
 * what was last read of their funds, the cheques we issued. Rests in the notes of the ledger. Invariants: memory
 * follows the disk, never leads it; a cheque is on disk before a lower one that it replaces is erased.
 */
import { concat, getBytes, keccak256, toBeHex } from 'ethers';
import type { Address } from '../../channels/channel.js';
import { formatAddress } from '../../channels/channel.js';
import type { Ledger } from '../../ledger/ledger.js';
import { noteSpaces } from '../../ledger/spaces.js';
import { accountName, type SignedCheque } from '../../settlement/vaults/cheque.js';
import * as ChequeJson from '../../settlement/vaults/cheque-json.js';
import type { Debt, Limits } from '../../settlement/vaults/credit.js';
import { thin } from '../../settlement/vaults/ladder.js';
import type { VaultFunds, VaultPins } from '../../settlement/vaults/vault.js';
import { fromHex, sameBytes } from '../../units.js';

/** JSON values only. Addresses as 0x-prefixed lower-case hex. */
export interface VaultTrust {
  readonly vault: string;
  readonly beneficiary: string;
  readonly pins: VaultPins;
  /** The issuer's own limits; the configured ones hold where absent. */
  readonly limits?: Limits;
  readonly trusted: boolean;
  /** Why its issuer gets no more credit. */
  readonly frozen?: string;
  /** What it owes counts as lost; it is cashed all the same where it can be. */
  readonly writtenOff?: boolean;
}

/** One vault and token. */
export interface VaultAccount {
  readonly vault: Address;
  readonly token: Address;
  /** Rising; the last is the newest. */
  readonly rungs: readonly SignedCheque[];
  readonly funds: VaultFunds;
}

interface FundsNote {
  readonly vault: string;
  readonly token: string;
  readonly block: string;
  readonly balance: string;
  readonly paidOut: string;
  readonly totalPaidOut: string;
}

export class VaultBook {
  readonly #ledger: Ledger;
  readonly #trusts = new Map<string, VaultTrust>();
  readonly #accounts = new Map<string, VaultAccount>();
  readonly #issued = new Map<string, SignedCheque>();

  private constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  static async open(ledger: Ledger): Promise<VaultBook> {
    const book = new VaultBook(ledger);
    for (const trust of await ledger.notes<VaultTrust>(noteSpaces.vaultTrust))
      book.#trusts.set(trust.vault, trust);
    for (const note of await ledger.notes<FundsNote>(noteSpaces.vaultFunds)) {
      const [vault, token] = [fromHex(note.vault), fromHex(note.token)];
      const [block, balance] = [BigInt(note.block), BigInt(note.balance)];
      const funds = {
        block,
        balance,
        paidOut: BigInt(note.paidOut),
        totalPaidOut: BigInt(note.totalPaidOut),
      };
      book.#accounts.set(accountName(vault, token), { vault, token, rungs: [], funds });
    }
    const cheques = (await ledger.notes<string>(noteSpaces.vaultCheques)).map(ChequeJson.read);
    for (const cheque of cheques.sort(byPayout)) book.#append(cheque);
    for (const text of await ledger.notes<string>(noteSpaces.vaultIssued)) {
      const cheque = ChequeJson.read(text);
      book.#issued.set(issuedName(cheque), cheque);
    }
    return book;
  }

  get trusts(): readonly VaultTrust[] {
    return [...this.#trusts.values()];
  }

  get accounts(): readonly VaultAccount[] {
    return [...this.#accounts.values()];
  }

  get issued(): readonly SignedCheque[] {
    return [...this.#issued.values()];
  }

  trust(vault: Address): VaultTrust | undefined {
    return this.#trusts.get(formatAddress(vault));
  }

  account(vault: Address, token: Address): VaultAccount | undefined {
    return this.#accounts.get(accountName(vault, token));
  }

  accountsOf(vault: Address): readonly VaultAccount[] {
    return this.accounts.filter((account) => sameBytes(account.vault, vault));
  }

  lastIssued(of: Pick<SignedCheque, 'vault' | 'token' | 'beneficiary'>): SignedCheque | undefined {
    return this.#issued.get(issuedName(of));
  }

  /** What each vault and token owes, but for the one account left out; or what of that is written off. */
  debts(without?: string, writtenOff = false): readonly Debt[] {
    return this.accounts
      .filter(({ vault, token }) => accountName(vault, token) !== without)
      .filter(({ vault }) => (this.trust(vault)?.writtenOff ?? false) === writtenOff)
      .map((account) => ({
        issuer: this.trust(account.vault)?.pins.issuer ?? '',
        token: formatAddress(account.token),
        outstanding: outstanding(account),
      }));
  }

  /** Why the issuer is frozen, if it is: one vault of it is enough. */
  frozen(issuer: string): string | undefined {
    return this.trusts.find((trust) => trust.pins.issuer === issuer && trust.frozen !== undefined)?.frozen;
  }

  async putTrust(trust: VaultTrust): Promise<void> {
    await this.#ledger.putNote(noteSpaces.vaultTrust, getBytes(keccak256(trust.vault)), trust);
    this.#trusts.set(trust.vault, trust);
  }

  async removeTrust(vault: Address): Promise<void> {
    await this.#ledger.removeNote(noteSpaces.vaultTrust, getBytes(keccak256(vault)));
    this.#trusts.delete(formatAddress(vault));
  }

  /** Keeps a cheque that is higher than all before it. Durable when it resolves. */
  async accept(cheque: SignedCheque, funds: VaultFunds): Promise<VaultAccount> {
    await this.#ledger.putNote(noteSpaces.vaultCheques, chequeKey(cheque), ChequeJson.write(cheque));
    const account = this.#append(cheque);
    await this.#writeFunds(account, funds);
    return this.#update(account, funds);
  }

  /**
   * Puts what was read of the funds, and drops the cheques that are paid out or needed no more. Only a payout is
   * worth the disk: what a vault holds is read again anyway.
   */
  async putFunds(account: VaultAccount, funds: VaultFunds): Promise<VaultAccount> {
    if (funds.paidOut !== account.funds.paidOut) await this.#writeFunds(account, funds);
    return this.#update(account, funds);
  }

  async #writeFunds({ vault, token }: VaultAccount, funds: VaultFunds): Promise<void> {
    const note: FundsNote = {
      vault: formatAddress(vault),
      token: formatAddress(token),
      block: String(funds.block),
      balance: String(funds.balance),
      paidOut: String(funds.paidOut),
      totalPaidOut: String(funds.totalPaidOut),
    };
    await this.#ledger.putNote(noteSpaces.vaultFunds, getBytes(keccak256(concat([vault, token]))), note);
  }

  async #update({ vault, token }: VaultAccount, funds: VaultFunds): Promise<VaultAccount> {
    // As it stands now: a cheque may have come while a note was written.
    const { rungs } = this.account(vault, token)!;
    const kept = new Set(thin(rungs, funds.paidOut));
    // The newest stays when it is paid out too: the next one has to be higher.
    const left = rungs.filter((rung) => kept.has(rung) || rung === rungs.at(-1));
    const account = { vault, token, rungs: left, funds };
    this.#accounts.set(accountName(vault, token), account);
    for (const rung of rungs) {
      if (!left.includes(rung)) await this.#ledger.removeNote(noteSpaces.vaultCheques, chequeKey(rung));
    }
    return account;
  }

  async putIssued(cheque: SignedCheque): Promise<void> {
    const key = getBytes(keccak256(concat([cheque.vault, cheque.token, cheque.beneficiary])));
    await this.#ledger.putNote(noteSpaces.vaultIssued, key, ChequeJson.write(cheque));
    this.#issued.set(issuedName(cheque), cheque);
  }

  #append(cheque: SignedCheque): VaultAccount {
    const { vault, token } = cheque;
    const before = this.account(vault, token);
    const funds = before?.funds ?? { block: 0n, balance: 0n, paidOut: 0n, totalPaidOut: 0n };
    const account = { vault, token, rungs: [...(before?.rungs ?? []), cheque], funds };
    this.#accounts.set(accountName(vault, token), account);
    return account;
  }
}

/** What the newest cheque is worth beyond what is paid out. Never negative. */
export function outstanding({ rungs, funds }: Pick<VaultAccount, 'rungs' | 'funds'>): bigint {
  const newest = rungs.at(-1)?.cumulativePayout ?? 0n;
  return newest > funds.paidOut ? newest - funds.paidOut : 0n;
}

function issuedName({ vault, token, beneficiary }: Pick<SignedCheque, 'vault' | 'token' | 'beneficiary'>) {
  return `${accountName(vault, token)}/${formatAddress(beneficiary)}`;
}

function chequeKey({ vault, token, cumulativePayout }: SignedCheque): Uint8Array {
  return getBytes(keccak256(concat([vault, token, toBeHex(cumulativePayout, 32)])));
}

function byPayout(a: SignedCheque, b: SignedCheque): number {
  if (a.cumulativePayout === b.cumulativePayout) return 0;
  return a.cumulativePayout < b.cumulativePayout ? -1 : 1;
}
