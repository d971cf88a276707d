/**
 * What is known of each chain before it is asked: ids, default nodes, how deep a block must lie before it
 * counts, what gas is paid in and what the hub escrows. Profiles are files: those in `profiles/`, or one an
 * operator writes. Invariant: a profile was checked field by field when it was read; a field that is missing,
 * misspelt or out of range is BAD_CONFIG with its name. Every transaction is a legacy one with EIP-155 replay
 * protection, which all chains of this family accept.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, isAbsolute, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Address, parseAddress } from '../channels/channel.js';
import { PieceworkError } from '../errors.js';

export interface Profile {
  readonly name: string;
  /** EIP-155. */
  readonly chainId: bigint;
  /** Hash of block 0, compared on connecting where it is known. */
  readonly genesisHash: string | undefined;
  /** Nodes asked, in order of preference. */
  readonly rpcUrls: readonly string[];
  /** Blocks, the one that holds a fact included, after which the fact counts. At least 1. */
  readonly confirmations: number;
  readonly blockTimeMs: number;
  /**
   * The shortest challenge period, in seconds, of a hub that is trusted here: a close request must be seen
   * at the confirmed block and answered with time to spare.
   */
  readonly challengePeriodMin: number;
  /** What gas is paid in; where it is not BTT, its price is the operator's to set (`gas-rate`). */
  readonly coin: string;
  /** Base units of the coin per unit of gas below which nodes of this chain do not relay. */
  readonly gasPriceFloor: bigint;
  /** The ERC-20 that the hub escrows; undefined where it escrows the chain's own coin. */
  readonly asset: Address | undefined;
  /** The hub deployed on this chain; undefined where none is known. */
  readonly hub: Address | undefined;
  /** keccak256 of that hub's runtime code, 0x-prefixed, where it is known. */
  readonly hubCodeHash: string | undefined;
}

const folder = fileURLToPath(new URL('../../profiles/', import.meta.url));

/** Names of the profiles that come with this version. */
export function names(): readonly string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .map((file) => basename(file, '.json'))
    .sort();
}

/**
 * The profile of that name, or the one in that file: what ends in `.json` or holds a slash is a path.
 * @throws PieceworkError BAD_CONFIG where there is none or it is not one.
 */
export function named(name: string): Profile {
  if (name.endsWith('.json') || name.includes('/') || name.includes(sep) || isAbsolute(name)) {
    return load(name);
  }
  if (names().includes(name)) return load(join(folder, `${name}.json`));
  const known = names().join(', ');
  throw new PieceworkError(
    'BAD_CONFIG',
    `there is no chain "${name}"; choose one of ${known}, or name a profile file`,
  );
}

/** @throws PieceworkError BAD_CONFIG naming the file and the field. */
export function load(path: string): Profile {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (thrown) {
    const { code, message } = thrown as { code?: string; message: string };
    const why = code === 'ENOENT' ? 'does not exist' : `is not JSON: ${message}`;
    throw new PieceworkError('BAD_CONFIG', `the profile ${path} ${why}`, { cause: thrown });
  }
  return parse(value, path);
}

type Field =
  | 'name'
  | 'chainId'
  | 'genesisHash'
  | 'rpcUrls'
  | 'confirmations'
  | 'blockTimeMs'
  | 'challengePeriodMin'
  | 'coin'
  | 'gasPriceFloor'
  | 'asset'
  | 'hub'
  | 'hubCodeHash';

/** Reads a profile from parsed JSON; `source` names it in errors. @throws PieceworkError BAD_CONFIG. */
export function parse(value: unknown, source: string): Profile {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new PieceworkError('BAD_CONFIG', `the profile ${source} does not hold one object`);
  }
  const fields = value as Readonly<Record<string, unknown>>;
  const unread = new Set(Object.keys(fields));
  const wrong = (name: string, rule: string): PieceworkError =>
    new PieceworkError('BAD_CONFIG', `the profile ${source}: ${name} must be ${rule}`);

  function take<T>(name: Field, rule: string, read: (value: unknown) => T | undefined): T {
    unread.delete(name);
    const found = read(fields[name]);
    if (found === undefined) throw wrong(name, rule);
    return found;
  }
  const orNull = <T>(name: Field, rule: string, read: (value: unknown) => T | undefined): T | undefined =>
    take(name, `${rule}, or null`, (field) => (field === null ? [] : wrap(read(field))))[0];
  const whole = (name: Field, least: number, most: number): number =>
    take(name, `a whole number from ${least} to ${most}`, (field) =>
      typeof field === 'number' && Number.isInteger(field) && field >= least && field <= most
        ? field
        : undefined,
    );
  const decimal = (name: Field): bigint =>
    take(name, 'a whole number in quotes', (field) =>
      typeof field === 'string' && /^\d{1,40}$/.test(field) ? BigInt(field) : undefined,
    );

  const profile: Profile = {
    name: take('name', 'a word', (field) => word(field, /^[a-z][a-z0-9-]{0,31}$/)),
    chainId: decimal('chainId'),
    genesisHash: orNull('genesisHash', 'a hash', hash),
    rpcUrls: take('rpcUrls', 'a list of at least one http or https address', urls),
    confirmations: whole('confirmations', 1, 10_000),
    blockTimeMs: whole('blockTimeMs', 1, 3_600_000),
    challengePeriodMin: whole('challengePeriodMin', 1, 31_536_000),
    coin: take('coin', 'the symbol of a coin', (field) => word(field, /^[A-Z][A-Z0-9]{0,11}$/)),
    gasPriceFloor: decimal('gasPriceFloor'),
    asset: orNull('asset', 'an address', address),
    hub: orNull('hub', 'an address', address),
    hubCodeHash: orNull('hubCodeHash', 'a hash', hash),
  };
  for (const name of unread) {
    throw new PieceworkError('BAD_CONFIG', `the profile ${source}: there is no field "${name}"`);
  }
  return profile;
}

function wrap<T>(value: T | undefined): T[] | undefined {
  return value === undefined ? undefined : [value];
}

function word(value: unknown, form: RegExp): string | undefined {
  return typeof value === 'string' && form.test(value) ? value : undefined;
}

function hash(value: unknown): string | undefined {
  return word(value, /^0x[0-9a-f]{64}$/);
}

function address(value: unknown): Address | undefined {
  const text = word(value, /^0x[0-9a-fA-F]{40}$/);
  return text === undefined || BigInt(text) === 0n ? undefined : parseAddress(text);
}

function urls(value: unknown): readonly string[] | undefined {
  if (!Array.isArray(value) || value.length === 0) return undefined;
  const fits = value.every(
    (text) => typeof text === 'string' && /^https?:\/\//.test(text) && URL.canParse(text),
  );
  return fits ? (value as string[]) : undefined;
}
