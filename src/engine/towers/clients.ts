/**
 * Who may use a tower: names and the SHA-256 of their tokens in one file, which commands change and a running
 * tower reads again when it changed. A token itself is shown once and kept nowhere. Invariant: a file that
 * cannot be read changes nothing in a running tower.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { PieceworkError } from '../../errors.js';
import { writeDurably } from '../../ledger/secrets.js';
import { towerClientsMax } from '../../limits.js';
import { fromHex, toHex } from '../../units.js';

export interface Clients {
  readonly names: readonly string[];
  /** The client whose token it is. Takes the same time whichever it is, and if it is nobody's. */
  authenticate(token: string): string | undefined;
  /** Reads the file again if it has changed. */
  refresh(): void;
}

interface Entry {
  readonly name: string;
  /** SHA-256 of the token, hex. */
  readonly token: string;
}

const NAME = /^[a-z0-9][a-z0-9-]{0,31}$/;

const fileOf = (dataDir: string): string => join(dataDir, 'tower-clients.json');

/** @throws PieceworkError BAD_CONFIG when there is no readable list of clients. */
export function openClients(dataDir: string, onWarning: (text: string) => void): Clients {
  const path = fileOf(dataDir);
  let stamp = stampOf(path);
  let entries = read(path);
  const refresh = (): void => {
    const now = stampOf(path);
    if (now === stamp) return;
    stamp = now;
    try {
      entries = read(path);
    } catch (thrown) {
      onWarning(`${(thrown as Error).message}; the clients stay as they were`);
    }
  };
  return {
    get names() {
      return entries.map(({ name }) => name);
    },
    authenticate(token) {
      refresh();
      const given = createHash('sha256').update(token).digest();
      let found: string | undefined;
      for (const entry of entries) if (timingSafeEqual(given, fromHex(entry.token))) found = entry.name;
      return found;
    },
    refresh,
  };
}

/**
 * Adds a client and gives its token: 64 hex digits.
 * @throws PieceworkError BAD_ARGUMENT for a name that is bad or taken, QUEUE_FULL when there are too many.
 */
export function addClient(dataDir: string, name: string, random: (size: number) => Uint8Array): string {
  if (!NAME.test(name)) {
    throw new PieceworkError('BAD_ARGUMENT', `"${name}" is not a name: lower-case letters, digits and -`);
  }
  const entries = readOrNone(fileOf(dataDir));
  if (entries.some((entry) => entry.name === name)) {
    throw new PieceworkError('BAD_ARGUMENT', `there is a client "${name}" already; remove it first`);
  }
  if (entries.length >= towerClientsMax) {
    throw new PieceworkError('QUEUE_FULL', `a tower has at most ${towerClientsMax} clients`);
  }
  const token = toHex(random(32));
  write(dataDir, [...entries, { name, token: createHash('sha256').update(token).digest('hex') }]);
  return token;
}

/** @throws PieceworkError NOT_FOUND. */
export function removeClient(dataDir: string, name: string): void {
  const entries = readOrNone(fileOf(dataDir));
  const rest = entries.filter((entry) => entry.name !== name);
  if (rest.length === entries.length) throw new PieceworkError('NOT_FOUND', `there is no client "${name}"`);
  write(dataDir, rest);
}

function write(dataDir: string, clients: readonly Entry[]): void {
  writeDurably(fileOf(dataDir), `${JSON.stringify({ clients }, null, 2)}\n`);
}

function readOrNone(path: string): readonly Entry[] {
  return stampOf(path) === undefined ? [] : read(path);
}

function read(path: string): readonly Entry[] {
  try {
    const { clients } = JSON.parse(readFileSync(path, 'utf8')) as { clients: readonly Entry[] };
    for (const { name, token } of clients) {
      if (!NAME.test(name) || !/^[0-9a-f]{64}$/.test(token)) throw new TypeError('a bad entry');
    }
    if (clients.length > towerClientsMax) throw new TypeError('too many clients');
    return clients;
  } catch (thrown) {
    const none = (thrown as { code?: unknown }).code === 'ENOENT';
    const detail = none
      ? 'this tower has no clients yet; add one with `piecework tower add-client NAME`'
      : `${path} is not a list of clients: ${(thrown as Error).message}`;
    throw new PieceworkError('BAD_CONFIG', detail, { cause: thrown });
  }
}

/** Changes whenever the file is written; undefined where there is none. */
function stampOf(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found && `${found.ino}/${found.mtimeNs}/${found.size}`;
}
