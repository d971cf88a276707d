/**
 * What reads a stranger's bytes, on good bytes that were changed: messages of `pw_pay`, bencode, torrents, and the
 * guard around a wire. PIECEWORK_SEED repeats a run, PIECEWORK_CASES sets how many inputs each decoder gets.
 */
import { readFileSync } from 'node:fs';
import Wire from 'bittorrent-protocol';
import { describe, expect, it } from 'vitest';
import { PieceworkError } from '../../src/errors.js';
import * as Bencode from '../../src/torrent/bencode.js';
import * as Metainfo from '../../src/torrent/metainfo.js';
import { fromHex } from '../../src/units.js';
import * as WireBencode from '../../src/wire/bencode.js';
import * as Guard from '../../src/wire/guard.js';
import * as Messages from '../../src/wire/messages.js';
import { type Chance, chance, seedFromEnvironment } from '../support/chance.js';
import { mutated } from '../support/mutate.js';
import { handshake, message, uint32 } from '../unit/wire/support.js';

const CASES = Number(process.env['PIECEWORK_CASES'] ?? 20_000);
const KINDS = [
  ...['offer', 'accept', 'voucher', 'ack', 'state', 'reject', 'receipt', 'bid', 'tick_voucher', 'tick'],
];
/** Bytes at the end that are ignored (docs/spec/wire.md). */
const RESERVED: Record<string, number> = { offer: 45, accept: 16, receipt: 8 };
const BOUNDS = { depthMax: 8, tokensMax: 512 };
const PIECES = 16;
const vectors = JSON.parse(readFileSync(new URL('../vectors/wire.json', import.meta.url), 'utf8')) as Record<
  string,
  string
>[];

/** Looks at `CASES` inputs; says how many were accepted, of which there must be some, as of the others. */
function each(seed: number, look: (draw: Chance) => boolean): void {
  const draw = chance(seed);
  let accepted = 0;
  for (let nth = 0; nth < CASES; nth++) {
    try {
      if (look(draw)) accepted++;
    } catch (thrown) {
      throw new Error(`seed ${seed}, case ${nth}`, { cause: thrown });
    }
  }
  expect(accepted, `seed ${seed}`).toBeGreaterThan(CASES / 100);
  expect(accepted, `seed ${seed}`).toBeLessThan(CASES);
}

const same = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;

function demand(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

describe('decoders of a stranger’s bytes', () => {
  const seed = seedFromEnvironment();

  it('take a message only as they would write it', () => {
    const good = vectors.flatMap((vector) => KINDS.map((kind) => fromHex(vector[kind]!)));
    each(seed, (draw) => {
      const bytes = mutated(good, draw, 2_000);
      const result = Messages.decode(bytes);
      if (!result.ok) return false;
      const again = Messages.encode(result.message);
      const { type } = result.message;
      if (type === 'reject') {
        // Its text may be anything; what counts in it is the type and the code.
        demand(same(again.subarray(0, 5), bytes.subarray(0, 5)) || bytes[2]! > 8, 'another reject');
        return true;
      }
      const meaning = bytes.length - (RESERVED[type] ?? 0);
      demand(again.length === bytes.length, 'another size');
      demand(same(again.subarray(0, meaning), bytes.subarray(0, meaning)), 'another message');
      demand(
        again.subarray(meaning).every((byte) => byte === 0),
        'reserved bytes that are not zero',
      );
      return true;
    });
  });

  const dictionaries = [
    'de',
    'd1:md6:pw_payi1e11:ut_metadatai2ee1:v9:Piecework4:reqqi250ee',
    'd8:msg_typei1e5:piecei0e10:total_sizei34256eerest',
    'd1:alli1ei-3eed1:b2:xxee1:ci0ee',
  ].map((text) => new Uint8Array(Buffer.from(text, 'latin1')));

  it('end an inspected dictionary where it ends, and nowhere before', () => {
    each(seed, (draw) => {
      const bytes = mutated(dictionaries, draw, 300);
      const found = WireBencode.inspect(bytes, BOUNDS);
      if (!found) return false;
      demand(found.end > 1 && found.end <= bytes.length, 'an end outside the bytes');
      const whole = WireBencode.inspect(bytes.slice(0, found.end), BOUNDS);
      demand(whole?.end === found.end, 'the end depends on what follows');
      const cut = WireBencode.inspect(bytes.slice(0, found.end - 1), BOUNDS);
      demand(cut === undefined, 'a dictionary without its end');
      return true;
    });
  });

  it('take a torrent whose parts agree, and refuse others with a code', () => {
    const info = { 'piece length': 16_384, pieces: new Uint8Array(20), name: 'a' };
    const many = [
      { length: 10, path: ['b', 'c'] },
      { length: 6, path: ['d'], attr: 'p' },
    ];
    const top = { announce: 'udp://one.example:1', 'announce-list': [['http://two.example/announce']] };
    const good = [
      Bencode.encode({ info: { ...info, length: 10 } }),
      Bencode.encode({ ...top, info: { ...info, files: many, private: 1 } }),
    ];
    const codes = new Set<string>();
    each(seed, (draw) => {
      try {
        const metainfo = Metainfo.parse(mutated(good, draw, 1_000));
        const again = Metainfo.parse(Metainfo.toTorrentBytes(metainfo));
        demand(again.infohashHex === metainfo.infohashHex, 'another infohash');
        const bytes = metainfo.files.reduce((sum, file) => sum + file.bytes, 0);
        demand(bytes === metainfo.totalBytes, 'files that do not add up');
        demand(metainfo.pieceHashes.length === metainfo.pieceCount * 20, 'hashes that do not fit');
        return true;
      } catch (thrown) {
        if (!(thrown instanceof PieceworkError) || !thrown.code.startsWith('TORRENT_')) throw thrown;
        codes.add(thrown.code);
        return false;
      }
    });
    expect(codes, `seed ${seed}`).toContain('TORRENT_CORRUPT');
  });
});

describe('the guard', () => {
  const seed = seedFromEnvironment();
  const extended = Buffer.from('d1:md6:pw_payi1eee');
  const frames = [
    ...[0, 1, 2, 3, 0x0e, 0x0f].map((type) => message(type)),
    message(4, uint32(3)),
    message(5, [0xff, 0xff]),
    message(6, uint32(1, 0, 16_384)),
    message(7, uint32(1, 0), Buffer.alloc(64, 7)),
    message(8, uint32(1, 0, 16_384)),
    message(0x0d, uint32(3)),
    message(0x10, uint32(1, 0, 16_384)),
    message(20, [0], extended),
    message(20, [1], Buffer.alloc(40, 1)),
    uint32(0),
  ].map((frame) => new Uint8Array(frame));

  /** What a wire makes of bytes that arrive in these parts, up to its close. Nothing may be thrown. */
  function heard(parts: readonly Uint8Array[]): string[] {
    const wire = new Wire('tcpIncoming', 0);
    const events: string[] = [];
    let closed = false;
    const guarded: Guard.Guarded = {
      pieceCount: () => PIECES,
      close(reason, detail) {
        if (!closed) events.push(`closed: ${reason} ${detail}`);
        closed = true;
      },
    };
    Guard.protect(wire, guarded);
    wire.end = () => guarded.close('protocol', '');
    wire.destroy = wire.end;
    wire.resume();
    const emit = wire.emit.bind(wire);
    wire.emit = (event, ...details) => {
      if (!closed && !['readable', 'data'].includes(event)) events.push(event);
      return emit(event, ...details);
    };
    wire.once('handshake', () =>
      wire.handshake('ab'.repeat(20), 'cd'.repeat(20), { fast: true, dht: false }),
    );
    for (const part of parts) if (!closed) wire._write(part, () => {});
    return events;
  }

  it('hears the same from the same bytes, however they are cut', () => {
    const ends = new Set<string>();
    const draw = chance(seed);
    const count = Math.ceil(CASES / 10);
    for (let nth = 0; nth < count; nth++) {
      const size = 1 + draw.below(6);
      const stream = Buffer.concat([
        handshake(),
        ...Array.from({ length: size }, () =>
          draw.percent(70) ? draw.pick(frames) : mutated(frames, draw, 200),
        ),
      ]);
      const parts: Uint8Array[] = [];
      for (let at = 0; at < stream.length; ) {
        const end = at + 1 + draw.below(60);
        parts.push(new Uint8Array(stream.subarray(at, end)));
        at = end;
      }
      const [whole, cut] = [heard([new Uint8Array(stream)]), heard(parts)];
      expect(cut, `seed ${seed}, case ${nth}`).toEqual(whole);
      ends.add(whole[whole.length - 1]!.split(' ').slice(0, 2).join(' '));
    }
    expect([...ends], `seed ${seed}`).toEqual(
      expect.arrayContaining(['closed: malformed', 'closed: frame_too_large', 'interested']),
    );
  });
});
