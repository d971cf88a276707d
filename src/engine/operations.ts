/**
 * What people and programs can ask of an engine, as plain JSON: the command line calls it directly or through
 * a running daemon, with the same values either way. Amounts are decimal strings of base units, addresses
 * 0x-hex, times unix seconds.
 */
import type { VaultOperations } from './vaults/operations.js';

export interface ChannelView {
  readonly role: 'payer' | 'payee';
  readonly voucherKey: string;
  readonly payee: string;
  readonly phase: 'none' | 'open' | 'closing' | 'withdrawable' | 'closed';
  readonly closeAt: number;
  readonly deposit: string;
  /** The head: what the best voucher is worth. */
  readonly authorized: string;
  /** What settling now would bring or cost: covered by the deposit and not on its way. */
  readonly claimable: string;
  /** In a transaction that is signed and in no block. */
  readonly inFlight: string;
  /** In a block that may still be replaced. */
  readonly confirmed: string;
  /** Captured by the hub, as of a block that counts as final. */
  readonly settled: string;
  /** Accepted and out of reach, with the reason: claimable + inFlight + confirmed + settled + lost = authorized. */
  readonly lost: string;
  readonly lostReason: 'closed' | 'uncovered' | undefined;
  /** Why the last plan left the channel out. */
  readonly skipped: string | undefined;
  /** Payee: price of all granted pieces, and what of it was given up. */
  readonly granted: string;
  readonly writtenOff: string;
  /** Payer: price of all received pieces, and of those asked for and not yet received. */
  readonly due: string;
  readonly reserved: string;
  readonly vouchers: number;
  readonly bytes: string;
  /** Pieces; of a payee grants, of which a piece takes several where blocks are paid one by one. */
  readonly pieces: number;
}

export interface SessionView {
  readonly role: 'payer' | 'payee';
  readonly infohash: string;
  readonly voucherKey: string;
  readonly payee: string;
  readonly priceMiB: string;
  readonly bytes: string;
  /** As of a channel. */
  readonly pieces: number;
  readonly amount: string;
  readonly open: boolean;
}

export interface Check {
  readonly name: string;
  readonly left: string;
  readonly right: string;
  readonly ok: boolean;
}

export interface StatementView {
  readonly chainId: string;
  readonly hub: string;
  readonly channels: readonly ChannelView[];
  readonly sessions: readonly SessionView[];
  readonly totals: {
    readonly earned: string;
    readonly spent: string;
    readonly claimable: string;
    readonly inFlight: string;
    readonly confirmed: string;
    readonly settled: string;
    readonly lost: string;
    /** What the gas of all ended settlements cost. */
    readonly fees: string;
    readonly bytesServed: string;
    readonly bytesBought: string;
  };
  readonly checks: readonly Check[];
}

export interface TransactionView {
  readonly hash: string;
  readonly gas: string;
  readonly gasPrice: string;
  readonly fee: string;
}

export interface SettleRequest {
  /** Also closes the settled channels (all of this payee, or those named) and returns the remainders. */
  readonly close?: boolean;
  readonly voucherKeys?: readonly string[];
  /** Settles also what is worth less than its gas. */
  readonly force?: boolean;
  /** The most gas may cost, in base units. */
  readonly gasMax?: string;
  /** Says what would be done and what it would cost, without doing it. */
  readonly dryRun?: boolean;
}

/** A row of a plan: what it is expected to credit, and what brought it in. */
export interface PlannedRow {
  readonly voucherKey: string;
  readonly credit: string;
  readonly cause: 'closing' | 'aged' | 'exposed' | 'ripe' | 'forced';
}

export interface SettleReport {
  readonly transactions: readonly TransactionView[];
  readonly settled: string;
  readonly returned: string;
  readonly vouchers: number;
  readonly closed: number;
  readonly rows: readonly PlannedRow[];
  readonly skipped: ReadonlyArray<{ readonly voucherKey: string; readonly reason: string }>;
  /** What the plan is expected to need. The fee is absent where gas has no price in what is settled. */
  readonly expectedTransactions: number;
  readonly expectedGas: string;
  readonly expectedFee: string | undefined;
}

/** A settlement that was begun: `final` and `failed` are ends, the others may still change. */
export interface SettlementView {
  readonly state: 'in_flight' | 'confirmed' | 'final' | 'failed';
  readonly payee: string;
  readonly since: number;
  readonly vouchers: number;
  readonly closes: number;
  readonly hash: string | undefined;
  readonly block: string | undefined;
  readonly gas: string | undefined;
  readonly fee: string | undefined;
  /** What the chain credited. */
  readonly settled: string | undefined;
}

export interface OpenRequest {
  readonly payee: string;
  readonly deposit: string;
  readonly gasMax?: string;
}

export interface ChannelRequest {
  readonly voucherKey: string;
  readonly gasMax?: string;
}

export interface TopUpRequest extends ChannelRequest {
  readonly amount: string;
}

export interface WithdrawRequest {
  /** Where the credit goes; the wallet itself by default. */
  readonly to?: string;
  readonly gasMax?: string;
}

export interface WithdrawReport {
  readonly amount: string;
  readonly to: string;
  readonly transaction: TransactionView | undefined;
}

export interface FetchRequest {
  /** A .torrent file in base64, or a magnet link. */
  readonly torrent?: string;
  readonly magnet?: string;
  readonly folder: string;
  /** Total for this torrent, earlier runs included. Zero or absent: nothing is paid. */
  readonly budget?: string;
  readonly priceMiBMax?: string;
  /** The most that gas for opening and topping up channels may cost. */
  readonly gasMax?: string;
  /** Pays block by block where that is offered. */
  readonly payTicks?: boolean;
  /** Peers to try besides those of the tracker: host:port. */
  readonly peers?: readonly string[];
}

/** What a download says while it runs. Counts of bytes are numbers: they stay far below 2^53. */
export type FetchEvent =
  | {
      readonly event: 'metadata';
      readonly infohash: string;
      readonly name: string;
      readonly bytes: number;
      readonly pieces: number;
    }
  | { readonly event: 'checked'; readonly pieces: number }
  | { readonly event: 'gas'; readonly purpose: string; readonly feeMax: string; readonly ceiling: string }
  | {
      readonly event: 'channel';
      readonly voucherKey: string;
      readonly payee: string;
      readonly deposit: string;
      readonly opened: boolean;
      /** What opening or topping up took, if that was needed. */
      readonly transaction?: TransactionView;
    }
  | FetchProgress
  /** A payee acknowledged: it holds a durable voucher of that channel for this cumulative amount. */
  | { readonly event: 'ack'; readonly voucherKey: string; readonly authorized: string }
  | { readonly event: 'warning'; readonly text: string }
  | { readonly event: 'receipt'; readonly session: string; readonly bytes: string; readonly amount: string }
  | FetchEnd;

export interface FetchProgress {
  readonly event: 'progress';
  readonly pieces: number;
  readonly piecesTotal: number;
  readonly bytes: number;
  readonly bytesTotal: number;
  readonly bytesPerSecond: number;
  readonly peers: number;
  readonly spent: string;
  readonly budget: string;
}

export interface FetchEnd {
  readonly event: 'done';
  readonly folder: string;
  readonly bytes: number;
  readonly piecesBought: number;
  readonly bytesBought: number;
  readonly spent: string;
  readonly vouchers: number;
  /** Whether every payee acknowledged what it was owed. */
  readonly acknowledged: boolean;
}

export interface SeedRequest {
  readonly paths: readonly string[];
  readonly announce: readonly string[];
  readonly pieceLength?: number;
  readonly name?: string;
  /** An existing .torrent in base64 whose files are at `paths`. */
  readonly torrent?: string;
}

export interface SeedView {
  readonly infohash: string;
  readonly name: string;
  readonly bytes: number;
  readonly pieces: number;
  readonly pieceLength: number;
  readonly magnet: string;
  /** The .torrent file in base64. */
  readonly torrent: string;
}

export interface StatusView {
  readonly version: string;
  readonly chainId: string;
  readonly hub: string;
  readonly address: string | undefined;
  readonly payee: string | undefined;
  readonly port: number | undefined;
  readonly peers: number;
  readonly torrents: readonly SeedStatus[];
  readonly earned: string;
  readonly claimable: string;
  /** What was found wrong with chain nodes since the start, by kind. */
  readonly nodeAlarms: Readonly<Record<'silent' | 'wrong_chain' | 'stale' | 'contradiction', number>>;
  /** Towers that hold our heads. */
  readonly towers: readonly TowerView[];
}

export interface TowerView {
  /** Scheme and host. */
  readonly tower: string;
  /** Unsettled channels whose newest head it has acknowledged since the start. */
  readonly held: number;
  /** Unsettled channels whose newest head it has not acknowledged. */
  readonly unheld: number;
  /** Why nothing could be sent the last time. */
  readonly error?: string;
}

export interface SeedStatus {
  readonly infohash: string;
  readonly name: string;
  readonly peers: number;
  readonly bytesServed: number;
}

/** The one surface of an engine; `Engine` implements it, and so does the client of a daemon. */
export interface Operations {
  status(): Promise<StatusView>;
  channels(): Promise<readonly ChannelView[]>;
  channel(voucherKey: string): Promise<ChannelView>;
  open(request: OpenRequest): Promise<ChannelView & { readonly transaction: TransactionView }>;
  topUp(request: TopUpRequest): Promise<ChannelView & { readonly transaction: TransactionView }>;
  /** As payee closes at once; as payer asks for the close, or withdraws when the challenge period is over. */
  closeChannel(request: ChannelRequest): Promise<ChannelView & { readonly transaction: TransactionView }>;
  settle(request: SettleRequest): Promise<SettleReport>;
  /** Settlements under way and done, oldest first; the oldest ends are forgotten after ten thousand. */
  settlements(): Promise<readonly SettlementView[]>;
  withdraw(request: WithdrawRequest): Promise<WithdrawReport>;
  statement(): Promise<StatementView>;
  /** The second escrow: cheques of BTFS vaults, which are unsecured credit. */
  readonly vaults: VaultOperations;
  seed(request: SeedRequest): Promise<SeedView>;
  fetch(request: FetchRequest, onEvent: (event: FetchEvent) => void, signal?: AbortSignal): Promise<FetchEnd>;
}
