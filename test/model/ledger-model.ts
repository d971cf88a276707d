/**
 * A plain model of the ledger, written from docs/spec/ledger.md 2 alone: maps, bigints and sums computed from
 * scratch. It shares no code with the native ledger and is slow on purpose; the two must agree on every status
 * and every published amount.
 */
import type { Command, Role, Status } from '../../src/native/records.js';

const AMOUNT_MAX = (1n << 96n) - 1n;
const NOTE_BYTES_MAX = 128 * 1024;

interface Channel {
  role: Role;
  voucherKey: string;
  keyIndex: number;
  deposit: bigint;
  settled: bigint;
  closeAt: number;
  block: number;
  authorized: bigint;
  granted: bigint;
  writtenOff: bigint;
}

interface Session {
  channel: number;
  id: string;
  infohash: string;
  price: bigint;
  step: bigint;
  prepay: bigint;
  bytes: bigint;
  pieceCount: number;
  closed: boolean;
  outstanding: Map<number, number>;
}

/** What a torrent forfeited in a channel: named by both. */
type Forfeits = Map<string, bigint>;

interface Budget {
  limit: bigint | undefined;
  spent: bigint;
}

/** What the model expects of one command; the amounts are those of the channel after the batch. */
export interface Expected {
  readonly status: Status;
  readonly channel: number | undefined;
  readonly session: number | undefined;
}

export interface ModelOptions {
  /** Whether the ledger's key at an index has this address (hex). */
  readonly owns: (keyIndex: number, voucherKey: string) => boolean;
  /** Whether a row (hex) is signed by the key of a channel. */
  readonly isSigned: (voucherKey: string, row: string) => boolean;
}

class Refusal {
  constructor(readonly status: Status) {}
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const amountOf = (row: Uint8Array) => BigInt(`0x${hex(row.slice(0, 12))}`);
const least = (first: bigint, ...rest: bigint[]) => rest.reduce((a, b) => (b < a ? b : a), first);
const most = (a: bigint, b: bigint) => (a > b ? a : b);

/** Orders closes: for ever, then by time, then none. */
const timeLeft = (closeAt: number): number =>
  closeAt === 0 ? Number.POSITIVE_INFINITY : closeAt === 0xffffffff ? 0 : closeAt;

function refuse(condition: boolean, status: Status): void {
  if (condition) throw new Refusal(status);
}

function inRange(value: bigint): bigint {
  refuse(value > AMOUNT_MAX, 'overflow');
  return value;
}

/** ceil(price × bytes / 2^20), by the definition. */
export function priceOf(price: bigint, bytes: bigint): bigint {
  return inRange((price * bytes + (1n << 20n) - 1n) >> 20n);
}

export class LedgerModel {
  readonly channels: Channel[] = [];
  readonly sessions: Session[] = [];
  readonly budgets = new Map<string, Budget>();
  readonly notes = new Map<string, string>();
  readonly #forfeits: Forfeits = new Map();
  readonly #options: ModelOptions;
  readonly #pairs = new Map<string, number>();
  #pending = new Map<number, bigint>();

  constructor(options: ModelOptions) {
    this.#options = options;
  }

  /** Runs a batch. */
  commit(commands: readonly Command[]): Expected[] {
    this.#pending = new Map();
    const expected = commands.map((command) => this.#run(command));
    for (const [index, amount] of this.#pending) {
      const channel = this.channels[index];
      if (channel && amount > channel.authorized) channel.authorized = amount;
    }
    this.#pending = new Map();
    return expected;
  }

  /** Σ over the channel's sessions of value(bytes). */
  due(channel: number): bigint {
    return this.#sum(channel, (session) => priceOf(session.price, session.bytes));
  }

  /** Σ over the channel's sessions of value(bytes + outstanding) − value(bytes). */
  reserved(channel: number): bigint {
    return this.#sum(channel, (session) => this.#reservedOf(session));
  }

  /** granted − written off − authorized, or 0. */
  unpaid(index: number): bigint {
    const channel = this.channels[index];
    if (!channel) return 0n;
    return most(0n, channel.granted - channel.writtenOff - channel.authorized);
  }

  #sum(channel: number, of: (session: Session) => bigint): bigint {
    if (this.channels[channel]?.role !== 'payer') return 0n;
    return this.sessions.filter((s) => s.channel === channel).reduce((sum, s) => sum + of(s), 0n);
  }

  #ahead(session: Session): bigint {
    return [...session.outstanding.values()].reduce((sum, bytes) => sum + BigInt(bytes), 0n);
  }

  #reservedOf(session: Session): bigint {
    const { price, bytes } = session;
    return priceOf(price, bytes + this.#ahead(session)) - priceOf(price, bytes);
  }

  #used(infohash: string): bigint {
    const sessions = this.sessions.filter(
      (s) => s.infohash === infohash && this.channels[s.channel]?.role === 'payer',
    );
    const reserved = sessions.reduce((sum, session) => sum + this.#reservedOf(session), 0n);
    return (this.budgets.get(infohash)?.spent ?? 0n) + reserved + this.forfeitedOf(infohash);
  }

  /** What was signed ahead for pieces of a torrent that were then given up. */
  forfeitedOf(infohash: string): bigint {
    const forfeits = [...this.#forfeits].filter(([name]) => name.endsWith(` ${infohash}`));
    return forfeits.reduce((sum, [, amount]) => sum + amount, 0n);
  }

  /** What the limit of a torrent has reserved: outstanding pieces, and what was forfeited. */
  reservedOf(infohash: string): bigint {
    return this.#used(infohash) - (this.budgets.get(infohash)?.spent ?? 0n);
  }

  /** What a channel's overhang is above all that was forfeited in it: 0 unless a head was adopted. */
  unexplained(index: number): bigint {
    const forfeits = [...this.#forfeits].filter(([name]) => name.startsWith(`${index} `));
    return forfeits.reduce((rest, [, amount]) => rest - amount, this.#overhang(index));
  }

  /** Signed, or about to be, and neither due nor reserved. */
  #overhang(index: number): bigint {
    if (this.channels[index]?.role !== 'payer') return 0n;
    const signed = most(this.channels[index]?.authorized ?? 0n, this.#pending.get(index) ?? 0n);
    return most(0n, signed - this.due(index) - this.reserved(index));
  }

  #run(command: Command): Expected {
    let status: Status = 'ok';
    try {
      this.#apply(command);
    } catch (thrown) {
      if (!(thrown instanceof Refusal)) throw thrown;
      status = thrown.status;
    }
    return { status, ...this.#about(command) };
  }

  #about(command: Command): { channel: number | undefined; session: number | undefined } {
    if (command.kind === 'channel_put') {
      return { channel: this.#pairs.get(hex(command.voucherKey) + hex(command.payee)), session: undefined };
    }
    if (command.kind === 'session_open') {
      const session = this.sessions.findIndex(({ id }) => id === hex(command.sessionId));
      const channel = this.channels[command.channel] ? command.channel : undefined;
      return { channel, session: session < 0 ? undefined : session };
    }
    if (command.kind === 'adopt') {
      return { channel: this.channels[command.channel] ? command.channel : undefined, session: undefined };
    }
    if (!('session' in command)) return { channel: undefined, session: undefined };
    const session = this.sessions[command.session];
    return session
      ? { channel: session.channel, session: command.session }
      : { channel: undefined, session: undefined };
  }

  #session(index: number, role?: Role): { session: Session; channel: Channel } {
    const session = this.sessions[index];
    if (!session) throw new Refusal('unknown_session');
    const channel = this.channels[session.channel];
    if (!channel) throw new Error('a session without a channel');
    refuse(role !== undefined && channel.role !== role, 'wrong_role');
    return { session, channel };
  }

  #open(index: number): void {
    refuse(this.#session(index).session.closed, 'closed');
  }

  #apply(command: Command): void {
    switch (command.kind) {
      case 'channel_put':
        this.#channelPut(command);
        return;
      case 'session_open': {
        const { channel, priceMiB, minimumStep, prepay } = command;
        refuse(!this.channels[channel], 'unknown_channel');
        const [id, infohash] = [hex(command.sessionId), hex(command.infohash)];
        refuse(
          this.sessions.some((s) => s.id === id),
          'duplicate',
        );
        if (!this.budgets.has(infohash)) this.budgets.set(infohash, { limit: undefined, spent: 0n });
        const terms = { channel, id, infohash, price: priceMiB, step: minimumStep, prepay };
        this.sessions.push({ ...terms, bytes: 0n, pieceCount: 0, closed: false, outstanding: new Map() });
        return;
      }
      case 'session_close':
        this.#open(command.session);
        this.#session(command.session).session.closed = true;
        return;
      case 'grant':
        this.#grant(command.session, BigInt(command.bytes), command.exposureLimit);
        return;
      case 'voucher':
        this.#voucher(command);
        return;
      case 'write_off': {
        const { session, channel } = this.#session(command.session, 'payee');
        refuse(command.amount > this.unpaid(session.channel), 'exceeds_granted');
        channel.writtenOff += command.amount;
        return;
      }
      case 'budget': {
        const infohash = hex(command.infohash);
        refuse(command.limit < this.#used(infohash), 'exceeds_budget');
        this.budgets.set(infohash, {
          limit: command.limit,
          spent: this.budgets.get(infohash)?.spent ?? 0n,
        });
        return;
      }
      case 'purchase':
        this.#purchase(command.session, command.piece, command.bytes);
        return;
      case 'abandon': {
        const { session } = this.#session(command.session);
        refuse(!session.outstanding.has(command.piece), 'unknown_piece');
        const before = this.#overhang(session.channel);
        session.outstanding.delete(command.piece);
        const name = `${session.channel} ${session.infohash}`;
        const lost = this.#overhang(session.channel) - before;
        this.#forfeits.set(name, (this.#forfeits.get(name) ?? 0n) + lost);
        return;
      }
      case 'pay':
        this.#pay(command.session, command.piece, command.bytes, command.advance);
        return;
      case 'sign':
        this.#session(command.session, 'payer');
        this.#authorize(command.session, 0n, command.advance);
        return;
      case 'adopt':
        this.#adopt(command.channel, command.row);
        return;
      case 'note': {
        const name = `${command.space} ${hex(command.key)}`;
        refuse((command.value?.length ?? 0) > NOTE_BYTES_MAX, 'too_long');
        if (command.value) this.notes.set(name, hex(command.value));
        else this.notes.delete(name);
        return;
      }
    }
  }

  #channelPut(command: Command & { kind: 'channel_put' }): void {
    const { role, deposit, settled, closeAt, block } = command;
    const voucherKey = hex(command.voucherKey);
    const pair = voucherKey + hex(command.payee);
    const index = this.#pairs.get(pair);
    const known = index === undefined ? undefined : this.channels[index];
    refuse(known !== undefined && known.role !== role, 'wrong_role');
    const keyIndex = role === 'payer' ? (command.keyIndex ?? 0) : 0;
    if (role === 'payer') {
      const others = this.channels.filter((c) => c.role === 'payer' && c !== known);
      refuse(
        others.some((c) => c.keyIndex === keyIndex),
        'duplicate',
      );
      refuse(!this.#options.owns(keyIndex, voucherKey), 'bad_signature');
    }
    if (known && block >= known.block) {
      Object.assign(known, { deposit, settled, closeAt, block });
      return;
    }
    if (known) {
      if (role === 'payer') return;
      known.deposit = least(known.deposit, deposit);
      known.settled = least(known.settled, settled);
      if (timeLeft(closeAt) < timeLeft(known.closeAt)) known.closeAt = closeAt;
      return;
    }
    const facts = { role, voucherKey, keyIndex, deposit, settled, closeAt, block };
    this.#pairs.set(pair, this.channels.length);
    this.channels.push({ ...facts, authorized: 0n, granted: 0n, writtenOff: 0n });
  }

  #grant(index: number, bytes: bigint, limit: bigint): void {
    this.#open(index);
    const { session, channel } = this.#session(index, 'payee');
    refuse(channel.closeAt !== 0, 'closing');
    const cost = priceOf(session.price, session.bytes + bytes) - priceOf(session.price, session.bytes);
    const granted = inRange(channel.granted + cost);
    refuse(granted - channel.writtenOff > channel.deposit, 'exceeds_deposit');
    refuse(granted - channel.writtenOff - channel.authorized > limit, 'exceeds_window');
    channel.granted = granted;
    session.bytes += bytes;
    session.pieceCount += 1;
  }

  #voucher(command: Command & { kind: 'voucher' }): void {
    const { session, channel } = this.#session(command.session, 'payee');
    const amount = amountOf(command.row);
    refuse(amount <= channel.authorized, 'not_increasing');
    const small = amount - channel.authorized < session.step;
    refuse(small && !command.final && amount < channel.granted - channel.writtenOff, 'below_step');
    refuse(amount > channel.deposit, 'exceeds_deposit');
    refuse(amount > channel.granted + session.prepay, 'exceeds_granted');
    refuse(!command.verified, 'unverified');
    channel.authorized = amount;
    channel.writtenOff = least(channel.writtenOff, most(0n, channel.granted - amount));
  }

  #purchase(index: number, piece: number, bytes: number): void {
    this.#open(index);
    const { session, channel } = this.#session(index, 'payer');
    const same = this.sessions.filter((s) => s.infohash === session.infohash);
    refuse(
      same.some((s) => s.outstanding.has(piece)),
      'duplicate',
    );
    refuse(channel.closeAt !== 0, 'closing');
    const ahead = session.bytes + this.#ahead(session);
    const cost = priceOf(session.price, ahead + BigInt(bytes)) - priceOf(session.price, ahead);
    const limit = this.budgets.get(session.infohash)?.limit;
    const name = `${session.channel} ${session.infohash}`;
    const forfeited = this.#forfeits.get(name) ?? 0n;
    const recovered = least(forfeited, cost, this.#overhang(session.channel));
    refuse(limit === undefined || this.#used(session.infohash) + cost - recovered > limit, 'exceeds_budget');
    const owed = this.due(session.channel) + this.reserved(session.channel) + cost;
    refuse(owed > channel.deposit, 'exceeds_deposit');
    session.outstanding.set(piece, bytes);
    this.#forfeits.set(name, forfeited - recovered);
  }

  #pay(index: number, piece: number, bytes: number, advance: bigint): void {
    const { session } = this.#session(index, 'payer');
    refuse(session.outstanding.get(piece) !== bytes, 'unknown_piece');
    this.#authorize(index, BigInt(bytes), advance);
    const before = priceOf(session.price, session.bytes);
    session.bytes += BigInt(bytes);
    session.pieceCount += 1;
    session.outstanding.delete(piece);
    const budget = this.budgets.get(session.infohash);
    if (budget) budget.spent += priceOf(session.price, session.bytes) - before;
  }

  #authorize(index: number, bytes: bigint, advance: bigint): void {
    const { session, channel } = this.#session(index, 'payer');
    const cost = priceOf(session.price, session.bytes + bytes) - priceOf(session.price, session.bytes);
    const ahead = least(advance, session.prepay, this.#reservedOf(session) - cost);
    const authorized = most(channel.authorized, this.#pending.get(session.channel) ?? 0n);
    const amount = most(authorized, this.due(session.channel) + cost + ahead);
    refuse(amount > channel.deposit, 'exceeds_deposit');
    if (amount > authorized) this.#pending.set(session.channel, amount);
  }

  #adopt(index: number, row: Uint8Array): void {
    const channel = this.channels[index];
    if (!channel) throw new Refusal('unknown_channel');
    refuse(channel.role !== 'payer', 'wrong_role');
    const authorized = most(channel.authorized, this.#pending.get(index) ?? 0n);
    refuse(amountOf(row) <= authorized, 'not_increasing');
    refuse(amountOf(row) > channel.deposit, 'exceeds_deposit');
    refuse(!this.#options.isSigned(channel.voucherKey, hex(row)), 'bad_signature');
    channel.authorized = amountOf(row);
  }
}
