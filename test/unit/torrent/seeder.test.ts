import { describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../../src/clock.js';
import { PieceworkError } from '../../../src/errors.js';
import { requestsPerPeerMax } from '../../../src/limits.js';
import * as Layout from '../../../src/torrent/layout.js';
import * as Seeder from '../../../src/torrent/seeder.js';
import * as Slots from '../../../src/torrent/slots.js';
import { until } from '../wire/support.js';
import { inOrder } from './support.js';

const KIB16 = 16 * 1024;
const layout: Layout.Layout = {
  pieceLength: 4 * KIB16,
  pieceCount: 10,
  totalBytes: 9 * 4 * KIB16 + 100,
  files: [],
};

interface Fake extends Seeder.SeedPeer {
  peerInterested: boolean;
  room: number;
  readonly sent: string[];
  readonly rejected: string[];
  destroyed: string | undefined;
  choked: boolean;
}

let ids = 0;
function fake(options: { fast?: boolean; interested?: boolean; room?: number } = {}): Fake {
  const peer: Fake = {
    id: ++ids,
    fast: options.fast ?? true,
    peerInterested: options.interested ?? true,
    room: options.room ?? Number.POSITIVE_INFINITY,
    sent: [],
    rejected: [],
    destroyed: undefined,
    choked: true,
    choke: () => {
      peer.choked = true;
    },
    unchoke: () => {
      peer.choked = false;
    },
    sendRoom: () => peer.room,
    sendBlock: (index, offset, bytes) => {
      peer.room -= bytes.length + 13;
      peer.sent.push(`${index}:${offset}+${bytes.length}`);
    },
    sendBlocks: (index, offset, frames) => {
      for (let at = 0, from = offset; at < frames.length; at += 13 + KIB16, from += KIB16)
        peer.sendBlock(index, from, frames.subarray(at + 13, at + 13 + KIB16));
    },
    rejectRequest: (...request) => void peer.rejected.push(request.join(':')),
    destroy: (detail) => {
      peer.destroyed ??= detail;
    },
  };
  return peer;
}

interface Bench {
  readonly seeder: Seeder.Seeder;
  readonly asked: number[];
  /** What was asked about together. */
  readonly batches: number[][];
  readonly sent: number[];
  readonly dropped: Seeder.Dropped[];
  readonly errors: string[];
  reads: number;
}

interface BenchOptions {
  readonly freeSlots?: number;
  readonly rotationMs?: number;
  readonly admit?: (piece: number) => Seeder.Admission | Promise<Seeder.Admission>;
  readonly has?: (index: number) => boolean;
  readonly read?: (index: number) => Promise<void>;
}

function bench(options: BenchOptions = {}): Bench {
  const state = {
    asked: [] as number[],
    batches: [] as number[][],
    sent: [] as number[],
    dropped: [] as Seeder.Dropped[],
    errors: [] as string[],
    reads: 0,
  };
  const seeder = Seeder.create({
    layout,
    storage: {
      has: options.has ?? (() => true),
      async readInto(index, _offset, parts) {
        bench.reads++;
        await options.read?.(index);
        for (const part of parts) part.fill(index);
      },
    },
    clock: systemClock,
    freeSlots: options.freeSlots ?? 1,
    rotationMs: options.rotationMs ?? 60_000,
    onError: (error) => state.errors.push(error.code),
    gate: {
      admit(_peer, pieces) {
        state.batches.push(pieces.map(({ piece }) => piece));
        return inOrder(pieces, ({ piece }) => {
          state.asked.push(piece);
          return options.admit?.(piece) ?? 'serve';
        });
      },
      sent: (_peer, piece) => state.sent.push(piece),
      dropped: (_peer, grants) => state.dropped.push(...grants),
    },
  });
  onTestFinished(() => seeder.stop());
  const bench = Object.assign(state, { seeder });
  return bench;
}

/** Asks for every block of a piece. */
function askPiece(at: Bench, peer: Fake, index: number): void {
  const size = Layout.pieceBytes(layout, index);
  for (let offset = 0; offset < size; offset += KIB16) {
    at.seeder.request(peer, index, offset, Math.min(KIB16, size - offset));
  }
}

describe('the seeder', () => {
  it.each([
    ['a piece beyond the last', 10, 0, KIB16],
    ['the largest number for a piece', 0xffff_ffff, 0, KIB16],
    ['an offset beyond the piece', 0, 4 * KIB16, 1],
    ['the largest number for an offset', 0, 0xffff_ffff, 1],
    ['a length beyond the piece', 0, 3 * KIB16, KIB16 + 1],
    ['a length beyond the short last piece', 9, 0, 101],
    ['no length', 0, 0, 0],
    ['more than 128 KiB', 0, 0, 128 * 1024 + 1],
    ['the largest number for a length', 0, 0, 0xffff_ffff],
  ])('closes on %s', (_name, index, offset, length) => {
    const at = bench();
    const peer = fake();
    at.seeder.join(peer);
    at.seeder.request(peer, index, offset, length);
    expect(peer.destroyed).toMatch(/outside the torrent/);
    expect(at.reads).toBe(0);
  });

  it('serves blocks of any place and the short last piece', async () => {
    const at = bench();
    const peer = fake();
    at.seeder.join(peer);
    at.seeder.request(peer, 9, 0, 100);
    at.seeder.request(peer, 3, 7, 4 * KIB16 - 7);
    await until(() => peer.sent.length === 2);
    expect(peer.sent).toEqual(['9:0+100', `3:7+${4 * KIB16 - 7}`]);
  });

  it('keeps at most reqq requests of a flood of 50,000, refuses the others and then closes', () => {
    const at = bench();
    const peer = fake({ room: 0 });
    at.seeder.join(peer);
    for (let turn = 0; turn < 50_000; turn++) at.seeder.request(peer, 0, 0, KIB16);
    expect(at.seeder.queued(peer)).toBe(requestsPerPeerMax);
    expect(peer.rejected.length).toBeGreaterThan(0);
    expect(peer.destroyed).toMatch(/too many requests/);
  });

  it('sends only into room, and goes on when there is some', async () => {
    const at = bench();
    const peer = fake({ room: 2 * (KIB16 + 13) });
    at.seeder.join(peer);
    askPiece(at, peer, 0);
    await until(() => peer.sent.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(peer.sent).toHaveLength(2);
    peer.room = Number.POSITIVE_INFINITY;
    at.seeder.drained(peer);
    await until(() => peer.sent.length === 4);
  });

  it('reads a piece once for many peers and many blocks', async () => {
    const at = bench({ freeSlots: 10 });
    const peers = Array.from({ length: 10 }, () => fake());
    for (const peer of peers) {
      at.seeder.join(peer);
      askPiece(at, peer, 2);
    }
    await until(() => peers.every(({ sent }) => sent.length === 4));
    expect(at.reads).toBe(1);
  });

  it('gives every peer its turn', async () => {
    const at = bench({ freeSlots: 2 });
    const order: number[] = [];
    const peers = [fake(), fake()];
    for (const peer of peers) {
      const { sendBlock } = peer;
      peer.sendBlock = (...block) => {
        order.push(peer.id);
        sendBlock(...block);
      };
      at.seeder.join(peer);
      for (let index = 0; index < 9; index++) askPiece(at, peer, index);
    }
    await until(() => order.length === 72);
    const half = order.slice(0, 36);
    for (const { id } of peers) expect(half.filter((one) => one === id).length).toBeGreaterThan(8);
  });

  it('refuses everything of a choked peer and never reads for it', async () => {
    const at = bench({ freeSlots: 0 });
    const peer = fake();
    at.seeder.join(peer);
    askPiece(at, peer, 0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(peer.choked).toBe(true);
    expect(peer.rejected).toHaveLength(4);
    expect(at.reads).toBe(0);
  });

  it('refuses pieces that are not there', () => {
    const at = bench({ has: (index) => index !== 4 });
    const peer = fake();
    at.seeder.join(peer);
    at.seeder.request(peer, 4, 0, KIB16);
    expect(peer.rejected).toEqual([`4:0:${KIB16}`]);
  });

  it('takes a cancelled request out of the queue', async () => {
    const at = bench();
    const peer = fake({ room: 0 });
    at.seeder.join(peer);
    askPiece(at, peer, 0);
    at.seeder.cancel(peer, 0, KIB16, KIB16);
    expect(peer.rejected).toEqual([`0:${KIB16}:${KIB16}`]);
    peer.room = Number.POSITIVE_INFINITY;
    at.seeder.drained(peer);
    await until(() => peer.sent.length === 3);
    expect(peer.sent).not.toContain(`0:${KIB16}+${KIB16}`);
  });

  it('refuses what cannot be read and goes on with the rest', async () => {
    const at = bench({
      read: async (index) => {
        if (index === 1) throw new PieceworkError('SOURCE_CHANGED');
      },
    });
    const peer = fake();
    at.seeder.join(peer);
    askPiece(at, peer, 1);
    askPiece(at, peer, 2);
    await until(() => peer.sent.length === 4);
    expect(peer.rejected).toHaveLength(4);
    expect(at.errors).toContain('SOURCE_CHANGED');
  });
});

describe('the gate', () => {
  it('is asked once a piece, and again when the whole piece was sent and is wanted again', async () => {
    const at = bench();
    const peer = fake();
    at.seeder.join(peer, 'paid');
    askPiece(at, peer, 0);
    askPiece(at, peer, 1);
    await until(() => peer.sent.length === 8);
    expect(at.asked).toEqual([0, 1]);
    askPiece(at, peer, 0);
    await until(() => peer.sent.length === 12);
    expect(at.asked).toEqual([0, 1, 0]);
  });

  it('lets no more bytes of a piece out on one grant than the piece has', async () => {
    let grants = 0;
    const at = bench({ admit: () => (++grants === 1 ? 'serve' : 'wait') });
    const peer = fake();
    at.seeder.join(peer, 'paid');
    for (let turn = 0; turn < 20; turn++) at.seeder.request(peer, 0, 0, KIB16);
    await until(() => at.asked.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(peer.sent).toHaveLength(4);
  });

  it('lets a request that goes beyond what is left of a grant wait for another', async () => {
    let grants = 0;
    const at = bench({ admit: () => (++grants === 1 ? 'serve' : 'wait') });
    const peer = fake();
    at.seeder.join(peer, 'paid');
    at.seeder.request(peer, 0, 0, 3 * KIB16);
    await until(() => peer.sent.length === 1);
    at.seeder.request(peer, 0, 0, 2 * KIB16);
    await until(() => at.asked.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(peer.sent).toHaveLength(1);
  });

  it('sends nothing before an answer that takes its time, nor after a refusal', async () => {
    let answer: (admission: Seeder.Admission) => void = () => {};
    const at = bench({
      admit: (piece) =>
        piece === 5
          ? 'refuse'
          : new Promise((resolve) => {
              answer = resolve;
            }),
    });
    const peer = fake();
    at.seeder.join(peer, 'paid');
    askPiece(at, peer, 5);
    await until(() => at.asked.length === 1);
    askPiece(at, peer, 6);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(peer.sent).toEqual([]);
    expect(peer.rejected).toHaveLength(4);
    answer('serve');
    await until(() => peer.sent.length === 4);
  });

  it('is asked together about what was requested meanwhile, but not about what was taken back', async () => {
    const answers: Array<(admission: Seeder.Admission) => void> = [];
    const at = bench({ admit: () => new Promise((resolve) => void answers.push(resolve)) });
    const peer = fake();
    at.seeder.join(peer, 'paid');
    askPiece(at, peer, 0);
    await until(() => at.batches.length === 1);
    for (const piece of [1, 2, 3, 4]) askPiece(at, peer, piece);
    for (let block = 0; block < 4; block++) at.seeder.cancel(peer, 2, block * KIB16, KIB16);
    at.seeder.cancel(peer, 3, 0, KIB16);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(at.batches).toEqual([[0]]);
    answers[0]!('serve');
    await until(() => answers.length === 4);
    expect(at.batches).toEqual([[0], [1, 3, 4]]);
    // Asked for anew, it is wanted again.
    askPiece(at, peer, 2);
    for (const answer of answers) answer('serve');
    await until(() => answers.length === 5);
    expect(at.batches.at(-1)).toEqual([2]);
    answers[4]!('serve');
    await until(() => peer.sent.length === 19);
  });

  it('stalls later pieces behind one that waits, and asks again in order', async () => {
    let open = false;
    const at = bench({ admit: (piece) => (piece === 1 && !open ? 'wait' : 'serve') });
    const peer = fake();
    at.seeder.join(peer, 'paid');
    for (const piece of [0, 1, 2]) askPiece(at, peer, piece);
    await until(() => peer.sent.length === 4);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(at.asked).toEqual([0, 1]);
    at.seeder.resume(peer);
    expect(at.asked).toEqual([0, 1, 1]);
    open = true;
    at.seeder.resume(peer);
    await until(() => peer.sent.length === 12);
    expect(at.asked).toEqual([0, 1, 1, 1, 2]);
  });

  it('hears of a piece as sent when its last byte has left, and of the others when the peer goes', async () => {
    const at = bench();
    const peer = fake({ room: 6 * (KIB16 + 13) });
    at.seeder.join(peer, 'paid');
    for (const piece of [0, 1, 2]) askPiece(at, peer, piece);
    await until(() => peer.sent.length === 6);
    for (let block = 0; block < 3; block++) at.seeder.delivered(peer, KIB16);
    expect(at.sent).toEqual([]);
    for (let block = 0; block < 2; block++) at.seeder.delivered(peer, KIB16);
    expect(at.sent).toEqual([0]);
    at.seeder.leave(peer);
    const bytes = 4 * KIB16;
    expect(at.dropped).toEqual([
      { piece: 1, bytes, delivered: KIB16 },
      { piece: 2, bytes, delivered: 0 },
    ]);
  });

  it('hears of a grant that came after the peer went', async () => {
    let answer: (admission: Seeder.Admission) => void = () => {};
    const at = bench({
      admit: () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
    });
    const peer = fake();
    at.seeder.join(peer, 'paid');
    askPiece(at, peer, 3);
    await until(() => at.asked.length === 1);
    at.seeder.leave(peer);
    answer('serve');
    await until(() => at.dropped.length === 1);
    expect(at.dropped).toEqual([{ piece: 3, bytes: 4 * KIB16, delivered: 0 }]);
  });

  it('is not asked twice for a piece that a choke interrupted', async () => {
    const at = bench();
    const peer = fake({ room: 2 * (KIB16 + 13) });
    at.seeder.join(peer, 'paid');
    askPiece(at, peer, 0);
    await until(() => peer.sent.length === 2);
    at.seeder.setStanding(peer, 'none');
    expect(peer.choked).toBe(true);
    expect(peer.rejected).toHaveLength(2);
    at.seeder.setStanding(peer, 'paid');
    peer.room = Number.POSITIVE_INFINITY;
    at.seeder.request(peer, 0, 2 * KIB16, KIB16);
    at.seeder.request(peer, 0, 3 * KIB16, KIB16);
    await until(() => peer.sent.length === 4);
    expect(at.asked).toEqual([0]);
    for (let block = 0; block < 4; block++) at.seeder.delivered(peer, KIB16);
    expect(at.sent).toEqual([0]);
  });

  it('whose promise fails refuses and says so', async () => {
    const at = bench({ admit: () => Promise.reject(new PieceworkError('LEDGER_POISONED')) });
    const peer = fake();
    at.seeder.join(peer, 'paid');
    askPiece(at, peer, 0);
    await until(() => at.errors.length > 0);
    expect(at.errors[0]).toBe('LEDGER_POISONED');
    expect(peer.rejected).toHaveLength(4);
    expect(peer.sent).toEqual([]);
  });

  it('is never asked for a peer in a free slot', async () => {
    const at = bench();
    const peer = fake();
    at.seeder.join(peer);
    askPiece(at, peer, 0);
    await until(() => peer.sent.length === 4);
    expect(at.asked).toEqual([]);
  });
});

describe('slots', () => {
  const who = (standing: Slots.Standing, choked: boolean, turnedMs: number, peerInterested = true) => ({
    peer: { peerInterested },
    standing,
    choked,
    turnedMs,
  });

  it('unchoke all who pay and are interested, and nobody without standing', () => {
    const paying = who('paid', true, 0);
    const idle = who('paid', false, 0, false);
    const none = who('none', false, 0);
    const { choke, unchoke } = Slots.arrange([paying, idle, none], 0, false);
    expect(unchoke).toEqual([paying]);
    expect(choke).toEqual([idle, none]);
  });

  it('go to those who wait longest, up to their number', () => {
    const waiting = [who('free', true, 3), who('free', true, 1), who('free', true, 2)];
    expect(Slots.arrange(waiting, 2, false).unchoke).toEqual([waiting[1], waiting[2]]);
    expect(Slots.arrange(waiting, 0, true)).toEqual({ choke: [], unchoke: [] });
  });

  it('change hands one at a time, and only when somebody waits', () => {
    const holders = [who('free', false, 5), who('free', false, 1)];
    const other = who('free', true, 2);
    expect(Slots.arrange([...holders, other], 2, true)).toEqual({ choke: [holders[1]], unchoke: [other] });
    expect(Slots.arrange([...holders, other], 2, false)).toEqual({ choke: [], unchoke: [] });
    expect(Slots.arrange(holders, 2, true)).toEqual({ choke: [], unchoke: [] });
  });

  it('are taken back when there are fewer', () => {
    const holders = [who('free', false, 5), who('free', false, 1), who('free', false, 3)];
    expect(Slots.arrange(holders, 1, false).choke).toEqual([holders[1], holders[2]]);
  });

  it('rotate among interested peers over time', async () => {
    const at = bench({ freeSlots: 1, rotationMs: 20 });
    const peers = [fake(), fake(), fake()];
    const held = new Set<number>();
    for (const peer of peers) at.seeder.join(peer);
    await until(() => {
      const unchoked = peers.filter(({ choked }) => !choked);
      expect(unchoked.length).toBeLessThanOrEqual(1);
      for (const { id } of unchoked) held.add(id);
      return held.size === 3;
    });
  });
});
