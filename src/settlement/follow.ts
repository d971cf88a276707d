/**
 * Follows one stored transaction to its end: confirmed, failed, or overtaken by another with its nonce. It
 * broadcasts the dearest variant again whenever the node has lost it, and asks its caller for a dearer one
 * when it is stuck; it never signs. A receipt of any variant ends it only when its block is canonical and
 * deep enough, so a reorganisation sends it back to waiting.
 */
import { getBytes } from 'ethers';
import { sleep } from '../clock.js';
import { PieceworkError } from '../errors.js';
import type { Head, Receipt } from './answers.js';
import type { Chain, Explain } from './chain.js';
import type { StoredTransaction } from './transaction.js';
import * as Transactions from './transaction.js';

/** What following and sending need of a chain. */
export type SendingChain = Pick<
  Chain,
  | 'profile'
  | 'clock'
  | 'head'
  | 'block'
  | 'balance'
  | 'nonce'
  | 'estimateGas'
  | 'gasPrice'
  | 'receipt'
  | 'knows'
  | 'broadcast'
  | 'failure'
>;

export type Progress =
  | { readonly step: 'mined'; readonly hash: string; readonly block: bigint }
  | {
      readonly step: 'confirming';
      readonly hash: string;
      readonly confirmations: number;
      readonly of: number;
    }
  | { readonly step: 'reorganised'; readonly hash: string };

export interface FollowOptions {
  /** Until it is mined; what its confirmations take comes on top. */
  readonly waitMs: number;
  readonly pollMs: number;
  /** How long a variant may wait before a dearer one is asked for. */
  readonly stuckMs: number;
  /** The record with one more variant, or the same where none may be signed. Awaited; a rejection ends following. */
  readonly replace: (record: StoredTransaction) => Promise<StoredTransaction>;
  readonly signal: AbortSignal;
  readonly explain: Explain | undefined;
  readonly progress: ((progress: Progress) => void) | undefined;
}

/** A confirmed transaction and what its gas cost, in base units. */
export interface Confirmed extends Receipt {
  readonly gasPrice: bigint;
  readonly cost: bigint;
}

interface Watch {
  record: StoredTransaction;
  deadlineMs: number;
  /** When the variant that waits now was first seen to wait. */
  waitingSinceMs: number;
  /** The receipt last seen, undefined while no variant is mined. */
  receipt: Receipt | undefined;
  depth: number;
  wasMined: boolean;
  /** A head by which its nonce was used while no variant had a receipt. */
  overtakenAt: Head | undefined;
  /** Why the last look failed or the node refused the bytes, for people. */
  trouble: string | undefined;
}

/**
 * @throws PieceworkError TX_FAILED when no variant can have an effect any more; TX_TIMEOUT when its end is
 * still open; INTERRUPTED when the signal was aborted; what `replace` throws.
 */
export async function follow(
  chain: SendingChain,
  record: StoredTransaction,
  options: FollowOptions,
): Promise<Confirmed> {
  const nowMs = chain.clock.monotonicMs();
  const watch: Watch = {
    record,
    deadlineMs: nowMs + options.waitMs,
    waitingSinceMs: nowMs,
    receipt: undefined,
    depth: 0,
    wasMined: false,
    overtakenAt: undefined,
    trouble: undefined,
  };
  for (;;) {
    if (options.signal.aborted) throw interrupted(record);
    const receipt = await look(chain, watch, options);
    if (receipt?.ok) return priced(receipt, watch.record);
    if (receipt) throw await failed(chain, watch.record, receipt, options.explain);
    if (chain.clock.monotonicMs() >= watch.deadlineMs) throw timedOut(watch);
    await sleep(chain.clock, options.pollMs, options.signal);
  }
}

/** One look at the chain; the receipt once it is final. An unreachable chain only costs time. */
async function look(chain: SendingChain, watch: Watch, options: FollowOptions): Promise<Receipt | undefined> {
  try {
    const receipt = await receiptOf(chain, watch.record);
    const head = await chain.head();
    watch.trouble = undefined;
    if (receipt) return await lookMined(chain, receipt, head, watch, options);
    if (watch.receipt) options.progress?.({ step: 'reorganised', hash: watch.receipt.hash });
    watch.receipt = undefined;
    await lookMissing(chain, watch, options);
    return undefined;
  } catch (thrown) {
    const code = thrown instanceof PieceworkError ? thrown.code : undefined;
    if (code === 'INTERRUPTED') throw interrupted(watch.record);
    if (code !== 'CHAIN_UNREACHABLE' && code !== 'CHAIN_REJECTED') throw thrown;
    watch.trouble = (thrown as PieceworkError).message;
    return undefined;
  }
}

/** The receipt of whichever variant is mined: there can be only one. */
async function receiptOf(chain: SendingChain, record: StoredTransaction): Promise<Receipt | undefined> {
  for (const { hash } of record.variants.toReversed()) {
    const receipt = await chain.receipt(hash);
    if (receipt) return receipt;
  }
  return undefined;
}

async function lookMined(
  chain: SendingChain,
  receipt: Receipt,
  head: Head,
  watch: Watch,
  options: FollowOptions,
): Promise<Receipt | undefined> {
  const { confirmations, blockTimeMs } = chain.profile;
  const depth = Math.max(1, Number(head.number - receipt.block) + 1);
  if (!watch.wasMined) watch.deadlineMs += 2 * confirmations * blockTimeMs;
  if (watch.receipt?.blockHash !== receipt.blockHash) {
    options.progress?.({ step: 'mined', hash: receipt.hash, block: receipt.block });
  } else if (watch.depth !== depth) {
    options.progress?.({ step: 'confirming', hash: receipt.hash, confirmations: depth, of: confirmations });
  }
  watch.wasMined = true;
  watch.receipt = receipt;
  watch.depth = depth;
  watch.overtakenAt = undefined;
  watch.waitingSinceMs = chain.clock.monotonicMs();
  if (depth < confirmations) return undefined;
  const canonical = await chain.block(receipt.block);
  return canonical?.hash === receipt.blockHash ? receipt : undefined;
}

/** Not mined: either another transaction used its nonce, for good once that is deep, or it must be there. */
async function lookMissing(chain: SendingChain, watch: Watch, options: FollowOptions): Promise<void> {
  const { record } = watch;
  const used = await chain.nonce(getBytes(record.from), 'latest');
  if (used > record.nonce) return overtaken(chain, watch);
  watch.overtakenAt = undefined;
  if (used < record.nonce) watch.trouble = `nonce ${used} of ${record.from} has to be used before`;
  const nowMs = chain.clock.monotonicMs();
  if (nowMs - watch.waitingSinceMs >= options.stuckMs) {
    watch.waitingSinceMs = nowMs;
    // What waits for a lower nonce is not stuck because of its price.
    if (used === record.nonce) watch.record = await options.replace(record);
  }
  const variant = Transactions.newest(watch.record);
  if (await chain.knows(variant.hash)) return;
  const answer = await chain.broadcast(Transactions.rawOf(watch.record, variant));
  if (!answer.accepted) watch.trouble = answer.reason;
}

/** Final only when the head by which the nonce was used is canonical and deep and still no variant is mined. */
async function overtaken(chain: SendingChain, watch: Watch): Promise<void> {
  const { record, overtakenAt } = watch;
  const head = await chain.head();
  if (!overtakenAt || (await chain.block(overtakenAt.number))?.hash !== overtakenAt.hash) {
    watch.overtakenAt = head;
    return;
  }
  if (head.number - overtakenAt.number < BigInt(chain.profile.confirmations)) return;
  if (await receiptOf(chain, record)) return;
  const detail = `${record.purpose}: another transaction took nonce ${record.nonce} of ${record.from}`;
  throw new PieceworkError('TX_FAILED', `${detail}; ${Transactions.newest(record).hash} has no effect`);
}

function priced(receipt: Receipt, record: StoredTransaction): Confirmed {
  const landed = record.variants.find(({ hash }) => hash === receipt.hash);
  const gasPrice = receipt.gasPrice ?? BigInt(landed?.gasPrice ?? 0);
  return { ...receipt, gasPrice, cost: receipt.gasUsed * gasPrice };
}

async function failed(
  chain: SendingChain,
  record: StoredTransaction,
  receipt: Receipt,
  explain: Explain | undefined,
): Promise<PieceworkError> {
  const { to, data, value } = Transactions.fieldsOf(record, 0n);
  const trial = { from: getBytes(record.from), to, data, value };
  const reason = await chain.failure(trial, receipt.block, explain).catch(() => undefined);
  const spent = `${record.purpose}: ${receipt.hash} was mined in block ${receipt.block} and failed`;
  return new PieceworkError('TX_FAILED', reason === undefined ? spent : `${spent}: ${reason}`);
}

function timedOut(watch: Watch): PieceworkError {
  const { record } = watch;
  const state = watch.receipt ? `has ${watch.depth} confirmations` : 'is not mined yet';
  const trouble = watch.trouble === undefined ? '' : ` (${watch.trouble})`;
  const { hash } = watch.receipt ?? Transactions.newest(record);
  return new PieceworkError('TX_TIMEOUT', `${record.purpose}: ${hash} ${state}${trouble}; it stays stored`);
}

function interrupted(record: StoredTransaction): PieceworkError {
  const { hash } = Transactions.newest(record);
  return new PieceworkError(
    'INTERRUPTED',
    `${record.purpose}: ${hash} is not confirmed yet; it stays stored`,
  );
}
