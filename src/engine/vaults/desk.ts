/**
 * What every operation on vaults stands on: the book, the way to the chain, the limits in force, and where alarms
 * go. Opened when first needed.
 */
import { type Address, formatAddress } from '../../channels/channel.js';
import type { VaultsConfig } from '../../config.js';
import { PieceworkError } from '../../errors.js';
import type { Ledger } from '../../ledger/ledger.js';
import type { Head } from '../../settlement/answers.js';
import type { Chain } from '../../settlement/chain.js';
import type { ChequeDomain } from '../../settlement/vaults/cheque.js';
import * as Credit from '../../settlement/vaults/credit.js';
import { difference, type VaultPins, VaultReader } from '../../settlement/vaults/vault.js';
import type { ChainSide } from '../chain-side.js';
import { VaultBook } from './book.js';
import type { OnAlarm } from './survey.js';
import type { Frame } from './views.js';

export interface DeskOptions {
  readonly side: ChainSide;
  readonly ledger: Ledger;
  readonly config: VaultsConfig;
  /** The gas ceiling where a request names none, in base units. */
  readonly gasMax: bigint;
  readonly onAlarm: OnAlarm;
}

export interface Desk {
  readonly side: ChainSide;
  readonly config: VaultsConfig;
  readonly gasMax: bigint;
  readonly onAlarm: OnAlarm;
  book(): Promise<VaultBook>;
  /** The book and the vaults of the chain. @throws PieceworkError BAD_CONFIG where none are known, CHAIN_*, HUB_*. */
  open(): Promise<OpenDesk>;
  frame(book: VaultBook): Frame;
}

export interface OpenDesk {
  readonly book: VaultBook;
  readonly reader: VaultReader;
  readonly chain: Chain;
  readonly domain: ChequeDomain;
  /** WBTT as 0x-prefixed lower-case hex. */
  readonly wbtt: string;
  issuerLimit(issuer: string, token: string): bigint;
  /** The blocks that a raise of credit has to hold at: the newest first, and the confirmed one. */
  blocks(): Promise<readonly Head[]>;
  /** What to pin of a vault. @throws PieceworkError VAULT_MISMATCH unless it is in order at all `blocks`. */
  pins(vault: Address): Promise<VaultPins>;
}

export function createDesk(options: DeskOptions): Desk {
  const { side, config } = options;
  let opening: Promise<VaultBook> | undefined;

  function book(): Promise<VaultBook> {
    opening ??= VaultBook.open(options.ledger);
    return opening;
  }

  /** Limits are the issuer's: whatever vault of it they were set with. */
  function limitIn(book: VaultBook, issuer: string, token: string): bigint {
    const own = book.trusts.find(({ pins, limits }) => pins.issuer === issuer && limits)?.limits;
    return Credit.limitOf(own ?? config.issuerLimits, token);
  }

  async function open(): Promise<OpenDesk> {
    const { deployment } = config;
    if (!deployment) {
      const advice = 'set vaultWbtt, vaultFactory and vaultLogic';
      throw new PieceworkError('BAD_CONFIG', `no vaults are known on this chain; ${advice}`);
    }
    const [own, { chain }] = [await book(), await side.ready()];
    const reader = new VaultReader(chain, deployment);
    const blocks = async (): Promise<readonly Head[]> => {
      const [newest, confirmed] = [await chain.head(), await chain.confirmed()];
      return newest.hash === confirmed.hash ? [newest] : [newest, confirmed];
    };
    return {
      book: own,
      reader,
      chain,
      domain: { chainId: side.domain.chainId, wbtt: deployment.wbtt },
      wbtt: formatAddress(deployment.wbtt),
      issuerLimit: (issuer, token) => limitIn(own, issuer, token),
      blocks,
      async pins(vault) {
        const [pins, ...others] = await Promise.all((await blocks()).map((at) => reader.inspect(vault, at)));
        for (const other of others) {
          const same = difference(pins!, other) === undefined && other.issuer === pins!.issuer;
          if (!same) throw new PieceworkError('VAULT_MISMATCH', `${formatAddress(vault)} has just changed`);
        }
        return pins!;
      },
    };
  }

  return {
    ...options,
    book,
    open,
    frame: (from) => ({
      book: from,
      wbtt: config.deployment && formatAddress(config.deployment.wbtt),
      issuerLimit: (issuer, token) => limitIn(from, issuer, token),
    }),
  };
}
