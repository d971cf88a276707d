/** File systems of a chosen size that can be filled and made read-only. Mounting them takes root. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';

export interface Tmpfs {
  readonly path: string;
  /** Changes the size, in KiB. */
  resize(sizeKib: number): void;
  readOnly(on: boolean): void;
  /** Takes all space that is left; `free` gives it back. */
  fill(): void;
  free(): void;
  unmount(): void;
}

export function mount(sizeKib: number): Tmpfs {
  const path = mkdtempSync(join(tmpdir(), 'piecework-tmpfs-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeKib}k`, 'tmpfs', path]);
  const remount = (option: string): void => {
    execFileSync('mount', ['-o', `remount,${option}`, path]);
  };
  const filler = join(path, 'filler');
  return {
    path,
    resize: (kib) => remount(`size=${kib}k`),
    readOnly: (on) => remount(on ? 'ro' : 'rw'),
    fill() {
      for (const size of [1 << 20, 1 << 12]) {
        try {
          for (;;) writeFileSync(filler, Buffer.alloc(size), { flag: 'a' });
        } catch {
          // Full, or full enough for the next size.
        }
      }
    },
    free: () => rmSync(filler, { force: true }),
    unmount() {
      spawnSync('umount', ['-l', path]);
      rmSync(path, { recursive: true, force: true });
    },
  };
}

const MAY_MOUNT = process.getuid?.() === 0 && process.platform === 'linux' && trial();
const REASON = 'mounting a tmpfs takes root on Linux';

function trial(): boolean {
  try {
    mount(64).unmount();
    return true;
  } catch {
    return false;
  }
}

/**
 * A test that mounts. Where that is not possible it is skipped, saying why; with PIECEWORK_REQUIRE_PEERS=1, which
 * asks for every test that needs something of the machine, it fails instead.
 */
export function testWithMounts(name: string, body: () => Promise<void>, timeoutMs?: number): void {
  if (MAY_MOUNT) return test(name, body, timeoutMs);
  if (process.env['PIECEWORK_REQUIRE_PEERS'] === '1') {
    return test(name, () => {
      throw new Error(REASON);
    });
  }
  test.skip(`${name} (${REASON})`, () => {});
}
