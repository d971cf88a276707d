/**
 * Whole engines in this process, on the ground of `ground.ts`: a payee that serves one torrent of random
 * bytes, and payers that fetch it. A clock that runs faster shortens what waits for minutes.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatAddress } from '../../src/channels/channel.js';
import { type Clock, systemClock } from '../../src/clock.js';
import { type Config, load, type Settings } from '../../src/config.js';
import type { ChannelView, FetchEnd, FetchEvent, FetchRequest } from '../../src/engine/operations.js';
import type * as Tools from '../../src/engine/tools.js';
import { createEngine, type Engine, type EngineEvent } from '../../src/engine.js';
import { Ledger } from '../../src/ledger/ledger.js';
import * as Metainfo from '../../src/torrent/metainfo.js';
import type { Ground } from './ground.js';

export const KIB = 1024;
export const PIECE_BYTES = 64 * KIB;

/** Time that passes `speed` times as fast. */
export function fastClock(speed: number): Clock {
  return {
    monotonicMs: () => performance.now() * speed,
    unixSeconds: systemClock.unixSeconds,
    after: (delayMs, task) => systemClock.after(delayMs / speed, task),
    every: (periodMs, task) => systemClock.every(periodMs / speed, task),
  };
}

export function temporary(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'piecework-test-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export function configOn(ground: Ground, dataDir: string, settings: Settings = {}): Config {
  const chain = { chain: 'local', rpc: ground.rpcUrl, hub: formatAddress(ground.domain.hub) };
  const quiet = { settle: 'manual', host: '127.0.0.1', port: 0, threads: 1 };
  return load({ dataDir, ...chain, ...quiet, ...settings }, {});
}

export interface PayeeOptions {
  readonly account: Tools.Account;
  readonly settings?: Settings;
  readonly bytes?: number;
  readonly pieceBytes?: number;
  readonly clock?: Clock;
  readonly executor?: 'pool' | 'inline';
  /** A data folder and payload to go on with. */
  readonly home?: string;
}

export interface PayeeParty {
  readonly engine: Engine;
  readonly home: string;
  readonly payee: Uint8Array;
  readonly port: number;
  readonly torrent: string;
  readonly magnet: string;
  readonly metainfo: Metainfo.Metainfo;
  readonly payload: Buffer;
  readonly events: EngineEvent[];
  /** The only channel, or the one of a voucher key. */
  channel(voucherKey?: Uint8Array): Promise<ChannelView>;
  /** The last frame of the journal on disk: it grows with every record. */
  journalSequence(): number;
  close(): Promise<void>;
}

/** Starts a payee that sells one file. */
export async function startPayee(ground: Ground, options: PayeeOptions): Promise<PayeeParty> {
  const folder = options.home === undefined ? temporary() : { path: options.home, remove: () => {} };
  const dataDir = join(folder.path, 'data');
  mkdirSync(dataDir, { recursive: true });
  const file = join(folder.path, 'payload.bin');
  if (options.home === undefined) writeFileSync(file, randomBytes(options.bytes ?? 32 * PIECE_BYTES));
  const events: EngineEvent[] = [];
  const config = configOn(ground, dataDir, options.settings);
  const engine = await createEngine({
    config,
    account: options.account,
    sell: true,
    listen: true,
    executor: options.executor ?? 'inline',
    ...(options.clock ? { clock: options.clock } : {}),
    onEvent: (event) => events.push(event),
  });
  const pieceLength = options.pieceBytes ?? PIECE_BYTES;
  const seeding = await engine.seed({ paths: [file], announce: [], pieceLength });
  const find = async (voucherKey?: Uint8Array): Promise<ChannelView> => {
    if (voucherKey) return engine.channel(formatAddress(voucherKey));
    const [only, ...others] = await engine.channels();
    if (!only || others.length > 0)
      throw new Error(`${others.length + (only ? 1 : 0)} channels instead of one`);
    return only;
  };
  return {
    engine,
    home: folder.path,
    payee: options.account.address,
    port: engine.port!,
    torrent: seeding.torrent,
    magnet: seeding.magnet,
    metainfo: Metainfo.parse(new Uint8Array(Buffer.from(seeding.torrent, 'base64'))),
    payload: readFileSync(file),
    events,
    channel: find,
    journalSequence: () => lastSequence(Ledger.folder(dataDir, ground.domain.chainId, ground.domain.hub)),
    async close() {
      await engine.close();
      folder.remove();
    },
  };
}

export interface PayerOptions {
  readonly account?: Tools.Account;
  readonly settings?: Settings;
  readonly clock?: Clock;
  readonly executor?: 'pool' | 'inline';
}

export interface PayerParty {
  readonly engine: Engine;
  readonly home: string;
  readonly downloads: string;
  readonly events: FetchEvent[];
  fetch(request: Omit<FetchRequest, 'folder'>, signal?: AbortSignal): Promise<FetchEnd>;
  /** What was downloaded under that name. */
  got(name: string): Buffer;
  close(): Promise<void>;
}

export async function startPayer(ground: Ground, options: PayerOptions = {}): Promise<PayerParty> {
  const folder = temporary();
  const config = configOn(ground, join(folder.path, 'data'), {
    maxPrice: '1000BTT/GiB',
    ...options.settings,
  });
  const engine = await createEngine({
    config,
    ...(options.account ? { account: options.account } : {}),
    buy: true,
    listen: true,
    executor: options.executor ?? 'inline',
    ...(options.clock ? { clock: options.clock } : {}),
  });
  const downloads = join(folder.path, 'downloads');
  const events: FetchEvent[] = [];
  return {
    engine,
    home: folder.path,
    downloads,
    events,
    fetch: (request, signal) =>
      engine.fetch({ folder: downloads, ...request }, (event) => void events.push(event), signal),
    got: (name) => readFileSync(join(downloads, name)),
    async close() {
      await engine.close();
      folder.remove();
    },
  };
}

const SEGMENT_HEADER_BYTES = 64;
const FRAME_HEADER_BYTES = 24;

/** The sequence of the last whole frame in a ledger's folder (ledger.md 3), read from the files alone. */
export function lastSequence(folder: string): number {
  let last = 0;
  for (const name of readdirSync(folder).filter((file) => /^seg-[0-9a-f]{16}\.pwj$/.test(file))) {
    const bytes = readFileSync(join(folder, name));
    for (let at = SEGMENT_HEADER_BYTES; at + FRAME_HEADER_BYTES <= bytes.length; ) {
      const size = bytes.readUInt32LE(at);
      if (size === 0) break;
      last = Math.max(last, Number(bytes.readBigUInt64LE(at + 8)));
      at += FRAME_HEADER_BYTES + Math.ceil(size / 8) * 8;
    }
  }
  return last;
}
