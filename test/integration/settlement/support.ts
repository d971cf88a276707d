/**
 * What the chain tests share: a development chain that mines only when asked or on a transaction, a hub on
 * it, signed vouchers, and a relay in front of a node that can be told to misbehave.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getBytes, hexlify, keccak256, Signature, sha256, toUtf8Bytes, Wallet } from 'ethers';
import { expect } from 'vitest';
import type { ChannelKey, Domain } from '../../../src/channels/channel.js';
import * as Tick from '../../../src/channels/tick.js';
import * as Voucher from '../../../src/channels/voucher.js';
import { PieceworkError } from '../../../src/errors.js';
import type { Account } from '../../../src/settlement/account.js';
import { type Chain, type ChainOptions, connect } from '../../../src/settlement/chain.js';
import { deploy } from '../../../src/settlement/deploy.js';
import * as DevChain from '../../../src/settlement/dev-chain.js';
import { Hub } from '../../../src/settlement/hub.js';
import { readArtifact } from '../../../src/settlement/hub-code.js';
import type { Profile } from '../../../src/settlement/profile.js';
import * as Sender from '../../../src/settlement/sender.js';
import {
  memoryStore,
  type StoredTransaction,
  type TransactionStore,
} from '../../../src/settlement/transaction.js';

export const BTT = 10n ** 18n;
export const FAST = { pollMs: 20, waitMs: 10_000 };
export const QUICK: ChainOptions = { retryMs: 10, timeoutMs: 2_000 };

export const startChain = (): Promise<DevChain.DevChain> => DevChain.start({ blockTime: 0 });

/** One raw question to a node, for what no code under test asks. */
export async function ask(url: string, method: string, ...params: unknown[]): Promise<unknown> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  });
  const { result, error } = (await response.json()) as { result?: unknown; error?: { message: string } };
  if (error) throw new Error(`${method}: ${error.message}`);
  return result;
}

export const mine = (url: string, count = 1): Promise<unknown> =>
  ask(url, 'anvil_mine', `0x${count.toString(16)}`);
export const automine = (url: string, on: boolean): Promise<unknown> => ask(url, 'evm_setAutomine', on);

export async function passTime(url: string, seconds: number): Promise<void> {
  await ask(url, 'evm_increaseTime', seconds);
  await mine(url);
}

/** A hub deployed by `account`, seen through `chain`. */
export async function deployHub(chain: Chain, account: Account, challengePeriod = 3_600): Promise<Hub> {
  const artifact = await readArtifact();
  const sender = await Sender.open(chain, account, memoryStore(), FAST);
  try {
    const { hub } = await deploy(chain, sender, artifact, challengePeriod);
    return new Hub(chain, hub, artifact);
  } finally {
    await sender.close();
  }
}

/** Runs `task` with a sender of `account` and closes it afterwards. */
export async function withSender<T>(
  chain: Chain,
  account: Account,
  task: (sender: Sender.Sender) => Promise<T>,
  store: TransactionStore = memoryStore(),
  options: Sender.SenderOptions = {},
): Promise<T> {
  const sender = await Sender.open(chain, account, store, { ...FAST, ...options });
  try {
    return await task(sender);
  } finally {
    await sender.close();
  }
}

export function connectTo(profile: Profile, options: ChainOptions = {}): Promise<Chain> {
  return connect(profile, { ...QUICK, ...options });
}

/** The voucher key of that number: the same each time. */
export const voucherWallet = (number: number): Wallet =>
  new Wallet(keccak256(toUtf8Bytes(`voucher key ${number}`)));

export const keyOf = (wallet: Wallet, payee: Account): ChannelKey => ({
  voucherKey: getBytes(wallet.address),
  payee: payee.address,
});

/** A row signed by ethers from the typed data of voucher.md 2, independently of our own digest code. */
export async function row(
  wallet: Wallet,
  domain: Domain,
  payee: Uint8Array,
  amount: bigint,
): Promise<Uint8Array> {
  const types = { Voucher: FIELDS };
  const signed = await wallet.signTypedData(nameOf(domain), types, {
    payee: hexlify(payee),
    cumulativeAmount: amount,
  });
  const { r, yParityAndS } = Signature.from(signed);
  return Voucher.encode({ amount, r: getBytes(r), vs: getBytes(yParityAndS) });
}

const FIELDS = [
  { name: 'payee', type: 'address' },
  { name: 'cumulativeAmount', type: 'uint256' },
];
const TICK_FIELDS = [
  ...FIELDS,
  { name: 'root', type: 'bytes32' },
  { name: 'unit', type: 'uint96' },
  { name: 'length', type: 'uint16' },
];

const nameOf = ({ chainId, hub }: Domain) => ({
  name: 'Piecework',
  version: '1',
  chainId,
  verifyingContract: hexlify(hub),
});

/** Tick `count` of a chain with a fixed end, signed by ethers from the typed data of ticks.md 2. */
export async function tickRow(
  wallet: Wallet,
  domain: Domain,
  payee: Uint8Array,
  chain: { readonly amount: bigint; readonly unit: bigint; readonly length: number },
  count: number,
): Promise<Uint8Array> {
  const { amount, unit, length } = chain;
  const values = [keccak256(toUtf8Bytes('the end of a chain'))];
  while (values.length <= length) values.unshift(sha256(values[0]!));
  const signed = await wallet.signTypedData(
    nameOf(domain),
    { TickVoucher: TICK_FIELDS },
    { payee: hexlify(payee), cumulativeAmount: amount, root: values[0], unit, length },
  );
  const { r, yParityAndS } = Signature.from(signed);
  return Tick.encode({
    ...chain,
    count,
    tick: getBytes(values[count]!),
    r: getBytes(r),
    vs: getBytes(yParityAndS),
  });
}

/** Waits until something has come to pass, and fails when it does not. */
export async function until(met: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await met())) {
    if (Date.now() > deadline) throw new Error(`never came to pass: ${met}`);
    await new Promise((go) => setTimeout(go, 5));
  }
}

/** The error a promise is rejected with; anything but a PieceworkError fails the test. */
export async function failure(work: Promise<unknown>): Promise<PieceworkError> {
  const thrown = await work.then(
    () => 'it did not fail',
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(PieceworkError);
  return thrown as PieceworkError;
}

/** A store that tells what happened to it and can be told to die right after it wrote. */
export interface WatchedStore extends TransactionStore {
  readonly records: Map<string, StoredTransaction>;
  beforePut: (record: StoredTransaction) => Promise<void>;
  afterPut: (record: StoredTransaction) => Promise<void>;
}

export function watchedStore(): WatchedStore {
  const records = new Map<string, StoredTransaction>();
  const store: WatchedStore = {
    records,
    beforePut: async () => undefined,
    afterPut: async () => undefined,
    async put(record) {
      await store.beforePut(record);
      // A journal keeps bytes, not objects.
      records.set(record.id, JSON.parse(JSON.stringify(record)) as StoredTransaction);
      await store.afterPut(record);
    },
    async remove(id) {
      records.delete(id);
    },
    async list() {
      return [...records.values()];
    },
  };
  return store;
}

export type Fault =
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Record<string, string> }
  | { readonly kind: 'drop' }
  | { readonly kind: 'lose_answer' }
  | { readonly kind: 'hang' }
  | { readonly kind: 'answer'; readonly body: unknown };

export interface Relay {
  readonly url: string;
  /** Methods asked so far, in order. */
  readonly asked: string[];
  /** Decides per request; undefined passes it on to the node. */
  fault: (method: string, count: number, params: readonly unknown[]) => Fault | undefined;
  stop(): Promise<void>;
}

/** An HTTP relay to a node at `target`. */
export async function startRelay(target: string): Promise<Relay> {
  const asked: string[] = [];
  const counts = new Map<string, number>();
  const server = createServer((request, response) => void serve(request, response));
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString('utf8');
    const { method, id, params } = JSON.parse(body) as { method: string; id: number; params: unknown[] };
    asked.push(method);
    const count = (counts.get(method) ?? 0) + 1;
    counts.set(method, count);
    const fault = relay.fault(method, count, params);
    if (fault?.kind === 'hang') return;
    if (fault?.kind === 'drop') return void request.socket.destroy();
    if (fault?.kind === 'status') return void response.writeHead(fault.status, fault.headers).end('no');
    if (fault?.kind === 'answer') {
      return void response.end(JSON.stringify({ jsonrpc: '2.0', id, ...(fault.body as object) }));
    }
    const passed = await fetch(target, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    const answer = await passed.text();
    if (fault?.kind === 'lose_answer') return void request.socket.destroy();
    response.writeHead(passed.status, { 'content-type': 'application/json' }).end(answer);
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const relay: Relay = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    fault: () => undefined,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return relay;
}
