/**
 * Durable commits per second: our ledger's journal against better-sqlite3 in WAL mode with synchronous=FULL, on
 * the same disk, same vouchers, each commit synced before the next. Both keep the highest row of each channel;
 * signatures are not part of it on either side.
 */
import { join } from 'node:path';
import { type Book, CHANNELS, latestAmount, openNative, openProduct, openSqlite } from './journal-books.js';
import type { Settings } from './main.js';
import { check, measure } from './measure.js';
import { type Row, rowOf } from './report.js';

/** Commits of 1,000 that the ledger joins into one frame at most (`batchCommandsMax`). */
const JOINED = 4;

export async function journal({ effort, peers, folder }: Settings): Promise<Row[]> {
  const native = openNative(join(folder, 'ledger'));
  const sqlite = peers && openSqlite(join(folder, 'sqlite'), peers);
  const product = await openProduct(join(folder, 'product'));
  const cases = [
    {
      id: 'journal.sqlite',
      what: '1,000 vouchers a commit, packed records; peer: better-sqlite3 WAL FULL upsert',
      ours: native.commits(CHANNELS),
      peer: sqlite?.commits(CHANNELS),
    },
    {
      id: 'journal.group',
      what: `${JOINED} commits of 1,000 under way, which share a sync; peer: ${JOINED},000 upserts a transaction`,
      ours: native.commits(CHANNELS, JOINED),
      peer: sqlite?.commits(CHANNELS, JOINED),
    },
    {
      id: 'journal.sqlite.packed',
      what: 'ours with packing of objects and reading of outcomes; peer: the same',
      ours: native.commitsOfObjects(),
      peer: sqlite?.commits(CHANNELS),
      info: true,
    },
    {
      id: 'journal.sqlite.ledger',
      what: 'ours as the engine commits, through the lane’s thread; peer: the same',
      ours: product.contender,
      peer: sqlite?.commits(CHANNELS),
      info: true,
    },
    {
      id: 'journal.sqlite.one',
      what: '1 voucher a commit on both sides',
      ours: native.commits(1),
      peer: sqlite?.commits(1),
      info: true,
    },
  ];
  for (const book of sqlite ? [native, sqlite] : [native]) checkBook(book);
  const measured = await measure(cases, effort, 'wall');
  for (const book of sqlite ? [native, sqlite] : [native]) checkBook(book);
  native.checkReopened();
  native.close();
  sqlite?.close();
  await product.close();
  return cases.map(({ id, what, info = false }, at) =>
    rowOf({ id, what, unit: 'vouchers/s', info }, measured[at]!),
  );
}

/** Commits once alone and once joined, and looks whether every head is what was committed last. */
function checkBook(book: Book): void {
  for (const joined of [1, JOINED]) {
    const contender = book.commits(CHANNELS, joined);
    contender.prepare?.();
    contender.run();
    const latest = latestAmount();
    for (const channel of [0, 1, CHANNELS - 1]) {
      check(book.head(channel) === latest, `channel ${channel} holds ${book.head(channel)}, not ${latest}`);
    }
  }
}
