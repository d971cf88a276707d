/**
 * Towers on the ground of `ground.ts`: in this process, in front of real HTTP, with clients that have tokens; and
 * rows signed by hand for channels opened by hand.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startTowerServer } from '../../src/api/tower-server.js';
import { formatAddress, parseAddress } from '../../src/channels/channel.js';
import type { Settings } from '../../src/config.js';
import type * as Tools from '../../src/engine/tools.js';
import * as Clients from '../../src/engine/towers/clients.js';
import type { ClaimView, PushAnswer } from '../../src/engine/towers/protocol.js';
import { createTower, type Tower } from '../../src/engine/towers/tower.js';
import { toHex } from '../../src/units.js';
import { row, voucherWallet } from '../integration/settlement/support.js';
import { configOn, temporary } from './engines.js';
import type { Ground } from './ground.js';

export const OPERATOR = 'ef'.repeat(32);

export interface TowerParty {
  readonly tower: Tower;
  readonly url: string;
  readonly home: string;
  readonly events: string[];
  /** A client by name: its token and requests. */
  client(name: string): TowerClient;
  close(options?: { readonly keep?: boolean }): Promise<void>;
}

export interface TowerClient {
  readonly token: string;
  readonly tokenFile: string;
  push(payee: Uint8Array, rows: readonly Uint8Array[], domain?: Partial<PushDomain>): Promise<Response>;
  /** What was answered to a push that was taken. */
  pushed(payee: Uint8Array, rows: readonly Uint8Array[]): Promise<PushAnswer>;
  /** Straight from the tower: what looks again and again would be told to slow down. */
  claims(): Promise<readonly ClaimView[]>;
}

interface PushDomain {
  readonly chainId: string;
  readonly hub: string;
}

export interface TowerPartyOptions {
  readonly account: Tools.Account;
  readonly clients?: readonly string[];
  readonly settings?: Settings;
  readonly home?: string;
  readonly pollMs?: number;
}

const tokens = new Map<string, string>();
let count = 0;

export async function startTower(ground: Ground, options: TowerPartyOptions): Promise<TowerParty> {
  const folder = options.home === undefined ? temporary() : { path: options.home, remove: () => {} };
  mkdirSync(folder.path, { recursive: true });
  for (const name of options.home === undefined ? (options.clients ?? ['box']) : []) {
    const token = Clients.addClient(folder.path, name, (size) => new Uint8Array(size).fill(++count));
    tokens.set(`${folder.path}/${name}`, token);
    writeFileSync(join(folder.path, `${name}.token`), `${token}\n`);
  }
  const events: string[] = [];
  const config = configOn(ground, folder.path, {
    towerGrace: 0,
    towerListen: '127.0.0.1:0',
    ...options.settings,
  });
  const tower = await createTower({
    ...{ config, account: options.account, executor: 'inline', pollMs: options.pollMs ?? 50 },
    onEvent: ({ level, text }) => void events.push(`${level}: ${text}`),
  });
  const server = await startTowerServer({
    tower,
    authenticate: (token) => tower.clients.authenticate(token),
    operatorToken: OPERATOR,
    ...config.tower,
  });
  const url = `http://127.0.0.1:${server.port}`;
  const domain = { chainId: String(ground.domain.chainId), hub: formatAddress(ground.domain.hub) };
  return {
    tower,
    url,
    home: folder.path,
    events,
    client(name) {
      const token = tokens.get(`${folder.path}/${name}`)!;
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
      const push: TowerClient['push'] = (payee, rows, other = {}) => {
        const body = { ...domain, ...other, payee: formatAddress(payee), rows: rows.map(toHex) };
        return fetch(`${url}/v1/claims`, { method: 'POST', headers, body: JSON.stringify(body) });
      };
      return {
        token,
        tokenFile: join(folder.path, `${name}.token`),
        push,
        async pushed(payee, rows) {
          const response = await push(payee, rows);
          if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
          return (await response.json()) as PushAnswer;
        },
        claims: async () => (await tower.claims(name, 0)).claims,
      };
    },
    async close({ keep = false } = {}) {
      await server.close();
      await tower.close();
      if (!keep) folder.remove();
    },
  };
}

let channels = 0;

/** A channel that was opened by hand and the key that signs for it. */
export interface HandMade {
  readonly voucherKey: Uint8Array;
  readonly payee: Uint8Array;
  row(amount: bigint): Promise<Uint8Array>;
  /** The payer asks to close; the ground's first account is the payer. */
  requestClose(): Promise<void>;
}

/** Opens channels of those deposits to a payee; a deposit of zero opens none. */
export async function openByHand(
  ground: Ground,
  payee: Uint8Array,
  deposits: readonly bigint[],
): Promise<readonly HandMade[]> {
  const made = deposits.map((deposit) => {
    const wallet = voucherWallet(1_000_000 + ++channels);
    return { wallet, voucherKey: parseAddress(wallet.address), payee, deposit };
  });
  await ground.open(made.filter(({ deposit }) => deposit > 0n));
  return made.map(({ wallet, voucherKey }) => ({
    voucherKey,
    payee,
    row: (amount) => row(wallet, ground.domain, payee, amount),
    requestClose: () => ground.transact(ground.hub.requestClose({ voucherKey, payee })),
  }));
}
