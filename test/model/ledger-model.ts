/**
 * A plain model of the ledger, written from docs/spec/ledger.md 2 and ticks.md 7 alone: maps, bigints and sums computed from
 * scratch. It shares no code with the native ledger and is slow on purpose; the two must agree on every status
 * and every published amount.
 */
import type { Command, Role, Status } from '../../src/native/records.js';
import * as Ticks from './tick-rows.js';

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
  /** The current chain, which then is what is authorized. */
  chain: Ticks.TickRow | undefined;
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
  /** The end of the chain that a payer's key gives for a tick voucher. */
  readonly endOf: (keyIndex: number, terms: Ticks.TickTerms) => Uint8Array;
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
  /** Channels whose chain the last batch set or advanced. */
  readonly ticked = new Set<number>();

  constructor(options: ModelOptions) {
    this.#options = options;
  }

  /** Runs a batch. */
  commit(commands: readonly Command[]): Expected[] {
    this.#pending = new Map();
    this.ticked.clear();
    const expected = commands.map((command) => this.#run(command));
    for (const [index, amount] of this.#pending) {
      const channel = this.channels[index];
      if (channel && this.#yields(channel, amount))
        Object.assign(channel, { authorized: amount, chain: undefined });
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
    return most(0n, this.#promised(index) - this.due(index) - this.reserved(index));
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
    if (command.kind === 'adopt' || command.kind === 'adopt_ticks') {
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
        this.#sign(command.session, command.advance);
        return;
      case 'adopt':
        this.#adopt(command.channel, command.row);
        return;
      case 'tick_voucher':
        this.#tickVoucher(command);
        return;
      case 'tick':
        this.#tick(command);
        return;
      case 'open_chain':
        this.#openChain(command);
        return;
      case 'reveal':
        this.#reveal(command);
        return;
      case 'receive':
        this.#receive(command.session, command.piece, command.bytes, 0n);
        return;
      case 'adopt_ticks':
        this.#adoptTicks(command.channel, command.row);
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
    this.channels.push({ ...facts, authorized: 0n, granted: 0n, writtenOff: 0n, chain: undefined });
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
    refuse(!this.#yields(channel, amount), 'not_increasing');
    const small = amount - channel.authorized < session.step;
    refuse(small && !command.final && amount < channel.granted - channel.writtenOff, 'below_step');
    this.#isCovered(session, channel, amount);
    refuse(!command.verified, 'unverified');
    this.#accept(channel, amount, undefined);
  }

  #isCovered(session: Session, channel: Channel, amount: bigint): void {
    refuse(amount > channel.deposit, 'exceeds_deposit');
    refuse(amount > channel.granted + session.prepay, 'exceeds_granted');
  }

  #accept(channel: Channel, amount: bigint, chain: Ticks.TickRow | undefined): void {
    Object.assign(channel, { authorized: amount, chain });
    if (channel.role === 'payee')
      channel.writtenOff = least(channel.writtenOff, most(0n, channel.granted - amount));
    if (!chain) return;
    this.ticked.add(this.channels.indexOf(channel));
    this.#pending.delete(this.channels.indexOf(channel));
  }

  /** Whether a plain voucher over this amount replaces what is held. */
  #yields({ authorized, chain }: Channel, amount: bigint): boolean {
    return chain ? amount >= authorized : amount > authorized;
  }

  /** The current chain, unless the batch will sign a plain voucher in its place. */
  #current(index: number): Ticks.TickRow | undefined {
    return this.#pending.has(index) ? undefined : this.channels[index]?.chain;
  }

  #tickVoucher(command: Command & { kind: 'tick_voucher' }): void {
    const { session, channel } = this.#session(command.session, 'payee');
    const row = Ticks.parse(command.row);
    refuse(!Ticks.isInRange(row), 'bad_range');
    const goesOn = channel.chain !== undefined && Ticks.rootOf(channel.chain) === Ticks.rootOf(row);
    const { authorized } = channel;
    refuse(goesOn ? Ticks.claimOf(row) <= authorized : row.amount < authorized, 'not_increasing');
    this.#isCovered(session, channel, Ticks.claimOf(row));
    refuse(!command.verified, 'unverified');
    this.#accept(channel, Ticks.claimOf(row), row);
  }

  #tick({ session: index, count, tick }: Command & { kind: 'tick' }): void {
    const { session, channel } = this.#session(index, 'payee');
    const { chain } = channel;
    if (!chain) throw new Refusal('unknown_piece');
    refuse(count <= chain.count, 'not_increasing');
    refuse(count > chain.length, 'bad_range');
    const shown = { ...chain, count, tick };
    this.#isCovered(session, channel, Ticks.claimOf(shown));
    refuse(Ticks.rootOf(shown) !== Ticks.rootOf(chain), 'bad_signature');
    this.#accept(channel, Ticks.claimOf(shown), shown);
  }

  #openChain({ session: index, unit, length }: Command & { kind: 'open_chain' }): void {
    this.#open(index);
    const { session, channel } = this.#session(index, 'payer');
    refuse(length < 1 || length > 1024 || unit === 0n, 'bad_range');
    const amount = most(this.#promised(session.channel), this.due(session.channel));
    inRange(amount + unit * BigInt(length));
    refuse(amount > channel.deposit, 'exceeds_deposit');
    const limit = this.budgets.get(session.infohash)?.limit;
    refuse(limit === undefined || this.#used(session.infohash) > limit, 'exceeds_budget');
    const known = this.#current(session.channel);
    if (known?.count === 0 && known.amount === amount && known.unit === unit && known.length === length)
      return;
    const terms = { amount, unit, length };
    const tick = Ticks.linked(this.#options.endOf(channel.keyIndex, terms), length);
    this.#accept(channel, amount, { ...terms, count: 0, tick, signature: new Uint8Array(0) });
  }

  #reveal({ session: index, count, advance }: Command & { kind: 'reveal' }): void {
    const { session, channel } = this.#session(index, 'payer');
    const chain = this.#current(session.channel);
    if (!chain) throw new Refusal('unknown_piece');
    refuse(count <= chain.count, 'not_increasing');
    refuse(count > chain.length, 'bad_range');
    const claim = chain.amount + chain.unit * BigInt(count);
    const ahead = least(advance, session.prepay, this.#reservedOf(session));
    refuse(claim > this.due(session.channel) + ahead, 'exceeds_granted');
    refuse(claim > channel.deposit, 'exceeds_deposit');
    const tick = Ticks.linked(this.#options.endOf(channel.keyIndex, chain), chain.length - count);
    // An adopted chain may be one that this seed does not give.
    const shown = { ...chain, count, tick };
    refuse(Ticks.rootOf(shown) !== Ticks.rootOf(chain), 'bad_signature');
    this.#accept(channel, claim, shown);
  }

  #adoptTicks(index: number, bytes: Uint8Array): void {
    const channel = this.channels[index];
    if (!channel) throw new Refusal('unknown_channel');
    refuse(channel.role !== 'payer', 'wrong_role');
    const row = Ticks.parse(bytes);
    refuse(!Ticks.isInRange(row), 'bad_range');
    refuse(Ticks.claimOf(row) <= this.#promised(index), 'not_increasing');
    refuse(Ticks.claimOf(row) > channel.deposit, 'exceeds_deposit');
    refuse(!this.#options.isSigned(channel.voucherKey, hex(bytes)), 'bad_signature');
    this.#accept(channel, Ticks.claimOf(row), row);
  }

  /** What is authorized once the batch has been signed for. */
  #promised(index: number): bigint {
    return most(this.channels[index]?.authorized ?? 0n, this.#pending.get(index) ?? 0n);
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
    const amount = this.#receive(index, piece, bytes, advance);
    if (amount > this.#promised(session.channel)) this.#pending.set(session.channel, amount);
  }

  /** Books a piece, and gives what is to be authorized after it. */
  #receive(index: number, piece: number, bytes: number, advance: bigint): bigint {
    const { session } = this.#session(index, 'payer');
    refuse(session.outstanding.get(piece) !== bytes, 'unknown_piece');
    const amount = this.#authorize(index, BigInt(bytes), advance);
    const before = priceOf(session.price, session.bytes);
    session.bytes += BigInt(bytes);
    session.pieceCount += 1;
    session.outstanding.delete(piece);
    const budget = this.budgets.get(session.infohash);
    if (budget) budget.spent += priceOf(session.price, session.bytes) - before;
    return amount;
  }

  #authorize(index: number, bytes: bigint, advance: bigint): bigint {
    const { session, channel } = this.#session(index, 'payer');
    const cost = priceOf(session.price, session.bytes + bytes) - priceOf(session.price, session.bytes);
    const ahead = least(advance, session.prepay, this.#reservedOf(session) - cost);
    const amount = most(this.#promised(session.channel), this.due(session.channel) + cost + ahead);
    refuse(amount > channel.deposit, 'exceeds_deposit');
    return amount;
  }

  #sign(index: number, advance: bigint): void {
    const { session } = this.#session(index, 'payer');
    const amount = this.#authorize(index, 0n, advance);
    const rises = amount > this.#promised(session.channel);
    if (rises || this.#current(session.channel)) this.#pending.set(session.channel, amount);
  }

  #adopt(index: number, row: Uint8Array): void {
    const channel = this.channels[index];
    if (!channel) throw new Refusal('unknown_channel');
    refuse(channel.role !== 'payer', 'wrong_role');
    refuse(amountOf(row) <= this.#promised(index), 'not_increasing');
    refuse(amountOf(row) > channel.deposit, 'exceeds_deposit');
    refuse(!this.#options.isSigned(channel.voucherKey, hex(row)), 'bad_signature');
    this.#accept(channel, amountOf(row), undefined);
  }
}
