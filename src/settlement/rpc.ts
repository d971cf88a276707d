/**
 * JSON-RPC over HTTP to one node: one request per call, bounded in time and size. Which node to ask, how often
 * and whom to believe is `quorum`'s, what an answer means `chain`'s. Invariant: no question is put to a node
 * before it has shown that it serves the right chain, and it shows that again after every failure and every
 * `nodeRecheckMs`. No address beyond scheme and host is ever shown, because node URLs carry access keys.
 */
import type { Clock } from '../clock.js';
import { PieceworkError } from '../errors.js';
import * as limits from '../limits.js';

/** What a node answers: a result, or the refusal of JSON-RPC 2.0 section 5.1. */
export type Answer =
  | { readonly ok: true; readonly result: unknown }
  | {
      readonly ok: false;
      readonly code: number;
      readonly message: string;
      readonly data: string | undefined;
    };

export interface RpcOptions {
  readonly clock: Clock;
  /** For one request, from connecting to the last byte. */
  readonly timeoutMs: number;
  /** Ends all calls when aborted. */
  readonly signal: AbortSignal;
  /** Asked before anything else. */
  readonly questions: readonly Question[];
}

/** What a node must answer before it is used. `check` throws for a node that may not be used. */
export interface Question {
  readonly method: string;
  readonly params: readonly unknown[];
  readonly check: (answer: Answer, node: string) => void;
}

/** The end of one request: an answer, or why there is none. */
export type Attempt = { readonly done: Answer } | Failed;

export interface Failed {
  /** For people. */
  readonly failed: string;
  /** Whether the same request may be answered soon. */
  readonly again: boolean;
  /** Nothing came in time. */
  readonly late?: boolean;
  /** How long the node asks to be left alone. */
  readonly afterMs?: number;
  /** Set when the node failed a question: what `check` threw. */
  readonly refused?: PieceworkError;
}

/** Bytes of one answer. Code of a contract and a block of receipts stay far below. */
const responseBytesMax = 8 * 1024 * 1024;
const retryAfterMsMax = 10_000;
/** JSON-RPC code that providers use for "too many requests" (EIP-1474). */
const LIMIT_EXCEEDED = -32005;

interface Endpoint {
  readonly url: string;
  readonly shown: string;
  readonly headers: { readonly authorization?: string };
}

export class Rpc {
  readonly #endpoint: Endpoint;
  readonly #options: RpcOptions;
  #admittedMs: number | undefined;
  #id = 0;

  /** @throws PieceworkError BAD_CONFIG for a URL that is not http or https. */
  constructor(url: string, options: RpcOptions) {
    this.#endpoint = endpoint(url);
    this.#options = options;
  }

  /** Scheme and host. */
  get shown(): string {
    return this.#endpoint.shown;
  }

  /** Makes the node show again that it serves the right chain before it is asked anything else. */
  doubt(): void {
    this.#admittedMs = undefined;
  }

  /** One try. A refusal in terms of JSON-RPC is an answer; everything else that is none is a failure. */
  async attempt(method: string, params: readonly unknown[]): Promise<Attempt> {
    const admitted = await this.#admit();
    if (admitted !== undefined) return admitted;
    const attempt = await this.#request(method, params);
    if (!('done' in attempt)) this.doubt();
    return attempt;
  }

  async #admit(): Promise<Failed | undefined> {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#admittedMs !== undefined && nowMs - this.#admittedMs < limits.nodeRecheckMs) return undefined;
    this.#admittedMs = undefined;
    for (const { method, params, check } of this.#options.questions) {
      const attempt = await this.#request(method, params);
      if (!('done' in attempt)) return attempt;
      try {
        check(attempt.done, this.shown);
      } catch (thrown) {
        if (!(thrown instanceof PieceworkError)) throw thrown;
        return { failed: thrown.message, again: false, refused: thrown };
      }
    }
    this.#admittedMs = nowMs;
    return undefined;
  }

  async #request(method: string, params: readonly unknown[]): Promise<Attempt> {
    const { url, headers } = this.#endpoint;
    const id = ++this.#id;
    const timeout = AbortSignal.timeout(this.#options.timeoutMs);
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ jsonrpc: '2.0', id, method, params }),
        redirect: 'error',
        signal: AbortSignal.any([timeout, this.#options.signal]),
      });
      if (response.status === 429 || response.status >= 500) {
        await response.body?.cancel();
        const afterMs = retryAfterMs(response.headers.get('retry-after'));
        return { failed: `HTTP status ${response.status}`, again: true, afterMs };
      }
      return read(await readBounded(response), id, response.status);
    } catch (thrown) {
      if (!timeout.aborted) return { failed: reason(thrown), again: true };
      return { failed: `nothing came in ${this.#options.timeoutMs} ms`, again: true, late: true };
    }
  }
}

function read(text: string, id: number, status: number): Attempt {
  const answer = parseAnswer(text, id);
  if (answer === undefined) {
    const again = status === 200;
    return { failed: `HTTP status ${status} without a JSON-RPC answer`, again };
  }
  if (!answer.ok && answer.code === LIMIT_EXCEEDED) return { failed: 'too many requests', again: true };
  return { done: answer };
}

function endpoint(text: string): Endpoint {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new PieceworkError('BAD_CONFIG', 'the address of a chain node must start with http:// or https://');
  }
  const headers: { authorization?: string } = {};
  if (url.username !== '' || url.password !== '') {
    const login = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    headers.authorization = `Basic ${Buffer.from(login, 'utf8').toString('base64')}`;
    url.username = '';
    url.password = '';
  }
  return { url: url.href, shown: url.origin, headers };
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > responseBytesMax) throw new Error(`an answer of more than ${responseBytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseAnswer(text: string, id: number): Answer | undefined {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof body !== 'object' || body === null) return undefined;
  const { id: echoed, result, error } = body as { id?: unknown; result?: unknown; error?: unknown };
  if (typeof error === 'object' && error !== null) {
    const { code, message, data } = error as { code?: unknown; message?: unknown; data?: unknown };
    return {
      ok: false,
      code: typeof code === 'number' ? code : 0,
      message: typeof message === 'string' ? message.slice(0, 500) : 'no reason given',
      data: revertData(data),
    };
  }
  return result === undefined || echoed !== id ? undefined : { ok: true, result };
}

/** Nodes put the bytes of a revert into `data` as hex, or into `data.data`. */
function revertData(data: unknown): string | undefined {
  const inner = typeof data === 'object' && data !== null ? (data as { data?: unknown }).data : data;
  return typeof inner === 'string' && /^0x([0-9a-fA-F]{2})*$/.test(inner) ? inner : undefined;
}

function retryAfterMs(header: string | null): number {
  return header !== null && /^\d{1,4}$/.test(header) ? Math.min(Number(header) * 1_000, retryAfterMsMax) : 0;
}

function reason(thrown: unknown): string {
  const cause = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown;
  const code = (cause as { code?: unknown } | null)?.code;
  if (typeof code === 'string') return code;
  return cause instanceof Error ? cause.message : 'the connection failed';
}
