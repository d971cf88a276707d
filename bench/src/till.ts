/**
 * A payee's till for the benches: vouchers come as the bytes of a pw_pay message and go as the bytes of an
 * acknowledgement, through the product's own codec, intake, pool, lane and journal. Payers' work, signing, is done
 * beforehand.
 */
import { createIntake, type Intake } from '../../dist/accounting/intake.js';
import { amountOf } from '../../dist/channels/voucher.js';
import { systemClock } from '../../dist/clock.js';
import { verifierOf } from '../../dist/engine/verifying.js';
import { Ledger } from '../../dist/ledger/ledger.js';
import { call } from '../../dist/native/binding.js';
import * as Executor from '../../dist/native/executor.js';
import * as Messages from '../../dist/wire/messages.js';
import { fill } from './books.js';
import { check } from './measure.js';
import { CHAIN_ID, HUB, PAYEE, SEED } from './vouchers.js';

export interface Till {
  readonly channels: number;
  /** One message for each channel in [from, to), all of one amount: what that many payers send. */
  messages(amount: bigint, from: number, to: number): Uint8Array[];
  /**
   * Takes one message; resolves with its acknowledgement once that is durable, or with undefined where a higher
   * voucher of the channel took its place while it waited. Throws when it is refused.
   */
  take(channel: number, message: Uint8Array): Promise<Uint8Array | undefined>;
  /** The amounts of all heads, from the journal's state. */
  heads(): Promise<bigint[]>;
  readonly intake: Intake;
  close(): Promise<void>;
}

export async function openTill(folder: string, channels: number): Promise<Till> {
  const executor = Executor.pool();
  const ledger = await Ledger.open(executor, { dataDir: folder, chainId: CHAIN_ID, hub: HUB, seed: SEED });
  const keys = call((addon) => addon.deriveVoucherKeys(SEED, 0n, channels));
  const keyOf = (at: number): Uint8Array => keys.slice(at * 20, at * 20 + 20);
  await fill(ledger, channels, keyOf);
  const payers = Array.from({ length: channels }, (_, at) => ({
    voucherKey: keyOf(at),
    secret: call((addon) => addon.deriveVoucherSecret(SEED, BigInt(at))),
  }));
  const intake = createIntake(ledger, verifierOf(executor, ledger.domain), systemClock);
  const hasPaid = new Uint8Array(channels);
  return {
    channels,
    intake,
    messages(amount, from, to) {
      return payers.slice(from, to).map(({ secret }) => {
        const row = call((addon) => addon.signVoucher(ledger.domain, secret, PAYEE, amount));
        return Messages.encode({ type: 'voucher', final: false, row });
      });
    },
    async take(channel, message) {
      const decoded = Messages.decode(message);
      if (!decoded.ok || decoded.message.type !== 'voucher') throw new Error('not a voucher');
      const { row, final } = decoded.message;
      const { voucherKey } = payers[channel]!;
      const proven = hasPaid[channel] === 1;
      const shown = { kind: 'voucher', row, claim: amountOf(row), final, proven } as const;
      const verdict = await intake.submit({ session: channel, voucherKey, payee: PAYEE, ...shown });
      if (verdict.status === 'superseded') return undefined;
      if (verdict.status !== 'ok') throw new Error(`the voucher was refused with ${verdict.status}`);
      hasPaid[channel] = 1;
      const { authorized, deposit } = verdict.outcome!;
      return Messages.encode({
        type: 'ack',
        authorized,
        granted: 1n << 20n,
        delivered: 0n,
        deposit,
        windowBytes: 0n,
      });
    },
    heads: async () => (await ledger.channels()).map(({ authorized }) => authorized),
    async close() {
      await ledger.close();
      await executor.close();
    },
  };
}

/** Looks whether a forged voucher is refused and a good one ends up as the head. */
export async function checkTill(till: Till): Promise<void> {
  const [forged] = till.messages(1n, 0, 1);
  forged![forged!.length - 1]! ^= 1;
  const refusal = await till.take(0, forged!).then(
    () => undefined,
    (thrown: Error) => thrown.message,
  );
  check(refusal?.includes('bad_signature') === true, `a forged voucher gave ${refusal ?? 'an ack'}`);
  const good = till.messages(2n, 0, till.channels);
  const acks = await Promise.all(good.map((message, at) => till.take(at, message)));
  for (const bytes of acks) {
    check(bytes !== undefined, 'a voucher was not answered');
    const ack = Messages.decode(bytes);
    check(ack.ok && ack.message.type === 'ack' && ack.message.authorized === 2n, 'an ack is wrong');
  }
  const heads = await till.heads();
  check(heads.length === till.channels && heads.every((head) => head === 2n), 'a head is wrong');
}
