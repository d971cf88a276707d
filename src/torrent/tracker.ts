/**
 * One announce to one tracker, over HTTP (BEP 3, BEP 23) or UDP (BEP 15). Answers are a stranger's bytes:
 * bounded, strictly parsed, and an error of any kind is one TRACKER_FAILED. When to announce is discovery's
 * business.
 */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { isIP } from 'node:net';
import { PieceworkError } from '../errors.js';
import { MIB } from '../units.js';
import { VERSION } from '../version.js';
import * as Bencode from './bencode.js';

export type Event = 'started' | 'stopped' | 'completed' | undefined;

export interface Announce {
  readonly infohash: Uint8Array;
  readonly peerId: Uint8Array;
  /** The port that peers may connect to. */
  readonly port: number;
  readonly uploaded: number;
  readonly downloaded: number;
  readonly left: number;
  readonly event: Event;
  /** Peers wanted. */
  readonly wanted: number;
}

export interface PeerAddress {
  readonly address: string;
  readonly port: number;
}

export interface Answer {
  readonly peers: readonly PeerAddress[];
  /** When the tracker wants to hear again. */
  readonly intervalSeconds: number;
}

const ANSWER_BYTES_MAX = MIB;
const TIMEOUT_MS = 15_000;
const UDP_ATTEMPT_MS = 3_000;
const UDP_ATTEMPTS = 3;
const INTERVAL_SECONDS = 1_800;
const KNOWN = new Set(['failure reason', 'interval', 'peers', 'peers6', 'ip', 'port']);
const EVENT_NUMBERS = { completed: 1, started: 2, stopped: 3 } as const;
const UDP_MAGIC = Buffer.from('0000041727101980', 'hex');

/** Announces and returns the answer. Throws TRACKER_FAILED. */
export async function announce(url: string, what: Announce, signal?: AbortSignal): Promise<Answer> {
  try {
    const { protocol } = new URL(url);
    if (protocol === 'udp:') return await overUdp(url, what, signal);
    if (protocol === 'http:' || protocol === 'https:') return await overHttp(url, what, signal);
    throw new Error('this kind of tracker is not supported');
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new PieceworkError('TRACKER_FAILED', `${url}: ${why}`.slice(0, 500), { cause: thrown });
  }
}

async function overHttp(url: string, what: Announce, signal: AbortSignal | undefined): Promise<Answer> {
  const fields = [
    `info_hash=${percent(what.infohash)}`,
    `peer_id=${percent(what.peerId)}`,
    `port=${what.port}`,
    `uploaded=${what.uploaded}`,
    `downloaded=${what.downloaded}`,
    `left=${what.left}`,
    `numwant=${what.wanted}`,
    'compact=1',
    ...(what.event ? [`event=${what.event}`] : []),
  ];
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const response = await fetch(`${url}${url.includes('?') ? '&' : '?'}${fields.join('&')}`, {
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    headers: { 'user-agent': `Piecework/${VERSION}`, connection: 'close' },
  });
  if (!response.ok) throw new Error(`the tracker answered ${response.status}`);
  return parseAnswer(await bounded(response));
}

async function bounded(response: Response): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += (part as Uint8Array).length;
    // Leaving the loop cancels the rest.
    if (bytes > ANSWER_BYTES_MAX) throw new Error('the answer is too large');
    parts.push(part as Uint8Array);
  }
  return new Uint8Array(Buffer.concat(parts));
}

/** Parses the answer of an HTTP tracker. Throws on a refusal and on anything malformed. */
export function parseAnswer(bytes: Uint8Array): Answer {
  const answer = Bencode.decode(bytes, KNOWN);
  if (!Bencode.isDictionary(answer)) throw new Error('the answer is not a dictionary');
  const failure = answer.entries.get('failure reason');
  if (failure !== undefined) {
    throw new Error(failure instanceof Uint8Array ? printable(failure) : 'the tracker refused');
  }
  const peers = answer.entries.get('peers');
  const peers6 = answer.entries.get('peers6');
  return {
    intervalSeconds: seconds(answer.entries.get('interval')),
    peers: [
      ...(peers instanceof Uint8Array ? compact(peers, 4) : []),
      ...(Bencode.isList(peers) ? peers.flatMap(listed) : []),
      ...(peers6 instanceof Uint8Array ? compact(peers6, 16) : []),
    ],
  };
}

const seconds = (value: unknown): number =>
  typeof value === 'number' && value > 0 ? value : INTERVAL_SECONDS;

function listed(entry: Bencode.Value): PeerAddress[] {
  if (!Bencode.isDictionary(entry)) return [];
  const ip = entry.entries.get('ip');
  const port = entry.entries.get('port');
  const address = ip instanceof Uint8Array ? Buffer.from(ip).toString('latin1') : '';
  return isIP(address) !== 0 && isPort(port) ? [{ address, port }] : [];
}

/** Reads addresses of 4 or 16 bytes, each followed by a port. */
function compact(bytes: Uint8Array, size: 4 | 16): PeerAddress[] {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const found: PeerAddress[] = [];
  for (let at = 0; at + size + 2 <= view.length; at += size + 2) {
    const host = view.subarray(at, at + size);
    const groups = host.toString('hex').match(/.{4}/g) ?? [];
    const port = view.readUInt16BE(at + size);
    if (isPort(port)) found.push({ address: size === 4 ? host.join('.') : groups.join(':'), port });
  }
  return found;
}

const isPort = (port: unknown): port is number => typeof port === 'number' && port > 0 && port < 65_536;

async function overUdp(url: string, what: Announce, signal: AbortSignal | undefined): Promise<Answer> {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  const socket = createSocket(isIP(host) === 6 ? 'udp6' : 'udp4');
  try {
    // Connected, so that only the tracker's own packets come in.
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.connect(port === '' ? 80 : Number(port), host, resolve);
    });
    const ask = (request: Buffer, action: number, bytesMin: number): Promise<Buffer> =>
      exchange(socket, request, action, bytesMin, signal);
    const hello = await ask(Buffer.concat([UDP_MAGIC, uint32(0), randomBytes(4)]), 0, 16);
    const answer = await ask(udpAnnounce(hello.subarray(8, 16), what), 1, 20);
    const size = isIP(socket.remoteAddress().address) === 6 ? 16 : 4;
    return { intervalSeconds: seconds(answer.readUInt32BE(8)), peers: compact(answer.subarray(20), size) };
  } finally {
    socket.close();
  }
}

function udpAnnounce(connection: Uint8Array, what: Announce): Buffer {
  return Buffer.concat([
    connection,
    uint32(1),
    randomBytes(4),
    what.infohash,
    what.peerId,
    uint64(what.downloaded),
    uint64(what.left),
    uint64(what.uploaded),
    uint32(what.event ? EVENT_NUMBERS[what.event] : 0),
    uint32(0),
    randomBytes(4),
    uint32(what.wanted),
    uint32(what.port).subarray(2),
  ]);
}

/** Sends a request up to three times until an answer with its transaction id comes. */
function exchange(
  socket: ReturnType<typeof createSocket>,
  request: Buffer,
  action: number,
  bytesMin: number,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let attempts = 0;
    const finish = (settle: () => void): void => {
      clearInterval(timer);
      socket.off('message', onMessage);
      socket.off('error', onError);
      signal?.removeEventListener('abort', onAbort);
      settle();
    };
    const onError = (error: Error): void => finish(() => reject(error));
    const onAbort = (): void => onError(new Error('stopped'));
    const onMessage = (answer: Buffer) => {
      if (answer.length < 8 || Buffer.compare(answer.subarray(4, 8), request.subarray(12, 16)) !== 0) return;
      if (answer.readUInt32BE(0) === 3) return onError(new Error(printable(answer.subarray(8))));
      if (answer.readUInt32BE(0) === action && answer.length >= bytesMin) finish(() => resolve(answer));
    };
    const send = () => {
      if (++attempts > UDP_ATTEMPTS) return onError(new Error('the tracker does not answer'));
      socket.send(request, (error) => error && onError(error));
    };
    const timer = setInterval(send, UDP_ATTEMPT_MS);
    socket.on('message', onMessage);
    socket.on('error', onError);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) onAbort();
    else send();
  });
}

const percent = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');

const printable = (bytes: Uint8Array): string =>
  new TextDecoder().decode(bytes.subarray(0, 200)).replace(/\p{Cc}/gu, ' ');

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}
