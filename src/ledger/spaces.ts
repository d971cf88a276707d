/**
 * The spaces of the ledger's notes: every kind of note has one of its own, for ever (ledger.md 1).
 */
export const noteSpaces = {
  /** Transactions whose end is not known (settlement.md 1). */
  transactions: 1,
  /** Settlements under way and done (settlement.md 6). */
  settlements: 2,
  /** Since when a channel has been unsettled (settlement.md 5). */
  ages: 3,
  /** BTFS vaults: trust, cheques held, what a vault held, cheques issued (vaults.md). */
  vaultTrust: 16,
  vaultCheques: 17,
  vaultFunds: 18,
  vaultIssued: 19,
  /** A tower's claims and what its clients' gas cost (tower.md). */
  towerClaims: 32,
  towerGas: 33,
} as const;
