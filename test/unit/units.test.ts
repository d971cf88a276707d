import { describe, expect, it } from 'vitest';
import { PieceworkError } from '../../src/errors.js';
import * as Units from '../../src/units.js';

describe('amounts', () => {
  it.each([
    ['20BTT', 20n * Units.BTT],
    ['0.5 BTT', Units.BTT / 2n],
    ['1000wei', 1000n],
    ['0.000000000000000001BTT', 1n],
    ['79228162514.264337593543950335BTT', Units.AMOUNT_MAX],
  ])('reads %s', (text, amount) => {
    expect(Units.parseAmount(text)).toBe(amount);
    expect(Units.parseAmount(Units.formatAmount(amount))).toBe(amount);
  });

  it.each([
    '',
    '20',
    '-1BTT',
    '1e3BTT',
    '0.0000000000000000001BTT',
    '1.5wei',
    '79228162514.264337593543950336BTT',
    '0x1BTT',
    'NaNBTT',
  ])('refuses "%s"', (text) => {
    expect(() => Units.parseAmount(text)).toThrow(PieceworkError);
  });

  it('reads prices exactly or not at all', () => {
    expect(Units.parsePrice('0.5BTT/GiB')).toBe(Units.BTT / 2048n);
    expect(Units.parsePrice('1wei/MiB')).toBe(1n);
    expect(Units.formatPrice(Units.parsePrice('0.5BTT/GiB'))).toBe('0.5 BTT/GiB');
    expect(() => Units.parsePrice('1wei/GiB')).toThrow(/whole number/);
    expect(() => Units.parsePrice('5BTT')).toThrow(PieceworkError);
  });

  it('reads sizes', () => {
    expect(Units.parseSize('256KiB')).toBe(262_144);
    expect(Units.parseSize('1.5 MiB')).toBe(1_572_864);
    expect(Units.formatSize(228_000_000)).toBe('217.4 MiB');
    expect(() => Units.parseSize('many')).toThrow(PieceworkError);
  });
});
