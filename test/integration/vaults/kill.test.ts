/**
 * No cheque is lost between receiving and acknowledging it, and a cash-out that was cut off is one cash-out: a sample
 * of the kill points of `npm run soak:vaults`. About 20 s.
 */
import { expect, test } from 'vitest';
import { chance, seedFromEnvironment } from '../../support/chance.js';
import { BTT, issuer, LIMITS, name, party, prepareKills, stage } from './support.js';

const on = stage();
const POINTS = 3;

test('a payee killed while it receives holds every cheque that it acknowledged', async () => {
  const seed = seedFromEnvironment();
  const draw = chance(seed);
  const { kills, held } = await prepareKills(on, 8);
  try {
    for (let point = 0; point < POINTS; point++) {
      const step = 1 + Math.floor(((point + draw.below(100) / 100) * kills.steps) / POINTS);
      const mode = draw.pick(['before', 'half', 'after'] as const);
      expect(await kills.tryAt(Math.min(step, kills.steps), mode, held), `seed ${seed}`).toBeUndefined();
    }
    console.log(
      `seed ${seed}: ${kills.kills} kills of ${kills.steps} steps, ${kills.acknowledged} acknowledged`,
    );
    expect(kills.kills).toBe(POINTS);
    expect(kills.acknowledged).toBeGreaterThan(0);
  } finally {
    kills.close();
  }
}, 180_000);

test('a cash-out cut off between broadcast and receipt pays once', async () => {
  const { vaults, ground } = on;
  const earning = ground.accounts[2]!;
  const its = await issuer(on, ground.accounts[1]!, 500n * BTT);
  let payee = await party(on, earning, LIMITS);
  await payee.vaults.trust({ vault: name(its.vault) });
  await payee.vaults.receive({ cheque: its.cheque(earning.address, 70n * BTT) });
  const nonce = (state: string) =>
    ground.ask('eth_getTransactionCount', name(earning.address), state).then((count) => Number(count));
  const [before, sent] = [await vaults.balance(vaults.wbtt, earning.address), await nonce('latest')];
  await ground.ask('evm_setAutomine', false);
  await ground.ask('evm_setIntervalMining', 0);
  const cut = payee.vaults.cash({ force: true }).catch((thrown: unknown) => thrown);
  while ((await nonce('pending')) === sent) await new Promise((resolve) => setTimeout(resolve, 10));
  await payee.close();
  expect(await cut).toMatchObject({ code: 'INTERRUPTED' });
  expect(await nonce('latest')).toBe(sent);
  await ground.ask('evm_setAutomine', true);
  await ground.ask('anvil_mine', '0x1');
  payee = await party(on, earning, LIMITS, payee.home);
  expect((await payee.vaults.cash({ force: true })).cashed).toEqual([]);
  expect(await nonce('pending')).toBe(sent + 1);
  expect(await vaults.balance(vaults.wbtt, earning.address)).toBe(before + 70n * BTT);
  expect((await payee.vaults.list()).vaults[0]!.debts[0]!.outstanding).toBe('0');
  await payee.close();
});
