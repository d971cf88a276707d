/** Hash chain ticks: links checked, many chains in one call, against a loop over node:crypto; one core, same values. */
import { hash as digestOf, randomFillSync } from 'node:crypto';
import { type Addon, load } from '../../dist/native/binding.js';
import { statusesOf, type TickStep, writeTickSteps } from '../../dist/native/records.js';
import type { Settings } from './main.js';
import { type Contender, check, measure } from './measure.js';
import { withoutAvx512 } from './narrow.js';
import { type Row, rowOf } from './report.js';

interface Case {
  readonly id: string;
  readonly what: string;
  readonly count: number;
  /** The links of the record at a place. */
  readonly steps: (at: number) => number;
  readonly info?: boolean;
  readonly narrow?: boolean;
}

const mixed = (at: number): number => 1 + ((at * 7) % 32);

const CASES: readonly Case[] = [
  { id: 'ticks.per_core', what: '1,024 chains, 1 to 32 links each', count: 1024, steps: mixed },
  {
    id: 'ticks.per_core.single',
    what: '1,024 chains, one link each',
    count: 1024,
    steps: () => 1,
    info: true,
  },
  { id: 'ticks.per_core.few', what: '16 chains, one link each', count: 16, steps: () => 1, info: true },
  { id: 'ticks.per_core.one', what: 'one chain, 1,024 links', count: 1, steps: () => 1024, info: true },
  {
    id: 'ticks.per_core.narrow',
    what: '1,024 chains, 1 to 32 links each, without AVX-512',
    count: 1024,
    steps: mixed,
    info: true,
    narrow: true,
  },
];

export async function ticks({ effort, folder }: Settings): Promise<Row[]> {
  const [usual, narrow] = [load(), withoutAvx512(folder)];
  const pairs = CASES.map((one) => {
    const addon = one.narrow ? narrow : usual;
    const steps = Array.from({ length: one.count }, (_, at) => stepOf(one.steps(at)));
    compare(addon, steps);
    return { ours: native(addon, steps), peer: nodeCrypto(steps) };
  });
  const measured = await measure(pairs, effort, 'core');
  return CASES.map(({ id, what, info = false }, at) => {
    return rowOf({ id, what: `${what}; peer: node:crypto`, unit: 'links/s', info }, measured[at]!);
  });
}

function stepOf(steps: number): TickStep {
  const value = randomFillSync(new Uint8Array(32));
  return { previous: walk(value, steps), value, steps };
}

/** `crypto.hash` makes no object per digest, so it is the faster of Node's two ways. */
function walk(value: Uint8Array, steps: number): Uint8Array {
  let at = value;
  for (let step = 0; step < steps; step++) at = digestOf('sha256', at, 'buffer');
  return at;
}

/** Good records are good, and a wrong value, a wrong count and no step at all are not, wherever they stand. */
function compare(addon: Addon, steps: readonly TickStep[]): void {
  const good = statusesOf(addon.checkTicks(writeTickSteps(steps)));
  check(
    good.every((status) => status === 'ok'),
    'a tick that leads to the one before it is refused',
  );
  const bad = steps.map((step, at): TickStep => {
    if (at % 3 === 0) return { ...step, value: randomFillSync(new Uint8Array(32)) };
    return { ...step, steps: at % 3 === 1 ? step.steps + 1 : 0 };
  });
  const refused = statusesOf(addon.checkTicks(writeTickSteps(bad)));
  check(
    refused.every((status, at) => status === (at % 3 === 2 ? 'bad_range' : 'bad_signature')),
    'a tick that leads elsewhere is not refused',
  );
}

function native(addon: Addon, steps: readonly TickStep[]): Contender {
  const records = writeTickSteps(steps);
  const links = linksOf(steps);
  return {
    run() {
      addon.checkTicks(records);
      return links;
    },
  };
}

function nodeCrypto(steps: readonly TickStep[]): Contender {
  const links = linksOf(steps);
  return {
    run() {
      for (const { previous, value, steps: count } of steps) {
        if (Buffer.compare(walk(value, count), previous) !== 0) throw new Error('a tick does not hold');
      }
      return links;
    },
  };
}

function linksOf(steps: readonly TickStep[]): number {
  return steps.reduce((sum, { steps: count }) => sum + count, 0);
}
