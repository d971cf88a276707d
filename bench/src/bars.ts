/** The bars that the rows are held to, and whether a figure reaches its own. */
import type { Row } from './report.js';

interface Bar {
  /** Which figure of the row: our own, or how many times better it is than the peer's. */
  readonly of: 'ours' | 'ratio';
  readonly least?: number;
  readonly most?: number;
}

const ratio = (least: number): Bar => ({ of: 'ratio', least });
const most = (figure: number): Bar => ({ of: 'ours', most: figure });

const BARS: Readonly<Record<string, Bar>> = {
  'verify.secp256k1': ratio(8),
  'verify.secp256k1.1': ratio(1),
  'verify.secp256k1.16': ratio(3),
  'verify.ethers': ratio(300),
  'verify.viem': ratio(300),
  'hash.sha1': ratio(3.5),
  'hash.sha1.narrow': ratio(2),
  'hash.sha256': ratio(1.9),
  'hash.sha256.narrow': ratio(1.8),
  'hash.one': ratio(0.95),
  'accept.mppx': ratio(100),
  'journal.sqlite': ratio(10),
  'ticks.per_core': { of: 'ours', least: 10_000_000 },
  'scale.rss_mb': most(200),
  'scale.restart_s': most(5),
  'scale.throughput': ratio(0.8),
  'seeding.paid_unpaid': ratio(0.99),
  'seeding.libtorrent': ratio(1),
  'latency.p99_ms': most(5),
  'latency.lag_p999_ms': most(20),
  'flood.honest_share': ratio(0.8),
  'gas.settle.100': most(10_400),
  'gas.settle.1000': most(10_100),
  'gas.open_many.50': most(26_500),
};

/** Rows that are meant for a disk whose `fdatasync` takes no more than this many milliseconds. */
const SYNC_MS_MAX = 0.3;
const OF_FAST_DISKS: ReadonlySet<string> = new Set([
  'journal.sqlite',
  'latency.p99_ms',
  'latency.lag_p999_ms',
]);

/**
 * The bar of a row and whether it is reached, in words; empty for a row without one, or without its figure. `syncMs`
 * is what one `fdatasync` takes here.
 */
export function verdict(row: Row, syncMs: number): string {
  const bar = BARS[row.id];
  const figure = bar && row[bar.of];
  if (bar === undefined || figure === undefined || figure === null) return '';
  const reached = figure >= (bar.least ?? Number.NEGATIVE_INFINITY) && figure <= (bar.most ?? figure);
  const bound = bar.least === undefined ? `≤ ${figures(bar.most!)}` : `≥ ${figures(bar.least)}`;
  const slow = OF_FAST_DISKS.has(row.id) && syncMs > SYNC_MS_MAX;
  const missed = slow ? `MISSED: a sync takes ${syncMs.toFixed(1)} ms` : 'MISSED';
  return `${bound}${bar.of === 'ratio' ? '×' : ''} ${reached ? 'reached' : missed}`;
}

const figures = (value: number): string => value.toLocaleString('en-US');
