/**
 * The hub as an escrow backend: reads its channels, describes its transactions and decodes its receipts
 * (hub.md), in both its forms: for the chain's own coin and for the ERC-20 that the profile names. It spends
 * nothing and holds no key. Every read happens at one block named by its hash, so that what is read together
 * belongs together. Invariant: no deposit, settlement, end or absence of a close is reported that enough nodes
 * did not agree on, of a hub whose code enough nodes agreed on.
 */
import { getBytes, hexlify, keccak256, TypedDataEncoder } from 'ethers';
import {
  type Address,
  type ChannelFacts,
  type ChannelKey,
  type Domain,
  formatAddress,
} from '../channels/channel.js';
import { PieceworkError } from '../errors.js';
import * as limits from '../limits.js';
import { formatAmount, sameBytes, toHex } from '../units.js';
import type { Head, Receipt } from './answers.js';
import { cautious, type Known } from './caution.js';
import type { Chain } from './chain.js';
import { chunks } from './chunks.js';
import type { EscrowBackend, EscrowEvent, EscrowTerms, LoggedEvent } from './escrow.js';
import * as Abi from './hub-abi.js';
import { HubCalls } from './hub-calls.js';
import { type Artifact, difference } from './hub-code.js';
import type { Ballot } from './quorum.js';
import type { Call } from './transaction.js';

const readsAtOnceMax = 8;

export interface HubOptions {
  /** What is booked of a channel: the most that is believed of it while nodes do not agree. */
  readonly known?: (key: ChannelKey) => Promise<Known | undefined>;
}

export class Hub extends HubCalls implements EscrowBackend {
  readonly kind = 'hub';
  readonly #chain: Chain;
  readonly #artifact: Artifact;
  readonly #known: (key: ChannelKey) => Promise<Known | undefined>;
  /** Whether enough nodes agreed on the hub's code and terms. */
  #agreed = false;

  /** `artifact` is that of the form for the profile's asset. */
  constructor(chain: Chain, hub: Address, artifact: Artifact, options: HubOptions = {}) {
    super({ chainId: chain.profile.chainId, hub }, chain.profile.asset);
    this.#chain = chain;
    this.#artifact = artifact;
    this.#known = options.known ?? (async () => undefined);
  }

  /**
   * Compares code, domain, asset and challenge period with what this version and the profile expect. Where
   * too few nodes answer, every one that does must pass, and nothing is credited until enough have.
   */
  async verify(): Promise<EscrowTerms> {
    const at = await this.#chain.confirmed();
    const { profile } = this.#chain;
    let agreed = true;
    const each = <T>(said: Said<T>, check: (value: T) => void): void => {
      agreed &&= said.agreed;
      for (const value of said.values) {
        if (said.agreed) check(value);
        else this.#provisionally(() => check(value));
      }
    };
    const codes = said(await this.#chain.codes(this.domain.hub, at));
    each(codes, (text) => this.#checkCode(getBytes(text), at));
    each(await this.#views('domainSeparator', [], at), (separator) => {
      if (separator === domainSeparator(this.domain)) return;
      throw this.#mismatch('its vouchers have another domain');
    });
    each(await this.#views('asset', [], at), (asset) => {
      const expected = this.asset ?? new Uint8Array(20);
      if (!sameBytes(getBytes(asset as string), expected)) throw this.#mismatch('it escrows another asset');
    });
    let challengePeriod = Number.POSITIVE_INFINITY;
    each(await this.#views('challengePeriod', [], at), (period) => {
      challengePeriod = Math.min(challengePeriod, Number(period));
      if (challengePeriod >= profile.challengePeriodMin) return;
      const needed = `at least ${profile.challengePeriodMin} s on ${profile.name}`;
      throw this.#mismatch(`its challenge period is ${challengePeriod} s, ${needed}`);
    });
    this.#agreed = agreed;
    return { challengePeriod, asset: this.asset };
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

  async events(from: bigint, to: bigint): Promise<readonly LoggedEvent[]> {
    const logs = await this.#chain.logs(this.domain.hub, from, to);
    return logs.flatMap((log) => {
      const event = Abi.eventOf(log);
      return event ? [{ event, block: log.block }] : [];
    });
  }

  async credit(owner: Address, at?: Head): Promise<bigint> {
    const block = at ?? (await this.#chain.confirmed());
    const { values } = await this.#views('credit', [hexlify(owner)], block);
    return (values as readonly bigint[]).reduce((a, b) => (b < a ? b : a));
  }

  async approval(owner: Address, { pulls, purpose }: Call): Promise<Call | undefined> {
    if (this.asset === undefined || pulls === undefined) return undefined;
    const [holds, allowed] = await Promise.all([
      this.#token('balanceOf', [hexlify(owner)]),
      this.#token('allowance', [hexlify(owner), hexlify(this.domain.hub)]),
    ]);
    if (holds < pulls) {
      const detail = `${purpose}: needs ${formatAmount(pulls)}, the account holds ${formatAmount(holds)}`;
      throw new PieceworkError('INSUFFICIENT_FUNDS', `${detail} as a token`);
    }
    if (allowed >= pulls) return undefined;
    const data = Abi.erc20.encodeFunctionData('approve', [hexlify(this.domain.hub), pulls]);
    const intent = `approve ${keccak256(data)} at ${toHex(this.asset)}`;
    return { to: this.asset, data, value: 0n, purpose: `allow the hub ${formatAmount(pulls)}`, intent };
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
    const trial = { to: this.domain.hub, data };
    const decode = (bytes: string): readonly Abi.ChannelView[] => {
      const views = Abi.decodeRead(bytes);
      if (views.length !== some.length) throw new TypeError('it answers for other channels than asked');
      return views;
    };
    const { values, agreed } = said(await this.#chain.views(trial, at));
    const full = agreed && (await this.#isAgreed());
    // Nodes that do not have the block may know of a close all the same.
    const newest = full ? [] : await this.#chain.newest(trial).catch(() => []);
    const views = await this.#decoded(values, decode);
    const later = newest.length > 0 ? await this.#decoded(newest, decode) : [];
    for (const [place, index] of indexes.entries()) {
      const { voucherKey, payee } = some[place]!;
      const of = (all: readonly (readonly Abi.ChannelView[])[]): ChannelFacts[] =>
        all.map((view) => ({ voucherKey, payee, ...view[place]!, block: at.number }));
      const [first] = of(views);
      facts[index] = full ? first! : cautious(of(views), of(later), await this.#known(some[place]!), at);
    }
  }

  /** Whether enough nodes agree that this is the hub; asked again while too few did. */
  async #isAgreed(): Promise<boolean> {
    if (this.#agreed || this.#chain.agreement === 1) return true;
    try {
      await this.verify();
    } catch (thrown) {
      const code = thrown instanceof PieceworkError ? thrown.code : undefined;
      if (code !== 'CHAIN_UNREACHABLE' && code !== 'CHAIN_REJECTED') throw thrown;
    }
    return this.#agreed;
  }

  async #views(name: string, args: readonly unknown[], at: Head): Promise<Said<unknown>> {
    const data = this.abi.encodeFunctionData(name, args);
    const { values, agreed } = said(await this.#chain.views({ to: this.domain.hub, data }, at, Abi.explain));
    const decode = (bytes: string): unknown => this.abi.decodeFunctionResult(name, bytes)[0];
    return { values: await this.#decoded(values, decode), agreed };
  }

  /**
   * What of the answers can be read. Where none can, either this is no hub or the nodes serve another chain
   * by now, which is asked first.
   */
  async #decoded<T>(answers: readonly string[], decode: (bytes: string) => T): Promise<readonly T[]> {
    const found = answers.flatMap((bytes) => {
      try {
        return [decode(bytes)];
      } catch {
        return [];
      }
    });
    if (found.length > 0) return found;
    await this.#chain.recheck();
    throw this.#mismatch('it does not answer like a hub');
  }

  #checkCode(code: Uint8Array, at: Head): void {
    const { profile } = this.#chain;
    const address = formatAddress(this.domain.hub);
    if (code.length === 0) {
      const where = `${address} on ${profile.name} at block ${at.number}`;
      throw new PieceworkError('HUB_MISSING', `there is no contract at ${where}`);
    }
    const separator = getBytes(domainSeparator(this.domain));
    const { chainId } = this.domain;
    const identity = { chainId, domainSeparator: separator, asset: this.asset };
    const differs = difference(code, this.#artifact, identity);
    if (differs !== undefined) throw this.#mismatch(differs);
    const { hub, hubCodeHash } = profile;
    const named = hub !== undefined && sameBytes(hub, this.domain.hub);
    if (named && hubCodeHash !== undefined && keccak256(code) !== hubCodeHash) {
      throw this.#mismatch(`the hash of its code is ${keccak256(code)}, not the profile's`);
    }
  }

  /** What too few nodes say against the hub is no verdict on it. */
  #provisionally(check: () => void): void {
    try {
      check();
    } catch (thrown) {
      const said = (thrown as Error).message;
      const detail = `too few nodes agree on the hub to use it, and one says: ${said}`;
      throw new PieceworkError('CHAIN_UNREACHABLE', detail);
    }
  }

  async #token(name: string, values: readonly unknown[]): Promise<bigint> {
    const data = Abi.erc20.encodeFunctionData(name, values);
    const bytes = await this.#chain.call({ to: this.asset, data });
    const [value] = await this.#decoded([bytes], (text) => Abi.erc20.decodeFunctionResult(name, text));
    return value![0] as bigint;
  }

  #mismatch(detail: string): PieceworkError {
    return new PieceworkError('HUB_MISMATCH', `${formatAddress(this.domain.hub)} is not the hub: ${detail}`);
  }
}

/** What enough nodes agree on, or else all that was said. */
interface Said<T> {
  readonly values: readonly T[];
  readonly agreed: boolean;
}

function said<T>({ agreed, votes }: Ballot<T>): Said<T> {
  if (agreed !== undefined) return { values: [agreed], agreed: true };
  return { values: votes.map(({ value }) => value), agreed: false };
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
