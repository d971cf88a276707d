import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hexlify } from 'ethers';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PieceworkError } from '../../../src/errors.js';
import type { Chain } from '../../../src/settlement/chain.js';
import type { DevChain } from '../../../src/settlement/dev-chain.js';
import { named } from '../../../src/settlement/profile.js';
import { ask, connectTo, failure, mine, type Relay, startChain, startRelay } from './support.js';

const [bttc, local] = [named('bttc'), named('local')];
let dev: DevChain;
let relay: Relay;
/** A port that was free a moment ago: connecting is refused. */
let nowhere: string;

beforeAll(async () => {
  dev = await startChain();
  relay = await startRelay(dev.rpcUrl);
  const gone = await startRelay(dev.rpcUrl);
  nowhere = gone.url;
  await gone.stop();
});
afterAll(async () => {
  await relay?.stop();
  await dev?.stop();
});
beforeEach(() => {
  relay.fault = () => undefined;
  relay.asked.length = 0;
});

const open = (rpcUrls: readonly string[], more = {}): Promise<Chain> =>
  connectTo(dev.profile, { rpcUrls, ...more });

describe('connecting', () => {
  it('checks the chain id', async () => {
    const error = await failure(connectTo({ ...dev.profile, chainId: 199n }));
    expect(error).toMatchObject({ code: 'CHAIN_WRONG_ID' });
    expect(error.message).toContain('serves chain 31415');
  });

  it('checks the first block where it is known, for an id can be chosen freely', async () => {
    const mimic = { ...dev.profile, genesisHash: bttc.genesisHash };
    expect((await failure(connectTo(mimic))).code).toBe('CHAIN_WRONG_ID');
    const { hash } = (await ask(dev.rpcUrl, 'eth_getBlockByNumber', '0x0', false)) as { hash: string };
    (await connectTo({ ...dev.profile, genesisHash: hash })).close();
  });

  it('tells when nobody answers, with the host and without its keys', async () => {
    const { host } = new URL(nowhere);
    const error = await failure(open([`http://user:secret-word@${host}/secret-path?key=secret-query`]));
    expect(error.code).toBe('CHAIN_UNREACHABLE');
    expect(error.cause).toBeUndefined();
    expect(error.message).toContain(`${nowhere} does not answer eth_getBlockByNumber: ECONNREFUSED`);
    expect(`${error.message}${error.stack}`).not.toContain('secret');
  });

  it.each([['ftp://127.0.0.1'], ['127.0.0.1:8545'], ['']])(
    'refuses %j as the address of a node',
    async (url) => {
      expect((await failure(open([url]))).code).toBe('BAD_CONFIG');
    },
  );

  it('needs at least one node', async () => {
    expect((await failure(open([]))).code).toBe('BAD_CONFIG');
  });

  it('sends the login of an address as a header', async () => {
    let heard: string | undefined;
    const server = createServer((request, response) => {
      heard = request.headers.authorization;
      response.writeHead(401).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    expect((await failure(open([`http://me:p%40ss@127.0.0.1:${port}`]))).message).toContain(
      'HTTP status 401',
    );
    expect(heard).toBe(`Basic ${Buffer.from('me:p@ss').toString('base64')}`);
    server.closeAllConnections();
    server.close();
  });
});

describe('a node that fails', () => {
  const faults = {
    'too many requests': { kind: 'status', status: 429, headers: { 'retry-after': '0' } },
    'an error of the server': { kind: 'status', status: 502 },
    'a dropped connection': { kind: 'drop' },
    'a lost answer': { kind: 'lose_answer' },
    'the limit of a provider': { kind: 'answer', body: { error: { code: -32005, message: 'slow down' } } },
    'no answer in it': { kind: 'answer', body: {} },
    'the answer to another question': { kind: 'answer', body: { id: 123_456, result: '0x7' } },
  } as const;

  it.each(Object.entries(faults))('%s: is asked again', async (_, fault) => {
    const chain = await open([relay.url]);
    relay.fault = (method, count) => (method === 'eth_gasPrice' && count % 3 !== 0 ? fault : undefined);
    const before = relay.asked.filter((method) => method === 'eth_gasPrice').length;
    expect(await chain.gasPrice()).toBe(dev.profile.gasPriceFloor);
    expect(relay.asked.filter((method) => method === 'eth_gasPrice').length).toBeGreaterThan(before + 1);
    chain.close();
  });

  it('is given up after the configured number of tries', async () => {
    const chain = await open([relay.url], { retriesMax: 2 });
    relay.asked.length = 0;
    relay.fault = (method) => (method === 'eth_blockNumber' ? undefined : { kind: 'status', status: 503 });
    const error = await failure(chain.gasPrice());
    expect(error).toMatchObject({
      code: 'CHAIN_UNREACHABLE',
      message: expect.stringContaining('HTTP status 503'),
    });
    expect(relay.asked.length).toBe(3);
    chain.close();
  });

  it('is not waited for longer than the timeout', async () => {
    const chain = await open([relay.url], { timeoutMs: 100, retriesMax: 1 });
    relay.fault = () => ({ kind: 'hang' });
    const start = performance.now();
    expect((await failure(chain.head())).message).toContain('nothing came in 100 ms');
    expect(performance.now() - start).toBeLessThan(2_000);
    chain.close();
  });

  it('is left for the next of the list, and that one is checked too', async () => {
    const chain = await open([nowhere, relay.url]);
    expect(chain.node).toBe(relay.url);
    expect(relay.asked[0]).toBe('eth_chainId');
    chain.close();
    relay.fault = (method) =>
      method === 'eth_chainId' ? { kind: 'answer', body: { result: '0x1' } } : undefined;
    expect((await failure(open([nowhere, relay.url]))).code).toBe('CHAIN_WRONG_ID');
  });

  it('and comes back as another chain is noticed', async () => {
    const chain = await open([relay.url], { retriesMax: 1 });
    let down = true;
    relay.fault = (method) => {
      if (down) {
        down = false;
        return { kind: 'drop' };
      }
      return method === 'eth_chainId' ? { kind: 'answer', body: { result: '0x1' } } : undefined;
    };
    const error = await failure(chain.head());
    expect(error).toMatchObject({
      code: 'CHAIN_UNREACHABLE',
      message: expect.stringContaining('serves chain 1'),
    });
    expect(chain.alarms.wrong_chain).toBe(1);
    chain.close();
  });

  it.each([
    ['eth_gasPrice', '12', (chain: Chain) => chain.gasPrice()],
    ['eth_gasPrice', 12, (chain: Chain) => chain.gasPrice()],
    ['eth_getBlockByNumber', { number: '0x1' }, (chain: Chain) => chain.head()],
    ['eth_getBlockByNumber', null, (chain: Chain) => chain.head()],
    ['eth_getCode', '0x123', (chain: Chain) => chain.code(new Uint8Array(20))],
    ['eth_getTransactionReceipt', { logs: 3 }, (chain: Chain) => chain.receipt(`0x${'00'.repeat(32)}`)],
  ])('answers %s with %j: that is no answer', async (method, result, work) => {
    const chain = await open([relay.url]);
    relay.fault = (asked) => (asked === method ? { kind: 'answer', body: { result } } : undefined);
    expect((await failure(work(chain))).code).toBe('CHAIN_UNREACHABLE');
    chain.close();
  });

  it('sends more than anyone needs: the answer is not read to its end', async () => {
    const server = createServer((_, response) => {
      const piece = 'x'.repeat(1 << 20);
      let sent = 0;
      const more = (): void => {
        while (sent++ < 64) if (!response.write(piece)) return void response.once('drain', more);
        response.end();
      };
      response.on('error', () => undefined);
      more();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const error = await failure(open([`http://127.0.0.1:${port}`], { retriesMax: 0 }));
    expect(error.message).toContain('an answer of more than');
    server.closeAllConnections();
    server.close();
  });

  it('redirects: is not followed', async () => {
    relay.fault = () => ({ kind: 'status', status: 307, headers: { location: dev.rpcUrl } });
    expect((await failure(open([relay.url], { retriesMax: 0 }))).code).toBe('CHAIN_UNREACHABLE');
  });
});

describe('asking', () => {
  it('knows the confirmed block by its depth, and the first one while the chain is short', async () => {
    const chain = await open([dev.rpcUrl]);
    const deep = await connectTo({ ...dev.profile, confirmations: 5 });
    expect((await deep.confirmed()).number).toBe(0n);
    await mine(dev.rpcUrl, 10);
    const head = await chain.head();
    expect(await chain.confirmed()).toEqual(head);
    expect((await deep.confirmed()).number).toBe(head.number - 4n);
    expect(await chain.block(head.number + 1n)).toBeUndefined();
    expect((await chain.block(head.number))!.hash).toBe(head.hash);
    deep.close();
    chain.close();
  });

  it('pays at least the floor of the profile, and what the node asks where that is more', async () => {
    const [cheap, dear] = [
      await connectTo({ ...dev.profile, gasPriceFloor: 1n }),
      await connectTo({ ...dev.profile, gasPriceFloor: 10n ** 18n }),
    ];
    expect(await cheap.gasPrice()).toBe(local.gasPriceFloor);
    expect(await dear.gasPrice()).toBe(10n ** 18n);
    cheap.close();
    dear.close();
  });

  it('reads at a block, and not at one that the chain does not have', async () => {
    const chain = await open([dev.rpcUrl]);
    const before = await chain.head();
    await mine(dev.rpcUrl);
    const address = new Uint8Array(20).fill(9);
    await ask(dev.rpcUrl, 'anvil_setBalance', hexlify(address), '0x5');
    await mine(dev.rpcUrl);
    expect(await chain.balance(address)).toBe(5n);
    expect(await chain.balance(address, before)).toBe(0n);
    const gone = { ...before, hash: `0x${'12'.repeat(32)}` };
    expect((await failure(chain.balance(address, gone))).code).toBe('CHAIN_REJECTED');
    chain.close();
  });

  it("tells the words of a revert: the contract's, Solidity's, or the node's", async () => {
    const chain = await open([dev.rpcUrl]);
    const revert = (body: string) => {
      // PUSH the bytes to memory with CODECOPY and REVERT with them.
      const size = (body.length / 2).toString(16).padStart(2, '0');
      return { to: undefined, data: `0x60${size}600c60003960${size}6000fd${body}` };
    };
    const text = (word: string) => Buffer.from(word).toString('hex').padEnd(64, '0');
    const pad = (value: number) => value.toString(16).padStart(64, '0');
    const solidity = revert(`08c379a0${pad(32)}${pad(6)}${text('no way')}`);
    const panic = revert(`4e487b71${pad(0x11)}`);
    const own = revert('deadbeef');
    const message = async (work: Promise<unknown>) => (await failure(work)).message;
    expect(await message(chain.estimateGas(solidity))).toBe('reverted: no way');
    expect(await message(chain.call(panic))).toBe('reverted: panic 17');
    expect(await message(chain.call(own, 'latest', () => 'Beef'))).toBe('reverted: Beef');
    expect(await message(chain.call(own))).toContain('0xdeadbeef');
    expect(await message(chain.call(revert('')))).toContain('revert');
    chain.close();
  });

  it('is over once closed', async () => {
    const chain = await open([relay.url]);
    relay.fault = () => ({ kind: 'hang' });
    const waiting = failure(chain.head());
    chain.close();
    expect((await waiting).code).toBe('INTERRUPTED');
    expect((await failure(chain.head())).code).toBe('INTERRUPTED');
    expect(new PieceworkError('INTERRUPTED').exitStatus).toBe(130);
  });
});
