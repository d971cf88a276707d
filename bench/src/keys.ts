/** Voucher keys of payers that a bench plays itself, each with a channel of its own on the stage's chain. */
import { call } from '../../dist/native/binding.js';
import * as Chains from '../../dist/settlement/chain.js';
import { Hub } from '../../dist/settlement/hub.js';
import { readArtifact } from '../../dist/settlement/hub-code.js';
import * as Senders from '../../dist/settlement/sender.js';
import { memoryStore } from '../../dist/settlement/transaction.js';
import type { Stage } from './stage.js';

export interface PayerKey {
  readonly voucherKey: Uint8Array;
  readonly secret: Uint8Array;
}

/** Opens `count` channels to the stage's payee, `deposit` base units each. */
export async function open(
  stage: Stage,
  seed: Uint8Array,
  count: number,
  deposit: bigint,
): Promise<PayerKey[]> {
  const addresses = call((addon) => addon.deriveVoucherKeys(seed, 0n, count));
  const keys = Array.from({ length: count }, (_, index) => ({
    voucherKey: addresses.slice(index * 20, index * 20 + 20),
    secret: call((addon) => addon.deriveVoucherSecret(seed, BigInt(index))),
  }));
  const { profile, rpcUrls, hub } = stage.chain;
  const chain = await Chains.connect({ ...profile, rpcUrls });
  const sender = await Senders.open(chain, stage.funder, memoryStore(), { pollMs: 10 });
  try {
    const openings = keys.map(({ voucherKey }) => ({ voucherKey, payee: stage.payee, deposit }));
    const calls = new Hub(chain, hub!, await readArtifact()).openMany(openings);
    for (const one of calls) await sender.send(one);
  } finally {
    await sender.close();
    chain.close();
  }
  return keys;
}
