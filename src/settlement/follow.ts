/**
 * Follows one broadcast transaction to its end: confirmed, failed, or overtaken by another with its nonce.
 * It broadcasts the same bytes again whenever the node has lost them and never signs anything. A receipt
 * ends it only when its block is canonical and deep enough, so a reorganisation sends it back to waiting.
 */
import { getBytes, Transaction } from 'ethers';
import { sleep } from '../clock.js';
import { PieceworkError } from '../errors.js';
import type { Head, Receipt } from './answers.js';
import type { Chain, Explain } from './chain.js';
import type { StoredTransaction } from './transaction.js';

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
  deadlineMs: number;
  /** The receipt last seen, undefined while it is not mined. */
  receipt: Receipt | undefined;
  depth: number;
  wasMined: boolean;
  /** The head at which its nonce was first seen to be used while it had no receipt. */
  overtakenAt: bigint | undefined;
  /** Why the last look failed or the node refused the bytes, for people. */
  trouble: string | undefined;
}

/**
 * @throws PieceworkError TX_FAILED when it can have no effect any more; TX_TIMEOUT when its end is still open;
 * INTERRUPTED when the signal was aborted.
 */
export async function follow(
  chain: Chain,
  record: StoredTransaction,
  options: FollowOptions,
): Promise<Confirmed> {
  const watch: Watch = {
    deadlineMs: chain.clock.monotonicMs() + options.waitMs,
    receipt: undefined,
    depth: 0,
    wasMined: false,
    overtakenAt: undefined,
    trouble: undefined,
  };
  for (;;) {
    if (options.signal.aborted) throw interrupted(record);
    const receipt = await look(chain, record, watch, options);
    if (receipt?.ok) return priced(receipt, record);
    if (receipt) throw await failed(chain, record, receipt, options.explain);
    if (chain.clock.monotonicMs() >= watch.deadlineMs) throw timedOut(record, watch);
    await sleep(chain.clock, options.pollMs, options.signal);
  }
}

/** One look at the chain; the receipt once it is final. An unreachable chain only costs time. */
async function look(
  chain: Chain,
  record: StoredTransaction,
  watch: Watch,
  options: FollowOptions,
): Promise<Receipt | undefined> {
  try {
    const receipt = await chain.receipt(record.hash);
    const head = await chain.head();
    watch.trouble = undefined;
    if (receipt) return await lookMined(chain, receipt, head, watch, options);
    if (watch.receipt) options.progress?.({ step: 'reorganised', hash: record.hash });
    watch.receipt = undefined;
    await lookMissing(chain, record, head, watch);
    return undefined;
  } catch (thrown) {
    const code = thrown instanceof PieceworkError ? thrown.code : undefined;
    if (code === 'INTERRUPTED') throw interrupted(record);
    if (code !== 'CHAIN_UNREACHABLE' && code !== 'CHAIN_REJECTED') throw thrown;
    watch.trouble = (thrown as PieceworkError).message;
    return undefined;
  }
}

async function lookMined(
  chain: Chain,
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
  if (depth < confirmations) return undefined;
  const canonical = await chain.block(receipt.block);
  return canonical?.hash === receipt.blockHash ? receipt : undefined;
}

/** Not mined: either another transaction used its nonce, for good once that is deep, or it must be there. */
async function lookMissing(chain: Chain, record: StoredTransaction, head: Head, watch: Watch): Promise<void> {
  const used = await chain.nonce(getBytes(record.from), 'latest');
  if (used > record.nonce) {
    watch.overtakenAt ??= head.number;
    if (head.number - watch.overtakenAt < BigInt(chain.profile.confirmations)) return;
    if (await chain.receipt(record.hash)) return;
    const detail = `${record.purpose}: another transaction took nonce ${record.nonce} of ${record.from}`;
    throw new PieceworkError('TX_FAILED', `${detail}; ${record.hash} has no effect`);
  }
  watch.overtakenAt = undefined;
  if (await chain.knows(record.hash)) return;
  const answer = await chain.broadcast(record.raw);
  if (!answer.accepted) watch.trouble = answer.reason;
}

function priced(receipt: Receipt, record: StoredTransaction): Confirmed {
  const gasPrice = receipt.gasPrice ?? Transaction.from(record.raw).gasPrice ?? 0n;
  return { ...receipt, gasPrice, cost: receipt.gasUsed * gasPrice };
}

async function failed(
  chain: Chain,
  record: StoredTransaction,
  receipt: Receipt,
  explain: Explain | undefined,
): Promise<PieceworkError> {
  const { to, data, value } = Transaction.from(record.raw);
  const trial = { from: getBytes(record.from), to: to === null ? undefined : getBytes(to), data, value };
  const reason = await chain.failure(trial, receipt.block, explain).catch(() => undefined);
  const spent = `${record.purpose}: ${record.hash} was mined in block ${receipt.block} and failed`;
  return new PieceworkError('TX_FAILED', reason === undefined ? spent : `${spent}: ${reason}`);
}

function timedOut(record: StoredTransaction, watch: Watch): PieceworkError {
  const state = watch.receipt ? `has ${watch.depth} confirmations` : 'is not mined yet';
  const trouble = watch.trouble === undefined ? '' : ` (${watch.trouble})`;
  return new PieceworkError(
    'TX_TIMEOUT',
    `${record.purpose}: ${record.hash} ${state}${trouble}; it stays stored`,
  );
}

function interrupted(record: StoredTransaction): PieceworkError {
  return new PieceworkError(
    'INTERRUPTED',
    `${record.purpose}: ${record.hash} is not confirmed yet; it stays stored`,
  );
}
