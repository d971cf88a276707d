/**
 * The bench cannot rot: its smoke mode goes through every bench on tiny sizes. It says nothing about speed. With
 * PIECEWORK_REQUIRE_PEERS the peers are installed and take part too.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const INSTALL_MS = 600_000;

/**
 * What a row's rival is: one the product carries, one from bench/package.json, one that the system may have, a
 * published figure, or none.
 */
const ROWS: Readonly<Record<string, 'own' | 'peer' | 'system' | 'published' | 'none'>> = {
  'verify.ethers': 'own',
  'verify.viem': 'peer',
  'verify.secp256k1': 'peer',
  'verify.secp256k1.16': 'peer',
  'verify.secp256k1.1': 'peer',
  'verify.mppx': 'peer',
  'hash.sha1': 'own',
  'hash.sha256': 'own',
  'hash.one': 'own',
  'ticks.per_core': 'own',
  'journal.sqlite': 'peer',
  'accept.mppx': 'peer',
  'latency.p99_ms': 'none',
  'latency.lag_p999_ms': 'none',
  'scale.rss_mb': 'none',
  'scale.restart_s': 'none',
  'scale.throughput': 'own',
  'gas.open': 'none',
  'gas.open_many.50': 'none',
  'gas.settle.1': 'published',
  'gas.settle.1.swarm': 'published',
  'gas.settle.10': 'published',
  'gas.settle.100': 'published',
  'gas.settle.100.x402': 'published',
  'gas.settle.100.raiden': 'published',
  'gas.settle.100.minimal': 'published',
  'gas.settle.1000': 'published',
  'gas.close': 'none',
  'seeding.paid_unpaid': 'own',
  'seeding.libtorrent': 'system',
  'download.paid_unpaid': 'own',
  'flood.honest_share': 'own',
};

interface Row {
  readonly id: string;
  readonly ours: number;
  readonly peer: number | null;
  readonly ratio: number | null;
  readonly unit: string;
}

interface Run {
  readonly rows: Row[];
  readonly output: string;
}

function bench(flags: readonly string[], timeout: number): Run {
  const folder = mkdtempSync(join(tmpdir(), 'piecework-bench-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'rows.json');
  const args = [join(root, 'scripts', 'bench.mjs'), '--json', file, ...flags];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout });
  const output = `${stdout}${stderr}`;
  expect(status, output).toBe(0);
  return { output, rows: JSON.parse(readFileSync(file, 'utf8')) as Row[] };
}

let whole: Run | undefined;

/** Every bench of ours on tiny sizes, gone through once. */
function wholeRun(): Run {
  whole ??= bench(['--smoke', '--no-peers'], 300_000);
  return whole;
}

/** Expects the rows of the named benches, or of all, with figures wherever there is a rival. */
function expectRows(rows: readonly Row[], withPeers: boolean, names?: readonly string[]): void {
  const byId = new Map(rows.map((row) => [row.id, row]));
  expect(byId.size).toBe(rows.length);
  for (const [id, rival] of Object.entries(ROWS)) {
    if (names && !names.includes(id.split('.')[0]!)) continue;
    const row = byId.get(id);
    expect(row, id).toBeDefined();
    const { ours, peer, ratio, unit } = row!;
    expect(unit, id).not.toBe('');
    // What a few channels take drowns in what a process takes and gives back by itself.
    const least = id === 'scale.rss_mb' ? Number.NEGATIVE_INFINITY : 0;
    expect(Number.isFinite(ours) && ours > least, `${id}: ${ours}`).toBe(true);
    const absent = rival === 'system' && process.env['PIECEWORK_REQUIRE_PEERS'] !== '1' && peer === null;
    if (absent || rival === 'none' || (rival === 'peer' && !withPeers)) {
      expect([peer, ratio], id).toEqual([null, null]);
      continue;
    }
    expect(Number.isFinite(peer) && peer! > 0, `${id}: ${peer}`).toBe(true);
    expect(Number.isFinite(ratio) && ratio! > 0, `${id}: ${ratio}`).toBe(true);
  }
}

describe('npm run bench', () => {
  it('goes through every bench of ours in smoke mode', () => {
    const { rows, output } = wholeRun();
    expectRows(rows, false);
    for (const row of rows) expect(Object.keys(row)).toEqual(['id', 'ours', 'peer', 'ratio', 'unit']);
    expect(output).toContain('their columns stay empty');
    for (const id of Object.keys(ROWS)) expect(output).toContain(id);
  }, 310_000);

  it('reports gas as the chain counts it, the same in every run', () => {
    const rows = wholeRun().rows.filter(({ id }) => id.startsWith('gas.'));
    expect(bench(['--smoke', '--no-peers', '--only', 'gas'], 300_000).rows).toEqual(rows);
    const used = (id: string): number => rows.find((row) => row.id === id)!.ours;
    expect(used('gas.settle.1000')).toBeLessThan(used('gas.settle.100'));
    expect(used('gas.settle.100')).toBeLessThan(used('gas.settle.10'));
    expect(used('gas.settle.10')).toBeLessThan(used('gas.settle.1'));
    // No transaction costs less than the base fee that every transaction pays.
    for (const id of ['gas.open', 'gas.settle.1', 'gas.close']) expect(used(id)).toBeGreaterThan(21_000);
    // The bars: whole transactions, cold slots.
    expect(used('gas.settle.1000')).toBeLessThanOrEqual(10_100);
    expect(used('gas.settle.100')).toBeLessThanOrEqual(10_400);
    expect(used('gas.open_many.50')).toBeLessThanOrEqual(26_500);
  }, 610_000);

  it.runIf(process.env['PIECEWORK_REQUIRE_PEERS'] === '1')(
    'measures the peers in smoke mode too',
    () => {
      const names = ['verify', 'hash', 'journal', 'accept'];
      const { rows, output } = bench(['--smoke', '--peers', '--only', names.join(',')], INSTALL_MS);
      expectRows(rows, true, names);
      for (const { id, ratio } of rows) expect(ratio, id).toBeGreaterThan(0);
      for (const peer of ['viem', 'secp256k1', 'mppx', 'better-sqlite3'])
        expect(output).toContain(`${peer} `);
    },
    INSTALL_MS + 10_000,
  );

  it.each([
    [['--only', 'nothing'], 'there is no bench "nothing"'],
    [['--peers', '--no-peers'], 'exclude each other'],
    [['--smoke', '--save'], 'exclude each other'],
    [['--fast'], '--fast'],
  ])('refuses %j', (flags, reason) => {
    const args = [join(root, 'scripts', 'bench.mjs'), ...flags];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect(status).toBe(2);
    expect(stderr).toContain(reason);
  });

  it('tells its options', () => {
    const args = [join(root, 'scripts', 'bench.mjs'), '--help'];
    const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect(status).toBe(0);
    expect(stdout).toContain('--only NAMES');
  });
});
