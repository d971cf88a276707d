/**
 * What crosses the native boundary, as TypeScript sees it: statuses, commands, outcomes and the rows of the tables.
 * How they become bytes is `records.ts`.
 */

/** The statuses of `docs/spec/ledger.md` 2, at the index of their number. */
export const STATUSES = [
  'ok',
  'bad_range',
  'bad_signature',
  'unknown_channel',
  'unknown_session',
  'closed',
  'wrong_role',
  'duplicate',
  'closing',
  'no_space',
  'exceeds_deposit',
  'exceeds_window',
  'not_increasing',
  'below_step',
  'exceeds_granted',
  'unverified',
  'exceeds_budget',
  'unknown_piece',
  'overflow',
  'too_long',
  'malformed',
] as const;

export type Status = (typeof STATUSES)[number];
export type Role = 'payee' | 'payer';

/** What the ledger is asked to do; `docs/spec/ledger.md` 2 says when it is allowed. */
export type Command =
  | {
      readonly kind: 'channel_put';
      readonly role: Role;
      readonly voucherKey: Uint8Array;
      readonly payee: Uint8Array;
      readonly deposit: bigint;
      readonly settled: bigint;
      readonly closeAt: number;
      readonly block: number;
      /** Where the voucher key comes from the seed; only for a payer. */
      readonly keyIndex?: number;
    }
  | {
      readonly kind: 'session_open';
      readonly channel: number;
      readonly sessionId: Uint8Array;
      readonly infohash: Uint8Array;
      readonly priceMiB: bigint;
      readonly minimumStep: bigint;
      readonly prepay: bigint;
    }
  | { readonly kind: 'session_close'; readonly session: number; readonly deliveredBytes: number }
  | {
      readonly kind: 'grant';
      readonly session: number;
      readonly bytes: number;
      readonly exposureLimit: bigint;
    }
  | {
      readonly kind: 'voucher';
      readonly session: number;
      readonly row: Uint8Array;
      readonly final: boolean;
      readonly verified: boolean;
    }
  | { readonly kind: 'write_off'; readonly session: number; readonly amount: bigint }
  | { readonly kind: 'budget'; readonly infohash: Uint8Array; readonly limit: bigint }
  | { readonly kind: 'purchase'; readonly session: number; readonly piece: number; readonly bytes: number }
  | { readonly kind: 'abandon'; readonly session: number; readonly piece: number }
  | {
      readonly kind: 'pay';
      readonly session: number;
      readonly piece: number;
      readonly bytes: number;
      readonly advance: bigint;
    }
  | { readonly kind: 'sign'; readonly session: number; readonly advance: bigint }
  | { readonly kind: 'adopt'; readonly channel: number; readonly row: Uint8Array }
  | {
      readonly kind: 'note';
      readonly space: number;
      readonly key: Uint8Array;
      /** Absent to erase. */
      readonly value?: Uint8Array;
    }
  | TickCommand;

/** The commands about ticks: `docs/spec/ticks.md` 7. */
export type TickCommand =
  | {
      readonly kind: 'tick_voucher';
      readonly session: number;
      /** 124 bytes. */
      readonly row: Uint8Array;
      readonly verified: boolean;
    }
  | {
      readonly kind: 'tick';
      readonly session: number;
      readonly count: number;
      /** 32 bytes. */
      readonly tick: Uint8Array;
    }
  | {
      readonly kind: 'open_chain';
      readonly session: number;
      /** Base units a tick. */
      readonly unit: bigint;
      readonly length: number;
    }
  | { readonly kind: 'reveal'; readonly session: number; readonly count: number; readonly advance: bigint }
  | { readonly kind: 'receive'; readonly session: number; readonly piece: number; readonly bytes: number }
  | { readonly kind: 'adopt_ticks'; readonly channel: number; readonly row: Uint8Array };

/** The amounts of a channel that an outcome publishes. */
export interface ChannelAmounts {
  readonly authorized: bigint;
  readonly granted: bigint;
  readonly writtenOff: bigint;
  readonly deposit: bigint;
  readonly due: bigint;
  readonly reserved: bigint;
  readonly unpaid: bigint;
}

/** What became of a command, and its channel as it is after the whole batch. */
export interface Outcome extends ChannelAmounts {
  readonly status: Status;
  readonly channel: number | undefined;
  readonly session: number | undefined;
  /** The row that the batch signed for the channel, if it signed one. */
  readonly row: Uint8Array | undefined;
  /** The channel's tick row, if the batch set or advanced its chain and did not end it. */
  readonly tickRow: Uint8Array | undefined;
}

export interface ChannelRecord extends ChannelAmounts {
  readonly index: number;
  readonly role: Role;
  readonly voucherKey: Uint8Array;
  readonly payee: Uint8Array;
  readonly keyIndex: number;
  readonly settled: bigint;
  readonly closeAt: number;
  readonly block: number;
  readonly voucherCount: number;
  /**
   * The plain head; all zero without. It claims what is authorized, unless there is a tick row: that is newer and
   * claims at least as much.
   */
  readonly row: Uint8Array;
  /** The current chain with its newest tick, if there is one: it claims what is authorized. */
  readonly tickRow: Uint8Array | undefined;
}

export interface SessionRecord {
  readonly index: number;
  readonly channel: number;
  readonly sessionId: Uint8Array;
  readonly infohash: Uint8Array;
  readonly pieceCount: number;
  readonly closed: boolean;
  readonly bytes: number;
  readonly outstandingBytes: number;
  readonly deliveredBytes: number;
  readonly priceMiB: bigint;
  readonly minimumStep: bigint;
  readonly prepay: bigint;
  /** The price of `bytes`. */
  readonly owed: bigint;
  /** The price of the outstanding pieces. */
  readonly reserved: bigint;
}

export interface OutstandingRecord {
  readonly session: number;
  readonly piece: number;
  readonly bytes: number;
  readonly infohash: Uint8Array;
}

export interface BudgetRecord {
  readonly infohash: Uint8Array;
  readonly limit: bigint;
  readonly spent: bigint;
  readonly reserved: bigint;
}

export interface NoteRecord {
  readonly space: number;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Counts and sums over the whole ledger. */
export interface Summary {
  readonly sequence: number;
  readonly channelCount: number;
  readonly payerChannelCount: number;
  readonly sessionCount: number;
  readonly openSessionCount: number;
  readonly outstandingCount: number;
  readonly budgetCount: number;
  readonly noteCount: number;
  readonly lowSpace: boolean;
  readonly payeeDeposit: bigint;
  readonly payeeSettled: bigint;
  readonly payeeAuthorized: bigint;
  readonly granted: bigint;
  readonly writtenOff: bigint;
  readonly unpaid: bigint;
  readonly payerDeposit: bigint;
  readonly payerSettled: bigint;
  readonly payerAuthorized: bigint;
  readonly due: bigint;
  readonly reserved: bigint;
  readonly spent: bigint;
  /** One more than the greatest key index of a payer's channel; 0 if there is none. */
  readonly nextKeyIndex: number;
}

/** A voucher with the channel it claims, to be verified. */
export interface VoucherClaim {
  readonly voucherKey: Uint8Array;
  readonly payee: Uint8Array;
  readonly row: Uint8Array;
}

/** A value of a hash chain that claims to lead to the one before it in so many steps, at least one. */
export interface TickStep {
  readonly previous: Uint8Array;
  readonly value: Uint8Array;
  readonly steps: number;
}

/** A tick voucher, with its newest tick, and the channel it claims, to be verified. */
export interface TickClaim {
  readonly voucherKey: Uint8Array;
  readonly payee: Uint8Array;
  /** 124 bytes. */
  readonly row: Uint8Array;
}

/** A compact signature `r ‖ vs` and the digest it signs. */
export interface RecoveryClaim {
  readonly digest: Uint8Array;
  readonly signature: Uint8Array;
}

export interface Recovered {
  readonly status: Status;
  /** The signer; zero unless the status is `ok`. */
  readonly address: Uint8Array;
}
