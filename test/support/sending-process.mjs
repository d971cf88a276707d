/**
 * One settlement by a process of its own, with the engine's own ledger and sender, to be killed from outside.
 * It is told what to do by one JSON argument and prints one JSON line when it has come to the end.
 */
import { openChainSide } from '../../dist/engine/chain-side.js';
import { Ledger } from '../../dist/ledger/ledger.js';
import { inline } from '../../dist/native/executor.js';
import { Account } from '../../dist/settlement/account.js';
import { named } from '../../dist/settlement/profile.js';
import { fromHex } from '../../dist/units.js';

const TRANSACTION_SPACE = 1;
const { rpcUrl, chainId, hub, dataDir, privateKey, payee, row } = JSON.parse(process.argv[2]);
const profile = { ...named('local'), chainId: BigInt(chainId) };
const chain = { profile, rpcUrls: [rpcUrl], confirmations: 1, hub: fromHex(hub) };
const place = { dataDir, chainId: profile.chainId, hub: chain.hub, seed: new Uint8Array(32).fill(5) };
const executor = inline();
const ledger = await Ledger.open(executor, place);
const tiers = [{ confirmations: 1, depositMax: undefined }];
const side = openChainSide(chain, chain.hub, new Account(fromHex(privateKey)), ledger, tiers, () => {});
const ready = await side.ready();
const [call] = ready.escrow.settle(fromHex(payee), [fromHex(row)]);
const { hash } = await ready.send(call, undefined);
process.stdout.write(
  `${JSON.stringify({ hash, pending: (await ledger.notes(TRANSACTION_SPACE)).length })}\n`,
);
await side.close();
await ledger.close();
await executor.close();
