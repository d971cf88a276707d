/**
 * A tower as a process that is killed with SIGKILL while a client pushes ever higher rows, and started again: what
 * it acknowledged has to be there, and what it holds has to be settled when the payers close.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatAddress } from '../../src/channels/channel.js';
import { pushRows, readClaims } from '../../src/engine/towers/client.js';
import { toHex } from '../../src/units.js';
import { BTT, until } from '../integration/settlement/support.js';
import { chance } from './chance.js';
import { ask, type Running, settle, start } from './cli.js';
import { temporary } from './engines.js';
import { layGround } from './ground.js';
import { openByHand } from './towers.js';

export interface TowerKills {
  readonly kills: number;
  /** Rows that were acknowledged before a kill. */
  readonly acknowledged: number;
  /** Kills that met a push under way. */
  readonly interrupted: number;
  readonly credited: bigint;
  readonly owed: bigint;
  /** What was acknowledged and is not held, for people; empty when nothing is. */
  readonly lost: readonly string[];
}

const CHANNELS = 8;

export async function killTowers(seed: number, kills: number): Promise<TowerKills> {
  const draw = chance(seed);
  const ground = await layGround();
  const place = temporary();
  let tower: Running | undefined;
  try {
    const home = await settle(ground, join(place.path, 'tower'), 1_000n * BTT);
    const { token } = await ask<{ token: string }>([...home.flags, 'tower', 'add-client', 'box']);
    const tokenFile = join(place.path, 'token');
    writeFileSync(tokenFile, token);
    const payee = draw.bytes(20);
    const channels = await openByHand(ground, payee, Array(CHANNELS).fill(1_000n * BTT));
    const acknowledged = new Map<string, bigint>();
    const lost: string[] = [];
    let [count, interrupted, amount] = [0, 0, 100n * BTT];
    const run = async (): Promise<string> => {
      tower = start(['--json', ...home.flags, 'tower', 'run', '--listen', '127.0.0.1:0', '--grace', '0']);
      return String((await tower.until(({ event }) => event === 'tower', 60_000))['url']);
    };
    const compare = async (url: string): Promise<void> => {
      const { claims } = await readClaims({ url, tokenFile });
      const held = new Map(claims.map((claim) => [claim.voucherKey, BigInt(claim.amount)]));
      for (const [key, least] of acknowledged)
        if ((held.get(key) ?? 0n) < least) lost.push(`${key}: ${held.get(key)} held, ${least} acknowledged`);
    };
    let url = await run();
    for (let kill = 0; kill < kills; kill++) {
      // Some kills right after an answer, some in the middle of a push; none before the first answer.
      const pushes = 2 + draw.below(3);
      for (let at = 0; at < pushes; at++) {
        amount += BTT;
        const rows = await Promise.all(channels.map((channel) => channel.row(amount)));
        const request = {
          chainId: String(ground.domain.chainId),
          hub: formatAddress(ground.domain.hub),
          payee: formatAddress(payee),
          rows: rows.map(toHex),
        };
        const pushing = pushRows({ url, tokenFile }, request).catch(() => undefined);
        if (at === pushes - 1 && draw.percent(60)) {
          await new Promise((resolve) => setTimeout(resolve, draw.below(12)));
          tower!.kill('SIGKILL');
        }
        const answer = await pushing;
        if (!answer) interrupted++;
        for (const { status, voucherKey, amount: held } of answer?.claims ?? []) {
          if (status !== 'held') lost.push(`${voucherKey} was answered with ${status}`);
          acknowledged.set(voucherKey!, BigInt(held));
          count++;
        }
        if (!answer) break;
      }
      tower!.kill('SIGKILL');
      await tower!.ended;
      url = await run();
      await compare(url);
    }
    // The last kill comes before the payers close, and the requests while nobody is there.
    tower!.kill('SIGKILL');
    await tower!.ended;
    for (const channel of channels) await channel.requestClose();
    await run();
    const owed = [...acknowledged.values()].reduce((sum, one) => sum + one, 0n);
    await until(async () => (await ground.hub.credit(payee)) >= owed);
    return { kills, acknowledged: count, interrupted, credited: await ground.hub.credit(payee), owed, lost };
  } finally {
    tower?.kill('SIGKILL');
    await tower?.ended;
    await ground.stop();
    place.remove();
  }
}
