/**
 * The wallet file: one account key in a version 3 keystore (scrypt, AES-128-CTR), readable by its owner
 * only. Writing never replaces a file. The key is handed out only inside an account, and neither it, nor a
 * mnemonic, nor a password appears in an error.
 */
import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, rename, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { decryptKeystoreJson, encryptKeystoreJson, getBytes, HDNodeWallet, hexlify, Mnemonic } from 'ethers';
import { type Address, parseAddress } from '../channels/channel.js';
import { fileErrorCode, PieceworkError } from '../errors.js';
import { Account } from './account.js';

export interface WalletOptions {
  /** The work factor of scrypt, a power of two. 131,072 takes about a second and 128 MiB. */
  readonly scryptN?: number;
  /** Where a new key comes from; the system's generator where none is given. */
  readonly random?: (size: number) => Uint8Array;
}

const SCRYPT_N = 131_072;
const PRIVATE_KEY = /^(0x)?[0-9a-fA-F]{64}$/;
const MNEMONIC_PATH = "m/44'/60'/0'/0/0";
const walletBytesMax = 64 * 1024;
/** Bounds on what a foreign keystore may ask of this machine. */
const scryptBytesMax = 1024 * 1024 * 1024;
const scryptLanesMax = 16;
const pbkdf2RoundsMax = 10_000_000;

/** Makes a new key and its file. @throws PieceworkError WALLET_EXISTS, DISK_FULL, READ_ONLY, IO. */
export async function create(path: string, password: string, options: WalletOptions = {}): Promise<Account> {
  await refuseExisting(path);
  const random = options.random ?? randomBytes;
  return write(path, random(32), password, options);
}

/**
 * Makes a file from a key somebody has: a private key in hex, a mnemonic (first account, m/44'/60'/0'/0/0)
 * or a keystore, which needs its own `sourcePassword`.
 * @throws PieceworkError BAD_ARGUMENT when it is none of them, WALLET_PASSWORD for a wrong `sourcePassword`,
 * WALLET_CORRUPT, and as `create`.
 */
export async function importKey(
  path: string,
  secret: string,
  password: string,
  options: WalletOptions & { readonly sourcePassword?: string } = {},
): Promise<Account> {
  await refuseExisting(path);
  return write(path, await privateKeyOf(secret.trim(), options.sourcePassword), password, options);
}

/** The account in the file. @throws PieceworkError WALLET_MISSING, WALLET_CORRUPT, WALLET_PASSWORD, IO. */
export async function unlock(path: string, password: string): Promise<Account> {
  return new Account(await decrypt(await load(path), password));
}

/** The address in the file, which needs no password and is only as true as the file. @throws as `unlock`. */
export async function show(path: string): Promise<Address> {
  return (await load(path)).address;
}

interface Keystore {
  readonly text: string;
  readonly address: Address;
}

async function load(path: string): Promise<Keystore> {
  let text: string;
  try {
    if ((await stat(path)).size > walletBytesMax) throw corrupt(path);
    text = await readFile(path, 'utf8');
  } catch (thrown) {
    if (thrown instanceof PieceworkError) throw thrown;
    if ((thrown as { code?: unknown }).code === 'ENOENT') {
      throw new PieceworkError('WALLET_MISSING', `there is no wallet at ${path}`);
    }
    throw fileError(thrown, path);
  }
  return parse(text) ?? raise(corrupt(path));
}

/** Undefined for what is not a keystore or asks for too much. */
function parse(text: string): Keystore | undefined {
  try {
    const { version, address, crypto } = lowerKeys<'version' | 'address' | 'crypto'>(JSON.parse(text));
    const { kdf, kdfparams } = lowerKeys<'kdf' | 'kdfparams'>(crypto);
    if (Number(version) !== 3 || typeof address !== 'string') return undefined;
    if (!affordable(String(kdf).toLowerCase(), lowerKeys(kdfparams))) return undefined;
    return { text, address: parseAddress(address) };
  } catch {
    return undefined;
  }
}

function lowerKeys<Field extends string>(value: unknown): Partial<Record<Field, unknown>> {
  if (typeof value !== 'object' || value === null) throw new TypeError('not an object');
  const entries = Object.entries(value).map(([name, field]) => [name.toLowerCase(), field]);
  return Object.fromEntries(entries) as Partial<Record<Field, unknown>>;
}

function affordable(kdf: string, params: Partial<Record<'n' | 'r' | 'p' | 'c', unknown>>): boolean {
  const [n, r, p, c] = [Number(params.n), Number(params.r), Number(params.p), Number(params.c)];
  if (kdf === 'pbkdf2') return c >= 1 && c <= pbkdf2RoundsMax;
  return n >= 2 && r >= 1 && p >= 1 && p <= scryptLanesMax && 128 * n * r <= scryptBytesMax;
}

async function decrypt(keystore: Keystore, password: string): Promise<Uint8Array> {
  try {
    return getBytes((await decryptKeystoreJson(keystore.text, password)).privateKey);
  } catch (thrown) {
    // The cause is not passed on: what ethers says may quote what it was given.
    const wrong = /incorrect password/i.test(thrown instanceof Error ? thrown.message : '');
    throw new PieceworkError(wrong ? 'WALLET_PASSWORD' : 'WALLET_CORRUPT');
  }
}

async function privateKeyOf(secret: string, sourcePassword: string | undefined): Promise<Uint8Array> {
  if (PRIVATE_KEY.test(secret)) return getBytes(secret.startsWith('0x') ? secret : `0x${secret}`);
  if (secret.startsWith('{')) {
    const keystore = parse(secret) ?? raise(new PieceworkError('WALLET_CORRUPT'));
    if (sourcePassword === undefined) throw new PieceworkError('PASSWORD_REQUIRED');
    return decrypt(keystore, sourcePassword);
  }
  const phrase = secret.toLowerCase().split(/\s+/).join(' ');
  if (!Mnemonic.isValidMnemonic(phrase)) {
    const forms = 'a private key of 64 hex digits, a mnemonic or a version 3 keystore';
    throw new PieceworkError('BAD_ARGUMENT', `what is imported must be ${forms}`);
  }
  const wallet = HDNodeWallet.fromMnemonic(Mnemonic.fromPhrase(phrase), MNEMONIC_PATH);
  return getBytes(wallet.privateKey);
}

async function write(
  path: string,
  privateKey: Uint8Array,
  password: string,
  options: WalletOptions,
): Promise<Account> {
  const account = accountOf(privateKey);
  const keystore = { address: hexlify(account.address), privateKey: hexlify(privateKey) };
  const text = await encryptKeystoreJson(keystore, password, { scrypt: { N: options.scryptN ?? SCRYPT_N } });
  const folder = dirname(path);
  const draft = join(folder, `.${randomBytes(8).toString('hex')}.wallet`);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeSynced(draft, `${text}\n`);
    await place(draft, path);
    await syncFolder(folder);
    return account;
  } catch (thrown) {
    if (thrown instanceof PieceworkError) throw thrown;
    throw fileError(thrown, path);
  } finally {
    await unlink(draft).catch(() => undefined);
  }
}

function accountOf(privateKey: Uint8Array): Account {
  try {
    return new Account(privateKey);
  } catch {
    throw new PieceworkError('BAD_ARGUMENT', 'that number is not a private key of secp256k1');
  }
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Gives the draft its name unless the name is taken; a link does both at once where the disk knows links. */
async function place(draft: string, path: string): Promise<void> {
  try {
    await link(draft, path);
  } catch (thrown) {
    const code = (thrown as { code?: unknown }).code;
    if (code === 'EEXIST') throw exists(path);
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'ENOSYS') throw thrown;
    await refuseExisting(path);
    await rename(draft, path);
  }
}

async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function refuseExisting(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found) throw exists(path);
}

function exists(path: string): PieceworkError {
  return new PieceworkError('WALLET_EXISTS', `there is a wallet at ${path} already`);
}

function corrupt(path: string): PieceworkError {
  return new PieceworkError('WALLET_CORRUPT', `${path} is not a version 3 keystore`);
}

function fileError(thrown: unknown, path: string): PieceworkError {
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return new PieceworkError(fileErrorCode(thrown) ?? 'IO', `${path}: ${reason}`, { cause: thrown });
}

function raise(error: Error): never {
  throw error;
}
