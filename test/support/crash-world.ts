/**
 * What payee and payer processes need around them: a local chain with a hub, funded wallets that open fast,
 * flags, and what the chain says at the end of it all.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatAddress } from '../../src/channels/channel.js';
import type { ChainConfig } from '../../src/config.js';
import * as Tools from '../../src/engine/tools.js';
import { parseAmount } from '../../src/units.js';

export interface Party {
  readonly name: 'payee' | 'payer';
  readonly dataDir: string;
  readonly address: Uint8Array;
  /** Flags that every command of this party takes. */
  readonly flags: readonly string[];
  /** Balance before anything happened, in base units. */
  readonly before: bigint;
}

export interface World {
  readonly folder: string;
  readonly chain: ChainConfig;
  readonly payee: Party;
  readonly payer: Party;
  /** A loopback port for the payee's peers, the same after each restart. */
  readonly port: number;
  balance(address: Uint8Array): Promise<bigint>;
  /** Mined transactions of an account. */
  nonce(address: Uint8Array): Promise<number>;
  close(): Promise<void>;
}

const FUNDS = parseAmount('1000000BTT');
const PASSWORD = 'crash';
/** Every restart unlocks the wallet: scrypt is not what is tested here. */
const SCRYPT_N = 1_024;
const CHALLENGE_PERIOD_SECONDS = 86_400;

export async function makeWorld(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'piecework-crash-'));
  const dev = await Tools.startDevChain();
  try {
    const noHub = { profile: dev.profile, rpcUrls: [dev.rpcUrl], confirmations: 1, hub: undefined };
    const funder = dev.accounts[0]!;
    const { hub } = await Tools.deployHub(noHub, funder, CHALLENGE_PERIOD_SECONDS, undefined);
    const chain: ChainConfig = { ...noHub, hub };
    const balance = async (address: Uint8Array): Promise<bigint> =>
      (await Tools.balances(chain, address)).balance;
    const party = async (name: Party['name']): Promise<Party> => {
      const dataDir = join(folder, name);
      mkdirSync(dataDir, { recursive: true, mode: 0o700 });
      const passwordFile = join(dataDir, 'password');
      writeFileSync(passwordFile, `${PASSWORD}\n`, { mode: 0o600 });
      const account = await Tools.createWallet(join(dataDir, 'wallet.json'), PASSWORD, { scryptN: SCRYPT_N });
      await Tools.transfer(chain, funder, account.address, FUNDS);
      const flags = [
        ...['--json', '--data-dir', dataDir, '--password-file', passwordFile, '--log-level', 'warn'],
        ...['--chain', 'local', '--rpc', dev.rpcUrl, '--hub', formatAddress(hub)],
      ];
      return { name, dataDir, address: account.address, flags, before: await balance(account.address) };
    };
    const payee = await party('payee');
    const payer = await party('payer');
    return {
      folder,
      chain,
      payee,
      payer,
      port: await freePort(),
      balance,
      nonce: async (address) =>
        Number(await ask<string>(dev.rpcUrl, 'eth_getTransactionCount', formatAddress(address), 'latest')),
      async close() {
        await dev.stop();
        rmSync(folder, { recursive: true, force: true });
      },
    };
  } catch (thrown) {
    await dev.stop();
    rmSync(folder, { recursive: true, force: true });
    throw thrown;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

async function ask<Answer>(url: string, method: string, ...params: unknown[]): Promise<Answer> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body });
  return ((await response.json()) as { result: Answer }).result;
}

/** What an account did on the chain, read from its blocks: a killed process cannot say what it spent. */
export interface Spent {
  readonly fees: bigint;
  readonly transactions: number;
  /** Transactions that put money into a channel. */
  readonly deposits: number;
  /** Transactions that failed, and those that changed nothing. */
  readonly failed: number;
  readonly idle: number;
}

interface BlockAnswer {
  readonly transactions: ReadonlyArray<{
    readonly hash: string;
    readonly from: string;
    readonly value: string;
  }>;
}
interface ReceiptAnswer {
  readonly status: string;
  readonly gasUsed: string;
  readonly effectiveGasPrice: string;
  readonly logs: readonly unknown[];
}

export async function spentBy(world: World, parties: readonly Party[]): Promise<Map<Party['name'], Spent>> {
  const url = world.chain.rpcUrls[0]!;
  const names = new Map(parties.map(({ name, address }) => [formatAddress(address), name]));
  const spent = new Map<Party['name'], Spent>();
  const none = { fees: 0n, transactions: 0, deposits: 0, failed: 0, idle: 0 };
  for (const { name } of parties) spent.set(name, none);
  const height = Number(await ask<string>(url, 'eth_blockNumber'));
  for (let number = 0; number <= height; number++) {
    const { transactions } = await ask<BlockAnswer>(
      url,
      'eth_getBlockByNumber',
      `0x${number.toString(16)}`,
      true,
    );
    for (const { hash, from, value } of transactions) {
      const name = names.get(from.toLowerCase());
      if (name === undefined) continue;
      const receipt = await ask<ReceiptAnswer>(url, 'eth_getTransactionReceipt', hash);
      const sum = spent.get(name)!;
      spent.set(name, {
        fees: sum.fees + BigInt(receipt.gasUsed) * BigInt(receipt.effectiveGasPrice),
        transactions: sum.transactions + 1,
        deposits: sum.deposits + (BigInt(value) > 0n ? 1 : 0),
        failed: sum.failed + (BigInt(receipt.status) === 1n ? 0 : 1),
        idle: sum.idle + (receipt.logs.length === 0 ? 1 : 0),
      });
    }
  }
  return spent;
}
