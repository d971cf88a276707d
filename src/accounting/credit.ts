/**
 * How much a payee lets a channel owe it (wire.md 4): pure decisions on base units. The window starts at one
 * piece, doubles while the channel pays, and falls back to its beginning on a default. The ledger enforces the
 * limit that is computed here.
 *
 * A grant needs unpaid + p ≤ max(W, S + p), so a stalled channel owes more than the minimum step S: its payer
 * can always send a voucher. What was paid ahead of a lost piece stays unpaid, so a window that has earned it has room
 * for that too. test/property/credit-model and test/property/trade show that nobody waits.
 */

export interface CreditTerms {
  /** The most a channel may owe, in base units. */
  readonly exposureMax: bigint;
  /** The price of windowBytes, in base units: what keeps the link full. */
  readonly windowMax: bigint;
  readonly minStep: bigint;
}

export interface Credit {
  /** W: what may be granted and unpaid. */
  readonly window: bigint;
  /** What was given up because the payer stopped paying. */
  readonly defaulted: bigint;
}

/** More would take any window past any limit: amounts have 96 bits. */
const DOUBLINGS_MAX = 96n;

/** A stranger's credit: one piece. */
export function initial(piecePrice: bigint): Credit {
  return { window: piecePrice, defaulted: 0n };
}

/** Whether a torrent with pieces of this price can be sold under the limit at all. */
export function canSell(terms: CreditTerms, piecePrice: bigint): boolean {
  return terms.exposureMax >= terms.minStep + piecePrice;
}

/**
 * The most that may be unpaid after granting a piece of this price. What was lost before counts against the
 * limit, so that a channel can never cost more than the exposure in all.
 */
export function unpaidMax(credit: Credit, terms: CreditTerms, piecePrice: bigint): bigint {
  return min(terms.exposureMax - credit.defaulted, max(credit.window, terms.minStep + piecePrice));
}

/**
 * Credit after an accepted voucher that raised the head by `paid`. One that pays several pieces earns what a voucher
 * for each of them would have; less than a piece earns nothing. The window grows up to `full` at least: a piece, what may
 * be paid ahead, and a step. What was paid ahead of a piece that was lost pays the payer's next one, so it stays unpaid here.
 */
export function afterVoucher(
  credit: Credit,
  terms: CreditTerms,
  { piece: piecePrice, full }: { readonly piece: bigint; readonly full: bigint },
  paid: bigint,
): Credit {
  if (paid < piecePrice) return credit;
  const limit = max(full, min(terms.exposureMax, terms.windowMax));
  const pieces = piecePrice === 0n ? 1n : min(paid / piecePrice, DOUBLINGS_MAX);
  return { ...credit, window: min(limit, credit.window << pieces) };
}

/**
 * Credit after the head rose by `paid` to `head` where credit is counted in blocks (ticks.md 6): as much more may be owed
 * as was paid, up to `full` at least, and never less than what a channel that is met again begins with.
 */
export function afterTicks(
  credit: Credit,
  terms: CreditTerms,
  { block, full }: { readonly block: bigint; readonly full: bigint },
  paid: bigint,
  head: bigint,
): Credit {
  const limit = max(full, min(terms.exposureMax, terms.windowMax));
  const earned = max(min(limit, credit.window + paid), blockWindow(block, full, head));
  return { ...credit, window: max(credit.window, earned) };
}

/** Whether the window has grown to its limit. */
export function isFull(credit: Credit, terms: CreditTerms): boolean {
  return credit.window >= min(terms.exposureMax, terms.windowMax);
}

/** Credit after `amount` was written off because the payer stopped paying: the first window again. */
export function afterDefault(credit: Credit, window: bigint, amount: bigint): Credit {
  return { window, defaulted: credit.defaulted + amount };
}

/** Whether a channel has lost us so much that not even one piece fits the limit. */
export function isBad(credit: Credit, terms: CreditTerms, piecePrice: bigint): boolean {
  return terms.exposureMax - credit.defaulted < terms.minStep + piecePrice;
}

/**
 * The credit of a channel that is met again: what was written off before is remembered, as far as it leaves
 * room for one piece, since not all of it was a default.
 */
export function remembered(
  terms: CreditTerms,
  piecePrice: bigint,
  writtenOff: bigint,
  window = piecePrice,
): Credit {
  const room = terms.exposureMax - terms.minStep - piecePrice;
  return { window, defaulted: max(0n, min(writtenOff, room)) };
}

/**
 * The first window where credit is counted in blocks: a block for a stranger; for who has paid before as much as that and
 * two blocks, up to `full`. A payer whose connection ended in the middle of a piece is ahead by no more than it has paid,
 * keeps less than a block back because that is less than a tick, and fetches the next one.
 */
export function blockWindow(blockPrice: bigint, full: bigint, paid: bigint): bigint {
  return paid === 0n ? blockPrice : min(full, paid + 2n * blockPrice);
}

/** What a payee lets be paid ahead by ticks: a piece, or what leaves room for two blocks under the limit. */
export function prepayByTicks(terms: CreditTerms, blockPrice: bigint, piecePrice: bigint): bigint {
  return max(0n, min(piecePrice, terms.exposureMax - terms.minStep - 2n * blockPrice));
}

/**
 * Whether a piece can be fetched to its end where credit is counted in blocks, even if all of the prepay was lost with an
 * earlier connection.
 */
export function canFetch(blockPrice: bigint, piecePrice: bigint, prepay: bigint): boolean {
  return prepay + blockPrice >= piecePrice;
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
