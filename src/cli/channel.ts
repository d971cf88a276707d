/** `piecework channel`, `settle`, `withdraw` and `statement`: channels and money, local or through the daemon. */
import type { Command } from 'commander';
import type {
  ChannelView,
  Operations,
  SettlementView,
  SettleReport,
  StatementView,
  TransactionView,
} from '../engine/operations.js';
import { PieceworkError } from '../errors.js';
import { formatPrice, parseAmount } from '../units.js';
import { type CommonFlags, contextOf, withOperations } from './context.js';
import * as Output from './output.js';

export function addChannelCommands(program: Command): void {
  const channel = program.command('channel').description('open, list and end payment channels');
  channel
    .command('open')
    .description('lock a deposit in a new channel to a payee')
    .requiredOption('--payee <address>', 'who is to be paid')
    .requiredOption('--deposit <amount>', 'what is locked, like 20BTT')
    .option('--max-gas <amount>', 'the most the gas may cost')
    .action(async (_options, command: Command) => {
      const flags = command.optsWithGlobals<
        CommonFlags & { payee: string; deposit: string; maxGas?: string }
      >();
      const request = { payee: flags.payee, deposit: units(flags.deposit), ...gasMax(flags) };
      await run(flags, 'needed', (operations) => operations.open(request), showTransaction);
    });
  channel
    .command('list')
    .description('all channels of this data folder')
    .action(async (_options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags>();
      await run(flags, 'none', (operations) => operations.channels(), showChannels);
    });
  channel
    .command('show <voucherKey>')
    .description('one channel in full')
    .action(async (voucherKey: string, _options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags>();
      await run(flags, 'none', (operations) => operations.channel(voucherKey), showChannel);
    });
  channel
    .command('top-up <voucherKey>')
    .description('raise the deposit of a channel')
    .requiredOption('--amount <amount>', 'by how much, like 5BTT')
    .option('--max-gas <amount>', 'the most the gas may cost')
    .action(async (voucherKey: string, _options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags & { amount: string; maxGas?: string }>();
      const request = { voucherKey, amount: units(flags.amount), ...gasMax(flags) };
      await run(flags, 'needed', (operations) => operations.topUp(request), showTransaction);
    });
  channel
    .command('close <voucherKey>')
    .description(
      'as payee: settle and close at once; as payer: ask for the close, and later withdraw the rest',
    )
    .option('--max-gas <amount>', 'the most the gas may cost')
    .action(async (voucherKey: string, _options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags & { maxGas?: string }>();
      await run(
        flags,
        'needed',
        (operations) => operations.closeChannel({ voucherKey, ...gasMax(flags) }),
        showTransaction,
      );
    });
  addSettle(program);
  addStatement(program);
}

function addSettle(program: Command): void {
  program
    .command('settle')
    .description('capture accepted vouchers on the chain, in one transaction where they fit')
    .option('--close', 'also close the channels and return what is left to their payers')
    .option('--channel <voucherKey...>', 'only these channels')
    .option('--force', 'also what is worth less than its gas')
    .option('--list', 'settlements under way and done, instead of settling')
    .option('--dry-run', 'only say what would be done and what it would cost')
    .option('--max-gas <amount>', 'the most the gas may cost')
    .action(async (_options, command: Command) => {
      type Flags = CommonFlags & {
        close?: boolean;
        channel?: string[];
        force?: boolean;
        dryRun?: boolean;
        list?: boolean;
        maxGas?: string;
      };
      const flags = command.optsWithGlobals<Flags>();
      if (flags.list) {
        await run(flags, 'none', (operations) => operations.settlements(), showSettlements);
        return;
      }
      const request = {
        close: flags.close === true,
        force: flags.force === true,
        dryRun: flags.dryRun === true,
        ...(flags.channel ? { voucherKeys: flags.channel } : {}),
        ...gasMax(flags),
      };
      await run(
        flags,
        'needed',
        (operations) => operations.settle(request),
        (report) => showSettled(report, request.dryRun),
      );
    });
  program
    .command('withdraw')
    .description('pay out the wallet’s credit at the hub: settled earnings and returned deposits')
    .option('--to <address>', 'where it goes; the wallet itself by default')
    .option('--max-gas <amount>', 'the most the gas may cost')
    .action(async (_options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags & { to?: string; maxGas?: string }>();
      const request = { ...(flags.to === undefined ? {} : { to: flags.to }), ...gasMax(flags) };
      await run(
        flags,
        'needed',
        (operations) => operations.withdraw(request),
        (report) => {
          if (!report.transaction) return Output.line('There is no credit to withdraw.');
          Output.line(`Withdrew ${Output.amount(report.amount)} to ${report.to}`);
          showGas(report.transaction);
        },
      );
    });
}

function addStatement(program: Command): void {
  program
    .command('statement')
    .description('what was earned, spent, settled, and that the books add up')
    .option('--format <format>', 'table, csv or json', 'table')
    .action(async (_options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags & { format: string }>();
      if (!['table', 'csv', 'json'].includes(flags.format)) {
        throw new PieceworkError(
          'BAD_ARGUMENT',
          `--format must be table, csv or json, not "${flags.format}"`,
        );
      }
      const asJson = flags.json === true || flags.format === 'json';
      const statement = await run(
        { ...flags, json: asJson },
        'none',
        (operations) => operations.statement(),
        (view) => (flags.format === 'csv' ? statementCsv(view) : showStatement(view)),
      );
      if (statement.checks.some((check) => !check.ok)) throw new PieceworkError('VERIFY_FAILED');
    });
}

async function run<Result>(
  flags: CommonFlags,
  wallet: 'needed' | 'none',
  ask: (operations: Operations) => Promise<Result>,
  show: (result: Result) => void,
): Promise<Result> {
  const result = await withOperations(contextOf(flags), wallet, ask);
  if (flags.json) Output.json(result);
  else show(result);
  return result;
}

function units(text: string): string {
  return String(parseAmount(text));
}

function gasMax(flags: { maxGas?: string }): { gasMax?: string } {
  return flags.maxGas === undefined ? {} : { gasMax: units(flags.maxGas) };
}

function showChannels(channels: readonly ChannelView[]): void {
  if (channels.length === 0) return Output.line('No channels yet.');
  const rows = channels.map((channel) => [
    channel.role,
    channel.phase,
    channel.voucherKey,
    channel.payee,
    Output.amount(channel.deposit),
    Output.amount(channel.authorized),
    Output.amount(channel.settled),
  ]);
  Output.table(
    ['role', 'state', 'voucher key', 'payee', 'deposit', 'authorized', 'settled'],
    rows,
    [4, 5, 6],
  );
}

const LABELS = {
  deposit: 'deposit',
  authorized: 'authorized',
  claimable: 'claimable',
  inFlight: 'in flight',
  confirmed: 'confirmed',
  settled: 'final',
  lost: 'written off',
  granted: 'granted',
  writtenOff: 'given up',
  due: 'due',
  reserved: 'reserved',
} as const;
const LOST = { closed: 'closed for ever', uncovered: 'not covered by its deposit' } as const;

function showChannel(channel: ChannelView): void {
  const money = [
    'deposit',
    'authorized',
    'claimable',
    'inFlight',
    'confirmed',
    'settled',
    'lost',
    'granted',
    'writtenOff',
    'due',
    'reserved',
  ] as const;
  Output.line(`${channel.role} channel, ${channel.phase}`);
  Output.line(`  voucher key  ${channel.voucherKey}`);
  Output.line(`  payee        ${channel.payee}`);
  if (channel.phase === 'closing')
    Output.line(`  closes at    ${new Date(channel.closeAt * 1000).toISOString()}`);
  for (const name of money) Output.line(`  ${LABELS[name].padEnd(11)}  ${Output.amount(channel[name])}`);
  if (channel.lostReason) Output.line(`  written off: the channel is ${LOST[channel.lostReason]}`);
  if (channel.skipped) Output.line(`  not settled now: ${channel.skipped.replaceAll('_', ' ')}`);
  Output.line(`  vouchers     ${channel.vouchers}`);
  Output.line(`  pieces       ${channel.pieces} (${channel.bytes} bytes)`);
}

function showTransaction(channel: ChannelView & { transaction: TransactionView }): void {
  showChannel(channel);
  showGas(channel.transaction);
}

function showGas({ hash, gas, fee }: TransactionView): void {
  Output.line(`  transaction  ${hash}`);
  Output.line(`  gas          ${gas} (${Output.amount(fee)})`);
}

function showPlan(report: SettleReport): void {
  const { rows, expectedTransactions: count, expectedGas, expectedFee } = report;
  if (rows.length > 0) {
    Output.table(
      ['voucher key', 'credits', 'why now'],
      rows.map(({ voucherKey, credit, cause }) => [voucherKey, Output.amount(credit), cause]),
      [1],
    );
  }
  const fee = expectedFee === undefined ? 'in another coin' : `about ${Output.amount(expectedFee)}`;
  Output.line(
    `Would settle ${report.vouchers} vouchers for ${Output.amount(report.settled)} in ${count} transaction${count === 1 ? '' : 's'}; gas ${expectedGas}, ${fee}.`,
  );
  if (expectedFee !== undefined && rows.length > 0)
    Output.line(`That leaves ${Output.amount(BigInt(report.settled) - BigInt(expectedFee))}.`);
}

function showSettled(report: SettleReport, dryRun: boolean): void {
  if (dryRun) {
    showPlan(report);
  } else if (report.transactions.length === 0) {
    Output.line('Nothing to settle now.');
  } else {
    Output.line(`Settled ${report.vouchers} vouchers for ${Output.amount(report.settled)}.`);
    if (report.closed > 0)
      Output.line(
        `Closed ${report.closed} channels, returned ${Output.amount(report.returned)} to their payers.`,
      );
    for (const transaction of report.transactions) showGas(transaction);
  }
  for (const { voucherKey, reason } of report.skipped)
    Output.line(`  skipped ${voucherKey}: ${reason.replaceAll('_', ' ')}`);
}

function showSettlements(settlements: readonly SettlementView[]): void {
  if (settlements.length === 0) return Output.line('No settlements yet.');
  const rows = settlements.map((one) => [
    new Date(one.since * 1000).toISOString(),
    one.state.replace('_', ' '),
    String(one.vouchers),
    String(one.closes),
    one.settled === undefined ? '' : Output.amount(one.settled),
    one.fee === undefined ? '' : Output.amount(one.fee),
    one.hash ?? '',
  ]);
  Output.table(
    ['since', 'state', 'vouchers', 'closes', 'credited', 'gas', 'transaction'],
    rows,
    [2, 3, 4, 5],
  );
}

export function showStatement(statement: StatementView): void {
  const { totals } = statement;
  Output.line(`Statement for hub ${statement.hub} on chain ${statement.chainId}`);
  Output.line();
  showChannels(statement.channels);
  if (statement.sessions.length > 0) {
    Output.line();
    const rows = statement.sessions.map((session) => [
      session.role === 'payee' ? 'sold' : 'bought',
      session.infohash,
      formatPrice(BigInt(session.priceMiB)),
      session.bytes,
      String(session.pieces),
      Output.amount(session.amount),
    ]);
    Output.table(['', 'torrent', 'price', 'bytes', 'pieces', 'amount'], rows, [3, 4, 5]);
  }
  Output.line();
  Output.line(
    `Accepted ${Output.amount(totals.earned)}: claimable ${Output.amount(totals.claimable)}, in flight ${Output.amount(totals.inFlight)}, confirmed ${Output.amount(totals.confirmed)}, final ${Output.amount(totals.settled)}, written off ${Output.amount(totals.lost)}`,
  );
  Output.line(`Gas of settlements ${Output.amount(totals.fees)}`);
  Output.line(`Spent ${Output.amount(totals.spent)}`);
  for (const check of statement.checks) {
    const verdict = check.ok
      ? 'holds'
      : `FAILS: ${Output.amount(check.left)} ≠ ${Output.amount(check.right)}`;
    Output.line(`  ${check.name}: ${verdict}`);
  }
}

function statementCsv(statement: StatementView): void {
  const headings = [
    'role',
    'infohash',
    'voucher_key',
    'payee',
    'price_wei_per_mib',
    'bytes',
    'pieces',
    'amount_wei',
    'open',
  ];
  const rows = statement.sessions.map((session) => [
    session.role,
    session.infohash,
    session.voucherKey,
    session.payee,
    session.priceMiB,
    session.bytes,
    String(session.pieces),
    session.amount,
    String(session.open),
  ]);
  Output.csv(headings, rows);
}
