/** `piecework get`: downloads a torrent, paying per verified piece within a budget, or for free. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { FetchEnd, FetchEvent, FetchRequest } from '../engine/operations.js';
import { createEngine } from '../engine.js';
import { fileErrorCode, PieceworkError } from '../errors.js';
import { formatSize, parseAmount, parsePrice } from '../units.js';
import { type CommonFlags, type Context, contextOf, interruption, unlock } from './context.js';
import { reachDaemon } from './daemon.js';
import * as Output from './output.js';

interface GetFlags extends CommonFlags {
  readonly to?: string;
  readonly budget?: string;
  readonly peer?: string[];
}

export function addGetCommand(program: Command): void {
  program
    .command('get <torrent>')
    .description('download a .torrent file or magnet link; without --budget only from peers that ask nothing')
    .option('--budget <amount>', 'the most to spend on this torrent, earlier runs included; gas is apart')
    .option('--max-price <price>', 'the most to pay, like 0.5BTT/GiB')
    .option('--max-gas <amount>', 'the most that gas for opening and topping up channels may cost')
    .option('--max-prepay <amount>', 'the most to pay ahead of receiving')
    .option('--pay-ticks', 'pay block by block where that is offered; risks a piece less a block per seller')
    .option('--to <folder>', 'where the files go', '.')
    .option('--peer <host:port...>', 'peers to try besides those of the trackers')
    .option('--port <port>', 'port told to trackers', '0')
    .option('--threads <count>', 'threads for hashing and signatures')
    .action(async (torrent: string, _options, command: Command) =>
      get(torrent, command.optsWithGlobals<GetFlags>()),
    );
}

async function get(torrent: string, flags: GetFlags): Promise<void> {
  const context = contextOf(flags);
  const budget = flags.budget === undefined ? 0n : parseAmount(flags.budget);
  if (flags.maxPrice !== undefined) parsePrice(flags.maxPrice);
  const request: FetchRequest = {
    ...(torrent.startsWith('magnet:') ? { magnet: torrent } : { torrent: readTorrent(torrent) }),
    folder: resolve(flags.to ?? '.'),
    budget: String(budget),
    priceMiBMax: String(context.config.buying.priceMiBMax),
    gasMax: String(context.config.buying.gasMax),
    payTicks: context.config.buying.ticks,
    ...(flags.peer ? { peers: flags.peer } : {}),
  };
  const stop = interruption();
  const show = flags.json ? jsonView() : textView();
  const end = await run(context, request, budget > 0n, show.event, stop.signal);
  show.end(end);
}

async function run(
  context: Context,
  request: FetchRequest,
  paying: boolean,
  onEvent: (event: FetchEvent) => void,
  signal: AbortSignal,
): Promise<FetchEnd> {
  const daemon = await reachDaemon(context.config.dataDir);
  if (daemon) return daemon.fetch(request, onEvent, signal);
  // Without a password only channels that are open already can pay.
  const mayUnlock = paying && (context.flags.passwordFile !== undefined || process.stdin.isTTY === true);
  const account = mayUnlock ? await unlock(context) : undefined;
  const engine = await createEngine({
    config: context.config,
    ...(account ? { account } : {}),
    buy: paying,
    listen: true,
  });
  try {
    return await engine.fetch(request, onEvent, signal);
  } finally {
    await engine.close();
  }
}

interface View {
  event(event: FetchEvent): void;
  end(end: FetchEnd): void;
}

function jsonView(): View {
  return { event: (event) => Output.json(event), end: (end) => Output.json(end) };
}

function textView(): View {
  const progress = Output.progress();
  return {
    event(event) {
      switch (event.event) {
        case 'metadata':
          return progress.note(`${event.name}: ${formatSize(event.bytes)} in ${event.pieces} pieces`);
        case 'checked':
          return event.pieces > 0 ? progress.note(`${event.pieces} pieces are here already`) : undefined;
        case 'gas':
          return progress.note(
            `${event.purpose}: gas up to ${Output.amount(event.feeMax)} (allowed: ${Output.amount(event.ceiling)})`,
          );
        case 'channel':
          return progress.note(
            `paying ${event.payee} through ${event.opened ? 'a new' : 'an open'} channel with ${Output.amount(event.deposit)}`,
          );
        case 'warning':
          return progress.note(event.text);
        case 'progress':
          return progress.show(event);
        default:
          return undefined;
      }
    },
    end(end) {
      progress.end();
      Output.line(`Done: ${formatSize(end.bytes)} in ${end.folder}`);
      if (end.piecesBought > 0) {
        Output.line(
          `  bought       ${end.piecesBought} pieces, ${formatSize(end.bytesBought)}, for ${Output.amount(end.spent)}`,
        );
      }
      if (!end.acknowledged)
        Output.line('  a payee has not acknowledged its last voucher; it gets it at the next contact');
    },
  };
}

function readTorrent(file: string): string {
  try {
    return readFileSync(file).toString('base64');
  } catch (thrown) {
    const missing = (thrown as { code?: unknown }).code === 'ENOENT';
    const code = missing ? 'NOT_FOUND' : (fileErrorCode(thrown) ?? 'IO');
    throw new PieceworkError(code, `${file}: ${(thrown as Error).message}`, { cause: thrown });
  }
}
