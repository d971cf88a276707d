/**
 * The payee's side of channels on the chain: settle heads, close channels, take out what they earned. Plans are
 * made one at a time and every row of a plan counts as under way before its transaction is signed, so that no two
 * plans hold the same row; waiting for blocks holds up no other plan.
 */
import { channelId, formatAddress, parseAddress } from '../channels/channel.js';
import * as Lifecycle from '../channels/lifecycle.js';
import { amountOf } from '../channels/voucher.js';
import type { Clock } from '../clock.js';
import { PieceworkError } from '../errors.js';
import type { Ages } from '../ledger/ages.js';
import type { Ledger } from '../ledger/ledger.js';
import type { Settlements } from '../ledger/settlements.js';
import * as Statement from '../ledger/statement.js';
import * as limits from '../limits.js';
import type { ChannelRecord } from '../native/records.js';
import { chunks, tickChunks } from '../settlement/chunks.js';
import type { EscrowEvent } from '../settlement/escrow.js';
import * as Evidence from '../settlement/evidence.js';
import type { Confirmed } from '../settlement/follow.js';
import * as Planner from '../settlement/planner.js';
import type { Call } from '../settlement/transaction.js';
import { sameBytes, toHex } from '../units.js';
import type { ChainBook, KnownChannel } from './chain-book.js';
import { type ChainSide, transactionView } from './chain-side.js';
import type {
  PlannedRow,
  SettleReport,
  SettleRequest,
  TransactionView,
  WithdrawReport,
  WithdrawRequest,
} from './operations.js';

export interface SettlingOptions {
  readonly side: ChainSide;
  readonly book: ChainBook;
  readonly ledger: Ledger;
  readonly settlements: Settlements;
  readonly ages: Ages;
  readonly clock: Clock;
  readonly policy: Omit<Planner.Policy, 'force'>;
  /** The gas ceiling where a request names none, in base units. */
  readonly gasMax: bigint;
  /** Before channels, or all, are closed: waits a short while for what was granted to be paid. */
  readonly retire: (voucherKeys: readonly Uint8Array[] | undefined) => Promise<void>;
  /** Channels that were retired may be used again. */
  readonly onReleased: () => void;
}

export interface Settling {
  settle(request: SettleRequest): Promise<SettleReport>;
  /** Settles and closes one channel at once. */
  close(channel: ChannelRecord, gasMax: bigint): Promise<TransactionView>;
  withdraw(request: WithdrawRequest): Promise<WithdrawReport>;
  /**
   * Whether a close of the channel is wanted, under way or done: what is granted on it then could not be paid.
   * Holds from before the first step of a close until its transaction can have no effect any more.
   */
  isRetired(voucherKey: Uint8Array): boolean;
  /** Why the last plan left a channel out, by voucher key; undefined where it did not or was never asked. */
  skipReason(voucherKey: string): Planner.SkipReason | undefined;
}

/** `authorized` and `steps` are those of the evidence that is shown; `row` stays the plain head. */
type Candidate = KnownChannel & Planner.Candidate & { readonly evidence: Evidence.Evidence };
type Plan = Planner.Plan<Candidate>;

/** One transaction of a plan: its call, the channels it changes, those whose rows it holds, and those it closes. */
interface Batch {
  readonly payee: Uint8Array;
  readonly call: Call;
  readonly channels: readonly Candidate[];
  readonly rows: readonly Candidate[];
  readonly closing: readonly Candidate[];
}

interface Sent {
  readonly batch: Batch;
  readonly confirmed: Promise<Confirmed>;
}

export function createSettling(options: SettlingOptions): Settling {
  const { side, book, ledger, settlements, ages, clock } = options;
  const skips = new Map<string, Planner.SkipReason>();
  /** Channels of the closes that are asked for now, 0x-prefixed; undefined stands for all. */
  const asked = new Set<{ readonly voucherKeys: ReadonlySet<string> | undefined }>();
  /** Channels that were closed since the start, 0x-prefixed: the book may not know it yet. */
  const closed = new Set<string>();
  let planning: Promise<unknown> = Promise.resolve();
  side.listen({
    onOpen: (isUnderWay) => settlements.dropUnsigned(isUnderWay),
    onProgress(intent, { step }) {
      if (step === 'mined') settlements.setMined(intent, true);
      if (step === 'reorganised') settlements.setMined(intent, false);
    },
    async onConfirmed(intent, confirmed, events) {
      const { hash, block, gasUsed, cost, ok } = confirmed;
      const closing = settlements.closingWith(intent);
      if (ok) for (const voucherKey of closing) closed.add(voucherKey);
      const settled = String(total(events, 'settled'));
      const [gas, fee] = [String(gasUsed), String(cost)];
      await settlements.finish(intent, { ok, hash, block: String(block), gas, fee, settled });
      if (closing.length > 0) options.onReleased();
    },
    async onFailed(intent) {
      const isClose = settlements.closingWith(intent).length > 0;
      await settlements.drop(intent);
      if (isClose) options.onReleased();
    },
  });

  /** One plan at a time. */
  function exclusively<Result>(task: () => Promise<Result>): Promise<Result> {
    const run = planning.then(task, task);
    planning = run.catch(() => undefined);
    return run;
  }

  async function candidates(
    wanted: ReadonlySet<string> | undefined,
    gasPrice: bigint | undefined,
  ): Promise<Candidate[]> {
    const own = (await ledger.channels()).filter(({ role }) => role === 'payee');
    const asked = own.filter(({ voucherKey }) => !wanted || wanted.has(toHex(voucherKey)));
    const known = await book.refresh(asked.filter((one) => Lifecycle.phase(one, 0n) !== 'closed'));
    const unsettled = (await ledger.channels()).filter(
      (one) => one.role === 'payee' && Statement.claim(one).claimable > 0n,
    );
    const ageOf = await ages.see(unsettled.map(nameOf), Number(clock.unixSeconds()));
    const underWay = settlements.underWay();
    // What somebody else settled in the newest blocks is not final yet, and not worth settling again.
    const { chain, escrow } = await side.ready();
    const newest = await escrow.readChannels(known, await chain.head());
    return known.map((channel, at) => {
      const { sent } = underWay(formatAddress(channel.voucherKey));
      const { settled } = newest[at]!;
      const one = { ...channel, inFlight: sent > settled ? sent : settled, ageS: ageOf(nameOf(channel)) };
      const evidence = Evidence.best(one, gasPrice);
      return { ...one, evidence, authorized: evidence.claim, steps: evidence.steps };
    });
  }

  function remember(found: Plan): void {
    for (const { candidate } of found.rows) skips.delete(formatAddress(candidate.voucherKey));
    for (const { candidate, reason } of found.skipped) skips.set(formatAddress(candidate.voucherKey), reason);
  }

  /** Signs a batch at no more than `gasMax`; resolves once it is signed, or joined to one that is under way. */
  async function begin(batch: Batch, gasMax: bigint): Promise<{ sent: Sent; costMax: bigint }> {
    const { send, isUnderWay, inBtt } = await side.ready();
    const { intent } = batch.call;
    const known = isUnderWay(batch.call);
    if (!known) {
      const rows = batch.rows.map(({ voucherKey, authorized }) => ({
        voucherKey: formatAddress(voucherKey),
        amount: String(authorized),
      }));
      const since = Number(clock.unixSeconds());
      const payee = formatAddress(batch.payee);
      const closing = batch.closing.map(({ voucherKey }) => formatAddress(voucherKey));
      await settlements.begin({ intent, payee, since, rows, closing });
    }
    let costMax = 0n;
    let confirmed: Promise<Confirmed> | undefined;
    const signed = new Promise<void>((resolve) => {
      confirmed = send(batch.call, gasMax, (quote) => {
        costMax = inBtt(quote.costMax) ?? 0n;
        resolve();
      });
    });
    confirmed!.catch(() => undefined);
    try {
      if (!known) await Promise.race([signed, confirmed]);
    } catch (thrown) {
      // Nothing that was signed may be forgotten here: the listener hears its end.
      if (!isUnderWay(batch.call)) await settlements.drop(intent);
      throw thrown;
    }
    return { sent: { batch, confirmed: confirmed! }, costMax };
  }

  /** What was signed before one fails goes its way all the same: the listener hears its end, the caller why. */
  async function beginAll(
    batches: readonly Batch[],
    gasMax: bigint,
  ): Promise<{ readonly begun: readonly Sent[]; readonly gasLeft: bigint }> {
    const begun: Sent[] = [];
    let gasLeft = gasMax;
    for (const batch of batches) {
      const { sent, costMax } = await begin(batch, gasLeft);
      begun.push(sent);
      gasLeft -= costMax;
    }
    return { begun, gasLeft };
  }

  async function settleBatches(rows: readonly Candidate[]): Promise<Batch[]> {
    const { escrow } = await side.ready();
    return byPayee(rows).flatMap((own) =>
      chunks(own, limits.settleRowsMax).map((some) => {
        const { payee } = some[0]!;
        const [call] = escrow.settle(
          payee,
          some.map(({ row }) => row),
        );
        return { payee, call: call!, channels: some, rows: some, closing: [] };
      }),
    );
  }

  async function tickBatches(rows: readonly Candidate[]): Promise<Batch[]> {
    const { escrow } = await side.ready();
    return byPayee(rows).flatMap((own) =>
      tickChunks(own, ({ steps = 0 }) => steps).map((some) => {
        const { payee } = some[0]!;
        const [call] = escrow.settleTicks(
          payee,
          some.map(({ evidence }) => evidence.row),
        );
        return { payee, call: call!, channels: some, rows: some, closing: [] };
      }),
    );
  }

  async function closeBatches(targets: readonly Candidate[]): Promise<Batch[]> {
    const { escrow } = await side.ready();
    return byPayee(targets).flatMap((own) =>
      chunks(own, limits.closingsMax).map((some) => {
        const { payee } = some[0]!;
        if (!(side.account && sameBytes(side.account.address, payee))) {
          throw new PieceworkError(
            'WALLET_MISSING',
            `only ${formatAddress(payee)} itself can close its channels`,
          );
        }
        // Also what is under way: should that come to nothing, the close must not end the channel without it.
        const rows = some
          .map((one) => ({ ...one, authorized: amountOf(one.row) }))
          .filter((one) => Planner.gain({ ...one, inFlight: 0n }) > 0n);
        const holding = new Set(rows.map(({ index }) => index));
        const closings = some.map((one) => ({
          voucherKey: one.voucherKey,
          row: holding.has(one.index) ? one.row : undefined,
        }));
        const [call] = escrow.cooperativeClose(payee, closings);
        return { payee, call: call!, channels: some, rows, closing: some };
      }),
    );
  }

  /** Plain heads and tick rows go by verbs of their own, and are planned apart. */
  async function planned(request: SettleRequest, known: readonly Candidate[], price: bigint | undefined) {
    const force = request.force === true || request.close === true;
    const policy = { ...options.policy, force };
    // A close takes plain rows alone: ticks that are worth their gas are settled before it.
    const tickPolicy = request.close ? { ...policy, ...atOnce, force: request.force === true } : policy;
    const plain = known.filter(({ evidence }) => evidence.verb === 'settle');
    const ticked = known.filter(({ evidence }) => evidence.verb === 'settleTicks');
    const plan = Planner.plan(plain, price, policy, Planner.hubGas, known);
    const found = Planner.plan(ticked, price, tickPolicy, Planner.hubTickGas, known);
    const ticks = {
      ...found,
      transactions: tickChunks(found.rows, ({ candidate }) => candidate.steps ?? 0).length,
    };
    return { plan: join(plan, ticks), vouchers: plan.rows.map(one), ticks: ticks.rows.map(one) };
  }

  /** `again`: what was under way has been waited for. */
  async function settle(request: SettleRequest, again = false): Promise<SettleReport> {
    const wanted = request.voucherKeys && new Set(request.voucherKeys.map((key) => toHex(parseAddress(key))));
    const { plan, report, begun, gasLeft, isFirstHalf } = await exclusively(async () => {
      const { chain, inBtt } = await side.ready();
      const price = inBtt(await chain.gasPrice());
      const known = await candidates(wanted, request.force ? undefined : price);
      const { plan, vouchers, ticks } = await planned(request, known, price);
      remember(plan);
      // A close that was mined before a crash shows only now: it is not paid for twice.
      const closable = known.filter((one) => one.deposit > 0n && Lifecycle.phase(one, 0n) !== 'closed');
      const report = reportOf(plan, request.close ? closable.length : 0, request.close === true);
      if (request.dryRun) return { plan, report, begun: [], gasLeft: 0n, isFirstHalf: false };
      const isFirstHalf = request.close === true && ticks.length > 0;
      const batches = await tickBatches(ticks);
      if (!isFirstHalf)
        batches.push(...(await (request.close ? closeBatches(closable) : settleBatches(vouchers))));
      const gasMax = request.gasMax === undefined ? options.gasMax : BigInt(request.gasMax);
      return { plan, report, ...(await beginAll(batches, gasMax)), isFirstHalf };
    });
    if (begun.length === 0) {
      const waited = plan.skipped.some(({ reason }) => reason === 'in_flight');
      if (waited && !request.dryRun && !again) {
        await (await side.ready()).finishStored();
        return settle(request, true);
      }
      const expected = request.dryRun ? String(plan.credit) : '0';
      return { ...report, transactions: [], settled: expected, returned: '0' };
    }
    const ends = await Promise.allSettled(begun.map(({ confirmed }) => confirmed));
    await book.refresh(begun.flatMap(({ batch }) => batch.channels));
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed) throw failed.reason;
    const { escrow } = await side.ready();
    const done = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []));
    const events = done.flatMap((confirmed) => escrow.decode(confirmed));
    const transactions = done.map(transactionView);
    const settled = total(events, 'settled');
    if (isFirstHalf) {
      // The ceiling holds for both halves together.
      const rest = await settle({ ...request, gasMax: String(gasLeft) }, again);
      const first = new Set(begun.flatMap(({ batch }) => batch.rows.map(keyOf)));
      const rows = [...report.rows.filter(({ voucherKey }) => first.has(voucherKey)), ...rest.rows];
      const { expectedTransactions, expectedGas, expectedFee } = report;
      return {
        ...{ ...rest, rows, vouchers: rows.length, expectedTransactions, expectedGas, expectedFee },
        transactions: [...transactions, ...rest.transactions],
        settled: String(settled + BigInt(rest.settled)),
      };
    }
    return { ...report, transactions, settled: String(settled), returned: String(total(events, 'closed')) };
  }

  /** Nothing is granted from here on: it would be paid after the close, and lost with it. */
  async function settleOrClose(request: SettleRequest): Promise<SettleReport> {
    if (!request.close || request.dryRun) return settle(request);
    const keys = request.voucherKeys?.map(parseAddress);
    const one = { voucherKeys: keys && new Set(keys.map(formatAddress)) };
    asked.add(one);
    try {
      await options.retire(keys);
      return await settle(request);
    } finally {
      asked.delete(one);
      options.onReleased();
    }
  }

  function isRetired(voucherKey: Uint8Array): boolean {
    const key = formatAddress(voucherKey);
    for (const { voucherKeys } of asked) if (!voucherKeys || voucherKeys.has(key)) return true;
    return closed.has(key) || settlements.isClosing(key);
  }

  return {
    settle: settleOrClose,
    async close(channel, gasMax) {
      if (Lifecycle.phase(channel, 0n) === 'closed')
        throw new PieceworkError('CHANNEL_CLOSED', 'the channel is closed');
      const voucherKeys = [formatAddress(channel.voucherKey)];
      const report = await settleOrClose({ close: true, voucherKeys, gasMax: String(gasMax) });
      const transaction = report.transactions.at(-1);
      if (!transaction) throw new PieceworkError('CHANNEL_CLOSED', 'the channel is not open');
      await book.refresh([channel]);
      return transaction;
    },
    async withdraw(request: WithdrawRequest) {
      const { escrow, send } = await side.ready();
      if (!side.account) throw new PieceworkError('WALLET_MISSING');
      const owner = side.account.address;
      const to = request.to === undefined ? owner : parseAddress(request.to);
      const amount = await escrow.credit(owner);
      if (amount === 0n) return { amount: '0', to: formatAddress(to), transaction: undefined };
      const gasMax = request.gasMax === undefined ? options.gasMax : BigInt(request.gasMax);
      const confirmed = await send(escrow.withdrawCredit(owner, to), gasMax);
      const paid = escrow.decode(confirmed).find((event) => event.type === 'credit_withdrawn');
      const transaction = transactionView(confirmed);
      return {
        amount: String(paid?.type === 'credit_withdrawn' ? paid.amount : 0n),
        to: formatAddress(to),
        transaction,
      };
    },
    isRetired,
    skipReason: (voucherKey) => skips.get(voucherKey),
  };
}

/** Whatever is worth its gas, now. */
const atOnce = { gainFactor: 1n, profitMin: 0n, ageMaxS: 0 };

function one({ candidate }: Planner.Planned<Candidate>): Candidate {
  return candidate;
}

function join(a: Plan, b: Plan): Plan {
  return {
    rows: [...a.rows, ...b.rows],
    credit: a.credit + b.credit,
    transactions: a.transactions + b.transactions,
    gas: a.gas + b.gas,
    cost: a.cost === undefined || b.cost === undefined ? undefined : a.cost + b.cost,
    skipped: [...a.skipped, ...b.skipped],
  };
}

function reportOf(
  plan: Plan,
  closed: number,
  closing: boolean,
): Omit<SettleReport, 'transactions' | 'settled' | 'returned'> {
  const rows = plan.rows.map(
    ({ candidate, cause, credit }): PlannedRow => ({
      voucherKey: formatAddress(candidate.voucherKey),
      cause,
      credit: String(credit),
    }),
  );
  const skipped = plan.skipped.map(({ candidate, reason }) => ({
    voucherKey: formatAddress(candidate.voucherKey),
    reason,
    ticks: candidate.evidence.verb === 'settleTicks',
  }));
  return {
    vouchers: rows.length,
    closed,
    rows,
    // A close takes every plain row with it, and leaves ticks that are not worth their gas.
    skipped: skipped
      .filter(({ reason, ticks }) => !closing || (ticks && reason !== 'nothing_new'))
      .map(({ voucherKey, reason }) => ({ voucherKey, reason })),
    expectedTransactions: plan.transactions,
    expectedGas: String(plan.gas),
    expectedFee: plan.cost === undefined ? undefined : String(plan.cost),
  };
}

function keyOf({ voucherKey }: ChannelRecord): string {
  return formatAddress(voucherKey);
}

function nameOf(channel: ChannelRecord): string {
  return toHex(channelId(channel));
}

function byPayee<Item extends ChannelRecord>(items: readonly Item[]): Item[][] {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const payee = toHex(item.payee);
    const group = groups.get(payee);
    if (group) group.push(item);
    else groups.set(payee, [item]);
  }
  return [...groups.values()];
}

function total(events: readonly EscrowEvent[], type: 'settled' | 'closed'): bigint {
  let sum = 0n;
  for (const event of events) {
    if (event.type === 'settled' && type === 'settled') sum += event.amount;
    if (event.type === 'closed' && type === 'closed') sum += event.returned;
  }
  return sum;
}
