/**
 * The steps of a channel's life as a program takes them: each reads first, sends only what is still missing,
 * and books what the hub's views then say. So a step may be taken again at any time. Nothing here is under
 * test but what it calls.
 */
import { type ChannelFacts, type ChannelKey, formatAddress, TOMBSTONE } from '../../src/channels/channel.js';
import type { Account } from '../../src/settlement/account.js';
import type { Chain } from '../../src/settlement/chain.js';
import type { Hub } from '../../src/settlement/hub.js';
import type { Sender } from '../../src/settlement/sender.js';
import { tiersOf } from '../../src/settlement/tiers.js';
import type { Call } from '../../src/settlement/transaction.js';
import { Watcher } from '../../src/settlement/watcher.js';
import { BTT } from '../../src/units.js';

export const STEPS = [
  'connect',
  'open',
  'top_up',
  'accept_credit',
  'settle',
  'cooperative_close',
  'request_close',
  'answer_close',
  'withdraw',
  'withdraw_credit',
] as const;

export type Step = (typeof STEPS)[number];

/** Steps of the payee; the others are the payer's. */
export const BY_PAYEE: ReadonlySet<Step> = new Set<Step>([
  ...(['connect', 'accept_credit', 'settle', 'cooperative_close'] as const),
  ...(['answer_close', 'withdraw_credit'] as const),
]);

export const DEPOSIT = 10n * BTT;
const RAISE = 5n * BTT;
export const VOUCHER = 6n * BTT;

/** One channel and the two who have it. */
export interface Scene {
  readonly key: ChannelKey;
  /** A row worth VOUCHER. */
  readonly voucher: Uint8Array;
  readonly payer: Account;
  readonly payee: Account;
}

/** What one box has open, and what it knows. */
export interface Box {
  readonly chain: Chain;
  readonly hub: Hub;
  readonly sender: Sender;
  /** The facts last read, by channel. */
  readonly book: Map<string, ChannelFacts>;
}

export const nameOf = ({ voucherKey, payee }: ChannelKey): string =>
  `${formatAddress(voucherKey)} ${formatAddress(payee)}`;

/** What has to be on the chain before a step, and who sends it. */
export function before(
  step: Step,
  hub: Hub,
  { key, voucher, payer, payee }: Scene,
): readonly [Account, Call][] {
  const open: [Account, Call] = [payer, hub.open({ ...key, deposit: DEPOSIT })];
  switch (step) {
    case 'connect':
    case 'open':
      return [];
    case 'answer_close':
    case 'withdraw':
      return [open, [payer, hub.requestClose(key)]];
    case 'withdraw_credit':
      return [open, [payee, hub.settle(payee.address, [voucher])[0]!]];
    default:
      return [open];
  }
}

/** Takes a step, or what is left of it; true once the box knows that it is done. */
export async function take(step: Step, box: Box, scene: Scene, waitMs: number): Promise<boolean> {
  const { hub, sender } = box;
  const { key, voucher, payee } = scene;
  const read = async (): Promise<ChannelFacts> => {
    const [facts] = await hub.readChannels([key]);
    box.book.set(nameOf(key), facts!);
    return facts!;
  };
  const settle = async (): Promise<boolean> => {
    if ((await read()).settled < VOUCHER) await sender.send(hub.settle(payee.address, [voucher])[0]!);
    return (await read()).settled === VOUCHER;
  };
  // What was signed before is followed to its end first, as after a start.
  await sender.resume();
  switch (step) {
    case 'connect':
      await hub.verify();
      return true;
    case 'open':
      if ((await read()).deposit === 0n) await sender.send(hub.open({ ...key, deposit: DEPOSIT }));
      return (await read()).deposit === DEPOSIT;
    case 'top_up': {
      const facts = await read();
      if (facts.deposit >= DEPOSIT + RAISE) return true;
      const [raised] = hub.decode(await sender.send(hub.topUp(key, RAISE, facts.deposit)));
      // As the engine does: what enough nodes say in a receipt is booked, whatever they say in a view.
      if (raised?.type === 'topped_up') box.book.set(nameOf(key), { ...facts, deposit: raised.deposit });
      return (await read()).deposit === DEPOSIT + RAISE;
    }
    case 'accept_credit':
      return (await read()).deposit === DEPOSIT;
    case 'settle':
      return settle();
    case 'cooperative_close': {
      const closings = [{ voucherKey: key.voucherKey, row: voucher }];
      if ((await read()).closeAt !== TOMBSTONE) {
        await sender.send(hub.cooperativeClose(payee.address, closings)[0]!);
      }
      return (await read()).closeAt === TOMBSTONE;
    }
    case 'request_close':
      if ((await read()).closeAt === 0) await sender.send(hub.requestClose(key));
      return (await read()).closeAt !== 0;
    case 'answer_close':
      return (await closeSeen(box, key, waitMs)) && (await settle());
    case 'withdraw':
      if ((await read()).closeAt !== TOMBSTONE) await sender.send(hub.withdraw(key));
      return (await read()).closeAt === TOMBSTONE;
    case 'withdraw_credit':
      if ((await hub.credit(payee.address)) > 0n) {
        await sender.send(hub.withdrawCredit(payee.address, payee.address));
      }
      return (await hub.credit(payee.address)) === 0n;
  }
}

/** Whether a watcher tells of a close within that time. */
async function closeSeen({ chain, hub, book }: Box, key: ChannelKey, waitMs: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const watcher = new Watcher(
      chain,
      hub,
      {
        onFacts: (changes) => {
          for (const { facts } of changes) {
            book.set(nameOf(key), facts);
            if (facts.closeAt !== 0) end(() => resolve(true));
          }
        },
        onFailure: (error) => end(() => reject(error)),
      },
      { pollMs: 15, backoffMsMax: 60, tiers: tiersOf(chain.profile.confirmations, 0, 0n) },
    );
    const timer = setTimeout(() => end(() => resolve(false)), waitMs);
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      void watcher.stop().then(settle);
    };
    watcher.watch(key);
    watcher.start();
  });
}

/** What the chain lacks or has too much of after a step; `held` is what the hub held before its scene. */
export async function shortfall(
  step: Step,
  hub: Hub,
  chain: Chain,
  { key, payee }: Scene,
  held: bigint,
): Promise<readonly string[]> {
  const at = await chain.head();
  const [facts] = await hub.readChannels([key], at);
  const credit = await hub.credit(payee.address, at);
  const holds = (await chain.balance(hub.domain.hub, at)) - held;
  const settles = SETTLING.has(step);
  const deposit = step === 'connect' ? 0n : step === 'top_up' ? DEPOSIT + RAISE : DEPOSIT;
  const paidOut = step === 'withdraw_credit' ? VOUCHER : 0n;
  const ends = step === 'cooperative_close' || step === 'withdraw';
  const closing = step === 'answer_close' || step === 'request_close';
  const wrong: string[] = [];
  const expect = (name: string, is: unknown, should: unknown): void => {
    if (is !== should) wrong.push(`${name} is ${String(is)}, should be ${String(should)}`);
  };
  expect('the deposit', facts!.deposit, deposit);
  expect('the settled amount', facts!.settled, settles ? VOUCHER : 0n);
  expect("the payee's credit", credit, (settles ? VOUCHER : 0n) - paidOut);
  // Nothing was paid in twice, and nothing paid out twice.
  expect('what the hub holds', holds, deposit - paidOut);
  expect('closed for ever', facts!.closeAt === TOMBSTONE, ends);
  if (closing) expect('closing', facts!.closeAt !== 0 && facts!.closeAt !== TOMBSTONE, true);
  // Had its payer been able to withdraw before the answer came, the answer would have come too late.
  if (step === 'answer_close') expect('in time', at.timestamp < BigInt(facts!.closeAt), true);
  return wrong;
}

const SETTLING = new Set<Step>(['settle', 'cooperative_close', 'answer_close', 'withdraw_credit']);
