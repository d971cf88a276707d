/**
 * The model checker proves the arithmetic of the hub wherever z3 is installed; where PIECEWORK_REQUIRE_PEERS says
 * that everything must be there, its absence is a failure. The script refutes a canary of its own in each run.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';

const script = fileURLToPath(new URL('../../../scripts/prove-contracts.mjs', import.meta.url));
const NOT_INSTALLED = 2;

describe('the arithmetic of the hub', () => {
  it('conserves money and never settles more than the deposit', { timeout: 180_000 }, (context) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8' });
    if (status === NOT_INSTALLED && process.env['PIECEWORK_REQUIRE_PEERS'] !== '1')
      context.skip(stderr.trim());
    expect(status, `${stdout}${stderr}`).toBe(0);
    expect(Number(/^(\d+) proven, 0 open/m.exec(stdout)?.[1])).toBeGreaterThanOrEqual(40);
  });

  it('is not said to be proven where the solver is missing', () => {
    const folder = mkdtempSync(join(tmpdir(), 'piecework-no-solver-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const { status, stderr } = spawnSync(process.execPath, [script], {
      encoding: 'utf8',
      env: { ...process.env, PATH: folder },
    });
    expect(status).toBe(NOT_INSTALLED);
    expect(stderr).toContain('no z3 on the PATH, nothing was proven; on Debian: apt-get install z3');
  });
});
