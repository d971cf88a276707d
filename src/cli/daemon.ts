/**
 * Finds the daemon that owns a data folder and speaks to it: the same operations as an engine in this
 * process, over its loopback interface.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FetchEnd, FetchEvent, Operations } from '../engine/operations.js';
import { ERRORS, type ErrorCode, PieceworkError } from '../errors.js';

interface Note {
  readonly pid: number;
  readonly port: number;
}

const noteFile = (dataDir: string): string => join(dataDir, 'daemon.json');
const tokenFile = (dataDir: string): string => join(dataDir, 'token');

/** Tells other commands where this process listens; the returned function takes it back. */
export function announce(dataDir: string, port: number, token: string): () => void {
  writeFileSync(tokenFile(dataDir), `${token}\n`, { mode: 0o600 });
  writeFileSync(noteFile(dataDir), `${JSON.stringify({ pid: process.pid, port })}\n`, { mode: 0o600 });
  return () => {
    rmSync(noteFile(dataDir), { force: true });
    rmSync(tokenFile(dataDir), { force: true });
  };
}

/** The operations of the daemon that owns `dataDir`, or undefined when none runs. */
export function findDaemon(dataDir: string): Operations | undefined {
  let note: Note;
  let token: string;
  try {
    note = JSON.parse(readFileSync(noteFile(dataDir), 'utf8')) as Note;
    token = readFileSync(tokenFile(dataDir), 'utf8').trim();
    process.kill(note.pid, 0);
  } catch {
    return undefined;
  }
  return client(`http://127.0.0.1:${note.port}`, token);
}

/**
 * The same, once it has answered. A note that a power cut left behind may name a process that is somebody
 * else's by now: where nobody listens there is no daemon, and the ledger's lock decides.
 */
export async function reachDaemon(dataDir: string): Promise<Operations | undefined> {
  const found = findDaemon(dataDir);
  if (!found) return undefined;
  try {
    await found.status();
    return found;
  } catch (thrown) {
    const { code, cause } = thrown as PieceworkError;
    const refused = (cause as { cause?: { code?: unknown } } | undefined)?.cause?.code === 'ECONNREFUSED';
    if (refused || code === 'UNAUTHORIZED') return undefined;
    throw thrown;
  }
}

function client(base: string, token: string): Operations {
  const authorization = `Bearer ${token}`;

  async function request(path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { authorization };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const init: RequestInit = { method: body === undefined ? 'GET' : 'POST', headers };
    if (body !== undefined) init.body = JSON.stringify(body);
    if (signal) init.signal = signal;
    let response: Response;
    try {
      response = await fetch(`${base}${path}`, init);
    } catch (thrown) {
      if (signal?.aborted) throw new PieceworkError('INTERRUPTED');
      throw new PieceworkError('DAEMON_UNREACHABLE', (thrown as Error).message, { cause: thrown });
    }
    if (response.ok) return response;
    throw toError((await response.json().catch(() => ({}))) as Parameters<typeof toError>[0]);
  }
  const call = async <T>(path: string, body?: unknown): Promise<T> =>
    (await request(path, body)).json() as Promise<T>;

  return {
    status: () => call('/health'),
    channels: () => call('/v1/channels'),
    channel: (voucherKey) => call(`/v1/channels/${voucherKey}`),
    open: (wanted) => call('/v1/channels', wanted),
    topUp: (wanted) => call('/v1/top-ups', wanted),
    closeChannel: (wanted) => call('/v1/closes', wanted),
    settlements: () => call('/v1/settlements'),
    settle: (wanted) => call('/v1/settlements', wanted),
    withdraw: (wanted) => call('/v1/withdrawals', wanted),
    statement: () => call('/v1/statement'),
    vaults: {
      trust: (wanted) => call('/v1/vaults', wanted),
      untrust: (wanted) => call('/v1/vaults/untrust', wanted),
      list: () => call('/v1/vaults'),
      show: (vault) => call(`/v1/vaults/${vault}`),
      receive: (wanted) => call('/v1/cheques', wanted),
      issue: (wanted) => call('/v1/cheques/issue', wanted),
      cash: (wanted) => call('/v1/cheques/cash', wanted),
    },
    seed: (wanted) => call('/v1/seeds', wanted),
    async fetch(wanted, onEvent, signal) {
      const response = await request('/v1/fetches', wanted, signal);
      return readEvents(response, onEvent, signal);
    },
  };
}

async function readEvents(
  response: Response,
  onEvent: (event: FetchEvent) => void,
  signal?: AbortSignal,
): Promise<FetchEnd> {
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for await (const chunk of response.body!) {
      const lines = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const text of lines) {
        const event = JSON.parse(text) as FetchEvent | { event: 'error'; code: string; detail: string };
        if (event.event === 'error') throw toError(event);
        if (event.event === 'done') return event;
        onEvent(event);
      }
    }
  } catch (thrown) {
    if (signal?.aborted) throw new PieceworkError('INTERRUPTED');
    throw thrown;
  }
  throw new PieceworkError('DAEMON_UNREACHABLE', 'the daemon ended before the download did');
}

function toError(body: { code?: string; detail?: string }): PieceworkError {
  const code = body.code !== undefined && body.code in ERRORS ? (body.code as ErrorCode) : 'INTERNAL';
  return new PieceworkError(code, body.detail);
}
