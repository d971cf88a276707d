import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { plainHasher } from '../../../src/torrent/hasher.js';
import { pieceBytes } from '../../../src/torrent/layout.js';
import type { Admission, SeedPeer } from '../../../src/torrent/seeder.js';
import * as Storage from '../../../src/torrent/storage.js';
import { until } from '../wire/support.js';
import { folder, SIZES, sample } from './support.js';
import { fetching, seed } from './swarm.js';

const LARGE = { 'sample/a.bin': 3_000_000, 'sample/b.bin': 1, 'sample/empty': 0, 'sample/c.bin': 5_000_321 };

function expectSameFiles(root: string, target: string, sizes: Readonly<Record<string, number>>): void {
  for (const path of Object.keys(sizes)) {
    expect(Buffer.compare(readFileSync(join(root, path)), readFileSync(join(target, path))), path).toBe(0);
  }
}

describe('seeder and fetcher over sockets', () => {
  it.each([false, true])(
    'move a torrent of several files with a short last piece, encrypted %s',
    async (encrypt) => {
      const made = await sample(LARGE, 64 * 1024);
      const target = folder();
      const seeding = await seed(made);
      const fetch = await fetching({ metainfo: made.metainfo, folder: target, encrypt });
      await fetch.dial(seeding.port);
      expect(await fetch.fetcher.done).toBe('complete');
      expectSameFiles(made.root, target, LARGE);
      const pieces = fetch.log.received.map(({ piece }) => piece).sort((a, b) => a - b);
      expect(pieces).toEqual([...Array(made.metainfo.pieceCount).keys()]);
      expect(fetch.log.received.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(made.metainfo.totalBytes);
      expect(fetch.log.abandoned).toEqual([]);
      expect(fetch.fetcher.progress()).toMatchObject({
        bytes: made.metainfo.totalBytes,
        badPieces: 0,
        arrivedBytes: made.metainfo.totalBytes,
      });
      await until(() => seeding.deliveredBytes === made.metainfo.totalBytes);
    },
  );

  it('ask the gate once a piece, report each as sent, and wait where it says wait', async () => {
    const made = await sample(LARGE, 64 * 1024);
    let stalled: SeedPeer | undefined;
    let waits = 0;
    const asked = new Map<number, number>();
    const seeding = await seed({
      ...made,
      standing: 'paid',
      freeSlots: 0,
      admit(peer, piece): Admission | Promise<Admission> {
        asked.set(piece, (asked.get(piece) ?? 0) + 1);
        if (piece % 10 === 3 && asked.get(piece) === 1) {
          waits++;
          stalled = peer;
          setTimeout(() => seeding.seeder.resume(peer), 20);
          return 'wait';
        }
        return piece % 2 === 0 ? 'serve' : new Promise((resolve) => setTimeout(() => resolve('serve'), 1));
      },
    });
    const fetch = await fetching({ metainfo: made.metainfo, folder: folder() });
    await fetch.dial(seeding.port);
    expect(await fetch.fetcher.done).toBe('complete');
    expect(waits).toBeGreaterThan(3);
    expect(stalled).toBeDefined();
    await until(() => seeding.log.sent.length === made.metainfo.pieceCount);
    expect([...seeding.log.sent].sort((a, b) => a - b)).toEqual([...Array(made.metainfo.pieceCount).keys()]);
    for (const [piece, times] of asked) expect(times, `piece ${piece}`).toBe(piece % 10 === 3 ? 2 : 1);
    await fetch.session.close();
    await until(() => seeding.closes.length > 0);
    expect(seeding.log.dropped).toEqual([]);
  });

  it('stop at the piece the gate does not grant, and report what was granted and never sent', async () => {
    const made = await sample(LARGE, 64 * 1024);
    let grants = 0;
    const seeding = await seed({ ...made, standing: 'paid', admit: () => (++grants > 5 ? 'wait' : 'serve') });
    const fetch = await fetching({ metainfo: made.metainfo, folder: folder() });
    await fetch.dial(seeding.port);
    await until(() => fetch.log.received.length === 5);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(fetch.log.received).toHaveLength(5);
    const granted = seeding.log.sent.reduce((sum, piece) => sum + pieceBytes(made.metainfo, piece), 0);
    expect(seeding.deliveredBytes).toBe(granted);
    expect(seeding.log.sent).toHaveLength(5);
    await fetch.fetcher.stop();
    expect(await fetch.fetcher.done).toBe('stopped');
    expect(fetch.log.reserved.length).toBe(fetch.log.received.length + fetch.log.abandoned.length);
  });

  it('take a refused piece elsewhere', async () => {
    const made = await sample(LARGE, 64 * 1024);
    const picky = await seed({
      ...made,
      standing: 'paid',
      admit: (_peer, piece) => (piece % 2 === 0 ? 'refuse' : 'serve'),
    });
    const other = await seed({ ...made });
    const fetch = await fetching({ metainfo: made.metainfo, folder: folder() });
    await fetch.dial(picky.port);
    await fetch.dial(other.port);
    expect(await fetch.fetcher.done).toBe('complete');
    expect(fetch.log.reserved.length).toBe(fetch.log.received.length + fetch.log.abandoned.length);
    expect(picky.log.sent.every((piece) => piece % 2 === 1)).toBe(true);
  });

  it('ask each piece of one peer only, and pay each once', async () => {
    const made = await sample(LARGE, 64 * 1024);
    const seeds = [await seed(made), await seed(made), await seed(made)];
    const fetch = await fetching({ metainfo: made.metainfo, folder: folder() });
    for (const { port } of seeds) await fetch.dial(port);
    expect(await fetch.fetcher.done).toBe('complete');
    expect(fetch.log.reserved).toHaveLength(made.metainfo.pieceCount);
    expect(new Set(fetch.log.reserved.map(({ peer }) => peer)).size).toBeGreaterThan(1);
    for (const { peer, piece } of fetch.log.received) {
      expect(fetch.log.reserved.find((reservation) => reservation.piece === piece)?.peer).toBe(peer);
    }
    await until(
      () => seeds.reduce((sum, { deliveredBytes }) => sum + deliveredBytes, 0) === made.metainfo.totalBytes,
    );
  });

  it('ban the one who sends a bad piece, pay nothing for it and finish from others', async () => {
    const made = await sample(LARGE, 64 * 1024);
    const liar = await seed({ ...made, corrupt: (_index, bytes) => bytes.fill(0, bytes.length - 20) });
    const honest = await seed(made);
    const fetch = await fetching({ metainfo: made.metainfo, folder: folder() });
    const lying = await fetch.dial(liar.port);
    await until(() => fetch.bad.length > 0);
    expect(fetch.bad.every(({ peer }) => peer === lying.id)).toBe(true);
    expect(lying.closed).toBe(true);
    expect(fetch.log.received).toEqual([]);
    await fetch.dial(honest.port);
    expect(await fetch.fetcher.done).toBe('complete');
    expect(fetch.log.received.every(({ peer }) => peer !== lying.id)).toBe(true);
    expect(fetch.log.reserved.length).toBe(fetch.log.received.length + fetch.log.abandoned.length);
  });

  it('give a stalled peer’s pieces to others, and every reservation one end', async () => {
    const made = await sample(LARGE, 64 * 1024);
    const stalling = await seed({ ...made, standing: 'paid', admit: () => 'wait' });
    const fetch = await fetching({
      metainfo: made.metainfo,
      folder: folder(),
      timeouts: { pieceMs: 300, stuckMs: 100 },
    });
    await fetch.dial(stalling.port);
    await until(() => fetch.log.reserved.length > 0);
    const helpful = await seed(made);
    await fetch.dial(helpful.port);
    expect(await fetch.fetcher.done).toBe('complete');
    expect(fetch.log.abandoned.length).toBeGreaterThan(0);
    expect(fetch.log.reserved.length).toBe(fetch.log.received.length + fetch.log.abandoned.length);
  });

  it('go on after the till said wait and stop, and reserve in advance of nothing', async () => {
    const made = await sample(LARGE, 64 * 1024);
    const seeding = await seed(made);
    let budget = 10;
    const fetch = await fetching({
      metainfo: made.metainfo,
      folder: folder(),
      reserve: () =>
        new Promise((resolve) =>
          setImmediate(() => resolve(budget-- > 0 ? 'ok' : budget % 2 === 0 ? 'wait' : 'stop')),
        ),
    });
    await fetch.dial(seeding.port);
    await until(() => fetch.log.received.length === 10);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(fetch.log.received).toHaveLength(10);
    budget = 1_000;
    fetch.fetcher.resume();
    expect(await fetch.fetcher.done).toBe('complete');
  });

  it('resume from what is there and fetch nothing twice', async () => {
    const made = await sample(LARGE, 64 * 1024);
    const seeding = await seed(made);
    const target = folder();
    const first = await Storage.openFolder(made.metainfo, target);
    for (const index of [0, 7, 8, 50]) await first.writePiece(index, await seeding.storage.readPiece(index));
    await first.close();
    const storage = await Storage.openFolder(made.metainfo, target);
    await storage.check(plainHasher);
    const fetch = await fetching({ metainfo: made.metainfo, folder: target, storage });
    await fetch.dial(seeding.port);
    expect(await fetch.fetcher.done).toBe('complete');
    expect(
      fetch.log.received.map(({ piece }) => piece).filter((piece) => [0, 7, 8, 50].includes(piece)),
    ).toEqual([]);
    expectSameFiles(made.root, target, LARGE);
    const again = await fetching({
      metainfo: made.metainfo,
      folder: target,
      storage: await checked(made, target),
    });
    expect(await again.fetcher.done).toBe('complete');
  });

  it('hold no more than the buffer and still finish', async () => {
    const made = await sample(LARGE, 64 * 1024);
    const seeding = await seed(made);
    const fetch = await fetching({
      metainfo: made.metainfo,
      folder: folder(),
      bufferBytesMax: 2 * 64 * 1024,
    });
    await fetch.dial(seeding.port);
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, fetch.fetcher.progress().piecesUnderway);
    }, 1);
    expect(await fetch.fetcher.done).toBe('complete');
    clearInterval(watch);
    expect(most).toBeLessThanOrEqual(2);
  });

  it('end the download when the till fails, and keep what was written', async () => {
    const made = await sample(SIZES);
    const seeding = await seed(made);
    const fetch = await fetching({
      metainfo: made.metainfo,
      folder: folder(),
      received: () => Promise.reject(new Error('journal')),
    });
    await fetch.dial(seeding.port);
    await expect(fetch.fetcher.done).rejects.toMatchObject({ message: 'journal' });
    expect(fetch.storage.count()).toBeGreaterThan(0);
  });

  it('survive a choke in the middle of pieces without losing or doubling a piece', async () => {
    const made = await sample(LARGE, 64 * 1024);
    const seeding = await seed({ ...made, standing: 'paid' });
    const fetch = await fetching({ metainfo: made.metainfo, folder: folder() });
    await fetch.dial(seeding.port);
    const flap = setInterval(() => {
      const [peer] = seeding.peers;
      if (!peer || peer.closed) return;
      seeding.seeder.setStanding(peer, 'none');
      setTimeout(() => seeding.seeder.setStanding(peer, 'paid'), 5);
    }, 15);
    expect(await fetch.fetcher.done).toBe('complete');
    clearInterval(flap);
    expect(fetch.log.received).toHaveLength(made.metainfo.pieceCount);
    // A grant survives the choke: each piece was granted once, or its grant was used up by blocks sent twice.
    expect(seeding.log.admitted.length).toBeLessThanOrEqual(made.metainfo.pieceCount + 10);
  });

  it('notice a source that shrinks while it is served', async () => {
    const made = await sample(LARGE, 64 * 1024);
    const seeding = await seed(made);
    const { truncateSync } = await import('node:fs');
    truncateSync(join(made.root, 'sample/c.bin'), 10);
    const fetch = await fetching({ metainfo: made.metainfo, folder: folder() });
    await fetch.dial(seeding.port);
    await until(() => seeding.errors.includes('SOURCE_CHANGED'));
    expect(seeding.peers[0]?.closed).toBe(false);
  });
});

async function checked(made: Awaited<ReturnType<typeof sample>>, target: string): Promise<Storage.Storage> {
  const storage = await Storage.openFolder(made.metainfo, target);
  await storage.check(plainHasher);
  return storage;
}
