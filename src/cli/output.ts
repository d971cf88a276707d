/**
 * The only door to standard output: tables, amounts for people, progress lines, and JSON lines for programs.
 * What goes wrong goes to standard error.
 */
import { fileErrorCode, from, PieceworkError } from '../errors.js';
import { formatAmount, formatAmountShort, formatSize } from '../units.js';

const FRAME_MS = 100;
const PLAIN_LINE_MS = 2_000;

export function line(text = ''): void {
  process.stdout.write(`${text}\n`);
}

export function json(value: unknown): void {
  line(JSON.stringify(value));
}

export function amount(units: string | bigint): string {
  return formatAmount(BigInt(units));
}

export function shortAmount(units: string | bigint): string {
  return formatAmountShort(BigInt(units));
}

/** Rows under headings, columns as wide as they need; numbers to the right where `right` names the column. */
export function table(
  headings: readonly string[],
  rows: ReadonlyArray<readonly string[]>,
  right: readonly number[] = [],
): void {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const render = (row: readonly string[]): string =>
    row
      .map((cell, column) =>
        right.includes(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join('  ')
      .trimEnd();
  line(render(headings));
  line(widths.map((width) => '-'.repeat(width)).join('  '));
  for (const row of rows) line(render(row));
}

export function csv(headings: readonly string[], rows: ReadonlyArray<readonly string[]>): void {
  const cell = (text: string): string => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  for (const row of [headings, ...rows]) line(row.map(cell).join(','));
}

/** Says what failed and what to do, and returns the exit status. */
export function failure(thrown: unknown, asJson: boolean): number {
  const file = fileErrorCode(thrown);
  const known = thrown instanceof PieceworkError ? thrown : undefined;
  // What the disk says is no bug of ours, whoever forgot to give it a code.
  const error = known ?? (file && from(thrown));
  if (asJson) {
    json({
      event: 'error',
      code: error?.code ?? 'INTERNAL',
      detail: (thrown as Error).message,
      advice: error?.advice,
    });
  } else if (error) {
    process.stderr.write(`piecework: ${error.code}: ${error.message}\n`);
    if (error.advice !== error.message) process.stderr.write(`  ${error.advice}\n`);
  } else {
    process.stderr.write(
      `piecework: ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)}\n`,
    );
  }
  return error?.exitStatus ?? 1;
}

export interface ProgressState {
  readonly bytes: number;
  readonly bytesTotal: number;
  readonly bytesPerSecond: number;
  readonly pieces: number;
  readonly piecesTotal: number;
  readonly spent: string;
  readonly budget: string;
  readonly earned?: string;
  readonly peers: number;
}

/** A line that is redrawn at most ten times a second on a terminal, and printed now and then elsewhere. */
export interface Progress {
  show(state: ProgressState): void;
  /** Prints a line above the progress. */
  note(text: string): void;
  end(): void;
}

export function progress(stream: NodeJS.WriteStream = process.stdout): Progress {
  const terminal = stream.isTTY === true;
  let shownMs = 0;
  let last: ProgressState | undefined;
  const draw = (state: ProgressState): void => {
    shownMs = performance.now();
    stream.write(terminal ? `\r\u001b[2K${bar(state, stream.columns || 80)}` : `${summary(state)}\n`);
  };
  return {
    show(state) {
      last = state;
      if (performance.now() - shownMs >= (terminal ? FRAME_MS : PLAIN_LINE_MS)) draw(state);
    },
    note(text) {
      stream.write(terminal ? `\r\u001b[2K${text}\n` : `${text}\n`);
      if (terminal && last) draw(last);
    },
    end() {
      if (!last) return;
      draw(last);
      if (terminal) stream.write('\n');
      last = undefined;
    },
  };
}

function bar(state: ProgressState, columns: number): string {
  const text = summary(state);
  const width = Math.max(0, Math.min(30, columns - text.length - 4));
  const full = Math.round(share(state) * width);
  return width < 5 ? text.slice(0, columns - 1) : `[${'='.repeat(full)}${' '.repeat(width - full)}] ${text}`;
}

function summary(state: ProgressState): string {
  const budget = BigInt(state.budget);
  const left = budget - BigInt(state.spent);
  const parts = [
    `${(share(state) * 100).toFixed(1).padStart(5)} %`,
    `${formatSize(state.bytesPerSecond)}/s`,
    `${state.pieces}/${state.piecesTotal} pieces`,
    `${state.peers} peer${state.peers === 1 ? '' : 's'}`,
  ];
  if (budget > 0n) parts.push(`spent ${formatAmountShort(BigInt(state.spent))}`);
  if (state.earned !== undefined) parts.push(`earned ${formatAmountShort(BigInt(state.earned))}`);
  if (budget > 0n) parts.push(`left ${formatAmountShort(left)}`);
  return parts.join('  ');
}

function share(state: ProgressState): number {
  return state.bytesTotal === 0 ? 0 : state.bytes / state.bytesTotal;
}
