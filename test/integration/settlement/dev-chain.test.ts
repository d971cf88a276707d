import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hexlify } from 'ethers';
import { describe, expect, it, vi } from 'vitest';
import * as DevChain from '../../../src/settlement/dev-chain.js';
import { ask, connectTo, failure, mine, until, withSender } from './support.js';

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

describe('a development chain', () => {
  it('follows the rules of BTTC: Berlin, its gas price, blocks that come by themselves and at once', async () => {
    const dev = await DevChain.start({ blockTime: 1, chainId: 424_242n });
    try {
      expect(dev.profile).toMatchObject({ name: 'local', chainId: 424_242n, rpcUrls: [dev.rpcUrl] });
      const chain = await connectTo(dev.profile);
      expect(await chain.gasPrice()).toBe(dev.profile.gasPriceFloor);
      const block = (await ask(dev.rpcUrl, 'eth_getBlockByNumber', 'latest', false)) as { gasLimit: string };
      expect(block).not.toHaveProperty('baseFeePerGas');
      expect(BigInt(block.gasLimit)).toBe(20_000_000n);
      for (const opcode of ['0x5f5ff3', '0x4860005260206000f3']) {
        const trial = { to: undefined, data: opcode };
        expect((await failure(chain.call(trial))).message).toMatch(/NotActivated|not activated/i);
      }
      const sent = performance.now();
      const call = { to: new Uint8Array(20).fill(6), data: '0x', value: 1n, purpose: 'test', intent: 'test' };
      await withSender(chain, dev.accounts[0]!, (sender) => sender.send(call));
      expect(performance.now() - sent).toBeLessThan(900);
      const before = (await chain.head()).number;
      await until(async () => (await chain.head()).number > before + 1n);
      chain.close();
    } finally {
      await dev.stop();
    }
  });

  it('has funded accounts, the same each time', async () => {
    const dev = await DevChain.start({ blockTime: 0, accountCount: 3, balance: 5 });
    try {
      expect(dev.accounts.length).toBe(3);
      expect(hexlify(dev.accounts[0]!.address)).toBe('0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266');
      const chain = await connectTo(dev.profile);
      for (const { address } of dev.accounts) expect(await chain.balance(address)).toBe(5n * 10n ** 18n);
      chain.close();
    } finally {
      await dev.stop();
    }
  });

  it('is gone once stopped, and stopping twice does no harm', async () => {
    const dev = await DevChain.start({ blockTime: 0 });
    expect(alive(dev.pid)).toBe(true);
    await dev.stop();
    await dev.stop();
    expect(alive(dev.pid)).toBe(false);
    expect((await failure(connectTo(dev.profile, { retriesMax: 0 }))).code).toBe('CHAIN_UNREACHABLE');
  });

  it('keeps states as deep as a reorganisation goes and leaves no file behind', async () => {
    const home = mkdtempSync(join(tmpdir(), 'piecework-test-'));
    vi.stubEnv('HOME', home);
    try {
      const dev = await DevChain.start({ blockTime: 0 });
      try {
        const { address } = dev.accounts[0]!;
        const funds = (block: number): Promise<unknown> =>
          ask(dev.rpcUrl, 'eth_getBalance', hexlify(address), `0x${block.toString(16)}`);
        await mine(dev.rpcUrl, 1000);
        expect(await funds(701)).toBe(await funds(1000));
        await expect(funds(1)).rejects.toThrow(/BlockOutOfRange/);
        await ask(dev.rpcUrl, 'anvil_reorg', 299, []);
      } finally {
        await dev.stop();
      }
      expect(readdirSync(home, { recursive: true })).toEqual([]);
    } finally {
      vi.unstubAllEnvs();
      rmSync(home, { recursive: true });
    }
  });

  it('does not start on a port that is taken', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    expect((await failure(DevChain.start({ port }))).code).toBe('LISTEN_FAILED');
    server.close();
  });

  it.skipIf(process.platform === 'win32')('does not outlive its parent, however that ends', async () => {
    const fixture = fileURLToPath(new URL('./dev-chain-parent.mjs', import.meta.url));
    const outlives = async (end: 'exit' | NodeJS.Signals): Promise<void> => {
      const parent = spawn(process.execPath, [fixture, end], { stdio: ['ignore', 'pipe', 'inherit'] });
      const [line] = (await once(parent.stdout, 'data')) as [Buffer];
      const pid = Number(line.toString());
      expect(alive(pid), end).toBe(true);
      const ended = once(parent, 'exit');
      if (end !== 'exit') parent.kill(end);
      await ended;
      await until(() => !alive(pid));
    };
    await Promise.all((['exit', 'SIGTERM', 'SIGINT', 'SIGKILL'] as const).map(outlives));
  });
});
