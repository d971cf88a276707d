/**
 * What a tower and its clients say to each other, as the JSON of tower.md. Amounts are decimal strings of base
 * units, addresses 0x-hex, rows 152 hex digits.
 */

export interface PushRequest {
  readonly chainId: string;
  readonly hub: string;
  readonly payee: string;
  readonly rows: readonly string[];
}

export const PUSH_STATUSES = [
  'held',
  'settled',
  'bad_range',
  'bad_signature',
  'unknown_channel',
  'closed',
  'full',
  'unchecked',
] as const;

export type PushStatus = (typeof PUSH_STATUSES)[number];

export interface PushedClaim {
  readonly status: PushStatus;
  /** The recovered signer; absent where there is none. */
  readonly voucherKey?: string;
  /** What is held durably for this client and channel. */
  readonly amount: string;
}

export interface PushAnswer {
  /** Whether the tower's wallet holds what settling would cost. */
  readonly funded: boolean;
  /** In the order of the rows. */
  readonly claims: readonly PushedClaim[];
}

export type ClaimState = 'held' | 'in_flight' | 'settled' | 'skipped';

export type ClaimReason =
  | 'below_cost'
  | 'batch_below_cost'
  | 'gas_ceiling'
  | 'gas_budget'
  | 'no_funds'
  | 'closed';

export interface ClaimView {
  readonly payee: string;
  readonly voucherKey: string;
  readonly amount: string;
  readonly state: ClaimState;
  readonly reason?: ClaimReason;
  /** Hash of the last confirmed transaction that settled the claim. */
  readonly transaction?: string;
  readonly deposit?: string;
  readonly settled?: string;
  readonly closeAt?: number;
}

export interface ClaimsPage {
  readonly funded: boolean;
  readonly claims: readonly ClaimView[];
  /** The number of the next claim, absent on the last page. */
  readonly next?: number;
}

/** What the operator sees. */
export interface TowerStatus {
  readonly chainId: string;
  readonly hub: string;
  readonly address: string;
  readonly balance: string;
  /** What settling everything that is held would cost now. */
  readonly gasNeeded: string;
  readonly funded: boolean;
  readonly block: string;
  readonly clients: ReadonlyArray<{
    readonly name: string;
    readonly claims: number;
    readonly states: Readonly<Record<ClaimState, number>>;
    /** What the held rows would bring their payees. */
    readonly worth: string;
    /** Charged for transactions on the running UTC day. */
    readonly gasToday: string;
  }>;
}

/** What a tower is asked; `client` is the name behind the token. */
export interface TowerOperations {
  push(client: string, request: PushRequest): Promise<PushAnswer>;
  claims(client: string, from: number): Promise<ClaimsPage>;
  status(): Promise<TowerStatus>;
}
