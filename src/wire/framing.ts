/**
 * Takes whole requests, blocks and extended messages straight out of what arrives, past the library's parser: nearly
 * all messages are one of these, and the library copies and describes each. Everything else goes through it, frame by
 * frame, and so does what is not whole. Meanings and checks are the same on both ways.
 */
import type Wire from 'bittorrent-protocol';
import { blockBytesMax, blockHeadBytes, frameBytesMax } from '../limits.js';

const LENGTH_BYTES = 4;
const REQUEST = 6;
const REQUEST_BYTES = 17;
const PIECE = 7;
const EXTENDED = 20;

/**
 * Gives bytes from the socket to `wire`. Call for connections that are through their handshake and not encrypted;
 * `closed` ends it in the middle.
 */
export function feed(wire: Wire, bytes: Uint8Array, closed: () => boolean): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length && !closed(); ) {
    const left = bytes.length - at;
    const taken = isBetweenFrames(wire) ? takeFrame(wire, bytes, view, at) : 0;
    if (taken > 0) {
      at += taken;
      continue;
    }
    // No more than one step of the library, so that what follows has its chance again.
    const step = Math.min(left, Math.max(1, wire._parserSize - wire._bufferSize));
    wire._write(bytes.subarray(at, at + step), () => {});
    at += step;
  }
}

/** Handles the message of those kinds that begins at `at`; returns its size, 0 when it is none or not whole. */
function takeFrame(wire: Wire, bytes: Uint8Array, view: DataView, at: number): number {
  const left = bytes.length - at;
  if (left <= LENGTH_BYTES) return 0;
  const size = view.getUint32(at) + LENGTH_BYTES;
  if (size > left) return 0;
  const type = bytes[at + LENGTH_BYTES];
  if (type === REQUEST && size === REQUEST_BYTES) {
    wire._onRequest(view.getUint32(at + 5), view.getUint32(at + 9), view.getUint32(at + 13));
    return size;
  }
  if (type === EXTENDED && size <= LENGTH_BYTES + frameBytesMax) {
    // Its checks are the guard's, which stands before the library here.
    wire._onMessage(bytes.subarray(at + LENGTH_BYTES, at + size));
    return size;
  }
  if (type !== PIECE || size <= blockHeadBytes || size > blockHeadBytes + blockBytesMax) return 0;
  const block = bytes.subarray(at + blockHeadBytes, at + size);
  wire._onPiece(view.getUint32(at + 5), view.getUint32(at + 9), block);
  return size;
}

function isBetweenFrames(wire: Wire): boolean {
  return wire._bufferSize === 0 && wire._parserSize === LENGTH_BYTES;
}
