/** The statement at the end of the demonstration: what happened, and that both books and the chain agree. */
import type {
  FetchEnd,
  FetchEvent,
  SeedView,
  SettleReport,
  StatementView,
  WithdrawReport,
} from '../engine/operations.js';
import * as Output from './output.js';

/** Balances on the chain, in base units. */
export interface Holdings {
  readonly payer: bigint;
  readonly payee: bigint;
  readonly hub: bigint;
}

export interface Reconciliation {
  readonly seeding: SeedView;
  readonly end: FetchEnd;
  readonly channel: Extract<FetchEvent, { event: 'channel' }> | undefined;
  readonly settled: SettleReport;
  readonly payeePaid: WithdrawReport;
  readonly payerPaid: WithdrawReport;
  readonly payeeBooks: StatementView;
  readonly payerBooks: StatementView;
  readonly before: Holdings;
  readonly after: Holdings;
  readonly priceMiB: bigint;
}

/** Prints the statement and returns whether every equation holds. */
export function printReconciliation(facts: Reconciliation): boolean {
  const { seeding, end, channel, settled, payeeBooks, payerBooks, before, after } = facts;
  const [earned, spent] = [payeeBooks.channels[0], payerBooks.channels[0]];
  const transactions = settled.transactions;
  const settleFee = transactions.reduce((sum, { fee }) => sum + BigInt(fee), 0n);
  const payeeFees = settleFee + BigInt(facts.payeePaid.transaction?.fee ?? '0');
  const payerFees =
    BigInt(channel?.transaction?.fee ?? '0') + BigInt(facts.payerPaid.transaction?.fee ?? '0');

  Output.line();
  Output.line('Statement');
  const row = (name: string, text: string): void => Output.line(`  ${name.padEnd(22)} ${text}`);
  row('bytes', `${end.bytesBought} bought, ${seeding.bytes} in the torrent`);
  row('pieces', `${end.piecesBought} paid of ${seeding.pieces}`);
  row('vouchers', `${earned?.vouchers ?? 0} accepted, ${spent?.vouchers ?? 0} signed`);
  row('authorised', Output.amount(earned?.authorized ?? '0'));
  row(
    'settled',
    `${Output.amount(settled.settled)} in ${transactions.length} transaction${transactions.length === 1 ? '' : 's'}`,
  );
  row('returned to payer', Output.amount(settled.returned));
  row(
    'gas, payee',
    `${Output.amount(payeeFees)} (settle ${transactions.map(({ gas }) => gas).join(' + ')} gas)`,
  );
  row('gas, payer', `${Output.amount(payerFees)} (open ${channel?.transaction?.gas ?? 0} gas)`);
  Output.line();
  Output.table(
    ['chain balance', 'before', 'after'],
    [
      ['payer', Output.amount(before.payer), Output.amount(after.payer)],
      ['payee', Output.amount(before.payee), Output.amount(after.payee)],
      ['hub', Output.amount(before.hub), Output.amount(after.hub)],
    ],
    [1, 2],
  );
  Output.line();

  const deposit = BigInt(channel?.deposit ?? '0');
  const price = (facts.priceMiB * BigInt(seeding.bytes) + (1n << 20n) - 1n) >> 20n;
  const equations: Array<[string, bigint, bigint]> = [
    ['price of all bytes = authorised', price, BigInt(earned?.authorized ?? '0')],
    [
      'signed by payer = accepted by payee',
      BigInt(spent?.authorized ?? '0'),
      BigInt(earned?.authorized ?? '0'),
    ],
    ['authorised = settled on chain', BigInt(earned?.authorized ?? '0'), BigInt(settled.settled)],
    ['deposit = settled + returned', deposit, BigInt(settled.settled) + BigInt(settled.returned)],
    ['payer paid = settled + its gas', before.payer - after.payer, BigInt(settled.settled) + payerFees],
    ['payee gained = settled − its gas', after.payee - before.payee, BigInt(settled.settled) - payeeFees],
    ['hub holds what it held before', before.hub, after.hub],
    ['pieces paid = pieces in the torrent', BigInt(end.piecesBought), BigInt(seeding.pieces)],
    ['bytes bought = bytes in the torrent', BigInt(end.bytesBought), BigInt(seeding.bytes)],
  ];
  for (const check of [...payeeBooks.checks, ...payerBooks.checks]) {
    equations.push([check.name, BigInt(check.left), BigInt(check.right)]);
  }
  let holds = end.acknowledged && transactions.length === 1;
  for (const [name, left, right] of equations) {
    const equal = left === right;
    holds &&= equal;
    Output.line(`  ${equal ? 'ok  ' : 'FAIL'} ${name}${equal ? '' : `: ${left} ≠ ${right} wei`}`);
  }
  Output.line();
  Output.line(holds ? 'Everything reconciles to the wei.' : 'The books do NOT reconcile.');
  return holds;
}
