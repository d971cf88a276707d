/**
 * A ledger of a million open channels: its memory, its restart, and its throughput beside one of a thousand. Every
 * ledger lives in a process of its own. A channel has an open session, a grant and a head.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Settings } from './main.js';
import { type Contender, check, measure } from './measure.js';
import { type Row, rowOf } from './report.js';
import type { Request } from './scale-child.js';

const MIB = 2 ** 20;
const COUNT = 1_000_000;
const COUNT_SMALL = 1_000;
const COUNT_SMOKE = 5_000;
/** Commits between two looks at the clock. */
const COMMITS = 8;

interface Process {
  /** How long opening the ledger took. */
  readonly openMs: number;
  ask(verb: Request['verb'], count?: number): Promise<number>;
  kill(): Promise<void>;
}

type Reply = { readonly value: number } | { readonly failed: string };

export async function scaling(settings: Settings): Promise<Row[]> {
  const { effort, smoke, folder, say } = settings;
  const count = smoke ? COUNT_SMOKE : COUNT;
  const running: Process[] = [];
  settings.beforeEnd(async () => void (await Promise.all(running.map((one) => one.kill()))));
  const start = async (name: string): Promise<Process> => {
    const one = await begin(join(folder, name));
    running.push(one);
    return one;
  };
  /** Fills a ledger, updates it after its checkpoint and leaves it as a kill would. */
  const prepare = async (name: string, channels: number): Promise<{ empty: number; filled: number }> => {
    const one = await start(name);
    const empty = await one.ask('rss');
    check((await one.ask('fill', channels)) === channels, `${channels} channels were not filled`);
    const filled = await one.ask('rss');
    await one.ask('drop');
    await one.kill();
    return { empty, filled };
  };
  const { empty, filled } = await prepare('scale', count);
  say(`bench: scale has filled ${count} channels`);
  await prepare('scale-small', COUNT_SMALL);
  const large = await start('scale');
  const small = await start('scale-small');
  check((await large.ask('heads')) === count, 'channels or sessions are missing after the restart');
  check((await small.ask('heads')) === COUNT_SMALL, 'channels or sessions are missing after the restart');
  const opened = await large.ask('rss');
  const turns = (of: Process): Contender => ({ run: () => of.ask('turn', COMMITS) });
  const measured = (await measure([{ ours: turns(large), peer: turns(small) }], effort, 'wall'))[0]!;
  const updated = await large.ask('rss');
  await Promise.all([large.kill(), small.kill()]);
  const memory = (bytes: number): number => (bytes - empty) / MIB;
  const row = (id: string, what: string, unit: string, ours: number, info = false): Row => {
    return { id: `scale.${id}`, what, unit, ours, peer: null, ratio: null, info };
  };
  const channels = `${count.toLocaleString('en-US')} channels`;
  return [
    row(
      'rss_mb',
      `memory of ${channels} after a restart, over the same process with an empty ledger; less is better`,
      'MiB',
      memory(opened),
    ),
    row('rss_mb.updated', 'the same after the updates of scale.throughput', 'MiB', memory(updated), true),
    row('rss_mb.filled', 'the same in the process that opened the channels', 'MiB', memory(filled), true),
    row(
      'restart_s',
      `opening that ledger: checkpoint and 200 frames of 1,000; less is better`,
      's',
      large.openMs / 1000,
    ),
    rowOf(
      {
        id: 'scale.throughput',
        what: `updates of ${channels}, 1,000 a commit, synced; peer: the same ledger with ${COUNT_SMALL}`,
        unit: 'vouchers/s',
      },
      measured,
    ),
  ];
}

async function begin(folder: string): Promise<Process> {
  const path = fileURLToPath(new URL('./scale-child.js', import.meta.url));
  const child = fork(path, [folder], { execArgv: ['--expose-gc'] });
  const openMs = await answer(child);
  return {
    openMs,
    async ask(verb, count = 0) {
      child.send({ verb, count } satisfies Request);
      return answer(child);
    },
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'close');
    },
  };
}

function answer(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    const ended = (): void => reject(new Error('a process of the scale bench ended'));
    child.once('exit', ended);
    child.once('message', (reply: Reply) => {
      child.off('exit', ended);
      if ('failed' in reply) reject(new Error(reply.failed));
      else resolve(reply.value);
    });
  });
}
