/**
 * Cashing cheques: looks at every vault that owes us, lets the plan choose, sends one transaction each and books
 * what really came. Invariants: one cash-out at a time; a cheque is cashed by its beneficiary alone; what a
 * cash-out brought is what the token's log says.
 */
import { type Address, formatAddress, parseAddress } from '../../channels/channel.js';
import { from, PieceworkError } from '../../errors.js';
import { vaultReadsMax } from '../../limits.js';
import * as CashPlan from '../../settlement/vaults/cash-plan.js';
import type { SignedCheque } from '../../settlement/vaults/cheque.js';
import * as Credit from '../../settlement/vaults/credit.js';
import { cashCall, moved } from '../../settlement/vaults/vault-abi.js';
import { sameBytes } from '../../units.js';
import { type ReadyChain, transactionView } from '../chain-side.js';
import type { VaultAccount, VaultBook, VaultTrust } from './book.js';
import type { Desk, OpenDesk } from './desk.js';
import type { CashedView, CashReport, CashRequest } from './operations.js';
import { freeze, record, survey } from './survey.js';

interface Candidate extends CashPlan.Candidate<SignedCheque> {
  readonly account: VaultAccount;
  readonly trust: VaultTrust;
}

/** @throws PieceworkError WALLET_MISSING, BAD_ARGUMENT, GAS_CEILING, INSUFFICIENT_FUNDS, CHAIN_*, TX_TIMEOUT. */
export async function cash(desk: Desk, open: OpenDesk, request: CashRequest): Promise<CashReport> {
  const { side } = desk;
  const { book } = open;
  const ready = await side.ready();
  const owner = side.account?.address;
  if (!owner) throw new PieceworkError('WALLET_MISSING', 'only the wallet a cheque names can cash it');
  const recipient = request.to === undefined ? owner : parseAddress(request.to);
  const named = request.vault === undefined ? undefined : formatAddress(parseAddress(request.vault));
  if (named !== undefined && !book.trust(parseAddress(named)))
    throw new PieceworkError('NOT_FOUND', `no cheque of vault ${named} is held`);
  const trusts = book.trusts.filter(({ vault }) => named === undefined || vault === named);
  const own = trusts.filter(({ beneficiary }) => sameBytes(parseAddress(beneficiary), owner));
  if (named !== undefined && own.length === 0)
    throw new PieceworkError('BAD_ARGUMENT', `its cheques name ${trusts[0]!.beneficiary}, not this wallet`);
  const candidates = await look(desk, open, own);
  const policy = { ...CashPlan.defaultCashPolicy, force: request.force === true };
  const plan = CashPlan.planCash<SignedCheque, Candidate>(candidates, await ready.chain.gasPrice(), policy);

  const cashed: CashedView[] = [];
  const skipped = plan.skipped
    .filter(({ reason }) => reason !== 'nothing_new')
    .map(({ candidate, reason }) => ({ ...names(candidate), reason: String(reason) }));
  let gasLeft = request.gasMax === undefined ? desk.gasMax : BigInt(request.gasMax);
  for (const cashing of plan.cashings) {
    try {
      const done = await (request.dryRun === true
        ? tryOut(ready, cashing, recipient, open)
        : cashOne(desk, open, ready, cashing, recipient, gasLeft));
      if (done.transaction) gasLeft -= BigInt(done.transaction.fee);
      cashed.push(done);
    } catch (thrown) {
      const error = from(thrown);
      // The vault's own refusal concerns this cheque alone; what else fails would fail for the next too.
      const own = error.code === 'CHAIN_REJECTED' || error.code === 'TX_FAILED';
      if (!own && cashed.length === 0) throw error;
      skipped.push({ ...names(cashing.candidate), reason: error.message });
      if (!own) break;
    }
  }
  return { cashed, skipped };
}

/** Surveys the vaults at the newest block, a few at a time, and gives what may be cashed. */
async function look(
  { onAlarm }: Desk,
  { book, reader, chain, wbtt, issuerLimit }: OpenDesk,
  trusts: readonly VaultTrust[],
): Promise<readonly Candidate[]> {
  const at = await chain.head();
  const owing = trusts.filter(({ vault }) => book.accountsOf(parseAddress(vault)).length > 0);
  for (let start = 0; start < owing.length; start += vaultReadsMax) {
    const some = owing.slice(start, start + vaultReadsMax);
    const found = await Promise.all(some.map((trust) => survey(reader, book, trust, at)));
    for (const [index, trust] of some.entries()) await record(book, trust, found[index]!, onAlarm);
  }
  return candidatesOf(book, owing, wbtt, issuerLimit);
}

/** What the book says may be cashed; as current as the last survey. */
export function candidatesOf(
  book: VaultBook,
  trusts: readonly VaultTrust[],
  wbtt: string,
  issuerLimit: OpenDesk['issuerLimit'],
): readonly Candidate[] {
  return trusts.flatMap((trust) =>
    book.accountsOf(parseAddress(trust.vault)).map((account): Candidate => {
      const { rungs, funds } = account;
      const token = formatAddress(account.token);
      const { issuer } = trust.pins;
      return {
        account,
        trust,
        rungs,
        paidOut: funds.paidOut,
        balance: funds.balance,
        limit: issuerLimit(issuer, token),
        owed: Credit.sum(book.debts(), { token, issuer }),
        alarm: book.frozen(issuer) !== undefined,
        priced: token === wbtt,
      };
    }),
  );
}

type Cashing = CashPlan.Cashing<Candidate, SignedCheque>;

/** What cashing would bring and cost. @throws PieceworkError CHAIN_REJECTED where the vault would not pay. */
async function tryOut(
  ready: ReadyChain,
  cashing: Cashing,
  recipient: Address,
  { domain }: OpenDesk,
): Promise<CashedView> {
  const { cost } = await ready.quote(cashCall(cashing.rung, domain.wbtt, recipient));
  return { ...cashingView(cashing, domain.wbtt), expectedFee: String(cost) };
}

async function cashOne(
  { onAlarm }: Desk,
  { book, reader, chain, domain }: OpenDesk,
  ready: ReadyChain,
  cashing: Cashing,
  recipient: Address,
  gasMax: bigint,
): Promise<CashedView> {
  const { rung, value } = cashing;
  const { trust } = cashing.candidate;
  let expected = 0n;
  const confirmed = await ready.send(cashCall(rung, domain.wbtt, recipient), gasMax, ({ cost }) => {
    expected = cost;
  });
  const received = moved(confirmed, rung.token, rung.vault, recipient);
  if (received < value)
    await freeze(book, trust, `unpaid: a cheque for ${value} brought ${received}`, onAlarm);
  await record(book, trust, await survey(reader, book, trust, await chain.head()), onAlarm);
  return {
    ...cashingView(cashing, domain.wbtt),
    received: String(received),
    expectedFee: String(expected),
    transaction: transactionView(confirmed),
  };
}

function cashingView({ candidate, rung, value }: Cashing, wbtt: Address): CashedView {
  return {
    ...names(candidate),
    isWbtt: sameBytes(rung.token, wbtt),
    cumulativePayout: String(rung.cumulativePayout),
    value: String(value),
    received: '0',
    expectedFee: '0',
    transaction: undefined,
  };
}

function names({ account: { vault, token } }: Candidate): { vault: string; token: string } {
  return { vault: formatAddress(vault), token: formatAddress(token) };
}
