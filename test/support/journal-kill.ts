/**
 * The journal killed at chosen system calls: a child commits a fixed series of batches and says which are
 * durable; a preloaded library ends it before, half-way through or after its n-th call on the folder. What is
 * left must be exactly the state after as many batches as were acknowledged, or after one more. The child is
 * then started again, killed once more while it recovers or soon after, and at last runs to its end.
 */
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { call } from '../../src/native/binding.js';
import { type Command, CommandWriter } from '../../src/native/records.js';
import * as Ticks from '../model/tick-rows.js';
import { type Chance, chance } from './chance.js';
import { preloadLibrary } from './preload.js';

export const MODES = ['before', 'half', 'after'] as const;
export type Mode = (typeof MODES)[number];

export interface JournalKills {
  /** Calls of an undisturbed run: the kill points are 1 to this, in each mode. */
  readonly steps: number;
  /** Kills at a point, again while recovering, and the end. @returns what was wrong, or undefined. */
  tryAt(step: number, mode: Mode): Promise<string | undefined>;
  /** Batches that were acknowledged before a kill, and kills that met a running child. */
  readonly acknowledged: number;
  readonly kills: number;
  close(): void;
}

const CHAIN_ID = 31_415n;
const HUB = new Uint8Array(20).fill(9);
const SEED = new Uint8Array(32).fill(7);
/** The smallest there is, so that segments and checkpoints come and go. */
const SEGMENT_BYTES = 4_096;
const CHILD = fileURLToPath(new URL('./preload/journal-child.mjs', import.meta.url));
const ADDON = fileURLToPath(new URL('../../native/piecework.node', import.meta.url));

interface Batch {
  readonly commands: Uint8Array;
  readonly blobs: Uint8Array;
}

export async function prepare(
  seed: number,
  batchCount: number,
  order: 'late' | 'early' = 'late',
): Promise<JournalKills> {
  const draws = chance(seed);
  const root = mkdtempSync(join(tmpdir(), 'piecework-kill-'));
  const library = await preloadLibrary('kill-at');
  const batches = makeBatches(draws, batchCount);
  const hashes = hashesOf(batches, join(root, 'expected'));
  const file = join(root, 'batches.json');
  writeFileSync(file, encode(batches));
  const ledger = join(root, 'ledger');
  const counts = join(root, 'steps');
  let acknowledged = 0;
  let kills = 0;

  /** Runs the child from `skip` on and gives how many batches were acknowledged in all. */
  async function run(skip: number, step: number, mode: Mode): Promise<number> {
    const env = {
      ...process.env,
      LD_PRELOAD: library,
      PIECEWORK_KILL_FOLDER: ledger,
      PIECEWORK_KILL_AT: String(step),
      PIECEWORK_KILL_MODE: mode,
      PIECEWORK_KILL_COUNT: counts,
    };
    const args = [CHILD, ADDON, ledger, file, String(skip), order];
    const { status, signal, said, complaint } = await outcomeOf(args, env);
    if (status !== 0 && signal !== 'SIGKILL')
      throw new Error(`the child ended with ${signal ?? status}: ${complaint}`);
    const last = said.trim().split('\n').at(-1);
    const acked = last ? Number(last) : skip;
    acknowledged += acked - skip;
    if (signal === 'SIGKILL') kills++;
    return acked;
  }

  /** How many batches the ledger holds, if that is `acked` or one more. */
  function recovered(acked: number): number | string {
    const copy = join(root, 'copy');
    cpSync(ledger, copy, { recursive: true });
    try {
      const hash = stateOf(copy);
      if (hash === hashes[acked]) return acked;
      if (hash === hashes[acked + 1]) return acked + 1;
      const at = hashes.indexOf(hash);
      return `${acked} batches were acknowledged, ${at < 0 ? 'a state that never was' : `${at} batches`} is left`;
    } catch (thrown) {
      return `${acked} batches were acknowledged, and the ledger does not open: ${(thrown as Error).message}`;
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  }

  await run(0, 0, 'before');
  const steps = Number(readFileSync(counts, 'utf8'));
  acknowledged = 0;
  return {
    steps,
    get acknowledged() {
      return acknowledged;
    },
    get kills() {
      return kills;
    },
    async tryAt(step, mode) {
      rmSync(ledger, { recursive: true, force: true });
      let held = 0;
      for (const at of [step, 1 + draws.below(12), 0]) {
        const found = recovered(await run(held, at, mode));
        if (typeof found === 'string') return `killed ${mode} step ${at}: ${found}`;
        held = found;
      }
      return held === batches.length ? undefined : `${held} of ${batches.length} batches in the end`;
    },
    close: () => rmSync(root, { recursive: true, force: true }),
  };
}

interface ChildOutcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly said: string;
  readonly complaint: string;
}

function outcomeOf(args: readonly string[], env: NodeJS.ProcessEnv): Promise<ChildOutcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let [said, complaint] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString('utf8');
    });
    child.stderr.on('data', (chunk: Buffer) => {
      complaint += chunk.toString('utf8');
    });
    child.on('error', reject);
    child.on('close', (status, signal) => resolve({ status, signal, said, complaint }));
  });
}

/** A payee's and a payer's day, in small batches, with notes that fill segments. */
function makeBatches(draws: Chance, count: number): Batch[] {
  const payee = new Uint8Array(20).fill(3);
  const keys = [0, 1].map((at) => call((addon) => addon.deriveVoucherKeys(SEED, BigInt(at), 1)));
  const infohash = new Uint8Array(20).fill(4);
  const facts = { payee, deposit: 10n ** 15n, settled: 0n, closeAt: 0, block: 1 };
  const terms = { infohash, priceMiB: 1_000_003n, minimumStep: 0n, prepay: 0n };
  const first: Command[] = [
    { kind: 'channel_put', role: 'payee', voucherKey: keys[0]!, ...facts },
    { kind: 'channel_put', role: 'payer', voucherKey: keys[1]!, ...facts, keyIndex: 1 },
    { kind: 'session_open', channel: 0, sessionId: new Uint8Array(16).fill(1), ...terms },
    { kind: 'session_open', channel: 1, sessionId: new Uint8Array(16).fill(2), ...terms },
    { kind: 'budget', infohash, limit: 10n ** 15n },
  ];
  let amount = 0n;
  let piece = 0;
  const makers: Array<() => Command[]> = [
    () => [{ kind: 'grant', session: 0, bytes: 262_144, exposureLimit: 10n ** 12n }],
    () => {
      amount += BigInt(1 + draws.below(200_000));
      const row = draws.bytes(76);
      row.set(Buffer.from(amount.toString(16).padStart(24, '0'), 'hex'));
      return [
        { kind: 'grant', session: 0, bytes: 262_144, exposureLimit: 10n ** 12n },
        { kind: 'voucher', session: 0, row, final: false, verified: true },
      ];
    },
    () => {
      const bought = piece++;
      return [
        { kind: 'purchase', session: 1, piece: bought, bytes: 262_144 },
        { kind: 'pay', session: 1, piece: bought, bytes: 262_144, advance: 0n },
      ];
    },
    () => {
      const end = draws.bytes(32);
      const length = 8;
      const count = 1 + draws.below(length);
      const terms = { amount: amount + BigInt(1 + draws.below(100_000)), unit: 1_000n, length };
      const root = { ...terms, count: 0, tick: Ticks.linked(end, length), signature: draws.bytes(64) };
      amount = terms.amount + terms.unit * BigInt(count);
      return [
        { kind: 'grant', session: 0, bytes: 262_144, exposureLimit: 10n ** 12n },
        { kind: 'tick_voucher', session: 0, row: Ticks.bytesOf(root), verified: true },
        { kind: 'tick', session: 0, count, tick: Ticks.linked(end, length - count) },
      ];
    },
    () => {
      const bought = piece++;
      return [
        { kind: 'purchase', session: 1, piece: bought, bytes: 262_144 },
        { kind: 'open_chain', session: 1, unit: 15_625n, length: 16 },
        { kind: 'receive', session: 1, piece: bought, bytes: 262_144 },
        { kind: 'reveal', session: 1, count: 1 + draws.below(16), advance: 0n },
      ];
    },
    () => [{ kind: 'note', space: 1, key: draws.bytes(32), value: draws.bytes(1 + draws.below(700)) }],
  ];
  return Array.from({ length: count }, (_, at) => {
    const commands =
      at === 0 ? first : Array.from({ length: 1 + draws.below(3) }, () => draws.pick(makers)()).flat();
    const writer = new CommandWriter();
    writer.add(commands);
    return writer.finish();
  });
}

function open(folder: string): number {
  return call((addon) => addon.ledgerOpen(folder, CHAIN_ID, HUB, SEGMENT_BYTES, SEED)).handle;
}

/** The state hash before the first batch and after each. */
function hashesOf(batches: readonly Batch[], folder: string): string[] {
  const handle = open(folder);
  const hash = (): string => Buffer.from(call((addon) => addon.ledgerStateHash(handle))).toString('hex');
  const hashes = [hash()];
  for (const { commands, blobs } of batches) {
    call((addon) => addon.ledgerCommit(handle, commands, blobs));
    hashes.push(hash());
  }
  call((addon) => addon.ledgerClose(handle));
  if (new Set(hashes).size !== hashes.length)
    throw new Error('a batch changed nothing: states cannot be told apart');
  return hashes;
}

function stateOf(folder: string): string {
  const handle = open(folder);
  try {
    return Buffer.from(call((addon) => addon.ledgerStateHash(handle))).toString('hex');
  } finally {
    call((addon) => addon.ledgerClose(handle));
  }
}

function encode(batches: readonly Batch[]): string {
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  const place = { chainId: String(CHAIN_ID), hub: text(HUB), seed: text(SEED), segmentBytes: SEGMENT_BYTES };
  const list = batches.map(({ commands, blobs }) => ({ commands: text(commands), blobs: text(blobs) }));
  return JSON.stringify({ place, list });
}
