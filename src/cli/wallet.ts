/** `piecework wallet`: the key that opens, settles and withdraws, in an encrypted file. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { formatAddress } from '../channels/channel.js';
import * as Tools from '../engine/tools.js';
import { fileErrorCode, PieceworkError } from '../errors.js';
import { type CommonFlags, contextOf } from './context.js';
import * as Output from './output.js';
import { newPassword, readPassword } from './password.js';

export function addWalletCommands(program: Command): void {
  const wallet = program.command('wallet').description('the key that opens channels, settles and withdraws');
  wallet
    .command('new')
    .description('make a new wallet, encrypted with a password')
    .action(async (_options, command: Command) => {
      const { flags, walletPath } = contextOf(command.optsWithGlobals<CommonFlags>());
      const account = await Tools.createWallet(walletPath, await newPassword(flags.passwordFile));
      report(flags, walletPath, formatAddress(account.address));
      if (!flags.json)
        Output.line('Keep a copy of that file and its password: nobody can restore them for you.');
    });
  wallet
    .command('import <file>')
    .description('take over a keystore (version 3), a private key in hex or a mnemonic from a file')
    .option('--source-password-file <file>', 'password of the imported keystore, if it is another one')
    .action(async (file: string, _options, command: Command) => {
      type Flags = CommonFlags & { sourcePasswordFile?: string };
      const flags = command.optsWithGlobals<Flags>();
      const { walletPath } = contextOf(flags);
      const secret = readSource(file);
      const password = await newPassword(flags.passwordFile);
      const sourcePassword =
        flags.sourcePasswordFile === undefined ? password : await readPassword(flags.sourcePasswordFile);
      const account = await Tools.importWallet(walletPath, secret, password, { sourcePassword });
      report(flags, walletPath, formatAddress(account.address));
    });
  wallet
    .command('show')
    .description('address of the wallet and, with --balance, what it holds')
    .option('--balance', 'ask the chain for the balance and the credit at the hub')
    .action(async (_options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags & { balance?: boolean }>();
      const { config, walletPath } = contextOf(flags);
      const address = await Tools.showWallet(walletPath);
      if (!flags.balance) return report(flags, walletPath, formatAddress(address));
      const { balance, credit } = await Tools.balances(config.chain, address);
      if (flags.json)
        return Output.json({
          address: formatAddress(address),
          balance: String(balance),
          credit: credit && String(credit),
        });
      Output.line(formatAddress(address));
      Output.line(`  balance      ${Output.amount(balance)}`);
      if (credit !== undefined) Output.line(`  hub credit   ${Output.amount(credit)}`);
    });
}

function report(flags: CommonFlags, path: string, address: string): void {
  if (flags.json) Output.json({ address, path });
  else Output.line(`${address}\n  ${path}`);
}

function readSource(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (thrown) {
    throw new PieceworkError(fileErrorCode(thrown) ?? 'NOT_FOUND', `${file}: ${(thrown as Error).message}`, {
      cause: thrown,
    });
  }
}
