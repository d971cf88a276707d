/**
 * Asks a tower over HTTP. What comes back is taken only where it is exactly what tower.md says, is not too long and
 * comes in time; everything else is a failure. The token is read from its file each time, so that a new one counts
 * at once.
 */
import { readFileSync } from 'node:fs';
import type { TowerPlace } from '../../config.js';
import { ERRORS, type ErrorCode, fileErrorCode, PieceworkError } from '../../errors.js';
import * as limits from '../../limits.js';
import {
  type ClaimsPage,
  PUSH_STATUSES,
  type PushAnswer,
  type PushedClaim,
  type PushRequest,
} from './protocol.js';

/** A tower that answered with an error. */
export class TowerRefusal extends PieceworkError {
  /** How long it asks to be left alone; 0 where it does not. */
  readonly afterMs: number;

  constructor(code: ErrorCode, detail: string, afterMs: number) {
    super(code, detail);
    this.afterMs = afterMs;
  }
}

/** @throws PieceworkError DAEMON_UNREACHABLE, BAD_CONFIG for an unreadable token, or what the tower answered. */
export async function pushRows(
  place: TowerPlace,
  request: PushRequest,
  signal?: AbortSignal,
): Promise<PushAnswer> {
  const answer = (await ask(place, '/v1/claims', request, signal)) as Partial<PushAnswer>;
  const { claims, funded } = answer;
  if (!Array.isArray(claims) || claims.length !== request.rows.length || typeof funded !== 'boolean') {
    throw strange('an entry for each row');
  }
  if (!claims.every(isPushed)) throw strange('known entries');
  return { claims, funded };
}

/** All claims that the tower holds for this client. @throws as `pushRows`. */
export async function readClaims(place: TowerPlace): Promise<Pick<ClaimsPage, 'funded' | 'claims'>> {
  const claims: ClaimsPage['claims'][number][] = [];
  for (;;) {
    const page = (await ask(place, `/v1/claims?from=${claims.length}`)) as Partial<ClaimsPage>;
    if (!Array.isArray(page.claims)) throw strange('claims');
    claims.push(...page.claims);
    const more = page.next === claims.length && page.claims.length > 0;
    if (!more || claims.length >= limits.towerClaimsPerClientMax)
      return { funded: page.funded === true, claims };
  }
}

async function ask(place: TowerPlace, path: string, body?: unknown, signal?: AbortSignal): Promise<unknown> {
  const headers: Record<string, string> = { authorization: `Bearer ${readToken(place.tokenFile)}` };
  if (body !== undefined) headers['content-type'] = 'application/json';
  const timeout = AbortSignal.timeout(limits.towerAnswerMs);
  let status: number;
  let after: string | null;
  let text: string;
  try {
    const response = await fetch(place.url.replace(/\/$/, '') + path, {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      redirect: 'error',
      signal: signal ? AbortSignal.any([timeout, signal]) : timeout,
    });
    status = response.status;
    after = response.headers.get('retry-after');
    text = await readBounded(response);
  } catch (thrown) {
    const why = timeout.aborted ? `nothing came in ${limits.towerAnswerMs} ms` : reason(thrown);
    throw new PieceworkError('DAEMON_UNREACHABLE', `the tower does not answer: ${why}`, { cause: thrown });
  }
  const value = parse(text);
  if (status === 200) return value;
  const { code, detail } = value as { code?: unknown; detail?: unknown };
  const known = typeof code === 'string' && Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : undefined;
  const said = typeof detail === 'string' ? detail.slice(0, 300) : 'no reason given';
  const seconds = after !== null && /^\d{1,6}$/.test(after) ? Number(after) : 0;
  throw new TowerRefusal(known ?? 'DAEMON_UNREACHABLE', `HTTP status ${status}: ${said}`, seconds * 1_000);
}

function isPushed(value: unknown): value is PushedClaim {
  if (typeof value !== 'object' || value === null) return false;
  const { status, amount } = value as { status?: unknown; amount?: unknown };
  const known = (PUSH_STATUSES as readonly unknown[]).includes(status);
  return known && typeof amount === 'string' && /^\d{1,39}$/.test(amount);
}

/** The first line of a token file. @throws PieceworkError BAD_CONFIG. */
function readToken(path: string): string {
  try {
    const token = readFileSync(path, 'utf8').split(/\r?\n/, 1)[0] ?? '';
    if (/^[0-9a-f]{64}$/.test(token)) return token;
  } catch (thrown) {
    const code = fileErrorCode(thrown) ?? 'BAD_CONFIG';
    throw new PieceworkError(code, `${path}: ${(thrown as Error).message}`, { cause: thrown });
  }
  throw new PieceworkError('BAD_CONFIG', `${path} does not hold a tower's token`);
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > limits.towerAnswerBytesMax) throw new Error('an answer that is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // Told below.
  }
  throw strange('JSON');
}

function strange(what: string): PieceworkError {
  return new PieceworkError('DAEMON_UNREACHABLE', `the tower's answer does not hold ${what}`);
}

function reason(thrown: unknown): string {
  const cause = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown;
  const code = (cause as { code?: unknown } | null)?.code;
  if (typeof code === 'string') return code;
  return cause instanceof Error ? cause.message : 'the connection failed';
}
