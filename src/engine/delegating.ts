/**
 * The box's own key: signs offers and receipts for a payee that delegated to it, so that the key that earns
 * need not stay unlocked on the serving machine. The delegation rests in the data folder.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Domain, formatAddress, parseAddress } from '../channels/channel.js';
import { type Delegation, delegationDigest } from '../channels/terms.js';
import type { Clock } from '../clock.js';
import { PieceworkError } from '../errors.js';
import { openSecret, writeDurably } from '../ledger/secrets.js';
import { call } from '../native/binding.js';
import type { Account } from '../settlement/account.js';
import { fromHex, toHex } from '../units.js';

export interface Delegate {
  readonly payee: Uint8Array;
  readonly address: Uint8Array;
  readonly delegation: Delegation;
  /** Signs a digest: 64 bytes, r ‖ vs. */
  sign(digest: Uint8Array): Uint8Array;
}

interface Stored {
  readonly chainId: string;
  readonly hub: string;
  readonly payee: string;
  readonly delegate: string;
  readonly expiry: string;
  readonly signature: string;
}

const LIFETIME_SECONDS = 365n * 86_400n;
/** A delegation with less left than this is renewed when the wallet is at hand. */
const RENEW_SECONDS = 30n * 86_400n;

/**
 * The delegate of this data folder. With `account`, a missing or ageing delegation is signed anew.
 * @throws PieceworkError WALLET_MISSING when there is no valid one and no account to sign it.
 */
export function openDelegate(
  dataDir: string,
  domain: Domain,
  account: Account | undefined,
  clock: Clock,
  random: (size: number) => Uint8Array,
): Delegate {
  const secret = openSecret(join(dataDir, 'box.key'), random);
  const address = call((addon) => addon.addressOf(secret));
  const path = join(dataDir, 'delegation.json');
  const now = clock.unixSeconds();
  let stored = read(path);
  const fits =
    stored !== undefined &&
    stored.chainId === String(domain.chainId) &&
    stored.hub === formatAddress(domain.hub) &&
    stored.delegate === formatAddress(address) &&
    (!account || stored.payee === formatAddress(account.address));
  const needed = fits ? BigInt(stored!.expiry) - now : 0n;
  if (account && needed < RENEW_SECONDS) {
    const expiry = now + LIFETIME_SECONDS;
    stored = {
      chainId: String(domain.chainId),
      hub: formatAddress(domain.hub),
      payee: formatAddress(account.address),
      delegate: formatAddress(address),
      expiry: String(expiry),
      signature: toHex(account.signDigest(delegationDigest(domain, account.address, address, expiry))),
    };
    writeDurably(path, `${JSON.stringify(stored, null, 2)}\n`);
  } else if (!fits || needed <= 0n) {
    throw new PieceworkError(
      'WALLET_MISSING',
      'selling needs the wallet once, to let this box sign offers for it',
    );
  }
  return {
    payee: parseAddress(stored!.payee),
    address,
    delegation: { expiry: BigInt(stored!.expiry), signature: fromHex(stored!.signature) },
    sign: (digest) => call((addon) => addon.signDigests(secret, digest)),
  };
}

function read(path: string): Stored | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Stored;
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code === 'ENOENT') return undefined;
    throw new PieceworkError('IO', `${path}: ${(thrown as Error).message}`, { cause: thrown });
  }
}
