/**
 * The life of cheques with real signatures against the vault contracts on a Berlin chain: deposit, issue, receive,
 * verify, cash, the next cheque, another token, restarts. About 15 s.
 */
import { expect, test } from 'vitest';
import * as Cheques from '../../../src/settlement/vaults/cheque.js';
import * as ChequeJson from '../../../src/settlement/vaults/cheque-json.js';
import { BTT, code, issuer, LIMITS, name, party, stage } from './support.js';

const on = stage();

test('deposit, issue, receive, cash, and the next cheque, to the wei', async () => {
  const { vaults, ground } = on;
  const [issuing, earning] = [ground.accounts[1]!, ground.accounts[2]!];
  const vault = await vaults.makeVault(issuing.address);
  await vaults.mint(vaults.wbtt, issuing.address, 9_000n * BTT);
  await vaults.send(issuing.address, vaults.wbtt, 'approve', vault, 9_000n * BTT);
  await vaults.send(issuing.address, vault, 'deposit', 9_000n * BTT);
  const payer = await party(on, issuing);
  let payee = await party(on, earning);
  const to = { vault: name(vault), beneficiary: name(earning.address) };

  const first = await payer.vaults.issue({ ...to, amount: String(2_000n * BTT + 7n) });
  expect(first.cumulativePayout).toBe(String(2_000n * BTT + 7n));
  expect(await code(payee.vaults.receive(first))).toBe('VAULT_UNTRUSTED');
  const trusted = await payee.vaults.trust({ vault: name(vault) });
  expect([trusted.issuer, trusted.trusted, trusted.credit]).toEqual([
    name(issuing.address),
    true,
    'unsecured',
  ]);
  const received = await payee.vaults.receive(first);
  expect([received.raised, received.outstanding]).toEqual([first.cumulativePayout, first.cumulativePayout]);
  // Its acknowledgement was lost: it comes again.
  expect((await payee.vaults.receive(first)).raised).toBe('0');

  const second = await payer.vaults.issue({ ...to, amount: String(500n * BTT) });
  expect(second.cumulativePayout).toBe(String(2_500n * BTT + 7n));
  expect((await payee.vaults.receive(second)).raised).toBe(String(500n * BTT));
  expect(await code(payee.vaults.receive(first))).toBe('CHEQUE_REFUSED');

  const before = await vaults.balance(vaults.wbtt, earning.address);
  const dry = await payee.vaults.cash({ dryRun: true });
  expect(dry.cashed.map(({ value, transaction }) => [value, transaction])).toEqual([
    [second.cumulativePayout, undefined],
  ]);
  const feeGas = BigInt(dry.cashed[0]!.expectedFee) / 300_000_000_000_000n;
  expect(feeGas).toBeGreaterThan(60_000n);
  expect(feeGas).toBeLessThan(127_000n);
  expect(await vaults.balance(vaults.wbtt, earning.address)).toBe(before);

  const report = await payee.vaults.cash({});
  expect(report.cashed.map((one) => one.received)).toEqual([second.cumulativePayout]);
  expect(await vaults.balance(vaults.wbtt, earning.address)).toBe(before + 2_500n * BTT + 7n);
  expect(await vaults.view(vault, 'paidOut', earning.address)).toBe(2_500n * BTT + 7n);
  expect(await payee.vaults.cash({ force: true })).toEqual({ cashed: [], skipped: [] });

  payee = await payee.again();
  const shown = await payee.vaults.show(name(vault));
  expect(shown.debts.map(({ outstanding, paidOut }) => [outstanding, paidOut])).toEqual([
    ['0', second.cumulativePayout],
  ]);
  expect(await code(payee.vaults.receive(first))).toBe('CHEQUE_REFUSED');
  expect((await payee.vaults.receive(second)).raised).toBe('0');
  const third = await payer.vaults.issue({ ...to, amount: '1' });
  expect((await payee.vaults.receive(third)).raised).toBe('1');
  expect((await payee.vaults.cash({})).skipped.map(({ reason }) => reason)).toEqual(['below_cost']);
  expect((await payee.vaults.cash({ force: true })).cashed[0]!.received).toBe('1');
  expect((await payee.vaults.list()).totals[0]!.outstanding).toBe('0');
  expect(payee.events).toEqual([]);
  await Promise.all([payer.close(), payee.close()]);
});

test('another token has its own type of cheque, its own limits and its own account', async () => {
  const { vaults, ground } = on;
  const [issuing, earning] = [ground.accounts[1]!, ground.accounts[2]!];
  const its = await issuer(on, issuing, 500n * BTT);
  await vaults.mint(vaults.usdt, its.vault, 5_000_000n);
  const usdt = name(vaults.usdt);
  const payee = await party(on, earning, { ...LIMITS, vaultLimit: `100000BTT,${usdt}=4000000wei` });
  await payee.vaults.trust({ vault: name(its.vault), limit: `1000BTT,${usdt}=3000000wei` });

  const cheque = its.cheque(earning.address, 3_000_000n, vaults.usdt);
  expect((await payee.vaults.receive({ cheque })).outstanding).toBe('3000000');
  expect(
    await code(payee.vaults.receive({ cheque: its.cheque(earning.address, 3_000_001n, vaults.usdt) })),
  ).toBe('CREDIT_LIMIT');
  // A cheque is only good for the token it was signed for.
  const read = ChequeJson.read(cheque);
  const other = ChequeJson.write({ ...read, token: vaults.wbtt });
  expect(await code(payee.vaults.receive({ cheque: other }))).toBe('CHEQUE_REFUSED');
  const plain = ChequeJson.read(its.cheque(earning.address, 3_000_000n));
  const moved = ChequeJson.write({ ...plain, token: vaults.usdt, cumulativePayout: 3_000_001n });
  expect(await code(payee.vaults.receive({ cheque: moved }))).toBe('CHEQUE_REFUSED');
  expect((await payee.vaults.receive({ cheque: its.cheque(earning.address, 5n * BTT) })).outstanding).toBe(
    String(5n * BTT),
  );

  const report = await payee.vaults.cash({ vault: name(its.vault), to: name(ground.accounts[7]!.address) });
  expect(report.cashed.map(({ token, received }) => [token, received])).toEqual([[usdt, '3000000']]);
  expect(report.skipped.map(({ reason }) => reason)).toEqual(['below_cost']);
  expect(await vaults.balance(vaults.usdt, ground.accounts[7]!.address)).toBe(3_000_000n);
  expect(await vaults.view(its.vault, 'multiTokensPaidOut', vaults.usdt, earning.address)).toBe(3_000_000n);
  await payee.close();
});

test('only a cheque to us, of a trusted vault, by its issuer, for this chain, is taken', async () => {
  const { vaults, ground } = on;
  const [issuing, earning, stranger] = [1, 2, 3].map((at) => ground.accounts[at]!);
  const its = await issuer(on, issuing!, 500n * BTT);
  const theirs = await issuer(on, stranger!, 500n * BTT);
  const payee = await party(on, earning!);
  await payee.vaults.trust({ vault: name(its.vault) });
  const take = (cheque: string) => code(payee.vaults.receive({ cheque }));
  const sign = (some: Partial<Cheques.Cheque>, by = issuing!, chainId = ground.domain.chainId) => {
    const fields = {
      token: vaults.wbtt,
      vault: its.vault,
      beneficiary: earning!.address,
      cumulativePayout: 9n,
      ...some,
    };
    return ChequeJson.write(Cheques.sign(fields, { chainId, wbtt: vaults.wbtt }, by));
  };
  expect(await take(theirs.cheque(earning!.address, 9n))).toBe('VAULT_UNTRUSTED');
  expect(await take(sign({ beneficiary: stranger!.address }))).toBe('CHEQUE_REFUSED');
  expect(await take(sign({}, stranger))).toBe('CHEQUE_REFUSED');
  expect(await take(sign({}, issuing, 199n))).toBe('CHEQUE_REFUSED');
  expect(await take(sign({ cumulativePayout: 0n }))).toBe('CHEQUE_REFUSED');
  expect(await take(sign({ cumulativePayout: 500n * BTT + 1n }))).toBe('CHEQUE_REFUSED');
  expect(await take(sign({ token: vaults.usdt }))).toBe('CREDIT_LIMIT');
  expect(await take(sign({ cumulativePayout: 500n * BTT }))).toBe('fine');
  await payee.vaults.untrust({ vault: name(its.vault) });
  expect(await take(sign({ cumulativePayout: 500n * BTT + 1n }))).toBe('VAULT_UNTRUSTED');
  expect((await payee.vaults.cash({ force: true })).cashed[0]!.received).toBe(String(500n * BTT));
  await payee.close();
});

test('credit stays within each limit, over vaults and issuers, also when cheques come at once', async () => {
  const { ground } = on;
  const [ann, bob, earning] = [1, 3, 2].map((at) => ground.accounts[at]!);
  const [first, second, third] = [
    await issuer(on, ann!, 1_000n * BTT),
    await issuer(on, ann!, 1_000n * BTT),
    await issuer(on, bob!, 1_000n * BTT),
  ];
  const none = await party(on, earning!, {});
  await none.vaults.trust({ vault: name(first!.vault) });
  expect(await code(none.vaults.receive({ cheque: first!.cheque(earning!.address, 1n) }))).toBe(
    'CREDIT_LIMIT',
  );
  const payee = await none.again({ vaultLimit: '100BTT', vaultIssuerLimit: '60BTT' });
  for (const its of [second, third]) await payee.vaults.trust({ vault: name(its!.vault) });
  const cheques = [first, second, third].flatMap((its) =>
    Array.from({ length: 10 }, (_, at) => its!.cheque(earning!.address, BigInt(at + 1) * 7n * BTT)),
  );
  const ends = await Promise.all(cheques.map((cheque) => code(payee.vaults.receive({ cheque }))));
  expect(new Set(ends)).toEqual(new Set(['fine', 'CREDIT_LIMIT']));
  const { totals, vaults } = await payee.vaults.list();
  const of = (issuerName: string) =>
    vaults
      .filter((one) => one.issuer === issuerName)
      .flatMap(({ debts }) => debts)
      .reduce((sum, { outstanding }) => sum + BigInt(outstanding), 0n);
  expect(of(name(ann!.address))).toBe(56n * BTT);
  expect(of(name(bob!.address))).toBe(42n * BTT);
  expect(totals[0]!.outstanding).toBe(String(98n * BTT));
  expect(totals[0]!.limit).toBe(String(100n * BTT));
  const again = await payee.again({ vaultLimit: '100BTT', vaultIssuerLimit: '60BTT' });
  expect((await again.vaults.list()).totals[0]!.outstanding).toBe(String(98n * BTT));
  await again.close();
});

test('an issuer never promises more than its vault holds, and goes on from what was paid out', async () => {
  const { ground } = on;
  const [issuing, earning, other] = [1, 2, 4].map((at) => ground.accounts[at]!);
  const its = await issuer(on, issuing!, 1_000n * BTT);
  let payer = await party(on, issuing!);
  const give = (to: Uint8Array, amount: bigint) =>
    payer.vaults.issue({ vault: name(its.vault), beneficiary: name(to), amount: String(amount) });
  await give(earning!.address, 600n * BTT);
  expect(await code(give(other!.address, 401n * BTT))).toBe('VAULT_SHORT');
  const { cheque } = await give(other!.address, 400n * BTT);
  payer = await payer.again();
  expect(await code(give(earning!.address, 1n))).toBe('VAULT_SHORT');
  expect((await payer.vaults.show(name(its.vault))).issued.map((one) => one.cheque)).toContain(cheque);
  const payee = await party(on, other!);
  expect(
    await code(
      payee.vaults.issue({ vault: name(its.vault), beneficiary: name(other!.address), amount: '1' }),
    ),
  ).toBe('BAD_ARGUMENT');
  await payee.vaults.trust({ vault: name(its.vault) });
  await payee.vaults.receive({ cheque });
  await payee.vaults.cash({ force: true });
  await payer.close();
  // All its records lost: what is paid out is not promised again.
  payer = await party(on, issuing!);
  expect((await give(other!.address, 1n)).cumulativePayout).toBe(String(400n * BTT + 1n));
  await Promise.all([payer.close(), payee.close()]);
});

test('a vault and its money count once they are confirmed, and no longer once they are gone', async () => {
  const { vaults, ground } = on;
  const [issuing, earning] = [ground.accounts[1]!, ground.accounts[2]!];
  const confirm = () => ground.ask('anvil_mine', '0x28');
  await confirm();
  const payee = await party(on, earning, { ...LIMITS, confirmations: 40 });
  const its = await issuer(on, issuing, 100n * BTT);
  const take = (payout: bigint) =>
    code(payee.vaults.receive({ cheque: its.cheque(earning.address, payout * BTT) }));
  expect(await code(payee.vaults.trust({ vault: name(its.vault) }))).toBe('VAULT_MISMATCH');
  await confirm();
  await payee.vaults.trust({ vault: name(its.vault) });
  await vaults.mint(vaults.wbtt, its.vault, 50n * BTT);
  expect(await take(101n)).toBe('CHEQUE_REFUSED');
  await confirm();
  await its.withdraw(75n * BTT);
  expect(await take(76n)).toBe('CHEQUE_REFUSED');
  expect(await take(75n)).toBe('fine');
  await payee.close();
});
