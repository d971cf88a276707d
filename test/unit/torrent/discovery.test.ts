import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server } from 'bittorrent-tracker';
import { describe, expect, it, onTestFinished } from 'vitest';
import * as Discovery from '../../../src/torrent/discovery.js';
import * as Tracker from '../../../src/torrent/tracker.js';
import { until } from '../wire/support.js';

const infohash = new Uint8Array(20).fill(0xab);
const peerId = (letter: string): Uint8Array => Buffer.from(`-PW0100-${letter.repeat(12)}`);

/** What the tests use of the tracker; its own types know less. */
interface TrackerServer {
  readonly http: { address(): unknown };
  readonly udp: { address(): { readonly port: number } };
  readonly torrents: Readonly<Record<string, { readonly complete: number; readonly incomplete: number }>>;
  listen(port: number, hosts: { http: string; udp: string; udp6: string }, done: () => void): void;
  close(done: () => void): void;
}

async function realTracker(): Promise<{ http: string; udp: string; server: TrackerServer }> {
  const options = { http: true, udp: true, ws: false, stats: false };
  const server = new Server(options) as unknown as TrackerServer;
  const hosts = { http: '127.0.0.1', udp: '127.0.0.1', udp6: '::1' };
  await new Promise<void>((resolve) => server.listen(0, hosts, resolve));
  onTestFinished(() => new Promise<void>((resolve) => server.close(resolve)));
  const port = (server.http.address() as AddressInfo).port;
  const udpPort = server.udp.address().port;
  return { http: `http://127.0.0.1:${port}/announce`, udp: `udp://127.0.0.1:${udpPort}/announce`, server };
}

async function answering(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/announce`;
}

interface Run {
  readonly discovery: Discovery.Discovery;
  readonly found: Discovery.PeerAddress[];
  readonly warnings: string[];
  readonly failures: string[];
}

function start(letter: string, port: number, announce: string[], left = 1): Run {
  const run = { found: [] as Discovery.PeerAddress[], warnings: [] as string[], failures: [] as string[] };
  const discovery = Discovery.start({
    infohash,
    peerId: peerId(letter),
    announce,
    port,
    left: () => left,
    onPeers: (peers) => run.found.push(...peers),
    onWarning: (text) => run.warnings.push(text),
    onFailed: (error) => run.failures.push(error.code),
    retryMs: 50,
  });
  onTestFinished(() => discovery.stop());
  return { ...run, discovery };
}

describe('discovery', () => {
  it.each(['http', 'udp'] as const)(
    'finds the other peer through a real tracker over %s and says goodbye',
    async (kind) => {
      const tracker = await realTracker();
      const first = start('a', 7001, [tracker[kind]]);
      await until(() => first.discovery.trackers()[0]?.state === 'working');
      const second = start('b', 7002, [tracker[kind]]);
      await until(() => second.found.some(({ port }) => port === 7001));
      expect(second.found.find(({ port }) => port === 7001)?.address).toBe('127.0.0.1');
      first.discovery.update();
      await until(() => first.found.some(({ port }) => port === 7002));
      const before = first.found.length;
      first.discovery.update('completed');
      await until(() => first.discovery.trackers()[0]?.state === 'working');
      expect(first.found).toHaveLength(before);
      const swarm = tracker.server.torrents[Buffer.from(infohash).toString('hex')];
      expect(swarm?.complete).toBe(1);
      await first.discovery.stop();
      await second.discovery.stop();
      expect((swarm?.complete ?? 0) + (swarm?.incomplete ?? 0)).toBe(0);
    },
  );

  it('hands out each address once, those named by hand too, until it is forgotten', async () => {
    const run = start('a', 7001, []);
    run.discovery.add({ address: '127.0.0.1', port: 1 });
    run.discovery.add({ address: '127.0.0.1', port: 1 });
    expect(run.found).toHaveLength(1);
    run.discovery.forget({ address: '127.0.0.1', port: 1 });
    run.discovery.add({ address: '127.0.0.1', port: 1 });
    expect(run.found).toHaveLength(2);
    for (let port = 1; port < 3_000; port++) run.discovery.add({ address: '127.0.0.2', port });
    expect(run.found.length).toBeLessThanOrEqual(1_001);
  });

  it('reports failure only when every tracker fails, and tries again', async () => {
    let works = false;
    const flaky = await answering((_request, response) => {
      if (!works) response.statusCode = 503;
      response.end(works ? 'd8:intervali60e5:peers6:\u007f\u0000\u0000\u0001\u0000\u0007e' : '');
    });
    const dead = 'http://127.0.0.1:9/announce';
    const run = start('a', 7001, [flaky, dead]);
    await until(() => run.failures.length === 1);
    expect(run.failures).toEqual(['TRACKER_FAILED']);
    expect(run.warnings).toHaveLength(2);
    works = true;
    await until(() => run.found.length === 1);
    expect(run.found).toEqual([{ address: '127.0.0.1', port: 7 }]);
    const good = start('b', 7002, [flaky, dead]);
    await until(() => good.warnings.length === 1 && good.found.length === 1);
    expect(good.failures).toEqual([]);
  });

  it('is not made to announce more often than once a minute', async () => {
    let requests = 0;
    const eager = await answering((_request, response) => {
      requests++;
      response.end('d8:intervali1e5:peers0:e');
    });
    start('a', 7001, [eager]);
    await until(() => requests === 1);
    await new Promise((resolve) => setTimeout(resolve, 1_300));
    expect(requests).toBe(1);
  });
});

describe('answers of trackers', () => {
  const announce = (url: string): Promise<Tracker.Answer> =>
    Tracker.announce(url, {
      infohash,
      peerId: peerId('a'),
      port: 1,
      uploaded: 0,
      downloaded: 0,
      left: 1,
      event: 'started',
      wanted: 50,
    });

  it.each([
    ['nothing', ''],
    ['a page', '<html>'],
    ['a list', 'le'],
    ['a refusal', 'd14:failure reason5:go awe'],
    ['a refusal that is a number', 'd14:failure reasoni5ee'],
    ['a refusal that is a list', 'd14:failure reasonlee'],
    ['a bomb', 'l'.repeat(100_000)],
    ['a cut', 'd5:peers100:abc'],
  ])('that are %s fail without harm', async (_name, body) => {
    const url = await answering((_request, response) => response.end(body));
    await expect(announce(url)).rejects.toMatchObject({ code: 'TRACKER_FAILED' });
  });

  it('are cut off at a mebibyte', async () => {
    let sent = 0;
    const url = await answering((_request, response) => {
      const more = (): void => {
        if (response.destroyed || sent > 64 * 1024 * 1024) return;
        sent += 65_536;
        response.write(Buffer.alloc(65_536, 'x'), () => more());
      };
      more();
    });
    await expect(announce(url)).rejects.toMatchObject({ message: expect.stringMatching(/too large/) });
    expect(sent).toBeLessThan(32 * 1024 * 1024);
  });

  it('may be lists or compact, of both kinds of addresses, and lose what is no address', () => {
    const list =
      'd5:peersld2:ip9:127.0.0.14:porti80eed2:ip3:::14:porti81eed2:ip8:evil.com4:porti1eed2:ip7:1.2.3.44:porti0eei5eee';
    expect(Tracker.parseAnswer(Buffer.from(list)).peers).toEqual([
      { address: '127.0.0.1', port: 80 },
      { address: '::1', port: 81 },
    ]);
    const six = Buffer.concat([
      Buffer.from('d6:peers618:'),
      Buffer.alloc(15),
      Buffer.from([1, 0, 9]),
      Buffer.from('e'),
    ]);
    expect(Tracker.parseAnswer(six).peers).toEqual([
      { address: '0000:0000:0000:0000:0000:0000:0000:0001', port: 9 },
    ]);
    const odd = Buffer.concat([
      Buffer.from('d5:peers8:'),
      Buffer.from([1, 2, 3, 4, 0, 5, 6, 7]),
      Buffer.from('e'),
    ]);
    expect(Tracker.parseAnswer(odd).peers).toEqual([{ address: '1.2.3.4', port: 5 }]);
  });

  it('are not asked of what is no tracker', async () => {
    await expect(announce('ftp://127.0.0.1/')).rejects.toMatchObject({ code: 'TRACKER_FAILED' });
    await expect(announce('wss://127.0.0.1/')).rejects.toMatchObject({ code: 'TRACKER_FAILED' });
  });
});
