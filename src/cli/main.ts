#!/usr/bin/env node
/**
 * The `piecework` command: names, flags and help of all commands, and one place where errors become exit
 * statuses. What a command does stands in the file of its name.
 */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { Command, CommanderError } from 'commander';
import { COLLECTOR_FLAG } from '../memory.js';
import { VERSION } from '../version.js';
import { addChainCommands } from './chain.js';
import { addChannelCommands } from './channel.js';
import type { CommonFlags } from './context.js';
import { addDemoCommand } from './demo.js';
import { addGetCommand } from './get.js';
import * as Output from './output.js';
import { addSeedCommand } from './seed.js';
import { addTowerCommands } from './tower.js';
import { addVaultCommands } from './vault.js';
import { addWalletCommands } from './wallet.js';

setFlagsFromString(COLLECTOR_FLAG);

const EXIT_STATUSES = `
Exit status: 0 done, 1 a bug, 2 wrong usage, 3 wrong input, 4 disk, 5 ledger, 6 chain, 7 money, 8 network,
9 wallet, 130 interrupted. Amounts are written with a unit: 20BTT, 0.5BTT, 1000wei; prices like 0.5BTT/GiB.`;

function build(): Command {
  const program = new Command('piecework')
    .description('Pay for BitTorrent pieces, and be paid for serving them.')
    .version(VERSION)
    .option('--data-dir <folder>', 'where wallet, ledger and settings are (default: ~/.piecework)')
    .option('--chain <name>', 'bttc, donau, ethereum, bnb, local, or a profile file (default: bttc)')
    .option('--rpc <urls>', 'nodes of that chain, separated by commas')
    .option('--hub <address>', 'the escrow contract')
    .option('--asset <address>', 'the ERC-20 that it escrows, where not the chain’s own')
    .option('--confirmations <count>', 'blocks after which the chain is believed')
    .option(
      '--agreement <count>',
      'nodes that must agree on what raises credit (default: 2, or 1 with one node)',
    )
    .option('--gas-rate <btt>', 'BTT for one coin of gas, where gas is not paid in BTT')
    .option('--password-file <file>', 'first line is the wallet password (asked for in a terminal otherwise)')
    .option('--log-level <level>', 'silent, error, warn, info, debug or trace')
    .option('--json', 'print JSON for programs instead of text')
    .addHelpText('after', EXIT_STATUSES)
    .showHelpAfterError('(add --help for what is possible)')
    .exitOverride();
  addSeedCommand(program);
  addGetCommand(program);
  addChannelCommands(program);
  addVaultCommands(program);
  addWalletCommands(program);
  addChainCommands(program);
  addTowerCommands(program);
  addDemoCommand(program);
  return program;
}

/** Runs one command line (without node and script) and sets the process's exit status. */
export async function main(args: readonly string[]): Promise<void> {
  const program = build();
  inheritExitOverride(program);
  try {
    await program.parseAsync([...args], { from: 'user' });
  } catch (thrown) {
    if (thrown instanceof CommanderError) {
      process.exitCode = thrown.exitCode === 0 ? 0 : 2;
    } else {
      process.exitCode = Output.failure(thrown, program.opts<CommonFlags>().json === true);
    }
  }
}

function inheritExitOverride(command: Command): void {
  for (const child of command.commands) {
    child.exitOverride().showHelpAfterError('(add --help for what is possible)');
    inheritExitOverride(child);
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await main(process.argv.slice(2));
}
