/**
 * The build of the hub is reproducible: the same sources, copied elsewhere and compiled again, give the same
 * files, and their hashes are the committed ones. A change of the code is a deliberate act, recorded with
 * `node scripts/compile-contracts.mjs --record`.
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { keccak256 } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const built = join(root, 'build', 'contracts');
const FILES = ['Code.json', 'NativeHub.json', 'TokenHub.json'];
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'piecework-build-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Compiles a copy of the sources, changed or not, from a folder of its own into another. */
function compileCopy(name: string, change: (sources: string) => void = () => undefined): string {
  const [sources, out] = [join(folder, `${name} src`), join(folder, name)];
  cpSync(join(root, 'contracts', 'src'), sources, { recursive: true });
  change(sources);
  const script = join(root, 'scripts', 'compile-contracts.mjs');
  execFileSync(process.execPath, [script, '--from', sources, '--to', out], { cwd: folder, stdio: 'pipe' });
  return out;
}

const json = (path: string): Record<string, unknown> =>
  JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;

describe('the build of the hub', () => {
  it('gives the same bytes in another folder, comments aside', () => {
    const again = compileCopy('again', (sources) => {
      appendFileSync(join(sources, 'HubCore.sol'), '// A comment changes nothing that is deployed.\n');
    });
    expect(readdirSync(again).sort()).toEqual(FILES);
    for (const file of FILES)
      expect(readFileSync(join(again, file), 'utf8'), file).toBe(readFileSync(join(built, file), 'utf8'));
  });

  it('gives the code whose hashes are committed, by the pinned compiler', () => {
    const committed = json(join(root, 'contracts', 'snapshots', 'Code.json'));
    expect(json(join(built, 'Code.json'))).toEqual(committed);
    for (const form of ['NativeHub', 'TokenHub']) {
      const { bytecode, deployedBytecode } = json(join(built, `${form}.json`)) as Record<string, string>;
      expect(committed[form]).toMatchObject({
        creation: keccak256(bytecode!),
        runtimeTemplate: keccak256(deployedBytecode!),
      });
    }
    const { devDependencies } = json(join(root, 'package.json')) as {
      devDependencies: Record<string, string>;
    };
    expect(devDependencies['solc']).toMatch(/^\d+\.\d+\.\d+$/);
    expect(String(committed['compiler'])).toMatch(new RegExp(`^${devDependencies['solc']}\\+commit\\.`));
  });
});
