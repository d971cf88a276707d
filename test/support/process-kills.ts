/**
 * kill -9 of a settling process at a chosen request: before the request arrives, or after it did and before its
 * answer. A second process goes on with the same ledger and the same voucher; then the hub, the nonce and the
 * store must show one settlement.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatAddress } from '../../src/channels/channel.js';
import * as DevChains from '../../src/settlement/dev-chain.js';
import { toHex } from '../../src/units.js';
import {
  BTT,
  connectTo,
  deployHub,
  keyOf,
  mine,
  type Relay,
  row,
  startRelay,
  voucherWallet,
  withSender,
} from '../integration/settlement/support.js';

const CHILD = fileURLToPath(new URL('./sending-process.mjs', import.meta.url));
/** The second account of every development chain. */
const PRIVATE_KEY = '59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d';

export interface ProcessKills {
  kills: number;
  /** Requests that were answered by death, by their method. */
  readonly at: Map<string, number>;
}

/** Where a process dies: at the request of that number, counted among those of a method or among all. */
export interface KillPoint {
  readonly count: number;
  readonly method?: string;
  /** After the request arrived, and before its answer. */
  readonly late: boolean;
}

/** Kills at each of `points`. @throws Error naming the point where more or less than one settlement is left. */
export async function killProcesses(points: readonly KillPoint[]): Promise<ProcessKills> {
  const dev = await DevChains.start({ blockTime: 0 });
  const chain = await connectTo(dev.profile);
  const relay = await startRelay(dev.rpcUrl);
  const dataDir = mkdtempSync(join(tmpdir(), 'piecework-kills-'));
  const kills: ProcessKills = { kills: 0, at: new Map() };
  try {
    const hub = await deployHub(chain, dev.accounts[0]!);
    const payee = dev.accounts[1]!;
    const key = keyOf(voucherWallet(1), payee);
    const deposit = BigInt(points.length) * BTT;
    await withSender(chain, dev.accounts[2]!, (sender) => sender.send(hub.open({ ...key, deposit })));
    for (const [index, point] of points.entries()) {
      const amount = BigInt(index + 1) * BTT;
      const task = {
        rpcUrl: relay.url,
        chainId: String(dev.profile.chainId),
        hub: formatAddress(hub.domain.hub),
        dataDir,
        privateKey: PRIVATE_KEY,
        payee: formatAddress(payee.address),
        row: toHex(await row(voucherWallet(1), hub.domain, payee.address, amount)),
      };
      const nonce = await chain.nonce(payee.address, 'latest');
      const died = await run(task, relay, point);
      if (died.killedAt !== undefined) {
        kills.kills++;
        kills.at.set(died.killedAt, (kills.at.get(died.killedAt) ?? 0) + 1);
      }
      await mine(dev.rpcUrl);
      const { end } = await run(task, relay, undefined);
      const where = `point ${JSON.stringify(point)}, killed at ${died.killedAt}`;
      const [facts] = await hub.readChannels([key]);
      const used = (await chain.nonce(payee.address, 'latest')) - nonce;
      if (end?.pending !== 0) throw new Error(`${where}: ended with ${JSON.stringify(end)}`);
      if (facts!.settled !== amount) throw new Error(`${where}: settled ${facts!.settled} of ${amount}`);
      if ((await hub.credit(payee.address)) !== amount)
        throw new Error(`${where}: another credit than ${amount}`);
      // Where the first process came to its end alive, the second asks for what is done already.
      if (used !== (died.killedAt === undefined ? 2 : 1)) throw new Error(`${where}: ${used} transactions`);
    }
    return kills;
  } finally {
    chain.close();
    await relay.stop();
    await dev.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function run(
  task: object,
  relay: Relay,
  point: KillPoint | undefined,
): Promise<{
  readonly killedAt: string | undefined;
  readonly end: { readonly pending: number } | undefined;
}> {
  const child = spawn(process.execPath, [CHILD, JSON.stringify(task)], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [asked, killedAt, output, complaint] = [0, undefined as string | undefined, '', ''];
  relay.fault = (method) => {
    if (point === undefined || (point.method ?? method) !== method || ++asked !== point.count)
      return undefined;
    killedAt = method;
    child.kill('SIGKILL');
    return point.late ? { kind: 'lose_answer' } : { kind: 'drop' };
  };
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString('utf8');
  });
  child.stderr.on('data', (chunk: Buffer) => {
    complaint += chunk.toString('utf8');
  });
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  relay.fault = () => undefined;
  if (killedAt === undefined && status !== 0) throw new Error(`the process failed: ${complaint}`);
  const line = output.trim();
  return { killedAt, end: line === '' ? undefined : (JSON.parse(line) as { pending: number }) };
}
