/**
 * What a seeder does with a core, paid and unpaid, and beside libtorrent. The seeders serve the same file to the same
 * downloader (see leech.ts), in turns: ours for a voucher a piece, ours through a free slot, and libtorrent. Seeder
 * and downloader have a core each, where that can be had.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as Tariff from '../../dist/accounting/tariff.js';
import { formatAddress } from '../../dist/channels/channel.js';
import { parseAmount } from '../../dist/units.js';
import * as Cores from './cores.js';
import * as Keys from './keys.js';
import type { Catch, Order } from './leech.js';
import * as Libtorrent from './libtorrent.js';
import type { Settings } from './main.js';
import { check, summarise } from './measure.js';
import { type Row, rowOf } from './report.js';
import * as Stage from './stage.js';

const MIB = 2 ** 20;
const BYTES = 1024 * MIB;
const BYTES_SMOKE = 8 * MIB;
const ROUNDS = 9;
/** Not counted: V8 goes on compiling what serves and takes payment for some GiB. */
const ROUNDS_BEFORE = 4;
const SEED = new Uint8Array(32).fill(17);
const DEPOSIT = parseAmount('10BTT');
/** The seeders' core and the downloader's. */
const SEEDER_CORE = 0;
const LEECH_CORE = 1;

export async function seeding(settings: Settings): Promise<Row[]> {
  const stage = await Stage.open(settings, 'seeding', settings.smoke ? BYTES_SMOKE : BYTES);
  let peer: Libtorrent.PeerSeeder | undefined;
  try {
    peer = await Libtorrent.seed(stage.torrentFile, stage.source);
    if (!peer) settings.say('bench: python3-libtorrent is not installed: its columns stay empty');
    return await seeders(settings, stage, peer);
  } finally {
    await peer?.stop();
    await stage.end();
  }
}

/** MB a second of the clock, and of the seeder's processor time where the system tells it. */
interface Rates {
  readonly wall: number;
  readonly core: number | undefined;
}

async function seeders(
  settings: Settings,
  stage: Stage.Stage,
  peer: Libtorrent.PeerSeeder | undefined,
): Promise<Row[]> {
  const rounds = settings.smoke ? 1 : ROUNDS;
  const before = settings.smoke ? 0 : ROUNDS_BEFORE;
  const pinning = Cores.canPin();
  for (const pid of pinning ? [stage.pid, ...(peer ? [peer.pid] : [])] : []) Cores.pin(pid, SEEDER_CORE);
  const take = async (from: Pick<Stage.Stage, 'port' | 'pid'>, payer?: Keys.PayerKey): Promise<Rates> => {
    const { port, pid } = from;
    const { infohash, source } = stage;
    const found = await leech({ port, pid, infohash, source, pieceLength: MIB, ...payment(payer) }, pinning);
    check(found.bytes === stage.bytes, `a download of ${found.bytes} bytes`);
    if (payer) await checkPaid(stage, payer, found);
    const rate = (seconds: number): number => found.bytes / 1e6 / seconds;
    const { seconds, seederSeconds } = found;
    return { wall: rate(seconds), core: seederSeconds === undefined ? undefined : rate(seederSeconds) };
  };
  const keys = await Keys.open(stage, SEED, before + rounds, DEPOSIT);
  const turns: Array<{ paid: Rates; unpaid: Rates; peer: Rates | undefined }> = [];
  for (let round = -before; round < rounds; round++) {
    const key = keys[before + round]!;
    const sides = [() => take(stage, key), () => take(stage), () => peer && take(peer)] as const;
    // Who goes first changes from turn to turn.
    const rates: Array<Rates | undefined> = [];
    for (let at = 0; at < sides.length; at++) {
      const side = (at + before + round) % sides.length;
      rates[side] = await sides[side]!();
    }
    const [paid, unpaid, other] = rates;
    const text = (one: Rates | undefined): string =>
      one ? `${one.wall.toFixed(0)} (${one.core?.toFixed(0) ?? '–'})` : '–';
    settings.say(
      `bench: seeding MB/s (a processor second): ${text(paid)} paid, ${text(unpaid)} unpaid, ${text(other)} libtorrent`,
    );
    if (round >= 0) turns.push({ paid: paid!, unpaid: unpaid!, peer: other });
  }
  const paidFor = `paid seeding of ${stage.bytes / MIB} MiB, ${stage.pieces} vouchers`;
  const name = peer ? `libtorrent ${peer.version}` : 'libtorrent';
  const where = pinning ? ', each on one core' : '';
  return [
    ...both('seeding.paid_unpaid', `${paidFor}; peer: the same seeder unpaid${where}`, turns, 'unpaid'),
    ...both('seeding.libtorrent', `${paidFor}; peer: ${name}, unpaid${where}`, turns, 'peer'),
  ];
}

/** A row by the clock, and one by the seeder's processor time where every turn has it. */
function both<Turn extends { readonly paid: Rates }>(
  id: string,
  what: string,
  turns: readonly Turn[],
  against: keyof Turn,
): Row[] {
  const peerOf = (turn: Turn): Rates | undefined => turn[against] as Rates | undefined;
  const wall = turns.map((turn) => ({ ours: turn.paid.wall, peer: peerOf(turn)?.wall }));
  const core = turns.flatMap((turn) =>
    turn.paid.core === undefined ? [] : [{ ours: turn.paid.core, peer: peerOf(turn)?.core }],
  );
  const rows = [rowOf({ id, what, unit: 'MB/s' }, summarise(wall))];
  if (core.length < turns.length) return rows;
  const info = { id: `${id}.core`, what: 'the same by the seeder’s processor time', info: true };
  return [...rows, rowOf({ ...info, unit: 'MB/core s' }, summarise(core))];
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function payment(payer: Keys.PayerKey | undefined): Pick<Order, 'payer'> {
  if (!payer) return {};
  return { payer: { voucherKey: hex(payer.voucherKey), secret: hex(payer.secret) } };
}

/** Lets the leech download once, in a process and on a core of its own. */
async function leech(order: Order, pinning: boolean): Promise<Catch> {
  const program = fileURLToPath(new URL('./leech.js', import.meta.url));
  const plain = [process.execPath, program, JSON.stringify(order)] as const;
  const [command, ...args] = pinning ? Cores.pinned(LEECH_CORE, plain) : plain;
  const { stdout } = await promisify(execFile)(command, args);
  return JSON.parse(stdout) as Catch;
}

/** The payee's books hold the price of every byte, by one voucher a piece. */
async function checkPaid(stage: Stage.Stage, payer: Keys.PayerKey, found: Catch): Promise<void> {
  const price = Tariff.price(stage.priceMiB, BigInt(stage.bytes));
  check(found.vouchers === stage.pieces, `${found.vouchers} vouchers for ${stage.pieces} pieces`);
  check(BigInt(found.paid) === price, `${found.paid} was paid instead of ${price}`);
  const channel = await stage.daemon.channel(formatAddress(payer.voucherKey));
  check(BigInt(channel.authorized) === price, `the payee has ${channel.authorized} instead of ${price}`);
}
