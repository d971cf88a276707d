/**
 * What commands need besides an engine: wallets, a local chain, deploying a hub, asking a chain. The command
 * line reaches the settlement room only through here.
 */
import { keccak256 } from 'ethers';
import { type Address, formatAddress } from '../channels/channel.js';
import type { ChainConfig } from '../config.js';
import type { Account } from '../settlement/account.js';
import * as Chains from '../settlement/chain.js';
import * as Deploy from '../settlement/deploy.js';
import * as GasRate from '../settlement/gas-rate.js';
import { Hub } from '../settlement/hub.js';
import * as HubCode from '../settlement/hub-code.js';
import * as Planner from '../settlement/planner.js';
import * as Probe from '../settlement/probe.js';
import * as Senders from '../settlement/sender.js';
import { memoryStore } from '../settlement/transaction.js';

export { Account } from '../settlement/account.js';
export { type DevChain, start as startDevChain } from '../settlement/dev-chain.js';
export {
  create as createWallet,
  importKey as importWallet,
  show as showWallet,
  unlock as unlockWallet,
} from '../settlement/wallet.js';

export interface ChainInfo {
  readonly name: string;
  readonly chainId: string;
  readonly block: string;
  readonly time: string;
  readonly gasPrice: string;
  readonly confirmations: number;
  /** Nodes configured, and how many must say the same of what raises credit. */
  readonly nodes: number;
  readonly agreement: number;
  readonly hub: string | undefined;
  readonly challengePeriod: number | undefined;
}

/** What `chain probe` tells, as plain JSON. Amounts are decimal strings of base units. */
export interface ChainProbe {
  readonly name: string;
  readonly chainId: string;
  readonly genesisHash: string;
  readonly client: string | undefined;
  readonly block: string;
  readonly time: string;
  readonly blockTimeMs: number | undefined;
  readonly blockGasLimit: string;
  /** In the coin that gas is paid in. */
  readonly gasPrice: string;
  readonly coin: string;
  /** What settling 100 vouchers in one transaction costs in BTT; undefined without a rate. */
  readonly settleCost: string | undefined;
  readonly push0: boolean | undefined;
  readonly baseFee: boolean | undefined;
  readonly transientStorage: boolean | undefined;
  readonly typeTwo: boolean;
  readonly hub: string | undefined;
  readonly hubCodeHash: string | undefined;
  readonly asset: string | undefined;
  readonly challengePeriod: number | undefined;
  readonly agreement: number;
  readonly nodes: ReadonlyArray<{ readonly node: string; readonly inUse: boolean }>;
  /** What is wrong with nodes, for people. */
  readonly alarms: readonly string[];
}

const PROBED_ROWS = 100;

async function withChain<Result>(
  config: ChainConfig,
  work: (chain: Chains.Chain) => Promise<Result>,
  onAlarm: Chains.ChainOptions['onAlarm'] = () => undefined,
): Promise<Result> {
  const profile = { ...config.profile, rpcUrls: config.rpcUrls, confirmations: config.confirmations };
  const chain = await Chains.connect(profile, { agreement: config.agreement, onAlarm });
  try {
    return await work(chain);
  } finally {
    chain.close();
  }
}

/** Deploys a hub from `account`. `gasMax` undefined sets no ceiling: for local chains. */
export function deployHub(
  config: ChainConfig,
  account: Account,
  challengePeriod: number,
  gasMax: bigint | undefined,
  onPredicted?: (hub: Address) => void,
): Promise<Deploy.Deployment> {
  return withChain(config, async (chain) => {
    const sender = await Senders.open(chain, account, memoryStore());
    try {
      const artifact = await HubCode.artifactFor(config.profile.asset);
      const rate = config.gasRate ?? GasRate.rateOf(config.profile, undefined);
      return await Deploy.deploy(chain, sender, artifact, challengePeriod, {
        ...GasRate.gasCeiling(rate, gasMax),
        ...(onPredicted === undefined ? {} : { onPredicted }),
      });
    } finally {
      await sender.close();
    }
  });
}

/** Sends the chain's coin, for funding accounts of a local chain. Resolves with the gas's cost. */
export function transfer(config: ChainConfig, from: Account, to: Address, value: bigint): Promise<bigint> {
  return withChain(config, async (chain) => {
    const sender = await Senders.open(chain, from, memoryStore());
    try {
      const purpose = 'transfer';
      const intent = `transfer ${formatAddress(to)} ${value} ${Math.random()}`;
      return (await sender.send({ to, data: '0x', value, purpose, intent })).cost;
    } finally {
      await sender.close();
    }
  });
}

/** The balance of an address and, where a hub is configured, its credit there; as of the newest block. */
export function balances(
  config: ChainConfig,
  address: Address,
): Promise<{ balance: bigint; credit: bigint | undefined }> {
  return withChain(config, async (chain) => {
    const head = await chain.head();
    const balance = await chain.balance(address, head);
    if (!config.hub) return { balance, credit: undefined };
    const hub = new Hub(chain, config.hub, await HubCode.artifactFor(config.profile.asset));
    return { balance, credit: await hub.credit(address, head) };
  });
}

export function chainInfo(config: ChainConfig): Promise<ChainInfo> {
  return withChain(config, async (chain) => {
    const [head, gasPrice] = await Promise.all([chain.head(), chain.gasPrice()]);
    const terms = config.hub
      ? await new Hub(chain, config.hub, await HubCode.artifactFor(config.profile.asset)).verify()
      : undefined;
    return {
      name: chain.profile.name,
      chainId: String(chain.profile.chainId),
      block: String(head.number),
      time: new Date(Number(head.timestamp) * 1000).toISOString(),
      gasPrice: String(gasPrice),
      confirmations: chain.profile.confirmations,
      nodes: chain.nodes.length,
      agreement: chain.agreement,
      hub: config.hub && formatAddress(config.hub),
      challengePeriod: terms?.challengePeriod,
    };
  });
}

/**
 * Asks the configured chain what it can do, and checks it against its profile.
 * @throws PieceworkError CHAIN_WRONG_ID for another id or first block, HUB_MISSING, HUB_MISMATCH.
 */
export function probeChain(config: ChainConfig): Promise<ChainProbe> {
  const alarms: string[] = [];
  const work = async (chain: Chains.Chain): Promise<ChainProbe> => {
    const found = await Probe.probe(chain);
    const { profile } = chain;
    const { hub } = config;
    const terms = hub && (await new Hub(chain, hub, await HubCode.artifactFor(profile.asset)).verify());
    const cost = GasRate.voucherCost(config.gasRate, Planner.gasOf(PROBED_ROWS) * found.gasPrice);
    return {
      name: profile.name,
      chainId: String(profile.chainId),
      genesisHash: found.genesisHash,
      client: found.client,
      block: String(found.block),
      time: new Date(Number(found.timestamp) * 1_000).toISOString(),
      blockTimeMs: found.blockTimeMs,
      blockGasLimit: String(found.blockGasLimit),
      gasPrice: String(found.gasPrice),
      coin: profile.coin,
      settleCost: cost === undefined ? undefined : String(cost),
      push0: found.push0,
      baseFee: found.baseFee,
      transientStorage: found.transientStorage,
      typeTwo: found.typeTwo,
      hub: hub && formatAddress(hub),
      hubCodeHash: hub && keccak256(await chain.code(hub, await chain.confirmed())),
      asset: terms?.asset && formatAddress(terms.asset),
      challengePeriod: terms?.challengePeriod,
      agreement: chain.agreement,
      nodes: chain.nodes,
      alarms,
    };
  };
  return withChain(config, work, ({ node, detail }) => alarms.push(`${node} ${detail}`));
}
