/**
 * The routes of vaults and cheques that take a body, as data: what each requires and who answers it. A cheque travels
 * as text, because its payout does not fit the numbers of JSON in most programs.
 */
import type { VaultOperations } from '../engine/vaults/operations.js';
import { vaultChequeBytesMax } from '../limits.js';

export interface Route {
  readonly path: string;
  readonly required: readonly string[];
  readonly properties: Readonly<Record<string, unknown>>;
  answer(body: unknown): Promise<unknown>;
}

const ADDRESS = { type: 'string', pattern: '^0x[0-9a-fA-F]{40}$' };
const AMOUNT = { type: 'string', pattern: '^\\d{1,39}$' };
const LIMITS = { type: 'string', minLength: 1, maxLength: 4_096 };
/** Longer than any cheque: which text is one is not told here. */
const CHEQUE = { type: 'string', minLength: 1, maxLength: 2 * vaultChequeBytesMax };
const BOOLEAN = { type: 'boolean' };

export function vaultRoutes(vaults: VaultOperations): readonly Route[] {
  const route = <Body>(
    path: string,
    ask: (body: Body) => Promise<unknown>,
    required: readonly string[],
    properties: Readonly<Record<string, unknown>>,
  ): Route => ({ path, required, properties, answer: (body) => ask(body as Body) });
  return [
    route('/v1/vaults', vaults.trust, ['vault'], { vault: ADDRESS, limit: LIMITS }),
    route('/v1/vaults/untrust', vaults.untrust, ['vault'], { vault: ADDRESS, writeOff: BOOLEAN }),
    route('/v1/cheques', vaults.receive, ['cheque'], { cheque: CHEQUE }),
    route('/v1/cheques/issue', vaults.issue, ['vault', 'beneficiary', 'amount'], {
      vault: ADDRESS,
      beneficiary: ADDRESS,
      amount: AMOUNT,
      token: ADDRESS,
    }),
    route('/v1/cheques/cash', vaults.cash, [], {
      vault: ADDRESS,
      force: BOOLEAN,
      dryRun: BOOLEAN,
      to: ADDRESS,
      gasMax: AMOUNT,
    }),
  ];
}
