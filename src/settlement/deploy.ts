/**
 * Deploys the hub for the chain's own coin. It checks nothing afterwards: `Hub.verify` does, and is what
 * every user of the address has to run anyway.
 */
import { concat, hexlify, keccak256 } from 'ethers';
import type { Address } from '../channels/channel.js';
import { PieceworkError } from '../errors.js';
import { abi } from './hub-abi.js';
import type { Artifact } from './hub-code.js';
import type { Sender, SendOptions } from './sender.js';
import type { Call } from './transaction.js';

/** The longest the hub's constructor takes: 365 days. */
const challengePeriodMax = 31_536_000;

export interface Deployment {
  readonly hub: Address;
  readonly hash: string;
  readonly block: bigint;
  readonly gas: bigint;
  /** Base units the gas cost. */
  readonly cost: bigint;
}

/** The call that creates a hub whose payers wait `challengePeriod` seconds. @throws PieceworkError BAD_ARGUMENT. */
export function deployment(artifact: Artifact, challengePeriod: number): Call {
  const whole = Number.isSafeInteger(challengePeriod);
  if (!whole || challengePeriod < 1 || challengePeriod > challengePeriodMax) {
    throw new PieceworkError('BAD_ARGUMENT', `a challenge period has 1 to ${challengePeriodMax} seconds`);
  }
  const data = concat([hexlify(artifact.bytecode), abi.encodeDeploy([challengePeriod])]);
  return { to: undefined, data, value: 0n, purpose: 'deploy the hub', intent: `deploy ${keccak256(data)}` };
}

/** @throws PieceworkError as `Sender.send` does, BAD_ARGUMENT. */
export async function deploy(
  sender: Sender,
  artifact: Artifact,
  challengePeriod: number,
  options: SendOptions = {},
): Promise<Deployment> {
  const confirmed = await sender.send(deployment(artifact, challengePeriod), options);
  const { contractAddress: hub, hash, block, gasUsed: gas, cost } = confirmed;
  if (hub === undefined) throw new PieceworkError('TX_FAILED', `${hash} created no contract`);
  return { hub, hash, block, gas, cost };
}
