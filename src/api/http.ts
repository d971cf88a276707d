/**
 * What every HTTP interface here has in common: exact bodies, problem details (RFC 9457) for every error, bearer
 * tokens compared in constant time, and no stack trace for anybody.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { ERRORS, from, PieceworkError } from '../errors.js';
import { httpBodyBytesMax } from '../limits.js';

export interface AppOptions {
  /** Milliseconds in which a request has to arrive; no limit by default. */
  readonly requestTimeout?: number;
}

export function createApp(options: AppOptions = {}): FastifyInstance {
  const app = Fastify({
    ...options,
    // Node looks for requests that are late only this often.
    http: { connectionsCheckingInterval: 5_000 },
    bodyLimit: httpBodyBytesMax,
    forceCloseConnections: true,
    logger: false,
    // What is not exactly what a schema says is refused: a number made into text may have lost digits before.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } },
    frameworkErrors: (thrown, _request, reply) => problem(reply as FastifyReply, thrown),
  });
  app.removeContentTypeParser('text/plain');
  app.setErrorHandler((thrown, _request, reply) => problem(reply, thrown));
  app.setNotFoundHandler((_request, reply) =>
    problem(reply, new PieceworkError('NOT_FOUND', 'no such route')),
  );
  return app;
}

/** Listens and gives the port. @throws PieceworkError LISTEN_FAILED. */
export async function listen(app: FastifyInstance, host: string, port: number): Promise<number> {
  try {
    await app.listen({ host, port });
  } catch (thrown) {
    throw new PieceworkError('LISTEN_FAILED', (thrown as Error).message, { cause: thrown });
  }
  const address = app.server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

/** What follows `Bearer` in a request; empty where nothing does. */
export function bearer(request: FastifyRequest): string {
  const [scheme, given = ''] = (request.headers.authorization ?? '').split(' ');
  return scheme === 'Bearer' ? given : '';
}

/** Whether a token is the one that was digested; takes the same time for all. */
export function isToken(given: string, expected: Uint8Array): boolean {
  return timingSafeEqual(digest(given), expected);
}

export function digest(token: string): Uint8Array {
  return createHash('sha256').update(token).digest();
}

function problem(reply: FastifyReply, thrown: unknown): void {
  const validation = (thrown as { validation?: unknown }).validation !== undefined;
  const { statusCode = 0 } = thrown as { statusCode?: number };
  // Too large, or of another media type: refused before anybody looked at it.
  const unread = statusCode === 413 || statusCode === 415;
  const error = from(thrown, statusCode === 400 || validation || unread ? 'BAD_ARGUMENT' : 'INTERNAL');
  const status = unread ? statusCode : error.httpStatus;
  const type = `urn:piecework:error:${error.code}`;
  void reply
    .code(status)
    .header('content-type', 'application/problem+json')
    .send({ type, title: ERRORS[error.code].advice, status, code: error.code, detail: error.message });
}
