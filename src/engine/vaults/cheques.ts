/**
 * Receiving and issuing cheques. Invariants: no credit is raised without a fresh look at the vault; a cheque is
 * acknowledged, and one is given out, only once it is durable; an issuer never promises more than its vault holds,
 * as far as its own book knows.
 */
import { type Address, formatAddress, parseAddress } from '../../channels/channel.js';
import { PieceworkError } from '../../errors.js';
import * as Cheques from '../../settlement/vaults/cheque.js';
import * as ChequeJson from '../../settlement/vaults/cheque-json.js';
import * as Credit from '../../settlement/vaults/credit.js';
import { sameBytes } from '../../units.js';
import type { VaultTrust } from './book.js';
import type { Desk, OpenDesk } from './desk.js';
import type { IssuedView, IssueRequest, ReceivedView, ReceiveRequest } from './operations.js';
import { record, type Survey, survey } from './survey.js';
import { issuedView, receivedView } from './views.js';

/** @throws PieceworkError CHEQUE_REFUSED, VAULT_UNTRUSTED, VAULT_FROZEN, CREDIT_LIMIT, CHAIN_*. */
export async function receive(desk: Desk, request: ReceiveRequest): Promise<ReceivedView> {
  const cheque = ChequeJson.read(request.cheque);
  const open = await desk.open();
  const { book, reader } = open;
  const { vault, token, cumulativePayout } = cheque;
  const trust = book.trust(vault);
  if (!trust?.trusted)
    throw new PieceworkError('VAULT_UNTRUSTED', `vault ${formatAddress(vault)} is not trusted`);
  const { issuer } = trust.pins;
  const head = book.account(vault, token)?.rungs.at(-1);
  if (head && Cheques.same(head, cheque)) return receivedView(trust, token, 0n, desk.frame(book));
  refuseFrozen(issuer, book.frozen(issuer));
  const name = formatAddress(token);
  const standing = {
    others: book.debts(Cheques.accountName(vault, token)),
    issuerLimit: open.issuerLimit(issuer, name),
    limit: Credit.limitOf(desk.config.limits, name),
  };
  screen(cheque, head, trust, standing, open);

  const blocks = await open.blocks();
  const found = await Promise.all(blocks.map((at) => survey(reader, book, trust, at, [name])));
  const newest = found.find(({ changed }) => changed !== undefined) ?? found[0]!;
  refuseFrozen(issuer, await record(book, trust, newest, desk.onAlarm));
  const raise = { issuer, token: name, cumulativePayout, ...worst(found, name) };
  Credit.check(raise, standing);
  const before = head?.cumulativePayout ?? raise.paidOutMost;
  await book.accept(cheque, newest.funds.get(name)!);
  return receivedView(trust, token, cumulativePayout - before, desk.frame(book));
}

/** What can be told without the chain: cheapest first. */
function screen(
  cheque: Cheques.SignedCheque,
  head: Cheques.Cheque | undefined,
  { beneficiary, pins }: VaultTrust,
  { issuerLimit, limit }: Credit.Standing,
  { domain }: OpenDesk,
): void {
  const named = formatAddress(cheque.beneficiary);
  if (named !== beneficiary) throw Cheques.refused(`it names ${named}, not ${beneficiary}`);
  if (limit === 0n || issuerLimit === 0n) {
    const what = `no unsecured credit is given in ${formatAddress(cheque.token)} to ${pins.issuer}`;
    throw new PieceworkError('CREDIT_LIMIT', what);
  }
  if (head && cheque.cumulativePayout <= head.cumulativePayout)
    throw Cheques.refused(`it is not above the ${head.cumulativePayout} of the newest one held`);
  const signer = formatAddress(Cheques.signer(cheque, domain));
  if (signer !== pins.issuer)
    throw Cheques.refused(`it is signed by ${signer}, not by the issuer ${pins.issuer}`);
}

/** Of several blocks, what is worst for us. */
function worst(found: readonly Survey[], token: string) {
  const funds = found.map((one) => one.funds.get(token)!);
  const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);
  const most = (a: bigint, b: bigint): bigint => (a > b ? a : b);
  return {
    paidOutLeast: funds.map(({ paidOut }) => paidOut).reduce(least),
    paidOutMost: funds.map(({ paidOut }) => paidOut).reduce(most),
    balance: funds.map(({ balance }) => balance).reduce(least),
  };
}

function refuseFrozen(issuer: string, frozen: string | undefined): void {
  if (frozen !== undefined) throw new PieceworkError('VAULT_FROZEN', `${issuer} is frozen: ${frozen}`);
}

/** @throws PieceworkError WALLET_MISSING, BAD_AMOUNT, BAD_ARGUMENT, VAULT_MISMATCH, VAULT_SHORT, CHAIN_*. */
export async function issue(desk: Desk, request: IssueRequest): Promise<IssuedView> {
  const open = await desk.open();
  const { book, domain } = open;
  const { account } = desk.side;
  if (!account) throw new PieceworkError('WALLET_MISSING', 'a cheque is signed by the issuer’s wallet');
  const vault = parseAddress(request.vault);
  const beneficiary = parseAddress(request.beneficiary);
  const token = request.token === undefined ? domain.wbtt : parseAddress(request.token);
  const amount = BigInt(request.amount);
  if (amount <= 0n) throw new PieceworkError('BAD_AMOUNT', 'a cheque has to raise the payout');
  const { issuer } = await open.pins(vault);
  if (issuer !== formatAddress(account.address))
    throw new PieceworkError('BAD_ARGUMENT', `only its issuer ${issuer} can issue cheques of this vault`);
  const { paidOut, balance, promised } = await promises(open, vault, token, beneficiary);
  const last = book.lastIssued({ vault, token, beneficiary })?.cumulativePayout ?? 0n;
  // What is paid out was issued, also where our own record of it is lost.
  const cumulativePayout = (last > paidOut ? last : paidOut) + amount;
  const total = promised + cumulativePayout - paidOut;
  if (total > balance)
    throw new PieceworkError('VAULT_SHORT', `cheques would come to ${total}, the vault holds ${balance}`);
  const cheque = Cheques.sign({ token, vault, beneficiary, cumulativePayout }, domain, account);
  await book.putIssued(cheque);
  return issuedView(cheque);
}

/** What the vault holds, has paid this beneficiary, and owes to all others we issued to. */
async function promises(
  { book, reader, blocks }: OpenDesk,
  vault: Address,
  token: Address,
  beneficiary: Address,
): Promise<{ balance: bigint; paidOut: bigint; promised: bigint }> {
  const at = (await blocks())[0]!;
  const { paidOut, balance } = await reader.funds(vault, token, beneficiary, at);
  let promised = 0n;
  for (const cheque of book.issued) {
    const here = sameBytes(cheque.vault, vault) && sameBytes(cheque.token, token);
    if (!here || sameBytes(cheque.beneficiary, beneficiary)) continue;
    const { paidOut: paid } = await reader.funds(vault, token, cheque.beneficiary, at);
    if (cheque.cumulativePayout > paid) promised += cheque.cumulativePayout - paid;
  }
  return { balance, paidOut, promised };
}
