/**
 * The gas table of docs/spec/hub.md is what the committed snapshots say, which the Solidity tests in turn compare
 * with what they measure; and the snapshots meet the bars.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));
/** What one unit of gas has cost on BTTC, lowest and highest, in units of 10^-18 BTT. */
const PRICES = [3e14, 9e15];
const COUNTED = /^(?:settle|settleTicks|openMany|cooperativeClose) (\d+)/;

function snapshot(form: string): Record<string, number> {
  const path = join(root, 'contracts', 'snapshots', `${form}.json`);
  const figures = JSON.parse(readFileSync(path, 'utf8')) as Record<string, string>;
  return Object.fromEntries(Object.entries(figures).map(([name, gas]) => [name, Number(gas)]));
}

/** Gas of one row, channel or call. */
const each = (name: string, gas: number): number => gas / Number(COUNTED.exec(name)?.[1] ?? 1);

function table(): string {
  const [native, token] = [snapshot('NativeHub'), snapshot('TokenHub')];
  const whole = (gas: number | undefined): string =>
    gas === undefined ? '–' : Math.ceil(gas).toLocaleString('en-US');
  const rows = Object.entries(native).map(([name, gas]) => {
    const one = each(name, gas);
    const tokenGas = token[name];
    const costs = PRICES.map((price) => ((one * price) / 1e18).toFixed(price < 1e15 ? 2 : 1));
    return [name, whole(one), whole(tokenGas === undefined ? undefined : each(name, tokenGas)), ...costs];
  });
  return rows.map((row) => `| ${row.join(' | ')} |`).join('\n');
}

it('is in the specification as measured', () => {
  expect(readFileSync(join(root, 'docs', 'spec', 'hub.md'), 'utf8')).toContain(table());
});

it('meets the bars', () => {
  for (const form of ['NativeHub', 'TokenHub']) {
    const gas = snapshot(form);
    expect(gas['settle 1000']! / 1000, form).toBeLessThanOrEqual(10_100);
    expect(gas['settle 100']! / 100, form).toBeLessThanOrEqual(10_400);
  }
  expect(snapshot('NativeHub')['openMany 50 distinct payees']! / 50).toBeLessThanOrEqual(26_500);
});
