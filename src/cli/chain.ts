/** `piecework chain`: a local chain for trying things, deploying a hub, and what the configured chain says. */
import type { Command } from 'commander';
import { formatAddress } from '../channels/channel.js';
import * as Tools from '../engine/tools.js';
import { PieceworkError } from '../errors.js';
import { parseAmount } from '../units.js';
import { type CommonFlags, contextOf, interruption, unlock } from './context.js';
import * as Output from './output.js';

const CHALLENGE_PERIOD_SECONDS = 86_400;

export function addChainCommands(program: Command): void {
  const chain = program.command('chain').description('the chain that settles');
  chain
    .command('dev')
    .description('run a local chain that follows BTTC’s rules, with a hub and funded accounts, until Ctrl-C')
    .option('--challenge-period <seconds>', 'of the deployed hub', String(CHALLENGE_PERIOD_SECONDS))
    .option('--rpc-port <port>', 'where it listens; a free one by default')
    .action(async (_options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags & { challengePeriod: string; rpcPort?: string }>();
      await runDevChain(flags);
    });
  chain
    .command('deploy')
    .description('deploy a hub with the wallet, and print its address')
    .option(
      '--challenge-period <seconds>',
      'between a payer’s close request and its withdrawal',
      String(CHALLENGE_PERIOD_SECONDS),
    )
    .option('--max-gas <amount>', 'the most the gas may cost')
    .action(async (_options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags & { challengePeriod: string; maxGas?: string }>();
      const context = contextOf(flags);
      const gasMax = flags.maxGas === undefined ? context.config.buying.gasMax : parseAmount(flags.maxGas);
      const account = await unlock(context);
      const deployed = await Tools.deployHub(
        context.config.chain,
        account,
        seconds(flags.challengePeriod),
        gasMax,
        (hub) => flags.json || Output.line(`The hub will be ${formatAddress(hub)}`),
      );
      if (flags.json)
        return Output.json({
          hub: formatAddress(deployed.hub),
          transaction: deployed.hash,
          gas: String(deployed.gas),
          codeHash: deployed.codeHash,
          asset: deployed.terms.asset && formatAddress(deployed.terms.asset),
        });
      Output.line(`Hub ${formatAddress(deployed.hub)}, its code checked`);
      if (deployed.terms.asset) Output.line(`  escrows      ${formatAddress(deployed.terms.asset)}`);
      Output.line(`  code hash    ${deployed.codeHash}`);
      Output.line(`  transaction  ${deployed.hash}`);
      Output.line(`  gas          ${deployed.gas} (${Output.amount(deployed.cost)})`);
    });
  chain
    .command('probe')
    .description('what the chain can do; refuses one that is not what its profile says')
    .action(async (_options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags>();
      const found = await Tools.probeChain(contextOf(flags).config.chain);
      if (flags.json) return Output.json(found);
      showProbe(found);
    });
  chain
    .command('info')
    .description('what the node and the hub say')
    .action(async (_options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags>();
      const info = await Tools.chainInfo(contextOf(flags).config.chain);
      if (flags.json) return Output.json(info);
      Output.line(`${info.name}, chain ${info.chainId}, block ${info.block} (${info.time})`);
      Output.line(`  gas price    ${info.gasPrice} wei`);
      Output.line(`  confirmed    after ${info.confirmations} blocks`);
      Output.line(`  agreement    ${info.agreement} of ${info.nodes} nodes for what raises credit`);
      Output.line(`  hub          ${info.hub ?? 'none configured'}`);
      if (info.challengePeriod !== undefined) Output.line(`  challenge    ${info.challengePeriod} s`);
    });
}

function showProbe(found: Tools.ChainProbe): void {
  const can = (value: boolean | undefined): string =>
    value === undefined ? 'cannot be told' : value ? 'yes' : 'no';
  const seconds = found.blockTimeMs === undefined ? 'not measured' : `${found.blockTimeMs / 1_000} s`;
  const cost = found.settleCost === undefined ? undefined : Output.amount(BigInt(found.settleCost));
  const rows: ReadonlyArray<readonly [string, string]> = [
    ['first block', found.genesisHash],
    ['client', found.client ?? 'does not say'],
    ['block', `${found.block} (${found.time})`],
    ['block time', seconds],
    ['block gas', found.blockGasLimit],
    ['gas price', `${found.gasPrice} wei of ${found.coin}`],
    ['settling', cost === undefined ? 'no price: set --gas-rate' : `${cost} for 100 vouchers`],
    ['PUSH0', can(found.push0)],
    ['BASEFEE', can(found.baseFee)],
    ['TSTORE', can(found.transientStorage)],
    ['type 2', found.typeTwo ? 'yes (legacy transactions are sent all the same)' : 'no'],
    ['hub', found.hub === undefined ? 'none configured' : `${found.hub}, its code checked`],
    ...(found.hubCodeHash === undefined ? [] : [['code hash', found.hubCodeHash] as const]),
    ...(found.asset === undefined ? [] : [['escrows', found.asset] as const]),
    ...(found.challengePeriod === undefined ? [] : [['challenge', `${found.challengePeriod} s`] as const]),
    ['agreement', `${found.agreement} of ${found.nodes.length} nodes for what raises credit`],
    ...found.nodes.map(({ node, inUse }) => ['node', `${node}${inUse ? '' : ', set aside'}`] as const),
    ...found.alarms.map((text) => ['alarm', text] as const),
  ];
  Output.line(`${found.name}, chain ${found.chainId}: as its profile says`);
  for (const [name, value] of rows) Output.line(`  ${name.padEnd(12)} ${value}`);
}

async function runDevChain(
  flags: CommonFlags & { challengePeriod: string; rpcPort?: string },
): Promise<void> {
  const stop = interruption();
  const port = flags.rpcPort === undefined ? undefined : seconds(flags.rpcPort);
  const dev = await Tools.startDevChain(port === undefined ? {} : { port });
  try {
    const chain = { profile: dev.profile, rpcUrls: [dev.rpcUrl], confirmations: 1, hub: undefined };
    const deployed = await Tools.deployHub(
      chain,
      dev.accounts[0]!,
      seconds(flags.challengePeriod),
      undefined,
    );
    const hub = formatAddress(deployed.hub);
    if (flags.json) {
      Output.json({ event: 'ready', rpc: dev.rpcUrl, chainId: String(dev.profile.chainId), hub });
    } else {
      Output.line(`Local chain ${dev.profile.chainId} at ${dev.rpcUrl}`);
      Output.line(`  hub          ${hub}`);
      Output.line(`  use it with  --chain local --rpc ${dev.rpcUrl} --hub ${hub}`);
      Output.line('  accounts     (their keys are public: never use them on another chain)');
      for (const account of dev.accounts) Output.line(`    ${formatAddress(account.address)}`);
      Output.line('Ctrl-C ends it.');
    }
    await new Promise<void>((resolve) =>
      stop.signal.addEventListener('abort', () => resolve(), { once: true }),
    );
  } finally {
    await dev.stop();
  }
}

function seconds(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0 && value < 2 ** 32) return value;
  throw new PieceworkError('BAD_ARGUMENT', `"${text}" is not a whole number of at least 1`);
}
