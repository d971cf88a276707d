/**
 * BTFS vaults as operations (vaults.md): trusting and showing vaults, and joining cheques, cashing and the watch.
 * Invariants: what changes credit happens one at a time, in order; so do cash-outs.
 */
import { formatAddress, parseAddress } from '../../channels/channel.js';
import type { Clock } from '../../clock.js';
import { PieceworkError } from '../../errors.js';
import { vaultsMax } from '../../limits.js';
import * as Credit from '../../settlement/vaults/credit.js';
import { best } from '../../settlement/vaults/ladder.js';
import { outstanding, type VaultTrust } from './book.js';
import { cash } from './cash.js';
import { issue, receive } from './cheques.js';
import { createDesk, type Desk, type DeskOptions } from './desk.js';
import type * as Ops from './operations.js';
import { survey } from './survey.js';
import * as Views from './views.js';
import { look, watch } from './watch.js';

export interface VaultsOptions extends Omit<DeskOptions, 'onAlarm'> {
  readonly clock: Clock;
  readonly onEvent: (level: 'info' | 'warn' | 'error', text: string) => void;
}

export interface Vaults extends Ops.VaultOperations {
  /** Looks at the vaults that owe us at every block, and cashes what is due, until stopped. */
  watch(): void;
  /** One such look. */
  look(): Promise<void>;
  /** Ends the watch; resolves once everything under way has ended. */
  stop(): Promise<void>;
}

export function createVaults({ onEvent, clock, ...options }: VaultsOptions): Vaults {
  const desk = createDesk({ ...options, onAlarm: (text) => onEvent('error', text) });
  const stopping = new AbortController();
  const credit = createLane();
  const cashing = createLane();
  const cashNow = (request: Ops.CashRequest): Promise<Ops.CashReport> =>
    cashing.run(async () => cash(desk, await desk.open(), request));
  const watching = { desk, clock, signal: stopping.signal, cash: () => cashNow({}), onEvent };
  let loop: Promise<void> | undefined;

  return {
    trust: (request) => credit.run(() => trust(desk, request)),
    untrust: (request) => credit.run(() => untrust(desk, request)),
    receive: (request) => credit.run(() => receive(desk, request)),
    issue: (request) => credit.run(() => issue(desk, request)),
    cash: cashNow,
    show: (vault) => show(desk, vault),
    async list() {
      const chainId = String(desk.side.domain.chainId);
      return Views.listView(chainId, desk.config.limits, desk.frame(await desk.book()));
    },
    look: () => look(watching),
    watch() {
      loop ??= watch(watching);
    },
    async stop() {
      stopping.abort();
      await Promise.allSettled([loop, credit.idle(), cashing.idle()]);
    },
  };
}

/** Runs one piece of work after the other. */
function createLane() {
  let last: Promise<unknown> = Promise.resolve();
  return {
    run<Result>(work: () => Promise<Result>): Promise<Result> {
      const next = last.then(work, work);
      last = next.catch(() => undefined);
      return next;
    },
    idle: (): Promise<unknown> => last,
  };
}

async function trust(desk: Desk, request: Ops.TrustRequest): Promise<Ops.VaultView> {
  const { book, reader, pins: readPins, blocks, domain } = await desk.open();
  const { account } = desk.side;
  if (!account) throw new PieceworkError('WALLET_MISSING', 'cheques have to name a wallet of ours');
  const vault = parseAddress(request.vault);
  const before = book.trust(vault);
  if (!before && book.trusts.length >= vaultsMax)
    throw new PieceworkError('QUEUE_FULL', `${vaultsMax} vaults are trusted already`);
  const beneficiary = formatAddress(account.address);
  if (before && before.beneficiary !== beneficiary && book.accountsOf(vault).length > 0)
    throw new PieceworkError('BAD_ARGUMENT', `its cheques name ${before.beneficiary}, not this wallet`);
  const pins = await readPins(vault);
  const own = book.trusts.filter((one) => one.pins.issuer === pins.issuer);
  const limits =
    request.limit === undefined
      ? own.find((one) => one.limits)?.limits
      : Credit.parseLimits(request.limit, domain.wbtt);
  const made: VaultTrust = {
    vault: formatAddress(vault),
    beneficiary,
    pins,
    trusted: true,
    ...(limits && { limits }),
  };
  const found = await survey(reader, book, made, (await blocks())[0]!);
  for (const [token, funds] of found.funds) {
    const known = book.account(vault, parseAddress(token))!;
    const owed = outstanding({ rungs: known.rungs, funds });
    if (owed > funds.balance)
      throw new PieceworkError('VAULT_SHORT', `it owes ${owed} of ${token} and holds ${funds.balance}`);
    await book.putFunds(known, funds);
  }
  await book.putTrust(made);
  // Limits are the issuer's: all its vaults share them.
  for (const one of own) {
    if (limits && one.vault !== made.vault) await book.putTrust({ ...one, limits });
  }
  return Views.vaultView(made, desk.frame(book));
}

async function untrust(desk: Desk, request: Ops.UntrustRequest): Promise<Ops.VaultView> {
  const book = await desk.book();
  const vault = parseAddress(request.vault);
  const before = book.trust(vault);
  if (!before) throw new PieceworkError('NOT_FOUND', `${formatAddress(vault)} is not trusted`);
  const after = { ...before, trusted: false, ...(request.writeOff && { writtenOff: true }) };
  // While cheques of it are held it stays in the book, to be cashed.
  if (book.accountsOf(vault).length > 0) await book.putTrust(after);
  else await book.removeTrust(vault);
  return Views.vaultView(after, desk.frame(book));
}

async function show(desk: Desk, name: string): Promise<Ops.VaultDetail> {
  const { book, reader, chain, wbtt } = await desk.open();
  const vault = parseAddress(name);
  const at = await chain.head();
  const block = String(at.number);
  const issued = book.issued.filter((one) => formatAddress(one.vault) === formatAddress(vault));
  const known = book.trust(vault);
  if (!known) {
    const seen = { vault: formatAddress(vault), pins: await reader.inspect(vault, at), trusted: false };
    const view = Views.vaultView(seen, desk.frame(book));
    return Views.detail(view, { block, changed: undefined, funds: [] }, issued);
  }
  const found = await survey(reader, book, known, at);
  const funds = [...found.funds].map(([token, { balance, paidOut }]) => {
    const { rungs } = book.account(vault, parseAddress(token))!;
    const rung = best(rungs, paidOut, balance);
    const cashable = rung ? rung.cumulativePayout - paidOut : 0n;
    const isWbtt = token === wbtt;
    return { token, isWbtt, balance: String(balance), paidOut: String(paidOut), cashable: String(cashable) };
  });
  const view = Views.vaultView(known, desk.frame(book));
  return Views.detail(view, { block, changed: found.changed, funds }, issued);
}
