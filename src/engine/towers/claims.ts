/**
 * The claims that a tower holds: for each client and channel the highest row, durable in the ledger before it is
 * seen here. Invariants: a row is never replaced by a lower one; what a client holds touches no other client's;
 * nobody holds more than its share.
 */
import { createHash } from 'node:crypto';
import {
  type Address,
  type ChannelFacts,
  type ChannelKey,
  channelId,
  TOMBSTONE,
} from '../../channels/channel.js';
import { amountOf } from '../../channels/voucher.js';
import { PieceworkError } from '../../errors.js';
import type { Ledger } from '../../ledger/ledger.js';
import { noteSpaces } from '../../ledger/spaces.js';
import { towerClaimsPerClientMax, towerPayeesPerClientMax } from '../../limits.js';
import type { Command } from '../../native/records.js';
import * as Planner from '../../settlement/planner.js';
import { fromHex, toHex } from '../../units.js';
import type { ClaimReason, ClaimState } from './protocol.js';

/** A channel that somebody holds a claim on. */
export interface HeldChannel extends ChannelKey {
  readonly id: string;
  /** As of the confirmed block, undefined until it was read. */
  facts: ChannelFacts | undefined;
  /** By client. */
  readonly claims: Map<string, Claim>;
}

export interface Claim {
  readonly client: string;
  readonly channel: HeldChannel;
  row: Uint8Array;
  amount: bigint;
  /** What the tower is doing about it; `stateOf` adds what the chain says. */
  doing: 'held' | 'in_flight' | 'skipped';
  reason: ClaimReason | undefined;
  transaction: string | undefined;
}

/** A row that was checked and is to be held. */
export interface Checked {
  readonly key: ChannelKey;
  readonly facts: ChannelFacts;
  readonly row: Uint8Array;
}

interface Note {
  readonly client: string;
  readonly payee: string;
  readonly key: string;
  readonly row: string;
}

export class Claims {
  readonly #ledger: Ledger;
  readonly #channels = new Map<string, HeldChannel>();
  readonly #byClient = new Map<string, Map<string, Claim>>();
  #changing: Promise<unknown> = Promise.resolve();

  private constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  static async open(ledger: Ledger): Promise<Claims> {
    const claims = new Claims(ledger);
    for (const { client, payee, key, row } of await ledger.notes<Note>(noteSpaces.towerClaims)) {
      claims.#enter(client, { voucherKey: fromHex(key), payee: fromHex(payee) }, fromHex(row));
    }
    return claims;
  }

  get channels(): Iterable<HeldChannel> {
    return this.#channels.values();
  }

  channel(id: string): HeldChannel | undefined {
    return this.#channels.get(id);
  }

  /** In no particular order. */
  of(client: string): Iterable<Claim> {
    return this.#byClient.get(client)?.values() ?? [];
  }

  find(client: string, id: string): Claim | undefined {
    return this.#byClient.get(client)?.get(id);
  }

  /**
   * Holds rows for a client where they are higher than what it holds and it has room for them; resolves once all
   * of them are durable. @throws PieceworkError DISK_FULL, LEDGER_*.
   */
  hold(client: string, rows: readonly Checked[]): Promise<void> {
    return this.#inTurn(() => this.#hold(client, rows));
  }

  /** Erases the claims of everybody else, and gives the channels that nobody holds a claim on any more. */
  keepOnly(clients: readonly string[]): Promise<readonly HeldChannel[]> {
    return this.#inTurn(() => this.#keepOnly(clients));
  }

  /** What one change compares with is what the one before it left. */
  #inTurn<Result>(change: () => Promise<Result>): Promise<Result> {
    const run = this.#changing.then(change);
    this.#changing = run.catch(() => undefined);
    return run;
  }

  async #hold(client: string, rows: readonly Checked[]): Promise<void> {
    const higher = rows.filter(({ key, row }) => {
      const held = this.find(client, idOf(key));
      return !held || amountOf(row) > held.amount;
    });
    const { kept, evicted } = this.#place(client, higher);
    const commands = [
      ...evicted.map((claim) => erasing(claim)),
      ...kept.map(({ key, row }) => keeping(client, key, row)),
    ];
    await this.#commit(commands);
    for (const claim of evicted) this.#leave(claim);
    for (const { key, facts, row } of kept) {
      const { channel } = this.#enter(client, key, row);
      channel.facts ??= facts;
    }
  }

  async #keepOnly(clients: readonly string[]): Promise<readonly HeldChannel[]> {
    const known = new Set(clients);
    const gone = [...this.#byClient].filter(([client]) => !known.has(client));
    const claims = gone.flatMap(([, held]) => [...held.values()]);
    await this.#commit(claims.map((claim) => erasing(claim)));
    for (const claim of claims) this.#leave(claim);
    return claims.map(({ channel }) => channel).filter(({ id }) => !this.#channels.has(id));
  }

  /** Which rows fit, and which claims that can bring nothing any more make room for them. */
  #place(client: string, rows: readonly Checked[]): { kept: Checked[]; evicted: Claim[] } {
    const held = [...this.of(client)];
    const idle = held.filter(isSpent);
    const live = held.filter((claim) => !isSpent(claim));
    const payees = new Set(live.map(({ channel }) => toHex(channel.payee)));
    const evicted: Claim[] = [];
    let count = held.length;
    const kept = rows.filter(({ key }) => {
      if (this.find(client, idOf(key))) return true;
      const payee = toHex(key.payee);
      if (!payees.has(payee) && payees.size >= towerPayeesPerClientMax) return false;
      if (count >= towerClaimsPerClientMax) {
        const room = idle.pop();
        if (!room) return false;
        evicted.push(room);
        count--;
      }
      payees.add(payee);
      count++;
      return true;
    });
    const raised = new Set(kept.map(({ key }) => idOf(key)));
    return { kept, evicted: evicted.filter(({ channel }) => !raised.has(channel.id)) };
  }

  #enter(client: string, key: ChannelKey, row: Uint8Array): Claim {
    const id = idOf(key);
    const channel = this.#channels.get(id) ?? { ...key, id, facts: undefined, claims: new Map() };
    this.#channels.set(id, channel);
    const amount = amountOf(row);
    const known = channel.claims.get(client);
    if (known) {
      return Object.assign(known, { row, amount });
    }
    const fresh = { doing: 'held', reason: undefined, transaction: undefined } as const;
    const claim: Claim = { client, channel, row, amount, ...fresh };
    channel.claims.set(client, claim);
    const own = this.#byClient.get(client) ?? new Map<string, Claim>();
    this.#byClient.set(client, own.set(id, claim));
    return claim;
  }

  #leave({ client, channel }: Claim): void {
    channel.claims.delete(client);
    if (channel.claims.size === 0) this.#channels.delete(channel.id);
    const own = this.#byClient.get(client);
    own?.delete(channel.id);
    if (own?.size === 0) this.#byClient.delete(client);
  }

  async #commit(commands: readonly Command[]): Promise<void> {
    const outcomes = await this.#ledger.commit(commands);
    const refused = outcomes.find(({ status }) => status !== 'ok');
    if (refused) throw new PieceworkError('DISK_FULL', `the ledger cannot keep a claim: ${refused.status}`);
  }
}

/** What settling the claim would credit its payee, as of the confirmed block; 0 while that was not read. */
export function worth({ amount, channel: { facts } }: Claim): bigint {
  if (!facts || facts.closeAt === TOMBSTONE) return 0n;
  return Planner.gain({ authorized: amount, settled: facts.settled, deposit: facts.deposit });
}

/** What became of a claim, by the chain first. */
export function stateOf(claim: Claim): { readonly state: ClaimState; readonly reason?: ClaimReason } {
  const { facts } = claim.channel;
  if (facts && facts.deposit > 0n) {
    const covered = claim.amount < facts.deposit ? claim.amount : facts.deposit;
    if (facts.settled >= covered) return { state: 'settled' };
    if (facts.closeAt === TOMBSTONE) return { state: 'skipped', reason: 'closed' };
  }
  return { state: claim.doing, ...(claim.reason ? { reason: claim.reason } : {}) };
}

export function idOf(key: ChannelKey): string {
  return toHex(channelId(key));
}

/** True where no top-up can make the claim worth something again. */
function isSpent({ amount, channel: { facts } }: Claim): boolean {
  return facts !== undefined && (facts.closeAt === TOMBSTONE || amount <= facts.settled);
}

function noteKey(client: string, key: { voucherKey: Address; payee: Address }): Uint8Array {
  return new Uint8Array(createHash('sha256').update(`${client}/`).update(channelId(key)).digest());
}

function keeping(client: string, key: ChannelKey, row: Uint8Array): Command {
  const note: Note = { client, payee: toHex(key.payee), key: toHex(key.voucherKey), row: toHex(row) };
  const value = new Uint8Array(Buffer.from(JSON.stringify(note), 'utf8'));
  return { kind: 'note', space: noteSpaces.towerClaims, key: noteKey(client, key), value };
}

function erasing({ client, channel }: Claim): Command {
  return { kind: 'note', space: noteSpaces.towerClaims, key: noteKey(client, channel) };
}
