/**
 * The closed table of operation errors: one code, one sentence that says what to do, one HTTP status
 * (RFC 9457) and one exit status each. Outcomes of single records are status bytes (native/records) and
 * refusals between peers are reject codes (channels/message); neither is an exception. Callers branch on
 * `code`, never on text.
 */

interface ErrorEntry {
  readonly http: number;
  readonly exit: number;
  /** A sentence that says what happened and what to do about it. */
  readonly advice: string;
}

const entry = (http: number, exit: number, advice: string): ErrorEntry => ({ http, exit, advice });

/** Exit statuses: 1 bug, 2 usage, 3 input, 4 disk, 5 ledger, 6 chain, 7 money, 8 network, 9 wallet, 130 interrupted. */
export const ERRORS = {
  INTERNAL: entry(500, 1, 'Something inside Piecework broke; please report it with the lines above.'),
  INTERRUPTED: entry(503, 130, 'Stopped on request; run the same command again to go on.'),

  BAD_ARGUMENT: entry(400, 2, 'An argument is not valid; see --help.'),
  BAD_CONFIG: entry(500, 2, 'The configuration is not valid; correct the named setting.'),
  BAD_AMOUNT: entry(400, 2, 'Write amounts like 20BTT, 0.5BTT or 1000wei.'),
  BAD_PRICE: entry(400, 2, 'Write prices like 0.5BTT/GiB or 0.001BTT/MiB.'),
  BUDGET_REQUIRED: entry(
    400,
    2,
    'Nothing is paid without a budget; add --budget, for example --budget 20BTT.',
  ),
  NOT_FOUND: entry(404, 3, 'Nothing by that name is known here; list what there is and try again.'),

  TORRENT_CORRUPT: entry(422, 3, 'The torrent file is damaged or not a torrent; get a fresh copy of it.'),
  TORRENT_UNSAFE: entry(422, 3, 'The torrent names files outside its own folder; do not use it.'),
  TORRENT_UNSUPPORTED: entry(422, 3, 'This kind of torrent is not supported; use a v1 or hybrid torrent.'),
  TORRENT_TOO_LARGE: entry(413, 3, 'The torrent exceeds a limit; split it into smaller ones.'),
  SOURCE_CHANGED: entry(
    409,
    3,
    'The files on disk do not match the torrent; restore them or make a new torrent.',
  ),

  DISK_FULL: entry(
    507,
    4,
    'The disk is full; free some space and run the same command again, nothing is lost.',
  ),
  READ_ONLY: entry(403, 4, 'The folder cannot be written; choose another folder or change its permissions.'),
  IO: entry(500, 4, 'Reading or writing a file failed; check the disk and the permissions.'),

  LEDGER_LOCKED: entry(409, 5, 'Another process uses this ledger; stop it, or let the command talk to it.'),
  LEDGER_POISONED: entry(
    500,
    5,
    'A write to the journal failed, so this process stopped accepting; check the disk and start again.',
  ),
  LEDGER_FOREIGN: entry(
    409,
    5,
    'The ledger belongs to another chain or hub; use the data folder made for this one.',
  ),
  LEDGER_IO: entry(500, 5, 'The ledger could not be read or written; check the disk and start again.'),
  LEDGER_READ_ONLY: entry(
    403,
    5,
    'The ledger folder cannot be written; change its permissions or choose another data folder.',
  ),
  JOURNAL_CORRUPT: entry(
    500,
    5,
    'The journal is damaged at the named place; restore the folder from a copy, nothing was changed.',
  ),

  CHAIN_UNREACHABLE: entry(
    502,
    6,
    'The chain node does not answer; check --rpc and your network, then try again.',
  ),
  CHAIN_WRONG_ID: entry(409, 6, 'The node serves another chain than configured; correct --rpc or --chain.'),
  CHAIN_REJECTED: entry(502, 6, 'The chain refused the transaction; the reason is above.'),
  HUB_MISSING: entry(
    409,
    6,
    'There is no hub contract at that address; check --hub, or deploy one with `piecework chain deploy`.',
  ),
  HUB_MISMATCH: entry(
    409,
    6,
    'The contract at that address is not the hub this version knows; do not trust it.',
  ),
  VAULT_MISMATCH: entry(
    409,
    6,
    'The contract at that address is not a BTFS vault this version may trust; take no cheques of it.',
  ),
  TX_FAILED: entry(502, 6, 'The transaction was mined but failed; see its hash above.'),
  TX_TIMEOUT: entry(
    504,
    6,
    'The transaction is not mined yet; it stays stored, run the same command again to follow it.',
  ),

  INSUFFICIENT_FUNDS: entry(
    402,
    7,
    'The wallet does not hold enough for the deposit and the gas; send BTT to it.',
  ),
  GAS_CEILING: entry(
    402,
    7,
    'The gas would cost more than allowed; wait for a lower gas price or raise --max-gas.',
  ),
  BUDGET_EXHAUSTED: entry(
    402,
    7,
    'The budget is used up; what was downloaded is kept, run again with a higher --budget to go on.',
  ),
  DEPOSIT_EXHAUSTED: entry(
    402,
    7,
    'The channel has no deposit left; top it up with `piecework channel top-up`.',
  ),
  PRICE_TOO_HIGH: entry(402, 7, 'Every seller asks more than your --max-price; raise it or wait.'),
  CHANNEL_CLOSED: entry(409, 7, 'The channel is closed or closing; open a new one.'),
  CHEQUE_REFUSED: entry(
    422,
    7,
    'The cheque is not accepted, for the reason above; ask the issuer for another.',
  ),
  CREDIT_LIMIT: entry(
    402,
    7,
    'The cheque is unsecured credit beyond a limit; cash first, or raise vaultLimit and vaultIssuerLimit.',
  ),
  VAULT_UNTRUSTED: entry(
    409,
    7,
    'No cheque is taken from a vault before `piecework vault trust ADDRESS`; see docs/spec/vaults.md.',
  ),
  VAULT_FROZEN: entry(
    409,
    7,
    'The issuer gets no more credit; cash what the vault still pays, and trust it again once it is in order.',
  ),
  VAULT_SHORT: entry(402, 7, 'The vault does not hold what its cheques come to; put tokens into it first.'),
  VERIFY_FAILED: entry(500, 7, 'The books do not reconcile; keep the data folder and report this.'),

  NO_PEERS: entry(
    504,
    8,
    'No peer that has the files could be reached; check the tracker and try again later.',
  ),
  TRACKER_FAILED: entry(502, 8, 'The tracker does not answer; check its address.'),
  LISTEN_FAILED: entry(500, 8, 'The address or port cannot be listened on; choose another with --port.'),
  DAEMON_UNREACHABLE: entry(502, 8, 'The running daemon does not answer; stop it or wait for it.'),
  UNAUTHORIZED: entry(
    401,
    8,
    'The token is missing or wrong; read it from the token file in the data folder.',
  ),
  TOO_MANY_REQUESTS: entry(429, 8, 'More was asked than one client may; wait as long as the answer says.'),
  TOWER_FOREIGN: entry(409, 8, 'The tower serves another chain or hub; name a tower of your own hub.'),
  FORBIDDEN: entry(403, 8, 'This host or origin may not use the interface.'),

  WALLET_MISSING: entry(404, 9, 'There is no wallet yet; make one with `piecework wallet new`.'),
  WALLET_EXISTS: entry(409, 9, 'There is a wallet already; move it away first if you really want another.'),
  WALLET_PASSWORD: entry(401, 9, 'The wallet password is wrong; try again.'),
  WALLET_CORRUPT: entry(422, 9, 'The wallet file is damaged or not a keystore; restore it from your copy.'),
  PASSWORD_REQUIRED: entry(400, 9, 'A wallet password is needed; pass --password-file or run in a terminal.'),

  ADDON_MISSING: entry(500, 1, 'The native addon is not built; run `npm run setup`.'),
  ADDON_MISMATCH: entry(500, 1, 'The native addon is of another version; run `npm run setup`.'),
  EXECUTOR_CLOSED: entry(503, 1, 'The engine is shutting down.'),
  QUEUE_FULL: entry(503, 1, 'Too much work is waiting; try again in a moment.'),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorOptions {
  readonly cause?: unknown;
}

/** An operation failed. `message` names the particular, `advice` says what to do. */
export class PieceworkError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, detail?: string, options: ErrorOptions = {}) {
    super(detail ?? ERRORS[code].advice, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'PieceworkError';
    this.code = code;
  }

  get advice(): string {
    return ERRORS[this.code].advice;
  }

  get exitStatus(): number {
    return ERRORS[this.code].exit;
  }

  get httpStatus(): number {
    return ERRORS[this.code].http;
  }
}

/** Turns whatever was thrown into a PieceworkError; what is not one already is `fallback`. */
export function from(thrown: unknown, fallback: ErrorCode = 'INTERNAL'): PieceworkError {
  if (thrown instanceof PieceworkError) return thrown;
  const code = fileErrorCode(thrown) ?? fallback;
  return new PieceworkError(code, thrown instanceof Error ? thrown.message : String(thrown), {
    cause: thrown,
  });
}

/** The code for an error of the operating system's file calls, or undefined. */
export function fileErrorCode(thrown: unknown): ErrorCode | undefined {
  const { code, syscall } = (thrown ?? {}) as { code?: unknown; syscall?: unknown };
  // What Node says when a folder and its parents are to be made where nothing can be written.
  if (code === 'ENOENT' && syscall === 'mkdir') return 'READ_ONLY';
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'DISK_FULL';
  if (code === 'EROFS' || code === 'EACCES' || code === 'EPERM') return 'READ_ONLY';
  if (code === 'EIO' || code === 'EMFILE' || code === 'ENFILE' || code === 'ENOTDIR' || code === 'EISDIR')
    return 'IO';
  return undefined;
}
