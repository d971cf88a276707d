/**
 * The peers from `bench/package.json`, as far as the benches use them. They are loaded by name at run time and
 * described here, so that the product's checks and our own benches work where they are not installed.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

type Hex = `0x${string}`;

export interface TypedData {
  readonly domain: {
    readonly name: string;
    readonly version: string;
    readonly chainId: number;
    readonly verifyingContract: Hex;
  };
  readonly types: Readonly<Record<string, ReadonlyArray<{ readonly name: string; readonly type: string }>>>;
  readonly primaryType: string;
  readonly message: Readonly<Record<string, unknown>>;
}

export interface Viem {
  verifyTypedData(data: TypedData & { readonly address: Hex; readonly signature: Hex }): Promise<boolean>;
  recoverAddress(options: { readonly hash: Hex; readonly signature: Hex }): Promise<Hex>;
}

/** npm `secp256k1`: bindings to libsecp256k1. */
export interface Secp256k1 {
  publicKeyCreate(secret: Uint8Array, compressed: boolean): Uint8Array;
  ecdsaVerify(signature: Uint8Array, digest: Uint8Array, publicKey: Uint8Array): boolean;
  ecdsaRecover(signature: Uint8Array, recovery: number, digest: Uint8Array, compressed: boolean): Uint8Array;
}

export interface Mppx {
  /** The escrow address that mppx knows a shorter way for. */
  readonly escrow: Hex;
  verifyVoucher(
    escrow: Hex,
    chainId: number,
    voucher: { readonly channelId: Hex; readonly cumulativeAmount: bigint; readonly signature: Hex },
    expectedSigner: Hex,
  ): boolean;
}

export interface SqliteStatement {
  run(...values: readonly unknown[]): unknown;
  get(...values: readonly unknown[]): unknown;
}

export interface SqliteDatabase {
  pragma(source: string): unknown;
  exec(source: string): unknown;
  prepare(source: string): SqliteStatement;
  transaction<Arguments extends unknown[]>(
    work: (...values: Arguments) => void,
  ): (...values: Arguments) => void;
  close(): void;
}

export interface Peers {
  readonly viem: Viem;
  readonly secp256k1: Secp256k1;
  readonly mppx: Mppx;
  readonly openSqlite: (path: string) => SqliteDatabase;
  /** Names with versions, as installed. */
  readonly versions: readonly string[];
}

interface MppxModule {
  readonly Session: {
    readonly Precompile: {
      readonly Constants: { readonly tip20ChannelEscrow: Hex };
      readonly Voucher: { readonly verifyVoucher: Mppx['verifyVoucher'] };
    };
  };
}

const NAMES = ['viem', 'secp256k1', 'mppx', 'better-sqlite3'];
const modules = new URL('../node_modules/', import.meta.url);

/** The peers; undefined where they are not installed. */
export async function load(): Promise<Peers | undefined> {
  if (!NAMES.every((name) => existsSync(new URL(`${name}/package.json`, modules)))) return undefined;
  const { Session } = await from<MppxModule>('mppx/tempo');
  const sqlite = await from<{ default: new (path: string) => SqliteDatabase }>('better-sqlite3');
  // The package's main file falls back to JavaScript in silence; its bindings are the peer to beat.
  const secp256k1 = await from<{ default: Secp256k1 }>('secp256k1/bindings.js');
  return {
    viem: await from<Viem>('viem'),
    secp256k1: secp256k1.default,
    mppx: {
      escrow: Session.Precompile.Constants.tip20ChannelEscrow,
      verifyVoucher: Session.Precompile.Voucher.verifyVoucher,
    },
    openSqlite: (path) => new sqlite.default(path),
    versions: NAMES.map((name) => `${name} ${versionOf(new URL(`${name}/package.json`, modules))}`),
  };
}

/** The version in a package file. */
export function versionOf(file: URL): string {
  return (JSON.parse(readFileSync(fileURLToPath(file), 'utf8')) as { version: string }).version;
}

async function from<Module>(name: string): Promise<Module> {
  return (await import(name)) as Module;
}
