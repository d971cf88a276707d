/**
 * The hub's transactions, described and not sent (hub.md 2): which verb, what it carries, how much fits into a
 * block, and the intent that keeps one effect from being asked for twice. Pure.
 */
import { hexlify, type Interface, keccak256 } from 'ethers';
import { type Address, type ChannelKey, type Domain, formatAddress } from '../channels/channel.js';
import * as Tick from '../channels/tick.js';
import { ROW_BYTES } from '../channels/voucher.js';
import { PieceworkError } from '../errors.js';
import * as limits from '../limits.js';
import { toHex } from '../units.js';
import { chunks, tickChunks } from './chunks.js';
import type { Closing, Opening } from './escrow.js';
import { abiOf } from './hub-abi.js';
import type { Call } from './transaction.js';

/** Each takes about 50,000 gas; together a quarter of a block of 20,000,000. */
const openingsPerCallMax = 100;

export class HubCalls {
  readonly domain: Domain;
  /** The ERC-20 escrowed, or undefined for the chain's own coin. */
  protected readonly asset: Address | undefined;
  protected readonly abi: Interface;

  constructor(domain: Domain, asset: Address | undefined) {
    this.domain = domain;
    this.asset = asset;
    this.abi = abiOf(asset);
  }

  open({ voucherKey, payee, deposit }: Opening): Call {
    const purpose = `open channel ${formatAddress(voucherKey)}`;
    return this.#paying('open', names({ voucherKey, payee }), purpose, deposit);
  }

  openMany(openings: readonly Opening[]): readonly Call[] {
    return chunks(openings, openingsPerCallMax).map((some) => {
      const rows = some.map((opening) => [...names(opening), opening.deposit]);
      const value = some.reduce((sum, opening) => sum + opening.deposit, 0n);
      return this.#paying('openMany', [rows], `open ${counted(some.length, 'channel')}`, value);
    });
  }

  topUp(key: ChannelKey, amount: bigint, deposit: bigint): Call {
    const purpose = `top up channel ${formatAddress(key.voucherKey)}`;
    const call = this.#paying('topUp', names(key), purpose, amount);
    // One rise from a given deposit at a time: until it is known whether it landed, another is not signed.
    return { ...call, intent: `${call.intent} from ${deposit}` };
  }

  settle(payee: Address, rows: readonly Uint8Array[]): readonly Call[] {
    return chunks(rows, limits.settleRowsMax).map((some) =>
      this.#call('settle', [hexlify(payee), packed(some)], `settle ${counted(some.length, 'voucher')}`),
    );
  }

  settleTicks(payee: Address, rows: readonly Uint8Array[]): readonly Call[] {
    return tickChunks(rows, Tick.countOf).map((some) => {
      const data = [hexlify(payee), packed(some, Tick.TICK_ROW_BYTES)];
      return this.#call('settleTicks', data, `settle ${counted(some.length, 'tick')}`);
    });
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

  /** A verb that takes money: with the call, or as a named amount that the hub pulls. */
  #paying(verb: string, values: readonly unknown[], purpose: string, amount: bigint): Call {
    if (this.asset === undefined) return this.#call(verb, values, purpose, amount);
    const { intent } = this.#call(verb, [...values, 0n], purpose);
    return { ...this.#call(verb, [...values, amount], purpose), intent, pulls: amount };
  }

  /** The intent is the verb and its arguments, whatever the value: a channel is opened once. */
  #call(verb: string, values: readonly unknown[], purpose: string, value = 0n): Call {
    const data = this.abi.encodeFunctionData(verb, values);
    const intent = `${verb} ${keccak256(data)} at ${toHex(this.domain.hub)}`;
    return { to: this.domain.hub, data, value, purpose, intent };
  }
}

function names({ voucherKey, payee }: ChannelKey): [string, string] {
  return [hexlify(voucherKey), hexlify(payee)];
}

function packed(rows: readonly Uint8Array[], size = ROW_BYTES): Uint8Array {
  const bytes = new Uint8Array(rows.length * size);
  for (const [index, row] of rows.entries()) {
    if (row.length !== size) throw new PieceworkError('INTERNAL', `a row has ${row.length} bytes`);
    bytes.set(row, index * size);
  }
  return bytes;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
