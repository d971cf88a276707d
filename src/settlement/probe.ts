/**
 * What a chain can do, found out by asking: opcodes by running them, type-2 transactions and the gas limit by
 * the newest header, the block time by the headers behind it. It only tells; nothing here changes what the
 * engine does. Whether it is the right chain at all was asked on connecting.
 */
import { PieceworkError } from '../errors.js';
import type { Chain } from './chain.js';

/** Undefined where the node does not run code without a contract, so that nothing can be told. */
export type Can = boolean | undefined;

export interface Probe {
  readonly client: string | undefined;
  readonly genesisHash: string;
  readonly block: bigint;
  /** Unix seconds of that block. */
  readonly timestamp: bigint;
  /** Measured over the blocks behind the newest; undefined while there is only one. */
  readonly blockTimeMs: number | undefined;
  readonly blockGasLimit: bigint;
  /** Base units of the coin per unit of gas. */
  readonly gasPrice: bigint;
  /** PUSH0, as of Shanghai. */
  readonly push0: Can;
  /** BASEFEE, as of London. */
  readonly baseFee: Can;
  /** TSTORE, as of Cancun. */
  readonly transientStorage: Can;
  /** Transactions of type 2 (EIP-1559): the header has a base fee. */
  readonly typeTwo: boolean;
}

/** Creation code that returns nothing, and the same with the opcode in question. */
const CODE = {
  control: '0x60006000f3',
  push0: '0x5f5ff3',
  baseFee: '0x4860005260206000f3',
  transientStorage: '0x600160005d60006000f3',
} as const;

/** Blocks over which the block time is measured: four sprints of BTTC. */
const measuredBlocks = 256n;

/** @throws PieceworkError CHAIN_UNREACHABLE, CHAIN_REJECTED where the node refuses plain questions. */
export async function probe(chain: Chain): Promise<Probe> {
  const head = await chain.head();
  const first = await chain.block(0n);
  if (!first) throw new PieceworkError('CHAIN_UNREACHABLE', 'the node does not have the first block');
  const [newest, gasPrice, client, blockTimeMs] = await Promise.all([
    chain.capacity(),
    chain.gasPrice(),
    chain.client(),
    measureBlockTime(chain, head.number, head.timestamp),
  ]);
  const runs = await canRun(chain, CODE.control);
  const can = async (code: string): Promise<Can> => (runs ? canRun(chain, code) : undefined);
  return {
    client,
    genesisHash: first.hash,
    block: head.number,
    timestamp: head.timestamp,
    blockTimeMs,
    blockGasLimit: newest.gasLimit,
    gasPrice,
    push0: await can(CODE.push0),
    baseFee: await can(CODE.baseFee),
    transientStorage: await can(CODE.transientStorage),
    typeTwo: newest.baseFee !== undefined,
  };
}

async function canRun(chain: Chain, data: string): Promise<boolean> {
  try {
    await chain.call({ to: undefined, data });
    return true;
  } catch (thrown) {
    if (thrown instanceof PieceworkError && thrown.code === 'CHAIN_REJECTED') return false;
    throw thrown;
  }
}

async function measureBlockTime(
  chain: Chain,
  number: bigint,
  timestamp: bigint,
): Promise<number | undefined> {
  const blocks = number < measuredBlocks ? number : measuredBlocks;
  // The first block's time is written down, not measured.
  const from = number - blocks === 0n ? 1n : number - blocks;
  if (from >= number) return undefined;
  const before = await chain.block(from);
  return before && Number(((timestamp - before.timestamp) * 1_000n) / (number - from));
}
