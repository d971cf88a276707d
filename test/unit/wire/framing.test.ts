/** The short way for requests, blocks and extended messages hears what the library's parser hears, however the bytes are cut. */
import Wire from 'bittorrent-protocol';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { blockBytesMax, frameBytesMax } from '../../../src/limits.js';
import * as Framing from '../../../src/wire/framing.js';
import { message, uint32 } from './support.js';

/** A wire that is through its handshake, and what it hears. */
function listening() {
  const wire = new Wire('tcpIncoming', 0);
  const heard: string[] = [];
  wire._parse(4, wire._onMessageLength);
  wire._onRequest = (...numbers) => void heard.push(`request ${numbers}`);
  wire._onPiece = (index, offset, bytes) =>
    void heard.push(`piece ${index}:${offset}+${Buffer.from(bytes).toString('hex')}`);
  wire._onCancel = (...numbers) => void heard.push(`cancel ${numbers}`);
  wire._onKeepAlive = () => void heard.push('keep-alive');
  wire._onExtended = (id, bytes) => void heard.push(`extended ${id} ${Buffer.from(bytes).toString('hex')}`);
  wire.on('interested', () => void heard.push('interested'));
  return { wire, heard };
}

const number = fc.integer({ min: 0, max: 100_000 });
const frame = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(number, number, number).map((all) => message(6, ...all.map((each) => uint32(each)))),
  },
  fc
    .tuple(number, number, fc.uint8Array({ minLength: 1, maxLength: 60 }))
    .map(([index, offset, bytes]) => message(7, uint32(index), uint32(offset), Buffer.from(bytes))),
  fc.tuple(number, number, number).map((all) => message(8, ...all.map((each) => uint32(each)))),
  fc
    .tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 90 }))
    .map(([id, bytes]) => message(20, Buffer.from([id]), Buffer.from(bytes))),
  fc.constantFrom(message(2), uint32(0)),
);

it('hears the same as the library alone (any messages, any cuts)', () => {
  let direct = 0;
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 30 }),
      fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 40 }),
      (frames, cuts) => {
        const bytes = Buffer.concat(frames);
        const ours = listening();
        const theirs = listening();
        theirs.wire._write(bytes, () => {});
        const write = ours.wire._write.bind(ours.wire);
        let slow = 0;
        ours.wire._write = (part, done) => {
          slow += part.length;
          write(part, done);
        };
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const end = Math.min(bytes.length, at + cuts[turn % cuts.length]!);
          Framing.feed(ours.wire, bytes.subarray(at, end), () => false);
          at = end;
        }
        direct += bytes.length - slow;
        expect(ours.heard).toEqual(theirs.heard);
        expect(ours.heard.length).toBe(frames.length);
      },
    ),
    { numRuns: 300 },
  );
  expect(direct).toBeGreaterThan(0);
});

it('gives extended messages to the guard, and leaves those that are too large to the library', () => {
  for (const size of [1, 2, 50, frameBytesMax, frameBytesMax + 1]) {
    const { wire } = listening();
    const guarded: number[] = [];
    const measured: number[] = [];
    wire._onMessage = (frame) => void guarded.push(frame.length);
    wire._onMessageLength = (bytes) => void measured.push(Buffer.from(bytes).readUInt32BE());
    wire._parse(4, wire._onMessageLength);
    Framing.feed(wire, message(20, Buffer.alloc(size - 1)), () => measured.length > 0);
    expect(guarded).toEqual(size > frameBytesMax ? [] : [size]);
    expect(measured).toEqual(size > frameBytesMax ? [size] : []);
  }
});

it('leaves what is not a whole request or block to the library', () => {
  const cases = [message(6, uint32(1), uint32(2)), message(7, uint32(1), uint32(2))];
  const tooLong = message(7, uint32(0), uint32(0), Buffer.alloc(blockBytesMax + 1));
  for (const bytes of [...cases, tooLong]) {
    const { wire, heard } = listening();
    const seen: number[] = [];
    wire._onMessage = (frame) => void seen.push(frame.length);
    Framing.feed(wire, bytes, () => false);
    expect(seen).toEqual([bytes.length - 4]);
    expect(heard).toEqual([]);
  }
});

it('stops where a handler closes the connection', () => {
  const { wire, heard } = listening();
  const bytes = Buffer.concat([message(6, uint32(1), uint32(0), uint32(9)), message(2)]);
  Framing.feed(wire, bytes, () => heard.length > 0);
  expect(heard).toEqual(['request 1,0,9']);
});
