/** The list of a tower's clients: tokens that open, that are kept as digests only, and changes while it runs. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { addClient, openClients, removeClient } from '../../../src/engine/towers/clients.js';
import { towerClientsMax } from '../../../src/limits.js';
import { temporary } from '../../support/engines.js';

const random = (size: number): Uint8Array => new Uint8Array(randomBytes(size));

function withFolder(work: (folder: string, file: string) => void): void {
  const { path, remove } = temporary();
  try {
    mkdirSync(path, { recursive: true });
    work(path, join(path, 'tower-clients.json'));
  } finally {
    remove();
  }
}

test('a token opens for its client alone, and the file does not hold it', () => {
  withFolder((folder, file) => {
    expect(() => openClients(folder, () => {})).toThrow(/no clients yet/);
    const tokens = ['one', 'two'].map((name) => addClient(folder, name, random));
    expect(tokens.every((token) => /^[0-9a-f]{64}$/.test(token))).toBe(true);
    expect(tokens.some((token) => readFileSync(file, 'utf8').includes(token))).toBe(false);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const clients = openClients(folder, () => {});
    expect(tokens.map((token) => clients.authenticate(token))).toEqual(['one', 'two']);
    for (const wrong of ['', tokens[0]!.slice(1), `${tokens[0]} `, tokens[0]!.toUpperCase()])
      if (wrong !== tokens[0]) expect(clients.authenticate(wrong)).toBeUndefined();
  });
});

test('additions and removals count at once, and a broken file changes nothing', () => {
  withFolder((folder, file) => {
    const one = addClient(folder, 'one', random);
    const warnings: string[] = [];
    const clients = openClients(folder, (text) => warnings.push(text));
    const two = addClient(folder, 'two', random);
    expect(clients.authenticate(two)).toBe('two');
    removeClient(folder, 'one');
    expect(clients.authenticate(one)).toBeUndefined();
    expect(clients.names).toEqual(['two']);
    writeFileSync(file, '{"clients": [{"name": "two"}]}');
    expect(clients.authenticate(two)).toBe('two');
    rmSync(file);
    expect(clients.authenticate(two)).toBe('two');
    expect(warnings.length).toBe(2);
  });
});

test('names are checked, taken once, and bounded in number', () => {
  withFolder((folder) => {
    for (const bad of ['', 'Box', 'a b', '-a', 'x'.repeat(33), '../x'])
      expect(() => addClient(folder, bad, random)).toThrow(/is not a name/);
    addClient(folder, 'one', random);
    expect(() => addClient(folder, 'one', random)).toThrow(/already/);
    expect(() => removeClient(folder, 'two')).toThrow(/no client/);
    for (let at = 1; at < towerClientsMax; at++) addClient(folder, `box-${at}`, random);
    expect(() => addClient(folder, 'more', random)).toThrow(/at most/);
    expect(openClients(folder, () => {}).names.length).toBe(towerClientsMax);
  });
});
