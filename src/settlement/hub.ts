/**
 * The hub as an escrow backend: reads its channels, describes its transactions and decodes its receipts
 * (hub.md). It spends nothing and holds no key. Every read happens at one block named by its hash, so that
 * what is read together belongs together.
 */
import { getBytes, hexlify, keccak256, TypedDataEncoder } from 'ethers';
import {
  type Address,
  type ChannelFacts,
  type ChannelKey,
  type Domain,
  formatAddress,
} from '../channels/channel.js';
import { ROW_BYTES } from '../channels/voucher.js';
import { PieceworkError } from '../errors.js';
import * as limits from '../limits.js';
import { toHex } from '../units.js';
import type { Head, Receipt } from './answers.js';
import type { Chain } from './chain.js';
import type { Closing, EscrowBackend, EscrowEvent, EscrowTerms, Opening } from './escrow.js';
import * as Abi from './hub-abi.js';
import { type Artifact, difference } from './hub-code.js';
import type { Call } from './transaction.js';

/** Each takes about 50,000 gas; together a quarter of a block of 20,000,000. */
const openingsPerCallMax = 100;
const readsAtOnceMax = 8;

export class Hub implements EscrowBackend {
  readonly kind = 'hub';
  readonly domain: Domain;
  readonly #chain: Chain;
  readonly #artifact: Artifact;

  constructor(chain: Chain, hub: Address, artifact: Artifact) {
    this.#chain = chain;
    this.domain = { chainId: chain.profile.chainId, hub };
    this.#artifact = artifact;
  }

  /** Compares code, domain, asset and challenge period with what this version and the profile expect. */
  async verify(): Promise<EscrowTerms> {
    const at = await this.#chain.confirmed();
    const code = getBytes(await this.#chain.code(this.domain.hub, at));
    if (code.length === 0) {
      const where = `${formatAddress(this.domain.hub)} on ${this.#chain.profile.name} at block ${at.number}`;
      throw new PieceworkError('HUB_MISSING', `there is no contract at ${where}`);
    }
    const differs = difference(code, this.#artifact);
    if (differs !== undefined) throw this.#mismatch(differs);
    const separator = await this.#view('domainSeparator', [], at);
    if (separator !== domainSeparator(this.domain)) throw this.#mismatch('its vouchers have another domain');
    const asset = getBytes((await this.#view('asset', [], at)) as string);
    if (asset.some((byte) => byte !== 0)) throw this.#mismatch('it escrows another asset');
    const challengePeriod = Number(await this.#view('challengePeriod', [], at));
    const { challengePeriodMin, name } = this.#chain.profile;
    if (challengePeriod < challengePeriodMin) {
      const needed = `at least ${challengePeriodMin} s on ${name}`;
      throw this.#mismatch(`its challenge period is ${challengePeriod} s, ${needed}`);
    }
    return { challengePeriod, asset: undefined };
  }

  async readChannels(keys: readonly ChannelKey[], at?: Head): Promise<readonly ChannelFacts[]> {
    if (keys.length === 0) return [];
    const block = at ?? (await this.#chain.confirmed());
    const facts = new Array<ChannelFacts>(keys.length);
    const reads = chunksByPayee(keys);
    for (const some of chunks(reads, readsAtOnceMax)) {
      await Promise.all(some.map((indexes) => this.#readSome(keys, indexes, block, facts)));
    }
    return facts;
  }

  async credit(owner: Address, at?: Head): Promise<bigint> {
    const block = at ?? (await this.#chain.confirmed());
    return (await this.#view('credit', [hexlify(owner)], block)) as bigint;
  }

  open({ voucherKey, payee, deposit }: Opening): Call {
    const purpose = `open channel ${formatAddress(voucherKey)}`;
    return this.#call('open', names({ voucherKey, payee }), purpose, deposit);
  }

  openMany(openings: readonly Opening[]): readonly Call[] {
    return chunks(openings, openingsPerCallMax).map((some) => {
      const rows = some.map((opening) => [...names(opening), opening.deposit]);
      const value = some.reduce((sum, opening) => sum + opening.deposit, 0n);
      return this.#call('openMany', [rows], `open ${counted(some.length, 'channel')}`, value);
    });
  }

  topUp(key: ChannelKey, amount: bigint, deposit: bigint): Call {
    const purpose = `top up channel ${formatAddress(key.voucherKey)}`;
    const call = this.#call('topUp', names(key), purpose, amount);
    // One rise from a given deposit at a time: until it is known whether it landed, another is not signed.
    return { ...call, intent: `${call.intent} from ${deposit}` };
  }

  settle(payee: Address, rows: readonly Uint8Array[]): readonly Call[] {
    return chunks(rows, limits.settleRowsMax).map((some) =>
      this.#call('settle', [hexlify(payee), packed(some)], `settle ${counted(some.length, 'voucher')}`),
    );
  }

  cooperativeClose(payee: Address, closings: readonly Closing[]): readonly Call[] {
    return chunks(closings, limits.closingsMax).map((some) => {
      const rows = some.map((closing) => closing.row).filter((row) => row !== undefined);
      const keys = some.map((closing) => hexlify(closing.voucherKey));
      const call = this.#call(
        'cooperativeClose',
        [keys, packed(rows)],
        `close ${counted(some.length, 'channel')}`,
      );
      return { ...call, intent: `${call.intent} as ${formatAddress(payee)}` };
    });
  }

  requestClose(key: ChannelKey): Call {
    const purpose = `request close of channel ${formatAddress(key.voucherKey)}`;
    return this.#call('requestClose', names(key), purpose);
  }

  withdraw(key: ChannelKey): Call {
    return this.#call('withdraw', names(key), `withdraw channel ${formatAddress(key.voucherKey)}`);
  }

  withdrawCredit(owner: Address, to: Address): Call {
    const call = this.#call('withdrawCredit', [hexlify(to)], `withdraw credit to ${formatAddress(to)}`);
    return { ...call, intent: `${call.intent} as ${formatAddress(owner)}` };
  }

  decode(receipt: Receipt): readonly EscrowEvent[] {
    return Abi.events(this.domain.hub, receipt);
  }

  explain(revertData: string): string | undefined {
    return Abi.explain(revertData);
  }

  async #readSome(
    keys: readonly ChannelKey[],
    indexes: readonly number[],
    at: Head,
    facts: ChannelFacts[],
  ): Promise<void> {
    const some = indexes.map((index) => keys[index]!);
    const data = Abi.encodeRead(
      some[0]!.payee,
      some.map((key) => key.voucherKey),
    );
    const bytes = await this.#chain.call({ to: this.domain.hub, data }, at);
    const views = this.#expected(() => Abi.decodeRead(bytes));
    if (views.length !== some.length) throw this.#mismatch('it answers for other channels than asked');
    for (const [place, index] of indexes.entries()) {
      const { voucherKey, payee } = some[place]!;
      facts[index] = { voucherKey, payee, ...views[place]!, block: at.number };
    }
  }

  async #view(name: string, values: readonly unknown[], at: Head): Promise<unknown> {
    const data = Abi.abi.encodeFunctionData(name, values);
    const bytes = await this.#chain.call({ to: this.domain.hub, data }, at, Abi.explain);
    return this.#expected(() => Abi.abi.decodeFunctionResult(name, bytes)[0] as unknown);
  }

  #expected<T>(decode: () => T): T {
    try {
      return decode();
    } catch {
      throw this.#mismatch('it does not answer like a hub');
    }
  }

  /** The intent is the verb and its arguments, whatever the value: a channel is opened once. */
  #call(verb: string, values: readonly unknown[], purpose: string, value = 0n): Call {
    const data = Abi.abi.encodeFunctionData(verb, values);
    const intent = `${verb} ${keccak256(data)} at ${toHex(this.domain.hub)}`;
    return { to: this.domain.hub, data, value, purpose, intent };
  }

  #mismatch(detail: string): PieceworkError {
    return new PieceworkError('HUB_MISMATCH', `${formatAddress(this.domain.hub)} is not the hub: ${detail}`);
  }
}

/** voucher.md 2. */
function domainSeparator({ chainId, hub }: Domain): string {
  return TypedDataEncoder.hashDomain({
    name: 'Piecework',
    version: '1',
    chainId,
    verifyingContract: hexlify(hub),
  });
}

function names({ voucherKey, payee }: ChannelKey): [string, string] {
  return [hexlify(voucherKey), hexlify(payee)];
}

function packed(rows: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(rows.length * ROW_BYTES);
  for (const [index, row] of rows.entries()) {
    if (row.length !== ROW_BYTES) throw new PieceworkError('INTERNAL', `a row has ${row.length} bytes`);
    bytes.set(row, index * ROW_BYTES);
  }
  return bytes;
}

/** Indexes of keys, together where one view call can answer them. */
function chunksByPayee(keys: readonly ChannelKey[]): readonly (readonly number[])[] {
  const byPayee = new Map<string, number[]>();
  for (const [index, key] of keys.entries()) {
    const payee = toHex(key.payee);
    const indexes = byPayee.get(payee);
    if (indexes) indexes.push(index);
    else byPayee.set(payee, [index]);
  }
  return [...byPayee.values()].flatMap((indexes) => chunks(indexes, limits.settleRowsMax));
}

function chunks<T>(items: readonly T[], size: number): readonly (readonly T[])[] {
  const found: (readonly T[])[] = [];
  for (let start = 0; start < items.length; start += size) found.push(items.slice(start, start + size));
  return found;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
