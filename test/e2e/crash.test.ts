/**
 * kill -9 of payee and payer: a short form of `npm run soak:crash`, about 40 s, and what the harness must
 * catch, about 8 s. PIECEWORK_SEED repeats a plan.
 */
import { cpSync, openSync, readdirSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { inline } from '../../src/native/executor.js';
import { chance, seedFromEnvironment } from '../support/chance.js';
import { Broken, ledgerFolder } from '../support/crash-books.js';
import { writePayload } from '../support/crash-payload.js';
import { run } from '../support/crash-process.js';
import { tell } from '../support/crash-report.js';
import { crash } from '../support/crash-run.js';
import { Stage } from '../support/crash-stage.js';
import { makeWorld } from '../support/crash-world.js';

test('ten kills lose nothing that was acknowledged and pay nothing twice', { timeout: 300_000 }, async () => {
  const report = await crash({ seed: seedFromEnvironment(), kills: 10, killsPerTransfer: 7 });
  console.log(tell(report));
  expect(report.kills).toBeGreaterThanOrEqual(10);
  const transfers = ['payee transfer', 'payer transfer'].map((name) => report.killsBy.get(name) ?? 0);
  expect(Math.min(...transfers), 'kills of each side in a transfer').toBeGreaterThan(0);
});

test('a lost voucher and a lost piece are noticed', { timeout: 120_000 }, async () => {
  const world = await makeWorld();
  const executor = inline();
  const journal = ledgerFolder(world, world.payee);
  const older = join(world.folder, 'older');
  const sabotage = async (at: Stage, [victim]: readonly string[]): Promise<void> => {
    if (victim === 'payee') {
      rmSync(journal, { recursive: true });
      cpSync(older, journal, { recursive: true });
    } else spoil(at.downloads);
  };
  const stage = new Stage(world, executor, { sabotage });
  try {
    stage.turnTo('canary');
    writePayload(stage.sources, chance(1));
    await stage.startPayee();
    stage.spawn('payer');
    await stage.reach(() => stage.acks > 5);
    cpSync(journal, older, { recursive: true });
    const { acks } = stage;
    await stage.reach(() => stage.acks > acks + 10);
    const noPiece = stage.kill('transfer', ['payer']);
    await expect(noPiece).rejects.toThrow(Broken);
    await expect(noPiece).rejects.toThrow(/paid \d+ bytes and has \d+/);
    const noVoucher = stage.kill('transfer', ['payee']);
    await expect(noVoucher).rejects.toThrow(Broken);
    await expect(noVoucher).rejects.toThrow(/was acknowledged/);
  } finally {
    await stage.end();
    await executor.close();
    await world.close();
  }
});

test('a close that a crash made the payee forget is not sent again', { timeout: 120_000 }, async () => {
  const world = await makeWorld();
  const executor = inline();
  const stage = new Stage(world, executor);
  const journal = ledgerFolder(world, world.payee);
  const older = join(world.folder, 'older');
  try {
    stage.turnTo('closing');
    writePayload(stage.sources, chance(2));
    await stage.startPayee();
    stage.spawn('payer');
    await stage.finish();
    cpSync(journal, older, { recursive: true });
    expect((await stage.daemon.settle({ close: true })).transactions).toHaveLength(1);
    await stage.kill('settling', ['payee']);
    rmSync(journal, { recursive: true });
    cpSync(older, journal, { recursive: true });
    // A daemon would look at its channels first; a command has only what the ledger says.
    const [again] = await run([...world.payee.flags, 'settle', '--close']);
    expect(again).toMatchObject({ transactions: [], closed: 0 });
  } finally {
    await stage.end();
    await executor.close();
    await world.close();
  }
});

/** Overwrites what was downloaded of the largest file, so that its pieces are not right any more. */
function spoil(folder: string): void {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort((a, b) => statSync(b).size - statSync(a).size);
  writeSync(openSync(files[0]!, 'r+'), Buffer.alloc(statSync(files[0]!).size), 0);
}
