/**
 * The compiled hub as an artifact, and telling whether code on a chain is that hub: byte for byte the compiled
 * template with its immutables filled in. All of them are known beforehand but the challenge period, which the
 * deployer chose; every place of it must hold the same value, otherwise code could show one and apply another.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Address } from '../channels/channel.js';
import { from as fromThrown, PieceworkError } from '../errors.js';
import { fromHex, sameBytes, toHex } from '../units.js';

/** A place of an immutable in the runtime code, in bytes. */
export interface Place {
  readonly start: number;
  readonly length: number;
}

export interface Artifact {
  /** Creation code without constructor arguments. */
  readonly bytecode: Uint8Array;
  /** Runtime code with zeros where immutables stand. */
  readonly deployedBytecode: Uint8Array;
  /** The places of each immutable. */
  readonly immutables: Immutables;
}

/** Where the build puts the hub for the chain's own coin, and the one for an ERC-20. */
export const artifactPath = built('NativeHub');
export const tokenArtifactPath = built('TokenHub');

function built(name: string): string {
  return fileURLToPath(new URL(`../../build/contracts/${name}.json`, import.meta.url));
}

/** The hub that escrows `asset`, undefined being the chain's own coin. @throws as `readArtifact`. */
export function artifactFor(asset: Address | undefined): Promise<Artifact> {
  return readArtifact(asset === undefined ? artifactPath : tokenArtifactPath);
}
/** What the constructor fixes for ever, by its name in the contract. */
export type Immutable = Common | 'asset';
type Common = 'challengePeriod' | '_deployChainId' | '_deploySeparator';

/** The places of each; only the form for an ERC-20 has an asset. */
export type Immutables = Readonly<Record<Common, readonly Place[]> & { asset?: readonly Place[] }>;

/** What a hub must have fixed: the chain it is for, the domain of its vouchers (32 bytes), and its ERC-20. */
export interface Identity {
  readonly asset?: Address | undefined;
  readonly chainId: bigint;
  readonly domainSeparator: Uint8Array;
}

const common: readonly Common[] = ['challengePeriod', '_deployChainId', '_deploySeparator'];
const wordBytes = 32;

/**
 * Reads a compiled hub. @throws PieceworkError BAD_CONFIG when it is missing or not an artifact, IO.
 */
export async function readArtifact(path: string = artifactPath): Promise<Artifact> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code !== 'ENOENT') throw fromThrown(thrown, 'IO');
    throw new PieceworkError('BAD_CONFIG', `the compiled hub is not at ${path}; run \`npm run setup\``);
  }
  try {
    return parse(JSON.parse(text));
  } catch {
    throw new PieceworkError('BAD_CONFIG', `${path} is not a compiled contract; run \`npm run setup\``);
  }
}

/** Undefined when `code` is the hub of that identity with any challenge period, else what differs, for people. */
export function difference(code: Uint8Array, artifact: Artifact, identity: Identity): string | undefined {
  const template = artifact.deployedBytecode;
  if (code.length !== template.length) return `its code has ${code.length} bytes, not ${template.length}`;
  const shown = {} as Record<Immutable, Uint8Array>;
  for (const [name, places] of placesOf(artifact.immutables)) {
    const [first, ...others] = places.map((place) => wordAt(code, place));
    if (others.some((value) => !sameBytes(value, first!))) return 'it disagrees with itself on a constant';
    shown[name] = first!;
  }
  if (!sameBytes(code, filled(artifact, shown))) return 'its code is another';
  if (!sameBytes(shown._deployChainId, word(identity.chainId))) return 'it was made for another chain';
  if (!sameBytes(shown._deploySeparator, identity.domainSeparator)) return 'its vouchers have another domain';
  const asset = BigInt(`0x${toHex(identity.asset ?? new Uint8Array(20))}`);
  if (!sameBytes(shown.asset ?? word(0n), word(asset))) return 'it escrows another asset';
  return undefined;
}

/** The runtime code that a constructor leaves: the template with a word of 32 bytes for each immutable. */
function filled(artifact: Artifact, values: Readonly<Partial<Record<Immutable, Uint8Array>>>): Uint8Array {
  const code = artifact.deployedBytecode.slice();
  for (const [name, places] of placesOf(artifact.immutables)) {
    for (const { start } of places) code.set(values[name]!, start);
  }
  return code;
}

function placesOf(immutables: Immutables): [Immutable, readonly Place[]][] {
  return Object.entries(immutables) as [Immutable, readonly Place[]][];
}

const wordAt = (code: Uint8Array, { start }: Place): Uint8Array => code.subarray(start, start + wordBytes);

const word = (value: bigint): Uint8Array => fromHex(value.toString(16).padStart(2 * wordBytes, '0'));

function parse(value: unknown): Artifact {
  const { bytecode, deployedBytecode, immutableReferences } = value as Record<
    'bytecode' | 'deployedBytecode' | 'immutableReferences',
    unknown
  >;
  if (typeof bytecode !== 'string' || typeof deployedBytecode !== 'string') throw new TypeError('no code');
  const immutables = immutableReferences as Immutables;
  const runtime = fromHex(deployedBytecode);
  const names = Object.keys(immutables).filter((name) => name !== 'asset');
  if (!sameSet(names, common)) throw new TypeError('other constants than the hub has');
  if (placesOf(immutables).some(([, places]) => places.length === 0))
    throw new TypeError('a constant without a place');
  for (const { start, length } of Object.values(immutables).flat()) {
    if (!Number.isSafeInteger(start) || length !== wordBytes || start + length > runtime.length) {
      throw new TypeError('a place outside the code');
    }
  }
  return { bytecode: fromHex(bytecode), deployedBytecode: runtime, immutables };
}

const sameSet = (some: readonly string[], others: readonly string[]): boolean =>
  some.length === others.length && others.every((other) => some.includes(other));
