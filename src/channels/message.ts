/**
 * The messages of pw_pay as values (wire.md 2). Their bytes are wire/messages' business, what they mean
 * accounting's.
 */
import type { Accept, Offer, Receipt } from './terms.js';

export type Message =
  | { readonly type: 'offer'; readonly offer: Offer; readonly signature: Uint8Array }
  | { readonly type: 'accept'; readonly accept: Accept; readonly signature: Uint8Array }
  | { readonly type: 'voucher'; readonly final: boolean; readonly row: Uint8Array }
  | ({ readonly type: 'ack' } & Ack)
  | { readonly type: 'state'; readonly role: Role; readonly row: Uint8Array; readonly deposit: bigint }
  | {
      readonly type: 'reject';
      readonly refused: MessageType;
      readonly code: RejectCode;
      readonly detail: string;
    }
  | { readonly type: 'receipt'; readonly receipt: Receipt; readonly signature: Uint8Array }
  | { readonly type: 'bid'; readonly priceMiB: bigint; readonly validUntil: bigint }
  | { readonly type: 'tick_voucher'; readonly row: Uint8Array }
  | { readonly type: 'tick'; readonly count: number; readonly tick: Uint8Array };

export type MessageType =
  | 'offer'
  | 'accept'
  | 'voucher'
  | 'ack'
  | 'state'
  | 'reject'
  | 'receipt'
  | 'bid'
  | 'tick_voucher'
  | 'tick'
  | 'unknown';
export type Role = 'payee' | 'payer';

/** What a payee holds durably for a channel, and how much it lets itself be owed now. */
export interface Ack {
  readonly authorized: bigint;
  readonly granted: bigint;
  readonly delivered: bigint;
  readonly deposit: bigint;
  readonly windowBytes: bigint;
}

/** wire.md 8. */
export const REJECT_CODES = {
  malformed: 1,
  unsupported_version: 2,
  unsupported_type: 3,
  rate_limited: 4,
  no_session: 5,
  bad_nonce: 6,
  expired: 7,
  unknown_channel: 8,
  bad_proof: 9,
  duplicate: 10,
  below_step: 11,
  exceeds_deposit: 12,
  exceeds_granted: 13,
  bad_signature: 14,
  banned: 15,
  deposit_exhausted: 16,
  channel_closing: 17,
  price_too_high: 18,
  wrong_escrow: 19,
  budget_exhausted: 20,
  exposure_too_small: 21,
  unavailable: 22,
} as const;

export type RejectCode = keyof typeof REJECT_CODES;
