/** What the vault tests share: one chain with vaults, and engines that receive, issue and cash cheques on it. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { formatAddress } from '../../../src/channels/channel.js';
import type { Settings } from '../../../src/config.js';
import * as Tools from '../../../src/engine/tools.js';
import type { Vaults } from '../../../src/engine/vaults/vaults.js';
import { createEngine, type EngineEvent } from '../../../src/engine.js';
import { PieceworkError } from '../../../src/errors.js';
import * as Cheques from '../../../src/settlement/vaults/cheque.js';
import * as ChequeJson from '../../../src/settlement/vaults/cheque-json.js';
import { configOn, temporary } from '../../support/engines.js';
import { type Ground, layGround } from '../../support/ground.js';
import { prepare, type VaultKills } from '../../support/vault-kill.js';
import { layVaults, type VaultGround } from '../../support/vaults.js';

export const BTT = 10n ** 18n;
export const GAS_PRICE = 300_000_000_000_000n;

export interface Stage {
  readonly ground: Ground;
  readonly vaults: VaultGround;
  /** Where the data folders of its parties are. */
  readonly folder: string;
}

export interface Party {
  readonly vaults: Vaults;
  readonly account: Tools.Account;
  readonly home: string;
  /** Errors and warnings so far. */
  readonly events: EngineEvent[];
  close(): Promise<void>;
  /** Closes it and opens the same data folder again. */
  again(settings?: Settings): Promise<Party>;
}

/** Lays the chain before the tests of a file, and takes it away after them. */
export function stage(): Stage {
  const found: { ground?: Ground; vaults?: VaultGround } = {};
  const place = temporary();
  beforeAll(async () => {
    found.ground = await layGround();
    found.vaults = await layVaults(found.ground.rpcUrl, found.ground.accounts[0]!.address, GAS_PRICE);
  }, 180_000);
  afterAll(async () => {
    await found.ground?.stop();
    place.remove();
  });
  return {
    folder: place.path,
    get ground() {
      return found.ground!;
    },
    get vaults() {
      return found.vaults!;
    },
  };
}

export const LIMITS: Settings = { vaultLimit: '100000BTT', vaultIssuerLimit: '50000BTT' };

export async function party(
  on: Stage,
  account: Tools.Account,
  settings: Settings = LIMITS,
  home = mkdtempSync(join(on.folder, 'party-')),
): Promise<Party> {
  const { ground, vaults } = on;
  const events: EngineEvent[] = [];
  const engine = await createEngine({
    config: configOn(ground, home, { ...vaults.settings, ...settings }),
    account,
    executor: 'inline',
    onEvent: (event) => events.push(event),
  });
  return {
    vaults: engine.vaults,
    account,
    home,
    events,
    close: () => engine.close(),
    async again(other = settings) {
      await engine.close();
      return party(on, account, other, home);
    },
  };
}

export interface Issuer {
  readonly account: Tools.Account;
  readonly vault: Uint8Array;
  /** A cheque of the vault as JSON. */
  cheque(to: Uint8Array, cumulativePayout: bigint, token?: Uint8Array): string;
  withdraw(amount: bigint): Promise<void>;
}

/** An issuer with a funded vault, that signs whatever it likes. */
export async function issuer(
  { ground, vaults }: Stage,
  account: Tools.Account,
  funds: bigint,
  logic?: Uint8Array,
): Promise<Issuer> {
  const vault = await vaults.makeVault(account.address, logic);
  if (funds > 0n) await vaults.mint(vaults.wbtt, vault, funds);
  const domain = { chainId: ground.domain.chainId, wbtt: vaults.wbtt };
  return {
    account,
    vault,
    cheque(to, cumulativePayout, token = vaults.wbtt) {
      const cheque = { token, vault, beneficiary: to, cumulativePayout };
      return ChequeJson.write(Cheques.sign(cheque, domain, account));
    },
    withdraw: (amount) => vaults.send(account.address, vault, 'withdraw', amount),
  };
}

/** The code of the error that the work ends with; `fine` where it does not fail. */
export async function code(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'fine';
  } catch (thrown) {
    if (thrown instanceof PieceworkError) return thrown.code;
    throw thrown;
  }
}

export const name = formatAddress;

/** A payee that receives so many cheques of a fresh vault and is killed on the way; `held` says what it holds. */
export async function prepareKills(
  on: Stage,
  count: number,
  early = false,
): Promise<{ readonly kills: VaultKills; held(dataDir: string): Promise<string> }> {
  const { ground, vaults } = on;
  const key = randomBytes(32);
  const account = new Tools.Account(new Uint8Array(key));
  const its = await issuer(on, ground.accounts[1]!, 10_000n * BTT);
  const cheques = Array.from({ length: count }, (_, at) => {
    // Close to each other, so that lower ones are erased on the way.
    const payout = 1_000n * BTT + BigInt(at) * 40n * BTT;
    return { payout: String(payout), cheque: its.cheque(account.address, payout) };
  });
  const settings = {
    chain: 'local',
    rpc: ground.rpcUrl,
    hub: formatAddress(ground.domain.hub),
    ...vaults.settings,
    ...LIMITS,
  };
  const plan = { settings, key: key.toString('hex'), vault: name(its.vault), cheques, early };
  return {
    kills: await prepare(plan),
    async held(dataDir) {
      const one = await party(on, account, LIMITS, dataDir);
      const { vaults: known } = await one.vaults.list();
      await one.close();
      return known[0]?.debts[0]?.cumulativePayout ?? '0';
    },
  };
}
