/**
 * Stands between a stranger's bytes and a bittorrent-protocol Wire: bounds each frame before it is buffered,
 * checks each message's size for its type before it is parsed, and bounds extended handshakes before they
 * are decoded. It also makes sure that no throw of a handler leaves the connection it happened on. It leaves
 * sockets, timeouts and what the messages mean to the session and the torrent rooms.
 *
 * It replaces private methods on the instance, never on the class; a test names each of them.
 */
import type Wire from 'bittorrent-protocol';
import type { WireExtension } from 'bittorrent-protocol';
import { blockBytesMax, extendedHandshakesMax, frameBytesMax, torrentPiecesMax } from '../limits.js';
import * as Bencode from './bencode.js';

/** Why a connection ended. `detail` in the close report says more where there is more to say. */
export type CloseReason =
  | 'local' // This side asked for it: see the detail.
  | 'remote' // The other side closed or reset the connection.
  | 'not_bittorrent'
  | 'unknown_torrent'
  | 'handshake_timeout'
  | 'idle'
  | 'frame_too_large'
  | 'malformed'
  | 'protocol' // A message that is not allowed at this point.
  | 'flood'
  | 'handler_threw'
  | 'self'
  | 'duplicate'
  | 'too_many'
  | 'shutdown';

export interface Guarded {
  /** Pieces of the torrent, or undefined while its metadata is not known. Asked at each check. */
  pieceCount(): number | undefined;
  /** Ends the connection. Must be safe to call more than once. */
  close(reason: CloseReason, detail: string): void;
}

const EXTENDED = 20;
const BITFIELD = 5;
const HAVE = 4;
const PIECE = 7;
/** Body bytes by message type, the type byte included. A type that is not listed may have any size. */
const EXACT_BYTES: ReadonlyMap<number, number> = new Map([
  [0, 1],
  [1, 1],
  [2, 1],
  [3, 1],
  [HAVE, 5],
  [6, 13],
  [8, 13],
  [9, 3],
  [0x0d, 5],
  [0x0e, 1],
  [0x0f, 1],
  [0x10, 13],
  [0x11, 5],
]);
const PIECE_HEADER_BYTES = 9;
/**
 * Bitfields, have-alls and have-nones one peer may send besides one for each piece: each replaces the one before.
 * Some clients (aria2) send one instead of many haves, again and again while they download.
 */
const BITFIELDS_SPARE = 4;
const HANDSHAKE_BYTES_MAX = 16 * 1024;
const HANDSHAKE_BOUNDS = { depthMax: 8, tokensMax: 512 };
const EXTENSION_NAMES_MAX = 64;

/** Puts the guard on `wire`. Call before the first byte is given to it. */
export function protect(wire: Wire, guarded: Guarded): void {
  const state = { bitfields: 0, extendedHandshakes: 0 };
  const onMessage = wire._onMessage.bind(wire);
  const emit = wire.emit.bind(wire);

  const checked = (bytes: Uint8Array) => {
    const fault = faultOf(bytes, state, guarded.pieceCount());
    if (fault) return guarded.close(fault.reason, fault.detail);
    onMessage(bytes);
    if (bytes[0] === EXTENDED && bytes[1] === 0) checkExtensionIds(wire, guarded);
  };
  wire._onMessageLength = (bytes) => {
    const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0);
    if (length === 0) {
      wire._onKeepAlive();
      wire._parse(4, wire._onMessageLength);
      return;
    }
    if (length > frameBytesMax) return guarded.close('frame_too_large', `a frame of ${length} bytes`);
    wire._parse(length, wire._onMessage);
  };
  wire._onMessage = checked;
  wire.emit = (event, ...details) => {
    try {
      return emit(event, ...details);
    } catch (thrown) {
      guarded.close('handler_threw', `${event}: ${text(thrown)}`);
      return true;
    }
  };
}

/** Wraps every handler of the extensions in use, so that a throw or a rejection ends only this connection. */
export function protectExtensions(wire: Wire, guarded: Guarded): void {
  for (const [name, handler] of Object.entries(wire._ext)) {
    for (const hook of ['onHandshake', 'onExtendedHandshake', 'onMessage'] as const)
      wrap(handler, hook, name, guarded);
  }
}

function wrap(
  handler: WireExtension,
  hook: 'onHandshake' | 'onExtendedHandshake' | 'onMessage',
  name: string,
  guarded: Guarded,
): void {
  const inner = handler[hook] as ((...details: unknown[]) => unknown) | undefined;
  if (!inner) return;
  const fail = (thrown: unknown): void => guarded.close('handler_threw', `${name}.${hook}: ${text(thrown)}`);
  const outer = (...details: unknown[]): void => {
    try {
      const result = inner.apply(handler, details);
      if (result instanceof Promise) result.catch(fail);
    } catch (thrown) {
      fail(thrown);
    }
  };
  Object.defineProperty(handler, hook, { value: outer, configurable: true });
}

interface Fault {
  readonly reason: CloseReason;
  readonly detail: string;
}

function faultOf(
  bytes: Uint8Array,
  state: { bitfields: number; extendedHandshakes: number },
  pieceCount: number | undefined,
): Fault | undefined {
  const type = bytes[0] ?? 0;
  const exact = EXACT_BYTES.get(type);
  if (exact !== undefined && bytes.length !== exact)
    return malformed(`message ${type} of ${bytes.length} bytes`);
  if (type === PIECE) return faultOfPiece(bytes);
  if (type === HAVE) return faultOfHave(bytes, pieceCount);
  if (type === BITFIELD || type === 0x0e || type === 0x0f) {
    if (++state.bitfields > BITFIELDS_SPARE + (pieceCount ?? 0))
      return { reason: 'flood', detail: 'too many bitfields' };
    return type === BITFIELD ? faultOfBitfield(bytes.length - 1, pieceCount) : undefined;
  }
  return type === EXTENDED ? faultOfExtended(bytes, state) : undefined;
}

function faultOfPiece(bytes: Uint8Array): Fault | undefined {
  const payload = bytes.length - PIECE_HEADER_BYTES;
  // Nobody is asked for more than a block at once, so nobody may answer with more.
  return payload < 1 || payload > blockBytesMax ? malformed(`a block of ${payload} bytes`) : undefined;
}

function faultOfHave(bytes: Uint8Array, pieceCount: number | undefined): Fault | undefined {
  const index = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
  return index >= (pieceCount ?? torrentPiecesMax) ? malformed(`have of piece ${index}`) : undefined;
}

function faultOfBitfield(size: number, pieceCount: number | undefined): Fault | undefined {
  const wrong =
    pieceCount === undefined ? size > Math.ceil(torrentPiecesMax / 8) : size !== Math.ceil(pieceCount / 8);
  return wrong ? malformed(`a bitfield of ${size} bytes`) : undefined;
}

function faultOfExtended(bytes: Uint8Array, state: { extendedHandshakes: number }): Fault | undefined {
  if (bytes.length < 2) return malformed('an extended message without an id');
  if (bytes[1] !== 0) return undefined;
  if (++state.extendedHandshakes > extendedHandshakesMax)
    return { reason: 'flood', detail: 'too many handshakes' };
  const body = bytes.subarray(2);
  if (body.length > HANDSHAKE_BYTES_MAX) return malformed(`an extended handshake of ${body.length} bytes`);
  return Bencode.inspect(body, HANDSHAKE_BOUNDS) ? undefined : malformed('an extended handshake');
}

function checkExtensionIds(wire: Wire, guarded: Guarded): void {
  const ids = Object.values(wire.peerExtendedMapping);
  const sound =
    ids.length <= EXTENSION_NAMES_MAX && ids.every((id) => Number.isInteger(id) && id >= 0 && id <= 255);
  if (!sound) guarded.close('malformed', 'extension ids');
}

const malformed = (detail: string): Fault => ({ reason: 'malformed', detail });

/** The text of whatever was thrown, bounded, for a close report. */
export function text(thrown: unknown): string {
  return (thrown instanceof Error ? thrown.message : String(thrown)).slice(0, 200);
}
