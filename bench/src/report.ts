/**
 * What a bench says: rows for people and for programs. A row with `info` explains a main row (another way of
 * using the same peer, another batch size) and is printed indented under it.
 */
import { verdict } from './bars.js';
import type { Measured } from './measure.js';

export interface Row {
  readonly id: string;
  /** A few words for people: what is counted, and who the peer is. */
  readonly what: string;
  readonly unit: string;
  readonly ours: number;
  readonly peer: number | null;
  /** How many times better ours is. */
  readonly ratio: number | null;
  /** The smallest and largest ratio of a turn, where there were turns. */
  readonly range?: readonly [number, number];
  readonly info?: boolean;
}

/** A row of something measured in turns; the range is that of the ratio. */
export function rowOf(
  row: Pick<Row, 'id' | 'what' | 'unit' | 'info'>,
  { ours, peer, ratio, range }: Measured,
): Row {
  return { ...row, ours, peer, ratio, ...(ratio === null ? {} : { range }) };
}

/** The rows as `--json` writes them. */
export function plain(
  rows: readonly Row[],
): ReadonlyArray<Pick<Row, 'id' | 'ours' | 'peer' | 'ratio' | 'unit'>> {
  return rows.map(({ id, ours, peer, ratio, unit }) => ({ id, ours, peer, ratio, unit }));
}

const HEAD = ['id', 'ours', 'peer', 'ratio', 'range', 'bar', 'unit', 'what'] as const;
const RIGHT = new Set([1, 2, 3, 4]);

/** The rows as a table of text; `syncMs` is what one `fdatasync` takes. */
export function table(rows: readonly Row[], syncMs: number): string {
  const cells = [
    [...HEAD],
    ...rows.map((row) => [
      row.info ? `  ${row.id}` : row.id,
      figure(row.ours),
      row.peer === null ? '–' : figure(row.peer),
      row.ratio === null ? '–' : times(row.ratio),
      row.range ? `${times(row.range[0])}–${times(row.range[1])}` : '',
      verdict(row, syncMs),
      row.unit,
      row.what,
    ]),
  ];
  const widths = HEAD.map((_, column) => Math.max(...cells.map((line) => line[column]!.length)));
  return cells
    .map((line) =>
      line
        .map((cell, column) =>
          RIGHT.has(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function figure(value: number): string {
  const digits = value >= 100 ? 0 : value >= 1 ? 1 : 3;
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function times(ratio: number): string {
  const text = ratio >= 100 ? ratio.toFixed(0) : ratio >= 10 ? ratio.toFixed(1) : ratio.toFixed(3);
  return `${text}×`;
}
