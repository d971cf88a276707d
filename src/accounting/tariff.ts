/**
 * Prices: what a number of bytes costs. The cumulative count is priced and rounded once, upward
 * (ledger.md 1); the ledger computes what is booked, these functions what is expected.
 */
const MIB_SHIFT = 20n;

/** ceil(priceMiB × bytes / 2^20), in base units. */
export function price(priceMiB: bigint, bytes: bigint): bigint {
  return (priceMiB * bytes + ((1n << MIB_SHIFT) - 1n)) >> MIB_SHIFT;
}

/** What `more` bytes cost after `before` bytes of the same session. */
export function priceStep(priceMiB: bigint, before: bigint, more: bigint): bigint {
  return price(priceMiB, before + more) - price(priceMiB, before);
}

/** How many bytes `amount` buys, at most; for showing windows and limits. */
export function bytesFor(priceMiB: bigint, amount: bigint): bigint {
  return priceMiB === 0n ? (1n << 63n) - 1n : (amount << MIB_SHIFT) / priceMiB;
}

/** How many bytes `amount` buys after `before` bytes of the same session, at most: exact, as they are booked. */
export function bytesWithin(priceMiB: bigint, before: bigint, amount: bigint): number {
  if (amount < 0n) return 0;
  const bytes = bytesFor(priceMiB, price(priceMiB, before) + amount) - before;
  return bytes > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(bytes);
}
