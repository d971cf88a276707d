/**
 * A chain on this machine for trying things out: anvil under the rules of BitTorrent Chain (Berlin, legacy
 * transactions, its gas price and block time). Transactions are mined at once, and a block comes every two
 * seconds anyway. Its accounts are known to everyone; its coins are worth nothing.
 *
 * Like a public node it is no archive: it keeps the states of the last blocks, three hundred or so, and in memory alone,
 * for what anvil writes to the disk stays there when it is killed.
 *
 * It never outlives its parent: where there is a shell, a guard that waits for the parent's end of a pipe
 * ends the chain even when the parent is killed. Without a shell a killed parent leaves the chain behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { devNull } from 'node:os';
import { getBytes, HDNodeWallet, Mnemonic } from 'ethers';
import { PieceworkError } from '../errors.js';
import { Account } from './account.js';
import { named, type Profile } from './profile.js';

export interface DevChainOptions {
  readonly chainId?: bigint;
  /** Loopback port; a free one where none is given. */
  readonly port?: number;
  /** Seconds between blocks; 0 makes blocks only for transactions. */
  readonly blockTime?: number;
  /** Rules of the EVM; Berlin, those of BTTC, where none are named. */
  readonly hardfork?: string;
  readonly accountCount?: number;
  /** Funds of each account, in whole coins. */
  readonly balance?: number;
  readonly startTimeoutMs?: number;
}

export interface DevChain {
  readonly rpcUrl: string;
  /** The local profile with this chain's id and node. */
  readonly profile: Profile;
  readonly accounts: readonly Account[];
  /** The process of the chain itself. */
  readonly pid: number;
  /** Ends the process and resolves once it is gone. */
  stop(): Promise<void>;
}

/** The mnemonic every development chain uses. Never send anything of value to its accounts. */
export const MNEMONIC = 'test test test test test test test test test test test junk';

const local = named('local');
const GAS_LIMIT = 20_000_000;
const BLOCK_TIME = 2;
/** Blocks that a reorganisation can take back. Each one that does leaves a state less. */
const STATES_KEPT = 300;
const ACCOUNT_COUNT = 10;
const BALANCE = 1_000_000_000;
const START_TIMEOUT_MS = 30_000;
const outputBytesMax = 64 * 1024;

/** @throws PieceworkError NOT_FOUND when anvil is not installed, LISTEN_FAILED when it does not start. */
export async function start(options: DevChainOptions = {}): Promise<DevChain> {
  const chainId = options.chainId ?? local.chainId;
  const anvil = spawn(binary(), flags(options, chainId), { stdio: ['ignore', 'pipe', 'pipe'] });
  const end = (): void => void anvil.kill('SIGKILL');
  process.once('exit', end);
  const gone = exited(anvil);
  const guard = guardOf(anvil.pid);
  const stop = async (): Promise<void> => {
    process.off('exit', end);
    guard?.kill('SIGKILL');
    end();
    await gone;
  };
  void gone.then(() => guard?.kill('SIGKILL'));
  try {
    const port = await listening(anvil, gone, options.startTimeoutMs ?? START_TIMEOUT_MS);
    const rpcUrl = `http://127.0.0.1:${port}`;
    const profile = { ...local, chainId, rpcUrls: [rpcUrl] };
    return {
      rpcUrl,
      profile,
      accounts: accounts(options.accountCount ?? ACCOUNT_COUNT),
      pid: anvil.pid!,
      stop,
    };
  } catch (thrown) {
    await stop();
    throw thrown;
  }
}

/** The accounts of every development chain, derived as wallets do (BIP 44, coin type 60). */
export function accounts(count: number): readonly Account[] {
  const root = HDNodeWallet.fromMnemonic(Mnemonic.fromPhrase(MNEMONIC), "m/44'/60'/0'/0");
  return Array.from(
    { length: count },
    (_, index) => new Account(getBytes(root.deriveChild(index).privateKey)),
  );
}

function flags(options: DevChainOptions, chainId: bigint): string[] {
  const blockTime = options.blockTime ?? BLOCK_TIME;
  return [
    ...['--host', '127.0.0.1', '--port', String(options.port ?? 0)],
    ...['--hardfork', options.hardfork ?? 'berlin', '--chain-id', String(chainId)],
    ...['--gas-price', String(local.gasPriceFloor), '--gas-limit', String(GAS_LIMIT)],
    ...['--mnemonic', MNEMONIC, '--accounts', String(options.accountCount ?? ACCOUNT_COUNT)],
    ...['--balance', String(options.balance ?? BALANCE)],
    ...['--prune-history', String(STATES_KEPT), '--cache-path', devNull],
    ...(blockTime > 0 ? ['--block-time', String(blockTime), '--mixed-mining'] : []),
  ];
}

/** The program itself: the command npm links is a wrapper that leaves it behind when it is killed. */
function binary(): string {
  const system = { linux: 'linux', darwin: 'darwin', win32: 'win32' }[process.platform as string];
  const machine = { x64: 'amd64', arm64: 'arm64' }[process.arch as string];
  const file = process.platform === 'win32' ? 'anvil.exe' : 'anvil';
  const require = createRequire(import.meta.url);
  try {
    return require.resolve(`@foundry-rs/anvil-${system}-${machine}/bin/${file}`);
  } catch {
    const detail = `anvil is not installed for ${process.platform} ${process.arch}; run \`npm install\``;
    throw new PieceworkError('NOT_FOUND', detail);
  }
}

/** A shell that waits for its input to end, which happens when this process does, and then ends `pid`. */
function guardOf(pid: number | undefined): ChildProcess | undefined {
  if (pid === undefined || process.platform === 'win32') return undefined;
  const script = 'while read -r line; do :; done; kill -9 "$0" 2>/dev/null';
  const guard = spawn('/bin/sh', ['-c', script, String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  guard.on('error', () => undefined);
  guard.unref();
  return guard;
}

async function exited(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await Promise.race([once(child, 'exit'), once(child, 'error')]).catch(() => undefined);
}

/** Resolves with the port once the chain says that it listens; what it says later is thrown away. */
async function listening(child: ChildProcess, gone: Promise<void>, timeoutMs: number): Promise<number> {
  let output = '';
  const found = new Promise<number>((resolve) => {
    const hear = (bytes: Buffer): void => {
      output = (output + bytes.toString('utf8')).slice(-outputBytesMax);
      const match = /Listening on [^\s]*:(\d+)/.exec(output);
      if (!match) return;
      for (const stream of [child.stdout, child.stderr]) stream?.off('data', hear).resume();
      resolve(Number(match[1]));
    };
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', hear);
  });
  const timeout = AbortSignal.timeout(timeoutMs);
  const late = new Promise<undefined>((resolve) => {
    timeout.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  const port = await Promise.race([found, gone, late]);
  if (typeof port === 'number') return port;
  const said = output.trim().split('\n').at(-1) ?? '';
  throw new PieceworkError('LISTEN_FAILED', `the development chain did not start: ${said.slice(0, 300)}`);
}
