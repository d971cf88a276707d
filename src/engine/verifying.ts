/** Where signatures are checked: in the wide pool, or at once where handing them over would cost as much. */
import type { Verifier } from '../accounting/intake.js';
import { call } from '../native/binding.js';
import type { Executor } from '../native/executor.js';
import { readRecovered, statusesOf, writeRecoveries, writeTicks, writeVouchers } from '../native/records.js';

/** Vouchers that are checked side by side in hardly more time than two: lanes of ADR 9. Without them each takes its own. */
const AT_ONCE_MAX = { lanes: 16, scalar: 1 };

/**
 * Checks vouchers in the wide pool. A few are checked here: that takes little more of the event loop than handing them
 * over, and less in all. But only of who has paid before: strangers shall not buy the loop's time with them.
 */
export function verifierOf(executor: Executor, domain: Uint8Array, hasLanes = machineHasLanes()): Verifier {
  const atOnceMax = hasLanes ? AT_ONCE_MAX.lanes : AT_ONCE_MAX.scalar;
  return {
    async vouchers(claims) {
      const rows = writeVouchers(claims);
      const atOnce = claims.length <= atOnceMax && claims.every(({ proven }) => proven === true);
      return statusesOf(
        atOnce
          ? call((addon) => addon.verifyVouchers(domain, rows))
          : await executor.verifyVouchers(domain, rows),
      );
    },
    ticks: async (claims) => statusesOf(await executor.verifyTicks(domain, writeTicks(claims))),
  };
}

const machineHasLanes = () => call((addon) => addon.cpuFeatures())[0] === 'avx512';

/** Recovers signers in the wide pool. */
export function recoverWith(executor: Executor) {
  return async (digest: Uint8Array, signature: Uint8Array): Promise<Uint8Array | undefined> => {
    const [found] = readRecovered(await executor.recoverDigests(writeRecoveries([{ digest, signature }])));
    return found?.status === 'ok' ? found.address : undefined;
  };
}
