/**
 * Settles the claims whose payers ask to close: which are due, in what transactions, within what gas. Driven by the
 * watcher's blocks and by its own retries. Invariants: at most one transaction per client and payee is under way,
 * and none for a channel that another one is settling; nothing is signed that its client's budget was not charged
 * for; a claim stays due until the chain shows it settled or its channel closed.
 */
import { formatAddress, TOMBSTONE } from '../../channels/channel.js';
import type { Clock } from '../../clock.js';
import { from, PieceworkError } from '../../errors.js';
import { closeAnswerRetryMs, towerSendsMax, towerSkippedMs } from '../../limits.js';
import type { Head } from '../../settlement/answers.js';
import type { Confirmed } from '../../settlement/follow.js';
import * as Planner from '../../settlement/planner.js';
import type { Call, Quote } from '../../settlement/transaction.js';
import { formatAmount, toHex } from '../../units.js';
import type { ReadyChain } from '../chain-side.js';
import { type Claim, type Claims, worth } from './claims.js';
import type { GasBudget } from './gas.js';
import type { ClaimReason } from './protocol.js';

export interface TowerSettlingOptions {
  readonly chain: ReadyChain;
  readonly claims: Claims;
  readonly gas: GasBudget;
  readonly clock: Clock;
  /** The most one transaction's gas may cost, in base units. */
  readonly gasMax: bigint;
  /** Seconds after a close request in which others settle first. */
  readonly graceSeconds: number;
  /** Settle also what is worth less than its gas. */
  readonly dust: boolean;
  readonly onEvent: (level: 'info' | 'warn', text: string) => void;
  /** Nothing can be kept any more. */
  readonly onFailure: (error: PieceworkError) => void;
}

export interface TowerSettling {
  /** Looks at what is due as of a block. */
  consider(at: Head): void;
  /** Begins nothing further and waits for what runs. */
  stop(): Promise<void>;
}

/** What is due to one payee for one client. */
interface Group {
  readonly name: string;
  readonly client: string;
  readonly payee: Uint8Array;
  readonly claims: Claim[];
}

/** A transaction that was signed and whose end is not known. */
interface Stuck {
  readonly call: Call;
  readonly charged: bigint;
}

export function createTowerSettling(options: TowerSettlingOptions): TowerSettling {
  const { chain, claims, gas, clock, onEvent } = options;
  const { challengePeriod } = chain.terms;
  const running = new Map<string, Promise<void>>();
  /** Channels that a running group is settling. */
  const busy = new Set<string>();
  /** Claims that are left alone until then. */
  const pausedUntilMs = new WeakMap<Claim, number>();
  const stuck = new Map<string, Stuck>();
  const told = new Set<string>();
  const timers = new Set<() => void>();
  let last: Head | undefined;
  let stopped = false;

  function consider(at: Head): void {
    last = at;
    if (stopped) return;
    for (const group of dueGroups(at)) {
      if (running.size >= towerSendsMax) return;
      if (running.has(group.name)) continue;
      const free = group.claims.filter(({ channel }) => !busy.has(channel.id));
      if (free.length > 0) begin({ ...group, claims: free });
    }
  }

  /** Most urgent first. */
  function dueGroups(at: Head): Group[] {
    const nowMs = clock.monotonicMs();
    const groups = new Map<string, Group & { closeAt: number }>();
    for (const { facts, payee, claims: held } of claims.channels) {
      if (!facts || facts.closeAt === 0 || facts.closeAt === TOMBSTONE) continue;
      if (at.timestamp < BigInt(facts.closeAt - challengePeriod + options.graceSeconds)) continue;
      for (const claim of held.values()) {
        if (worth(claim) === 0n || (pausedUntilMs.get(claim) ?? 0) > nowMs) continue;
        const name = `${claim.client}/${toHex(payee)}`;
        const { client } = claim;
        const group = groups.get(name) ?? { name, client, payee, claims: [], closeAt: facts.closeAt };
        group.claims.push(claim);
        group.closeAt = Math.min(group.closeAt, facts.closeAt);
        groups.set(name, group);
      }
    }
    return [...groups.values()].sort((a, b) => a.closeAt - b.closeAt);
  }

  function begin(group: Group): void {
    for (const { channel } of group.claims) busy.add(channel.id);
    const run = settle(group).then(
      (again) => again,
      (thrown: unknown) => refused(group, from(thrown)),
    );
    const ended = run.then((pauseMs) => {
      for (const { channel } of group.claims) busy.delete(channel.id);
      running.delete(group.name);
      for (const claim of group.claims) pausedUntilMs.set(claim, clock.monotonicMs() + pauseMs);
      if (stopped) return;
      // Now for whoever waited for these channels, and later for these claims again.
      lookAgain();
      const cancel = clock.after(pauseMs + 1, () => {
        timers.delete(cancel);
        lookAgain();
      });
      timers.add(cancel);
    });
    running.set(group.name, ended);
  }

  function lookAgain(): void {
    if (last) consider(last);
  }

  /** Resolves with how long to leave these claims alone. */
  async function settle(group: Group): Promise<number> {
    const unfinished = stuck.get(group.name);
    if (unfinished && chain.isUnderWay(unfinished.call)) {
      mark(group.claims, 'in_flight');
      finish(group, await send(group, unfinished.call, unfinished.charged));
      return closeAnswerRetryMs;
    }
    stuck.delete(group.name);
    // The newest block, not the confirmed one: others may have settled since.
    const at = await chain.chain.head();
    const facts = await chain.escrow.readChannels(
      group.claims.map(({ channel }) => channel),
      at,
    );
    const candidates = group.claims.flatMap((claim, index) => {
      const { closeAt, deposit, settled, voucherKey } = facts[index]!;
      if (closeAt === 0) return [];
      return [{ claim, closeAt, deposit, settled, voucherKey, authorized: claim.amount, row: claim.row }];
    });
    const gasPrice = await chain.chain.gasPrice();
    const plan = Planner.plan(candidates, gasPrice, {
      ...Planner.defaultPolicy,
      force: options.dust,
      gainFactor: 1n,
    });
    mark(group.claims, 'held');
    for (const { candidate, reason } of plan.skipped) {
      const dust = reason === 'below_cost' || reason === 'batch_below_cost';
      if (dust) mark([candidate.claim], 'skipped', reason);
    }
    if (plan.rows.length === 0) return towerSkippedMs;
    const calls = chain.escrow.settle(
      group.payee,
      plan.rows.map(({ candidate }) => candidate.row),
    );
    const taken = { ...group, claims: plan.rows.map(({ candidate }) => candidate.claim) };
    for (const call of calls) {
      const { costMax } = await chain.quote(call);
      if (costMax > options.gasMax) throw new PieceworkError('GAS_CEILING', ceilingText(costMax));
      if (!(await gas.charge(group.client, costMax))) {
        tell(group, `the gas budget of client ${group.client} for today is used up`);
        mark(taken.claims, 'skipped', 'gas_budget');
        return towerSkippedMs;
      }
      mark(taken.claims, 'in_flight');
      finish(taken, await send(taken, call, costMax));
    }
    return closeAnswerRetryMs;
  }

  /** Sends what was charged for, and gives back what it did not cost. */
  async function send(group: Group, call: Call, charged: bigint): Promise<Confirmed> {
    let signed = stuck.has(group.name);
    const onSigned = (_quote: Quote): void => {
      signed = true;
    };
    try {
      const confirmed = await chain.send(call, charged < options.gasMax ? charged : options.gasMax, onSigned);
      stuck.delete(group.name);
      await gas.giveBack(group.client, charged - confirmed.cost);
      return confirmed;
    } catch (thrown) {
      stuck.delete(group.name);
      if (chain.isUnderWay(call)) stuck.set(group.name, { call, charged });
      else if (!signed) await gas.giveBack(group.client, charged);
      throw thrown;
    }
  }

  function finish(group: Group, confirmed: Confirmed): void {
    const credited = chain.escrow
      .decode(confirmed)
      .reduce((sum, event) => (event.type === 'settled' ? sum + event.amount : sum), 0n);
    for (const claim of group.claims) claim.transaction = confirmed.hash;
    mark(group.claims, 'held');
    told.delete(group.name);
    const payee = formatAddress(group.payee);
    onEvent(
      'info',
      `settled ${group.claims.length} claims of ${group.client}: ${formatAmount(credited)} credited to ${payee}, gas ${formatAmount(confirmed.cost)}`,
    );
  }

  function refused(group: Group, error: PieceworkError): number {
    const reason = REASONS[error.code];
    const inFlight = stuck.has(group.name);
    if (error.code === 'LEDGER_POISONED') options.onFailure(error);
    mark(group.claims, inFlight ? 'in_flight' : reason ? 'skipped' : 'held', reason);
    if (error.code !== 'INTERRUPTED') tell(group, error.message);
    return reason ? towerSkippedMs : closeAnswerRetryMs;
  }

  /** Says once that a group is not settled, until it is. */
  function tell(group: Group, why: string): void {
    if (told.has(group.name)) return;
    told.add(group.name);
    const closeAt = group.claims.reduce((least, { channel }) => earlier(least, channel.facts?.closeAt), 0);
    const by = new Date(closeAt * 1_000).toISOString();
    const what = `${group.claims.length} claims of ${group.client}`;
    onEvent('warn', `${what} are not settled yet and can be lost at ${by}: ${why}`);
  }

  return {
    consider,
    async stop() {
      stopped = true;
      for (const cancel of timers) cancel();
      await Promise.allSettled(running.values());
    },
  };
}

/** Failures that say why a claim is left alone for a while; all others are tried again soon. */
const REASONS: Partial<Record<PieceworkError['code'], ClaimReason>> = {
  GAS_CEILING: 'gas_ceiling',
  INSUFFICIENT_FUNDS: 'no_funds',
};

function mark(claims: readonly Claim[], doing: Claim['doing'], reason?: ClaimReason): void {
  for (const claim of claims)
    Object.assign(claim, { doing, reason: doing === 'skipped' ? reason : undefined });
}

function earlier(least: number, closeAt: number | undefined): number {
  if (closeAt === undefined || closeAt === 0) return least;
  return least === 0 ? closeAt : Math.min(least, closeAt);
}

function ceilingText(costMax: bigint): string {
  return `gas may cost ${formatAmount(costMax)}, more than the tower pays for one transaction`;
}
