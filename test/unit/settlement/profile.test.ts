import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { formatAddress } from '../../../src/channels/channel.js';
import { load as loadConfig } from '../../../src/config.js';
import * as GasRate from '../../../src/settlement/gas-rate.js';
import * as Profile from '../../../src/settlement/profile.js';

const folder = mkdtempSync(join(tmpdir(), 'piecework-profile-'));
afterAll(() => rmSync(folder, { recursive: true }));

const shipped = (name: string): Record<string, unknown> =>
  JSON.parse(
    readFileSync(fileURLToPath(new URL(`../../../profiles/${name}.json`, import.meta.url)), 'utf8'),
  ) as Record<string, unknown>;

describe('the profiles that come along', () => {
  it('are five, each under its own name and chain id', () => {
    expect(Profile.names()).toEqual(['bnb', 'bttc', 'donau', 'ethereum', 'local']);
    const ids = Profile.names().map((name) => {
      const profile = Profile.named(name);
      expect(profile.name).toBe(name);
      return profile.chainId;
    });
    expect(ids).toEqual([56n, 199n, 1029n, 1n, 31415n]);
  });

  it('say what gas is paid in and what the hub escrows', () => {
    const [bttc, ethereum] = [Profile.named('bttc'), Profile.named('ethereum')];
    expect([bttc.coin, bttc.asset, bttc.gasPriceFloor]).toEqual(['BTT', undefined, 300_000_000_000_000n]);
    expect(ethereum.coin).toBe('ETH');
    expect(formatAddress(ethereum.asset!)).toBe('0xc669928185dbce49d2230cc9b0979be6dc797957');
  });

  it('name the known ones when asked for another', () => {
    expect(() => Profile.named('tron')).toThrowError(
      expect.objectContaining({ code: 'BAD_CONFIG', message: expect.stringContaining('bnb, bttc, donau') }),
    );
  });
});

describe('a profile file', () => {
  const write = (value: unknown): string => {
    const path = join(folder, 'mine.json');
    writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value));
    return path;
  };

  it('of an operator is used like one that came along', () => {
    const path = write({ ...shipped('bnb'), name: 'mine', confirmations: 7, rpcUrls: ['http://10.0.0.1:1'] });
    const { chain } = loadConfig({ chain: path, dataDir: folder }, {});
    expect([chain.profile.name, chain.confirmations, chain.rpcUrls]).toEqual([
      'mine',
      7,
      ['http://10.0.0.1:1/'],
    ]);
  });

  it.each([
    ['name', 'Two Words'],
    ['chainId', 56],
    ['chainId', '0x38'],
    ['genesisHash', '0x12'],
    ['rpcUrls', []],
    ['rpcUrls', ['ftp://somewhere']],
    ['confirmations', 0],
    ['confirmations', 1.5],
    ['blockTimeMs', '750'],
    ['challengePeriodMin', 40_000_000],
    ['coin', 'bnb'],
    ['gasPriceFloor', -1],
    ['asset', '0x0000000000000000000000000000000000000000'],
    ['hub', 'somewhere'],
    ['hubCodeHash', '0xABCD'],
  ])('with a wrong %s (%j) is refused by that name', (field, value) => {
    const path = write({ ...shipped('bnb'), [field]: value });
    expect(() => Profile.named(path)).toThrowError(
      expect.objectContaining({ code: 'BAD_CONFIG', message: expect.stringContaining(`${field} must be`) }),
    );
  });

  it('that lacks any field, or has one too many, is refused by its name', () => {
    for (const field of Object.keys(shipped('bnb'))) {
      const { [field]: _gone, ...rest } = shipped('bnb');
      expect(() => Profile.named(write(rest)), field).toThrow(`${field} must be`);
    }
    expect(() => Profile.named(write({ ...shipped('bnb'), gasFloor: 1 }))).toThrow(
      'there is no field "gasFloor"',
    );
  });

  it('that is missing or no JSON is told apart', () => {
    expect(() => Profile.named(join(folder, 'none.json'))).toThrow('does not exist');
    expect(() => Profile.named(write('{'))).toThrow('is not JSON');
    expect(() => Profile.named(write([]))).toThrow('one object');
  });
});

describe('the gas rate', () => {
  it('is par where gas is paid in BTT, and nothing else can be set there', () => {
    expect(GasRate.voucherCost(GasRate.rateOf(Profile.named('bttc'), undefined), 123n)).toBe(123n);
    expect(() => GasRate.rateOf(Profile.named('bttc'), '2')).toThrow('paid in BTT itself');
  });

  it('is the operator’s elsewhere, and without it nothing has a price', () => {
    expect(GasRate.voucherCost(GasRate.rateOf(Profile.named('bnb'), undefined), 1n)).toBeUndefined();
    const { chain } = loadConfig({ chain: 'bnb', gasRate: '1500000000.5', dataDir: folder }, {});
    expect(GasRate.voucherCost(chain.gasRate, 2n)).toBe(3_000_000_001n);
    expect(loadConfig({ chain: 'bnb', dataDir: folder }, {}).chain.gasRate).toBeUndefined();
  });

  it('rounds up, exactly, at any size', () => {
    fc.assert(
      fc.property(
        fc.bigInt(0n, 10n ** 30n),
        fc.bigInt(0n, 10n ** 12n),
        fc.bigInt(1n, 999_999n),
        (wei, whole, part) => {
          const rate = GasRate.parse(`${whole}.${String(part).padStart(6, '0')}`);
          const cost = GasRate.voucherCost(rate, wei)!;
          const scaled = wei * (whole * 1_000_000n + part);
          return cost * 1_000_000n >= scaled && (cost - 1n) * 1_000_000n < scaled;
        },
      ),
    );
  });

  it('turns a ceiling in BTT into one in the coin, rounded down, and needs a rate for that', () => {
    const rate = GasRate.parse('2.5');
    expect(GasRate.gasCeiling(rate, 11n)).toEqual({ gasCeiling: 4n });
    expect(GasRate.gasCeiling(rate, undefined)).toEqual({});
    expect(GasRate.gasCeiling(undefined, undefined)).toEqual({});
    expect(() => GasRate.gasCeiling(undefined, 11n)).toThrowError(
      expect.objectContaining({ code: 'BAD_CONFIG', message: expect.stringContaining('--gas-rate') }),
    );
  });

  it.each(['', '0', '0.0', '-1', '1e9', '1,5', '.5', 'many'])('cannot be %j', (text) => {
    expect(() => GasRate.parse(text)).toThrowError(expect.objectContaining({ code: 'BAD_CONFIG' }));
  });
});
