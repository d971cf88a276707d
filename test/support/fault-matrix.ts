/**
 * Every fault of a node at every step of a channel's life, with a good node beside the faulty one and without:
 * the step is taken under the fault, at times with a restart in between, and again when the fault is over.
 * What counts is the chain in the end and the book at any time: nothing lost, nothing twice, no more credit
 * than there is deposit, and every failure has a code that says the chain could not be had or believed.
 */
import { hexlify, toQuantity } from 'ethers';
import type { ChannelFacts } from '../../src/channels/channel.js';
import { PieceworkError } from '../../src/errors.js';
import { Account } from '../../src/settlement/account.js';
import { connect } from '../../src/settlement/chain.js';
import { deploy } from '../../src/settlement/deploy.js';
import * as DevChains from '../../src/settlement/dev-chain.js';
import { Hub } from '../../src/settlement/hub.js';
import { artifactFor } from '../../src/settlement/hub-code.js';
import * as Senders from '../../src/settlement/sender.js';
import { memoryStore } from '../../src/settlement/transaction.js';
import { BTT } from '../../src/units.js';
import { keyOf, passTime, row, voucherWallet } from '../integration/settlement/support.js';
import type { Chance } from './chance.js';
import { FAULTS, type Fault, startFaultyNode } from './faulty-node.js';
import { askNode } from './ground.js';
import * as Lifecycle from './lifecycle.js';

/** Whether a good node is configured beside the faulty one. */
export type Place = 'one_of_two' | 'only';

export interface Case {
  readonly fault: Fault;
  readonly step: Lifecycle.Step;
  readonly place: Place;
}

export const ALL_CASES: readonly Case[] = FAULTS.flatMap((fault) =>
  Lifecycle.STEPS.flatMap((step) =>
    (['one_of_two', 'only'] as const).map((place) => ({ fault, step, place })),
  ),
);

export interface Result extends Case {
  /** `done`, `not yet`, or the code of the error, under the fault. */
  readonly under: string;
  /** Answers that the fault touched. */
  readonly hits: number;
  /** Tries once the fault was over. */
  readonly after: number;
  /** What must not be; empty when all is well. */
  readonly wrong: readonly string[];
  /** A deposit that is not there was believed because nobody else could be asked. */
  readonly fooled: boolean;
}

export interface Matrix {
  /** `agreement` 1 makes the box believe any node: the harness has to notice. */
  run(one: Case, agreement?: number): Promise<Result>;
  stop(): Promise<void>;
}

const PERIOD = 3_600;
const CONFIRMATIONS = 2;
const FUNDS = 1_000_000n * BTT;
/** Tries once all is well: on a busy machine a good node may be late too. */
const triesMax = 40;
const SENDING = { pollMs: 15, waitMs: 400 };
const ASKING = { timeoutMs: 250, retriesMax: 1, retryMs: 5, asideMs: 40 };
const EXPECTED = new Set([
  'done',
  'not yet',
  'CHAIN_UNREACHABLE',
  'CHAIN_WRONG_ID',
  'CHAIN_REJECTED',
  'TX_TIMEOUT',
]);

export async function startMatrix(draw: Chance): Promise<Matrix> {
  const [dev, other] = await Promise.all([
    DevChains.start({ blockTime: 0 }),
    DevChains.start({ blockTime: 0, chainId: 271n }),
  ]);
  const profile = { ...dev.profile, confirmations: CONFIRMATIONS };
  const artifact = await artifactFor(undefined);
  const faulty = await startFaultyNode(dev.rpcUrl, { seed: draw.seed, other: other.rpcUrl, behind: 40 });
  const good = await startFaultyNode(dev.rpcUrl, { seed: draw.seed, other: other.rpcUrl });
  const chain = await connect(dev.profile);
  const deployer = await Senders.open(chain, dev.accounts[0]!, memoryStore(), SENDING);
  const { hub: address } = await deploy(chain, deployer, artifact, PERIOD);
  await deployer.close();
  const truth = new Hub(chain, address, artifact);
  await askNode(dev.rpcUrl, 'anvil_mine', ['0x40']);
  // Blocks go on coming, as on a real chain.
  const mining = setInterval(
    () => void askNode(dev.rpcUrl, 'anvil_mine', ['0x1']).catch(() => undefined),
    30,
  );

  const funded = async (): Promise<Account> => {
    const account = new Account(draw.bytes(32));
    const [from, to] = [hexlify(dev.accounts[9]!.address), hexlify(account.address)];
    const gasPrice = toQuantity(profile.gasPriceFloor);
    await askNode(dev.rpcUrl, 'eth_sendTransaction', [{ from, to, value: toQuantity(FUNDS), gasPrice }]);
    for (let tries = 0; (await chain.balance(account.address)) === 0n; tries++) {
      if (tries > 1_000) throw new Error('the funds never came');
      await new Promise((go) => setTimeout(go, 2));
    }
    return account;
  };

  async function stage(step: Lifecycle.Step): Promise<{ scene: Lifecycle.Scene; held: bigint }> {
    const [payer, payee, wallet] = [await funded(), await funded(), voucherWallet(draw.below(2 ** 31))];
    const voucher = await row(wallet, truth.domain, payee.address, Lifecycle.VOUCHER);
    const scene = { key: keyOf(wallet, payee), voucher, payer, payee };
    const held = await chain.balance(address);
    for (const [account, call] of Lifecycle.before(step, truth, scene)) {
      const sender = await Senders.open(chain, account, memoryStore(), SENDING);
      await sender.send(call).finally(() => sender.close());
    }
    if (step === 'withdraw') await passTime(dev.rpcUrl, PERIOD);
    // Until what was sent is confirmed.
    await askNode(dev.rpcUrl, 'anvil_mine', [toQuantity(CONFIRMATIONS)]);
    return { scene, held };
  }

  /** A box that keeps its store and its book when it is opened again. */
  function boxes(account: Account, rpcUrls: readonly string[], agreement: number | undefined) {
    const [store, book] = [memoryStore(), new Map<string, ChannelFacts>()];
    let box: Lifecycle.Box | undefined;
    return {
      book,
      async open(): Promise<Lifecycle.Box> {
        if (box) return box;
        const connection = await connect(profile, { ...ASKING, rpcUrls, agreement });
        try {
          const known = async (key: Lifecycle.Scene['key']) => book.get(Lifecycle.nameOf(key));
          const hub = new Hub(connection, address, artifact, { known });
          await hub.verify();
          const { explain } = hub;
          const sender = await Senders.open(connection, account, store, { ...SENDING, explain });
          box = { chain: connection, hub, sender, book };
          return box;
        } catch (thrown) {
          connection.close();
          throw thrown;
        }
      },
      async close(): Promise<void> {
        await box?.sender.close();
        box?.chain.close();
        box = undefined;
      },
    };
  }

  async function run({ fault, step, place }: Case, agreement?: number): Promise<Result> {
    const { scene, held } = await stage(step);
    const both = draw.percent(50) ? [faulty.url, good.url] : [good.url, faulty.url];
    const actor = Lifecycle.BY_PAYEE.has(step) ? scene.payee : scene.payer;
    const boxed = boxes(actor, place === 'only' ? [faulty.url] : both, agreement);
    const wrong: string[] = [];
    let fooled = false;

    /** What is booked is never more than what is on the chain. */
    const hold = async (): Promise<void> => {
      const booked = boxed.book.get(Lifecycle.nameOf(scene.key));
      if (!booked) return;
      const [real] = await truth.readChannels([scene.key], await chain.head());
      if (booked.settled > real!.settled) wrong.push(`${booked.settled} booked, ${real!.settled} settled`);
      if (booked.deposit <= real!.deposit) return;
      if (place === 'only' && fault === 'lying_balance') fooled = true;
      else wrong.push(`${booked.deposit} booked as deposit, there are ${real!.deposit}`);
    };
    const attempt = async (): Promise<string> => {
      try {
        const done = await Lifecycle.take(step, await boxed.open(), scene, SENDING.waitMs);
        return done ? 'done' : 'not yet';
      } catch (thrown) {
        if (!(thrown instanceof PieceworkError)) throw thrown;
        return thrown.code;
      } finally {
        await hold();
      }
    };
    const lacking = () => Lifecycle.shortfall(step, truth, chain, scene, held);

    try {
      for (let tries = 1; step !== 'connect'; tries++) {
        const opened = await boxed.open().catch((thrown: unknown) => {
          if (tries >= triesMax) throw thrown;
        });
        if (opened) break;
      }
      await faulty.become(fault);
      let under = await attempt();
      if (under !== 'done' && draw.percent(33)) {
        // A restart while the node still misbehaves.
        await boxed.close();
        under = await attempt();
      }
      const { hits } = faulty;
      await faulty.become(undefined);
      // Funds that came since are not there for a node that lags.
      const broke = fault === 'stale_head' && under === 'INSUFFICIENT_FUNDS';
      if (!EXPECTED.has(under) && !broke) wrong.push(`it failed with ${under}`);
      // The chain was out of reach for three quarters of the challenge period.
      if (step === 'answer_close' && under !== 'done') await passTime(dev.rpcUrl, (PERIOD * 3) / 4);
      if (draw.percent(33)) await boxed.close();
      let after = 0;
      for (;;) {
        after++;
        const outcome = await attempt();
        if (outcome === 'done' && (await lacking()).length === 0) break;
        if (after >= triesMax) {
          wrong.push(`still ${outcome} after the fault`);
          break;
        }
        await new Promise((go) => setTimeout(go, 50));
      }
      return { fault, step, place, under, hits, after, fooled, wrong: [...wrong, ...(await lacking())] };
    } finally {
      await faulty.become(undefined);
      await boxed.close();
    }
  }

  return {
    run,
    async stop() {
      clearInterval(mining);
      chain.close();
      await Promise.all([faulty.stop(), good.stop(), dev.stop(), other.stop()]);
    },
  };
}

/** A line of figures for people. */
export function summary(results: readonly Result[]): string {
  const count = (test: (result: Result) => boolean): number => results.filter(test).length;
  const codes = new Map<string, number>();
  for (const { under } of results) codes.set(under, (codes.get(under) ?? 0) + 1);
  const outcomes = [...codes].sort().map(([code, times]) => `${times} ${code}`);
  return [
    `${results.length} cases, the fault touched ${count(({ hits }) => hits > 0)} of them`,
    `under the fault: ${outcomes.join(', ')}`,
    `${count(({ wrong }) => wrong.length > 0)} wrong; an only node was believed in ${count(({ fooled }) => fooled)}`,
  ].join('; ');
}
