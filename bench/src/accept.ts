/**
 * Vouchers accepted per second: bytes in, screened, every signature verified, applied, journalled and synced, bytes
 * of the acknowledgement out, over many channels at once. The peer is mppx's `verifyVoucher` with its heads in a
 * map: it decodes, journals and acknowledges nothing.
 */
import { join } from 'node:path';
import type { Settings } from './main.js';
import { type Contender, check, measure } from './measure.js';
import { type Row, rowOf } from './report.js';
import { checkTill, openTill } from './till.js';
import { mppx } from './verify-peers.js';
import { makeSamples } from './vouchers.js';

const CHANNELS = 10_000;
const CHANNELS_SMOKE = 64;
const SAMPLES = 64;

export async function accepting({ effort, smoke, peers, folder }: Settings): Promise<Row[]> {
  const till = await openTill(join(folder, 'accept'), smoke ? CHANNELS_SMOKE : CHANNELS);
  await checkTill(till);
  let amount = 2n;
  let messages: Uint8Array[] = [];
  const ours: Contender = {
    prepare() {
      amount += 1n;
      messages = till.messages(amount, 0, till.channels);
    },
    async run() {
      const acks = await Promise.all(messages.map((message, at) => till.take(at, message)));
      if (acks.includes(undefined)) throw new Error('a voucher was not answered');
      return acks.length;
    },
  };
  const peer = peers && mppx(makeSamples(SAMPLES), peers, new Map());
  const wall = (await measure([{ ours, peer }], effort, 'wall'))[0]!;
  const core = (await measure([{ ours, peer }], effort, 'core'))[0]!;
  const heads = await till.heads();
  check(
    heads.every((head) => head === amount),
    'a head is not the last voucher that was acknowledged',
  );
  await till.close();
  const what = `vouchers of ${till.channels} channels from bytes to durable acknowledgement`;
  return [
    rowOf(
      {
        id: 'accept.mppx',
        what: `${what}; peer: mppx verifyVoucher, heads in a map`,
        unit: 'vouchers/s',
      },
      wall,
    ),
    rowOf(
      {
        id: 'accept.mppx.core',
        what: 'the same per second of one core, all our threads together',
        unit: 'vouchers/s',
        info: true,
      },
      core,
    ),
  ];
}
