/** Pieces that are admitted in parts: in their order, never more than was admitted, and each grant with one end. */
import { describe, expect, it } from 'vitest';
import * as Customers from '../../../src/torrent/customer.js';
import * as Gatekeeper from '../../../src/torrent/gatekeeper.js';

const BLOCK = 16_384;
const layout = { pieceLength: 4 * BLOCK, pieceCount: 8, totalBytes: 32 * BLOCK, files: [] };
const turn = (): Promise<void> => new Promise(setImmediate);

function bench(parts: boolean) {
  const asked: Array<ReadonlyArray<readonly [number, number]>> = [];
  const answers: Array<(admissions: readonly Gatekeeper.Admission[]) => void> = [];
  const ended: Array<readonly [number, number]> = [];
  const customer = Customers.create({ id: 1 } as Customers.SeedPeer, 'paid', 0);
  customer.choked = false;
  const gatekeeper = Gatekeeper.create({
    layout,
    isHere: () => true,
    onGrant: () => {},
    refuse: () => {},
    onError: (error) => expect.unreachable(error.message),
    gate: {
      admit(_peer, pieces) {
        asked.push(pieces.map(({ piece, lacking }) => [piece, lacking] as const));
        return new Promise((resolve) => answers.push(resolve));
      },
      isByPart: () => parts,
      sent: (_peer, piece, bytes) => ended.push([piece, bytes]),
      dropped: (_peer, grants) => ended.push(...grants.map(({ piece, bytes }) => [piece, bytes] as const)),
    },
  });
  const request = (piece: number, block: number): void => {
    const one = { index: piece, offset: block * BLOCK, length: BLOCK };
    customer.queue.push(one);
    gatekeeper.askFor(customer, one);
  };
  /** Sends what may be sent, in the order of the requests; gives the pieces. */
  const serve = (): number[] => {
    const pieces: number[] = [];
    for (;;) {
      const at = customer.queue.findIndex((one) => Customers.servable(customer, one));
      const [one] = at < 0 ? [] : customer.queue.splice(at, 1);
      if (!one) break;
      pieces.push(one.index);
      gatekeeper.spend(customer, one.index, one.length, undefined);
      gatekeeper.delivered(customer, one.length);
    }
    if (customer.queue.length > 0) gatekeeper.starved(customer);
    return pieces;
  };
  const answer = async (...admissions: readonly Gatekeeper.Admission[]): Promise<void> => {
    answers.shift()!(admissions);
    await turn();
  };
  return { asked, ended, customer, gatekeeper, request, serve, answer };
}

describe('a gate that admits parts', () => {
  it('is asked one question at a time, for what is lacking, in the order of the requests', async () => {
    const { asked, ended, customer, gatekeeper, request, serve, answer } = bench(true);
    for (const piece of [2, 5]) for (const block of [0, 1, 2, 3]) request(piece, block);
    await turn();
    gatekeeper.ask(customer);
    const both = [
      [2, 4 * BLOCK],
      [5, 4 * BLOCK],
    ];
    expect(asked).toEqual([both]);
    await answer(BLOCK, 'wait');
    expect(serve()).toEqual([2]);
    await turn();
    // Behind a piece that waits nothing is asked for until it is woken.
    expect(asked).toHaveLength(1);
    customer.waiting.clear();
    gatekeeper.ask(customer);
    expect(asked.slice(1)).toEqual([
      [
        [2, 3 * BLOCK],
        [5, 4 * BLOCK],
      ],
    ]);
    await answer(3 * BLOCK, 2 * BLOCK);
    expect(serve()).toEqual([2, 2, 2, 5, 5]);
    await turn();
    expect(asked.slice(2)).toEqual([[[5, 2 * BLOCK]]]);
    expect(ended).toEqual([
      [2, BLOCK],
      [2, 3 * BLOCK],
      [5, 2 * BLOCK],
    ]);
  });

  it('adds a part to what is open, and reports what is left of it when the peer goes', async () => {
    const { asked, ended, customer, gatekeeper, request, serve, answer } = bench(true);
    request(0, 0);
    request(0, 1);
    await turn();
    await answer(BLOCK);
    // Nothing was sent yet: the second part joins the first.
    gatekeeper.ask(customer);
    expect(asked).toEqual([[[0, 2 * BLOCK]], [[0, BLOCK]]]);
    await answer(2 * BLOCK);
    expect(serve()).toEqual([0, 0]);
    expect(ended).toEqual([]);
    gatekeeper.drop(customer);
    expect(ended).toEqual([[0, 3 * BLOCK]]);
  });
});
