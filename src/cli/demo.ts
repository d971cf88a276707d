/**
 * `npm start`: the main job once, on embedded defaults. A local chain and a tracker run here; payee and payer
 * are processes of their own that meet over loopback. It ends with a statement that must reconcile to the wei,
 * and leaves nothing behind.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { formatAddress } from '../channels/channel.js';
import type { ChainConfig } from '../config.js';
import type { FetchEnd, FetchEvent, SeedView, StatementView, WithdrawReport } from '../engine/operations.js';
import * as Tools from '../engine/tools.js';
import { PieceworkError } from '../errors.js';
import { formatSize, MIB, parseAmount, parsePrice } from '../units.js';
import { type Child, startChild } from './child.js';
import { firstDifference } from './compare.js';
import { type CommonFlags, interruption } from './context.js';
import { findDaemon } from './daemon.js';
import * as Output from './output.js';
import { type Holdings, printReconciliation, type Reconciliation } from './reconciliation.js';

const BUDGET = '20BTT';
const PRICE = '50BTT/GiB';
const FUNDS = parseAmount('1000BTT');
const CHALLENGE_PERIOD_SECONDS = 86_400;
const PAYLOAD_BYTES_MIN = 200 * MIB;

interface DemoFlags extends Omit<CommonFlags, 'ticks'> {
  readonly budget: string;
  readonly price: string;
  readonly keep?: string;
  readonly ticks?: boolean;
}

export function addDemoCommand(program: Command): void {
  program
    .command('demo [paths...]')
    .description('the whole job on this machine: local chain, tracker, a payee and a payer, and a statement')
    .option('--budget <amount>', 'what the payer may spend', BUDGET)
    .option('--price <price>', 'what the payee asks', PRICE)
    .option('--ticks', 'pay block by block, with a hash for each')
    .option('--keep <folder>', 'keep data folders and downloads there')
    .action(async (paths: string[], _options, command: Command) => {
      await demo(
        paths.map((path) => resolve(path)),
        command.optsWithGlobals<DemoFlags>(),
      );
    });
}

async function demo(paths: readonly string[], flags: DemoFlags): Promise<void> {
  const stop = interruption();
  const payload = paths.length > 0 ? paths : defaultPayload();
  const folder = flags.keep === undefined ? mkdtempSync(join(tmpdir(), 'piecework-')) : resolve(flags.keep);
  mkdirSync(folder, { recursive: true });
  const cleanUps: Array<() => Promise<void>> = [];
  // What comes to life after an interruption is ended at once: nothing may be left behind.
  const own: Own = async (cleanUp) => {
    if (!stop.signal.aborted) return void cleanUps.push(cleanUp);
    await cleanUp();
    throw new PieceworkError('INTERRUPTED');
  };
  if (flags.keep === undefined) await own(async () => rmSync(folder, { recursive: true, force: true }));
  const interrupted = new Promise<never>((_, reject) => {
    stop.signal.addEventListener('abort', () => reject(new PieceworkError('INTERRUPTED')), { once: true });
  });
  interrupted.catch(() => undefined);
  try {
    await Promise.race([play(payload, folder, flags, own), interrupted]);
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp().catch(() => undefined);
  }
}

/** Registers how to end something that was started. */
type Own = (cleanUp: () => Promise<void>) => Promise<void>;

/** One side: its data folder, wallet and what it holds before anything happens. */
interface Party {
  readonly dataDir: string;
  readonly passwordFile: string;
  readonly address: Uint8Array;
}

async function play(payload: readonly string[], folder: string, flags: DemoFlags, own: Own): Promise<void> {
  const dev = await Tools.startDevChain();
  await own(() => dev.stop());
  const noHub: ChainConfig = {
    profile: dev.profile,
    rpcUrls: [dev.rpcUrl],
    confirmations: 1,
    hub: undefined,
  };
  const deployed = await Tools.deployHub(noHub, dev.accounts[0]!, CHALLENGE_PERIOD_SECONDS, undefined);
  const chain: ChainConfig = { ...noHub, hub: deployed.hub };
  // Read only here: most commands start twice as fast without it.
  const { startTracker } = await import('./tracker.js');
  const tracker = await startTracker();
  await own(tracker.close);
  Output.line(
    `Local chain ${dev.profile.chainId} with hub ${formatAddress(deployed.hub)}, tracker ${tracker.url}`,
  );

  const payee = await makeParty(join(folder, 'payee'), chain, dev.accounts[0]!);
  const payer = await makeParty(join(folder, 'payer'), chain, dev.accounts[0]!);
  const before = await holdings(chain, payer, payee);

  const seeder = startChild([
    ...sharedFlags(payee, chain),
    'seed',
    ...payload,
    ...seedFlags(flags, tracker.url),
  ]);
  await own(seeder.stop);
  const seeding = await seeder.event<SeedView & { event: 'seeding'; torrentFile: string }>('seeding');
  Output.line(
    `Payee serves "${seeding.name}": ${formatSize(seeding.bytes)}, ${seeding.pieces} pieces, at ${flags.price}`,
  );

  const downloads = join(folder, 'downloads');
  const budget = ['--budget', flags.budget, '--max-price', flags.price];
  const getter = startChild([
    ...sharedFlags(payer, chain),
    'get',
    seeding.torrentFile,
    ...budget,
    ...(flags.ticks ? ['--pay-ticks'] : []),
    '--to',
    downloads,
  ]);
  await own(getter.stop);
  const { end, channel } = await watchDownload(getter, seeder, payee);
  await getter.ended;

  const differing = await firstDifference(payload, join(downloads, seeding.name));
  if (differing !== undefined)
    throw new PieceworkError('VERIFY_FAILED', `${differing} differs from its source`);
  Output.line(`Every byte of ${formatSize(end.bytes)} is the same as its source.`);

  const daemon = findDaemon(payee.dataDir);
  if (!daemon) throw new PieceworkError('DAEMON_UNREACHABLE', 'the payee is gone');
  const settled = await daemon.settle({ close: true });
  const payeePaid = await daemon.withdraw({});
  const payeeBooks = await daemon.statement();
  await seeder.stop();
  const payerPaid = await once<WithdrawReport>(own, [...sharedFlags(payer, chain), 'withdraw']);
  const payerBooks = await once<StatementView>(own, [...sharedFlags(payer, chain), 'statement']);
  const after = await holdings(chain, payer, payee);

  const priceMiB = parsePrice(flags.price);
  const facts: Reconciliation = {
    seeding,
    end,
    channel,
    settled,
    payeePaid,
    payerPaid,
    payeeBooks,
    payerBooks,
    before,
    after,
    priceMiB,
  };
  if (!printReconciliation(facts)) throw new PieceworkError('VERIFY_FAILED');
}

/** Shows one progress line for both sides until the payer is done. */
async function watchDownload(
  getter: Child,
  seeder: Child,
  payee: Party,
): Promise<{ end: FetchEnd; channel: Extract<FetchEvent, { event: 'channel' }> | undefined }> {
  const progress = Output.progress();
  let earned = '0';
  let channel: Extract<FetchEvent, { event: 'channel' }> | undefined;
  const daemon = findDaemon(payee.dataDir);
  const poll = setInterval(() => {
    daemon?.status().then(
      (status) => {
        earned = status.earned;
      },
      () => undefined,
    );
  }, 250);
  try {
    const events = (async () => {
      for await (const event of getter.events<FetchEvent>()) {
        if (event.event === 'progress') progress.show({ ...event, earned });
        else if (event.event === 'gas') {
          progress.note(
            `Gas for "${event.purpose}": up to ${Output.amount(event.feeMax)}, allowed ${Output.amount(event.ceiling)}`,
          );
        } else if (event.event === 'channel') {
          channel = event;
          progress.note(`Payer opened a channel of ${Output.amount(event.deposit)} to ${event.payee}`);
        } else if (event.event === 'warning') progress.note(event.text);
        else if (event.event === 'done') return event;
      }
      await getter.ended;
      throw new PieceworkError('INTERNAL', 'the payer ended before its download');
    })();
    const end = await Promise.race([events, seeder.failed]);
    progress.end();
    return { end, channel };
  } finally {
    clearInterval(poll);
  }
}

async function makeParty(dataDir: string, chain: ChainConfig, funder: Tools.Account): Promise<Party> {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const passwordFile = join(dataDir, 'password');
  const password = randomBytes(16).toString('hex');
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  const walletPath = join(dataDir, 'wallet.json');
  if (existsSync(walletPath)) rmSync(walletPath);
  // A throw-away wallet on a throw-away chain: no need to spend a second of scrypt on each use.
  const account = await Tools.createWallet(walletPath, password, { scryptN: 4096 });
  await Tools.transfer(chain, funder, account.address, FUNDS);
  return { dataDir, passwordFile, address: account.address };
}

async function holdings(chain: ChainConfig, payer: Party, payee: Party): Promise<Holdings> {
  const [one, two, hub] = await Promise.all([
    Tools.balances(chain, payer.address),
    Tools.balances(chain, payee.address),
    Tools.balances(chain, chain.hub!),
  ]);
  return { payer: one.balance, payee: two.balance, hub: hub.balance };
}

function sharedFlags(party: Party, chain: ChainConfig): string[] {
  return [
    '--json',
    ...['--data-dir', party.dataDir, '--password-file', party.passwordFile],
    ...['--chain', 'local', '--rpc', chain.rpcUrls[0]!, '--hub', formatAddress(chain.hub!)],
    ...['--log-level', 'warn'],
  ];
}

function seedFlags(flags: DemoFlags, trackerUrl: string): string[] {
  const listen = ['--host', '127.0.0.1', '--port', '0', '--settle', 'manual'];
  const ticks = flags.ticks ? ['--ticks', 'require'] : [];
  return ['--name', 'piecework-demo', '--tracker', trackerUrl, '--price', flags.price, ...ticks, ...listen];
}

async function once<Result>(own: Own, args: readonly string[]): Promise<Result> {
  const child = startChild(args);
  await own(child.stop);
  const events: Result[] = [];
  for await (const event of child.events<Result & { event?: string }>()) events.push(event);
  await child.ended;
  return events[0]!;
}

/** Large files that the install brings: real binaries, few and big. */
function defaultPayload(): string[] {
  const modules = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'node_modules');
  const found: string[] = [];
  for (const [scope, prefix, file] of PAYLOADS) {
    const folder = join(modules, scope);
    if (!existsSync(folder)) continue;
    for (const name of readdirSync(folder).filter((entry) => entry.startsWith(prefix))) {
      for (const candidate of [join(folder, name, file), join(folder, name, `${file}.exe`)]) {
        if (existsSync(candidate)) found.push(candidate);
      }
    }
  }
  const bytes = found.reduce((sum, path) => sum + statSync(path).size, 0);
  if (bytes >= PAYLOAD_BYTES_MIN) return found;
  throw new PieceworkError(
    'NOT_FOUND',
    'the large files used by default are not installed; name some: npm start -- PATH',
  );
}

const PAYLOADS = [
  ['@biomejs', 'cli-', 'biome'],
  ['@foundry-rs', 'forge-', 'bin/forge'],
  ['@foundry-rs', 'anvil-', 'bin/anvil'],
] as const;
