/** What a crash run reports, for assertions and for people. */
import type { Side } from './crash-stage.js';
import type { Spent } from './crash-world.js';

export interface CrashReport {
  readonly seed: number;
  readonly kills: number;
  /** By side and moment, like `payee transfer`. */
  readonly killsBy: ReadonlyMap<string, number>;
  readonly rounds: number;
  readonly restarts: number;
  readonly acks: number;
  readonly bytes: number;
  readonly sessions: number;
  readonly slowestRestartMs: number;
  readonly spent: ReadonlyMap<Side, Spent>;
  readonly settled: bigint;
  readonly durationMs: number;
}

/** The report as lines for people. */
export function tell(report: CrashReport): string {
  const { seed, kills, rounds, restarts, acks, bytes, sessions, settled, durationMs } = report;
  const moments = [...report.killsBy].sort(([a], [b]) => (a < b ? -1 : 1));
  const gas = [...report.spent].map(([side, { transactions }]) => `${side} ${transactions} transactions`);
  return [
    `seed ${seed}: ${kills} kills, ${restarts} restarts in transfers, ${rounds} torrents, ${sessions} sessions, ${(durationMs / 1000).toFixed(1)} s`,
    `  ${moments.map(([name, count]) => `${name} ${count}`).join(', ')}`,
    `  ${bytes} bytes bought once, ${acks} acknowledgements kept, ${settled} wei settled, ${gas.join(', ')}`,
    `  slowest return to work after a restart: ${Math.round(report.slowestRestartMs)} ms`,
  ].join('\n');
}
