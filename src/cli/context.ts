/**
 * What every command needs: the merged settings, and the operations of whoever owns the data folder — the
 * running daemon, or an engine of this process that ends with the command.
 */
import { join } from 'node:path';
import { type Config, load, type Settings, settingNames } from '../config.js';
import type { Operations } from '../engine/operations.js';
import * as Tools from '../engine/tools.js';
import { createEngine, type Engine } from '../engine.js';
import { reachDaemon } from './daemon.js';
import { readPassword } from './password.js';

/** Flags that every command takes. */
export interface CommonFlags extends Settings {
  readonly json?: boolean;
  readonly passwordFile?: string;
}

export interface Context {
  readonly flags: CommonFlags;
  readonly config: Config;
  readonly walletPath: string;
}

export function contextOf(flags: CommonFlags): Context {
  const { json: _json, passwordFile: _passwordFile, ...settings } = flags;
  const config = load(pick(settings));
  return { flags, config, walletPath: join(config.dataDir, 'wallet.json') };
}

function pick(flags: Settings): Settings {
  return Object.fromEntries(
    settingNames.filter((name) => flags[name] !== undefined).map((name) => [name, flags[name]]),
  );
}

/** Unlocks the wallet of the data folder. */
export async function unlock({ flags, walletPath }: Context): Promise<Tools.Account> {
  await Tools.showWallet(walletPath);
  return Tools.unlockWallet(walletPath, await readPassword(flags.passwordFile));
}

/**
 * Runs `work` with the operations of the daemon if one runs, else of an engine of our own. `wallet` says
 * whether the work may send transactions.
 */
export async function withOperations<Result>(
  context: Context,
  wallet: 'needed' | 'none',
  work: (operations: Operations) => Promise<Result>,
): Promise<Result> {
  const daemon = await reachDaemon(context.config.dataDir);
  if (daemon) return work(daemon);
  return withEngine(context, wallet === 'needed' ? await unlock(context) : undefined, work);
}

/** Runs `work` with an engine of this process, and closes it whatever happens. */
export async function withEngine<Result>(
  { config }: Context,
  account: Tools.Account | undefined,
  work: (engine: Engine) => Promise<Result>,
): Promise<Result> {
  const engine = await createEngine({ config, ...(account ? { account } : {}) });
  try {
    return await work(engine);
  } finally {
    await engine.close();
  }
}

/** A signal that is aborted by Ctrl-C and by SIGTERM; a second Ctrl-C ends the process at once. */
export function interruption(): AbortController {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  process.on('SIGHUP', stop);
  return controller;
}
