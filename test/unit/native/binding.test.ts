/** The door itself: a missing or foreign addon is told apart, and errors get their codes. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import * as Binding from '../../../src/native/binding.js';
import { CommandWriter, STATUSES } from '../../../src/native/records.js';

const compiled = fileURLToPath(new URL('../../../dist/native/binding.js', import.meta.url));

/** Loads the compiled binding in a process of its own and gives the code of what it throws. */
function loadWith(addon: string): string {
  const script = `
    const { load } = await import(${JSON.stringify(compiled)});
    try { load(); console.log('loaded'); } catch (e) { console.log(e.code); }`;
  const env = { ...process.env, PIECEWORK_ADDON: addon };
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    env,
    encoding: 'utf8',
  }).trim();
}

test('a missing, broken or foreign addon has its code', () => {
  expect(existsSync(compiled), 'compile first').toBe(true);
  const folder = mkdtempSync(join(tmpdir(), 'piecework-binding-'));
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  try {
    expect(loadWith(join(folder, 'nothing.node'))).toBe('ADDON_MISSING');
    expect(loadWith(write('broken.node', 'not a library'))).toBe('ADDON_MISSING');
    expect(loadWith(write('foreign.cjs', 'exports.abiVersion = () => 999;'))).toBe('ADDON_MISMATCH');
    expect(loadWith(write('empty.cjs', ''))).toBe('ADDON_MISMATCH');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the environment lowers the level of instructions, never raises it', () => {
  const levels = ['scalar', 'avx2', 'avx512'];
  const levelWith = (forced?: string): string => {
    const script = `
      const { load } = await import(${JSON.stringify(compiled)});
      try { console.log(load().cpuFeatures()[0]); } catch (e) { console.log(e.message); }`;
    const { PIECEWORK_CPU: _, ...rest } = process.env;
    const env = forced === undefined ? rest : { ...rest, PIECEWORK_CPU: forced };
    return execFileSync(process.execPath, ['--input-type=module', '-e', script], {
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  };
  const best = levels.indexOf(levelWith());
  expect(best).toBeGreaterThanOrEqual(0);
  for (const [at, level] of levels.entries()) {
    expect(levelWith(level)).toBe(levels[Math.min(at, best)]);
  }
  expect(levelWith('fast')).toContain('PIECEWORK_CPU');
});

test('the statuses of the addon are the ones written here', () => {
  expect(Binding.layout().statuses).toEqual(STATUSES);
  expect(Binding.layout().abiVersion).toBe(Binding.load().abiVersion());
});

test('every layout lies in its stride without overlap', () => {
  for (const [name, { stride, fields }] of Object.entries(Binding.layout().records)) {
    let end = 0;
    for (const { offset, size } of fields) {
      expect(offset, name).toBeGreaterThanOrEqual(end);
      end = offset + size;
    }
    expect(end, name).toBeLessThanOrEqual(stride);
  }
});

test('messages give codes, and only known ones', () => {
  expect(Binding.failure(new Error('DISK_FULL: no room'))).toMatchObject({
    code: 'DISK_FULL',
    message: 'no room',
  });
  expect(Binding.failure(new Error('NATIVE_PANIC: ouch')).code).toBe('INTERNAL');
  expect(Binding.failure(new Error('LEDGER_CLOSED: 7')).code).toBe('EXECUTOR_CLOSED');
  expect(Binding.failure(new Error('SOMETHING: else')).code).toBe('INTERNAL');
  expect(Binding.failure('text').code).toBe('INTERNAL');
});

test('values are checked on the way in', () => {
  const writer = new CommandWriter();
  const grant = { kind: 'grant', session: 0, bytes: 1, exposureLimit: 1n } as const;
  const wrong = [
    { ...grant, session: -1 },
    { ...grant, session: 2 ** 32 },
    { ...grant, session: 0.5 },
    { ...grant, bytes: 2 ** 53 },
    { ...grant, exposureLimit: 1n << 96n },
    { ...grant, exposureLimit: -1n },
    { kind: 'adopt', channel: 0, row: new Uint8Array(75) } as const,
    { kind: 'note', space: 65_536, key: new Uint8Array(32) } as const,
    { kind: 'note', space: 1, key: new Uint8Array(31), value: new Uint8Array(9) } as const,
  ];
  for (const command of wrong) {
    expect(() => writer.add([grant, command])).toThrowError(
      expect.objectContaining({ code: 'BAD_ARGUMENT' }) as Error,
    );
  }
  expect([writer.count, writer.blobBytes], 'all or nothing').toEqual([0, 0]);
  writer.add([grant]);
  const { commands } = writer.finish();
  expect(commands.length).toBe(Binding.record('grant').stride);
});
