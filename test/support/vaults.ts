/**
 * Vault contracts of our own on a local chain (contracts/mocks): a factory, an honest logic, WBTT and another token,
 * and the hostile ones. Compiled on the way; nothing here is under test.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getBytes, hexlify, Interface, toBeHex, toQuantity } from 'ethers';
import type { Settings } from '../../src/config.js';
import { askNode } from './ground.js';

type Contract = 'Vault' | 'VaultFactory' | 'LyingLogic' | 'TheftLogic' | 'FakeProxy' | 'Token';

interface Compiled {
  readonly abi: Interface;
  readonly bytecode: string;
}

let compiled: Record<Contract, Compiled> | undefined;

function compile(): Record<Contract, Compiled> {
  if (compiled) return compiled;
  const folder = fileURLToPath(new URL('../../contracts/mocks', import.meta.url));
  const sources = Object.fromEntries(
    readdirSync(folder).map((name) => [name, { content: readFileSync(join(folder, name), 'utf8') }]),
  );
  const settings = {
    evmVersion: 'berlin',
    optimizer: { enabled: true, runs: 200 },
    outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object'] } },
  };
  const solc = createRequire(import.meta.url)('solc') as { compile(input: string): string };
  const output = JSON.parse(solc.compile(JSON.stringify({ language: 'Solidity', sources, settings }))) as {
    errors?: Array<{ severity: string; formattedMessage: string }>;
    contracts: Record<string, Record<string, { abi: string[]; evm: { bytecode: { object: string } } }>>;
  };
  const errors = (output.errors ?? []).filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw new Error(errors.map((error) => error.formattedMessage).join('\n'));
  const found: Partial<Record<string, Compiled>> = {};
  for (const file of Object.values(output.contracts)) {
    for (const [name, { abi, evm }] of Object.entries(file))
      found[name] = { abi: new Interface(abi), bytecode: `0x${evm.bytecode.object}` };
  }
  compiled = found as Record<Contract, Compiled>;
  return compiled;
}

export interface VaultGround {
  readonly wbtt: Uint8Array;
  /** Another token. */
  readonly usdt: Uint8Array;
  readonly factory: Uint8Array;
  readonly logic: Uint8Array;
  readonly abi: Interface;
  readonly tokenAbi: Interface;
  /** Settings that make the product know these contracts. */
  readonly settings: Settings;
  deploy(contract: Contract, ...args: unknown[]): Promise<Uint8Array>;
  /** A clone by the factory, running `logic` or else the honest one, for `token` or else WBTT. */
  makeVault(issuer: Uint8Array, logic?: Uint8Array, token?: Uint8Array): Promise<Uint8Array>;
  /** Sends a call of the vault's or token's interface as one of the chain's own accounts. */
  send(from: Uint8Array, to: Uint8Array, verb: string, ...args: unknown[]): Promise<void>;
  /** Tries it without a transaction: what it reverts with, or undefined. */
  tryCall(from: Uint8Array, to: Uint8Array, verb: string, ...args: unknown[]): Promise<string | undefined>;
  view(of: Uint8Array, verb: string, ...args: unknown[]): Promise<bigint>;
  mint(token: Uint8Array, to: Uint8Array, amount: bigint): Promise<void>;
  balance(token: Uint8Array, of: Uint8Array): Promise<bigint>;
}

/** `owner` is an account whose key the node has: it deploys. */
export async function layVaults(rpcUrl: string, owner: Uint8Array, gasPrice: bigint): Promise<VaultGround> {
  const contracts = compile();
  const ask = (method: string, ...params: unknown[]) => askNode(rpcUrl, method, params);
  const interfaces = [contracts.Vault.abi, contracts.Token.abi, contracts.VaultFactory.abi];
  const encode = (verb: string, args: readonly unknown[]): string => {
    const abi = interfaces.find((one) => one.hasFunction(verb))!;
    return abi.encodeFunctionData(verb, args.map(plain));
  };
  const transact = async (from: Uint8Array, to: Uint8Array | undefined, data: string): Promise<string> => {
    const call = { from: hexlify(from), data, ...(to && { to: hexlify(to) }) };
    const hash = await ask('eth_sendTransaction', { ...call, gasPrice: toQuantity(gasPrice) });
    for (let tries = 0; tries < 1_000; tries++) {
      const receipt = (await ask('eth_getTransactionReceipt', hash)) as {
        status: string;
        contractAddress: string | null;
      } | null;
      if (receipt?.status === '0x1') return receipt.contractAddress ?? '0x';
      if (receipt) throw new Error(`${String(hash)} failed`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`${String(hash)} was never mined`);
  };
  const deploy = async (contract: Contract, ...args: unknown[]): Promise<Uint8Array> => {
    const { abi, bytecode } = contracts[contract];
    const data = bytecode + abi.encodeDeploy(args.map(plain)).slice(2);
    return getBytes(await transact(owner, undefined, data));
  };
  const [wbtt, usdt, factory, logic] = [
    await deploy('Token'),
    await deploy('Token'),
    await deploy('VaultFactory'),
    await deploy('Vault'),
  ];
  let made = 0;
  const send = async (from: Uint8Array, to: Uint8Array, verb: string, ...args: unknown[]): Promise<void> => {
    await transact(from, to, encode(verb, args));
  };
  const view = async (of: Uint8Array, verb: string, ...args: unknown[]): Promise<bigint> =>
    BigInt((await ask('eth_call', { to: hexlify(of), data: encode(verb, args) }, 'latest')) as string);
  return {
    wbtt,
    usdt,
    factory,
    logic,
    abi: contracts.Vault.abi,
    tokenAbi: contracts.Token.abi,
    settings: {
      vaultWbtt: hexlify(wbtt),
      vaultFactory: [hexlify(factory)],
      vaultLogic: [hexlify(logic)],
    },
    deploy,
    send,
    view,
    async makeVault(issuer, of = logic, token = wbtt) {
      const name = `peer ${++made}`;
      const init = contracts.Vault.abi.encodeFunctionData('init', [hexlify(issuer), hexlify(token)]);
      const salt = toBeHex(made, 32);
      await send(owner, factory, 'deployVault', issuer, of, salt, name, init);
      const found = await view(factory, 'peerVaultAddress', name);
      return getBytes(`0x${found.toString(16).padStart(40, '0')}`);
    },
    async tryCall(from, to, verb, ...args) {
      const call = { from: hexlify(from), to: hexlify(to), data: encode(verb, args) };
      return ask('eth_call', call, 'latest').then(
        () => undefined,
        (thrown: Error) => thrown.message,
      );
    },
    mint: (token, to, amount) => send(owner, token, 'mint', to, amount),
    balance: (token, of) => view(token, 'balanceOf', of),
  };
}

const plain = (value: unknown): unknown => (value instanceof Uint8Array ? hexlify(value) : value);
