import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Server } from 'bittorrent-tracker';
import { describe, expect, it, onTestFinished } from 'vitest';
import * as Creation from '../../src/torrent/creation.js';
import * as Discovery from '../../src/torrent/discovery.js';
import * as Metainfo from '../../src/torrent/metainfo.js';
import * as Metadata from '../../src/wire/metadata.js';
import { folder, tree } from '../unit/torrent/support.js';
import { fetching, type Seed, seed } from '../unit/torrent/swarm.js';
import { until } from '../unit/wire/support.js';
import * as Clients from './clients.js';

const SIZES = {
  'sample/a.bin': 5_000_000,
  'sample/deep/b.bin': 1,
  'sample/empty': 0,
  'sample/z.bin': 12_345_678,
};
const PATIENCE_MS = 40_000;

interface Made extends Creation.Creation {
  readonly root: string;
  readonly file: string;
}

async function made(announce: readonly string[] = []): Promise<Made> {
  const root = tree(SIZES);
  const creation = await Creation.create([join(root, 'sample')], { pieceLength: 256 * 1024, announce });
  const file = join(root, 'sample.torrent');
  writeFileSync(file, creation.torrentBytes);
  return { ...creation, root, file };
}

const serve = (sample: Made, options: Partial<Parameters<typeof seed>[0]> = {}): Promise<Seed> =>
  seed({ ...sample, freeSlots: 2, extensions: [Metadata.serving(sample.metainfo.infoBytes)], ...options });

function emptyFolder(): string {
  const path = join(folder(), 'download');
  mkdirSync(path);
  return path;
}

/** Whether every file is there and the same. Not every client makes files without bytes. */
function isWhole(sample: Made, target: string, withEmpty = true): boolean {
  return Object.entries(SIZES).every(([path, size]) => {
    const there = join(target, path);
    if (!existsSync(there)) return size === 0 && !withEmpty;
    return Buffer.compare(readFileSync(join(sample.root, path)), readFileSync(there)) === 0;
  });
}

async function tracker(host = '127.0.0.1'): Promise<string> {
  const server = new Server({ http: true, udp: false, ws: false, stats: false });
  await new Promise<void>((resolve) => server.listen(0, host, () => resolve()));
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
  return `http://${host}:${(server.http.address() as AddressInfo).port}/announce`;
}

function announceSeed(sample: Made, url: string, port: number): Discovery.Discovery {
  const { infohash } = sample.metainfo;
  const discovery = Discovery.start({
    infohash,
    peerId: randomBytes(20),
    announce: [url],
    port,
    left: () => 0,
    onPeers: () => {},
  });
  onTestFinished(() => discovery.stop());
  return discovery;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** No byte may leave for a peer that stays choked; what it asks all the same is refused. */
async function expectChoked(seeding: Seed, progress: () => number): Promise<void> {
  await until(() => seeding.peers.some((peer) => peer.peerInterested), PATIENCE_MS);
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  expect(seeding.deliveredBytes).toBe(0);
  expect(progress()).toBe(0);
  expect(seeding.peers.every((peer) => peer.amChoking)).toBe(true);
}

describe('an unmodified aria2', () => {
  it('downloads in a free slot, found through a tracker', async (context) => {
    Clients.needs(context, 'aria2');
    const url = await tracker();
    const sample = await made([url]);
    const seeding = await serve(sample);
    const discovery = announceSeed(sample, url, seeding.port);
    await until(() => discovery.trackers()[0]?.state === 'working');
    const target = emptyFolder();
    const client = Clients.aria2(
      sample.file,
      target,
      '--seed-time=0',
      '--bt-min-crypto-level=arc4',
      '--bt-require-crypto=true',
    );
    expect(await client.ended, client.output()).toBe(0);
    expect(isWhole(sample, target)).toBe(true);
    expect(seeding.peers[0]?.encryption).toBe('rc4');
  });

  it('stays choked where there are no free slots', async (context) => {
    Clients.needs(context, 'aria2');
    const url = await tracker();
    const sample = await made([url]);
    const seeding = await serve(sample, { freeSlots: 0 });
    const discovery = announceSeed(sample, url, seeding.port);
    await until(() => discovery.trackers()[0]?.state === 'working');
    const target = emptyFolder();
    Clients.aria2(sample.file, target, '--seed-time=0');
    await expectChoked(seeding, () => 0);
    expect(isWhole(sample, target)).toBe(false);
  });

  it('seeds to our fetcher', async (context) => {
    Clients.needs(context, 'aria2');
    const sample = await made();
    const port = await freePort();
    const client = Clients.aria2(
      sample.file,
      sample.root,
      `--listen-port=${port}`,
      '--seed-ratio=0',
      '--check-integrity=true',
      '--bt-seed-unverified=true',
    );
    const fetch = await fetching({ metainfo: sample.metainfo, folder: emptyFolder() });
    await dialUntil(fetch, port, client);
    expect(await fetch.fetcher.done).toBe('complete');
    expect(fetch.log.received).toHaveLength(sample.metainfo.pieceCount);
  });
});

describe('an unmodified libtorrent', () => {
  it.for(['plain', 'forced'] as const)(
    'downloads in a free slot, encryption %s',
    async (encryption, context) => {
      Clients.needs(context, 'python3-libtorrent');
      const sample = await made();
      const seeding = await serve(sample);
      const target = emptyFolder();
      const client = Clients.libtorrent({
        torrent: sample.file,
        folder: target,
        peers: [['127.0.0.1', seeding.port]],
        encryption,
      });
      await until(() => Clients.stateOf(client).seeding, PATIENCE_MS);
      expect(isWhole(sample, target)).toBe(true);
      expect(seeding.peers[0]?.encryption).toBe(encryption === 'forced' ? 'rc4' : 'plain');
      expect(seeding.peers[0]?.client).toMatch(/libtorrent/);
      await until(() => seeding.deliveredBytes >= sample.metainfo.totalBytes);
    },
  );

  it('downloads from a magnet link, with the metadata from us', async (context) => {
    Clients.needs(context, 'python3-libtorrent');
    const sample = await made();
    const seeding = await serve(sample);
    const target = emptyFolder();
    const magnet = Metainfo.toMagnet(sample.metainfo);
    const client = Clients.libtorrent({ magnet, folder: target, peers: [['127.0.0.1', seeding.port]] });
    await until(() => Clients.stateOf(client).seeding, PATIENCE_MS);
    expect(isWhole(sample, target)).toBe(true);
  });

  it('stays choked where there are no free slots, and goes on when it gets one', async (context) => {
    Clients.needs(context, 'python3-libtorrent');
    const sample = await made();
    const seeding = await serve(sample, { freeSlots: 0 });
    const target = emptyFolder();
    const client = Clients.libtorrent({
      torrent: sample.file,
      folder: target,
      peers: [['127.0.0.1', seeding.port]],
    });
    await expectChoked(seeding, () => Clients.stateOf(client).downloaded);
    seeding.seeder.setFreeSlots(1);
    await until(() => Clients.stateOf(client).seeding, PATIENCE_MS);
    expect(isWhole(sample, target)).toBe(true);
  });

  it('gets every byte once where the gate stalls pieces', async (context) => {
    Clients.needs(context, 'python3-libtorrent');
    const sample = await made();
    let turn = 0;
    const seeding = await serve(sample, {
      standing: 'paid',
      admit(peer) {
        if (++turn % 4 !== 0) return 'serve';
        setTimeout(() => seeding.seeder.resume(peer), 100);
        return 'wait';
      },
    });
    const target = emptyFolder();
    const client = Clients.libtorrent({
      torrent: sample.file,
      folder: target,
      peers: [['127.0.0.1', seeding.port]],
    });
    await until(() => Clients.stateOf(client).seeding, PATIENCE_MS);
    expect(isWhole(sample, target)).toBe(true);
    await until(() => new Set(seeding.log.sent).size === sample.metainfo.pieceCount);
    expect(seeding.deliveredBytes).toBeLessThan(sample.metainfo.totalBytes * 1.1);
  });

  it.for([false, true])('seeds to our fetcher, encrypted %s', async (encrypt, context) => {
    Clients.needs(context, 'python3-libtorrent');
    const sample = await made();
    const client = Clients.libtorrent({
      torrent: sample.file,
      folder: sample.root,
      encryption: encrypt ? 'forced' : 'plain',
    });
    await until(() => Clients.stateOf(client).seeding, PATIENCE_MS);
    const port = Number(/port (\d+)/.exec(client.output())?.[1]);
    const target = emptyFolder();
    const fetch = await fetching({ metainfo: sample.metainfo, folder: target, encrypt });
    await fetch.dial(port);
    expect(await fetch.fetcher.done).toBe('complete');
    expect(isWhole(sample, target)).toBe(true);
    expect(fetch.log.received).toHaveLength(sample.metainfo.pieceCount);
    expect(fetch.log.abandoned).toEqual([]);
  });
});

describe('an unmodified transmission, in a network namespace of its own', () => {
  it('downloads in a free slot through a tracker', async (context) => {
    Clients.needs(context, 'transmission-cli', 'iproute2');
    Clients.needsRoot(context);
    const net = Clients.namespace();
    const url = await tracker(net.here);
    const sample = await made([url]);
    const seeding = await serve(sample, { host: net.here });
    const discovery = announceSeed(sample, url, seeding.port);
    await until(() => discovery.trackers()[0]?.state === 'working');
    const target = emptyFolder();
    transmission(net.name, sample, target);
    await until(() => isWhole(sample, target, false), PATIENCE_MS);
    expect(seeding.peers[0]?.client).toMatch(/Transmission/);
  });

  it('stays choked where there are no free slots', async (context) => {
    Clients.needs(context, 'transmission-cli', 'iproute2');
    Clients.needsRoot(context);
    const net = Clients.namespace();
    const url = await tracker(net.here);
    const sample = await made([url]);
    const seeding = await serve(sample, { host: net.here, freeSlots: 0 });
    const discovery = announceSeed(sample, url, seeding.port);
    await until(() => discovery.trackers()[0]?.state === 'working');
    const target = emptyFolder();
    transmission(net.name, sample, target);
    await expectChoked(seeding, () => 0);
    expect(isWhole(sample, target, false)).toBe(false);
  });
});

function transmission(namespace: string, sample: Made, target: string): Clients.Client {
  const settings = folder();
  // Its first attempts would be over UDP, which nobody here answers, and its patience with those is long.
  const quiet = { 'utp-enabled': false, 'dht-enabled': false, 'lpd-enabled': false, 'pex-enabled': false };
  writeFileSync(join(settings, 'settings.json'), JSON.stringify(quiet));
  const client = ['transmission-cli', '-g', settings, '-w', target, '-p', '51499', '-M', sample.file];
  return Clients.start('ip', ['netns', 'exec', namespace, ...client]);
}

/** Dials until the client listens. */
async function dialUntil(
  fetch: Awaited<ReturnType<typeof fetching>>,
  port: number,
  client: Clients.Client,
): Promise<void> {
  for (const endMs = performance.now() + PATIENCE_MS; ; ) {
    try {
      await fetch.dial(port);
      return;
    } catch (thrown) {
      if (performance.now() > endMs) throw new Error(client.output(), { cause: thrown });
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}
