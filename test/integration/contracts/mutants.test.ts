/**
 * A sample of the mutants of the hub, another one each run; `npm run soak:contracts` goes through all of them.
 * The canaries: the hub itself survives, so a stage on which everything fails is noticed, and a change that
 * changes nothing is not counted as a mutant.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chance, seedFromEnvironment } from '../../support/chance.js';
import { type Mutant, readMutants, Stage, tell } from '../../support/mutants.js';

const SAMPLE = 3;
const LIMIT_MS = 180_000;
const seed = seedFromEnvironment();
const mutants = readMutants();
let stage: Stage;

beforeAll(() => {
  stage = new Stage();
});
afterAll(() => stage.close());

function sample(): Mutant[] {
  const dice = chance(seed);
  const left = [...mutants];
  return Array.from({ length: SAMPLE }, () => left.splice(dice.below(left.length), 1)[0]!);
}

describe(`mutants of the hub, seed ${seed}`, () => {
  it('are many, each with a name of its own', () => {
    expect(mutants.length).toBeGreaterThanOrEqual(40);
    expect(new Set(mutants.map(({ source, name }) => `${source} ${name}`)).size).toBe(mutants.length);
  });

  it('canary: the hub itself survives, and a comment is no mutant', { timeout: LIMIT_MS }, async () => {
    expect(await stage.killer()).toBeUndefined();
    const comment = {
      source: 'NativeHub',
      name: 'a comment',
      find: '    function _pay',
      replace: '    // Pay.\n    function _pay',
    };
    expect((await stage.judge(comment)).kind).toBe('same code');
  });

  it('canary: invariants that met next to nothing fail', { timeout: LIMIT_MS }, async () => {
    const few = { FOUNDRY_INVARIANT_RUNS: '1', FOUNDRY_INVARIANT_DEPTH: '20' };
    const { status, output } = await stage.test('NativeInvariantTest', few);
    expect(output).toMatch(/native hub: \d+ calls in 1 runs/);
    expect(output).toContain('never met: ');
    expect(status).toBe(1);
  });

  it.each(sample())('$source: $name', { timeout: LIMIT_MS }, async (mutant) => {
    const verdict = await stage.judge(mutant);
    expect(verdict.kind, tell(mutant, verdict)).toBe('killed');
  });
});
