/**
 * BEP 9: gives a torrent's info dictionary to those who have only its infohash, and fetches it from peers.
 * Both sides are bounded: a peer is given the dictionary a few times at most, and nothing is kept of a fetched
 * one that does not hash to the infohash. It leaves what the bytes mean to the torrent room.
 */
import { createHash } from 'node:crypto';
import type Wire from 'bittorrent-protocol';
import type { WireExtension, WireExtensionConstructor } from 'bittorrent-protocol';
import type { Clock } from '../clock.js';
import { PieceworkError } from '../errors.js';
import { metadataTimeoutMs, torrentBytesMax } from '../limits.js';
import * as Bencode from './bencode.js';

export const NAME = 'ut_metadata';
const PART_BYTES = 16 * 1024;
const REQUEST = 0;
const DATA = 1;
const REJECT = 2;
/** How often one peer may ask for the whole dictionary. */
const SERVINGS_MAX = 4;
/** Parts asked for at once. */
const PIPELINE = 4;
/** Peers that are asked at once. */
const COLLECTORS_MAX = 3;
const HEADER_BOUNDS = { depthMax: 2, tokensMax: 32 };

/** Makes the extension that serves `infoBytes`. */
export function serving(infoBytes: Uint8Array): WireExtensionConstructor {
  const parts = Math.ceil(infoBytes.length / PART_BYTES);
  return named(
    class {
      private served = 0;
      constructor(private readonly wire: Wire) {
        Object.assign(wire.extendedHandshake, { metadata_size: infoBytes.length });
      }

      onMessage(bytes: Uint8Array): void {
        const header = Bencode.inspect(bytes, HEADER_BOUNDS)?.integers;
        const part = header?.get('piece') ?? -1;
        if (header?.get('msg_type') !== REQUEST) return;
        const refused = part < 0 || part >= parts || ++this.served > SERVINGS_MAX * parts;
        // Refusals cost as little as requests, so they need no bound of their own.
        const type = refused ? REJECT : DATA;
        const size = refused ? '' : `10:total_sizei${infoBytes.length}e`;
        const head = Buffer.from(`d8:msg_typei${type}e5:piecei${Math.max(0, part)}e${size}e`);
        const body = refused ? [] : [infoBytes.subarray(part * PART_BYTES, (part + 1) * PART_BYTES)];
        this.wire.extended(NAME, Buffer.concat([head, ...body]));
      }
    },
  );
}

export interface Collection {
  readonly extension: WireExtensionConstructor;
  /** The info dictionary's bytes; they hash to the infohash. Rejects with NO_PEERS after the timeout or `stop`. */
  readonly done: Promise<Uint8Array>;
  stop(): void;
}

/**
 * Fetches an info dictionary from whichever peers have the extension. A peer whose bytes do not hash to
 * `infohash` is closed.
 */
export function collect(
  infohash: Uint8Array,
  clock: Clock,
  timeoutMs: number = metadataTimeoutMs,
): Collection {
  const collectors = new Set<Collector>();
  const waiting: Collector[] = [];
  let ended = false;
  let settle: { resolve(bytes: Uint8Array): void; reject(error: PieceworkError): void };
  const done = new Promise<Uint8Array>((resolve, reject) => {
    settle = { resolve, reject };
  });
  done.catch(() => {});
  const end = (): void => {
    ended = true;
    cancel();
    collectors.clear();
    waiting.length = 0;
  };
  const fail = (why: string): void => {
    end();
    settle.reject(new PieceworkError('NO_PEERS', why));
  };
  const cancel = clock.after(timeoutMs, () => fail('no peer gave the torrent’s metadata in time'));
  const next = (): void => {
    while (!ended && collectors.size < COLLECTORS_MAX) {
      const collector = waiting.shift();
      if (!collector) return;
      collectors.add(collector);
      collector.start();
    }
  };
  const release = (collector: Collector): void => {
    const at = waiting.indexOf(collector);
    if (at >= 0) waiting.splice(at, 1);
    if (collectors.delete(collector)) next();
  };

  const extension = named(
    class {
      private collector: Collector | undefined;
      constructor(private readonly wire: Wire) {
        wire.once('close', () => this.collector && release(this.collector));
      }

      onExtendedHandshake(handshake: Record<string, unknown>): void {
        const size = handshake['metadata_size'];
        if (ended || this.collector || !isSize(size)) return;
        this.collector = collectorOf(this.wire, size);
        waiting.push(this.collector);
        next();
      }

      onMessage(bytes: Uint8Array): void {
        const { collector } = this;
        if (!collector || !collectors.has(collector)) return;
        const outcome = collector.take(bytes);
        if (outcome === 'refused') release(collector);
        if (outcome !== 'whole') return;
        const digest = createHash('sha1').update(collector.bytes).digest();
        if (Buffer.compare(digest, infohash) === 0) {
          end();
          settle.resolve(collector.bytes);
        } else {
          release(collector);
          this.wire.destroy();
        }
      }
    },
  );
  return { extension, done, stop: () => !ended && fail('stopped') };
}

const isSize = (size: unknown): size is number =>
  typeof size === 'number' && Number.isInteger(size) && size > 0 && size <= torrentBytesMax;

interface Collector {
  readonly bytes: Uint8Array;
  start(): void;
  take(message: Uint8Array): 'more' | 'whole' | 'refused';
}

/** Collects one peer's copy. Its memory is taken when it starts, not when the peer names a size. */
function collectorOf(wire: Wire, size: number): Collector {
  const parts = Math.ceil(size / PART_BYTES);
  const there = new Set<number>();
  let bytes = new Uint8Array(0);
  let asked = 0;
  const ask = (): void => {
    while (asked < parts && asked - there.size < PIPELINE) {
      wire.extended(NAME, Buffer.from(`d8:msg_typei${REQUEST}e5:piecei${asked++}ee`));
    }
  };
  return {
    get bytes() {
      return bytes;
    },
    start() {
      bytes = new Uint8Array(size);
      ask();
    },
    take(message) {
      const header = Bencode.inspect(message, HEADER_BOUNDS);
      const type = header?.integers.get('msg_type');
      const part = header?.integers.get('piece') ?? -1;
      if (type === REJECT) return 'refused';
      if (type !== DATA || !header || part < 0 || part >= asked || there.has(part)) return 'more';
      const body = message.subarray(header.end);
      if (body.length !== Math.min(PART_BYTES, size - part * PART_BYTES)) return 'refused';
      bytes.set(body, part * PART_BYTES);
      there.add(part);
      ask();
      return there.size === parts ? 'whole' : 'more';
    },
  };
}

function named(extension: new (wire: Wire) => WireExtension): WireExtensionConstructor {
  Object.defineProperty(extension.prototype, 'name', { value: NAME });
  return extension;
}
