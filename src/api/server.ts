/**
 * The daemon's HTTP interface: loopback only, a bearer token from a file, problem details (RFC 9457) for
 * every error. It translates; what things mean is the engine's.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Operations } from '../engine/operations.js';
import { from, PieceworkError } from '../errors.js';
import { torrentFilesMax } from '../limits.js';
import { bearer, createApp, digest, isToken, listen } from './http.js';
import type { Metrics } from './metrics.js';
import { vaultRoutes } from './vault-routes.js';

export interface ApiOptions {
  readonly operations: Operations;
  readonly metrics: Metrics;
  /** At least 32 random bytes as hex. */
  readonly token: string;
  readonly port: number;
}

export interface Api {
  readonly port: number;
  close(): Promise<void>;
}

const HOST = '127.0.0.1';
const VOUCHER_KEY = {
  type: 'object',
  required: ['key'],
  properties: { key: { type: 'string', pattern: '^0x[0-9a-fA-F]{40}$' } },
};
const AMOUNT = { type: 'string', pattern: '^\\d{1,39}$' };
const TEXT = { type: 'string', minLength: 1, maxLength: 8_192 };
/** Trackers, or peers, of one request. */
const LIST_MAX = 1_000;
const ADDRESS = { type: 'string', pattern: '^0x[0-9a-fA-F]{40}$' };
/** A .torrent of the largest size in base64, and some room. */
const TORRENT_BODY_BYTES_MAX = 16 * 1024 * 1024;

/** Starts the interface. @throws PieceworkError LISTEN_FAILED. */
export async function startApi(options: ApiOptions): Promise<Api> {
  const app = createApp();
  app.addHook('onRequest', guard(options.token));
  addRoutes(app, options);
  const port = await listen(app, HOST, options.port);
  return { port, close: () => app.close() };
}

/** Every route needs the token; a foreign Host or Origin means a browser was tricked (DNS rebinding). */
function guard(token: string) {
  const expected = digest(token);
  return async (request: FastifyRequest): Promise<void> => {
    const host = (request.headers.host ?? '').replace(/:\d+$/, '');
    if (host !== HOST && host !== 'localhost') throw new PieceworkError('FORBIDDEN');
    if (request.headers.origin !== undefined) throw new PieceworkError('FORBIDDEN');
    if (!isToken(bearer(request), expected)) throw new PieceworkError('UNAUTHORIZED');
  };
}

function addRoutes(app: FastifyInstance, { operations, metrics }: ApiOptions): void {
  const body = (required: readonly string[], properties: Record<string, unknown>) => ({
    schema: { body: { type: 'object', required, properties, additionalProperties: false } },
  });
  const keyed = { schema: { params: VOUCHER_KEY } };
  type Keyed = { Params: { key: string } };

  app.get('/health', async () => ({ status: 'ok', ...(await operations.status()) }));
  app.get('/metrics', async (_request, reply) => {
    void reply.header('content-type', metrics.contentType);
    return metrics.render();
  });
  app.get('/v1/channels', () => operations.channels());
  app.get<Keyed>('/v1/channels/:key', keyed, ({ params }) => operations.channel(params.key));
  app.get('/v1/statement', () => operations.statement());
  app.post<{ Body: Parameters<Operations['open']>[0] }>(
    '/v1/channels',
    body(['payee', 'deposit'], { payee: ADDRESS, deposit: AMOUNT, gasMax: AMOUNT }),
    (request) => operations.open(request.body),
  );
  app.post<{ Body: Parameters<Operations['topUp']>[0] }>(
    '/v1/top-ups',
    body(['voucherKey', 'amount'], { voucherKey: ADDRESS, amount: AMOUNT, gasMax: AMOUNT }),
    (request) => operations.topUp(request.body),
  );
  app.post<{ Body: Parameters<Operations['closeChannel']>[0] }>(
    '/v1/closes',
    body(['voucherKey'], { voucherKey: ADDRESS, gasMax: AMOUNT }),
    (request) => operations.closeChannel(request.body),
  );
  const settle = {
    close: { type: 'boolean' },
    force: { type: 'boolean' },
    dryRun: { type: 'boolean' },
    voucherKeys: { type: 'array', items: ADDRESS, maxItems: 10_000 },
    gasMax: AMOUNT,
  };
  app.post<{ Body: Parameters<Operations['settle']>[0] }>('/v1/settlements', body([], settle), (request) =>
    operations.settle(request.body),
  );
  app.get('/v1/settlements', () => operations.settlements());
  app.post<{ Body: Parameters<Operations['withdraw']>[0] }>(
    '/v1/withdrawals',
    body([], { to: ADDRESS, gasMax: AMOUNT }),
    (request) => operations.withdraw(request.body),
  );
  for (const { path, required, properties, answer } of vaultRoutes(operations.vaults)) {
    app.post(path, body(required, properties), (request) => answer(request.body));
  }
  app.get('/v1/vaults', () => operations.vaults.list());
  app.get<Keyed>('/v1/vaults/:key', keyed, ({ params }) => operations.vaults.show(params.key));
  const texts = (maxItems: number, minItems = 0) => ({ type: 'array', items: TEXT, minItems, maxItems });
  const seed = {
    paths: texts(torrentFilesMax, 1),
    announce: texts(LIST_MAX),
    pieceLength: { type: 'integer', minimum: 1 },
    name: TEXT,
    torrent: { type: 'string' },
  };
  const fetch = {
    torrent: { type: 'string' },
    magnet: TEXT,
    folder: TEXT,
    budget: AMOUNT,
    priceMiBMax: AMOUNT,
    gasMax: AMOUNT,
    payTicks: { type: 'boolean' },
    peers: texts(LIST_MAX),
  };
  const large = { bodyLimit: TORRENT_BODY_BYTES_MAX };
  const seedBody = { ...large, ...body(['paths', 'announce'], seed) };
  app.post<{ Body: Parameters<Operations['seed']>[0] }>('/v1/seeds', seedBody, (request) =>
    operations.seed(request.body),
  );
  const fetchBody = { ...large, ...body(['folder'], fetch) };
  app.post<{ Body: Parameters<Operations['fetch']>[0] }>('/v1/fetches', fetchBody, (request, reply) =>
    streamFetch(operations, request.body, reply),
  );
}

/** One JSON value a line: events while it runs, and last the end or the problem. */
async function streamFetch(
  operations: Operations,
  wanted: Parameters<Operations['fetch']>[0],
  reply: FastifyReply,
): Promise<void> {
  reply.hijack();
  const out = reply.raw;
  const stop = new AbortController();
  // Of the answer, not of the request: that one closes as soon as its body was read.
  out.once('close', () => stop.abort());
  out.writeHead(200, { 'content-type': 'application/x-ndjson' });
  const write = (value: unknown): void => {
    if (!out.destroyed) out.write(`${JSON.stringify(value)}\n`);
  };
  try {
    await operations
      .fetch(wanted, (event) => event.event !== 'done' && write(event), stop.signal)
      .then(write);
  } catch (thrown) {
    const error = from(thrown);
    write({ event: 'error', code: error.code, detail: error.message });
  }
  out.end();
}
