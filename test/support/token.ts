/** An ERC-20 on a test chain: the plain one of the contract tests, compiled when asked for. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { type BytesLike, getBytes, hexlify, Interface, toQuantity } from 'ethers';
import type { Address } from '../../src/channels/channel.js';
import { askNode } from './ground.js';

interface Solc {
  compile(input: string): string;
}

export interface Token {
  readonly address: Address;
  mint(to: Address, amount: bigint): Promise<void>;
  balance(of: Address): Promise<bigint>;
  allowance(owner: Address, spender: Address): Promise<bigint>;
}

const face = new Interface([
  'function mint(address to, uint256 amount)',
  'function balanceOf(address owner) view returns (uint256)',
  'function allowance(address owner, address spender) view returns (uint256)',
]);

/** Deploys it from an account that the node at `url` signs for. */
export async function deployToken(url: string, from: Address, gasPrice: bigint): Promise<Token> {
  const send = async (to: string | undefined, data: string): Promise<{ contractAddress: BytesLike }> => {
    const fields = { from: hexlify(from), data, gasPrice: toQuantity(gasPrice) };
    const hash = await askNode(url, 'eth_sendTransaction', [to === undefined ? fields : { ...fields, to }]);
    for (let tries = 0; tries < 500; tries++) {
      const receipt = await askNode(url, 'eth_getTransactionReceipt', [hash]);
      if (receipt !== null) return receipt as { contractAddress: BytesLike };
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`${String(hash)} was never mined`);
  };
  const address = getBytes((await send(undefined, compiled())).contractAddress);
  const view = async (name: string, values: readonly string[]): Promise<bigint> => {
    const data = face.encodeFunctionData(name, values);
    const bytes = await askNode(url, 'eth_call', [{ to: hexlify(address), data }, 'latest']);
    return face.decodeFunctionResult(name, bytes as string)[0] as bigint;
  };
  return {
    address,
    mint: async (to, amount) =>
      void (await send(hexlify(address), face.encodeFunctionData('mint', [hexlify(to), amount]))),
    balance: (of) => view('balanceOf', [hexlify(of)]),
    allowance: (owner, spender) => view('allowance', [hexlify(owner), hexlify(spender)]),
  };
}

function compiled(): string {
  const file = fileURLToPath(new URL('../../contracts/test/Tokens.sol', import.meta.url));
  const solc = createRequire(import.meta.url)('solc') as Solc;
  const input = {
    language: 'Solidity',
    sources: { tokens: { content: readFileSync(file, 'utf8') } },
    settings: { evmVersion: 'berlin', outputSelection: { '*': { PlainToken: ['evm.bytecode.object'] } } },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input))) as {
    contracts: { tokens: { PlainToken: { evm: { bytecode: { object: string } } } } };
  };
  return `0x${output.contracts.tokens.PlainToken.evm.bytecode.object}`;
}
