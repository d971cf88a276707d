/**
 * One process of the scale bench, so that memory is its own. It opens a ledger and does what its parent asks:
 * `fill` it, say its memory (`rss`, in bytes), commit accepted updates for some time (`turn`), or leave the ledger as
 * a killed process would (`drop`). Each answer is the number it was asked for.
 */
import { Ledger } from '../../dist/ledger/ledger.js';
import * as Executor from '../../dist/native/executor.js';
import type { Command } from '../../dist/native/records.js';
import { each, fill, idOf } from './books.js';
import { CHAIN_ID, HUB, SEED } from './vouchers.js';

/** Updates of one commit. */
const BATCH = 1_000;
/** Commits after the checkpoint: what a restart finds in the journal. */
const COMMITS_AFTER = 200;

export interface Request {
  readonly verb: 'fill' | 'rss' | 'turn' | 'drop' | 'heads';
  /** How many channels to fill, or how many commits a turn has. */
  readonly count: number;
}

const [folder] = process.argv.slice(2);
let channels = 0;
let amount = 1n;
let at = 0;

const begin = performance.now();
const executor = Executor.pool({ threads: 1 });
const ledger = await Ledger.open(executor, { dataDir: folder!, chainId: CHAIN_ID, hub: HUB, seed: SEED });
const openMs = performance.now() - begin;
channels = (await ledger.summary()).channelCount;

/** A head with an amount; what stands for the signature is no better, since none is verified here. */
function rowWith(value: bigint, channel: number): Uint8Array {
  const row = new Uint8Array(76).fill(channel + 1, 12);
  new DataView(row.buffer).setBigUint64(4, value);
  return row;
}

function update(session: number): Command {
  return { kind: 'voucher', session, row: rowWith(amount, session), final: false, verified: true };
}

/** Updates of `count` commits over channels that lie far from each other; every channel's turn comes. */
async function turn(count: number): Promise<number> {
  const stride = channels > 1_009 ? 1_009 : 1;
  for (let commit = 0; commit < count; commit++) {
    const commands = Array.from({ length: BATCH }, () => {
      at = (at + stride) % channels;
      return update(at);
    });
    amount += 1n;
    const refused = (await ledger.commit(commands)).find(({ status }) => status !== 'ok');
    if (refused) throw new Error(`the ledger refused with ${refused.status}`);
  }
  return count * BATCH;
}

const verbs: Readonly<Record<Request['verb'], (count: number) => Promise<number>>> = {
  async fill(count) {
    await fill(ledger, count, (channel) => idOf(20, channel));
    channels = count;
    await each(ledger, count, update);
    amount += 1n;
    return count;
  },
  async rss() {
    for (let round = 0; round < 5; round++) {
      globalThis.gc?.();
      // Freed pages go back to the system a little later.
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return process.memoryUsage.rss();
  },
  turn,
  async heads() {
    const { channelCount, openSessionCount, payeeAuthorized } = await ledger.summary();
    // Amounts only rise, so a ledger that was opened again goes on above all of them.
    amount += payeeAuthorized;
    return channelCount === openSessionCount ? channelCount : -1;
  },
  async drop() {
    await ledger.close();
    const again = await Ledger.open(executor, { dataDir: folder!, chainId: CHAIN_ID, hub: HUB, seed: SEED });
    for (let commit = 0; commit < COMMITS_AFTER; commit++) {
      await again.commit(
        Array.from({ length: BATCH }, (_, nth) => update((commit * BATCH + nth) % channels)),
      );
      amount += 1n;
    }
    return COMMITS_AFTER;
  },
};

process.on('message', ({ verb, count }: Request) => {
  verbs[verb](count).then(
    (value) => process.send!({ value }),
    (thrown: Error) => process.send!({ failed: String(thrown.stack) }),
  );
});
process.send!({ value: openMs });
