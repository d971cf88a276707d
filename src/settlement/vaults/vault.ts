/**
 * Reading BTFS vaults from the chain: what a vault is (code, slot, logic, issuer) and what it holds and has paid.
 * It spends nothing and holds no key. Invariants: what is read together is of one block, named by its hash; a
 * balance is asked of the token, never of the vault, whose logic may say anything.
 */
import { getBytes, hexlify, keccak256 } from 'ethers';
import { type Address, formatAddress } from '../../channels/channel.js';
import { PieceworkError } from '../../errors.js';
import { sameBytes } from '../../units.js';
import type { Head } from '../answers.js';
import type { Chain } from '../chain.js';
import type { VaultDeployment } from './deployments.js';
import { abi, cloneTarget, IMPLEMENTATION_SLOT } from './vault-abi.js';

/** The code a vault runs. Addresses and hashes are 0x-prefixed lower-case hex, so that they survive JSON. */
export interface VaultCode {
  readonly codeHash: string;
  /** What its clone delegates to; undefined where it is no EIP-1167 clone. */
  readonly master: string | undefined;
  readonly masterCodeHash: string | undefined;
  /** What its EIP-1967 slot names. */
  readonly logic: string;
  readonly logicCodeHash: string;
}

/** What is pinned when an operator trusts a vault. */
export interface VaultPins extends VaultCode {
  readonly issuer: string;
}

/** What a vault holds of a token and has paid of it, at one block. Amounts in base units of the token. */
export interface VaultFunds {
  readonly block: bigint;
  readonly balance: bigint;
  /** To our account. */
  readonly paidOut: bigint;
  /** To everybody. */
  readonly totalPaidOut: bigint;
}

const EMPTY_CODE_HASH = keccak256('0x');

export class VaultReader {
  readonly #chain: Pick<Chain, 'call' | 'code' | 'storage'>;
  readonly deployment: VaultDeployment;

  constructor(chain: Pick<Chain, 'call' | 'code' | 'storage'>, deployment: VaultDeployment) {
    this.#chain = chain;
    this.deployment = deployment;
  }

  async code(vault: Address, at: Head): Promise<VaultCode> {
    const [code, slot] = await Promise.all([
      this.#chain.code(vault, at),
      this.#chain.storage(vault, IMPLEMENTATION_SLOT, at),
    ]);
    const master = cloneTarget(code);
    const logic = getBytes(slot).slice(12);
    const [logicCodeHash, masterCodeHash] = await Promise.all([
      this.#codeHash(logic, at),
      master && this.#codeHash(master, at),
    ]);
    return {
      codeHash: keccak256(code),
      master: master && formatAddress(master),
      masterCodeHash,
      logic: formatAddress(logic),
      logicCodeHash,
    };
  }

  /**
   * Checks a vault by the rules of vaults.md 4 and reads what to pin.
   * @throws PieceworkError VAULT_MISMATCH.
   */
  async inspect(vault: Address, at: Head): Promise<VaultPins> {
    const code = await this.code(vault, at);
    const wrong = (detail: string): PieceworkError =>
      new PieceworkError('VAULT_MISMATCH', `${formatAddress(vault)} is not trusted: ${detail}`);
    if (code.codeHash === EMPTY_CODE_HASH) throw wrong(`there is no contract at block ${at.number}`);
    const masters = await this.#masters(at);
    if (code.master === undefined || !masters.includes(code.master))
      throw wrong('it is not a clone made by a known factory');
    if (!this.deployment.logics.some((logic) => formatAddress(logic) === code.logic))
      throw wrong(`it runs the logic ${code.logic}, which is not on the list`);
    if (code.logicCodeHash === EMPTY_CODE_HASH) throw wrong(`its logic ${code.logic} has no code`);
    const [issuer, token] = await Promise.all([
      this.#address(vault, 'issuer', at),
      this.#address(vault, 'token', at),
    ]);
    if (!sameBytes(token, this.deployment.wbtt))
      throw wrong(`its token is ${formatAddress(token)}, not WBTT`);
    return { ...code, issuer: formatAddress(issuer) };
  }

  /** @throws PieceworkError CHAIN_REJECTED when vault or token do not answer. */
  async funds(vault: Address, token: Address, beneficiary: Address, at: Head): Promise<VaultFunds> {
    const plain = sameBytes(token, this.deployment.wbtt);
    const [paid, total, balance] = await Promise.all([
      plain
        ? this.#amount(vault, 'paidOut', [beneficiary], at)
        : this.#amount(vault, 'multiTokensPaidOut', [token, beneficiary], at),
      plain
        ? this.#amount(vault, 'totalPaidOut', [], at)
        : this.#amount(vault, 'multiTokensTotalPaidOut', [token], at),
      this.balance(vault, token, at),
    ]);
    return { block: at.number, balance, paidOut: paid, totalPaidOut: total };
  }

  /** What the token says the vault holds. */
  balance(vault: Address, token: Address, at: Head): Promise<bigint> {
    return this.#amount(token, 'balanceOf', [vault], at);
  }

  /** The masters of the known factories that exist on this chain. */
  async #masters(at: Head): Promise<readonly string[]> {
    const { factories } = this.deployment;
    const read = factories.map((factory) => this.#address(factory, 'master', at).catch(unlessSilent));
    const found = (await Promise.all(read)).filter((master) => master !== undefined);
    return found.map(formatAddress);
  }

  async #codeHash(address: Address, at: Head): Promise<string> {
    return keccak256(await this.#chain.code(address, at));
  }

  async #address(of: Address, view: string, at: Head): Promise<Address> {
    return getBytes((await this.#view(of, view, [], at)) as string);
  }

  async #amount(of: Address, view: string, about: readonly Address[], at: Head): Promise<bigint> {
    return (await this.#view(of, view, about, at)) as bigint;
  }

  async #view(of: Address, view: string, about: readonly Address[], at: Head): Promise<unknown> {
    const data = abi.encodeFunctionData(
      view,
      about.map((one) => hexlify(one)),
    );
    const bytes = await this.#chain.call({ to: of, data }, at);
    try {
      return abi.decodeFunctionResult(view, bytes)[0] as unknown;
    } catch {
      throw new PieceworkError('CHAIN_REJECTED', `${formatAddress(of)} does not answer ${view}()`);
    }
  }
}

/** What differs between the code pinned and the code now, for people; undefined when nothing does. */
export function difference(pins: VaultCode, now: VaultCode): string | undefined {
  if (pins.logic !== now.logic) return `its logic is ${now.logic} instead of ${pins.logic}`;
  if (pins.logicCodeHash !== now.logicCodeHash) return `the code of its logic ${now.logic} changed`;
  if (pins.codeHash !== now.codeHash || pins.master !== now.master) return 'its own code changed';
  return pins.masterCodeHash === now.masterCodeHash ? undefined : 'the code it is a clone of changed';
}

function unlessSilent(thrown: unknown): undefined {
  if (thrown instanceof PieceworkError && thrown.code === 'CHAIN_REJECTED') return undefined;
  throw thrown;
}
