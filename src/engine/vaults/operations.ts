/**
 * What people and programs can ask about BTFS vaults, as plain JSON like the other operations: amounts are decimal
 * strings of base units of the token, addresses 0x-hex. Whatever is owed here is unsecured, and says so.
 */

/** What a vault owes us of one token. */
export interface VaultDebtView {
  readonly token: string;
  readonly isWbtt: boolean;
  /** The newest cheque's cumulative payout. */
  readonly cumulativePayout: string;
  /** As last read. */
  readonly paidOut: string;
  /** cumulativePayout − paidOut: unsecured credit. */
  readonly outstanding: string;
  /** The most the issuer may owe of it, over all its vaults. */
  readonly issuerLimit: string;
  /** Cheques kept, for a vault that cannot pay the newest. */
  readonly rungs: number;
}

export interface VaultView {
  readonly vault: string;
  readonly credit: 'unsecured';
  readonly issuer: string;
  /** Whom its cheques have to name: our account when it was trusted. */
  readonly beneficiary: string | undefined;
  readonly trusted: boolean;
  /** Why the issuer gets no more credit. */
  readonly frozen: string | undefined;
  /** Whether its debts count as lost. */
  readonly writtenOff: boolean;
  readonly logic: string;
  readonly logicCodeHash: string;
  readonly codeHash: string;
  readonly master: string | undefined;
  readonly masterCodeHash: string | undefined;
  readonly debts: readonly VaultDebtView[];
}

export interface VaultDetail extends VaultView {
  readonly now: {
    readonly block: string;
    /** What is not as it was pinned. */
    readonly changed: string | undefined;
    readonly funds: ReadonlyArray<{
      readonly token: string;
      readonly isWbtt: boolean;
      readonly balance: string;
      readonly paidOut: string;
      /** What the best cheque that the balance covers would bring. */
      readonly cashable: string;
    }>;
  };
  readonly issued: readonly IssuedView[];
}

export interface VaultListView {
  readonly chainId: string;
  readonly credit: 'unsecured';
  /** Over all issuers. */
  readonly totals: ReadonlyArray<{
    readonly token: string;
    readonly isWbtt: boolean;
    readonly outstanding: string;
    readonly writtenOff: string;
    readonly limit: string;
  }>;
  readonly vaults: readonly VaultView[];
}

export interface VaultRequest {
  readonly vault: string;
}

export interface TrustRequest extends VaultRequest {
  /** The issuer's limits, like `100BTT,0x…=5wei`; the configured ones where absent. */
  readonly limit?: string;
}

export interface UntrustRequest extends VaultRequest {
  /** What it owes counts as lost and no longer against the limits. */
  readonly writeOff?: boolean;
}

export interface ReceiveRequest {
  /** The cheque in the JSON of go-btfs. */
  readonly cheque: string;
}

export interface ReceivedView extends VaultDebtView {
  readonly vault: string;
  readonly issuer: string;
  readonly credit: 'unsecured';
  /** What this cheque added; 0 for one that is held already. */
  readonly raised: string;
}

export interface IssueRequest extends VaultRequest {
  readonly beneficiary: string;
  /** By how much the cumulative payout is raised. */
  readonly amount: string;
  /** WBTT where absent. */
  readonly token?: string;
}

export interface IssuedView {
  readonly vault: string;
  readonly token: string;
  readonly beneficiary: string;
  readonly cumulativePayout: string;
  /** The JSON of go-btfs, to be handed over as it is. */
  readonly cheque: string;
}

export interface CashRequest {
  /** Only this vault; all of them where absent. */
  readonly vault?: string;
  /** Also what is worth less than its gas. */
  readonly force?: boolean;
  /** Says what would be done and what it would cost, without doing it. */
  readonly dryRun?: boolean;
  /** Who gets the tokens; the wallet itself by default. */
  readonly to?: string;
  /** The most gas may cost, in base units of the chain's coin. */
  readonly gasMax?: string;
}

export interface CashedView {
  readonly vault: string;
  readonly token: string;
  readonly isWbtt: boolean;
  readonly cumulativePayout: string;
  /** What the cheque should bring. */
  readonly value: string;
  /** What the token says it brought; 0 in a dry run. */
  readonly received: string;
  /** What the gas is expected to cost, in base units of the chain's coin. */
  readonly expectedFee: string;
  readonly transaction:
    | { readonly hash: string; readonly gas: string; readonly gasPrice: string; readonly fee: string }
    | undefined;
}

export interface CashReport {
  readonly cashed: readonly CashedView[];
  readonly skipped: ReadonlyArray<{
    readonly vault: string;
    readonly token: string;
    readonly reason: string;
  }>;
}

export interface VaultOperations {
  /** Checks a vault, pins its code and lifts a freeze. */
  trust(request: TrustRequest): Promise<VaultView>;
  /** No more credit; cheques that are held stay. */
  untrust(request: UntrustRequest): Promise<VaultView>;
  list(): Promise<VaultListView>;
  /** One vault with what the chain says now, trusted or not. */
  show(vault: string): Promise<VaultDetail>;
  receive(request: ReceiveRequest): Promise<ReceivedView>;
  issue(request: IssueRequest): Promise<IssuedView>;
  cash(request: CashRequest): Promise<CashReport>;
}
