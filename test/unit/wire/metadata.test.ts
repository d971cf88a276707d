import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/clock.js';
import * as Metadata from '../../../src/wire/metadata.js';
import type { Peer } from '../../../src/wire/peer.js';
import { bench, greeted, INFOHASH, message, until } from './support.js';

const info = createHash('shake256', { outputLength: 70_000 }).update('info').digest();
const digest = createHash('sha1').update(info).digest();

describe('metadata of a torrent', () => {
  it('goes from one session to another, whole', async () => {
    const server = await bench({ extensions: [Metadata.serving(info)] });
    const collection = Metadata.collect(digest, systemClock);
    const client = await bench({ letter: 'c', extensions: [collection.extension] });
    client.torrent.pieceCount = undefined;
    await client.session.dial({ address: '127.0.0.1', port: server.port, infohash: INFOHASH });
    expect(Buffer.compare(await collection.done, info)).toBe(0);
    await client.session.close();
    await server.session.close();
  });

  it('comes from an honest peer though others lie, refuse or say nothing', async () => {
    const liars = [await bench({ letter: 'x', extensions: [Metadata.serving(Buffer.alloc(70_000))] })];
    liars.push(
      await bench({ letter: 'y', extensions: [Metadata.serving(Buffer.alloc(1))] }),
      await bench({ letter: 'z' }),
    );
    const honest = await bench({ letter: 'h', extensions: [Metadata.serving(info)] });
    const collection = Metadata.collect(digest, systemClock);
    const client = await bench({ letter: 'c', extensions: [collection.extension] });
    const lying: Peer[] = [];
    for (const { port } of liars)
      lying.push(await client.session.dial({ address: '127.0.0.1', port, infohash: INFOHASH }));
    await until(() => lying[0]?.closed === true && lying[1]?.closed === true);
    await client.session.dial({ address: '127.0.0.1', port: honest.port, infohash: INFOHASH });
    expect(Buffer.compare(await collection.done, info)).toBe(0);
    for (const at of [...liars, honest, client]) await at.session.close();
  });

  it('is given up in time, and by hand', async () => {
    await expect(Metadata.collect(digest, systemClock, 20).done).rejects.toMatchObject({ code: 'NO_PEERS' });
    const collection = Metadata.collect(digest, systemClock);
    collection.stop();
    await expect(collection.done).rejects.toMatchObject({ code: 'NO_PEERS' });
  });

  it('takes no memory for a size beyond the limit, nor before it is a peer’s turn', async () => {
    const collection = Metadata.collect(digest, systemClock);
    const at = await bench({ extensions: [collection.extension] });
    const before = process.memoryUsage().arrayBuffers;
    const names = 'abcdefghijklmn';
    for (const letter of names) {
      const peer = await greeted(at, letter);
      peer.send(message(20, [0], Buffer.from('d1:md11:ut_metadatai3ee13:metadata_sizei10485760ee')));
      if (letter === 'a')
        peer.send(message(20, [0], Buffer.from('d1:md11:ut_metadatai3ee13:metadata_sizei999999999999ee')));
    }
    await until(() => at.peers.length === names.length);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(3 * 10_485_760 + 4_000_000);
    collection.stop();
    await at.session.close();
  });

  it('is served a bounded number of times, and only in parts that exist', async () => {
    const at = await bench({ extensions: [Metadata.serving(info)] });
    const peer = await greeted(at);
    peer.send(message(20, [0], Buffer.from('d1:md11:ut_metadatai3eee')));
    const parts = Math.ceil(info.length / 16_384);
    const ask = (part: number): Buffer => message(20, [1], Buffer.from(`d8:msg_typei0e5:piecei${part}ee`));
    peer.send(ask(-1), ask(parts), message(20, [1], Buffer.from('junk')));
    for (let turn = 0; turn < 10; turn++) for (let part = 0; part < parts; part++) peer.send(ask(part));
    const count = (what: string): number => peer.received.toString('latin1').split(what).length - 1;
    await until(() => count('8:msg_typei2e') === 2 + 6 * parts);
    expect(count('8:msg_typei1e')).toBe(4 * parts);
    expect(peer.closed).toBe(false);
    await at.session.close();
  });
});
