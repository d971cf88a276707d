/**
 * The house rules as a test: who may import whom, no circles, no file that nobody uses, and one door for each
 * outside power. ARCHITECTURE.md shows the same table; the two are changed together.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const src = fileURLToPath(new URL('../../src/', import.meta.url));

/** Room → rooms it may import besides itself. Single files at the top are rooms of their own. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  errors: [],
  units: ['errors'],
  limits: ['units'],
  clock: [],
  version: [],
  memory: [],
  native: ['errors', 'units', 'limits', 'clock'],
  channels: ['errors', 'units', 'limits', 'clock', 'memory'],
  wire: ['errors', 'units', 'limits', 'clock', 'version', 'memory', 'channels'],
  torrent: ['errors', 'units', 'limits', 'clock', 'version', 'channels', 'native'],
  accounting: ['errors', 'units', 'limits', 'clock', 'channels', 'native'],
  ledger: ['errors', 'units', 'limits', 'clock', 'channels', 'native'],
  settlement: ['errors', 'units', 'limits', 'clock', 'channels'],
  config: ['errors', 'units', 'limits', 'clock', 'channels', 'settlement'],
  engine: [
    'errors',
    'units',
    'limits',
    'clock',
    'version',
    'native',
    'channels',
    'wire',
    'torrent',
    'accounting',
    'ledger',
    'settlement',
    'config',
  ],
  index: ['errors', 'units', 'config', 'engine', 'settlement'],
  api: ['errors', 'units', 'limits', 'clock', 'channels', 'config', 'engine'],
  cli: ['errors', 'units', 'limits', 'clock', 'version', 'memory', 'channels', 'config', 'engine', 'api'],
};

/** Outside power → the only files that may reach for it. */
const DOORS: Record<string, readonly string[]> = {
  piscina: ['native/executor.ts', 'native/worker.ts'],
  'node:worker_threads': ['native/lane.ts', 'native/lane-worker.ts'],
  'node:net': [
    'wire/session.ts',
    'wire/connection.ts',
    'wire/outlet.ts',
    'wire/peer.ts',
    'engine/downloading.ts',
    'torrent/metainfo.ts',
    'torrent/tracker.ts',
  ],
  fastify: ['api/http.ts', 'api/server.ts', 'api/tower-server.ts'],
  'prom-client': ['api/metrics.ts'],
  commander: [
    'cli/main.ts',
    'cli/seed.ts',
    'cli/get.ts',
    'cli/channel.ts',
    'cli/vault.ts',
    'cli/wallet.ts',
    'cli/chain.ts',
    'cli/tower.ts',
    'cli/demo.ts',
  ],
  'node:child_process': ['settlement/dev-chain.ts', 'cli/child.ts'],
};

/** Files that are started, not imported. */
const ENTRIES = ['index.ts', 'cli/main.ts', 'native/worker.ts', 'native/lane-worker.ts'];

interface Import {
  readonly from: string;
  readonly to: string;
}

const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
  .map((name) => name.replaceAll('\\', '/'));

/** Every static, re-exporting and dynamic import, type-only ones included. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(src, file), 'utf8').replaceAll(/\/\*[\s\S]*?\*\//g, '');
  const found = [
    ...text.matchAll(/(?:^|\n)\s*(?:import|export)\b[^'";]*?\bfrom\s+'([^']+)'/g),
    ...text.matchAll(/(?:^|\n)\s*import\s+'([^']+)'/g),
    ...text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g),
  ];
  return found.map((match) => match[1]!);
}

const roomOf = (file: string): string =>
  file.includes('/') ? file.split('/')[0]! : file.replace(/\.ts$/, '');

const inner: Import[] = [];
const outer: Import[] = [];
for (const from of files) {
  for (const target of importsOf(from)) {
    if (!target.startsWith('.')) outer.push({ from, to: target });
    else
      inner.push({
        from,
        to: relative(src, join(src, dirname(from), target))
          .replaceAll('\\', '/')
          .replace(/\.js$/, '.ts'),
      });
  }
}

describe('the house', () => {
  it('is read in full', () => {
    expect(files.length).toBeGreaterThan(60);
    expect(inner.length).toBeGreaterThan(150);
    for (const { from, to } of inner) expect(existsSync(join(src, to)), `${from} imports ${to}`).toBe(true);
  });

  it('keeps each room to the rooms it may import', () => {
    const breaches = inner.filter(({ from, to }) => {
      const [room, other] = [roomOf(from), roomOf(to)];
      return room !== other && !MAY_IMPORT[room]?.includes(other);
    });
    expect(breaches).toEqual([]);
  });

  it('knows every room', () => {
    expect([...new Set(files.map(roomOf))].filter((room) => !(room in MAY_IMPORT))).toEqual([]);
  });

  it('has no circles, type-only imports included', () => {
    const next = new Map(
      files.map((file) => [file, inner.filter(({ from }) => from === file).map(({ to }) => to)]),
    );
    const done = new Set<string>();
    const circles: string[] = [];
    const visit = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) {
        circles.push([...path.slice(path.indexOf(file)), file].join(' → '));
        return;
      }
      if (done.has(file)) return;
      for (const to of next.get(file) ?? []) visit(to, [...path, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(circles).toEqual([]);
  });

  it('has no file that nobody imports', () => {
    const used = new Set(inner.map(({ to }) => to));
    expect(files.filter((file) => !used.has(file) && !ENTRIES.includes(file))).toEqual([]);
  });

  it('opens one door for each outside power', () => {
    const breaches = outer.filter(({ from, to }) => DOORS[to] !== undefined && !DOORS[to].includes(from));
    expect(breaches).toEqual([]);
    const printing = files.filter(
      (file) =>
        roomOf(file) !== 'cli' && /process\.stdout|console\./.test(readFileSync(join(src, file), 'utf8')),
    );
    expect(printing).toEqual([]);
  });

  it('draws no line in the wrong words: the files of a room are nouns in kebab-case', () => {
    expect(files.filter((file) => !/^([a-z]+\/){0,2}[a-z]+(-[a-z]+)*\.ts$/.test(file))).toEqual([]);
    expect(files.filter((file) => /\b(utils?|helpers?|common|types|manager)\b/.test(file))).toEqual([]);
  });
});
