/**
 * `piecework vault`: BTFS vaults and their cheques, local or through the daemon. What vaults owe is unsecured credit
 * and is never shown without that word.
 */
import { openSync, readSync } from 'node:fs';
import type { Command } from 'commander';
import type * as Ops from '../engine/vaults/operations.js';
import type { VaultOperations } from '../engine/vaults/operations.js';
import { from, PieceworkError } from '../errors.js';
import { vaultChequeBytesMax } from '../limits.js';
import { parseAmount } from '../units.js';
import { type CommonFlags, contextOf, withOperations } from './context.js';
import * as Output from './output.js';

const ABOUT = `
Cheques of BTFS vaults are UNSECURED CREDIT: the issuer can empty or replace its vault in the next block. None is
taken before you trust the vault and set limits: vaultLimit (all issuers) and vaultIssuerLimit (each issuer) in
config.json, or PIECEWORK_VAULT_LIMIT and PIECEWORK_VAULT_ISSUER_LIMIT. Both are lists like
100BTT,0x17f235fd5974318e4e2a5e37919a209f7c37a6d1=5000000wei; an entry without an address is for WBTT.`;

export function addVaultCommands(program: Command): void {
  const vault = program
    .command('vault')
    .description('BTFS vaults: unsecured credit by cheques')
    .addHelpText('after', ABOUT);
  vault
    .command('trust <address>')
    .description('check a vault, pin its code, and take its cheques up to the limits')
    .option('--limit <limits>', 'the most its issuer may owe, instead of vaultIssuerLimit')
    .action(async (address: string, _options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags & { limit?: string }>();
      const request = { vault: address, ...(flags.limit === undefined ? {} : { limit: flags.limit }) };
      await run(flags, 'needed', (vaults) => vaults.trust(request), showVault);
    });
  vault
    .command('untrust <address>')
    .description('take no more cheques of a vault; those held can still be cashed')
    .option('--write-off', 'count what it owes as lost, and no longer against the limits')
    .action(async (address: string, _options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags & { writeOff?: boolean }>();
      const request = { vault: address, writeOff: flags.writeOff === true };
      await run(flags, 'none', (vaults) => vaults.untrust(request), showVault);
    });
  vault
    .command('list')
    .description('vaults in the book, what they owe, and the limits')
    .action(async (_options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags>();
      await run(flags, 'none', (vaults) => vaults.list(), showList);
    });
  vault
    .command('show <address>')
    .description('one vault in full, with what the chain says now')
    .action(async (address: string, _options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags>();
      await run(flags, 'none', (vaults) => vaults.show(address), showDetail);
    });
  addChequeCommands(vault);
}

function addChequeCommands(vault: Command): void {
  vault
    .command('receive <file>')
    .description('accept a cheque in the JSON of go-btfs; - reads standard input')
    .action(async (file: string, _options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags>();
      const cheque = readCheque(file);
      await run(flags, 'none', (vaults) => vaults.receive({ cheque }), showReceived);
    });
  vault
    .command('issue <address>')
    .description('sign a cheque of your own vault and print it')
    .requiredOption('--to <beneficiary>', 'who may cash it')
    .requiredOption('--amount <amount>', 'by how much the payout is raised, like 5BTT or 5000000wei')
    .option('--token <address>', 'another token than WBTT')
    .action(async (address: string, _options, command: Command) => {
      type Flags = CommonFlags & { to: string; amount: string; token?: string };
      const flags = command.optsWithGlobals<Flags>();
      const request = {
        vault: address,
        beneficiary: flags.to,
        amount: String(parseAmount(flags.amount)),
        ...(flags.token === undefined ? {} : { token: flags.token }),
      };
      await run(
        flags,
        'needed',
        (vaults) => vaults.issue(request),
        ({ cheque }) => Output.line(cheque),
      );
    });
  vault
    .command('cash [address]')
    .description('cash the best cheques that the vaults can pay, of one vault or of all')
    .option('--force', 'also what is worth less than its gas, or may wait')
    .option('--dry-run', 'only say what would be done and what it would cost')
    .option('--to <address>', 'who gets the tokens; the wallet itself by default')
    .option('--max-gas <amount>', 'the most the gas may cost')
    .action(async (address: string | undefined, _options, command: Command) => {
      type Flags = CommonFlags & { force?: boolean; dryRun?: boolean; to?: string; maxGas?: string };
      const flags = command.optsWithGlobals<Flags>();
      const request = {
        force: flags.force === true,
        dryRun: flags.dryRun === true,
        ...(address === undefined ? {} : { vault: address }),
        ...(flags.to === undefined ? {} : { to: flags.to }),
        ...(flags.maxGas === undefined ? {} : { gasMax: String(parseAmount(flags.maxGas)) }),
      };
      await run(
        flags,
        'needed',
        (vaults) => vaults.cash(request),
        (report) => showCashed(report, request.dryRun),
      );
    });
}

async function run<Result>(
  flags: CommonFlags,
  wallet: 'needed' | 'none',
  ask: (vaults: VaultOperations) => Promise<Result>,
  show: (result: Result) => void,
): Promise<Result> {
  const result = await withOperations(contextOf(flags), wallet, ({ vaults }) => ask(vaults));
  if (flags.json) Output.json(result);
  else show(result);
  return result;
}

/** The text of a file, and never more of it than a cheque has. A line's end after it is no part of the cheque. */
function readCheque(file: string): string {
  const bytes = Buffer.alloc(vaultChequeBytesMax + 2);
  let size = 0;
  try {
    const source = file === '-' ? 0 : openSync(file, 'r');
    for (let got = -1; got !== 0; size += got) got = readSync(source, bytes, size, bytes.length - size, null);
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code === 'ENOENT')
      throw new PieceworkError('BAD_ARGUMENT', `there is no file ${file}`);
    throw from(thrown, 'IO');
  }
  return bytes.toString('utf8', 0, size).trim();
}

/** Amounts of WBTT as BTT; of other tokens, whose decimals are not known, in base units. */
function amount(units: string, { isWbtt, token }: { isWbtt: boolean; token: string }): string {
  return isWbtt ? Output.amount(units).replace('BTT', 'WBTT') : `${units} of ${token}`;
}

function state({ trusted, frozen, writtenOff }: Ops.VaultView): string {
  if (writtenOff) return 'WRITTEN OFF';
  if (frozen !== undefined) return 'FROZEN';
  return trusted ? 'trusted' : 'not trusted';
}

function showList({ totals, vaults }: Ops.VaultListView): void {
  if (vaults.length === 0) Output.line('No vaults yet.');
  for (const one of vaults) {
    Output.line(`${one.vault}  ${state(one)}  issuer ${one.issuer}`);
    for (const debt of one.debts)
      Output.line(`  owes ${amount(debt.outstanding, debt)} of UNSECURED credit, ${debt.rungs} cheques held`);
    if (one.frozen !== undefined) Output.line(`  frozen: ${one.frozen}`);
  }
  for (const total of totals) {
    const [owed, limit, lost] = [total.outstanding, total.limit, total.writtenOff].map((one) =>
      amount(one, total),
    );
    Output.line(
      `UNSECURED in all: ${owed}, limit ${limit}${total.writtenOff === '0' ? '' : `; lost ${lost}`}`,
    );
  }
}

function showVault(view: Ops.VaultView): void {
  Output.line(`Vault ${view.vault}, ${state(view)}: UNSECURED credit`);
  if (view.frozen !== undefined) Output.line(`  frozen      ${view.frozen}`);
  Output.line(`  issuer      ${view.issuer}`);
  if (view.beneficiary !== undefined) Output.line(`  cheques to  ${view.beneficiary}`);
  Output.line(`  logic       ${view.logic}`);
  Output.line(`  code        ${view.logicCodeHash} (logic)`);
  Output.line(`              ${view.codeHash} (vault)`);
  if (view.masterCodeHash !== undefined) Output.line(`              ${view.masterCodeHash} (proxy)`);
  for (const debt of view.debts) {
    Output.line(`  owes        ${amount(debt.outstanding, debt)}, limit ${amount(debt.issuerLimit, debt)}`);
    Output.line(
      `              of ${debt.cumulativePayout} ${debt.paidOut} paid out, ${debt.rungs} cheques held`,
    );
  }
}

function showDetail(view: Ops.VaultDetail): void {
  showVault(view);
  const { block, changed, funds } = view.now;
  Output.line(`  at block    ${block}: ${changed === undefined ? 'the code is as pinned' : changed}`);
  for (const one of funds) {
    Output.line(`  holds       ${amount(one.balance, one)}, cashable ${amount(one.cashable, one)}`);
  }
  for (const { beneficiary, cheque } of view.issued) Output.line(`  issued to   ${beneficiary}: ${cheque}`);
}

function showReceived(view: Ops.ReceivedView): void {
  if (view.raised === '0') Output.line('This cheque is held already.');
  else Output.line(`Accepted ${amount(view.raised, view)} of UNSECURED credit to ${view.issuer}.`);
  Output.line(`  owes        ${amount(view.outstanding, view)}, limit ${amount(view.issuerLimit, view)}`);
}

function showCashed({ cashed, skipped }: Ops.CashReport, dryRun: boolean): void {
  if (cashed.length === 0) Output.line('Nothing to cash now.');
  for (const one of cashed) {
    if (dryRun) {
      const fee = Output.amount(one.expectedFee);
      Output.line(`Would cash ${amount(one.value, one)} of vault ${one.vault}, gas about ${fee}.`);
      continue;
    }
    Output.line(`Cashed ${amount(one.received, one)} of vault ${one.vault}.`);
    if (one.received !== one.value) Output.line(`  it should have been ${amount(one.value, one)}`);
    const { hash, gas, fee } = one.transaction!;
    Output.line(`  transaction  ${hash}`);
    Output.line(`  gas          ${gas} (${Output.amount(fee)})`);
  }
  for (const { vault, reason } of skipped) Output.line(`  skipped ${vault}: ${reason.replaceAll('_', ' ')}`);
}
