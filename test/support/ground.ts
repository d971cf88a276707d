/**
 * What tests with money stand on: a local chain with a hub, accounts that have coins, channels opened by hand,
 * and the chain's clock. Nothing here is under test.
 */
import { hexlify, toQuantity } from 'ethers';
import type { Address, ChannelKey, Domain } from '../../src/channels/channel.js';
import type { ChainConfig } from '../../src/config.js';
import * as Tools from '../../src/engine/tools.js';
import * as Chains from '../../src/settlement/chain.js';
import { Hub } from '../../src/settlement/hub.js';
import * as HubCode from '../../src/settlement/hub-code.js';

export interface Ground {
  readonly chain: ChainConfig;
  readonly rpcUrl: string;
  readonly domain: Domain;
  /** The hub as the product reads it. */
  readonly hub: Hub;
  readonly accounts: readonly Tools.Account[];
  /** One raw question to the node. */
  ask(method: string, ...params: unknown[]): Promise<unknown>;
  fund(to: Address, amount: bigint): Promise<void>;
  /** Sends a transaction from the first account and waits until it is mined. */
  transact(call: { readonly to: Address | undefined; readonly data: string }): Promise<void>;
  balance(of: Address): Promise<bigint>;
  /** Opens channels from the first account, a hundred a transaction. */
  open(channels: ReadonlyArray<ChannelKey & { readonly deposit: bigint }>): Promise<void>;
  passTime(seconds: number): Promise<void>;
  /** Ends the chain's process; what needs the chain afterwards finds nobody. */
  stop(): Promise<void>;
}

export async function layGround(challengePeriod = 3_600): Promise<Ground> {
  const dev = await Tools.startDevChain();
  try {
    const noHub = { profile: dev.profile, rpcUrls: [dev.rpcUrl], confirmations: 1, hub: undefined };
    const { hub } = await Tools.deployHub(noHub, dev.accounts[0]!, challengePeriod, undefined);
    return groundOf(dev, { ...noHub, hub });
  } catch (thrown) {
    await dev.stop();
    throw thrown;
  }
}

async function groundOf(dev: Tools.DevChain, config: ChainConfig): Promise<Ground> {
  const { rpcUrl, accounts } = dev;
  const owner = hexlify(accounts[0]!.address);
  const ask = (method: string, ...params: unknown[]) => askNode(rpcUrl, method, params);
  // The chain's own accounts are unlocked in the node: it signs for them.
  const send = async (to: string, data: string, value: bigint): Promise<void> => {
    const gasPrice = toQuantity(dev.profile.gasPriceFloor);
    const transaction = { from: owner, to, data, value: toQuantity(value), gasPrice };
    const hash = await ask('eth_sendTransaction', transaction);
    for (let tries = 0; tries < 500; tries++) {
      const receipt = (await ask('eth_getTransactionReceipt', hash)) as { status: string } | null;
      if (receipt?.status === '0x1') return;
      if (receipt) throw new Error(`${String(hash)} failed`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`${String(hash)} was never mined`);
  };
  const chain = await Chains.connect({ ...dev.profile, confirmations: 1 });
  const escrow = new Hub(chain, config.hub!, await HubCode.readArtifact());
  return {
    chain: config,
    rpcUrl,
    domain: escrow.domain,
    hub: escrow,
    accounts,
    ask,
    fund: (to, amount) => send(hexlify(to), '0x', amount),
    transact: ({ to, data }) => send(hexlify(to!), data, 0n),
    balance: async (of) => BigInt((await ask('eth_getBalance', hexlify(of), 'latest')) as string),
    async open(channels) {
      for (const call of escrow.openMany(channels))
        await send(hexlify(call.to!), call.data, call.value ?? 0n);
    },
    async passTime(seconds) {
      await ask('evm_increaseTime', seconds);
      await ask('anvil_mine', '0x1');
    },
    async stop() {
      chain.close();
      await dev.stop();
    },
  };
}

export async function askNode(url: string, method: string, params: readonly unknown[]): Promise<unknown> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body });
  const { result, error } = (await response.json()) as { result?: unknown; error?: { message: string } };
  if (error) throw new Error(`${method}: ${error.message}`);
  return result;
}
