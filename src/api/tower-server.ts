/**
 * The tower's HTTP interface (tower.md): a token per client, bounded bodies, rates and connections. It translates
 * and limits; what claims mean is the tower's. The operator's own token opens the overview and nothing else.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type Clock, systemClock } from '../clock.js';
import type { PushRequest, TowerOperations } from '../engine/towers/protocol.js';
import { PieceworkError } from '../errors.js';
import * as limits from '../limits.js';
import { type Allowance, createAllowance } from './allowance.js';
import { bearer, createApp, digest, isToken, listen } from './http.js';

export interface TowerServerOptions {
  readonly tower: TowerOperations;
  /** The client a token belongs to, told in constant time. */
  readonly authenticate: (token: string) => string | undefined;
  /** Opens the overview: at least 32 random bytes as hex. */
  readonly operatorToken: string;
  readonly host: string;
  readonly port: number;
  readonly clock?: Clock;
}

export interface TowerServer {
  readonly port: number;
  close(): Promise<void>;
}

const PUSH = {
  type: 'object',
  required: ['chainId', 'hub', 'payee', 'rows'],
  additionalProperties: false,
  properties: {
    chainId: { type: 'string', pattern: '^\\d{1,20}$' },
    hub: { type: 'string', pattern: '^0x[0-9a-fA-F]{40}$' },
    payee: { type: 'string', pattern: '^0x[0-9a-fA-F]{40}$' },
    rows: {
      type: 'array',
      minItems: 1,
      maxItems: limits.towerRowsPerRequestMax,
      items: { type: 'string', pattern: '^[0-9a-fA-F]{152}$' },
    },
  },
};
const PAGE = {
  type: 'object',
  additionalProperties: false,
  properties: { from: { type: 'string', pattern: '^\\d{1,6}$' } },
};

/** Starts the interface. @throws PieceworkError LISTEN_FAILED. */
export async function startTowerServer(options: TowerServerOptions): Promise<TowerServer> {
  const app = createApp({ requestTimeout: limits.towerRequestMs });
  app.server.maxConnections = limits.towerConnectionsMax;
  app.server.headersTimeout = limits.towerRequestMs;
  addRoutes(app, options);
  const port = await listen(app, options.host, options.port);
  return { port, close: () => app.close() };
}

function addRoutes(app: FastifyInstance, options: TowerServerOptions): void {
  const { tower, authenticate } = options;
  const operator = digest(options.operatorToken);
  const turns = createTurns(options.clock ?? systemClock);
  const clients = new WeakMap<FastifyRequest, string>();
  const clientOf = (request: FastifyRequest): string => clients.get(request)!;

  // Before anything of a body is read. An unknown path needs a token too: it tells nobody what runs here.
  app.addHook('onRequest', async (request, reply) => {
    const token = bearer(request);
    if (request.url === '/v1/status' && isToken(token, operator)) return;
    const client = authenticate(token);
    if (client === undefined || request.url === '/v1/status') throw new PieceworkError('UNAUTHORIZED');
    turns.begin(client, reply);
    clients.set(request, client);
  });

  app.get('/v1/status', () => tower.status());
  app.post<{ Body: PushRequest }>('/v1/claims', { schema: { body: PUSH } }, (request, reply) => {
    const client = clientOf(request);
    return turns.push(client, request.body.rows.length, reply, () => tower.push(client, request.body));
  });
  app.get<{ Querystring: { from?: string } }>('/v1/claims', { schema: { querystring: PAGE } }, (request) =>
    tower.claims(clientOf(request), Number(request.query.from ?? 0)),
  );
}

/** One push of a client at a time, and no more requests and rows than it may send. */
function createTurns(clock: Clock) {
  interface Turns {
    readonly requests: Allowance;
    readonly rows: Allowance;
    busy: boolean;
  }
  const clients = new Map<string, Turns>();

  function turnsOf(client: string): Turns {
    const known = clients.get(client);
    if (known) return known;
    const requests = createAllowance(clock, limits.towerRequestsPerSecondMax, limits.towerRequestBurstMax);
    const rows = createAllowance(clock, limits.towerRowsPerSecondMax, limits.towerRowBurstMax);
    const fresh = { requests, rows, busy: false };
    clients.set(client, fresh);
    return fresh;
  }

  function within(waitSeconds: number, reply: FastifyReply): void {
    if (waitSeconds === 0) return;
    void reply.header('retry-after', String(waitSeconds));
    throw new PieceworkError('TOO_MANY_REQUESTS', `this client may go on in ${waitSeconds} s`);
  }

  return {
    /** Counts a request, whatever it turns out to hold. */
    begin(client: string, reply: FastifyReply): void {
      within(turnsOf(client).requests.take(1), reply);
    },
    async push<Answer>(
      client: string,
      rows: number,
      reply: FastifyReply,
      work: () => Promise<Answer>,
    ): Promise<Answer> {
      const turns = turnsOf(client);
      within(turns.busy ? 1 : turns.rows.take(rows), reply);
      turns.busy = true;
      try {
        return await work();
      } finally {
        turns.busy = false;
      }
    },
  };
}
