import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REJECT_CODES } from '../../../src/channels/message.js';
import * as Terms from '../../../src/channels/terms.js';
import { amountOf } from '../../../src/channels/voucher.js';
import { fromHex, toHex } from '../../../src/units.js';
import * as Messages from '../../../src/wire/messages.js';
import * as Ticks from '../../model/tick-rows.js';

type Vector = Record<string, string>;
const vectors = JSON.parse(
  readFileSync(new URL('../../vectors/wire.json', import.meta.url), 'utf8'),
) as Vector[];
const KINDS = [
  ...(['offer', 'accept', 'voucher', 'ack', 'state', 'reject', 'receipt', 'bid'] as const),
  ...(['tick_voucher', 'tick'] as const),
];

function decoded(vector: Vector, kind: string) {
  const result = Messages.decode(fromHex(vector[kind]!));
  if (!result.ok) throw new Error(`${kind} did not decode: ${result.code}`);
  return result.message;
}

describe('pw_pay messages', () => {
  it.each(KINDS)('decode and encode every %s vector to the same bytes', (kind) => {
    expect(vectors.length).toBe(16);
    for (const vector of vectors) {
      const message = decoded(vector, kind);
      expect(message.type).toBe(kind);
      expect(`0x${toHex(Messages.encode(message))}`).toBe(vector[kind]);
    }
  });

  it('digests the signed structures as the vectors say', () => {
    for (const vector of vectors) {
      const offer = decoded(vector, 'offer');
      const accept = decoded(vector, 'accept');
      const receipt = decoded(vector, 'receipt');
      if (offer.type !== 'offer' || accept.type !== 'accept' || receipt.type !== 'receipt')
        throw new Error('wrong type');
      const { domain } = offer.offer;
      expect(`0x${toHex(Terms.offerDigest(offer.offer))}`).toBe(vector['offerDigest']);
      const connection = {
        payerPeerId: fromHex(vector['payerPeerId']!),
        payeePeerId: fromHex(vector['payeePeerId']!),
        infohash: fromHex(vector['infohash']!),
      };
      const digest = Terms.acceptDigest(domain, accept.accept, connection);
      expect(`0x${toHex(digest)}`).toBe(vector['acceptDigest']);
      expect(`0x${toHex(Terms.sessionId(digest))}`).toBe(vector['sessionId']);
      expect(`0x${toHex(Terms.receiptDigest(domain, receipt.receipt))}`).toBe(vector['receiptDigest']);
      if (offer.offer.delegation) {
        const { payee, delegate, delegation } = offer.offer;
        const own = Terms.delegationDigest(domain, payee, delegate, delegation.expiry);
        expect(`0x${toHex(own)}`).toBe(vector['delegationDigest']);
      }
    }
  });

  it('keeps amounts exact beyond 2^53', () => {
    for (const vector of vectors) {
      const voucher = decoded(vector, 'voucher');
      if (voucher.type !== 'voucher') throw new Error('wrong type');
      expect(amountOf(voucher.row)).toBe(BigInt(vector['amount']!));
    }
  });

  it('refuses every truncation and every extension of a message', () => {
    for (const kind of KINDS) {
      const bytes = fromHex(vectors[1]![kind]!);
      for (let size = 0; size < bytes.length; size++)
        expect(Messages.decode(bytes.slice(0, size)).ok).toBe(false);
      expect(Messages.decode(new Uint8Array([...bytes, 0])).ok).toBe(false);
    }
  });

  it('reads ticks and the length that an offer takes', () => {
    for (const vector of vectors) {
      const [offer, tickVoucher, tick] = [
        decoded(vector, 'offer'),
        decoded(vector, 'tick_voucher'),
        decoded(vector, 'tick'),
      ];
      if (offer.type !== 'offer' || tickVoucher.type !== 'tick_voucher' || tick.type !== 'tick')
        throw new Error('wrong type');
      expect(offer.offer.tickLength).toBe(vector['tickLength']);
      expect(tick.count).toBe(vector['count']);
      const row = Ticks.parse(tickVoucher.row);
      expect({ amount: row.amount, count: row.count, tick: row.tick }).toEqual({
        amount: BigInt(vector['amount']!),
        count: tick.count,
        tick: tick.tick,
      });
    }
    const tooLong = fromHex(vectors[3]!['offer']!);
    expect([tooLong[299], tooLong[300]]).toEqual([4, 0]);
    tooLong[300] = 1;
    expect(Messages.decode(tooLong)).toEqual({ ok: false, refused: 'offer', code: 'malformed' });
  });

  it('names unknown versions and types', () => {
    expect(Messages.decode(new Uint8Array([2, 1]))).toEqual({
      ok: false,
      refused: 'unknown',
      code: 'unsupported_version',
    });
    expect(Messages.decode(new Uint8Array([1, 99]))).toEqual({
      ok: false,
      refused: 'unknown',
      code: 'unsupported_type',
    });
    expect(Messages.decode(new Uint8Array(2_000))).toEqual({
      ok: false,
      refused: 'unknown',
      code: 'malformed',
    });
  });

  it('never throws, and decodes only what it would encode the same', () => {
    const sizes = fc.constantFrom(346, 162, 79, 50, 91, 222, 22, 126, 36);
    const size = fc.oneof(fc.integer({ min: 0, max: 400 }), sizes);
    let accepted = 0;
    fc.assert(
      fc.property(
        size,
        fc.integer({ min: 0, max: 11 }),
        fc.infiniteStream(fc.integer({ min: 0, max: 255 })),
        (n, type, bytes) => {
          const payload = Uint8Array.from({ length: n }, () => bytes.next().value as number);
          if (n > 1) payload.set([1, type]);
          const result = Messages.decode(payload);
          if (!result.ok) return;
          accepted++;
          const again = Messages.decode(Messages.encode(result.message));
          expect(again).toEqual(result);
        },
      ),
      { numRuns: 5_000, seed: 7 },
    );
    expect(accepted).toBeGreaterThan(20);
  });

  it('has one number per reject code', () => {
    const numbers = Object.values(REJECT_CODES);
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(numbers.length).toBe(22);
  });
});
