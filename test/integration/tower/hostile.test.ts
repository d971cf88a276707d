/**
 * A client that does all it can with a token of its own, 100,000 rows of every bad kind: what it costs is bounded,
 * no gas is spent, and the claims of another client are held and settled all the same. About 15 s.
 */
import { randomBytes } from 'node:crypto';
import { getBytes } from 'ethers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { formatAddress } from '../../../src/channels/channel.js';
import { Ledger } from '../../../src/ledger/ledger.js';
import * as limits from '../../../src/limits.js';
import { call } from '../../../src/native/binding.js';
import { lastSequence } from '../../support/engines.js';
import { type Ground, layGround } from '../../support/ground.js';
import { openByHand, startTower, type TowerParty } from '../../support/towers.js';
import { BTT, until } from '../settlement/support.js';

const ROWS = 100_000;
const DEPOSIT = 1_000n * BTT;
let ground: Ground;
let party: TowerParty;

beforeAll(async () => {
  ground = await layGround();
  party = await startTower(ground, { account: ground.accounts[3]!, clients: ['box', 'hostile'] });
});
afterAll(async () => {
  await party?.close();
  await ground.stop();
});

it('costs bounded work and memory and no gas, and takes nothing from an honest client', async () => {
  const payee = new Uint8Array(20).fill(0x31);
  const [honest, own] = await openByHand(ground, payee, [DEPOSIT, DEPOSIT]);
  const [box, hostile] = [party.client('box'), party.client('hostile')];
  await box.pushed(payee, [await honest!.row(600n * BTT)]);
  const gasBefore = await ground.balance(ground.accounts[3]!.address);

  // Well signed rows of channels that do not exist, for this hub and for another.
  const { hub, chainId } = ground.domain;
  const domain = call((addon) => addon.domainSeparator(chainId, hub));
  const elsewhere = call((addon) => addon.domainSeparator(1n, hub));
  const signed = (separator: Uint8Array): Uint8Array =>
    call((addon) => addon.signVoucher(separator, new Uint8Array(randomBytes(32)), payee, 5n));
  const higher = await own!.row(9n);
  const kinds: ReadonlyArray<() => Uint8Array> = [
    () => new Uint8Array(randomBytes(76)),
    () => signed(domain),
    () => signed(elsewhere),
    () => getBytes(`0x${'00'.repeat(76)}`),
    () => higher,
  ];
  const batches = Array.from({ length: 4 * kinds.length }, (_, at) =>
    Array.from({ length: limits.towerRowsPerRequestMax }, kinds[at % kinds.length]!),
  );
  const answers = new Map<string, number>();
  const heapBefore = process.memoryUsage().heapUsed;
  const beginMs = performance.now();
  let sent = 0;
  for (let at = 0; sent < ROWS; at++) {
    // Another payee each time it may: it finds neither more room nor more channels.
    const response = await hostile.push(
      at % 7 === 0 ? new Uint8Array(randomBytes(20)) : payee,
      batches[at % batches.length]!,
    );
    sent += limits.towerRowsPerRequestMax;
    const body = (await response.json()) as { code?: string; claims?: Array<{ status: string }> };
    for (const { status } of body.claims ?? []) answers.set(status, (answers.get(status) ?? 0) + 1);
    if (body.code !== undefined) answers.set(body.code, (answers.get(body.code) ?? 0) + 1);
  }
  const looked = [...answers].reduce((sum, [name, n]) => (name === name.toLowerCase() ? sum + n : sum), 0);
  expect(sent).toBeGreaterThanOrEqual(ROWS);
  // Some were looked at, and most were refused before anybody looked.
  expect(looked).toBeGreaterThan(limits.towerRowsPerRequestMax);
  const seconds = (performance.now() - beginMs) / 1_000;
  expect(looked).toBeLessThanOrEqual(limits.towerRowBurstMax + seconds * limits.towerRowsPerSecondMax);
  expect(answers.get('TOO_MANY_REQUESTS')).toBeGreaterThan(ROWS / limits.towerRowsPerRequestMax / 2);
  expect(answers.get('unknown_channel')).toBeGreaterThan(0);
  expect(answers.get('bad_range')).toBeGreaterThan(0);
  const held = await hostile.claims();
  expect(held.length).toBeLessThanOrEqual(1);
  expect(process.memoryUsage().heapUsed - heapBefore).toBeLessThan(200 * 1024 * 1024);
  expect(await ground.balance(ground.accounts[3]!.address)).toBe(gasBefore);

  // A lower row of the honest channel, which it may have seen: it makes a claim of its own and lowers nothing.
  await until(async () => (await hostile.push(payee, [await honest!.row(1n * BTT)])).status === 200);
  await honest!.requestClose();
  await until(async () => (await ground.hub.credit(payee)) === 600n * BTT);
  const { clients } = await party.tower.status();
  const spent = new Map(clients.map(({ name, gasToday }) => [name, BigInt(gasToday)]));
  // At worst its own lower row was settled first, at its own expense.
  expect(spent.get('box')).toBeGreaterThan(0n);
  expect(spent.get('hostile')).toBeLessThan(25n * BTT);
}, 120_000);

it('stores nothing again for rows that are held, and at most its share of channels and payees', async () => {
  const payees = Array.from({ length: limits.towerPayeesPerClientMax + 1 }, (_, at) =>
    new Uint8Array(20).fill(0x40 + at),
  );
  const other = await startTower(ground, { account: ground.accounts[4]!, clients: ['box'] });
  try {
    const box = other.client('box');
    const channels = [];
    for (const payee of payees) channels.push((await openByHand(ground, payee, [DEPOSIT]))[0]!);
    const statuses: string[] = [];
    for (const channel of channels) {
      const { claims } = await box.pushed(channel.payee, [await channel.row(5n)]);
      statuses.push(claims[0]!.status);
    }
    expect(statuses).toEqual([...Array(limits.towerPayeesPerClientMax).fill('held'), 'full']);
    const folder = Ledger.folder(other.home, ground.domain.chainId, ground.domain.hub);
    const before = lastSequence(folder);
    for (let again = 0; again < 3; again++) await box.pushed(payees[0]!, [await channels[0]!.row(5n)]);
    expect(lastSequence(folder)).toBe(before);
    await box.pushed(payees[0]!, [await channels[0]!.row(6n)]);
    expect(lastSequence(folder)).toBe(before + 1);
    expect((await box.claims())[0]).toMatchObject({ payee: formatAddress(payees[0]!), amount: '6' });
  } finally {
    await other.close();
  }
}, 120_000);
