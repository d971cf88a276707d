/**
 * What is left for an honest, paying peer while others flood the same seeder with vouchers of bad signatures over many
 * connections. The flood runs in this process, on the same cores as seeder and downloader, so what it costs itself
 * is taken from the honest peer too: the share is a lower bound.
 */
import * as Flooder from './flooder.js';
import * as Keys from './keys.js';
import type { Settings } from './main.js';
import { check, summarise } from './measure.js';
import { type Row, rowOf } from './report.js';
import * as Stage from './stage.js';

const MIB = 2 ** 20;
const BYTES = 256 * MIB;
const BYTES_SMOKE = 8 * MIB;
const ROUNDS = 3;
/** With 100 vouchers a second each once they may: at most 5,000 a second in all. */
const CONNECTIONS = 50;
const CONNECTIONS_SMOKE = 6;
const CHANNELS_PER_ROUND = 600;
const CHANNELS_SMOKE = 12;
const HOSTILE_SEED = new Uint8Array(32).fill(13);
const DEPOSIT = 10n ** 18n;
/** How long a round may go on after the download until the flood has shown that it reached the signatures. */
const WITNESS_MS = 20_000;

export async function flooding(settings: Settings): Promise<Row[]> {
  const { smoke, say } = settings;
  const rounds = smoke ? 1 : ROUNDS;
  const perRound = smoke ? CHANNELS_SMOKE : CHANNELS_PER_ROUND;
  const stage = await Stage.open(settings, 'flood', smoke ? BYTES_SMOKE : BYTES);
  try {
    // Real channels of hostile payers, so that their sessions are accepted.
    const keys = await Keys.open(stage, HOSTILE_SEED, rounds * perRound, DEPOSIT);
    const turns: Array<{ ours: number; peer: number }> = [];
    const vouchersPerSecond: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const quiet = await stage.download(true);
      const beginMs = performance.now();
      const hostile = keys.slice(round * perRound, (round + 1) * perRound);
      const flood = Flooder.start(stage, hostile, smoke ? CONNECTIONS_SMOKE : CONNECTIONS);
      const flooded = await stage.download(true);
      const counts = flood.counts();
      const sent = counts.vouchers;
      const seconds = (performance.now() - beginMs) / 1000;
      await witnessed(flood);
      flood.stop();
      vouchersPerSecond.push(sent / seconds);
      turns.push({ ours: flooded.rate, peer: quiet.rate });
      const { bad_signature = 0, no_session = 0 } = counts.rejects;
      say(
        `bench: flood of ${sent} vouchers over ${counts.connections} connections: ` +
          `${bad_signature} bad signatures, ${no_session} without session, ${counts.ended} ended by the seeder; ` +
          `${flooded.rate.toFixed(0)} MB/s, ${quiet.rate.toFixed(0)} without`,
      );
    }
    const mean = vouchersPerSecond.reduce((sum, rate) => sum + rate, 0) / rounds;
    const what = `paid download under ${mean.toFixed(0)} bad vouchers/s; peer: the same without; ratio: the share`;
    return [rowOf({ id: 'flood.honest_share', what, unit: 'MB/s' }, summarise(turns))];
  } finally {
    await stage.end();
  }
}

/** A flood that never got as far as a signature check would show nothing. */
async function witnessed(flood: Flooder.Flood): Promise<void> {
  const untilMs = performance.now() + WITNESS_MS;
  const reached = (): boolean => {
    const { rejects, ended } = flood.counts();
    const { bad_signature = 0, no_session = 0 } = rejects;
    return bad_signature > 0 && no_session > 0 && ended > 0;
  };
  while (!reached() && performance.now() < untilMs) await new Promise((resolve) => setTimeout(resolve, 20));
  check(reached(), `the flood was not refused as it should be: ${JSON.stringify(flood.counts())}`);
}
