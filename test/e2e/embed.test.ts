import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { HDNodeWallet } from 'ethers';
import { describe, expect, it } from 'vitest';
import { formatAddress } from '../../src/channels/channel.js';
import * as Tools from '../../src/engine/tools.js';
import { MNEMONIC } from '../../src/settlement/dev-chain.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const keyOf = (index: number): string =>
  HDNodeWallet.fromPhrase(MNEMONIC, undefined, `m/44'/60'/0'/0/${index}`).privateKey.slice(2);

describe('examples/embed.ts', () => {
  it('pays for a piece between two engines of one process, with the commands the README gives', async () => {
    execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'examples'], { cwd: root });
    const dev = await Tools.startDevChain();
    const data = mkdtempSync(join(tmpdir(), 'piecework-embed-'));
    try {
      const chain = { profile: dev.profile, rpcUrls: [dev.rpcUrl], confirmations: 1, hub: undefined };
      const { hub } = await Tools.deployHub(chain, dev.accounts[0]!, 86_400, undefined);
      const env = {
        ...process.env,
        RPC: dev.rpcUrl,
        HUB: formatAddress(hub),
        DATA: data,
        PAYEE_KEY: keyOf(1),
        PAYER_KEY: keyOf(2),
      };
      const { stdout } = await promisify(execFile)(process.execPath, ['build/examples/embed.js'], {
        cwd: root,
        env,
      });
      expect(stdout.trim().split('\n')).toEqual([
        'reserved: ok',
        'granted: serve',
        'acknowledged: true',
        // 256 KiB at the default price of 0.5 BTT/GiB.
        'earned: 0.0001220703125 BTT',
      ]);
    } finally {
      await dev.stop();
      rmSync(data, { recursive: true, force: true });
    }
  });
});
