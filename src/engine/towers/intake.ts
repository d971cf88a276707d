/**
 * Checks the rows that a client pushes, cheapest first: the domain, signatures in the wide pool, then the chain for
 * channels that are new here, with one view call for all. What passes is held; every row gets an answer. Nothing a
 * client sends is thrown back at it as a failure of the tower.
 */
import {
  type ChannelFacts,
  type Domain,
  formatAddress,
  parseAddress,
  TOMBSTONE,
} from '../../channels/channel.js';
import { amountOf } from '../../channels/voucher.js';
import { type Clock, sleep } from '../../clock.js';
import { PieceworkError } from '../../errors.js';
import type { Ledger } from '../../ledger/ledger.js';
import { towerLookUpMs } from '../../limits.js';
import { call } from '../../native/binding.js';
import type { Executor } from '../../native/executor.js';
import { readRecovered, writeRecoveries, writeVouchers } from '../../native/records.js';
import { fromHex } from '../../units.js';
import type { ReadyChain } from '../chain-side.js';
import { type Checked, type Claims, idOf } from './claims.js';
import type { PushedClaim, PushRequest, PushStatus } from './protocol.js';

export interface TowerIntakeOptions {
  readonly domain: Domain;
  readonly ledger: Ledger;
  readonly executor: Executor;
  readonly chain: Pick<ReadyChain, 'readFacts'>;
  readonly claims: Claims;
  readonly clock: Clock;
  /** False while the chain is known not to answer: then it is not asked. */
  readonly reachable: () => boolean;
}

/** A row of a request on its way. */
interface Pushed {
  readonly row: Uint8Array;
  readonly amount: bigint;
  readonly voucherKey: Uint8Array | undefined;
  readonly id: string;
  status: PushStatus | undefined;
}

const HASH_OF_NOBODY = '';

/**
 * Takes the rows of one request; one at a time for each client.
 * @throws PieceworkError TOWER_FOREIGN, BAD_ARGUMENT, DISK_FULL, LEDGER_*.
 */
export async function takeRows(
  options: TowerIntakeOptions,
  client: string,
  request: PushRequest,
): Promise<readonly PushedClaim[]> {
  const { domain, claims } = options;
  const hub = formatAddress(domain.hub);
  if (request.chainId !== String(domain.chainId) || request.hub.toLowerCase() !== hub) {
    throw new PieceworkError('TOWER_FOREIGN', `this tower serves hub ${hub} on chain ${domain.chainId}`);
  }
  const payee = parseAddress(request.payee);
  const pushed = await recover(options, payee, request.rows.map(fromHex));
  const best = highest(pushed.filter(({ status }) => status === undefined));
  const facts = await factsOf(options, payee, best);
  const checked: Checked[] = [];
  for (const { id, voucherKey, row, amount } of best) {
    const known = facts.get(id);
    if (known && judge(known, amount) === undefined)
      checked.push({ key: { voucherKey: voucherKey!, payee }, facts: known, row });
  }
  await claims.hold(client, checked);
  return pushed.map(({ status, voucherKey, id, amount }) => {
    if (status) return { status, amount: '0' };
    const held = claims.find(client, id)?.amount ?? 0n;
    const view = { voucherKey: formatAddress(voucherKey!), amount: String(held) };
    // Held is held, whatever the chain is like at the moment.
    if (held >= amount && held > 0n) return { status: 'held', ...view };
    const known = facts.get(id);
    return { status: known ? (judge(known, amount) ?? 'full') : 'unchecked', ...view };
  });
}

/** Why a row is not to be held, or undefined. */
function judge(facts: ChannelFacts, amount: bigint): PushStatus | undefined {
  if (facts.deposit === 0n) return 'unknown_channel';
  if (amount <= facts.settled) return 'settled';
  return facts.closeAt === TOMBSTONE ? 'closed' : undefined;
}

async function recover(
  { ledger, executor }: TowerIntakeOptions,
  payee: Uint8Array,
  rows: readonly Uint8Array[],
): Promise<readonly Pushed[]> {
  // The digest is that of payee and amount; the voucher key is what is looked for.
  const claimed = writeVouchers(rows.map((row) => ({ voucherKey: payee, payee, row })));
  const digests = call((addon) => addon.voucherDigests(ledger.domain, claimed));
  const signed = rows.map((row, at) => ({
    digest: digests.slice(at * 32, at * 32 + 32),
    signature: row.slice(12),
  }));
  const found = readRecovered(await executor.recoverDigests(writeRecoveries(signed)));
  return rows.map((row, at) => {
    const { status, address } = found[at]!;
    const amount = amountOf(row);
    if (status === 'ok')
      return {
        row,
        amount,
        voucherKey: address,
        id: idOf({ voucherKey: address, payee }),
        status: undefined,
      };
    const bad = status === 'bad_range' ? 'bad_range' : 'bad_signature';
    return { row, amount, voucherKey: undefined, id: HASH_OF_NOBODY, status: bad };
  });
}

/** The highest row of each channel. */
function highest(pushed: readonly Pushed[]): readonly Pushed[] {
  const best = new Map<string, Pushed>();
  for (const one of pushed) {
    const known = best.get(one.id);
    if (!known || one.amount > known.amount) best.set(one.id, one);
  }
  return [...best.values()];
}

/** What is known of the channels; those that the chain would not tell are left out. */
async function factsOf(
  { claims, chain, clock, reachable }: TowerIntakeOptions,
  payee: Uint8Array,
  pushed: readonly Pushed[],
): Promise<ReadonlyMap<string, ChannelFacts>> {
  const facts = new Map<string, ChannelFacts>();
  const fresh = pushed.filter(({ id }) => {
    const known = claims.channel(id)?.facts;
    if (known) facts.set(id, known);
    return !known;
  });
  if (fresh.length === 0 || !reachable()) return facts;
  const waited = new AbortController();
  try {
    const read = chain.readFacts(fresh.map(({ voucherKey }) => ({ voucherKey: voucherKey!, payee })));
    // A client does not wait for all the tries that a slow chain is given.
    const inTime = await Promise.race([read, sleep(clock, towerLookUpMs, waited.signal)]);
    for (const [at, { id }] of fresh.entries()) if (inTime) facts.set(id, inTime[at]!);
  } catch (thrown) {
    const code = thrown instanceof PieceworkError ? thrown.code : undefined;
    if (code !== 'CHAIN_UNREACHABLE' && code !== 'CHAIN_REJECTED') throw thrown;
  } finally {
    waited.abort();
  }
  return facts;
}
