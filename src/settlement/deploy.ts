/**
 * Deploys the hub in the form that the profile's asset asks for. The address follows from account and nonce, so
 * it is known once the transaction is signed and told before it is sent; what stands there afterwards is held
 * against the compiled hub like anybody's.
 */
import { concat, getBytes, getCreateAddress, hexlify, keccak256 } from 'ethers';
import type { Address } from '../channels/channel.js';
import { formatAddress } from '../channels/channel.js';
import { PieceworkError } from '../errors.js';
import { sameBytes } from '../units.js';
import type { Chain } from './chain.js';
import type { EscrowTerms } from './escrow.js';
import { Hub } from './hub.js';
import { abiOf } from './hub-abi.js';
import type { Artifact } from './hub-code.js';
import type { Sender, SendOptions } from './sender.js';
import type { Call } from './transaction.js';

/** The longest the hub's constructor takes: 365 days. */
const challengePeriodMax = 31_536_000;

export interface DeployOptions extends Pick<SendOptions, 'gasCeiling'> {
  /** Told once the transaction is signed and before any node has it. */
  readonly onPredicted?: (hub: Address) => void;
}

export interface Deployment {
  readonly hub: Address;
  readonly terms: EscrowTerms;
  /** keccak256 of the runtime code, 0x-prefixed: what a profile can pin. */
  readonly codeHash: string;
  readonly hash: string;
  readonly block: bigint;
  readonly gas: bigint;
  /** Base units the gas cost. */
  readonly cost: bigint;
}

/**
 * The call that creates a hub for `asset`, undefined being the chain's own coin, whose payers wait
 * `challengePeriod` seconds. @throws PieceworkError BAD_ARGUMENT.
 */
export function deployment(artifact: Artifact, challengePeriod: number, asset?: Address): Call {
  const whole = Number.isSafeInteger(challengePeriod);
  if (!whole || challengePeriod < 1 || challengePeriod > challengePeriodMax) {
    throw new PieceworkError('BAD_ARGUMENT', `a challenge period has 1 to ${challengePeriodMax} seconds`);
  }
  const values = asset === undefined ? [challengePeriod] : [hexlify(asset), challengePeriod];
  const data = concat([hexlify(artifact.bytecode), abiOf(asset).encodeDeploy(values)]);
  return { to: undefined, data, value: 0n, purpose: 'deploy the hub', intent: `deploy ${keccak256(data)}` };
}

/** The address that a transaction of `from` with that nonce creates. */
export function predicted(from: Address, nonce: number): Address {
  return getBytes(getCreateAddress({ from: hexlify(from), nonce }));
}

/**
 * `artifact` is that of the form for the profile's asset.
 * @throws PieceworkError as `Sender.send` and `Hub.verify` do; BAD_ARGUMENT also for a period below the
 * profile's least.
 */
export async function deploy(
  chain: Chain,
  sender: Sender,
  artifact: Artifact,
  challengePeriod: number,
  options: DeployOptions = {},
): Promise<Deployment> {
  const { account } = sender;
  const { asset, challengePeriodMin, name } = chain.profile;
  const call = deployment(artifact, challengePeriod, asset);
  if (challengePeriod < challengePeriodMin) {
    const detail = `a challenge period on ${name} has at least ${challengePeriodMin} seconds`;
    throw new PieceworkError('BAD_ARGUMENT', detail);
  }
  let expected: Address | undefined;
  const confirmed = await sender.send(call, {
    ...(options.gasCeiling === undefined ? {} : { gasCeiling: options.gasCeiling }),
    progress: (step) => {
      if (step.step !== 'signed') return;
      const record = sender.pending.find(({ id }) => id === step.hash)!;
      expected = predicted(account.address, record.nonce);
      options.onPredicted?.(expected);
    },
  });
  const { contractAddress: hub, hash, block, gasUsed: gas, cost } = confirmed;
  if (hub === undefined) throw new PieceworkError('TX_FAILED', `${hash} created no contract`);
  if (expected !== undefined && !sameBytes(hub, expected)) {
    const said = `the node says ${formatAddress(hub)}, it must be ${formatAddress(expected)}`;
    throw new PieceworkError('TX_FAILED', `${hash} created a contract elsewhere: ${said}`);
  }
  const terms = await new Hub(chain, hub, artifact).verify();
  const codeHash = keccak256(await chain.code(hub));
  return { hub, terms, codeHash, hash, block, gas, cost };
}
