import Wire from 'bittorrent-protocol';
import { describe, expect, it } from 'vitest';
import { frameBytesMax } from '../../../src/limits.js';
import * as Bencode from '../../../src/wire/bencode.js';
import { type Bench, bench, greeted, handshake, message, raw, uint32, until } from './support.js';

async function closedWith(at: Bench, ...sent: Buffer[]): Promise<string> {
  const peer = await greeted(at);
  peer.send(...sent);
  await until(() => peer.closed && at.closes.length > 0);
  return `${at.closes[0]?.reason} ${at.closes[0]?.detail}`.trim();
}

async function closing(...sent: Buffer[]): Promise<string> {
  const at = await bench();
  try {
    return await closedWith(at, ...sent);
  } finally {
    await at.session.close();
  }
}

describe('the guard', () => {
  it('finds every private hook of the library that it replaces', () => {
    const wire = new Wire('tcpIncoming', 0) as unknown as Record<string, unknown>;
    const hooks = ['_onMessageLength', '_onMessage', '_onKeepAlive', '_onRequest', '_onPiece', '_onCancel'];
    for (const hook of [
      ...hooks,
      '_onReject',
      '_parse',
      '_push',
      '_message',
      '_write',
      'emit',
      'end',
      'destroy',
    ]) {
      expect(typeof wire[hook], hook).toBe('function');
    }
    for (const number of ['_bufferSize', '_parserSize']) expect(typeof wire[number], number).toBe('number');
  });

  it('closes on a 4 GiB length within the packet and without memory', async () => {
    const at = await bench();
    const peer = await greeted(at);
    global.gc?.();
    const before = process.memoryUsage().rss;
    let after = before;
    const end = at.peers[0]!.handlers.onClose;
    at.peers[0]!.handlers.onClose = (reason, detail) => {
      after = process.memoryUsage().rss;
      end?.(reason, detail);
    };
    peer.send(uint32(0xffff_fff0), Buffer.alloc(1_000));
    await until(() => peer.closed);
    expect(at.closes[0]?.reason).toBe('frame_too_large');
    expect(after - before).toBeLessThan(1024 * 1024);
    await at.session.close();
  });

  it('closes on a length that a signed reading would take for a keep-alive', async () => {
    expect(await closing(uint32(0x8000_0000))).toMatch(/^frame_too_large/);
  });

  it('takes the largest frame and refuses one byte more', async () => {
    const at = await bench();
    const peer = await greeted(at);
    peer.send(uint32(frameBytesMax), Buffer.alloc(frameBytesMax, 99), message(2));
    await until(() => at.peers[0]?.peerInterested === true);
    peer.send(uint32(frameBytesMax + 1));
    await until(() => at.closes.length > 0);
    expect(at.closes[0]?.reason).toBe('frame_too_large');
    await at.session.close();
  });

  it.each([
    ['a choke with a body', message(0, [1])],
    ['a have of 4 bytes', message(4, [0, 0, 0])],
    ['a have beyond the last piece', message(4, uint32(16))],
    ['a request of 12 bytes', message(6, Buffer.alloc(11))],
    ['a request of 14 bytes', message(6, Buffer.alloc(13))],
    ['a block without bytes', message(7, uint32(0, 0))],
    ['a block of more than 16 KiB', message(7, uint32(0, 0), Buffer.alloc(16 * 1024 + 1))],
    ['a bitfield that is too short', message(5, [0xff])],
    ['a bitfield that is too long', message(5, [0xff, 0xff, 0])],
    ['a cancel of 5 bytes', message(8, uint32(1))],
    ['an extended message without id', message(20)],
    ['an extended handshake that is no dictionary', message(20, [0], Buffer.from('le'))],
    [
      'an extended handshake that nests',
      message(20, [0], Buffer.from(`d1:a${'l'.repeat(9)}${'e'.repeat(9)}e`)),
    ],
    ['an extended handshake of many values', message(20, [0], Buffer.from(`d1:al${'i1e'.repeat(600)}ee`))],
    ['an extended handshake that goes on', message(20, [0], Buffer.from('d1:m'))],
    [
      'an extended handshake that reaches a prototype',
      message(20, [0], Buffer.from('d9:__proto__d1:vi1eee')),
    ],
    ['an extended handshake of 17 KiB', message(20, [0], Buffer.from(`d1:v17000:${'v'.repeat(17_000)}e`))],
    ['an extension id beyond a byte', message(20, [0], Buffer.from('d1:md2:xxi300eee'))],
  ])('closes on %s', async (_name, sent) => {
    expect(await closing(sent)).toMatch(/^malformed/);
  });

  it('closes on the ninth extended handshake and on more bitfields than a client can need', async () => {
    const handshakes = Array.from({ length: 9 }, () => message(20, [0], Buffer.from('de')));
    expect(await closing(...handshakes)).toMatch(/^flood/);
    // Sixteen pieces: one bitfield for each is what a client may send instead of haves, and a few besides.
    const bitfields = Array.from({ length: 21 }, () => message(5, [0xff, 0xff]));
    expect(await closing(...bitfields)).toMatch(/^flood/);
  });

  it('survives every type with every short size', async () => {
    for (let type = 0; type < 24; type++) {
      for (const size of [0, 1, 4, 8, 12]) {
        const at = await bench();
        const peer = await greeted(at);
        peer.send(message(type, Buffer.alloc(size, type)), message(2), message(0x0e), message(3));
        await until(() => peer.closed || at.peers[0]?.peerInterested === false);
        peer.socket.destroy();
        await at.session.close();
      }
    }
  });

  it('lets a throw in an extension end that peer alone', async () => {
    const seen: string[] = [];
    class Thrower {
      declare readonly name: string;
      onMessage(bytes: Uint8Array): void {
        if (bytes[0] === 1) throw new Error('thrown');
        seen.push('message');
      }
      async onExtendedHandshake(handshake: Record<string, unknown>): Promise<void> {
        if (handshake['async'] !== undefined) throw new Error('rejected');
      }
    }
    Object.defineProperty(Thrower.prototype, 'name', { value: 'ut_test' });
    const at = await bench({ extensions: [Thrower] });
    const [quiet, loud, late] = [await greeted(at, 'a'), await greeted(at, 'b'), await greeted(at, 'c')];
    loud.send(message(20, [1], [1]));
    late.send(message(20, [0], Buffer.from('d5:asynci1e1:md7:ut_testi3eee')));
    await until(() => loud.closed && late.closed);
    expect(at.closes.map(({ reason, detail }) => `${reason}: ${detail}`).sort()).toEqual([
      'handler_threw: ut_test.onExtendedHandshake: rejected',
      'handler_threw: ut_test.onMessage: thrown',
    ]);
    quiet.send(message(20, [1], [2]));
    await until(() => seen.length === 1);
    expect(quiet.closed).toBe(false);
    await at.session.close();
  });

  it('lets a throw of a listener for the end of a connection harm nobody', async () => {
    let heard = 0;
    class Late {
      declare readonly name: string;
      onMessage(): void {}
      constructor(wire: Wire) {
        for (const event of ['finish', 'close']) {
          wire.once(event, () => {
            heard++;
            throw new Error('late');
          });
        }
      }
    }
    Object.defineProperty(Late.prototype, 'name', { value: 'ut_late' });
    const at = await bench({ extensions: [Late] });
    const [leaving, staying] = [await greeted(at, 'a'), await greeted(at, 'b')];
    leaving.socket.destroy();
    await until(() => heard === 2);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(staying.closed).toBe(false);
    await at.session.close();
  });

  it('lets a throw in a peer handler end that peer alone', async () => {
    const at = await bench({
      handlers: () => ({
        onInterested: () => {
          throw new Error('interested');
        },
        onRequest: () => {
          throw new Error('request');
        },
      }),
    });
    const [first, second, third] = [await greeted(at, 'a'), await greeted(at, 'b'), await greeted(at, 'c')];
    first.send(message(2));
    second.send(message(6, uint32(0, 0, 1)));
    await until(() => first.closed && second.closed);
    expect(at.closes.map(({ reason }) => reason)).toEqual(['handler_threw', 'handler_threw']);
    expect(third.closed).toBe(false);
    await at.session.close();
  });
});

describe('what does not speak BitTorrent', () => {
  it('is closed, plain text and all, without a peer', async () => {
    const at = await bench();
    const peer = await raw(at.port);
    peer.send(Buffer.from(`GET / HTTP/1.1\r\nHost: example\r\n\r\n${'x'.repeat(2_000)}`));
    await until(() => peer.received.length > 0);
    peer.send(Buffer.from('anything'));
    await until(() => peer.closed);
    expect(at.refusals[0]?.reason).toBe('not_bittorrent');
    expect(at.peers).toHaveLength(0);
    await at.session.close();
  });

  it('is closed when it knows the protocol but not a torrent of ours', async () => {
    const at = await bench();
    const peer = await raw(at.port);
    peer.send(handshake('cd'.repeat(20)));
    await until(() => peer.closed);
    expect(at.refusals[0]?.reason).toBe('unknown_torrent');
    await at.session.close();
  });
});

describe('bencode inspection', () => {
  const bounds = { depthMax: 4, tokensMax: 20 };
  const inspect = (text: string) => Bencode.inspect(Buffer.from(text, 'latin1'), bounds);

  it('finds integers and the end', () => {
    const found = inspect('d8:msg_typei1e1:ml1:ae5:piecei-3eerest');
    expect(found?.end).toBe(34);
    expect([...(found?.integers ?? [])]).toEqual([
      ['msg_type', 1],
      ['piece', -3],
    ]);
  });

  it.each([
    '',
    'i1e',
    'd',
    'd1:a',
    'd1:ai1e',
    'di1ei1ee',
    'd1:a01:be',
    'd1:ai01ee',
    'd1:ai-0ee',
    'd1:aiee',
    'd1:ai99999999999999999ee',
    'd1:a9:be',
    'd-1:ae',
    'd1:ai1e1:be',
    'd1:ae',
    'd1:allllleeeeee',
    `d1:al${'i1e'.repeat(30)}ee`,
    'd9999999999999999999:ae',
  ])('refuses %s', (text) => {
    expect(inspect(text)).toBeUndefined();
  });
});
