import type { Socket } from 'node:net';
import Wire from 'bittorrent-protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as Outlets from '../../../src/wire/outlet.js';

/** A socket whose kernel takes what the test lets it take. */
function fakeSocket() {
  const pending: { size: number; done: (error?: Error) => void }[] = [];
  const socket = {
    destroyed: false,
    errored: null as Error | null,
    writable: true,
    writableLength: 0,
    corks: 0,
    cork: () => void socket.corks++,
    uncork: () => {},
    write(bytes: Uint8Array, done: (error?: Error) => void = () => {}) {
      socket.writableLength += bytes.length;
      pending.push({ size: bytes.length, done });
      return true;
    },
    /** The kernel takes the oldest write. */
    take(): number {
      const write = pending.shift();
      if (!write) return 0;
      socket.writableLength -= write.size;
      write.done();
      return write.size;
    },
    /** The stream breaks: what waits is thrown away, as Node does it. */
    break() {
      socket.destroyed = true;
      socket.errored = new Error('reset');
      socket.writableLength = 0;
      for (const { done } of pending.splice(0)) done(socket.errored);
    },
  };
  return socket;
}

describe('the outlet', () => {
  it('counts as left exactly what the kernel took, with more in the queue or a broken stream (any order)', () => {
    let breaks = 0;
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 40_000 }), { minLength: 5, size: 'max', maxLength: 60 }),
        (steps) => {
          const socket = fakeSocket();
          const outlet = Outlets.attach(new Wire('tcpOutgoing', 0), socket as unknown as Socket);
          let taken = 0;
          let done = 0;
          let expected = 0;
          for (const step of steps) {
            if (step === 7) {
              socket.break();
              breaks++;
            } else if (step % 3 === 0) {
              const size = socket.take();
              taken += size;
              if (size > 0) expected++;
            } else {
              outlet.send(new Uint8Array(step), () => {
                done++;
              });
            }
            expect(outlet.left()).toBe(taken);
            expect(outlet.queued()).toBe(socket.writableLength);
          }
          expect(done).toBe(expected);
        },
      ),
      { numRuns: 300, examples: [[[1_000, 2_000, 3, 7, 3, 1_000, 3]]] },
    );
    expect(breaks).toBeGreaterThan(0);
  });

  it('gathers the writes of one tick', async () => {
    const socket = fakeSocket();
    const outlet = Outlets.attach(new Wire('tcpOutgoing', 0), socket as unknown as Socket);
    for (let turn = 0; turn < 100; turn++) outlet.send(new Uint8Array(10));
    expect(socket.corks).toBe(1);
    await new Promise((resolve) => setImmediate(resolve));
    outlet.send(new Uint8Array(10));
    expect(socket.corks).toBe(2);
  });
});

describe('the queue of blocks on their way', () => {
  it('gives each block back once, in order, when its last byte has left (any order)', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 50 }), fc.constantFrom(true, true, true, false)), {
          minLength: 200,
          maxLength: 400,
          size: 'max',
        }),
        (steps) => {
          const queue = Outlets.deliveryQueue();
          const model: { end: number; block: number[] }[] = [];
          let written = 0;
          let left = 0;
          for (const [step, adds] of steps) {
            if (adds) {
              written += step;
              queue.add(written, step, model.length, written);
              model.push({ end: written, block: [step, model.length, written] });
            } else {
              left = Math.min(written, left + step);
              const got: number[][] = [];
              queue.take(left, (...block) => void got.push(block));
              const due = model.filter(({ end }) => end <= left);
              expect(got).toEqual(due.map(({ block }) => block));
              model.splice(0, due.length);
            }
          }
        },
      ),
    );
  });
});
