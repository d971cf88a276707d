/**
 * The engine: the composition root. It alone knows all rooms; it opens them in order, joins them, and closes
 * them in the opposite order. Several engines may live in one process, each with its own data folder.
 */
import { randomBytes as systemRandom } from 'node:crypto';
import { join } from 'node:path';
import { type Bans, createBans } from './accounting/bans.js';
import { type ChannelFacts, parseAddress } from './channels/channel.js';
import { type Clock, systemClock } from './clock.js';
import type { Config } from './config.js';
import {
  attachPayee,
  attachPayer,
  type PayeeWire,
  type PayeeWireOptions,
  type PayerWire,
  type PayerWireOptions,
  type PaymentExtensionClass,
} from './engine/attaching.js';
import { type Buying, settleLeftovers, startBuying } from './engine/buying.js';
import { type ChainBook, createChainBook } from './engine/chain-book.js';
import { type ChainSide, openChainSide, type ReadyChain, transactionView } from './engine/chain-side.js';
import { type CloseAnswers, createCloseAnswers } from './engine/close-answers.js';
import { openDelegate } from './engine/delegating.js';
import { runDownload } from './engine/downloading.js';
import { createFunding, type Funding } from './engine/funding.js';
import type * as Ops from './engine/operations.js';
import { seedTorrent } from './engine/seeding.js';
import { type Selling, startSelling } from './engine/selling.js';
import { type SettlementService, startSettlementService } from './engine/settlement-service.js';
import { createSettling, type Settling } from './engine/settling.js';
import { createSharing } from './engine/sharing.js';
import { type ClaimOutbox, startClaimOutbox } from './engine/towers/outbox.js';
import { createVaults, type Vaults } from './engine/vaults/vaults.js';
import * as Views from './engine/views.js';
import { from, PieceworkError } from './errors.js';
import { Ages } from './ledger/ages.js';
import { Ledger } from './ledger/ledger.js';
import { openSecret } from './ledger/secrets.js';
import { Settlements } from './ledger/settlements.js';
import * as Executors from './native/executor.js';
import type { Account } from './settlement/account.js';
import { tiersOf } from './settlement/tiers.js';
import { toHex } from './units.js';
import { VERSION } from './version.js';
import * as Sessions from './wire/session.js';

export interface EngineOptions {
  readonly config: Config;
  /** The wallet; needed to open, settle, close and withdraw, and once to delegate to this box. */
  readonly account?: Account;
  /** Sell what is seeded. */
  readonly sell?: boolean;
  /** Pay for what is fetched with a budget. */
  readonly buy?: boolean;
  /** Accept connections on the configured address. */
  readonly listen?: boolean;
  /** `inline` does all native work on the calling thread: for tests. */
  readonly executor?: 'pool' | 'inline';
  readonly clock?: Clock;
  readonly randomBytes?: (size: number) => Uint8Array;
  readonly onEvent?: (event: EngineEvent) => void;
}

export interface EngineEvent {
  readonly level: 'info' | 'warn' | 'error';
  readonly text: string;
}

/** Opens an engine. @throws PieceworkError BAD_CONFIG without a hub, LEDGER_*, JOURNAL_CORRUPT, CHAIN_*, HUB_*. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const { config } = options;
  const { hub, profile } = config.chain;
  if (!hub) {
    throw new PieceworkError('BAD_CONFIG', `no hub is known for chain ${profile.name}; name one with --hub`);
  }
  const random = options.randomBytes ?? ((size) => new Uint8Array(systemRandom(size)));
  const seed = openSecret(join(config.dataDir, 'voucher.seed'), random);
  const make = options.executor === 'inline' ? Executors.inline : Executors.pool;
  const executor = make({ threads: config.daemon.threads });
  try {
    const place = { dataDir: config.dataDir, chainId: profile.chainId, hub, seed };
    const ledger = await Ledger.open(executor, place);
    const books = { ledger, settlements: await Settlements.open(ledger), ages: await Ages.open(ledger) };
    const engine = new Engine(options, random, executor, books);
    try {
      await engine.start();
      return engine;
    } catch (thrown) {
      await engine.close();
      throw thrown;
    }
  } catch (thrown) {
    await executor.close();
    throw thrown;
  }
}

/** What is durable. */
interface Books {
  readonly ledger: Ledger;
  readonly settlements: Settlements;
  readonly ages: Ages;
}

export class Engine implements Ops.Operations {
  readonly config: Config;
  readonly vaults: Vaults;
  /** Rejects when something failed that serving cannot go on without: the ledger, or the native module. */
  readonly failed: Promise<never>;
  readonly #options: EngineOptions;
  readonly #random: (size: number) => Uint8Array;
  readonly #executor: Executors.Executor;
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #bans: Bans;
  readonly #side: ChainSide;
  readonly #settlements: Settlements;
  readonly #book: ChainBook;
  readonly #funding: Funding;
  readonly #settling: Settling;
  #service: SettlementService | undefined;
  readonly #session: Sessions.Session;
  #selling: Selling | undefined;
  #closeAnswers: CloseAnswers | undefined;
  #outbox: ClaimOutbox | undefined;
  #port: number | undefined;
  #fail: (reason: unknown) => void = () => {};
  #closing: Promise<void> | undefined;
  readonly #fetches = new Set<AbortController>();
  /** One for all downloads and wires that pay: the heads of our channels, and who counts on what of them. */
  readonly #sharing = createSharing();
  /** Infohashes that are seeded or fetched now. */
  readonly #busy = new Set<string>();
  /** Infohashes that wires of others pay for in this process. */
  readonly #pursed = new Set<string>();
  readonly #running = new Set<Promise<unknown>>();

  /** Use `createEngine`. */
  constructor(
    options: EngineOptions,
    random: (size: number) => Uint8Array,
    executor: Executors.Executor,
    books: Books,
  ) {
    const { ledger } = books;
    this.config = options.config;
    this.#options = options;
    this.#random = random;
    this.#executor = executor;
    this.#ledger = ledger;
    this.#settlements = books.settlements;
    this.#clock = options.clock ?? systemClock;
    this.failed = new Promise((_, reject) => {
      this.#fail = (reason) => {
        const error = from(reason);
        this.#event('error', error.message);
        reject(error);
      };
    });
    this.failed.catch(() => undefined);
    const { chain, selling, buying, settling } = options.config;
    const tiers = tiersOf(chain.confirmations, selling.earlyConfirmations, selling.earlyCredit);
    this.#side = openChainSide(chain, chain.hub!, options.account, ledger, tiers, (text) =>
      this.#event('warn', text),
    );
    const onFacts = async (facts: ChannelFacts): Promise<void> => this.#selling?.onFacts(facts);
    this.#book = createChainBook({ side: this.#side, ledger, onFacts });
    const common = { side: this.#side, book: this.#book, clock: this.#clock };
    this.#funding = createFunding({ ...common, ledger, gasMax: buying.gasMax });
    this.#settling = createSettling({
      ...common,
      ...books,
      policy: settling.policy,
      retire: async (voucherKeys) => this.#selling?.payee.retire(voucherKeys),
      onReleased: () => this.#selling?.payee.release(),
      gasMax: settling.gasMax,
    });
    this.vaults = createVaults({
      side: this.#side,
      ledger,
      clock: this.#clock,
      config: options.config.vaults,
      gasMax: buying.gasMax,
      onEvent: (level, text) => this.#event(level, text),
    });
    this.#bans = createBans(this.#clock);
    this.#session = Sessions.open({
      clock: this.#clock,
      peerId: Sessions.makePeerId(random),
      admits: (address) => !this.#bans.isBanned(address),
    });
  }

  /** Opens what the options ask for. */
  async start(): Promise<void> {
    if (this.#options.sell) {
      this.#selling = await this.#openSelling(await this.#side.ready());
      this.#settleByItself();
      this.#outbox = startClaimOutbox({
        towers: this.config.towers,
        domain: this.#side.domain,
        ledger: this.#ledger,
        clock: this.#clock,
        onWarning: (text) => this.#event('warn', text),
      });
      this.vaults.watch();
    }
    if (!this.#options.listen) return;
    const { host, port } = this.config.daemon;
    this.#port = (await this.#session.listen({ host, port })).port;
  }

  #settleByItself(): void {
    const { auto, periodMs } = this.config.settling;
    if (!auto || !this.#options.account) return;
    this.#service = startSettlementService({
      clock: this.#clock,
      periodMs,
      settle: () => this.settle({}),
      onInfo: (text) => this.#event('info', text),
      onWarning: (text) => this.#event('warn', text),
    });
  }

  #openSelling(chain: ReadyChain): Promise<Selling> {
    const { config } = this;
    const clock = this.#clock;
    const settle = (voucherKeys: readonly string[]): Promise<Ops.SettleReport> =>
      this.settle({ voucherKeys });
    this.#closeAnswers = createCloseAnswers({
      clock,
      challengePeriod: chain.terms.challengePeriod,
      settle: this.#options.account ? settle : undefined,
      onWarning: (text) => this.#event('warn', text),
    });
    const delegate = openDelegate(
      config.dataDir,
      this.#side.domain,
      this.#options.account,
      clock,
      this.#random,
    );
    return startSelling({
      config: config.selling,
      chain,
      delegate,
      ledger: this.#ledger,
      executor: this.#executor,
      session: this.#session,
      bans: this.#bans,
      clock,
      randomBytes: this.#random,
      isRetired: this.#settling.isRetired,
      onFacts: (facts) => this.#closeAnswers?.see(facts),
      onFailure: this.#fail,
      onWarning: (text) => this.#event('warn', text),
    });
  }

  /** Port on which peers are accepted, when listening. */
  get port(): number | undefined {
    return this.#port;
  }

  async status(): Promise<Ops.StatusView> {
    const channels = await this.#ledger.channels();
    const totals = Views.claimTotals(channels, this.#settlements.underWay());
    const { account } = this.#options;
    const { chainId, hub } = this.#side.domain;
    return {
      version: VERSION,
      chainId: String(chainId),
      hub: Views.addressView(hub),
      address: account && Views.addressView(account.address),
      payee: this.#selling && Views.addressView(this.#selling.payeeAddress),
      port: this.#port,
      peers: this.#session.peers().length,
      torrents: (this.#selling?.torrents ?? []).map(({ metainfo, bytesServed }) => ({
        infohash: metainfo.infohashHex,
        name: metainfo.name,
        peers: this.#session.peers(metainfo.infohashHex).length,
        bytesServed,
      })),
      earned: String(totals.earned),
      claimable: String(totals.claimable),
      nodeAlarms: this.#side.alarms,
      towers: this.#outbox?.views(channels) ?? [],
    };
  }

  async channels(): Promise<readonly Ops.ChannelView[]> {
    return (await this.statement()).channels;
  }

  async channel(voucherKey: string): Promise<Ops.ChannelView> {
    const wanted = Views.addressView(parseAddress(voucherKey));
    const found = (await this.channels()).find((channel) => channel.voucherKey === wanted);
    if (!found) throw new PieceworkError('NOT_FOUND', `no channel with voucher key ${voucherKey}`);
    return found;
  }

  async statement(): Promise<Ops.StatementView> {
    const [channels, sessions] = await Promise.all([this.#ledger.channels(), this.#ledger.sessions()]);
    return Views.statementView(
      this.#side.domain,
      channels,
      sessions,
      this.#settlements.all,
      this.#clock.unixSeconds(),
      this.#settlementState(),
    );
  }

  open(request: Ops.OpenRequest) {
    return this.#run(this.#funding.open(request));
  }

  topUp(request: Ops.TopUpRequest) {
    return this.#run(this.#funding.topUp(request));
  }

  closeChannel(request: Ops.ChannelRequest) {
    return this.#run(this.#closeNow(request));
  }

  async #closeNow({ voucherKey, gasMax: asked }: Ops.ChannelRequest) {
    const [channel] = await this.#book.refresh([await this.#book.find(voucherKey)]);
    const payer = channel!.role === 'payer';
    const ceiling = payer ? this.config.buying.gasMax : this.config.settling.gasMax;
    const gasMax = asked === undefined ? ceiling : BigInt(asked);
    const transaction = payer
      ? transactionView(await this.#funding.close(channel!, gasMax))
      : await this.#settling.close(channel!, gasMax);
    const [closed] = await this.#book.refresh([channel!]);
    const own = Views.sessionsByChannel(await this.#ledger.sessions())(closed!);
    const view = Views.channelView(closed!, own, this.#clock.unixSeconds(), this.#settlementState());
    return { ...view, transaction };
  }

  #settlementState(): Views.SettlementState {
    return {
      underWay: this.#settlements.underWay(),
      skipReason: (voucherKey) => this.#settling.skipReason(voucherKey),
    };
  }

  async settlements(): Promise<readonly Ops.SettlementView[]> {
    return this.#settlements.all.map((record) =>
      Views.settlementView(record, this.#settlements.isMined(record.intent)),
    );
  }

  settle(request: Ops.SettleRequest): Promise<Ops.SettleReport> {
    return this.#run(this.#settling.settle(request));
  }

  withdraw(request: Ops.WithdrawRequest): Promise<Ops.WithdrawReport> {
    return this.#run(this.#settling.withdraw(request));
  }

  seed(request: Ops.SeedRequest): Promise<Ops.SeedView> {
    if (!this.#selling) throw new PieceworkError('BAD_CONFIG', 'this engine does not sell');
    return this.#run(seedTorrent(request, this.#selling, this.#executor, this.#port ?? 0, this.#busy));
  }

  async fetch(
    request: Ops.FetchRequest,
    onEvent: (event: Ops.FetchEvent) => void = () => {},
    signal?: AbortSignal,
  ): Promise<Ops.FetchEnd> {
    const stop = new AbortController();
    const abort = (): void => stop.abort();
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort, { once: true });
    this.#fetches.add(stop);
    try {
      return await this.#run(
        runDownload(request, {
          ledger: this.#ledger,
          sharing: this.#sharing,
          executor: this.#executor,
          book: this.#book,
          funding: this.#funding,
          side: this.#side,
          session: this.#session,
          bans: this.#bans,
          clock: this.#clock,
          config: this.config,
          port: this.#port ?? 0,
          onEvent,
          signal: stop.signal,
          busy: this.#busy,
        }),
      );
    } finally {
      signal?.removeEventListener('abort', abort);
      this.#fetches.delete(stop);
    }
  }

  /** Makes the payment extension for a wire that somebody else runs; see `paymentExtension`. */
  extension(options: PayeeWireOptions | PayerWireOptions): PaymentExtensionClass {
    if (options.role === 'payer')
      return attachPayer((onStanding) => this.#openPurse(options, onStanding), options);
    if (!this.#selling) throw new PieceworkError('BAD_CONFIG', 'this engine does not sell');
    return attachPayee(this.#selling, options);
  }

  async #openPurse(options: PayerWireOptions, onStanding: (standing: string) => void): Promise<Buying> {
    const { terms } = await this.#side.ready();
    const { buying } = this.config;
    // What a crash left open is settled once, before the first wire of the torrent pays.
    const torrent = toHex(options.infohash);
    if (!this.#pursed.has(torrent)) {
      this.#pursed.add(torrent);
      await settleLeftovers(this.#ledger, options.infohash, options.has ?? (() => false));
    }
    return startBuying({
      ...options,
      ledger: this.#ledger,
      sharing: this.#sharing,
      executor: this.#executor,
      book: this.#book,
      funding: this.#funding,
      domain: this.#side.domain,
      challengePeriod: terms.challengePeriod,
      clock: this.#clock,
      priceMiBMax: buying.priceMiBMax,
      gasMax: buying.gasMax,
      prepayMax: buying.prepayMax,
      payTicksFor: undefined,
      mayOpen: this.#options.account !== undefined,
      onEvent: (event) => this.#event('info', JSON.stringify(event)),
      events: {
        onStanding: (_link, standing) => onStanding(standing),
        onAck: () => {},
        onReceipt: () => {},
        onFailure: this.#fail,
        onTrouble: (reason) => this.#event('warn', from(reason).message),
      },
    });
  }

  /** Ends everything that runs, settles the books of open sessions, and releases the data folder. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  async #shutDown(): Promise<void> {
    this.#closeAnswers?.stop();
    this.#service?.stop();
    await this.#outbox?.stop();
    for (const fetch of this.#fetches) fetch.abort();
    await this.#side.stopSending();
    const vaultsEnd = this.vaults.stop();
    await Promise.allSettled(this.#running);
    await this.#selling?.close();
    await this.#session.close();
    await this.#side.close();
    await vaultsEnd;
    await this.#ledger
      .close()
      .catch((thrown) => this.#event('error', `closing the ledger: ${from(thrown).message}`));
    await this.#executor.close();
  }

  #run<Result>(work: Promise<Result>): Promise<Result> {
    this.#running.add(work);
    const done = (): void => void this.#running.delete(work);
    work.then(done, done);
    return work;
  }

  #event(level: EngineEvent['level'], text: string): void {
    this.#options.onEvent?.({ level, text });
  }
}

/**
 * The pw_pay extension for one bittorrent-protocol wire that the caller runs: `wire.use(paymentExtension(engine,
 * {…}))`. The wire then has `pw_pay`, with `admit` and `sent` for a payee, `reserve` and `received` for a payer.
 * @throws PieceworkError BAD_CONFIG when the engine does not sell and the role is payee.
 */
export function paymentExtension(engine: Engine, options: PayeeWireOptions): PaymentExtensionClass<PayeeWire>;
export function paymentExtension(engine: Engine, options: PayerWireOptions): PaymentExtensionClass<PayerWire>;
export function paymentExtension(
  engine: Engine,
  options: PayeeWireOptions | PayerWireOptions,
): PaymentExtensionClass {
  return engine.extension(options);
}
