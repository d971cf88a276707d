/** `piecework seed`: the payee's daemon. Serves torrents, takes vouchers, answers other commands. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { SeedView } from '../engine/operations.js';
import { createEngine } from '../engine.js';
import { fileErrorCode, PieceworkError } from '../errors.js';
import { formatPrice, formatSize, parseSize } from '../units.js';
import { type CommonFlags, type Context, contextOf, interruption, unlock } from './context.js';
import { announce, reachDaemon } from './daemon.js';
import * as Output from './output.js';

interface SeedFlags extends CommonFlags {
  readonly tracker?: string[];
  readonly tower?: string[];
  readonly torrent?: string;
  readonly torrentOut?: string;
  readonly name?: string;
  readonly pieceLength?: string;
}

export function addSeedCommand(program: Command): void {
  program
    .command('seed <paths...>')
    .description('serve files to paying peers until Ctrl-C; other commands then go through this process')
    .option('--tracker <url...>', 'announce to these trackers')
    .option('--torrent <file>', 'serve the paths as this existing torrent')
    .option('--torrent-out <file>', 'where the .torrent file is written')
    .option('--name <name>', 'name of the new torrent')
    .option('--piece-length <size>', 'of the new torrent, like 1MiB')
    .option('--price <price>', 'what is asked, like 0.5BTT/GiB')
    .option('--exposure <amount>', 'the most one channel may owe')
    .option('--window <size>', 'how far service may run ahead of payment at most')
    .option('--step <amount>', 'the least a voucher must add')
    .option('--prepay <amount>', 'what is asked ahead')
    .option('--ticks <when>', 'blocks paid one by one: off, offer (if the payer wants), or require')
    .option('--early-credit <amount>', 'how much of a deposit counts before it is fully confirmed')
    .option('--early-confirmations <count>', 'blocks after which it does')
    .option('--free-slots <count>', 'unpaid peers served at a time; 0 serves paying peers only')
    .option('--settle <when>', 'auto: whenever it pays; manual: only when asked')
    .option('--settle-every <time>', 'how often that is judged, like 1min')
    .option('--settle-gain <times>', 'settle what is worth this many times its gas')
    .option('--settle-profit <amount>', 'the least a settlement must bring beyond its gas')
    .option('--settle-age <time>', 'settle what is older, as soon as it pays its gas, like 7d')
    .option('--settle-exposure <amount>', 'settle sooner what one payer owes above this, or none')
    .option('--settle-max-gas <amount>', 'the most the gas of one settlement may cost')
    .option('--tower <url,token-file...>', 'towers that hold the claims and settle them when this is away')
    .option('--host <address>', 'address to listen on for peers')
    .option('--port <port>', 'port to listen on for peers; 0 takes a free one')
    .option('--api-port <port>', 'port of the loopback interface; 0 takes a free one')
    .option('--threads <count>', 'threads for hashing and signatures')
    .action(async (paths: string[], _options, command: Command) =>
      seed(paths, command.optsWithGlobals<SeedFlags>()),
    );
}

async function seed(paths: readonly string[], flags: SeedFlags): Promise<void> {
  const context = contextOf({ ...flags, ...(flags.tower ? { towers: flags.tower } : {}) });
  const request = {
    paths: paths.map((path) => resolve(path)),
    announce: flags.tracker ?? [],
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...(flags.pieceLength === undefined ? {} : { pieceLength: parseSize(flags.pieceLength) }),
    ...(flags.torrent === undefined ? {} : { torrent: readBase64(flags.torrent) }),
  };
  const running = await reachDaemon(context.config.dataDir);
  if (running) {
    const view = await running.seed(request);
    return report(context, flags, view, { port: (await running.status()).port });
  }

  const { daemon, selling } = context.config;
  // Read only here: other commands need none of it, and start faster.
  const [{ pino }, { createMetrics }, { startApi }] = await Promise.all([
    import('pino'),
    import('../api/metrics.js'),
    import('../api/server.js'),
  ]);
  const log = pino({ level: daemon.logLevel, base: null }, pino.destination(2));
  const stop = interruption();
  const account = await unlock(context);
  const engine = await createEngine({
    config: context.config,
    account,
    sell: true,
    listen: true,
    onEvent: (event) => log[event.level](event, event.text),
  });
  try {
    const token = randomBytes(32).toString('hex');
    const api = await startApi({
      operations: engine,
      metrics: createMetrics(engine),
      token,
      port: daemon.apiPort,
    });
    const withdrawNote = announce(context.config.dataDir, api.port, token);
    try {
      report(context, flags, await engine.seed(request), { port: engine.port, apiPort: api.port });
      if (!flags.json) {
        Output.line(
          `  price        ${formatPrice(selling.priceMiB)}${selling.ticks === 'require' ? ', block by block' : ''}${selling.freeSlots > 0 ? `, ${selling.freeSlots} free slots` : ', paying peers only'}`,
        );
        Output.line('Ctrl-C stops; nothing that was earned is lost.');
      }
      await Promise.race([aborted(stop.signal), engine.failed]);
    } finally {
      withdrawNote();
      await api.close();
    }
  } finally {
    await engine.close();
  }
}

interface Ports {
  /** Where peers connect. */
  readonly port: number | undefined;
  readonly apiPort?: number;
}

function report({ config }: Context, flags: SeedFlags, view: SeedView, ports: Ports): void {
  const file = flags.torrentOut ?? join(config.dataDir, 'torrents', `${view.infohash}.torrent`);
  writeTorrent(file, view.torrent);
  if (flags.json)
    return Output.json({ event: 'seeding', ...view, torrent: undefined, torrentFile: file, ...ports });
  Output.line(
    `Seeding ${view.name}: ${formatSize(view.bytes)} in ${view.pieces} pieces of ${formatSize(view.pieceLength)}`,
  );
  Output.line(`  torrent      ${file}`);
  Output.line(`  magnet       ${view.magnet}`);
  if (ports.port !== undefined) Output.line(`  port         ${ports.port}`);
}

function writeTorrent(file: string, base64: string): void {
  try {
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, Buffer.from(base64, 'base64'));
  } catch (thrown) {
    throw new PieceworkError(fileErrorCode(thrown) ?? 'IO', `${file}: ${(thrown as Error).message}`, {
      cause: thrown,
    });
  }
}

function readBase64(file: string): string {
  try {
    return readFileSync(file).toString('base64');
  } catch (thrown) {
    throw new PieceworkError(fileErrorCode(thrown) ?? 'NOT_FOUND', `${file}: ${(thrown as Error).message}`, {
      cause: thrown,
    });
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
