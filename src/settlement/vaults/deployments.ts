/**
 * What is known of BTFS vaults on each chain before it is asked: the factories whose clones count as vaults, the
 * logic contracts they may run, and WBTT (vaults.md 3). Addresses are those the go-btfs sources name. Data only.
 */
import { type Address, parseAddress } from '../../channels/channel.js';
import { PieceworkError } from '../../errors.js';

export interface VaultDeployment {
  readonly wbtt: Address;
  /** Their `master()` is what a vault has to be a clone of. */
  readonly factories: readonly Address[];
  /** What the EIP-1967 slot of a vault may name. */
  readonly logics: readonly Address[];
}

const KNOWN: Readonly<Record<string, VaultDeployment>> = {
  '199': {
    wbtt: parseAddress('0x23181F21DEa5936e24163FFABa4Ea3B316B57f3C'),
    factories: [parseAddress('0x763d7858287B9a33F4bE5bb3df0241dACc59BCc7')],
    logics: [parseAddress('0x5c67bED46336A59252b73a0fA22B9de1cffb172e')],
  },
  '1029': {
    wbtt: parseAddress('0x107742eb846b86ceaaf7528d5c85cddcad3e409a'),
    factories: [parseAddress('0x47caA2198A7614E68a9F9578e217535Ef9674040')],
    logics: [parseAddress('0x67F0366c4c0c83F55D4759D301BEe051EF01E350')],
  },
};

export interface DeploymentAdditions {
  readonly wbtt: Address | undefined;
  readonly factories: readonly Address[];
  readonly logics: readonly Address[];
}

/**
 * The deployment on a chain, with what the operator adds; undefined where there is none.
 * @throws PieceworkError BAD_CONFIG when another WBTT is named than the chain's known one, or none is known.
 */
export function deploymentOn(chainId: bigint, more: DeploymentAdditions): VaultDeployment | undefined {
  const known = KNOWN[String(chainId)];
  if (known && more.wbtt) throw new PieceworkError('BAD_CONFIG', `the WBTT of chain ${chainId} is known`);
  const wbtt = known?.wbtt ?? more.wbtt;
  const factories = [...(known?.factories ?? []), ...more.factories];
  const logics = [...(known?.logics ?? []), ...more.logics];
  if (wbtt) return { wbtt, factories, logics };
  if (factories.length + logics.length === 0) return undefined;
  throw new PieceworkError('BAD_CONFIG', `vaults on chain ${chainId} need vaultWbtt`);
}
