/**
 * The whole product on this machine for the benches of downloads: a development chain with a hub, a payee's seeder
 * and payers' downloads, each a process of its own, as a user would start them. The sizes are the only thing that is
 * particular to a bench.
 */
import { createHash, randomBytes, randomFillSync } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { formatAddress } from '../../dist/channels/channel.js';
import { type Child, startChild } from '../../dist/cli/child.js';
import { findDaemon } from '../../dist/cli/daemon.js';
import type { ChainConfig } from '../../dist/config.js';
import type { FetchEvent, Operations } from '../../dist/engine/operations.js';
import * as Tools from '../../dist/engine/tools.js';
import { parseAmount, parsePrice } from '../../dist/units.js';
import type { Settings } from './main.js';
import { check } from './measure.js';

const MIB = 2 ** 20;
const PIECE_LENGTH = '1MiB';
const FUNDS = parseAmount('100000BTT');
const DEPOSIT = '1000BTT';
const CHALLENGE_PERIOD = 86_400;
/** Less time between two progress lines says nothing about a rate. */
const STEADY_MS_MIN = 400;
/** The product's own default. */
const PRICE = '0.5BTT/GiB';

export interface Stage {
  readonly chain: ChainConfig;
  readonly funder: Tools.Account;
  readonly infohash: string;
  readonly pieces: number;
  readonly bytes: number;
  /** What is seeded: a file of `bytes` random bytes in pieces of 1 MiB, and its torrent. */
  readonly source: string;
  readonly torrentFile: string;
  readonly port: number;
  /** The seeder's process. */
  readonly pid: number;
  readonly payee: Uint8Array;
  /** Base units. */
  readonly priceMiB: bigint;
  /** The seeder's own account of itself. */
  readonly daemon: Operations;
  /** Downloads everything once, paid or not, and throws the files away. */
  download(paid: boolean): Promise<Download>;
  end(): Promise<void>;
}

export interface Download {
  /** Millions of bytes a second between the first progress that shows data and the end. */
  readonly rate: number;
  /** The same from the process's start: with its connection, its offer and its proofs. */
  readonly whole: number;
  /** Vouchers the payee accepted for it. */
  readonly vouchers: number;
}

/** A party's data folder and wallet. */
interface Party {
  readonly flags: readonly string[];
  readonly address: Uint8Array;
}

/** Starts everything and opens a channel that is large enough for every paid download. */
export async function open(settings: Settings, name: string, bytes: number): Promise<Stage> {
  const folder = join(settings.folder, name);
  mkdirSync(folder, { recursive: true });
  const ends: Array<() => Promise<void>> = [];
  const end = async (): Promise<void> => {
    for (const one of ends.splice(0).reverse()) await one();
  };
  settings.beforeEnd(end);
  try {
    const dev = await Tools.startDevChain();
    ends.push(() => dev.stop());
    const noHub = { profile: dev.profile, rpcUrls: [dev.rpcUrl], confirmations: 1, hub: undefined };
    const funder = dev.accounts[0]!;
    const { hub } = await Tools.deployHub(noHub, funder, CHALLENGE_PERIOD, undefined);
    const chain: ChainConfig = { ...noHub, hub };
    const payee = await makeParty(join(folder, 'payee'), chain, funder);
    const payer = await makeParty(join(folder, 'payer'), chain, funder);

    const source = join(folder, 'source.bin');
    const digest = writeRandom(source, bytes);
    const listen = ['--host', '127.0.0.1', '--port', '0'];
    const terms = ['--price', PRICE, '--free-slots', '4', '--piece-length', PIECE_LENGTH];
    const seeder = startChild([...payee.flags, 'seed', source, ...listen, ...terms]);
    ends.push(seeder.stop);
    const seeding = await seeder.event<{
      event: 'seeding';
      infohash: string;
      pieces: number;
      torrentFile: string;
    }>('seeding');
    const daemon = findDaemon(join(folder, 'payee'));
    const port = (await daemon?.status())?.port;
    if (!daemon || port === undefined) throw new Error('the seeder does not say where it listens');
    const payeeHex = formatAddress(payee.address);
    await startChild([...payer.flags, 'channel', 'open', '--payee', payeeHex, '--deposit', DEPOSIT]).ended;

    let runs = 0;
    const checked = new Set<boolean>();
    const download = async (paid: boolean): Promise<Download> => {
      const to = join(folder, `download-${runs++}`);
      const money = paid ? ['--budget', DEPOSIT, '--max-price', PRICE] : [];
      const where = ['--peer', `127.0.0.1:${port}`, '--to', to];
      const before = await vouchersOf(daemon);
      const child = startChild([...payer.flags, 'get', seeding.torrentFile, ...where, ...money]);
      ends.push(child.stop);
      const times = await watch(child);
      await child.ended;
      ends.pop();
      if (!checked.has(paid)) {
        const same =
          createHash('sha256')
            .update(readFileSync(join(to, 'source.bin')))
            .digest('hex') === digest;
        check(same, 'a download differs from its source');
        checked.add(paid);
      }
      rmSync(to, { recursive: true });
      const vouchers = (await vouchersOf(daemon)) - before;
      check(paid ? vouchers > 0 : vouchers === 0, `a download gave ${vouchers} vouchers`);
      return { ...times, vouchers };
    };
    const { infohash, pieces, torrentFile } = seeding;
    const shown = {
      infohash,
      pieces,
      bytes,
      source,
      torrentFile,
      port,
      pid: seeder.pid!,
      payee: payee.address,
    };
    return { chain, funder, ...shown, priceMiB: parsePrice(PRICE), daemon, download, end };
  } catch (thrown) {
    await end();
    throw thrown;
  }
}

async function watch(child: Child): Promise<Pick<Download, 'rate' | 'whole'>> {
  const beginMs = performance.now();
  let first: { ms: number; bytes: number } | undefined;
  let last: { ms: number; bytes: number } | undefined;
  for await (const event of child.events<FetchEvent>()) {
    if (event.event !== 'progress' || event.bytes === 0) continue;
    last = { ms: performance.now(), bytes: event.bytes };
    first ??= last;
  }
  // A download that failed has told its error through `events`.
  if (!first || !last) throw new Error('a download ended without data');
  const whole = last.bytes / 1e3 / (last.ms - beginMs);
  const rate = (last.bytes - first.bytes) / 1e3 / (last.ms - first.ms);
  // Of a small file nearly all is there before the first progress line.
  return { rate: last.ms - first.ms < STEADY_MS_MIN ? whole : rate, whole };
}

async function vouchersOf(daemon: Operations): Promise<number> {
  return (await daemon.channels()).reduce((sum, { vouchers }) => sum + vouchers, 0);
}

async function makeParty(dataDir: string, chain: ChainConfig, funder: Tools.Account): Promise<Party> {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const passwordFile = join(dataDir, 'password');
  const password = randomBytes(16).toString('hex');
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  // A throw-away wallet: unlocking it need not cost a second in each process.
  const account = await Tools.createWallet(join(dataDir, 'wallet.json'), password, { scryptN: 4096 });
  await Tools.transfer(chain, funder, account.address, FUNDS);
  const flags = [
    ...['--json', '--data-dir', dataDir, '--password-file', passwordFile, '--log-level', 'error'],
    ...['--chain', 'local', '--rpc', chain.rpcUrls[0]!, '--hub', formatAddress(chain.hub!)],
  ];
  return { flags, address: account.address };
}

/** Writes random bytes and returns their SHA-256. */
function writeRandom(path: string, bytes: number): string {
  const file = openSync(path, 'w');
  const hash = createHash('sha256');
  try {
    for (let left = bytes; left > 0; left -= MIB) {
      const part = randomFillSync(Buffer.allocUnsafe(Math.min(left, MIB)));
      hash.update(part);
      writeSync(file, part);
    }
  } finally {
    closeSync(file);
  }
  return hash.digest('hex');
}
