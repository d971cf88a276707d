// Receives cheques one after the other and prints the number of each once it is acknowledged; killed on the way.
// Argument: a file of JSON with the settings of an engine, its private key, the vault and the cheques, and `early`
// for the canary that acknowledges before it receives.
import { readFileSync, writeSync } from 'node:fs';
import { load } from '../../../dist/config.js';
import { createEngine } from '../../../dist/engine.js';
import { Account } from '../../../dist/settlement/account.js';

const { settings, key, vault, cheques, early } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const account = new Account(new Uint8Array(Buffer.from(key, 'hex')));
const engine = await createEngine({ config: load(settings, {}), account, executor: 'inline' });
const [known] = (await engine.vaults.list()).vaults;
if (!known) await engine.vaults.trust({ vault });
const held = known?.debts[0]?.cumulativePayout ?? '0';
// Without a vault in the book this run only makes it: the kills are for what comes after.
for (const [at, { payout, cheque }] of (known ? cheques : []).entries()) {
  // What is held already and was perhaps never acknowledged is offered again, as an issuer would.
  if (BigInt(payout) < BigInt(held)) continue;
  if (early) writeSync(1, `${at + 1}\n`);
  await engine.vaults.receive({ cheque });
  if (!early) writeSync(1, `${at + 1}\n`);
}
await engine.close();
