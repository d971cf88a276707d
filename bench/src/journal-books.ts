/**
 * The books that the journal bench commits to: the addon's ledger called directly, the same ledger as the engine
 * calls it, and a table of better-sqlite3. All take the same vouchers; every voucher of a run is higher than all
 * before, so none is refused.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { call, record } from '../../dist/native/binding.js';
import * as Executor from '../../dist/native/executor.js';
import { Ledger } from '../../dist/native/ledger.js';
import { type Command, CommandWriter, readChannels, readOutcomes } from '../../dist/native/records.js';
import { DEPOSIT, idOf } from './books.js';
import { type Contender, check } from './measure.js';
import type { Peers } from './peers.js';
import { CHAIN_ID, HUB, PAYEE } from './vouchers.js';

export const CHANNELS = 1_000;
const NO_BLOBS = new Uint8Array(0);

/** Something that keeps vouchers, with ways to commit them and to say what it holds. */
export interface Book {
  /**
   * A contender that commits `count` vouchers at a time; `joined` such commits share a sync, as the ledger joins
   * those that are asked for while a sync is under way.
   */
  commits(count: number, joined?: number): Contender;
  /** The amount of the head of a channel. */
  head(channel: number): bigint;
  close(): void;
}

/** Every voucher of the whole bench is higher than all before. */
let latest = 0n;
const rise = (): bigint => {
  latest += 1n;
  return latest;
};

/** The amount of the newest voucher. */
export const latestAmount = (): bigint => latest;

/** A row with an amount; what stands for the signature is as random as one. */
function rowWith(amount: bigint, seed: number): Uint8Array {
  const row = new Uint8Array(76);
  for (let at = 12; at < 76; at++) row[at] = (seed * 2_654_435_761 + at * 40_503) >>> 13;
  writeAmount(row, 0, amount);
  return row;
}

/** Big-endian, 12 bytes. */
function writeAmount(bytes: Uint8Array, at: number, amount: bigint): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, 12);
  view.setUint32(0, Number(amount >> 64n));
  view.setBigUint64(4, amount & 0xffff_ffff_ffff_ffffn);
}

/** A thousand channels, each with a session that was granted more than the bench will ever pay. */
function setUpCommands(): Command[] {
  const channels = Array.from({ length: CHANNELS }, (_, at): Command => {
    const facts = { deposit: DEPOSIT, settled: 0n, closeAt: 0, block: 1 };
    return { kind: 'channel_put', role: 'payee', voucherKey: idOf(20, at), payee: PAYEE, ...facts };
  });
  const sessions = Array.from({ length: CHANNELS }, (_, channel): Command => {
    const price = { priceMiB: 1n << 80n, minimumStep: 0n, prepay: 0n };
    return { kind: 'session_open', channel, sessionId: idOf(16, channel), infohash: idOf(20, 0), ...price };
  });
  const grants = Array.from({ length: CHANNELS }, (_, session): Command => {
    return { kind: 'grant', session, bytes: 1 << 20, exposureLimit: DEPOSIT };
  });
  return [...channels, ...sessions, ...grants];
}

function vouchers(count: number): Command[] {
  const amount = rise();
  return Array.from({ length: count }, (_, session): Command => {
    return { kind: 'voucher', session, row: rowWith(amount, session), final: false, verified: true };
  });
}

function pack(commands: readonly Command[]): Uint8Array {
  const writer = new CommandWriter();
  writer.add(commands);
  return writer.finish().commands;
}

export interface NativeBook extends Book {
  /** Commits of 1,000 from objects to objects on this thread. */
  commitsOfObjects(): Contender;
  /** Closes the ledger, opens it again and compares its state. */
  checkReopened(): void;
}

/** The addon's ledger, called as the lane's thread calls it. */
export function openNative(folder: string): NativeBook {
  mkdirSync(folder);
  const open = (): number =>
    call((addon) => addon.ledgerOpen(folder, CHAIN_ID, HUB, undefined, undefined)).handle;
  let handle = open();
  const commit = (commands: Uint8Array): Uint8Array =>
    call((addon) => addon.ledgerCommit(handle, commands, NO_BLOBS));
  const refused = readOutcomes(commit(pack(setUpCommands()))).find(({ status }) => status !== 'ok');
  check(refused === undefined, `setting up the ledger gave ${refused?.status}`);
  const shape = record('voucher');
  const amountAt = shape.fields.find(({ name }) => name === 'row')!.offset;
  const outcomeStride = record('outcome').stride;
  const statusAt = record('outcome').fields.find(({ name }) => name === 'status')!.offset;
  return {
    commits(count, joined = 1) {
      const all = count * joined;
      const commands = pack(Array.from({ length: joined }, () => vouchers(count)).flat());
      return {
        prepare() {
          for (let at = 0, amount = 0n; at < all; at++) {
            if (at % count === 0) amount = rise();
            writeAmount(commands, at * shape.stride + amountAt, amount);
          }
        },
        run() {
          const outcomes = commit(commands);
          for (let at = 0; at < all; at += count) {
            const status = outcomes[at * outcomeStride + statusAt];
            if (status !== 0) throw new Error(`the ledger refused with ${status}`);
          }
          return all;
        },
      };
    },
    commitsOfObjects() {
      let commands: Command[] = [];
      return {
        prepare() {
          commands = vouchers(CHANNELS);
        },
        run() {
          const outcomes = readOutcomes(commit(pack(commands)));
          if (outcomes[0]!.status !== 'ok') throw new Error(`the ledger refused with ${outcomes[0]!.status}`);
          return outcomes.length;
        },
      };
    },
    head: (channel) =>
      readChannels(call((addon) => addon.ledgerRead(handle, 'channels', channel, 1)))[0]!.authorized,
    checkReopened() {
      const hash = (): string => Buffer.from(call((addon) => addon.ledgerStateHash(handle))).toString('hex');
      const before = hash();
      call((addon) => addon.ledgerClose(handle));
      handle = open();
      check(hash() === before, 'the ledger is another after it was opened again');
    },
    close: () => call((addon) => addon.ledgerClose(handle)),
  };
}

/** The ledger as the engine uses it, with its own thread. */
export async function openProduct(folder: string): Promise<{ contender: Contender; close(): Promise<void> }> {
  const executor = Executor.pool({ threads: 1 });
  const ledger = await Ledger.open(executor, { folder, chainId: CHAIN_ID, hub: HUB });
  await ledger.commit(setUpCommands());
  let commands: Command[] = [];
  return {
    contender: {
      prepare() {
        commands = vouchers(CHANNELS);
      },
      async run() {
        const outcomes = await ledger.commit(commands);
        if (outcomes[0]!.status !== 'ok') throw new Error(`the ledger refused with ${outcomes[0]!.status}`);
        return outcomes.length;
      },
    },
    async close() {
      await ledger.close();
      await executor.close();
    },
  };
}

export function openSqlite(folder: string, { openSqlite: open }: Peers): Book {
  mkdirSync(folder);
  const database = open(join(folder, 'heads.db'));
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  database.exec('create table head (channel integer primary key, amount blob not null, row blob not null)');
  const upsert = database.prepare(
    `insert into head (channel, amount, row) values (?, ?, ?)
     on conflict (channel) do update set amount = excluded.amount, row = excluded.row
     where excluded.amount > head.amount`,
  );
  const select = database.prepare('select hex(amount) as amount from head where channel = ?');
  const write = database.transaction((commits: ReadonlyArray<readonly Uint8Array[]>) => {
    for (const rows of commits) {
      for (const [channel, row] of rows.entries()) upsert.run(channel, row.subarray(0, 12), row);
    }
  });
  return {
    commits(count, joined = 1) {
      const commits = Array.from({ length: joined }, () =>
        Array.from({ length: count }, (_, channel) => rowWith(0n, channel)),
      );
      return {
        prepare() {
          for (const rows of commits) {
            const amount = rise();
            for (const row of rows) writeAmount(row, 0, amount);
          }
        },
        run() {
          write(commits);
          return count * joined;
        },
      };
    },
    head: (channel) => BigInt(`0x${(select.get(channel) as { amount: string }).amount}`),
    close: () => database.close(),
  };
}
