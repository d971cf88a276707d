/**
 * The hub's interface as this version speaks it (hub.md 2–4): verbs, views, events and errors, and reading
 * them back. The two forms differ in the verbs that take money: one takes it with the call, the other pulls
 * a named amount of its ERC-20.
 */
import { getBytes, hexlify, Interface, type LogDescription } from 'ethers';
import { type Address, formatAddress } from '../channels/channel.js';
import { sameBytes } from '../units.js';
import type { Log, Receipt } from './answers.js';
import type { EscrowEvent } from './escrow.js';

const VIEW = '(uint96 deposit, uint96 settled, uint32 closeAt, address owner)';

const ROWS = '(address voucherKey, address payee, uint96 deposit)[] rows';

const shared = [
  'function settle(address payee, bytes rows)',
  'function settleTicks(address payee, bytes rows)',
  'function cooperativeClose(address[] voucherKeys, bytes rows)',
  'function requestClose(address voucherKey, address payee)',
  'function withdraw(address voucherKey, address payee)',
  'function withdrawCredit(address to)',
  `function readChannels(address payee, address[] voucherKeys) view returns (${VIEW}[])`,
  'function credit(address owner) view returns (uint256)',
  'function challengePeriod() view returns (uint32)',
  'function asset() view returns (address)',
  'function domainSeparator() view returns (bytes32)',
  'event Opened(address indexed owner, address indexed voucherKey, address indexed payee, uint96 deposit)',
  'event ToppedUp(address indexed voucherKey, address indexed payee, uint96 deposit)',
  'event Settled(address indexed payee, uint256 amount)',
  'event CloseRequested(address indexed voucherKey, address indexed payee, uint32 closeAt)',
  'event Closed(address indexed voucherKey, address indexed payee, uint96 settled, uint96 returned)',
  'event CreditWithdrawn(address indexed owner, address indexed to, uint256 amount)',
  ...[
    'ZeroAddress',
    'ZeroDeposit',
    'AmountTooLarge',
    'WrongValue',
    'ChannelExists',
    'UnknownChannel',
    'ChannelClosed',
    'NotOwner',
    'BadRows',
    'BadTickRows',
    'CloseNotRequested',
    'CloseNotDue',
    'NoCredit',
    'TransferFailed',
    'BadChallengePeriod',
  ].map((name) => `error ${name}()`),
];

/** Of the hub that escrows the chain's own coin. */
export const abi = new Interface([
  'constructor(uint32 challengePeriod)',
  'function open(address voucherKey, address payee) payable',
  `function openMany(${ROWS}) payable`,
  'function topUp(address voucherKey, address payee) payable',
  ...shared,
]);

/** Of the hub that escrows an ERC-20. */
export const tokenAbi = new Interface([
  'constructor(address token, uint32 challengePeriod)',
  'function open(address voucherKey, address payee, uint256 amount)',
  `function openMany(${ROWS}, uint256 amount)`,
  'function topUp(address voucherKey, address payee, uint256 amount)',
  ...shared,
  ...['WrongAmountMoved', 'Reentered', 'NotAToken'].map((name) => `error ${name}()`),
]);

/** What the hub and its payers ask of an ERC-20. */
export const erc20 = new Interface([
  'function balanceOf(address owner) view returns (uint256)',
  'function allowance(address owner, address spender) view returns (uint256)',
  'function approve(address spender, uint256 amount) returns (bool)',
]);

/** The interface of the hub that escrows `asset`, undefined being the chain's own coin. */
export function abiOf(asset: Address | undefined): Interface {
  return asset === undefined ? abi : tokenAbi;
}

/** The name of the hub's error in the bytes of a revert, or undefined. */
export function explain(revertData: string): string | undefined {
  return tokenAbi.parseError(revertData)?.name;
}

/** The events of `hub` in a receipt, in order. A failed transaction has none. */
export function events(hub: Address, receipt: Receipt): readonly EscrowEvent[] {
  if (!receipt.ok) return [];
  return receipt.logs
    .filter((log) => sameBytes(log.address, hub))
    .map(eventOf)
    .filter((found) => found !== undefined);
}

/** One channel of a `readChannels` answer. */
export interface ChannelView {
  readonly deposit: bigint;
  readonly settled: bigint;
  readonly closeAt: number;
  readonly owner: Address;
}

export function encodeRead(payee: Address, voucherKeys: readonly Address[]): string {
  return abi.encodeFunctionData('readChannels', [hexlify(payee), voucherKeys.map(formatAddress)]);
}

/** @throws whatever ethers throws for bytes of another shape; `hub` turns it into HUB_MISMATCH. */
export function decodeRead(bytes: string): readonly ChannelView[] {
  const [views] = abi.decodeFunctionResult('readChannels', bytes);
  return [...(views as Iterable<readonly [bigint, bigint, bigint, string]>)].map(
    ([deposit, settled, closeAt, owner]) => ({
      deposit,
      settled,
      closeAt: Number(closeAt),
      owner: getBytes(owner),
    }),
  );
}

/** What a log of the hub says, or undefined where it cannot be read. */
export function eventOf(log: Log): EscrowEvent | undefined {
  const parsed = readable(log);
  if (!parsed) return undefined;
  const address = (name: string): Address => getBytes(parsed.args[name] as string);
  const amount = (name: string): bigint => parsed.args[name] as bigint;
  const key = (): { voucherKey: Address; payee: Address } => ({
    voucherKey: address('voucherKey'),
    payee: address('payee'),
  });
  switch (parsed.name) {
    case 'Opened':
      return { type: 'opened', owner: address('owner'), ...key(), deposit: amount('deposit') };
    case 'ToppedUp':
      return { type: 'topped_up', ...key(), deposit: amount('deposit') };
    case 'Settled':
      return { type: 'settled', payee: address('payee'), amount: amount('amount') };
    case 'CloseRequested':
      return { type: 'close_requested', ...key(), closeAt: Number(amount('closeAt')) };
    case 'Closed':
      return { type: 'closed', ...key(), settled: amount('settled'), returned: amount('returned') };
    case 'CreditWithdrawn':
      return {
        type: 'credit_withdrawn',
        owner: address('owner'),
        to: address('to'),
        amount: amount('amount'),
      };
    default:
      return undefined;
  }
}

/** Logs are hints (hub.md 4): one that cannot be read says nothing. */
function readable(log: Log): LogDescription | null {
  if (log.topics.length === 0) return null;
  try {
    return abi.parseLog({ topics: [...log.topics], data: log.data });
  } catch {
    return null;
  }
}
