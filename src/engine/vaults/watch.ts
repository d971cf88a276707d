/**
 * Watches the vaults that owe us: looks at them at every new block, freezes whose money or code is not what it was,
 * and cashes what the plan says where the wallet is at hand. An outage is waited out and told once.
 */
import { formatAddress, parseAddress } from '../../channels/channel.js';
import { type Clock, sleep } from '../../clock.js';
import { from } from '../../errors.js';
import { chainPollMs, vaultReadsMax, vaultRetryMs } from '../../limits.js';
import { planCash } from '../../settlement/vaults/cash-plan.js';
import { outstanding } from './book.js';
import { candidatesOf } from './cash.js';
import type { Desk } from './desk.js';
import type { CashReport } from './operations.js';
import { record, survey } from './survey.js';

export interface WatchOptions {
  readonly desk: Desk;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Cashes by the plan. */
  readonly cash: () => Promise<CashReport>;
  readonly onEvent: (level: 'info' | 'warn', text: string) => void;
}

/** One look at the newest block. @throws PieceworkError as `cash` does. */
export async function look({ desk, cash, onEvent }: Omit<WatchOptions, 'signal' | 'clock'>): Promise<void> {
  const book = await desk.book();
  const owing = book.trusts.filter(({ vault }) =>
    book.accountsOf(parseAddress(vault)).some((account) => outstanding(account) > 0n),
  );
  if (owing.length === 0) return;
  const { reader, chain, wbtt, issuerLimit } = await desk.open();
  const at = await chain.head();
  for (let start = 0; start < owing.length; start += vaultReadsMax) {
    const some = owing.slice(start, start + vaultReadsMax);
    const found = await Promise.all(some.map((trust) => survey(reader, book, trust, at)));
    for (const [index, trust] of some.entries()) await record(book, trust, found[index]!, desk.onAlarm);
  }
  const { account } = desk.side;
  const own = owing.filter((trust) => account && trust.beneficiary === formatAddress(account.address));
  if (own.length === 0) return;
  const plan = planCash(candidatesOf(book, own, wbtt, issuerLimit), await chain.gasPrice());
  if (plan.cashings.length === 0) return;
  for (const { vault, value, received } of (await cash()).cashed)
    onEvent('info', `a cheque of vault ${vault} for ${value} brought ${received}`);
}

/** Looks at every new block until the signal is aborted. */
export async function watch(options: WatchOptions): Promise<void> {
  const { desk, clock, signal, onEvent } = options;
  let seen: string | undefined;
  let told: string | undefined;
  while (!signal.aborted) {
    let waitMs = chainPollMs;
    try {
      const { chain } = await desk.side.ready();
      const { hash } = await chain.head();
      if (hash !== seen) await look(options);
      seen = hash;
      told = undefined;
    } catch (thrown) {
      const { message } = from(thrown);
      if (signal.aborted) return;
      if (message !== told) onEvent('warn', `looking after the vaults failed: ${message}`);
      told = message;
      waitMs = vaultRetryMs;
    }
    await sleep(clock, waitMs, signal);
  }
}
