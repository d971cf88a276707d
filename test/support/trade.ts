/**
 * A sale in one process: the payee with its seeder, the payer with its fetcher and a ledger each are the product's own;
 * between them is a cable that delivers in order and can be cut behind any message, and either side can be killed,
 * with its ledger opened again and everything else of it gone. Time passes only when nobody has anything to do.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createBans } from '../../src/accounting/bans.js';
import type { Book } from '../../src/accounting/book.js';
import type { Heads } from '../../src/accounting/head.js';
import { createIntake } from '../../src/accounting/intake.js';
import { createPayee, type Payee, type PayeeTerms } from '../../src/accounting/payee.js';
import { createPayer, type Payer } from '../../src/accounting/payer.js';
import * as Tariff from '../../src/accounting/tariff.js';
import type { ChannelFacts, Domain } from '../../src/channels/channel.js';
import type { PayLink } from '../../src/channels/link.js';
import type { Message } from '../../src/channels/message.js';
import { settleLeftovers } from '../../src/engine/buying.js';
import { recoverWith } from '../../src/engine/verifying.js';
import { Ledger } from '../../src/ledger/ledger.js';
import { call } from '../../src/native/binding.js';
import { type Executor, inline } from '../../src/native/executor.js';
import { type Outcome, statusesOf, writeTicks, writeVouchers } from '../../src/native/records.js';
import * as Fetchers from '../../src/torrent/fetcher.js';
import { plainHasher } from '../../src/torrent/hasher.js';
import * as Seeders from '../../src/torrent/seeder.js';
import { toHex } from '../../src/units.js';
import * as Messages from '../../src/wire/messages.js';
import { keyNamed } from './agreement.js';
import { BuyerEnd, Cable, isAt, SellerEnd } from './cable.js';
import type { Chance } from './chance.js';
import { temporary } from './engines.js';
import { Time } from './idle-time.js';

export interface TradeTerms {
  readonly pieceLength: number;
  readonly totalBytes: number;
  readonly payee: PayeeTerms;
  readonly payTicks: boolean;
  readonly prepayMax: bigint;
  readonly deposit: bigint;
}

export type Loss = 'cut' | 'payee' | 'payer' | 'both';

export interface TradeEnd {
  /** The longest time without a new piece, by the trade's own clock. */
  readonly longestWaitMs: number;
  readonly losses: number;
  /** What the payer signed, and what it owes for verified pieces. */
  readonly authorized: bigint;
  readonly due: bigint;
  /** What the payee holds, and what its payer owed it at most: before it paid anything, and beyond all that it had paid. */
  readonly accepted: bigint;
  readonly strangerOwed: bigint;
  readonly owedBeyond: bigint;
  /** What the payer had signed at most beyond the price of all that had arrived. */
  readonly paidBeyond: bigint;
}

/** Without a piece for this long both sides wait for each other: a default takes a minute. */
const STALL_MS = 30_000;
/** Turns of the event loop in which nothing happened, after which nothing will. */
const IDLE_TURNS = 4;
const LAST_MS = 1_000;
/** Connections in a row that bring no piece: more than can be lost to the plan. */
const CONNECTIONS_MAX = 100;
const DOMAIN: Domain = { chainId: 199n, hub: new Uint8Array(20).fill(0xaa) };
const CHALLENGE_PERIOD = 86_400;
const PAYEE = keyNamed('trade payee');

/** Plays a whole download; something is lost behind `lossPercent` of a hundred messages, `losses` times at most. */
export async function trade(
  terms: TradeTerms,
  draw: Chance,
  losses: number,
  lossPercent: number,
): Promise<TradeEnd> {
  const one = new Trade(terms, draw, losses, lossPercent);
  try {
    return await one.toEnd();
  } finally {
    await one.end();
  }
}

interface Side {
  /** Nothing of a dead side reaches the disk or the cable any more. */
  dead: boolean;
  readonly ledger: Ledger;
  readonly book: Book;
}

class Trade {
  readonly #terms: TradeTerms;
  readonly #draw: Chance;
  readonly #lossPercent: number;
  readonly #folder = temporary();
  readonly #executor: Executor = inline();
  readonly #time = new Time();
  readonly #source: Buffer;
  readonly #torrent: Parameters<typeof Fetchers.create>[0]['torrent'];
  readonly #infohash = randomBytes(20);
  readonly #there = new Set<number>();
  readonly #bans = createBans(this.#time);
  #lossesLeft: number;
  #lost = 0;
  #links = 0;
  #seller: { side: Side; payee: Payee; seeder: Seeders.Seeder } | undefined;
  #buyer: { side: Side; payer: Payer; fetcher: Fetchers.Fetcher; stop: () => void } | undefined;
  #cable: Cable | undefined;
  #ends: { seller: SellerEnd; buyer: BuyerEnd; links: { seller: PayLink; buyer: PayLink } } | undefined;
  #committing = 0;
  #trouble: unknown;
  #longestWaitMs = 0;
  #strangerOwed = 0n;
  #owedBeyond = 0n;
  #paidBeyond = 0n;
  #arrivedBytes = 0n;

  constructor(terms: TradeTerms, draw: Chance, losses: number, lossPercent: number) {
    this.#terms = terms;
    this.#draw = draw;
    this.#lossesLeft = losses;
    this.#lossPercent = lossPercent;
    const { pieceLength, totalBytes } = terms;
    this.#source = draw.bytes(totalBytes);
    const pieceCount = Math.ceil(totalBytes / pieceLength);
    const digests = Array.from({ length: pieceCount }, (_, piece) =>
      createHash('sha1')
        .update(this.#source.subarray(piece * pieceLength, (piece + 1) * pieceLength))
        .digest(),
    );
    this.#torrent = {
      pieceLength,
      pieceCount,
      totalBytes,
      files: [],
      pieceHashes: new Uint8Array(Buffer.concat(digests)),
    };
  }

  async toEnd(): Promise<TradeEnd> {
    await this.#startSeller();
    await this.#startBuyer();
    this.#connect();
    let sinceMs = 0;
    let pieces = 0;
    let connections = 0;
    for (let idle = 0; ; ) {
      if (this.#trouble) throw this.#trouble;
      if (this.#there.size > pieces) [pieces, sinceMs, connections] = [this.#there.size, this.#time.nowMs, 0];
      const whole = this.#there.size === this.#torrent.pieceCount;
      if (!whole) this.#longestWaitMs = Math.max(this.#longestWaitMs, this.#time.nowMs - sinceMs);
      // A last voucher may wait a little for a better one.
      if (whole && idle > IDLE_TURNS && this.#time.nowMs - sinceMs > LAST_MS) break;
      if (this.#time.nowMs - sinceMs > STALL_MS) throw new Error(await this.#stalled());
      await new Promise(setImmediate);
      const cable = this.#cable!;
      if (cable.closed) {
        if (++connections > CONNECTIONS_MAX) throw new Error(`${connections} connections and no piece`);
        this.#connect();
        idle = 0;
      } else if (!cable.empty) {
        if (this.#draw.percent(20)) await this.#settle();
        for (let count = this.#draw.below(8); count >= 0 && !cable.empty; count--) cable.deliver(this.#draw);
        if (this.#lossesLeft > 0 && this.#draw.percent(this.#lossPercent)) await this.#lose();
        idle = 0;
      } else if (this.#committing > 0) idle = 0;
      else if (++idle > IDLE_TURNS) this.#time.pass();
    }
    const [payer] = await this.#buyer!.side.ledger.channels();
    const [payee] = await this.#seller!.side.ledger.channels();
    const { authorized, due } = payer!;
    return {
      longestWaitMs: this.#longestWaitMs,
      losses: this.#lost,
      authorized,
      due,
      accepted: payee!.authorized,
      strangerOwed: this.#strangerOwed,
      owedBeyond: this.#owedBeyond,
      paidBeyond: this.#paidBeyond,
    };
  }

  async end(): Promise<void> {
    for (const side of [this.#buyer?.side, this.#seller?.side]) {
      if (!side) continue;
      side.dead = true;
      await side.ledger.close();
    }
    this.#buyer?.stop();
    this.#seller?.seeder.stop();
    await this.#executor.close();
    this.#folder.remove();
  }

  /** Lets both sides finish what they are at, so that what they say arrives together. */
  async #settle(): Promise<void> {
    for (let idle = 0; idle < IDLE_TURNS; idle++) {
      await new Promise(setImmediate);
      if (this.#committing > 0) idle = 0;
    }
    this.#cable!.deliverAll(this.#draw);
  }

  async #lose(): Promise<void> {
    const what: Loss = this.#draw.pick(['cut', 'payee', 'payer', 'both']);
    this.#lossesLeft--;
    this.#lost++;
    const dead = what === 'cut' ? [] : what === 'both' ? ['payee', 'payer'] : [what];
    if (dead.includes('payee')) this.#seller!.side.dead = true;
    if (dead.includes('payer')) this.#buyer!.side.dead = true;
    this.#cable!.cut();
    if (dead.includes('payee')) await this.#startSeller();
    if (dead.includes('payer')) await this.#startBuyer();
  }

  async #open(name: string, seed: Uint8Array, old: Side | undefined): Promise<Side> {
    await old?.ledger.close();
    const dataDir = `${this.#folder.path}/${name}`;
    const ledger = await Ledger.open(this.#executor, { dataDir, ...DOMAIN, seed, segmentBytes: 1 << 20 });
    const commit: Book['commit'] = async (commands) => {
      if (side.dead) return new Promise(() => {});
      this.#committing++;
      const outcomes = await ledger.commit(commands).finally(() => this.#committing--);
      return side.dead ? new Promise(() => {}) : outcomes;
    };
    const side: Side = {
      dead: false,
      ledger,
      book: { commit, screen: (commands) => ledger.screen(commands) },
    };
    for (const session of await ledger.sessions()) {
      const { index, deliveredBytes, closed } = session;
      if (!closed) await ledger.commit([{ kind: 'session_close', session: index, deliveredBytes }]);
    }
    return side;
  }

  async #startSeller(): Promise<void> {
    this.#seller?.seeder.stop();
    const side = await this.#open('payee', new Uint8Array(32).fill(1), this.#seller?.side);
    const { ledger } = side;
    const book = this.#watched(side.book, ({ granted, writtenOff, authorized }) => {
      const owed = granted - writtenOff - authorized;
      if (authorized === 0n && owed > this.#strangerOwed) this.#strangerOwed = owed;
      if (authorized > 0n && owed - authorized > this.#owedBeyond) this.#owedBeyond = owed - authorized;
    });
    const separator = ledger.domain;
    const intake = createIntake(
      book,
      {
        vouchers: async (claims) =>
          statusesOf(await this.#executor.verifyVouchers(separator, writeVouchers(claims))),
        ticks: async (claims) => statusesOf(await this.#executor.verifyTicks(separator, writeTicks(claims))),
      },
      this.#time,
    );
    const fail = (reason: unknown): void => {
      if (!side.dead) this.#trouble = reason;
    };
    const payee = createPayee(
      this.#terms.payee,
      {
        clock: this.#time,
        domain: DOMAIN,
        payee: PAYEE.address,
        challengePeriod: CHALLENGE_PERIOD,
        delegate: PAYEE.address,
        delegation: undefined,
        book,
        intake,
        bans: this.#bans,
        sign: (digest) => call((addon) => addon.signDigests(PAYEE.secret, digest)),
        recover: recoverWith(this.#executor),
        lookUp: async (voucherKey) => this.#facts(voucherKey),
        booked: (voucherKey) => ledger.channel(voucherKey, PAYEE.address),
        isRetired: () => false,
        randomBytes,
      },
      {
        onStanding: (link, standing) => {
          const peer = this.#peerOf(link);
          if (peer) seeder.setStanding(peer, standing === 'paid' ? 'paid' : 'none');
        },
        onResume: (link) =>
          void setImmediate(() => {
            const peer = this.#peerOf(link);
            if (peer) seeder.resume(peer);
          }),
        onActive: () => {},
        onIdle: () => {},
        onFailure: fail,
        onTrouble: fail,
      },
    );
    const seeder = Seeders.create({
      layout: this.#torrent,
      storage: {
        has: () => true,
        readInto: async (index, offset, parts) => {
          let at = index * this.#terms.pieceLength + offset;
          for (const part of parts) {
            part.set(this.#source.subarray(at, at + part.length));
            at += part.length;
          }
        },
      },
      gate: {
        admit: (peer, pieces) => (isAt(peer) ? payee.admit(peer.link!, pieces) : []),
        isByPart: (peer) => isAt(peer) && payee.isByBlock(peer.link!),
        sent: (peer, piece, bytes) => isAt(peer) && payee.sent(peer.link!, piece, bytes),
        dropped: () => {},
      },
      clock: this.#time,
      freeSlots: 0,
      onError: fail,
    });
    this.#seller = { side, payee, seeder };
  }

  /** The same book; what comes of its commands is looked at. */
  #watched(book: Book, look: (outcome: Outcome) => void): Book {
    return {
      ...book,
      async commit(commands) {
        const outcomes = await book.commit(commands);
        for (const outcome of outcomes) if (outcome.channel !== undefined) look(outcome);
        return outcomes;
      },
    };
  }

  #facts(voucherKey: Uint8Array): ChannelFacts {
    const { deposit } = this.#terms;
    const owner = new Uint8Array(20).fill(7);
    return {
      voucherKey,
      payee: PAYEE.address,
      owner,
      deposit,
      settled: 0n,
      closeAt: 0,
      block: 1n,
    } as ChannelFacts;
  }

  #peerOf(link: PayLink): SellerEnd | undefined {
    return this.#ends?.links.seller === link && !link.closed ? this.#ends.seller : undefined;
  }

  async #startBuyer(): Promise<void> {
    this.#buyer?.stop();
    const side = await this.#open('payer', new Uint8Array(32).fill(2), this.#buyer?.side);
    const { ledger } = side;
    const book = this.#watched(side.book, ({ authorized }) => {
      const beyond = authorized - Tariff.price(this.#terms.payee.priceMiB, this.#arrivedBytes);
      if (beyond > this.#paidBeyond) this.#paidBeyond = beyond;
    });
    const { deposit } = this.#terms;
    if ((await ledger.channels()).length === 0) {
      const { keyIndex, voucherKey } = ledger.freshVoucherKey();
      const facts = {
        voucherKey,
        payee: PAYEE.address,
        deposit,
        settled: 0n,
        closeAt: 0,
        block: 1,
        keyIndex,
      };
      await ledger.commit([
        { kind: 'channel_put', role: 'payer', ...facts },
        { kind: 'budget', infohash: this.#infohash, limit: deposit },
      ]);
    }
    await settleLeftovers(ledger, this.#infohash, (piece) => this.#there.has(piece));
    const [channel] = await ledger.channels();
    const fail = (reason: unknown): void => {
      if (!side.dead) this.#trouble = reason;
    };
    const heads: Heads = new Map();
    const payer = createPayer(
      {
        clock: this.#time,
        domain: DOMAIN,
        challengePeriod: CHALLENGE_PERIOD,
        book,
        heads,
        priceMiBMax: () => this.#terms.payee.priceMiB,
        prepayMax: this.#terms.prepayMax,
        payTicksFor: this.#terms.payTicks ? this.#terms.pieceLength : undefined,
        recover: recoverWith(this.#executor),
        signAs: (_voucherKey, digest) => ledger.signAs(channel!.keyIndex, digest),
        channelFor: async () => (await ledger.channels())[0],
      },
      {
        onStanding: () => fetcher.resume(),
        onAck: () => {},
        onReceipt: () => {},
        onFailure: fail,
        onTrouble: fail,
      },
    );
    const linkOf = (peer: Fetchers.FetchPeer): PayLink => (peer as BuyerEnd).link!;
    const fetcher = Fetchers.create({
      torrent: this.#torrent,
      storage: {
        has: (piece) => this.#there.has(piece),
        writePiece: async (piece) => void (side.dead || this.#there.add(piece)),
        count: () => this.#there.size,
        complete: () => this.#there.size === this.#torrent.pieceCount,
        sync: async () => {},
      },
      hasher: plainHasher,
      till: {
        reserve: (peer, piece, bytes) => payer.reserve(linkOf(peer), piece, bytes),
        arrived: (peer, piece, bytes) => {
          this.#arrivedBytes += BigInt(bytes);
          payer.arrived(linkOf(peer), piece, bytes);
        },
        received: (peer, piece, bytes) => payer.received(linkOf(peer), piece, bytes),
        abandoned: (peer, piece) => void payer.abandoned(linkOf(peer), piece).catch(fail),
      },
      clock: this.#time,
      random: () => this.#draw.below(1 << 20) / (1 << 20),
      rank: (peer) => (payer.standingOf(linkOf(peer)) === 'ready' ? 0 : undefined),
      onBadPiece: (_peer, piece) => fail(new Error(`piece ${piece} is bad`)),
    });
    fetcher.done.catch(fail);
    // As a download does: whoever waits is asked again now and then.
    const stopWaking = this.#time.every(1_000, () => fetcher.resume());
    const stop = (): void => {
      stopWaking();
      void fetcher.stop();
    };
    this.#buyer = { side, payer, fetcher, stop };
  }

  #connect(): void {
    const { payee, seeder, side: selling } = this.#seller!;
    const { payer, fetcher, side: buying } = this.#buyer!;
    const cable = new Cable(() => {
      for (const link of [links.seller, links.buyer]) Object.assign(link, { closed: true });
      if (!selling.dead) {
        seeder.leave(seller);
        payee.detach(links.seller).catch((reason) => {
          this.#trouble = reason;
        });
      }
      if (!buying.dead) {
        fetcher.leave(buyer);
        payer.detach(links.buyer).catch((reason) => {
          this.#trouble = reason;
        });
      }
    });
    this.#cable = cable;
    const seller = new SellerEnd(cable, fetcher, (bytes) => {
      seeder.delivered(seller, bytes);
      payee.delivered(links.seller, bytes);
    });
    const buyer = new BuyerEnd(cable, seeder, seller);
    seller.buyer = buyer;
    const peerIds = { seller: randomBytes(20), buyer: randomBytes(20) };
    const link = (
      to: 'payee' | 'payer',
      own: Buffer,
      other: Buffer,
      take: (message: Message) => void,
    ): PayLink => ({
      id: ++this.#links,
      address: '127.0.0.1',
      infohash: this.#infohash,
      peerId: new Uint8Array(other),
      localPeerId: new Uint8Array(own),
      closed: false,
      send(message) {
        const bytes = Messages.encode(message);
        cable.put(to, () => {
          const decoded = Messages.decode(bytes);
          if (!decoded.ok) throw new Error(`a ${message.type} that cannot be read`);
          take(decoded.message);
        });
      },
      close: () => cable.cut(),
    });
    const links = {
      seller: link('payer', peerIds.seller, peerIds.buyer, (message) =>
        payer.onMessage(links.buyer, message),
      ),
      buyer: link('payee', peerIds.buyer, peerIds.seller, (message) =>
        payee.onMessage(links.seller, message),
      ),
    };
    [seller.link, buyer.link] = [links.seller, links.buyer];
    this.#ends = { seller, buyer, links };
    seeder.join(seller, 'none');
    fetcher.join(buyer);
    payer.attach(links.buyer);
    const { pieceLength } = this.#terms;
    payee.attach(links.seller, { pieceLength, byBlock: true });
  }

  async #stalled(): Promise<string> {
    const show = (_key: string, value: unknown): unknown =>
      typeof value === 'bigint'
        ? String(value)
        : value instanceof Uint8Array
          ? toHex(value).slice(0, 16)
          : value;
    const [payer] = await this.#buyer!.side.ledger.channels();
    const [payee] = await this.#seller!.side.ledger.channels();
    const session = (await this.#seller!.side.ledger.sessions()).at(-1);
    return `stalled: no piece for ${STALL_MS} ms\n${JSON.stringify({ payer, payee, session }, show, 1)}`;
  }
}
