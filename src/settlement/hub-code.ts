/**
 * The compiled hub as an artifact, and telling whether code on a chain is that hub. Immutables are the only
 * bytes that may differ, and every place that holds the same one must hold the same value: otherwise code
 * could show one challenge period and apply another.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Address } from '../channels/channel.js';
import { from as fromThrown, PieceworkError } from '../errors.js';
import { fromHex, sameBytes } from '../units.js';

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
  readonly immutables: readonly (readonly Place[])[];
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

/** Undefined when `code` is the artifact's runtime code, else what differs, for people. */
export function difference(code: Uint8Array, artifact: Artifact): string | undefined {
  const template = artifact.deployedBytecode;
  if (code.length !== template.length) return `its code has ${code.length} bytes, not ${template.length}`;
  const masked = code.slice();
  for (const places of artifact.immutables) {
    const values = places.map(({ start, length }) => code.subarray(start, start + length));
    if (values.some((value) => !sameBytes(value, values[0]!)))
      return 'it disagrees with itself on a constant';
    for (const { start, length } of places) masked.fill(0, start, start + length);
  }
  return sameBytes(masked, template) ? undefined : 'its code is another';
}

function parse(value: unknown): Artifact {
  const { bytecode, deployedBytecode, immutableReferences } = value as Record<
    'bytecode' | 'deployedBytecode' | 'immutableReferences',
    unknown
  >;
  if (typeof bytecode !== 'string' || typeof deployedBytecode !== 'string') throw new TypeError('no code');
  const immutables = Object.values(immutableReferences as Record<string, Place[]>);
  const runtime = fromHex(deployedBytecode);
  for (const { start, length } of immutables.flat()) {
    if (!Number.isSafeInteger(start) || length !== 32 || start + length > runtime.length) {
      throw new TypeError('a place outside the code');
    }
  }
  return { bytecode: fromHex(bytecode), deployedBytecode: runtime, immutables };
}
