/**
 * The payee's side of towers: sends the heads of its channels to each of them, in the background and beside
 * everything else. Of an answer it believes only how much is held, and uses that for nothing but the count of
 * channels that no tower holds yet. Invariants: one request at a time for each tower; a tower that is down, slow or
 * lying costs a retry now and then and nothing more.
 */
import { type Domain, formatAddress, TOMBSTONE } from '../../channels/channel.js';
import { amountOf } from '../../channels/voucher.js';
import { type Clock, sleep } from '../../clock.js';
import type { TowerPlace } from '../../config.js';
import { from } from '../../errors.js';
import type { Ledger } from '../../ledger/ledger.js';
import * as limits from '../../limits.js';
import type { ChannelRecord } from '../../native/records.js';
import { toHex } from '../../units.js';
import type { TowerView } from '../operations.js';
import { pushRows, TowerRefusal } from './client.js';
import type { PushedClaim } from './protocol.js';

export interface ClaimOutboxOptions {
  readonly towers: readonly TowerPlace[];
  readonly domain: Domain;
  readonly ledger: Pick<Ledger, 'channels' | 'summary'>;
  readonly clock: Clock;
  readonly onWarning: (text: string) => void;
}

export interface ClaimOutbox {
  /** What each tower holds of these channels. */
  views(channels: readonly ChannelRecord[]): readonly TowerView[];
  stop(): Promise<void>;
}

/** What one tower was told and has acknowledged, by channel. */
interface Outlet {
  readonly place: TowerPlace;
  /** Scheme and host, for people. */
  readonly name: string;
  readonly held: Map<number, bigint>;
  /** Rows it refused: not sent again before then unless they rise. */
  readonly refused: Map<number, { readonly amount: bigint; readonly untilMs: number }>;
  readonly told: Set<string>;
  /** Whether something was left unheld by the last look. */
  behind: boolean;
  error: string | undefined;
  failures: number;
}

/** Begins sending, where there is a tower to send to. */
export function startClaimOutbox(options: ClaimOutboxOptions): ClaimOutbox {
  const { clock, ledger, onWarning } = options;
  const stopping = new AbortController();
  const outlets = options.towers.map(outletOf);
  const loops = outlets.map((outlet) => loop(outlet));

  async function loop(outlet: Outlet): Promise<void> {
    let sequence: number | undefined;
    while (!stopping.signal.aborted) {
      let waitMs = limits.towerPushMs;
      try {
        const { sequence: now } = await ledger.summary();
        if (now !== sequence || outlet.behind) {
          await push(outlet);
          sequence = now;
        }
        outlet.failures = 0;
        outlet.error = undefined;
        outlet.told.delete('failure');
      } catch (thrown) {
        if (stopping.signal.aborted) return;
        waitMs = failed(outlet, thrown);
      }
      await sleep(clock, waitMs, stopping.signal);
    }
  }

  /** Sends everything that the tower does not hold, the most at risk first. */
  async function push(outlet: Outlet): Promise<void> {
    const channels = (await ledger.channels()).filter(isClaim);
    const missing = channels.filter((channel) => isMissing(outlet, channel));
    outlet.behind = missing.length > 0;
    const nowMs = clock.monotonicMs();
    const due = missing.filter(({ index, row }) => {
      const refused = outlet.refused.get(index);
      return !refused || refused.amount < amountOf(row) || refused.untilMs <= nowMs;
    });
    for (const some of batches(due, outlet.held)) {
      if (stopping.signal.aborted) return;
      await pushSome(outlet, some);
    }
  }

  async function pushSome(outlet: Outlet, some: readonly ChannelRecord[]): Promise<void> {
    const { chainId, hub } = options.domain;
    const answer = await pushRows(
      outlet.place,
      {
        chainId: String(chainId),
        hub: formatAddress(hub),
        payee: formatAddress(some[0]!.payee),
        rows: some.map(({ row }) => toHex(row)),
      },
      stopping.signal,
    );
    for (const [at, channel] of some.entries()) note(outlet, channel, answer.claims[at]!);
    if (answer.funded) outlet.told.delete('funds');
    else tell(outlet, 'funds', 'does not hold the gas to settle what it holds');
  }

  function note(outlet: Outlet, { index, row, voucherKey }: ChannelRecord, claim: PushedClaim): void {
    const amount = amountOf(row);
    const { status } = claim;
    const holds = status === 'settled' || (status === 'held' && BigInt(claim.amount) >= amount);
    if (holds) {
      outlet.held.set(index, amount);
      outlet.refused.delete(index);
      return;
    }
    const untilMs = clock.monotonicMs() + limits.towerPushPauseMsMax;
    // What the tower could not look up yet, it may next time.
    if (status !== 'unchecked') outlet.refused.set(index, { amount, untilMs });
    tell(outlet, status, `does not hold channel ${formatAddress(voucherKey)}: ${status}`);
  }

  /** The wait before the next try. */
  function failed(outlet: Outlet, thrown: unknown): number {
    const error = from(thrown, 'DAEMON_UNREACHABLE');
    outlet.error = error.message;
    const pauseMs = limits.towerPushMs * 2 ** Math.min(outlet.failures++, 16);
    const asked = thrown instanceof TowerRefusal ? thrown.afterMs : 0;
    // To be told to slow down is no trouble.
    if (asked === 0) tell(outlet, 'failure', `holds nothing new: ${error.message}; trying again`);
    return Math.min(Math.max(pauseMs, asked), limits.towerPushPauseMsMax);
  }

  function tell(outlet: Outlet, what: string, text: string): void {
    if (outlet.told.has(what)) return;
    outlet.told.add(what);
    onWarning(`tower ${outlet.name} ${text}`);
  }

  return {
    views(channels) {
      const own = channels.filter(isClaim);
      return outlets.map((outlet) => {
        const { name, error } = outlet;
        const unheld = own.filter((channel) => isMissing(outlet, channel)).length;
        const view = { tower: name, held: own.length - unheld, unheld };
        return error === undefined ? view : { ...view, error };
      });
    },
    async stop() {
      stopping.abort();
      await Promise.allSettled(loops);
    },
  };

  function outletOf(place: TowerPlace): Outlet {
    const url = new URL(place.url);
    const outlet: Outlet = {
      ...{ place, name: url.origin, behind: false, error: undefined, failures: 0 },
      ...{ held: new Map(), refused: new Map(), told: new Set() },
    };
    const near = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
    if (url.protocol === 'http:' && !near) {
      tell(outlet, 'plain', 'is reached over plain HTTP: whoever is on the way can read the token');
    }
    return outlet;
  }
}

function isMissing({ held }: Outlet, { index, row }: ChannelRecord): boolean {
  return (held.get(index) ?? 0n) < amountOf(row);
}

/** A plain head that the chain has not settled yet, of a channel that it can still be settled in: towers hold no ticks. */
function isClaim({ role, row, settled, closeAt }: ChannelRecord): boolean {
  return role === 'payee' && amountOf(row) > settled && closeAt !== TOMBSTONE;
}

/** Requests of one payee each, greatest unheld value first. */
function batches(
  channels: readonly ChannelRecord[],
  held: ReadonlyMap<number, bigint>,
): readonly (readonly ChannelRecord[])[] {
  const risk = ({ index, row }: ChannelRecord): bigint => amountOf(row) - (held.get(index) ?? 0n);
  const sorted = [...channels].sort((a, b) => (risk(a) < risk(b) ? 1 : -1));
  const byPayee = new Map<string, ChannelRecord[]>();
  for (const channel of sorted) {
    const payee = toHex(channel.payee);
    byPayee.set(payee, [...(byPayee.get(payee) ?? []), channel]);
  }
  const size = limits.towerRowsPerRequestMax;
  return [...byPayee.values()].flatMap((own) =>
    Array.from({ length: Math.ceil(own.length / size) }, (_, at) => own.slice(at * size, (at + 1) * size)),
  );
}
