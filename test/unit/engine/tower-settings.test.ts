/** Settings about towers: the forms in which they are written, and what is refused. */
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { load, type Settings } from '../../../src/config.js';
import { towersMax } from '../../../src/limits.js';

const from = (settings: Settings, environment: NodeJS.ProcessEnv = {}) =>
  load({ dataDir: '/nowhere', ...settings }, environment);

test('towers are named by flag, environment or file, each with its token file', () => {
  const one = { url: 'https://tower.example/', tokenFile: '/etc/one.token' };
  const two = { url: 'http://127.0.0.1:7881/', tokenFile: resolve('a,b.token') };
  expect(from({}).towers).toEqual([]);
  expect(from({ towers: ['https://tower.example,/etc/one.token'] }).towers).toEqual([one]);
  expect(from({ towers: [one, 'http://127.0.0.1:7881,a,b.token'] }).towers).toEqual([one, two]);
  const environment = {
    PIECEWORK_TOWERS: 'https://tower.example,/etc/one.token http://127.0.0.1:7881,a,b.token',
  };
  expect(from({}, environment).towers).toEqual([one, two]);
});

test('a tower listens on loopback unless told otherwise, and its limits are checked', () => {
  const { host, port, gasPerDay, graceSeconds, dust } = from({}).tower;
  expect([host, port, graceSeconds, dust]).toEqual(['127.0.0.1', 7881, undefined, false]);
  expect(gasPerDay).toBe(3_000n * 10n ** 18n);
  expect(from({ towerListen: '[::1]:0', towerGrace: '0', towerDust: 'true' }).tower).toMatchObject({
    ...{ host: '::1', port: 0, graceSeconds: 0, dust: true },
  });
});

test('what cannot be meant is refused', () => {
  const bad: Settings[] = [
    { towers: ['https://tower.example'] },
    { towers: ['https://tower.example,'] },
    { towers: ['ftp://tower.example,token'] },
    { towers: [{ url: 'https://tower.example' } as never] },
    { towers: [null as never] },
    { towers: 5 as never },
    { towers: Array(towersMax + 1).fill('https://tower.example,token') },
    { towerListen: '127.0.0.1' },
    { towerListen: '127.0.0.1:70000' },
    { towerGasPerDay: '0BTT' },
    { towerGrace: '-1' },
    { towerGrace: '1.5' },
    { towerDust: 'maybe' },
  ];
  for (const settings of bad) {
    const thrown = (() => {
      try {
        return from(settings);
      } catch (error) {
        return error;
      }
    })();
    expect(thrown, JSON.stringify(settings)).toMatchObject({ code: 'BAD_CONFIG' });
  }
});
