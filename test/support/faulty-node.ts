/**
 * A chain node that can be told to misbehave in one of twelve ways: an HTTP proxy in front of a real one.
 * What it makes up is drawn from a seed. It is nasty where that is possible: a node that lies about receipts
 * also swallows what it is sent, one that is reset has sometimes done the work before.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { keccak256, toQuantity } from 'ethers';
import { abi } from '../../src/settlement/hub-abi.js';
import { type Chance, chance } from './chance.js';
import { askNode } from './ground.js';

export const FAULTS = [
  'timeout',
  'too_many_requests',
  'server_error',
  'stale_head',
  'wrong_chain',
  'missing_logs',
  'duplicate_logs',
  'reordered_logs',
  'lying_balance',
  'lying_receipt',
  'connection_reset',
  'slow',
] as const;

export type Fault = (typeof FAULTS)[number];

export interface FaultyNode {
  readonly url: string;
  /** Times that a fault changed, delayed or withheld an answer. */
  readonly hits: number;
  /** Misbehaves from now on, or behaves again. */
  become(fault: Fault | undefined): Promise<void>;
  stop(): Promise<void>;
}

export interface FaultyOptions {
  readonly seed: number;
  /** A node of another chain: what a wrong chain answers. */
  readonly other: string;
  /** Blocks that a stale node lies behind when it becomes so. */
  readonly behind?: number;
}

interface Request {
  readonly method: string;
  readonly params: readonly unknown[];
}

type Receipt = { logs: unknown[]; blockNumber: string } & Record<string, unknown>;

export async function startFaultyNode(target: string, options: FaultyOptions): Promise<FaultyNode> {
  const draw = chance(options.seed);
  let fault: Fault | undefined;
  let frozenAt = 0n;
  let hits = 0;

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Request & { id: number };
    const answer = (value: object): void => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ jsonrpc: '2.0', id: body.id, ...value }));
    };
    switch (fault) {
      case 'timeout':
        hits++;
        return;
      case 'too_many_requests': {
        hits++;
        const headers = draw.below(2) === 0 ? { 'retry-after': '0' } : {};
        return void response.writeHead(429, headers).end('slow down');
      }
      case 'server_error':
        hits++;
        return void response.writeHead(draw.pick([500, 502, 503, 504])).end('<html>sorry</html>');
      case 'connection_reset':
        hits++;
        if (draw.below(2) === 0) await pass(target, body);
        return void request.socket.destroy();
      case 'slow':
        hits++;
        await new Promise((go) => setTimeout(go, 20 + draw.below(60)));
        return answer(await pass(target, body));
      case 'wrong_chain':
        hits++;
        return answer(await pass(options.other, body));
      case 'stale_head':
        return answer(await stale(body));
      default: {
        const invented = await inventing(body);
        return answer(invented ?? lying(body, await pass(target, body)));
      }
    }
  };

  /** As a node that has not heard of anything since `frozenAt`. */
  async function stale(body: Request): Promise<object> {
    hits++;
    const { method } = body;
    if (method === 'eth_sendRawTransaction') return { result: keccak256(body.params[0] as string) };
    const then = toQuantity(frozenAt);
    const params = body.params.map((value) => (value === 'latest' || value === 'pending' ? then : value));
    const place = params.at(-1) as { blockHash?: string } | undefined;
    if (place?.blockHash !== undefined) {
      const block = (await askNode(target, 'eth_getBlockByHash', [place.blockHash, false])) as Receipt | null;
      const number = (block as { number?: string } | null)?.number;
      if (number === undefined || BigInt(number) > frozenAt) {
        return { error: { code: -32000, message: 'header not found' } };
      }
    }
    const passed = (await pass(target, { method, params })) as { result?: unknown };
    const found = passed.result as { number?: string; blockNumber?: string } | null | undefined;
    const number = found?.number ?? found?.blockNumber;
    return typeof number === 'string' && BigInt(number) > frozenAt ? { result: null } : passed;
  }

  /** What a lying node makes up without asking anybody. */
  async function inventing({ method, params }: Request): Promise<object | undefined> {
    if (fault !== 'lying_receipt') return undefined;
    if (method === 'eth_sendRawTransaction') {
      hits++;
      return { result: keccak256(params[0] as string) };
    }
    if (method !== 'eth_getTransactionReceipt') return undefined;
    hits++;
    const head = (await askNode(target, 'eth_getBlockByNumber', ['latest', false])) as Record<string, string>;
    const [transactionHash] = params;
    const mined = { transactionHash, blockNumber: head['number'], blockHash: head['hash'] };
    return { result: { ...mined, status: '0x1', gasUsed: '0x5208', contractAddress: null, logs: [] } };
  }

  function lying(body: Request, passed: object): object {
    const { result } = passed as { result?: unknown };
    const lie = lieOf(fault, body, result, draw);
    if (lie === undefined) return passed;
    hits++;
    return { result: lie };
  }

  const server = createServer((request, response) => {
    serve(request, response).catch(() => request.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get hits() {
      return hits;
    },
    async become(next) {
      hits = 0;
      if (next === 'stale_head') {
        const newest = BigInt((await askNode(target, 'eth_blockNumber', [])) as string);
        const behind = BigInt(options.behind ?? 0);
        frozenAt = newest > behind ? newest - behind : 0n;
      }
      fault = next;
      // What hangs is let go.
      if (next === undefined) server.closeAllConnections();
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function pass(url: string, { method, params }: Request): Promise<object> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
  });
  const { result, error } = (await response.json()) as { result?: unknown; error?: unknown };
  return error === undefined ? { result } : { error };
}

/** What is said instead of `result`, or undefined for the truth. */
function lieOf(
  fault: Fault | undefined,
  { method, params }: Request,
  result: unknown,
  draw: Chance,
): unknown {
  if (fault === 'lying_balance' && typeof result === 'string') {
    if (method === 'eth_getBalance') return toQuantity(BigInt(result) * 1_000n + 1n);
    return method === 'eth_call' ? lyingView((params[0] as { data: string }).data, result) : undefined;
  }
  if (method !== 'eth_getTransactionReceipt' || result === null || result === undefined) return undefined;
  const receipt = result as Receipt;
  if (receipt.logs.length === 0) return undefined;
  switch (fault) {
    case 'missing_logs':
      return { ...receipt, logs: receipt.logs.slice(1 + draw.below(receipt.logs.length)) };
    case 'duplicate_logs':
      return { ...receipt, logs: [...receipt.logs, ...receipt.logs] };
    case 'reordered_logs':
      return receipt.logs.length < 2 ? undefined : { ...receipt, logs: [...receipt.logs].reverse() };
    default:
      return undefined;
  }
}

/** A thousandfold deposit and no close; a thousandfold credit. */
function lyingView(data: string, result: string): string | undefined {
  const verb = abi.parseTransaction({ data })?.name;
  if (verb === 'credit') {
    const [credit] = abi.decodeFunctionResult('credit', result);
    return abi.encodeFunctionResult('credit', [(credit as bigint) * 1_000n + 1n]);
  }
  if (verb !== 'readChannels') return undefined;
  const [views] = abi.decodeFunctionResult('readChannels', result);
  const lies = [...(views as Iterable<[bigint, bigint, bigint, string]>)].map(
    ([deposit, settled, , owner]) => [deposit * 1_000n + 1n, settled, 0n, owner],
  );
  return abi.encodeFunctionResult('readChannels', [lies]);
}
