/**
 * Whether a tower's wallet holds what settling all that it holds would cost now, and a warning when it does not.
 * Amounts in base units.
 */
import { formatAddress } from '../../channels/channel.js';
import { from } from '../../errors.js';
import type { Account } from '../../settlement/account.js';
import type { Chain } from '../../settlement/chain.js';
import * as Planner from '../../settlement/planner.js';
import { formatAmount, toHex } from '../../units.js';
import { type Claims, worth } from './claims.js';

export interface TowerFunds {
  /** As last checked; true before the first check. */
  readonly funded: boolean;
  readonly balance: bigint;
  readonly needed: bigint;
  /** Looks now, or joins a look under way. A chain that does not answer leaves things as they were. */
  check(): Promise<void>;
}

export function createTowerFunds(
  chain: Pick<Chain, 'balance' | 'gasPrice'>,
  account: Account,
  claims: Claims,
  onEvent: (level: 'info' | 'warn', text: string) => void,
): TowerFunds {
  const now = { funded: true, balance: 0n, needed: 0n };
  let checking: Promise<void> | undefined;

  async function look(): Promise<void> {
    try {
      const [balance, gasPrice] = await Promise.all([chain.balance(account.address), chain.gasPrice()]);
      const needed = gasPrice * gasNeeded(claims);
      const funded = balance >= needed;
      if (funded !== now.funded) {
        const held = `${formatAddress(account.address)} holds ${formatAmount(balance)}`;
        const text = `settling all that is held would cost ${formatAmount(needed)} of gas, and ${held}`;
        onEvent(funded ? 'info' : 'warn', funded ? `${text}: enough again` : `${text}: send BTT to it`);
      }
      Object.assign(now, { funded, balance, needed });
    } catch (thrown) {
      // The watcher tells of a chain that does not answer.
      const { code } = from(thrown);
      if (code !== 'CHAIN_UNREACHABLE' && code !== 'CHAIN_REJECTED' && code !== 'INTERRUPTED') throw thrown;
    }
  }

  return {
    get funded() {
      return now.funded;
    },
    get balance() {
      return now.balance;
    },
    get needed() {
      return now.needed;
    },
    check() {
      checking ??= look().finally(() => {
        checking = undefined;
      });
      return checking;
    },
  };
}

/** Gas of settling every row that is worth something, a batch for each client and payee, and one batch at least. */
function gasNeeded(claims: Claims): bigint {
  const rows = new Map<string, number>();
  for (const { payee, claims: held } of claims.channels) {
    for (const claim of held.values()) {
      if (worth(claim) === 0n) continue;
      const group = `${claim.client}/${toHex(payee)}`;
      rows.set(group, (rows.get(group) ?? 0) + 1);
    }
  }
  const all = [...rows.values()].reduce((sum, count) => sum + Planner.gasOf(count), 0n);
  return all > 0n ? all : Planner.gasOf(1);
}
