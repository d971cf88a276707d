import { createHash, randomBytes } from 'node:crypto';
import Wire from 'bittorrent-protocol';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/clock.js';
import { sendQueueBytesMax } from '../../../src/limits.js';
import { VERSION } from '../../../src/version.js';
import * as Session from '../../../src/wire/session.js';
import {
  type Bench,
  bench,
  greeted,
  handshake,
  INFOHASH,
  message,
  peerIdOf,
  raw,
  uint32,
  until,
} from './support.js';

const BLOCK = 16 * 1024;

async function pair(
  left: Parameters<typeof bench>[0] = {},
  right: Parameters<typeof bench>[0] = {},
  encrypt = false,
): Promise<{ seed: Bench; leech: Bench; there: Session.Peer; here: Session.Peer; close(): Promise<void> }> {
  const seed = await bench({ letter: 's', ...left });
  const leech = await bench({ letter: 'l', ...right });
  const there = await leech.session.dial({
    address: '127.0.0.1',
    port: seed.port,
    infohash: INFOHASH,
    encrypt,
  });
  await until(() => seed.peers.length === 1 && seed.peers[0]?.client !== '' && there.client !== '');
  const close = async (): Promise<void> => {
    await seed.session.close();
    await leech.session.close();
  };
  return { seed, leech, there, here: seed.peers[0]!, close };
}

describe('a session', () => {
  it.each([
    [false, 'plain'],
    [true, 'handshake'],
  ] as const)('connects two sessions, encrypted %s', async (encrypt, encryption) => {
    const { there, here, close } = await pair({}, {}, encrypt);
    expect(there.direction).toBe('outgoing');
    expect(here.direction).toBe('incoming');
    expect(here.encryption).toBe(encryption);
    expect(there.fast && here.fast).toBe(true);
    expect(Buffer.from(here.peerId)).toEqual(Buffer.from(peerIdOf('l')));
    expect(Buffer.from(here.localPeerId)).toEqual(Buffer.from(peerIdOf('s')));
    expect(Buffer.from(there.peerId).toString('latin1')).toMatch(/^-PW0100-/);
    expect(there.client).toBe(`Piecework ${VERSION}`);
    expect(there.reqq).toBe(2048);
    await close();
  });

  it('takes an encrypted stranger that insists on RC4', async () => {
    const at = await bench({ handlers: (peer) => ({ onInterested: () => peer.unchoke() }) });
    const socket = await raw(at.port);
    const wire = new Wire('tcpOutgoing', 2);
    wire._push = (bytes) => socket.send(wire._encryptor ? wire._encryptor.encrypt(bytes) : bytes);
    socket.socket.on('data', (bytes) => wire._write(bytes, () => {}));
    wire.on('crypto-handshake', () => {
      wire.handshake(INFOHASH, Buffer.from(peerIdOf('e')).toString('hex'), { fast: true, dht: false });
      wire.interested();
    });
    let unchoked = false;
    wire.on('unchoke', () => {
      unchoked = true;
    });
    wire.startEncryption(INFOHASH);
    await until(() => unchoked);
    expect(at.peers[0]?.encryption).toBe('rc4');
    socket.socket.destroy();
    await at.session.close();
  });

  it('closes an encrypted stranger that names a torrent we do not have', async () => {
    const at = await bench();
    const socket = await raw(at.port);
    const wire = new Wire('tcpOutgoing', 1);
    wire._push = (bytes) => socket.send(wire._encryptor ? wire._encryptor.encrypt(bytes) : bytes);
    socket.socket.on('data', (bytes) => wire._write(bytes, () => {}));
    wire.startEncryption('cd'.repeat(20));
    await until(() => socket.closed);
    expect(at.refusals[0]?.reason).toBe('unknown_torrent');
    await at.session.close();
  });

  it('passes every message on, with unsigned numbers', async () => {
    const heard: string[] = [];
    const note =
      (name: string) =>
      (...details: unknown[]): void => {
        heard.push(
          `${name} ${details.map((detail) => (detail instanceof Uint8Array ? detail.length : detail)).join(' ')}`.trim(),
        );
      };
    const at = await bench({
      handlers: () => ({
        onInterested: note('interested'),
        onNotInterested: note('not interested'),
        onChoke: note('choke'),
        onUnchoke: note('unchoke'),
        onPieces: note('pieces'),
        onRequest: note('request'),
        onCancel: note('cancel'),
        onBlock: note('block'),
        onReject: note('reject'),
        onClose: note('close'),
      }),
    });
    const peer = await greeted(at);
    peer.send(
      message(5, [0x80, 0]),
      message(4, uint32(3)),
      message(0x0e),
      message(2),
      message(1),
      message(0),
      message(3),
    );
    peer.send(message(6, uint32(0xffff_ffff, 0x8000_0000, 0xffff_fffe)), message(8, uint32(1, 2, 3)));
    peer.send(message(7, uint32(2, 16), Buffer.alloc(5)), message(0x10, uint32(4, 5, 6)));
    await until(() => heard.length >= 11);
    expect(at.peers[0]?.has(15)).toBe(true);
    peer.socket.destroy();
    await until(() => at.closes.length === 1);
    expect(heard).toEqual([
      'pieces',
      'pieces 3',
      'pieces',
      'interested',
      'unchoke',
      'choke',
      'not interested',
      'request 4294967295 2147483648 4294967294',
      'cancel 1 2 3',
      'block 2 16 5',
      'reject 4 5 6',
      'close remote',
    ]);
    await at.session.close();
  });

  it('closes on a message of the fast extension from a peer without it', async () => {
    const at = await bench();
    const peer = await raw(at.port);
    const plain = handshake();
    plain[27] = 0;
    peer.send(plain, message(0x10, uint32(0, 0, 1)));
    await until(() => peer.closed);
    expect(at.closes[0]?.reason).toBe('protocol');
    await at.session.close();
  });

  it('announces pieces by have-all, have-none or a bitfield', async () => {
    const { there, here, close } = await pair();
    here.bitfield(new Uint8Array([0xff, 0xff]), 16);
    await until(() => there.has(7));
    here.bitfield(new Uint8Array([0, 0]), 16);
    here.bitfield(new Uint8Array([0x40, 0x01]), 16);
    await until(() => !there.has(0));
    expect([there.has(1), there.has(2), there.has(15)]).toEqual([true, false, true]);
    await close();
  });

  it('reports a block as delivered only once it has left, and never more than has left', async () => {
    let delivered = 0;
    let drains = 0;
    const { here, there, seed, leech, close } = await pair({
      handlers: () => ({
        onDelivered: (bytes) => {
          delivered += bytes;
          expect(delivered).toBeLessThanOrEqual(seed.peers[0]!.bytesLeft());
        },
        onDrain: () => {
          drains++;
        },
      }),
    });
    let received = 0;
    let blocked = true;
    leech.peers[0]!.handlers.onBlock = (_index, _offset, bytes) => {
      received += bytes.length;
      // Spin, so that the sender's side fills.
      for (const end = performance.now() + (blocked ? 2 : 0); performance.now() < end; );
    };
    const block = randomBytes(BLOCK);
    let queued = 0;
    let peak = 0;
    for (let turn = 0; turn < 400; turn++) {
      while (here.sendRoom() >= BLOCK + 13) {
        here.sendBlock(turn % 16, 0, block);
        queued += BLOCK;
      }
      peak = Math.max(peak, queued - delivered);
      expect(delivered).toBeLessThanOrEqual(queued);
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (queued > 12 * 1024 * 1024) break;
    }
    blocked = false;
    await until(() => received === queued, 8_000);
    await until(() => delivered === queued);
    expect(peak).toBeLessThanOrEqual(2 * sendQueueBytesMax);
    expect(drains).toBeGreaterThan(0);
    expect(there.closed).toBe(false);
    await close();
  });

  it('does not report as delivered what a peer that stops reading never got', async () => {
    let delivered = 0;
    const at = await bench({
      handlers: () => ({
        onDelivered: (bytes) => {
          delivered += bytes;
        },
      }),
    });
    const peer = await greeted(at);
    await until(() => peer.received.length >= 68);
    peer.socket.pause();
    const mine = at.peers[0]!;
    const block = Buffer.alloc(BLOCK);
    let queued = 0;
    // Fill this process's queue until nothing moves any more: the kernel's buffers are full then.
    for (let still = 0; still < 10; still++) {
      const before = queued;
      while (mine.sendRoom() >= BLOCK + 13) {
        mine.sendBlock(0, 0, block);
        queued += BLOCK;
      }
      if (queued > before) still = 0;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    // What waits in this process, headers and all, cannot have been delivered.
    const waiting = sendQueueBytesMax - mine.sendRoom();
    expect(waiting).toBeGreaterThan(BLOCK);
    expect(delivered + waiting).toBeLessThanOrEqual(queued + 13 * (queued / BLOCK) + 1_000);
    expect(queued - delivered).toBeLessThanOrEqual(2 * sendQueueBytesMax);
    const before = delivered;
    peer.socket.destroy();
    await until(() => at.closes.length === 1);
    expect(delivered).toBe(before);
    await at.session.close();
  });

  it('stops reading a peer that lets its answers pile up', async () => {
    let handled = 0;
    const at = await bench({
      handlers: (peer) => ({
        onRequest: (...request) => {
          handled++;
          peer.rejectRequest(...request);
        },
      }),
    });
    const peer = await greeted(at);
    peer.socket.pause();
    const flood = Buffer.concat(Array.from({ length: 50_000 }, () => message(6, uint32(0, 0, BLOCK))));
    const sent = 50_000 * 40;
    for (let turn = 0; turn < 40; turn++) peer.socket.write(flood);
    let before = -1;
    while (handled > before) {
      before = handled;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(handled).toBeGreaterThan(0);
    expect(handled).toBeLessThan(sent);
    // Refusals that were made and have not left are all there is in memory: the bound, its slack, one read.
    const waiting = handled * 17 - at.peers[0]!.bytesLeft();
    expect(waiting).toBeLessThanOrEqual(sendQueueBytesMax + 256 * 1024 + 64 * 1024);
    peer.socket.resume();
    await until(() => handled > before);
    await at.session.close();
  }, 30_000);

  it('ends handshakes that take too long and connections that say nothing', async () => {
    const at = await bench({ maxima: { handshakeTimeoutMs: 300, idleTimeoutMs: 1_500 } });
    const silent = await raw(at.port);
    const idle = await greeted(at);
    await until(() => silent.closed && idle.closed, 6_000);
    expect(at.refusals[0]?.reason).toBe('handshake_timeout');
    expect(at.closes[0]?.reason).toBe('idle');
    await at.session.close();
  }, 10_000);

  it('keeps room for newcomers among 300 half-open connections', async () => {
    const at = await bench({ maxima: { halfOpen: 50, peersPerAddress: 1_000 } });
    const silent = await Promise.all(Array.from({ length: 300 }, () => raw(at.port)));
    const startMs = performance.now();
    const peer = await greeted(at);
    expect(performance.now() - startMs).toBeLessThan(1_000);
    expect(at.session.halfOpenCount()).toBeLessThanOrEqual(50);
    expect(peer.closed).toBe(false);
    for (const { socket } of silent) socket.destroy();
    await at.session.close();
  });

  it('keeps its caps of address and torrent, and refuses itself and a twin', async () => {
    const at = await bench({ maxima: { peersPerAddress: 4, peersPerTorrent: 2 } });
    const first = await greeted(at, 'a');
    const twin = await raw(at.port);
    twin.send(handshake(INFOHASH, 'a'));
    await until(() => twin.closed);
    const self = await raw(at.port);
    self.send(handshake(INFOHASH, 's'));
    await until(() => self.closed);
    await greeted(at, 'b');
    const third = await raw(at.port);
    third.send(handshake(INFOHASH, 'c'));
    await until(() => third.closed);
    expect(at.refusals.map(({ reason }) => reason)).toEqual(['duplicate', 'self', 'too_many']);
    const more = [await raw(at.port), await raw(at.port), await raw(at.port)];
    await until(() => more.some(({ closed }) => closed));
    expect(first.closed).toBe(false);
    await at.session.close();
  });

  it('rejects a dial that nobody answers, or that another torrent answers', async () => {
    const at = await bench();
    const other = Session.open({ clock: systemClock, peerId: peerIdOf('o') });
    other.add({ infohash: 'cd'.repeat(20), pieceCount: 1, extensions: [], onPeer: () => {} });
    const dial = { address: '127.0.0.1', port: at.port, infohash: 'cd'.repeat(20) };
    await expect(other.dial(dial)).rejects.toMatchObject({ code: 'NO_PEERS' });
    await at.session.close();
    await expect(other.dial(dial)).rejects.toMatchObject({ code: 'NO_PEERS' });
    await expect(other.dial({ ...dial, infohash: INFOHASH })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await other.close();
  });

  it('says so when it cannot listen', async () => {
    const at = await bench();
    await expect(at.session.listen({ host: '127.0.0.1', port: at.port })).rejects.toMatchObject({
      code: 'LISTEN_FAILED',
    });
    await at.session.close();
  });

  it('closes a removed torrent’s peers and no others', async () => {
    const at = await bench();
    const peer = await greeted(at);
    at.session.remove(INFOHASH);
    await until(() => peer.closed);
    expect(at.closes[0]?.reason).toBe('shutdown');
    expect(at.session.peers()).toHaveLength(0);
    await at.session.close();
  });

  it('shows each torrent its own peer id where it has one', async () => {
    const at = await bench();
    const own = { ...at.torrent, infohash: 'ef'.repeat(20), peerId: peerIdOf('z') };
    at.session.add(own);
    const peer = await raw(at.port);
    peer.send(handshake(own.infohash));
    await until(() => peer.received.length >= 68);
    expect(createHash('sha1').update(peer.received.subarray(48, 68)).digest()).toEqual(
      createHash('sha1').update(peerIdOf('z')).digest(),
    );
    await at.session.close();
  });
});
