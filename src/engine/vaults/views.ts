/** Vaults and cheques as the JSON of operations. Pure. */
import { type Address, formatAddress, parseAddress } from '../../channels/channel.js';
import type { SignedCheque } from '../../settlement/vaults/cheque.js';
import * as ChequeJson from '../../settlement/vaults/cheque-json.js';
import * as Credit from '../../settlement/vaults/credit.js';
import { outstanding, type VaultAccount, type VaultBook, type VaultTrust } from './book.js';
import type * as Ops from './operations.js';

/** What views are made from. */
export interface Frame {
  readonly book: VaultBook;
  readonly wbtt: string | undefined;
  readonly issuerLimit: (issuer: string, token: string) => bigint;
}

/** `beneficiary` is absent where the vault was never trusted. */
type Seen = Pick<VaultTrust, 'vault' | 'pins' | 'trusted' | 'writtenOff'> & { readonly beneficiary?: string };

export function vaultView(seen: Seen, frame: Frame): Ops.VaultView {
  const { vault, pins, trusted, beneficiary } = seen;
  const accounts = frame.book.accountsOf(parseAddress(vault));
  return {
    vault,
    credit: 'unsecured',
    issuer: pins.issuer,
    beneficiary,
    trusted,
    frozen: frame.book.frozen(pins.issuer),
    writtenOff: seen.writtenOff ?? false,
    logic: pins.logic,
    logicCodeHash: pins.logicCodeHash,
    codeHash: pins.codeHash,
    master: pins.master,
    masterCodeHash: pins.masterCodeHash,
    debts: accounts.map((account) => debtView(account, pins.issuer, frame)),
  };
}

export function receivedView(
  { vault, pins }: VaultTrust,
  token: Address,
  raised: bigint,
  frame: Frame,
): Ops.ReceivedView {
  const account = frame.book.account(parseAddress(vault), token)!;
  const debt = debtView(account, pins.issuer, frame);
  return { ...debt, vault, issuer: pins.issuer, credit: 'unsecured', raised: String(raised) };
}

export function issuedView(cheque: SignedCheque): Ops.IssuedView {
  return {
    vault: formatAddress(cheque.vault),
    token: formatAddress(cheque.token),
    beneficiary: formatAddress(cheque.beneficiary),
    cumulativePayout: String(cheque.cumulativePayout),
    cheque: ChequeJson.write(cheque),
  };
}

export function detail(
  view: Ops.VaultView,
  now: Ops.VaultDetail['now'],
  issued: readonly SignedCheque[],
): Ops.VaultDetail {
  return { ...view, now, issued: issued.map(issuedView) };
}

export function listView(chainId: string, limits: Credit.Limits, frame: Frame): Ops.VaultListView {
  const { book, wbtt } = frame;
  const [debts, lost] = [book.debts(), book.debts(undefined, true)];
  const tokens = new Set([...Object.keys(limits), ...[...debts, ...lost].map(({ token }) => token)]);
  return {
    chainId,
    credit: 'unsecured',
    totals: [...tokens].map((token) => ({
      token,
      isWbtt: token === wbtt,
      outstanding: String(Credit.sum(debts, { token })),
      writtenOff: String(Credit.sum(lost, { token })),
      limit: String(Credit.limitOf(limits, token)),
    })),
    vaults: book.trusts.map((trust) => vaultView(trust, frame)),
  };
}

function debtView(account: VaultAccount, issuer: string, { wbtt, issuerLimit }: Frame): Ops.VaultDebtView {
  const token = formatAddress(account.token);
  return {
    token,
    isWbtt: token === wbtt,
    cumulativePayout: String(account.rungs.at(-1)?.cumulativePayout ?? 0n),
    paidOut: String(account.funds.paidOut),
    outstanding: String(outstanding(account)),
    issuerLimit: String(issuerLimit(issuer, token)),
    rungs: account.rungs.length,
  };
}
