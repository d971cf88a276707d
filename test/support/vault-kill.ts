/**
 * A payee killed while it receives cheques: before, half-way through and after its n-th call on the ledger's folder.
 * What it acknowledged it must hold afterwards, and it must go on from there to the end.
 */
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Settings } from '../../src/config.js';
import { preloadLibrary } from './preload.js';

export interface KillPlan {
  readonly settings: Settings;
  /** Of the payee, as hex. */
  readonly key: string;
  readonly vault: string;
  /** Rising. */
  readonly cheques: ReadonlyArray<{ readonly payout: string; readonly cheque: string }>;
  /** A canary: acknowledges before it receives. */
  readonly early?: boolean;
}

export type Mode = 'before' | 'half' | 'after';

export interface VaultKills {
  /** Calls of an undisturbed run: the kill points are 1 to this. */
  readonly steps: number;
  readonly kills: number;
  /** Cheques acknowledged by runs that were killed. */
  readonly acknowledged: number;
  /** Kills at a point and runs to the end from what is left; `held` reads the newest payout of a data folder. */
  tryAt(step: number, mode: Mode, held: (dataDir: string) => Promise<string>): Promise<string | undefined>;
  close(): void;
}

const CHILD = fileURLToPath(new URL('./preload/vault-child.mjs', import.meta.url));

export async function prepare(plan: KillPlan): Promise<VaultKills> {
  const root = mkdtempSync(join(tmpdir(), 'piecework-vault-kill-'));
  const library = await preloadLibrary('kill-at');
  const dataDir = join(root, 'data');
  const [file, counts] = [join(root, 'plan.json'), join(root, 'steps')];
  writeFileSync(file, JSON.stringify({ ...plan, settings: { ...plan.settings, dataDir } }));
  let [kills, acknowledged] = [0, 0];

  /** How many cheques were acknowledged in all before the child ended, and whether it was killed. */
  function run(step: number, mode: Mode): Promise<{ acked: number; killed: boolean }> {
    const env = {
      ...process.env,
      LD_PRELOAD: library,
      PIECEWORK_KILL_FOLDER: join(dataDir, 'ledger'),
      PIECEWORK_KILL_AT: String(step),
      PIECEWORK_KILL_MODE: mode,
      PIECEWORK_KILL_COUNT: counts,
    };
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [CHILD, file], { env, stdio: ['ignore', 'pipe', 'pipe'] });
      let [said, complaint] = ['', ''];
      child.stdout.on('data', (chunk: Buffer) => {
        said += chunk.toString('utf8');
      });
      child.stderr.on('data', (chunk: Buffer) => {
        complaint += chunk.toString('utf8');
      });
      child.on('error', reject);
      child.on('close', (status, signal) => {
        if (status !== 0 && signal !== 'SIGKILL')
          return reject(new Error(`${signal ?? status}: ${complaint}`));
        resolve({ acked: Number(said.trim().split('\n').at(-1) || 0), killed: signal === 'SIGKILL' });
      });
    });
  }

  // A data folder that trusts the vault and holds nothing yet: every kill starts from a copy of it.
  await run(0, 'before');
  const fresh = join(root, 'fresh');
  cpSync(dataDir, fresh, { recursive: true });
  await run(0, 'before');
  const steps = Number(readFileSync(counts, 'utf8'));
  const payout = (count: number): bigint => BigInt(plan.cheques[count - 1]?.payout ?? '0');
  return {
    steps,
    get kills() {
      return kills;
    },
    get acknowledged() {
      return acknowledged;
    },
    async tryAt(step, mode, held) {
      rmSync(dataDir, { recursive: true, force: true });
      cpSync(fresh, dataDir, { recursive: true });
      const { acked, killed } = await run(step, mode);
      if (!killed) return `step ${step} ${mode}: nothing was killed`;
      kills++;
      acknowledged += acked;
      const left = BigInt(await held(dataDir));
      const where = `killed ${mode} step ${step} with ${acked} acknowledged`;
      if (left !== payout(acked) && left !== payout(acked + 1)) return `${where}: ${left} is left`;
      const { acked: all } = await run(0, 'before');
      const end = BigInt(await held(dataDir));
      if (all !== plan.cheques.length || end !== payout(all)) return `${where}: ${all} and ${end} in the end`;
      return undefined;
    },
    close: () => rmSync(root, { recursive: true, force: true }),
  };
}
