/**
 * The way out of a connection: everything the Wire or the seeder writes goes straight to the socket here,
 * gathered to one system call a tick, and is counted as having left only when the kernel has it.
 *
 * Invariant: `left` never passes what was really handed to the kernel, not even when the stream breaks.
 */
import type { Socket } from 'node:net';
import type Wire from 'bittorrent-protocol';

/** Where a connection's bytes go, and how many of them have left. */
export interface Outlet {
  /** Writes bytes; `done` runs once they have been handed to the kernel, and never when they were not. */
  send(bytes: Uint8Array, done?: () => void): void;
  /** Bytes given to `send` so far. */
  written(): number;
  /** Bytes that wait in this process. */
  queued(): number;
  /** Bytes that were handed to the kernel. */
  left(): number;
}

/** Sends everything the Wire writes straight to the socket, gathered to one system call a tick. */
export function attach(wire: Wire, socket: Socket): Outlet {
  let corked = false;
  let written = 0;
  let left = 0;
  const uncork = (): void => {
    corked = false;
    if (!socket.destroyed) socket.uncork();
  };
  const outlet: Outlet = {
    send(bytes, done) {
      if (socket.destroyed || !socket.writable) return;
      if (!corked) {
        corked = true;
        socket.cork();
        process.nextTick(uncork);
      }
      written += bytes.length;
      const sent = wire._encryptor ? wire._encryptor.encrypt(bytes) : bytes;
      if (done) socket.write(sent, (error) => error ?? done());
      else socket.write(sent);
    },
    written: () => written,
    queued: () => socket.writableLength,
    left() {
      // A broken stream empties its queue without having sent it: what it had sent before is all there was.
      if (!socket.destroyed && !socket.errored) left = written - socket.writableLength;
      return left;
    },
  };
  wire._push = outlet.send;
  return outlet;
}

export interface DeliveryQueue {
  /** Notes a block whose last byte is the stream's byte `end`. */
  add(end: number, bytes: number, index: number, offset: number): void;
  /** Takes out every block that ends at or before `left`. */
  take(left: number, each: (bytes: number, index: number, offset: number) => void): void;
}

/** A ring of four numbers a block, so that a block costs no object. It grows to what `sendRoom` lets in. */
export function deliveryQueue(): DeliveryQueue {
  let ring = new Float64Array(4 * 64);
  let first = 0;
  let size = 0;
  const grow = (): void => {
    const larger = new Float64Array(ring.length * 2);
    larger.set(ring.subarray(first));
    larger.set(ring.subarray(0, first), ring.length - first);
    ring = larger;
    first = 0;
  };
  return {
    add(end, bytes, index, offset) {
      if (size === ring.length) grow();
      ring.set([end, bytes, index, offset], (first + size) % ring.length);
      size += 4;
    },
    take(left, each) {
      while (size > 0 && (ring[first] ?? 0) <= left) {
        const at = first;
        first = (first + 4) % ring.length;
        size -= 4;
        each(ring[at + 1] ?? 0, ring[at + 2] ?? 0, ring[at + 3] ?? 0);
      }
    },
  };
}
