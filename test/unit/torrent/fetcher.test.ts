import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as Assembly from '../../../src/torrent/assembly.js';
import * as Fetcher from '../../../src/torrent/fetcher.js';
import { plainHasher } from '../../../src/torrent/hasher.js';
import * as Picker from '../../../src/torrent/picker.js';
import * as Sources from '../../../src/torrent/source.js';
import { Time } from '../../support/idle-time.js';

const BLOCK = 16 * 1024;

describe('a piece in assembly', () => {
  it('asks for each block once and knows when it is whole', () => {
    const piece = Assembly.create(7, 2 * BLOCK + 5);
    const asked = [piece.next(), piece.next(), piece.next(), piece.next()];
    expect(asked).toEqual([
      { offset: 0, length: BLOCK },
      { offset: BLOCK, length: BLOCK },
      { offset: 2 * BLOCK, length: 5 },
      undefined,
    ]);
    expect(piece.put(2 * BLOCK, new Uint8Array(5).fill(3))).toBe('taken');
    expect(piece.put(2 * BLOCK, new Uint8Array(5).fill(4))).toBe('late');
    expect(piece.put(0, new Uint8Array(BLOCK).fill(1))).toBe('taken');
    expect(piece.unask(BLOCK)).toBe(true);
    expect(piece.unask(BLOCK)).toBe(false);
    expect(piece.next()).toEqual({ offset: BLOCK, length: BLOCK });
    expect(piece.put(BLOCK, new Uint8Array(BLOCK).fill(2))).toBe('taken');
    expect([piece.missing(), piece.asked()]).toEqual([0, 0]);
    expect([piece.bytes[0], piece.bytes[BLOCK], piece.bytes.at(-1)]).toEqual([1, 2, 3]);
  });

  it.each([
    [1, 5],
    [0, 5],
    [2 * BLOCK, 6],
    [3 * BLOCK, 5],
    [0xffff_c000, BLOCK],
    [0, BLOCK + 1],
  ])('refuses a block at %d of %d bytes', (offset, size) => {
    expect(Assembly.create(0, 2 * BLOCK + 5).put(offset, new Uint8Array(size))).toBe('wrong');
  });
});

describe('the picker', () => {
  const all = (): boolean => true;
  const none = (): boolean => false;

  it('takes the rarest first, equals from a start on and around', () => {
    const picker = Picker.create(6, none, () => 0.5);
    picker.learn(1, all);
    picker.learn(2, (index) => index !== 4);
    const taken = Array.from({ length: 7 }, () => picker.take(1, all));
    expect(taken).toEqual([4, 3, 5, 0, 1, 2, undefined]);
  });

  it('meets pieces again that were given back, or were not allowed before', () => {
    const picker = Picker.create(
      4,
      (index) => index === 0,
      () => 0,
    );
    picker.learn(1, all);
    expect(picker.take(1, (index) => index !== 1)).toBe(2);
    expect(picker.take(1, all)).toBe(1);
    expect(picker.take(1, all)).toBe(3);
    picker.release(2);
    expect(picker.take(1, all)).toBe(2);
    for (const index of [1, 2, 3]) picker.finish(index);
    expect(picker.hasWanted(1)).toBe(false);
    expect(picker.freeCount()).toBe(0);
  });

  it('never gives a piece twice, to anyone, nor one the peer lacks or that is there (any order of events)', () => {
    const event = fc.record({
      kind: fc.constantFrom('learn', 'one', 'forget', 'take', 'take', 'take', 'take', 'release', 'finish'),
      peer: fc.integer({ min: 1, max: 4 }),
      index: fc.integer({ min: 0, max: 19 }),
      bits: fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }),
    });
    let takes = 0;
    fc.assert(
      fc.property(
        fc.array(event, { minLength: 40, maxLength: 120, size: 'max' }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (events, start) => {
          const picker = Picker.create(
            20,
            (index) => index % 7 === 0,
            () => start,
          );
          const theirs = new Map<number, Set<number>>();
          const taken = new Set<number>();
          const there = new Set([0, 7, 14]);
          for (const { kind, peer, index, bits } of events) {
            if (kind === 'learn') {
              picker.learn(peer, (at) => bits[at] === true);
              theirs.set(peer, new Set(bits.flatMap((bit, at) => (bit ? [at] : []))));
            } else if (kind === 'one') {
              picker.learnOne(peer, index);
              theirs.set(peer, new Set([...(theirs.get(peer) ?? []), index]));
            } else if (kind === 'forget') {
              picker.forget(peer);
              theirs.delete(peer);
            } else if (kind === 'take') {
              const got = picker.take(peer, all);
              const possible = [...(theirs.get(peer) ?? [])].filter((at) => !taken.has(at) && !there.has(at));
              if (got === undefined) expect(possible).toEqual([]);
              else expect(possible).toContain(got);
              if (got !== undefined) {
                taken.add(got);
                takes++;
              }
            } else if (kind === 'release' && taken.delete(index)) {
              picker.release(index);
            } else if (kind === 'finish' && taken.delete(index)) {
              picker.finish(index);
              there.add(index);
            }
            expect(picker.freeCount()).toBe(20 - taken.size - there.size);
            for (const [who, set] of theirs) {
              expect(picker.hasWanted(who)).toBe([...set].some((at) => !there.has(at)));
            }
          }
        },
      ),
      { numRuns: 300 },
    );
    expect(takes).toBeGreaterThan(1_000);
  });
});

describe('a source', () => {
  const fake = (reqq = 250, fast = true) => {
    const log: string[] = [];
    const peer = {
      id: 1,
      fast,
      reqq,
      peerChoking: false,
      has: () => true,
      interested: () => {},
      notInterested: () => {},
      have: () => {},
      request: (...request: number[]) => void log.push(`request ${request.join(':')}`),
      cancel: (...request: number[]) => void log.push(`cancel ${request.join(':')}`),
      destroy: (detail: string) => void log.push(`destroy ${detail}`),
    };
    return { peer, log, source: Sources.create(peer, Sources.TIMEOUTS, 0) };
  };
  const fill = ({ source }: ReturnType<typeof fake>): number => {
    let asked = 0;
    while (source.hasRoom() && source.askNext()) asked++;
    return asked;
  };

  it('never has more outstanding than the peer lets wait', () => {
    const small = fake(3);
    small.source.begin(0, 64 * BLOCK, 0);
    expect(fill(small)).toBe(3);
    small.source.block(0, 0, new Uint8Array(BLOCK), 1);
    expect(fill(small)).toBe(1);
  });

  it('deepens its pipeline with the speed of the peer, up to a bound', () => {
    const quick = fake(4096);
    quick.source.begin(0, 4_000 * BLOCK, 0);
    expect(fill(quick)).toBe(16);
    let outstanding = 16;
    for (let at = 0; at < 2_000; at++) {
      quick.source.block(0, at * BLOCK, new Uint8Array(BLOCK), at);
      outstanding += fill(quick) - 1;
    }
    expect(outstanding).toBe(1024);
  });

  it('gives up on a silent peer after 30 s, and leaves it alone for as long', () => {
    const silent = fake();
    silent.source.begin(0, 8 * BLOCK, 0);
    fill(silent);
    expect(silent.source.overdue(29_999)).toEqual([]);
    expect(silent.source.overdue(30_000)).toEqual([0]);
    expect(silent.source.abandon(0)).toBe(true);
    expect(silent.log.filter((line) => line.startsWith('cancel'))).toHaveLength(8);
    expect(silent.source.mayTake(30_001)).toBe(false);
    expect(silent.source.mayTake(60_001)).toBe(true);
  });

  it('gives up on a peer that drips', () => {
    const drip = fake();
    drip.source.begin(0, 64 * BLOCK, 0);
    fill(drip);
    let gaveUpMs = 0;
    for (let at = 0; at < 64 && gaveUpMs === 0; at++) {
      const nowMs = (at + 1) * 20_000;
      drip.source.block(0, at * BLOCK, new Uint8Array(BLOCK), nowMs);
      if (drip.source.overdue(nowMs).length > 0) gaveUpMs = nowMs;
    }
    expect(gaveUpMs).toBeGreaterThan(0);
    expect(gaveUpMs).toBeLessThan(200_000);
  });

  it('keeps a piece through a choke and asks again for what is missing', () => {
    for (const fast of [true, false]) {
      const choking = fake(250, fast);
      choking.source.begin(0, 4 * BLOCK, 0);
      fill(choking);
      choking.source.block(0, 0, new Uint8Array(BLOCK), 1);
      choking.peer.peerChoking = true;
      choking.source.choked(2);
      if (fast) for (const at of [1, 2, 3]) expect(choking.source.rejected(0, at * BLOCK, 3)).toBe(false);
      choking.peer.peerChoking = false;
      expect(fill(choking)).toBe(3);
    }
  });

  it('takes a refusal without a choke for a no to the piece', () => {
    const refusing = fake();
    refusing.source.begin(5, 4 * BLOCK, 0);
    fill(refusing);
    expect(refusing.source.rejected(5, 0, 10)).toBe(true);
    expect(refusing.source.refuses(5)).toBe(true);
    expect(refusing.source.rejected(9, 0, 10)).toBe(false);
    refusing.source.overdue(20_000);
    expect(refusing.source.refuses(5)).toBe(false);
  });

  it('closes on a block that is none, and on thousands that nobody asked for', () => {
    const odd = fake();
    odd.source.begin(0, 4 * BLOCK, 0);
    odd.source.block(0, 3, new Uint8Array(BLOCK), 1);
    expect(odd.log.at(-1)).toMatch(/destroy a block that is none/);
    const chatty = fake();
    for (let turn = 0; turn <= 4096; turn++) chatty.source.block(1, 0, new Uint8Array(1), turn);
    expect(chatty.log.at(-1)).toMatch(/destroy blocks that nobody asked for/);
  });
});

describe('the fetcher', () => {
  it('puts pieces into the memory of written ones, and every byte right', async () => {
    const pieceLength = 2 * BLOCK;
    const whole = Buffer.alloc(11 * pieceLength + 77, 0).map((_, at) => (at * 7 + (at >> 9)) & 0xff);
    const pieceCount = 12;
    const pieceOf = (index: number) => whole.subarray(index * pieceLength, (index + 1) * pieceLength);
    const digests = Array.from({ length: pieceCount }, (_, index) =>
      createHash('sha1').update(pieceOf(index)).digest(),
    );
    const pieceHashes = Buffer.concat(digests);
    const torrent = { files: [], pieceLength, pieceCount, totalBytes: whole.length, pieceHashes };
    const there = new Set<number>();
    const memory = new Set<ArrayBufferLike>();
    const fetcher = Fetcher.create({
      torrent,
      storage: {
        has: (index) => there.has(index),
        count: () => there.size,
        complete: () => there.size === pieceCount,
        sync: async () => {},
        async writePiece(index, bytes) {
          expect(Buffer.compare(bytes, pieceOf(index))).toBe(0);
          if (bytes.length === pieceLength) memory.add(bytes.buffer);
          there.add(index);
        },
      },
      hasher: plainHasher,
      till: { reserve: () => 'ok', received: async () => {}, abandoned: () => {} },
      clock: new Time(),
      random: () => 0,
      bufferBytesMax: 3 * pieceLength,
    });
    const peer = {
      ...{ id: 1, fast: true, reqq: 250, peerChoking: false, has: () => true },
      ...{ interested() {}, notInterested() {}, have() {}, cancel() {}, destroy() {} },
      request(index: number, offset: number, length: number) {
        const start = index * pieceLength + offset;
        setImmediate(() => fetcher.block(peer, index, offset, whole.subarray(start, start + length)));
      },
    };
    fetcher.join(peer);
    expect(await fetcher.done).toBe('complete');
    expect(there.size).toBe(pieceCount);
    expect(memory.size).toBeLessThanOrEqual(3);
  });
});
