/**
 * Paid against unpaid downloads by the product itself: one seeder with one configuration, the same file, a downloader
 * in a process of its own over loopback. Paid downloads send a voucher for each piece of 1 MiB and journal it on both
 * sides; unpaid ones use a free slot. The pairs take turns.
 */
import type { Settings } from './main.js';
import { median, summarise } from './measure.js';
import { type Row, rowOf } from './report.js';
import * as Stage from './stage.js';

const MIB = 2 ** 20;
const BYTES = 512 * MIB;
const BYTES_SMOKE = 8 * MIB;
const ROUNDS = 5;

export async function downloading(settings: Settings): Promise<Row[]> {
  const { smoke, say } = settings;
  const stage = await Stage.open(settings, 'download', smoke ? BYTES_SMOKE : BYTES);
  try {
    const paid: Stage.Download[] = [];
    const unpaid: Stage.Download[] = [];
    if (!smoke) await stage.download(false);
    for (let round = 0; round < (smoke ? 1 : ROUNDS); round++) {
      const first = round % 2 === 0;
      (first ? paid : unpaid).push(await stage.download(first));
      (first ? unpaid : paid).push(await stage.download(!first));
      say(
        `bench: download ${paid.at(-1)!.rate.toFixed(0)} MB/s paid, ${unpaid.at(-1)!.rate.toFixed(0)} unpaid`,
      );
    }
    const turns = (of: 'rate' | 'whole') => paid.map((one, at) => ({ ours: one[of], peer: unpaid[at]![of] }));
    const vouchers = median(paid.map((one) => one.vouchers));
    const size = `${stage.bytes / MIB} MiB, ${stage.pieces} pieces`;
    return [
      rowOf(
        {
          id: 'download.paid_unpaid',
          what: `paid download of ${size}, ${vouchers} vouchers accepted; peer: the same unpaid`,
          unit: 'MB/s',
        },
        summarise(turns('rate')),
      ),
      rowOf(
        {
          id: 'download.paid_unpaid.whole',
          what: 'the same from the start of the downloader’s process; peer: the same unpaid',
          unit: 'MB/s',
          info: true,
        },
        summarise(turns('whole')),
      ),
    ];
  } finally {
    await stage.end();
  }
}
