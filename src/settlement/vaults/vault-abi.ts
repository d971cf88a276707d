/**
 * The interface of BTFS vaults, their factories and their tokens, as far as it is spoken here (vaults.md 3). Pure.
 */
import { getBytes, hexlify, Interface, keccak256 } from 'ethers';
import { type Address, formatAddress } from '../../channels/channel.js';
import { sameBytes, toHex } from '../../units.js';
import type { Receipt } from '../answers.js';
import type { Call } from '../transaction.js';
import type { SignedCheque } from './cheque.js';

export const abi = new Interface([
  'function cashChequeBeneficiary(address recipient, uint256 cumulativePayout, bytes issuerSig)',
  'function multiTokenCashChequeBeneficiary(address token, address recipient, uint256 cumulativePayout, bytes issuerSig)',
  'function paidOut(address beneficiary) view returns (uint256)',
  'function multiTokensPaidOut(address token, address beneficiary) view returns (uint256)',
  'function totalPaidOut() view returns (uint256)',
  'function multiTokensTotalPaidOut(address token) view returns (uint256)',
  'function issuer() view returns (address)',
  'function token() view returns (address)',
  'function master() view returns (address)',
  'function balanceOf(address owner) view returns (uint256)',
  'event Transfer(address indexed from, address indexed to, uint256 value)',
]);

/** bytes32(uint256(keccak256('eip1967.proxy.implementation')) − 1). */
export const IMPLEMENTATION_SLOT = '0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc';

const CLONE = /^0x363d3d373d3d3d363d73([0-9a-f]{40})5af43d82803e903d91602b57fd5bf3$/;

/** What an EIP-1167 clone with this runtime code delegates to, or undefined for other code. */
export function cloneTarget(code: string): Address | undefined {
  const target = CLONE.exec(code)?.[1];
  return target === undefined ? undefined : getBytes(`0x${target}`);
}

/** The cash-out of a cheque by its beneficiary. The intent names vault, token and payout. */
export function cashCall(cheque: SignedCheque, wbtt: Address, recipient: Address): Call {
  const { vault, token, cumulativePayout, signature } = cheque;
  const rest = [hexlify(recipient), cumulativePayout, hexlify(signature)];
  const data = sameBytes(token, wbtt)
    ? abi.encodeFunctionData('cashChequeBeneficiary', rest)
    : abi.encodeFunctionData('multiTokenCashChequeBeneficiary', [hexlify(token), ...rest]);
  const purpose = `cash a cheque of vault ${formatAddress(vault)}`;
  const intent = `cash ${keccak256(data)} at ${toHex(vault)}`;
  return { to: vault, data, value: 0n, purpose, intent };
}

/** Base units of `token` that moved from the vault to the recipient, by the token's own logs. */
export function moved(receipt: Receipt, token: Address, vault: Address, recipient: Address): bigint {
  if (!receipt.ok) return 0n;
  let amount = 0n;
  for (const log of receipt.logs) {
    if (!sameBytes(log.address, token)) continue;
    const event = readable(log);
    if (event?.name !== 'Transfer') continue;
    const [from, to, value] = event.args as unknown as [string, string, bigint];
    if (sameBytes(getBytes(from), vault) && sameBytes(getBytes(to), recipient)) amount += value;
  }
  return amount;
}

/** A log of another shape says nothing. */
function readable({ topics, data }: Receipt['logs'][number]) {
  try {
    return abi.parseLog({ topics: [...topics], data });
  } catch {
    return undefined;
  }
}
