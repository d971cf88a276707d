/**
 * JSON-RPC over HTTP to a list of nodes: one request per call, bounded in time, size and tries. A node that
 * does not answer is tried again, then the next one in the list. What an answer means is `chain`'s. Every
 * method sent here may be repeated without harm; a raw transaction is known by its hash. No address beyond
 * scheme and host is ever shown, because node URLs carry access keys.
 */
import { type Clock, sleep } from '../clock.js';
import { PieceworkError } from '../errors.js';

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
  /** Further tries after the first. */
  readonly retriesMax: number;
  /** Wait before the first further try; doubles with each. */
  readonly retryMs: number;
  /** Ends all calls when aborted. */
  readonly signal: AbortSignal;
  /** Asked of each node before anything else, and again after it failed to answer. */
  readonly questions: readonly Question[];
}

/** What a node must answer before it is used. `check` throws for a node that may not be used at all. */
export interface Question {
  readonly method: string;
  readonly params: readonly unknown[];
  readonly check: (answer: Answer, node: string) => void;
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

type Attempt =
  | { readonly done: Answer }
  | { readonly failed: string; readonly again: boolean; readonly afterMs?: number };

export class Rpc {
  readonly #endpoints: readonly Endpoint[];
  readonly #options: RpcOptions;
  readonly #admitted = new Set<Endpoint>();
  #current = 0;
  #id = 0;

  /** @throws PieceworkError BAD_CONFIG for a URL that is not http or https. */
  constructor(urls: readonly string[], options: RpcOptions) {
    if (urls.length === 0) throw new PieceworkError('BAD_CONFIG', 'no node is configured for the chain');
    this.#endpoints = urls.map(endpoint);
    this.#options = options;
  }

  /** Scheme and host of the node in use. */
  get node(): string {
    return this.#endpoints[this.#current]!.shown;
  }

  /**
   * Asks the node in use. Each further try, at most `retries` or else the configured number, goes to the
   * next node of the list.
   * @throws PieceworkError CHAIN_UNREACHABLE when no try was answered, INTERRUPTED once aborted, and what a
   * question throws.
   */
  async call(method: string, params: readonly unknown[], retries?: number): Promise<Answer> {
    const { clock, retryMs, signal } = this.#options;
    const retriesMax = retries ?? this.#options.retriesMax;
    for (let tries = 0; ; tries++) {
      if (signal.aborted) throw new PieceworkError('INTERRUPTED', 'the connection to the chain is closed');
      const endpoint = this.#endpoints[this.#current]!;
      const attempt = await this.#attempt(endpoint, method, params);
      if ('done' in attempt) return attempt.done;
      this.#admitted.delete(endpoint);
      this.#current = (this.#current + 1) % this.#endpoints.length;
      if (!attempt.again || tries >= retriesMax) {
        const detail = `${endpoint.shown} does not answer ${method}: ${attempt.failed}`;
        throw new PieceworkError('CHAIN_UNREACHABLE', detail);
      }
      await sleep(clock, Math.max(retryMs * 2 ** tries, attempt.afterMs ?? 0), signal);
    }
  }

  async #attempt(endpoint: Endpoint, method: string, params: readonly unknown[]): Promise<Attempt> {
    if (!this.#admitted.has(endpoint)) {
      for (const question of this.#options.questions) {
        const attempt = await this.#request(endpoint, question.method, question.params);
        if (!('done' in attempt)) return attempt;
        question.check(attempt.done, endpoint.shown);
      }
      this.#admitted.add(endpoint);
    }
    return this.#request(endpoint, method, params);
  }

  async #request(endpoint: Endpoint, method: string, params: readonly unknown[]): Promise<Attempt> {
    const id = ++this.#id;
    const timeout = AbortSignal.timeout(this.#options.timeoutMs);
    try {
      const response = await fetch(endpoint.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...endpoint.headers },
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
      const failed = timeout.aborted ? `nothing came in ${this.#options.timeoutMs} ms` : reason(thrown);
      return { failed, again: true };
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
