/**
 * A tower: holds claim rows of its clients and settles them when their payers ask to close (tower.md). It joins
 * the parts: a ledger of its own, the chain, a watcher over all held channels, intake, and settling. It can only
 * spend gas, and only within its limits.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { formatAddress, TOMBSTONE } from '../../channels/channel.js';
import { type Clock, systemClock } from '../../clock.js';
import type { Config } from '../../config.js';
import { from, PieceworkError } from '../../errors.js';
import { Ledger } from '../../ledger/ledger.js';
import { openSecret } from '../../ledger/secrets.js';
import { chainPollMs, towerClaimsPerPageMax, towerSkippedMs } from '../../limits.js';
import * as Executors from '../../native/executor.js';
import type { Account } from '../../settlement/account.js';
import type { Head } from '../../settlement/answers.js';
import { tiersOf } from '../../settlement/tiers.js';
import { type Change, Watcher } from '../../settlement/watcher.js';
import { type ChainSide, openChainSide, type ReadyChain } from '../chain-side.js';
import { type Claim, Claims, idOf, stateOf, worth } from './claims.js';
import { type Clients, openClients } from './clients.js';
import { createTowerFunds, type TowerFunds } from './funds.js';
import { type GasBudget, openGasBudget } from './gas.js';
import { takeRows } from './intake.js';
import type {
  ClaimsPage,
  ClaimView,
  PushAnswer,
  PushRequest,
  TowerOperations,
  TowerStatus,
} from './protocol.js';
import { createTowerSettling, type TowerSettling } from './settling.js';

export interface TowerOptions {
  readonly config: Config;
  /** The wallet that pays the gas. */
  readonly account: Account;
  readonly executor?: 'pool' | 'inline';
  readonly clock?: Clock;
  /** How often the chain is looked at; by default a small part of the challenge period. */
  readonly pollMs?: number;
  readonly onEvent?: (event: { readonly level: 'info' | 'warn' | 'error'; readonly text: string }) => void;
}

/** Opens a tower. @throws PieceworkError BAD_CONFIG without a hub or clients, LEDGER_*, CHAIN_*, HUB_*. */
export async function createTower(options: TowerOptions): Promise<Tower> {
  const { config, account } = options;
  const clock = options.clock ?? systemClock;
  const { hub, profile } = config.chain;
  if (!hub) {
    throw new PieceworkError('BAD_CONFIG', `no hub is known for chain ${profile.name}; name one with --hub`);
  }
  const clients = openClients(config.dataDir, (text) => options.onEvent?.({ level: 'warn', text }));
  const random = (size: number): Uint8Array => new Uint8Array(randomBytes(size));
  const seed = openSecret(join(config.dataDir, 'voucher.seed'), random);
  const make = options.executor === 'inline' ? Executors.inline : Executors.pool;
  const executor = make({ threads: config.daemon.threads });
  let ledger: Ledger | undefined;
  let side: ChainSide | undefined;
  try {
    ledger = await Ledger.open(executor, { dataDir: config.dataDir, chainId: profile.chainId, hub, seed });
    const tiers = tiersOf(config.chain.confirmations, 0, 0n);
    side = openChainSide(config.chain, hub, account, ledger, tiers, (text) =>
      options.onEvent?.({ level: 'warn', text }),
    );
    const chain = await side.ready();
    const claims = await Claims.open(ledger);
    const gas = await openGasBudget(ledger, clock, config.tower.gasPerDay);
    const tower = new Tower({
      ...options,
      clock,
      clients,
      native: executor,
      ledger,
      side,
      chain,
      claims,
      gas,
    });
    await tower.start();
    return tower;
  } catch (thrown) {
    await side?.close();
    await ledger?.close().catch(() => undefined);
    await executor.close();
    throw thrown;
  }
}

interface Parts extends TowerOptions {
  readonly clock: Clock;
  readonly clients: Clients;
  readonly native: Executors.Executor;
  readonly ledger: Ledger;
  readonly side: ChainSide;
  readonly chain: ReadyChain;
  readonly claims: Claims;
  readonly gas: GasBudget;
}

export class Tower implements TowerOperations {
  /** Rejects when the tower cannot go on: its ledger failed, or the chain is not what it was. */
  readonly failed: Promise<never>;
  readonly clients: Clients;
  readonly #parts: Parts;
  readonly #watcher: Watcher;
  readonly #settling: TowerSettling;
  #fail: (error: PieceworkError) => void = () => {};
  #block = 0n;
  readonly #funds: TowerFunds;
  #reachable = true;
  #stopHousekeeping: () => void = () => {};
  #closing: Promise<void> | undefined;

  /** Use `createTower`. */
  constructor(parts: Parts) {
    this.#parts = parts;
    this.clients = parts.clients;
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => undefined);
    const { account, chain, claims, clock, gas, config } = parts;
    const onEvent = (level: 'info' | 'warn', text: string): void => this.#event(level, text);
    this.#funds = createTowerFunds(chain.chain, account, claims, onEvent);
    const { challengePeriod } = chain.terms;
    const onFailure = (error: PieceworkError): void => this.#fail(error);
    this.#settling = createTowerSettling({
      ...{ chain, claims, gas, clock, onEvent, onFailure },
      gasMax: config.buying.gasMax,
      graceSeconds: graceOf(config.tower.graceSeconds, challengePeriod, account.address),
      dust: config.tower.dust,
    });
    const handlers = {
      onFacts: (changes: readonly Change[]) => {
        for (const { facts } of changes) this.#see(facts);
      },
      onBlock: (at: Head) => {
        this.#block = at.number;
        this.#settling.consider(at);
      },
      onFailure,
      onUnreachable: (error: PieceworkError) => {
        this.#reachable = false;
        onEvent('warn', `the chain does not answer: ${error.message}`);
      },
      onReachable: () => {
        this.#reachable = true;
        onEvent('info', 'the chain answers again');
      },
    };
    // Often enough to answer in time, seldom enough that thousands of channels cost little.
    const pollMs = parts.pollMs ?? Math.max(chainPollMs, Math.min(15_000, (challengePeriod * 1_000) / 240));
    this.#watcher = new Watcher(chain.chain, chain.escrow, handlers, { pollMs, tiers: chain.tiers });
  }

  /** Begins watching. */
  async start(): Promise<void> {
    const { claims, clients, clock } = this.#parts;
    await claims.keepOnly(clients.names);
    for (const channel of claims.channels) this.#watcher.watch(channel);
    this.#watcher.start();
    await this.#funds.check();
    this.#stopHousekeeping = clock.every(towerSkippedMs, () => {
      this.#keepHouse().catch((thrown: unknown) => this.#event('warn', from(thrown).message));
    });
  }

  async push(client: string, request: PushRequest): Promise<PushAnswer> {
    const { chain, claims, clock, native, ledger, side } = this.#parts;
    const reachable = (): boolean => this.#reachable;
    const place = { domain: side.domain, ledger, executor: native, chain, claims, clock, reachable };
    const before = new Set([...claims.of(client)].map(({ channel }) => channel));
    const answers = await takeRows(place, client, request).catch((thrown: unknown) => {
      const error = from(thrown);
      if (error.code === 'LEDGER_POISONED') this.#fail(error);
      throw error;
    });
    const after = new Set([...claims.of(client)].map(({ channel }) => channel));
    const fresh = [...after].filter((channel) => !before.has(channel));
    for (const channel of fresh) this.#watcher.watch(channel, channel.facts?.block);
    for (const channel of before) if (!claims.channel(channel.id)) this.#watcher.unwatch(channel);
    if (fresh.length > 0) await this.#funds.check();
    return { funded: this.#funds.funded, claims: answers };
  }

  async claims(client: string, from: number): Promise<ClaimsPage> {
    const own = [...this.#parts.claims.of(client)].sort((a, b) => order(a, b));
    const end = from + towerClaimsPerPageMax;
    const claims = own.slice(from, end).map(claimView);
    return { funded: this.#funds.funded, claims, ...(end < own.length ? { next: end } : {}) };
  }

  async status(): Promise<TowerStatus> {
    await this.#funds.check();
    const { claims, clients, gas, side } = this.#parts;
    return {
      chainId: String(side.domain.chainId),
      hub: formatAddress(side.domain.hub),
      address: formatAddress(this.#parts.account.address),
      balance: String(this.#funds.balance),
      gasNeeded: String(this.#funds.needed),
      funded: this.#funds.funded,
      block: String(this.#block),
      clients: clients.names.map((name) => {
        const own = [...claims.of(name)];
        const states = { held: 0, in_flight: 0, settled: 0, skipped: 0 };
        for (const claim of own) states[stateOf(claim).state]++;
        const sum = own.reduce((total, claim) => total + worth(claim), 0n);
        return { name, claims: own.length, states, worth: String(sum), gasToday: String(gas.spent(name)) };
      }),
    };
  }

  /** Ends watching, waits for what is being sent, and releases the data folder. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  async #shutDown(): Promise<void> {
    const { side, ledger, native } = this.#parts;
    this.#stopHousekeeping();
    await this.#watcher.stop();
    await Promise.allSettled([this.#settling.stop(), side.close()]);
    await ledger.close();
    await native.close();
  }

  #see(facts: NonNullable<Claim['channel']['facts']>): void {
    const channel = this.#parts.claims.channel(idOf(facts));
    if (!channel) return;
    const asked = facts.closeAt !== 0 && channel.facts?.closeAt !== facts.closeAt;
    channel.facts = facts;
    if (facts.closeAt === TOMBSTONE) return this.#watcher.unwatch(channel);
    if (!asked || ![...channel.claims.values()].some((claim) => worth(claim) > 0n)) return;
    const until = new Date(facts.closeAt * 1_000).toISOString();
    this.#event(
      'info',
      `the payer of ${formatAddress(facts.voucherKey)} asked to close; withdrawal from ${until}`,
    );
  }

  async #keepHouse(): Promise<void> {
    const { claims, clients } = this.#parts;
    clients.refresh();
    for (const channel of await claims.keepOnly(clients.names)) this.#watcher.unwatch(channel);
    await this.#funds.check();
  }

  #event(level: 'info' | 'warn' | 'error', text: string): void {
    this.#parts.onEvent?.({ level, text });
  }
}

/** Seconds after a request before a tower settles: its own turn, where the operator names none. */
function graceOf(wanted: number | undefined, challengePeriod: number, address: Uint8Array): number {
  const part = Math.floor(challengePeriod / 16);
  const turn = Buffer.from(address).readUInt32BE() / 2 ** 32;
  const grace = wanted ?? part + Math.floor(part * turn);
  if (grace <= 2 * part) return grace;
  const most = `an eighth of the hub's challenge period, ${2 * part} s`;
  throw new PieceworkError('BAD_CONFIG', `the grace is ${grace} s; it may be at most ${most}`);
}

function claimView(claim: Claim): ClaimView {
  const { payee, voucherKey, facts } = claim.channel;
  return {
    payee: formatAddress(payee),
    voucherKey: formatAddress(voucherKey),
    amount: String(claim.amount),
    ...stateOf(claim),
    ...(claim.transaction === undefined ? {} : { transaction: claim.transaction }),
    ...(facts && {
      deposit: String(facts.deposit),
      settled: String(facts.settled),
      closeAt: facts.closeAt,
    }),
  };
}

function order(a: Claim, b: Claim): number {
  return (
    Buffer.compare(a.channel.payee, b.channel.payee) ||
    Buffer.compare(a.channel.voucherKey, b.channel.voucherKey)
  );
}
