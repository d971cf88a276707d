/**
 * Where settings come from and what they are: command-line flags, then environment, then `config.json` in the
 * data folder, then defaults. Validated once, here. Keys and passwords are never settings.
 */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Address, parseAddress } from './channels/channel.js';
import { PieceworkError } from './errors.js';
import { towersMax } from './limits.js';
import * as GasRate from './settlement/gas-rate.js';
import type { Policy } from './settlement/planner.js';
import * as Profile from './settlement/profile.js';
import { type Limits, parseLimits } from './settlement/vaults/credit.js';
import { deploymentOn, type VaultDeployment } from './settlement/vaults/deployments.js';
import { MIB, parseAmount, parseDuration, parsePrice, parseSize } from './units.js';

export interface Config {
  readonly dataDir: string;
  readonly chain: ChainConfig;
  readonly selling: SellingConfig;
  readonly buying: BuyingConfig;
  readonly settling: SettlingConfig;
  readonly vaults: VaultsConfig;
  readonly daemon: DaemonConfig;
  /** Towers that hold our claims for us. */
  readonly towers: readonly TowerPlace[];
  readonly tower: TowerConfig;
}

/** Where a tower is and what opens it. */
export interface TowerPlace {
  readonly url: string;
  readonly tokenFile: string;
}

/** A tower that we run. Amounts in base units. */
export interface TowerConfig {
  readonly host: string;
  readonly port: number;
  /** The most the gas of all transactions for one client on one day may cost. */
  readonly gasPerDay: bigint;
  /** Seconds after a close request in which others settle first; undefined takes a part of the challenge period. */
  readonly graceSeconds: number | undefined;
  /** Settle also what is worth less than its gas. */
  readonly dust: boolean;
}

export interface ChainConfig {
  readonly profile: Profile.Profile;
  readonly rpcUrls: readonly string[];
  /** Blocks after which what the chain says counts in full. */
  readonly confirmations: number;
  readonly hub: Address | undefined;
  /** Nodes that must agree on what raises credit; by default two, or one where only one is configured. */
  readonly agreement?: number;
  /** What gas costs in BTT; undefined where it is paid in another coin and no rate is set. */
  readonly gasRate?: GasRate.GasRate | undefined;
}

/** What a payee asks and risks. Amounts in base units. */
export interface SellingConfig {
  readonly priceMiB: bigint;
  readonly exposureMax: bigint;
  readonly windowBytes: number;
  readonly minStep: bigint;
  readonly prepay: bigint;
  /** Whether blocks can be paid one by one: never, if the payer wants, or always. */
  readonly ticks: 'off' | 'offer' | 'require';
  /** Unpaid peers served at a time; 0 serves paying peers only. */
  readonly freeSlots: number;
  /** Blocks after which a deposit counts up to `earlyCredit`, where that is sooner than `confirmations`. */
  readonly earlyConfirmations: number;
  /** The part of one channel's deposit that counts early; 0 for none. */
  readonly earlyCredit: bigint;
}

export interface BuyingConfig {
  readonly priceMiBMax: bigint;
  /** The most that gas for opening and topping up may cost, in base units. */
  readonly gasMax: bigint;
  readonly prepayMax: bigint;
  /** Pay block by block where that is offered; it risks what a piece costs less a block. */
  readonly ticks: boolean;
}

/** When a payee settles. Amounts in base units. */
export interface SettlingConfig {
  /** Settle by itself while serving with a wallet. */
  readonly auto: boolean;
  /** How often the question is asked. */
  readonly periodMs: number;
  readonly policy: Omit<Policy, 'force'>;
  /** The most that gas for one settlement may cost. */
  readonly gasMax: bigint;
}

/** BTFS vaults: which ones count, and how much unsecured credit their issuers get (vaults.md 4, 5). */
export interface VaultsConfig {
  /** Undefined where no vaults are known. */
  readonly deployment: VaultDeployment | undefined;
  /** Over all issuers. */
  readonly limits: Limits;
  /** Of one issuer, where the operator set none for it. */
  readonly issuerLimits: Limits;
}

export interface DaemonConfig {
  readonly host: string;
  readonly port: number;
  readonly apiPort: number;
  readonly logLevel: string;
  readonly threads: number;
}

/** Settings as people write them; every one is optional. Names are those of `config.json`. */
export interface Settings {
  readonly dataDir?: string;
  readonly chain?: string;
  readonly rpc?: readonly string[] | string;
  readonly confirmations?: number | string;
  readonly earlyConfirmations?: number | string;
  readonly earlyCredit?: string;
  readonly hub?: string;
  readonly asset?: string;
  readonly agreement?: number | string;
  readonly gasRate?: string;
  readonly price?: string;
  readonly exposure?: string;
  readonly window?: string;
  readonly step?: string;
  readonly prepay?: string;
  /** `off`, `offer` or `require`. */
  readonly ticks?: string;
  readonly freeSlots?: number | string;
  readonly maxPrice?: string;
  readonly maxGas?: string;
  readonly maxPrepay?: string;
  readonly payTicks?: boolean | string;
  /** `auto` or `manual`. */
  readonly settle?: string;
  readonly settleEvery?: string;
  readonly settleGain?: number | string;
  readonly settleProfit?: string;
  readonly settleAge?: string;
  readonly settleExposure?: string;
  readonly settleMaxGas?: string;
  readonly vaultLimit?: string;
  readonly vaultIssuerLimit?: string;
  readonly vaultWbtt?: string;
  readonly vaultFactory?: readonly string[] | string;
  readonly vaultLogic?: readonly string[] | string;
  readonly host?: string;
  readonly port?: number | string;
  readonly apiPort?: number | string;
  readonly logLevel?: string;
  readonly threads?: number | string;
  /** `URL,TOKENFILE`, or objects of both; in one text separated by spaces. */
  readonly towers?: ReadonlyArray<TowerPlace | string> | string;
  readonly towerListen?: string;
  readonly towerGasPerDay?: string;
  readonly towerGrace?: number | string;
  readonly towerDust?: boolean | string;
}

const DEFAULTS = {
  chain: 'bttc',
  price: '0.5BTT/GiB',
  exposure: '1BTT',
  window: '64MiB',
  step: '0wei',
  prepay: '0wei',
  ticks: 'offer',
  freeSlots: 0,
  earlyConfirmations: 12,
  earlyCredit: '10BTT',
  maxPrice: '0.5BTT/GiB',
  maxGas: '300BTT',
  maxPrepay: '0wei',
  payTicks: false,
  settle: 'auto',
  settleEvery: '1min',
  settleGain: 50,
  settleProfit: '0wei',
  settleAge: '7d',
  settleExposure: 'none',
  settleMaxGas: '150000BTT',
  vaultLimit: '0wei',
  vaultIssuerLimit: '0wei',
  host: '0.0.0.0',
  port: 6881,
  apiPort: 0,
  logLevel: 'info',
  threads: 2,
  towers: [],
  towerListen: '127.0.0.1:7881',
  towerGasPerDay: '3000BTT',
  towerDust: false,
} as const satisfies Settings;

/** Everything that can be set. */
export const settingNames = [
  ...(Object.keys(DEFAULTS) as (keyof typeof DEFAULTS)[]),
  ...(['dataDir', 'rpc', 'confirmations', 'hub', 'asset', 'agreement', 'gasRate', 'towerGrace'] as const),
  ...(['vaultWbtt', 'vaultFactory', 'vaultLogic'] as const),
];
const NAMES = new Set<string>(settingNames);
const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug', 'trace'];

/** Merges flags over environment over file over defaults and validates the result. */
export function load(flags: Settings = {}, environment: NodeJS.ProcessEnv = process.env): Config {
  const fromEnvironment = readEnvironment(environment);
  const dataDir = resolve(flags.dataDir ?? fromEnvironment.dataDir ?? join(homedir(), '.piecework'));
  const settings: Settings = {
    ...DEFAULTS,
    ...readFile(join(dataDir, 'config.json')),
    ...fromEnvironment,
    ...defined(flags),
  };
  return {
    dataDir,
    chain: chainOf(settings),
    selling: {
      priceMiB: parsePrice(settings.price!),
      exposureMax: positive('exposure', parseAmount(settings.exposure!)),
      windowBytes: whole('window', parseSize(settings.window!), 16_384, 1024 * MIB),
      minStep: parseAmount(settings.step!),
      prepay: parseAmount(settings.prepay!),
      ticks: oneOf('ticks', settings.ticks!, ['off', 'offer', 'require']),
      freeSlots: whole('freeSlots', settings.freeSlots!, 0, 1_000),
      earlyConfirmations: whole('earlyConfirmations', settings.earlyConfirmations!, 1, 10_000),
      earlyCredit: parseAmount(settings.earlyCredit!),
    },
    buying: {
      priceMiBMax: parsePrice(settings.maxPrice!),
      gasMax: parseAmount(settings.maxGas!),
      prepayMax: parseAmount(settings.maxPrepay!),
      ticks: flag('payTicks', settings.payTicks!),
    },
    settling: settlingOf(settings),
    vaults: vaultsOf(settings),
    daemon: {
      host: settings.host!,
      port: whole('port', settings.port!, 0, 65_535),
      apiPort: whole('apiPort', settings.apiPort!, 0, 65_535),
      logLevel: oneOf('logLevel', settings.logLevel!, LOG_LEVELS),
      threads: whole('threads', settings.threads!, 1, 64),
    },
    towers: towersOf(settings.towers!),
    tower: towerOf(settings),
  };
}

function settlingOf(settings: Settings): SettlingConfig {
  const exposure = settings.settleExposure!;
  return {
    auto: oneOf('settle', settings.settle!, ['auto', 'manual']) === 'auto',
    periodMs: whole('settleEvery', parseDuration(settings.settleEvery!), 1, 86_400) * 1_000,
    policy: {
      gainFactor: BigInt(whole('settleGain', settings.settleGain!, 1, 1_000_000)),
      profitMin: parseAmount(settings.settleProfit!),
      ageMaxS: parseDuration(settings.settleAge!),
      exposureMax: exposure === 'none' ? undefined : parseAmount(exposure),
    },
    gasMax: parseAmount(settings.settleMaxGas!),
  };
}

function towerOf(settings: Settings): TowerConfig {
  const [, host, port] = /^(.+):(\d+)$/.exec(settings.towerListen!) ?? [];
  if (host === undefined || port === undefined) {
    throw new PieceworkError('BAD_CONFIG', 'towerListen must be an address and a port, like 127.0.0.1:7881');
  }
  const { towerGrace: grace } = settings;
  return {
    host: host.replace(/^\[(.*)\]$/, '$1'),
    port: whole('port of towerListen', port, 0, 65_535),
    gasPerDay: positive('towerGasPerDay', parseAmount(settings.towerGasPerDay!)),
    graceSeconds: grace === undefined ? undefined : whole('towerGrace', grace, 0, 2 ** 31),
    dust: flag('towerDust', settings.towerDust!),
  };
}

function towersOf(places: NonNullable<Settings['towers']>): readonly TowerPlace[] {
  const list = typeof places === 'string' ? places.split(/\s+/).filter((text) => text !== '') : places;
  if (!Array.isArray(list) || list.length > towersMax) {
    throw new PieceworkError('BAD_CONFIG', `towers must be a list of at most ${towersMax}`);
  }
  return list.map((place: TowerPlace | string) => {
    const [url, tokenFile] =
      typeof place === 'string' ? place.split(/,(.*)/s, 2) : [place?.url, place?.tokenFile];
    if (typeof url !== 'string' || typeof tokenFile !== 'string' || tokenFile === '') {
      throw new PieceworkError('BAD_CONFIG', 'a tower is written as URL,TOKENFILE');
    }
    return { url: httpUrl(url, 'a tower'), tokenFile: resolve(tokenFile) };
  });
}

function chainOf(settings: Settings): ChainConfig {
  const named = Profile.named(settings.chain!);
  const profile = settings.asset === undefined ? named : { ...named, asset: parseAddress(settings.asset) };
  const rpc = typeof settings.rpc === 'string' ? settings.rpc.split(',') : settings.rpc;
  const rpcUrls = (rpc ?? profile.rpcUrls).map((url) => httpUrl(url.trim()));
  const confirmations = settings.confirmations ?? profile.confirmations;
  const agreement = settings.agreement ?? Math.min(2, rpcUrls.length);
  return {
    profile,
    rpcUrls,
    confirmations: whole('confirmations', confirmations, 1, 10_000),
    hub: settings.hub === undefined ? profile.hub : parseAddress(settings.hub),
    agreement: whole('agreement', agreement, 1, rpcUrls.length),
    gasRate: GasRate.rateOf(profile, settings.gasRate),
  };
}

function vaultsOf(settings: Settings): VaultsConfig {
  const { chainId } = Profile.named(settings.chain!);
  const deployment = deploymentOn(chainId, {
    wbtt: settings.vaultWbtt === undefined ? undefined : parseAddress(settings.vaultWbtt),
    factories: addresses(settings.vaultFactory),
    logics: addresses(settings.vaultLogic),
  });
  const wbtt = deployment?.wbtt;
  return {
    deployment,
    limits: parseLimits(settings.vaultLimit!, wbtt),
    issuerLimits: parseLimits(settings.vaultIssuerLimit!, wbtt),
  };
}

function addresses(list: readonly string[] | string | undefined): readonly Address[] {
  const texts = typeof list === 'string' ? list.split(',') : (list ?? []);
  return texts.map((text) => parseAddress(text.trim()));
}

function readFile(path: string): Settings {
  if (!existsSync(path)) return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'));
  } catch (thrown) {
    throw new PieceworkError('BAD_CONFIG', `${path} is not JSON: ${(thrown as Error).message}`, {
      cause: thrown,
    });
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new PieceworkError('BAD_CONFIG', `${path} must hold one object`);
  }
  for (const name of Object.keys(parsed)) {
    if (!NAMES.has(name)) throw new PieceworkError('BAD_CONFIG', `${path}: there is no setting "${name}"`);
  }
  return parsed as Settings;
}

/** PIECEWORK_DATA and PIECEWORK_<SETTING_NAME>. */
function readEnvironment(environment: NodeJS.ProcessEnv): Settings {
  const settings: Record<string, string> = {};
  for (const name of NAMES) {
    const variable = `PIECEWORK_${name === 'dataDir' ? 'DATA' : name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
    const value = environment[variable];
    if (value !== undefined && value !== '') settings[name] = value;
  }
  return settings;
}

function defined(settings: Settings): Settings {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

function whole(name: string, value: number | string, least: number, most: number): number {
  const number = typeof value === 'string' ? Number(value) : value;
  if (Number.isInteger(number) && number >= least && number <= most) return number;
  throw new PieceworkError(
    'BAD_CONFIG',
    `${name} must be a whole number from ${least} to ${most}, not "${value}"`,
  );
}

function positive(name: string, amount: bigint): bigint {
  if (amount > 0n) return amount;
  throw new PieceworkError('BAD_CONFIG', `${name} must be more than nothing`);
}

function flag(name: string, value: boolean | string): boolean {
  return oneOf(name, String(value), ['true', 'false']) === 'true';
}

function oneOf<Choice extends string>(name: string, value: string, choices: readonly Choice[]): Choice {
  const choice = choices.find((one) => one === value);
  if (choice !== undefined) return choice;
  throw new PieceworkError('BAD_CONFIG', `${name} must be one of ${choices.join(', ')}, not "${value}"`);
}

function httpUrl(text: string, what = 'a node'): string {
  try {
    const url = new URL(text);
    if (url.protocol === 'http:' || url.protocol === 'https:') return url.href;
  } catch {
    // Told below, with the text that is wrong.
  }
  throw new PieceworkError(
    'BAD_CONFIG',
    `"${text}" is not the address of ${what}; write it like http://127.0.0.1:8545`,
  );
}
