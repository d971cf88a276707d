import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encryptKeystoreJson, getBytes, hexlify, keccak256, toUtf8Bytes, Wallet } from 'ethers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PieceworkError } from '../../../src/errors.js';
import * as Wallets from '../../../src/settlement/wallet.js';

const FAST = { scryptN: 1_024 };
const KEY = keccak256(toUtf8Bytes('a wallet'));
const PHRASE = 'test test test test test test test test test test test junk';
const PHRASE_ADDRESS = '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266';

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'piecework-wallet-'));
  path = join(folder, 'keys', 'wallet.json');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function failure(work: Promise<unknown>): Promise<PieceworkError> {
  const thrown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(PieceworkError);
  return thrown as PieceworkError;
}

describe('a new wallet', () => {
  it('opens with its password and gives the account back', async () => {
    const account = await Wallets.create(path, 'pässword', FAST);
    expect((await Wallets.unlock(path, 'pässword')).address).toEqual(account.address);
    expect(await Wallets.show(path)).toEqual(account.address);
  });

  it('is another one each time', async () => {
    const one = await Wallets.create(path, 'p', FAST);
    const two = await Wallets.create(join(folder, 'other.json'), 'p', FAST);
    expect(one.address).not.toEqual(two.address);
  });

  it('is readable by its owner only and leaves no draft behind', async () => {
    await Wallets.create(path, 'p', FAST);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(folder, 'keys'))).mode & 0o777).toBe(0o700);
    expect(await readdir(join(folder, 'keys'))).toEqual(['wallet.json']);
  });

  it('is a keystore that ethers reads, with the work asked for', async () => {
    const account = await Wallets.create(path, 'p', { scryptN: 2_048 });
    const text = await readFile(path, 'utf8');
    const read = await Wallet.fromEncryptedJson(text, 'p');
    expect(read.address.toLowerCase()).toBe(hexlify(account.address));
    expect(text).toContain('"n":2048');
  });

  it('uses the randomness it is given', async () => {
    const account = await Wallets.create(path, 'p', { ...FAST, random: () => getBytes(KEY) });
    expect(hexlify(account.address)).toBe(new Wallet(KEY).address.toLowerCase());
  });

  it('replaces nothing: not a wallet, not another file, not a dangling link', async () => {
    await Wallets.create(path, 'p', FAST);
    const before = await readFile(path, 'utf8');
    expect((await failure(Wallets.create(path, 'q', FAST))).code).toBe('WALLET_EXISTS');
    expect((await failure(Wallets.importKey(path, KEY, 'q', FAST))).code).toBe('WALLET_EXISTS');
    expect(await readFile(path, 'utf8')).toBe(before);
    const dangling = join(folder, 'dangling.json');
    await symlink(join(folder, 'nowhere'), dangling);
    expect((await failure(Wallets.create(dangling, 'q', FAST))).code).toBe('WALLET_EXISTS');
    expect((await readdir(folder)).sort()).toEqual(['dangling.json', 'keys']);
  });

  it('of two made at once only one wins', async () => {
    const both = await Promise.allSettled([Wallets.create(path, 'a', FAST), Wallets.create(path, 'b', FAST)]);
    const won = both.findIndex(({ status }) => status === 'fulfilled');
    expect(both.filter(({ status }) => status === 'fulfilled').length).toBe(1);
    expect((both[1 - won] as PromiseRejectedResult).reason).toMatchObject({ code: 'WALLET_EXISTS' });
    await Wallets.unlock(path, won === 0 ? 'a' : 'b');
  });
});

describe('an imported wallet', () => {
  it('takes a private key with or without 0x', async () => {
    const account = await Wallets.importKey(path, `  ${KEY}\n`, 'p', FAST);
    expect(hexlify(account.address)).toBe(new Wallet(KEY).address.toLowerCase());
    const bare = await Wallets.importKey(join(folder, 'bare.json'), KEY.slice(2), 'p', FAST);
    expect(bare.address).toEqual(account.address);
  });

  it('takes a mnemonic, however it is spaced', async () => {
    const account = await Wallets.importKey(path, PHRASE.toUpperCase().replace(/ /g, '  '), 'p', FAST);
    expect(hexlify(account.address)).toBe(PHRASE_ADDRESS);
    expect((await Wallets.unlock(path, 'p')).address).toEqual(account.address);
  });

  it('takes a keystore with its own password', async () => {
    const { address } = new Wallet(KEY);
    const source = await encryptKeystoreJson({ address, privateKey: KEY }, 'theirs', {
      scrypt: { N: 1_024 },
    });
    const options = { ...FAST, sourcePassword: 'theirs' };
    const account = await Wallets.importKey(path, source, 'mine', options);
    expect(hexlify(account.address)).toBe(address.toLowerCase());
    await Wallets.unlock(path, 'mine');
    const other = join(folder, 'other.json');
    const wrong = Wallets.importKey(other, source, 'mine', { ...FAST, sourcePassword: 'x' });
    expect((await failure(wrong)).code).toBe('WALLET_PASSWORD');
    expect((await failure(Wallets.importKey(other, source, 'mine', FAST))).code).toBe('PASSWORD_REQUIRED');
  });

  it.each([
    ['words that are no mnemonic', PHRASE.replace('junk', 'test')],
    ['zero', '0x'.padEnd(66, '0')],
    ['a number above the order', '0x'.padEnd(66, 'f')],
    ['a short key', KEY.slice(0, 60)],
    ['nothing', ''],
  ])('refuses %s and does not repeat it', async (_, secret) => {
    const error = await failure(Wallets.importKey(path, secret, 'p', FAST));
    expect(error.code).toBe('BAD_ARGUMENT');
    expect(error.cause).toBeUndefined();
    if (secret !== '') expect(`${error.message} ${error.stack}`).not.toContain(secret);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('a wallet that does not open', () => {
  it('is missing', async () => {
    expect((await failure(Wallets.unlock(path, 'p'))).code).toBe('WALLET_MISSING');
    expect((await failure(Wallets.show(path))).code).toBe('WALLET_MISSING');
  });

  it('has another password, which appears nowhere', async () => {
    await Wallets.importKey(path, KEY, 'right', FAST);
    const error = await failure(Wallets.unlock(path, 'wrong-horse'));
    expect(error.code).toBe('WALLET_PASSWORD');
    expect(error.cause).toBeUndefined();
    expect(`${error.message} ${error.stack}`).not.toMatch(/wrong-horse|right/);
  });

  it.each([
    ['empty', ''],
    ['not JSON', '{"version":3'],
    ['not an object', '3'],
    ['another version', '{"version":1,"address":"00","crypto":{}}'],
    ['without a kdf', '{"version":3,"address":"0101010101010101010101010101010101010101","crypto":{}}'],
  ])('is damaged: %s', async (_, text) => {
    const file = join(folder, 'bad.json');
    await writeFile(file, text);
    expect((await failure(Wallets.unlock(file, 'p'))).code).toBe('WALLET_CORRUPT');
    expect((await failure(Wallets.show(file))).code).toBe('WALLET_CORRUPT');
  });

  it('is cut short at any byte, or holds the key of another address', async () => {
    await Wallets.importKey(path, KEY, 'p', FAST);
    const text = (await readFile(path, 'utf8')).trimEnd();
    const file = join(folder, 'cut.json');
    for (let size = 0; size < text.length; size += 7) {
      await writeFile(file, text.slice(0, size));
      expect((await failure(Wallets.unlock(file, 'p'))).code).toBe('WALLET_CORRUPT');
    }
    const address = new Wallet(KEY).address.slice(2).toLowerCase();
    await writeFile(file, text.replace(address, '11'.repeat(20)));
    expect((await failure(Wallets.unlock(file, 'p'))).code).toBe('WALLET_CORRUPT');
  });

  it('asks for more memory or rounds than any wallet needs', async () => {
    await Wallets.importKey(path, KEY, 'p', FAST);
    const text = await readFile(path, 'utf8');
    const file = join(folder, 'greedy.json');
    for (const greedy of [
      text.replace('"n":1024', '"n":1073741824'),
      text.replace('"r":8', '"r":9999999'),
      text.replace('"p":1', '"p":99999'),
      text.replace('"kdf":"scrypt"', '"kdf":"pbkdf2"').replace('"n":1024', '"c":4000000000'),
      ' '.repeat(70_000) + text,
    ]) {
      expect(greedy).not.toBe(text);
      await writeFile(file, greedy);
      expect((await failure(Wallets.unlock(file, 'p'))).code).toBe('WALLET_CORRUPT');
    }
  });

  it('lies where a folder is a file', async () => {
    await writeFile(join(folder, 'keys'), '');
    expect((await failure(Wallets.create(path, 'p', FAST))).code).toMatch(/^(IO|WALLET_EXISTS)$/);
  });
});
