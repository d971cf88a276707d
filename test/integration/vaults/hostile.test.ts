/**
 * Vaults that mean ill: those that lie are refused before any credit, those that turn later cost at most the limit,
 * and what they still hold is fetched. About 20 s.
 */
import { toQuantity } from 'ethers';
import { expect, test } from 'vitest';
import { BTT, code, GAS_PRICE, issuer, LIMITS, name, party, stage } from './support.js';

const on = stage();

test('a vault is not trusted for what it says of itself', async () => {
  const { vaults, ground } = on;
  const [issuing, earning] = [ground.accounts[1]!, ground.accounts[2]!];
  const payee = await party(on, earning);
  const liar = await issuer(on, issuing, 0n, await vaults.deploy('LyingLogic', vaults.logic));
  // Everything that go-btfs asks is answered as by an honest vault.
  expect(await vaults.view(vaults.factory, 'deployedContracts', liar.vault)).toBe(1n);
  expect(await vaults.view(liar.vault, 'implementation')).toBe(BigInt(name(vaults.logic)));
  expect(await vaults.view(liar.vault, 'totalbalance')).toBeGreaterThan(10n ** 70n);
  const trust = (vault: Uint8Array) => code(payee.vaults.trust({ vault: name(vault) }));
  expect(await trust(liar.vault)).toBe('VAULT_MISMATCH');

  const fake = await vaults.deploy('FakeProxy', vaults.logic, issuing.address, vaults.wbtt);
  expect(await trust(fake)).toBe('VAULT_MISMATCH');
  const foreign = await vaults.deploy('VaultFactory');
  const data = vaults.abi.encodeFunctionData('init', [name(issuing.address), name(vaults.wbtt)]);
  await vaults.send(
    issuing.address,
    foreign,
    'deployVault',
    issuing.address,
    vaults.logic,
    `0x${'00'.repeat(32)}`,
    'x',
    data,
  );
  const clone = `0x${(await vaults.view(foreign, 'peerVaultAddress', 'x')).toString(16).padStart(40, '0')}`;
  expect(await code(payee.vaults.trust({ vault: clone }))).toBe('VAULT_MISMATCH');
  expect(await trust(vaults.logic)).toBe('VAULT_MISMATCH');
  expect(await trust(ground.accounts[9]!.address)).toBe('VAULT_MISMATCH');
  expect(await code(payee.vaults.receive({ cheque: liar.cheque(earning.address, 1n) }))).toBe(
    'VAULT_UNTRUSTED',
  );
  expect((await payee.vaults.list()).vaults).toEqual([]);

  // An honest logic, made for another token: it would pay the plain cheque in that token.
  const odd = await vaults.makeVault(issuing.address, vaults.logic, vaults.usdt);
  expect(await trust(odd)).toBe('VAULT_MISMATCH');
  expect(await trust(await vaults.makeVault(issuing.address))).toBe('fine');
  await payee.close();
});

test('a withdrawal under outstanding cheques freezes the issuer, and the best rung that is left is fetched', async () => {
  const { vaults, ground } = on;
  const [issuing, earning] = [ground.accounts[1]!, ground.accounts[2]!];
  const limit = 9_000n * BTT;
  const its = await issuer(on, issuing, 20_000n * BTT);
  let payee = await party(on, earning, { vaultLimit: '9000BTT', vaultIssuerLimit: '9000BTT' });
  await payee.vaults.trust({ vault: name(its.vault) });
  let payout = 100n * BTT;
  const payouts: bigint[] = [];
  for (; payout <= limit; payout += payout / 9n) {
    await payee.vaults.receive({ cheque: its.cheque(earning.address, payout) });
    payouts.push(payout);
  }
  const accepted = payouts.at(-1)!;
  expect(await code(payee.vaults.receive({ cheque: its.cheque(earning.address, limit + 1n) }))).toBe(
    'CREDIT_LIMIT',
  );
  payee = await payee.again();
  expect((await payee.vaults.list()).vaults[0]!.debts[0]!.rungs).toBeLessThan(payouts.length);

  const left = 3_333n * BTT;
  await its.withdraw(20_000n * BTT - left);
  const before = await vaults.balance(vaults.wbtt, earning.address);
  await payee.vaults.look();
  const saved = (await vaults.balance(vaults.wbtt, earning.address)) - before;
  // All or nothing for each cheque: 80 % of what any cheque ever received could have fetched.
  const could = payouts.findLast((one) => one <= left)!;
  expect(saved * 5n).toBeGreaterThanOrEqual(could * 4n);
  expect(saved).toBeLessThanOrEqual(left);
  expect(payee.events.filter(({ level }) => level === 'error').map(({ text }) => text)).toEqual([
    expect.stringContaining('is frozen: short'),
  ]);
  const view = (await payee.vaults.list()).vaults[0]!;
  expect(view.frozen).toContain('short');
  const loss = BigInt(view.debts[0]!.outstanding);
  expect(loss).toBe(accepted - saved);
  expect(loss).toBeLessThanOrEqual(limit);
  console.log(
    `withdrawal: accepted ${accepted / BTT}, saved ${saved / BTT}, lost ${loss / BTT}, limit 9000 BTT`,
  );

  expect(await code(payee.vaults.receive({ cheque: its.cheque(earning.address, accepted + 1n) }))).toBe(
    'VAULT_FROZEN',
  );
  expect(await code(payee.vaults.trust({ vault: name(its.vault) }))).toBe('VAULT_SHORT');
  // The loss takes its room of the limits until it is written off; cheques of it are still cashed.
  const off = await payee.vaults.untrust({ vault: name(its.vault), writeOff: true });
  expect([off.writtenOff, off.trusted]).toEqual([true, false]);
  payee = await payee.again(LIMITS);
  const [total] = (await payee.vaults.list()).totals;
  expect([total!.outstanding, total!.writtenOff]).toEqual(['0', String(loss)]);
  const more = its.cheque(earning.address, accepted + 1n);
  expect(await code(payee.vaults.receive({ cheque: more }))).toBe('VAULT_UNTRUSTED');
  const second = await issuer(on, issuing, 9_000n * BTT);
  await payee.vaults.trust({ vault: name(second.vault) });
  expect(await code(payee.vaults.receive({ cheque: second.cheque(earning.address, 1n) }))).toBe(
    'VAULT_FROZEN',
  );
  // Put in order, it can be trusted again, and pays.
  await vaults.mint(vaults.wbtt, its.vault, loss);
  await payee.vaults.trust({ vault: name(its.vault) });
  expect((await payee.vaults.cash({ force: true })).cashed[0]!.received).toBe(String(loss));
  await payee.close();
});

test('money taken that still leaves enough freezes too, and everything is fetched; payouts to others do not', async () => {
  const { vaults, ground } = on;
  const [issuing, earning, other] = [1, 2, 4].map((at) => ground.accounts[at]!);
  const its = await issuer(on, issuing!, 1_000n * BTT);
  const payee = await party(on, earning!);
  const friend = await party(on, other!);
  for (const one of [payee, friend]) await one.vaults.trust({ vault: name(its.vault) });
  await payee.vaults.receive({ cheque: its.cheque(earning!.address, 100n * BTT) });
  await friend.vaults.receive({ cheque: its.cheque(other!.address, 300n * BTT) });
  await friend.vaults.cash({ force: true });
  await payee.vaults.look();
  expect(payee.events).toEqual([]);
  await its.withdraw(1n);
  await payee.vaults.look();
  expect(payee.events.map(({ text }) => text)).toEqual([
    expect.stringContaining('withdrawal: its issuer took 1 of'),
    expect.stringContaining(`for ${100n * BTT} brought ${100n * BTT}`),
  ]);
  expect(await vaults.view(its.vault, 'paidOut', earning!.address)).toBe(100n * BTT);
  expect(await code(payee.vaults.receive({ cheque: its.cheque(earning!.address, 101n * BTT) }))).toBe(
    'VAULT_FROZEN',
  );
  await Promise.all([payee.close(), friend.close()]);
});

test('a withdrawal that overtakes a cash-out fails it: nothing counts as paid, and the next rung is fetched', async () => {
  const { vaults, ground } = on;
  const [issuing, earning] = [ground.accounts[1]!, ground.accounts[2]!];
  const its = await issuer(on, issuing, 1_000n * BTT);
  const payee = await party(on, earning);
  await payee.vaults.trust({ vault: name(its.vault) });
  for (const payout of [100n, 400n, 800n])
    await payee.vaults.receive({ cheque: its.cheque(earning.address, payout * BTT) });
  const waiting = async (): Promise<boolean> => {
    const [mined, all] = await Promise.all(
      ['latest', 'pending'].map((state) =>
        ground.ask('eth_getTransactionCount', name(earning.address), state).then((count) => Number(count)),
      ),
    );
    return all! > mined!;
  };
  await ground.ask('evm_setAutomine', false);
  await ground.ask('evm_setIntervalMining', 0);
  try {
    const cashing = payee.vaults.cash({ force: true });
    while (!(await waiting())) await new Promise((resolve) => setTimeout(resolve, 10));
    await ground.ask('eth_sendTransaction', {
      from: name(issuing.address),
      to: name(its.vault),
      data: vaults.abi.encodeFunctionData('withdraw', [700n * BTT]),
      gasPrice: toQuantity(GAS_PRICE * 2n),
    });
    await ground.ask('anvil_mine', '0x1');
    const { cashed, skipped } = await cashing;
    expect(cashed).toEqual([]);
    expect(skipped[0]!.reason).toContain('insufficient fund');
  } finally {
    await ground.ask('evm_setAutomine', true);
  }
  expect((await payee.vaults.list()).vaults[0]!.debts[0]!.outstanding).toBe(String(800n * BTT));
  expect((await payee.vaults.cash({ force: true })).cashed[0]!.received).toBe(String(100n * BTT));
  const view = (await payee.vaults.list()).vaults[0]!;
  expect([view.debts[0]!.outstanding, view.frozen]).toEqual([
    String(700n * BTT),
    expect.stringContaining('short'),
  ]);
  await payee.close();
});

test('an upgrade to theft code is seen before credit is raised, and costs at most the limit', async () => {
  const { vaults, ground } = on;
  const [issuing, earning] = [ground.accounts[1]!, ground.accounts[2]!];
  const limit = 2_000n * BTT;
  const its = await issuer(on, issuing, 9_000n * BTT);
  const second = await issuer(on, issuing, 9_000n * BTT);
  const payee = await party(on, earning, { vaultLimit: '2000BTT', vaultIssuerLimit: '2000BTT' });
  await payee.vaults.trust({ vault: name(its.vault) });
  await payee.vaults.trust({ vault: name(second.vault) });
  const accepted = 1_500n * BTT;
  await payee.vaults.receive({ cheque: its.cheque(earning.address, accepted) });
  const theft = await vaults.deploy('TheftLogic');
  await vaults.send(issuing.address, its.vault, 'upgradeTo', theft);

  // Seen by the next cheque, of any vault of this issuer, with no block's notice.
  expect(await code(payee.vaults.receive({ cheque: its.cheque(earning.address, accepted + 1n) }))).toBe(
    'VAULT_FROZEN',
  );
  expect(await code(payee.vaults.receive({ cheque: second.cheque(earning.address, 1n) }))).toBe(
    'VAULT_FROZEN',
  );
  expect(payee.events.map(({ text }) => text)).toEqual([expect.stringContaining('upgraded: its logic is')]);
  const before = await vaults.balance(vaults.wbtt, earning.address);
  const report = await payee.vaults.cash({});
  // It says that it paid; the token says that it did not.
  expect(await vaults.view(its.vault, 'paidOut', earning.address)).toBe(accepted);
  expect(report.cashed.map(({ value, received }) => [value, received])).toEqual([[String(accepted), '0']]);
  expect(await vaults.balance(vaults.wbtt, earning.address)).toBe(before);
  const list = await payee.vaults.list();
  expect(list.totals[0]!.outstanding).toBe(String(accepted));
  expect(accepted).toBeLessThanOrEqual(limit);
  expect((await payee.vaults.show(name(its.vault))).now.changed).toContain('its logic is');
  expect(await code(payee.vaults.trust({ vault: name(its.vault) }))).toBe('VAULT_MISMATCH');
  await payee.close();
});

test('other code at the address of the logic, of the proxy or of the vault itself is seen', async () => {
  const { vaults, ground } = on;
  const [issuing, earning] = [ground.accounts[1]!, ground.accounts[2]!];
  const its = await issuer(on, issuing, 9_000n * BTT);
  const settings = { ...LIMITS };
  const code_ = (at: Uint8Array) => ground.ask('eth_getCode', name(at), 'latest') as Promise<string>;
  const proxy = `0x${(await vaults.view(vaults.factory, 'master')).toString(16).padStart(40, '0')}`;
  const places: Array<[string, string, string]> = [
    [name(vaults.logic), `${await code_(vaults.logic)}00`, 'the code of its logic'],
    [proxy, `${(await ground.ask('eth_getCode', proxy, 'latest')) as string}00`, 'the code it is a clone of'],
    [name(its.vault), `${await code_(its.vault)}00`, 'its own code changed'],
  ];
  for (const [place, other, text] of places) {
    const payee = await party(on, earning, settings);
    await payee.vaults.trust({ vault: name(its.vault) });
    await payee.vaults.receive({ cheque: its.cheque(earning.address, BTT) });
    const real = await ground.ask('eth_getCode', place, 'latest');
    await ground.ask('anvil_setCode', place, other);
    expect(await code(payee.vaults.receive({ cheque: its.cheque(earning.address, 2n * BTT) }))).toBe(
      'VAULT_FROZEN',
    );
    expect(payee.events[0]!.text).toContain(text);
    await ground.ask('anvil_setCode', place, real);
    await payee.close();
  }
});
