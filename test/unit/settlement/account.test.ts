import { inspect } from 'node:util';
import {
  getBytes,
  hexlify,
  keccak256,
  recoverAddress,
  Signature,
  Transaction,
  toUtf8Bytes,
  Wallet,
} from 'ethers';
import { describe, expect, it } from 'vitest';
import { Account } from '../../../src/settlement/account.js';

const KEY = keccak256(toUtf8Bytes('an account'));
const wallet = new Wallet(KEY);
const account = new Account(getBytes(KEY));

describe('an account', () => {
  it('has the address of its key', () => {
    expect(hexlify(account.address)).toBe(wallet.address.toLowerCase());
  });

  it('refuses what is not a key', () => {
    expect(() => new Account(new Uint8Array(32))).toThrow();
    expect(() => new Account(new Uint8Array(32).fill(0xff))).toThrow();
    expect(() => new Account(new Uint8Array(31).fill(1))).toThrow();
  });

  it('signs the legacy transaction that ethers signs, bound to the chain', async () => {
    const to = new Uint8Array(20).fill(7);
    const fields = {
      chainId: 199n,
      nonce: 3,
      data: '0x1234',
      value: 5n,
      gasLimit: 21_000n,
      gasPrice: 300_000_000_000_000n,
    };
    const signed = account.signTransaction({ ...fields, to });
    expect(signed.raw).toBe(await wallet.signTransaction({ ...fields, to: hexlify(to), type: 0 }));
    const parsed = Transaction.from(signed.raw);
    expect([parsed.type, parsed.chainId, parsed.from, parsed.hash]).toEqual([
      0,
      199n,
      wallet.address,
      signed.hash,
    ]);
  });

  it('signs a transaction that creates a contract', () => {
    const fields = {
      chainId: 1n,
      nonce: 0,
      to: undefined,
      data: '0x60',
      value: 0n,
      gasLimit: 60_000n,
      gasPrice: 1n,
    };
    expect(Transaction.from(account.signTransaction(fields).raw).to).toBeNull();
  });

  it('signs a digest as r and vs', () => {
    const digest = keccak256(toUtf8Bytes('a digest'));
    const signature = account.signDigest(getBytes(digest));
    expect(signature.length).toBe(64);
    expect(recoverAddress(digest, Signature.from(hexlify(signature)))).toBe(wallet.address);
  });

  it('derives one secret per label, and not the key', () => {
    const [a, again, b] = ['x', 'x', 'y'].map((label) => hexlify(account.deriveSecret(label)));
    expect(a).toBe(again);
    expect(a).not.toBe(b);
    expect(a).not.toBe(KEY);
    expect(hexlify(new Account(new Uint8Array(32).fill(1)).deriveSecret('x'))).not.toBe(a);
  });

  it('shows its key in no rendering of itself', () => {
    const digits = KEY.slice(2);
    const shown = [
      inspect(account, { depth: 9, showHidden: true }),
      JSON.stringify(account),
      String(account),
    ];
    for (const text of shown) expect(text).not.toContain(digits);
    expect(Object.keys(account)).toEqual(['address']);
  });
});
