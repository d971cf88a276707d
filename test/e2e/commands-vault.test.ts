/**
 * `piecework vault` through the built command line: trust, receive, issue, cash, with and without a running daemon,
 * and what it says when something is wrong. About 40 s.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hexlify } from 'ethers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type {
  CashReport,
  IssuedView,
  ReceivedView,
  VaultDetail,
  VaultListView,
  VaultView,
} from '../../src/engine/vaults/operations.js';
import type { ErrorCode } from '../../src/errors.js';
import { ask, type Home, run, settle, start, wrongEnd } from '../support/cli.js';
import { temporary } from '../support/engines.js';
import { type Ground, layGround } from '../support/ground.js';
import { layVaults, type VaultGround } from '../support/vaults.js';

const BTT = 10n ** 18n;
const place = temporary();
let ground: Ground;
let vaults: VaultGround;
let payer: Home;
let payee: Home;
let vault: string;

beforeAll(async () => {
  ground = await layGround();
  vaults = await layVaults(ground.rpcUrl, ground.accounts[0]!.address, 300_000_000_000_000n);
  payer = await settle(ground, join(place.path, 'payer'), 1_000n * BTT);
  payee = await settle(ground, join(place.path, 'payee'), 1_000n * BTT);
  for (const { dataDir } of [payer, payee]) {
    const limits = dataDir === payee.dataDir ? { vaultLimit: '5000BTT', vaultIssuerLimit: '4000BTT' } : {};
    writeFileSync(join(dataDir, 'config.json'), JSON.stringify({ ...vaults.settings, ...limits }));
  }
  const made = await vaults.makeVault(payer.address);
  await vaults.mint(vaults.wbtt, made, 9_000n * BTT);
  vault = hexlify(made);
}, 180_000);
afterAll(async () => {
  await ground?.stop();
  place.remove();
});

async function fails(args: readonly string[], code: ErrorCode): Promise<string> {
  const ran = await run(args);
  expect(wrongEnd(ran, code, false)).toEqual([]);
  return ran.stderr;
}

/** Issues a cheque and gives the file it is in. */
async function cheque(amount: string): Promise<string> {
  const args = [...payer.flags, 'vault', 'issue', vault, '--to', hexlify(payee.address), '--amount', amount];
  const { status, stdout } = await run(args);
  expect(status).toBe(0);
  const file = join(place.path, `${amount}.json`);
  writeFileSync(file, stdout);
  return file;
}

test('a cheque goes from issuer to payee to the chain', async () => {
  const file = await cheque('2500BTT');
  expect(readFileSync(file, 'utf8')).toMatch(
    /^\{"Token":"0x[0-9a-f]{40}","Vault":"0x[0-9a-f]{40}","Beneficiary":"0x[0-9a-f]{40}","CumulativePayout":2500000000000000000000,"Signature":"[A-Za-z0-9+/]{87}="\}\n$/,
  );
  expect(await fails([...payee.flags, 'vault', 'receive', file], 'VAULT_UNTRUSTED')).toContain('vault trust');
  const before = await ask<VaultDetail>([...payee.flags, 'vault', 'show', vault]);
  expect([before.trusted, before.issuer]).toEqual([false, hexlify(payer.address)]);
  const trusted = await run([...payee.flags, 'vault', 'trust', vault]);
  expect(trusted.stdout).toContain('trusted: UNSECURED credit');
  expect(trusted.stdout).toContain(before.logicCodeHash);

  const received = await run([...payee.flags, 'vault', 'receive', file]);
  expect([received.status, received.stdout]).toEqual([
    0,
    expect.stringContaining(`Accepted 2500 WBTT of UNSECURED credit to ${hexlify(payer.address)}`),
  ]);
  expect((await run([...payee.flags, 'vault', 'receive', file])).stdout).toContain('held already');
  const list = await run([...payee.flags, 'vault', 'list']);
  expect(list.stdout).toContain('owes 2500 WBTT of UNSECURED credit, 1 cheques held');
  expect(list.stdout).toContain('UNSECURED in all: 2500 WBTT, limit 5000 WBTT');

  const dry = await run([...payee.flags, 'vault', 'cash', '--dry-run']);
  expect(dry.stdout).toMatch(/^Would cash 2500 WBTT of vault 0x[0-9a-f]{40}, gas about \d+(\.\d+)? BTT\.$/m);
  expect(await vaults.balance(vaults.wbtt, payee.address)).toBe(0n);
  expect(await fails([...payee.flags, 'vault', 'cash', '--max-gas', '1BTT'], 'GAS_CEILING')).toContain(
    '1 BTT',
  );
  const report = await ask<CashReport>([...payee.flags, 'vault', 'cash']);
  expect(report.cashed.map(({ received: got }) => got)).toEqual([String(2_500n * BTT)]);
  expect(await vaults.balance(vaults.wbtt, payee.address)).toBe(2_500n * BTT);
  expect((await run([...payee.flags, 'vault', 'cash', '--force'])).stdout).toBe('Nothing to cash now.\n');
}, 120_000);

test('a running daemon answers the same commands, watches, and cashes by itself', async () => {
  const payload = join(place.path, 'film.bin');
  writeFileSync(payload, Buffer.alloc(65_536, 7));
  const daemon = start(['--json', ...payee.flags, 'seed', payload, '--host', '127.0.0.1', '--port', '0']);
  try {
    await daemon.until(({ event }) => event === 'seeding');
    await ask<VaultView>([...payee.flags, 'vault', 'trust', vault, '--limit', '4000BTT']);
    const file = await cheque('60BTT');
    const received = await ask<ReceivedView>([...payee.flags, 'vault', 'receive', file]);
    expect([received.raised, received.credit]).toEqual([String(60n * BTT), 'unsecured']);
    expect(await fails([...payee.flags, 'vault', 'receive', payload], 'CHEQUE_REFUSED')).toContain('JSON');
    const issued = await ask<IssuedView>([
      ...[...payer.flags, 'vault', 'issue', vault],
      ...['--to', hexlify(payee.address), '--amount', '5000BTT'],
    ]);
    const over = join(place.path, 'over.json');
    writeFileSync(over, issued.cheque);
    await fails([...payee.flags, 'vault', 'receive', over], 'CREDIT_LIMIT');

    // 60 BTT is above its gas and below fifty times that: it waits until the issuer takes its money out.
    const paid = await vaults.balance(vaults.wbtt, payee.address);
    await vaults.send(ground.accounts[0]!.address, vaults.wbtt, 'mint', vault, 1n);
    await ground.ask('anvil_impersonateAccount', hexlify(payer.address));
    await vaults.send(
      payer.address,
      new Uint8Array(Buffer.from(vault.slice(2), 'hex')),
      'withdraw',
      100n * BTT,
    );
    const deadline = performance.now() + 60_000;
    while ((await vaults.balance(vaults.wbtt, payee.address)) === paid && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await vaults.balance(vaults.wbtt, payee.address)).toBe(paid + 60n * BTT);
    const list = await ask<VaultListView>([...payee.flags, 'vault', 'list']);
    expect(list.vaults[0]!.frozen).toContain('withdrawal');
    await fails([...payee.flags, 'vault', 'receive', over], 'VAULT_FROZEN');
    expect((await run([...payee.flags, 'vault', 'show', vault])).stdout).toContain(
      'FROZEN: UNSECURED credit',
    );
  } finally {
    await daemon.stop();
  }
}, 180_000);

test('what is wrong is named', async () => {
  await fails([...payee.flags, 'vault', 'receive', join(place.path, 'nowhere.json')], 'BAD_ARGUMENT');
  await fails([...payee.flags, 'vault', 'trust', hexlify(vaults.logic)], 'VAULT_MISMATCH');
  await fails([...payee.flags, 'vault', 'trust', vault, '--limit', '5'], 'BAD_AMOUNT');
  await fails([...payee.flags, 'vault', 'cash', hexlify(vaults.logic)], 'NOT_FOUND');
  const issue = ['vault', 'issue', vault, '--to', hexlify(payee.address), '--amount'];
  await fails([...payee.flags, ...issue, '1BTT'], 'BAD_ARGUMENT');
  await fails([...payer.flags, ...issue, '90000BTT'], 'VAULT_SHORT');
  const bare = await settle(ground, join(place.path, 'bare'), 0n);
  await fails([...bare.flags, 'vault', 'trust', vault], 'BAD_CONFIG');
}, 120_000);
